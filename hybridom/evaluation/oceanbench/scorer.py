"""Scores of OceanBench 0.6.1: a challenger against a reference in the same form."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from hybridom.config.output import BootstrapConfig
from hybridom.errors import UserError
from hybridom.evaluation.bootstrap import Means, resamples
from hybridom.evaluation.mixed_layer import OCEANBENCH_DEEPEST, mixed_layer_depth_oceanbench
from hybridom.evaluation.oceanbench import conventions as names
from hybridom.evaluation.oceanbench import definitions, drift
from hybridom.evaluation.oceanbench.forecasts import Forecasts
from hybridom.evaluation.tables import write_csv, write_parquet
from hybridom.progress import track

COLUMNS = (
    "metric",
    "variable",
    "depth",
    "lead_day",
    "value",
    "low",
    "high",
    "n_starts",
    "label",
    "reference",
    "region",
    "oceanbench_version",
)


class Scorer:
    """Scores by start, from which tables are made.

    Args:
        challenger: The forecasts.
        reference: What they are compared with; holds the challenger's starts and leads.
        mask: OceanBench's ocean mask; None counts every cell where both have a value.
        metrics: Of `conventions.METRICS`.
        region: Name in `conventions.REGIONS`.

    Raises:
        UserError: The reference lacks a start or leads, or lies on another grid; a coordinate
            depth is missing.
    """

    def __init__(
        self,
        challenger: Forecasts,
        reference: Forecasts,
        mask: xr.DataArray | None,
        metrics: Sequence[str] = names.METRICS,
        region: str = "global",
    ) -> None:
        if region not in names.REGIONS:
            raise UserError(f"region {region!r}: expected one of {', '.join(names.REGIONS)}")
        if unknown := sorted(set(metrics) - set(names.METRICS)):
            raise UserError(f"metric {unknown[0]!r}: expected some of {', '.join(names.METRICS)}")
        self._whole, box = challenger, names.REGIONS[region]
        self._ours, self._theirs = challenger.within(box), reference.within(box)
        self._pairs = [(n, reference.position(day)) for n, day in enumerate(challenger.starts)]
        if reference.leads < challenger.leads:
            raise UserError(
                f"{reference.name}: {reference.leads} leads, the challenger has "
                f"{challenger.leads}; give a reference with as many"
            )
        self._metrics, self._region = [m for m in names.METRICS if m in metrics], region
        ours, theirs = self._ours, self._theirs
        self._grids = {}
        for metric in names.METRIC_VARIABLES:
            kept = metric == "rmsd_of_geostrophic_currents"
            row = definitions.off_equator(ours.lat) if kept else np.ones(ours.lat.size, bool)
            other = definitions.off_equator(theirs.lat) if kept else np.ones(theirs.lat.size, bool)
            if metric in self._metrics:
                self._grids[metric] = _Grid(ours, theirs, row, other, mask)
        self.values = {
            metric: np.full((len(self._pairs), len(names.rows(metric)), ours.leads, 2), np.nan)
            for metric in self._grids
        }
        self.drift = np.full((len(self._pairs), ours.leads), np.nan)

    def run(self, threads: int = 1) -> None:
        """Score all starts.

        Args:
            threads: Leads that are scored, and so held, at a time; of the drift, the surface
                currents of one start are held.
        """
        seeds = self._seeds() if names.DRIFT in self._metrics else None
        with ThreadPoolExecutor(threads) as pool:
            for ours, theirs in track(self._pairs, label="OceanBench scores"):
                leads = range(self._ours.leads)
                for _ in pool.map(partial(self._score_lead, ours, theirs), leads):
                    pass
                if seeds is not None:
                    self.drift[ours] = self._deviation(ours, theirs, *seeds)

    def table(self, settings: BootstrapConfig, reference: str) -> pd.DataFrame:
        """The scores as a tidy table.

        Args:
            settings: Of the bootstrap over starts.
            reference: Name of the reference.

        Returns:
            Columns `COLUMNS`: `value` is the mean over starts as in OceanBench, `low` and `high`
            the ends of our moving-block bootstrap interval (NaN for one start), `n_starts` how
            many starts have a value; `lead_day` is missing in the rows of missing fractions,
            which are means over starts and leads.
        """
        parts = []
        for metric in self._metrics:
            if metric == names.DRIFT:
                first = names.DRIFT_FIRST_LEAD - 1
                key = [("", names.SURFACE, names.DRIFT_LABEL)]
                parts.append(_rows(metric, key, self.drift[:, None, first:], settings, first))
                continue
            keys = [(v, d, names.row_label(v, d)) for v, d in names.rows(metric)]
            found = self.values[metric]
            parts.append(_rows(metric, keys, found[..., 0], settings, 0))
            missing = _rows(names.MISSING + metric, keys, _lead_mean(found[..., 1]), settings, 0)
            missing["lead_day"] = pd.array([pd.NA] * len(missing), dtype="Int64")
            parts.append(missing)
        table = pd.concat(parts, ignore_index=True)
        table["reference"], table["region"] = reference, self._region
        table["oceanbench_version"] = names.VERSION
        return table[list(COLUMNS)]

    def _score_lead(self, ours: int, theirs: int, lead: int) -> None:
        for metric in self._grids:
            self._score(metric, ours, theirs, lead)

    def _score(self, metric: str, ours: int, theirs: int, lead: int) -> None:
        grid = self._grids[metric]
        forecast = _fields(metric, self._ours, ours, lead)
        reference = _fields(metric, self._theirs, theirs, lead)
        for row, (key, f) in enumerate(forecast.items()):
            a, b = grid.forecast(f), grid.reference(reference[key])
            ocean = grid.ocean[key[1]]
            self.values[metric][ours, row, lead] = (
                definitions.rmsd(a, b, ocean, grid.weights),
                definitions.missing_fraction(a, b, ocean, grid.weights),
            )

    def _seeds(self) -> tuple[np.ndarray, np.ndarray]:
        """Latitude and longitude of the particles, the same for all starts."""
        height = names.STANDARD_NAME["zos"]
        ocean = ~np.isnan(self._ours.read(height, 0, 0))
        whole = ocean if self._ours is self._whole else ~np.isnan(self._whole.read(height, 0, 0))
        number = drift.particle_number(int(whole.sum()), int(ocean.sum())) if whole.any() else 0
        return drift.seed_particles(ocean, self._ours.lat, self._ours.lon, number)

    def _deviation(self, ours: int, theirs: int, lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
        """Mean distance (leads,) of the particles of one start."""
        paths = []
        for source, start in ((self._ours, ours), (self._theirs, theirs)):
            u, v = (
                np.stack(
                    [
                        source.read(names.STANDARD_NAME[name], start, lead, [0])[0]
                        for lead in range(self._ours.leads)
                    ]
                )
                for name in ("uo", "vo")
            )
            paths.append(drift.trajectories(u, v, source.lat, source.lon, lat, lon))
        return drift.deviation(*paths[0], *paths[1])


class _Grid:
    """Where forecast and reference are compared, with the ocean and the weights there."""

    def __init__(
        self,
        ours: Forecasts,
        theirs: Forecasts,
        rows: np.ndarray,
        reference_rows: np.ndarray,
        mask: xr.DataArray | None,
    ) -> None:
        self._rows, self._reference_rows = rows, reference_rows
        lat = ours.lat[rows]
        self._matched = definitions.match(lat, ours.lon, theirs.lat[reference_rows], theirs.lon)
        lat, lon = lat[self._matched.rows], ours.lon[self._matched.columns]
        self.weights = definitions.area_weights(lat)
        self.ocean = ocean_on(mask, lat, lon)

    def forecast(self, field: np.ndarray) -> np.ndarray:
        return self._matched.challenger(field[self._rows])

    def reference(self, field: np.ndarray) -> np.ndarray:
        return self._matched.reference(field[self._reference_rows])


def ocean_on(mask: xr.DataArray | None, lat: np.ndarray, lon: np.ndarray) -> dict[str, np.ndarray]:
    """The ocean mask at the nearest points and levels, bool (ny, nx) by depth label."""
    if mask is None:
        return {label: np.ones((lat.size, lon.size), bool) for label in names.DEPTHS}
    level, row, column = (
        definitions.nearest_levels(mask[axis].values, np.asarray(wanted))
        for axis, wanted in (
            ("depth", list(names.DEPTHS.values())),
            ("latitude", lat),
            ("longitude", lon),
        )
    )
    picked = mask.isel(depth=level, latitude=row, longitude=column).values.astype(bool)
    return dict(zip(names.DEPTHS, picked, strict=True))


def _fields(
    metric: str, source: Forecasts, start: int, lead: int
) -> dict[tuple[str, str], np.ndarray]:
    """Fields (ny, nx) of a metric by standard name and depth label, in the order of its rows."""
    depths = np.array(list(names.DEPTHS.values()))
    found: dict[tuple[str, str], np.ndarray] = {}
    height = names.STANDARD_NAME["zos"]
    if metric == "rmsd_of_mixed_layer_depth":
        return {(names.MIXED_LAYER, names.SURFACE): mixed_layer(source, start, lead)}
    if metric == "rmsd_of_geostrophic_currents":
        field = source.read(height, start, lead)
        east, north = definitions.geostrophic_currents(field, source.lat, source.lon)
        found[names.GEOSTROPHIC_NORTHWARD, names.SURFACE] = north
        found[names.GEOSTROPHIC_EASTWARD, names.SURFACE] = east
        return found
    for variable in names.METRIC_VARIABLES[metric]:
        if variable == height:
            found[variable, names.SURFACE] = source.read(variable, start, lead)
            continue
        levels = source.read_depths(variable, start, lead, depths)
        found |= {(variable, label): x for label, x in zip(names.DEPTHS, levels, strict=True)}
    return {key: found[key] for key in names.rows(metric)}


def mixed_layer(source: Forecasts, start: int, lead: int) -> np.ndarray:
    """Mixed layer depth (ny, nx) of one field, from the levels down to 600 m."""
    levels = np.flatnonzero(source.depth <= OCEANBENCH_DEEPEST)
    if not levels.size:
        raise UserError(f"{source.name}: no level down to {OCEANBENCH_DEEPEST:g} m for the metric")
    temperature, salinity = (
        source.read(names.STANDARD_NAME[name], start, lead, levels) for name in ("thetao", "so")
    )
    axes = source.depth[levels], source.lat, source.lon
    return mixed_layer_depth_oceanbench(temperature, salinity, *axes)


def _lead_mean(values: np.ndarray) -> np.ndarray:
    """Means over leads that have a value, (starts, rows, 1)."""
    known = ~np.isnan(values)
    number = known.sum(axis=-1, keepdims=True)
    total = np.where(known, values, 0.0).sum(axis=-1, keepdims=True)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _rows(
    metric: str,
    keys: Sequence[tuple[str, str, str]],
    values: np.ndarray,
    settings: BootstrapConfig,
    first: int,
) -> pd.DataFrame:
    """Rows of one metric from its values (starts, rows, leads)."""
    starts, rows, leads = values.shape
    flat = values.reshape(starts, -1)
    mean = Means({"": flat}, np.ones((1, starts)))[""][0]
    low = high = np.full_like(mean, np.nan)
    if starts > 1:
        samples = Means({"": flat}, resamples(starts, settings))[""]
        tail = 50.0 * (1.0 - settings.level)
        defined = np.isfinite(samples).any(axis=0)
        ends = np.nanpercentile(np.where(defined, samples, 0.0), (tail, 100.0 - tail), axis=0)
        low, high = np.where(defined, ends, np.nan)
    table: dict[str, Any] = {
        "metric": metric,
        "variable": np.repeat([key[0] for key in keys], leads),
        "depth": np.repeat([key[1] for key in keys], leads),
        "lead_day": pd.array(np.tile(np.arange(leads) + first + 1, rows), dtype="Int64"),
        "value": mean,
        "low": low,
        "high": high,
        "n_starts": (~np.isnan(flat)).sum(axis=0),
        "label": np.repeat([key[2] for key in keys], leads),
    }
    return pd.DataFrame(table)


def write_scores(table: pd.DataFrame, path: Path) -> tuple[Path, Path]:
    """Write the table as Parquet and as CSV beside it; returns both paths."""
    paths = path.with_suffix(".parquet"), path.with_suffix(".csv")
    write_parquet(table, paths[0])
    write_csv(table, paths[1])
    return paths
