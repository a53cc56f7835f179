"""Validator of submissions to OceanBench 0.6.1."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr

from hybridom.errors import UserError
from hybridom.evaluation.oceanbench import conventions as names
from hybridom.evaluation.oceanbench import definitions, structure
from hybridom.evaluation.oceanbench.findings import Finding, Findings, error, warning
from hybridom.evaluation.oceanbench.forecasts import (
    LEAD,
    NAMED_BY_DAY,
    START,
    Forecasts,
    forecast_paths,
    from_dataset,
    from_datasets,
    open_file,
)
from hybridom.evaluation.oceanbench.scorer import ocean_on
from hybridom.progress import track
from hybridom.variables import VARIABLES

MISSING = 0.01  # part of the ocean that may lack values before it is an error


def validate(
    path: Path, mask: xr.DataArray | None = None, reference: Forecasts | None = None
) -> Findings:
    """Look for all that makes OceanBench's scores wrong, mostly without a word.

    Args:
        path: A store `YYYYMMDD.zarr`, a folder of them, or one store of all starts.
        mask: OceanBench's ocean mask, in which values may not be missing; None: every cell of
            `reference`, or else only that no cell loses its values with lead or start.
        reference: Forecasts in the same form that have values wherever they are expected.

    Returns:
        The findings. Fields are read only of stores without an error in their form.

    Raises:
        UserError: There is nothing to validate, or a store cannot be opened at all.
    """
    findings, sound, starts = Findings(), [], []
    paths = forecast_paths(path)
    for store in paths:
        data = open_file(store)
        wrong = findings.add(store.name, _structure(store, data))
        starts += _starts(store, data)
        if not wrong:
            sound.append((store, data))
    findings.add(path.name, structure.check_starts(starts))
    if mask is None and reference is None:
        text = "neither --mask nor --reference", "one of them", "values missing at sea stay unseen"
        findings.add(path.name, [warning("missing values", *text)])
    if len(sound) == len(paths):
        _fields(path, sound, findings, mask, reference)
    return findings


def _structure(path: Path, data: xr.Dataset) -> Iterator[Finding]:
    yield from structure.check_format(path)
    yield from structure.check_coordinates(data)
    yield from structure.check_variables(data)
    yield from structure.check_leads(data, path)
    if START not in data.dims and not NAMED_BY_DAY.fullmatch(path.name):
        yield error(
            START,
            f"the name {path.name} and no dimension {START}",
            "a store named YYYYMMDD.zarr by its first forecast day",
            "rename the store",
        )
    if START in data.dims and (START not in data.coords or data[START].dtype.kind != "M"):
        yield error(START, "no dates", "the first forecast days", "write CF times")


def _starts(path: Path, data: xr.Dataset) -> list[dt.date]:
    if START in data.coords and data[START].dtype.kind == "M":
        return list(np.atleast_1d(data[START].values).astype("datetime64[D]").astype(object))
    if NAMED_BY_DAY.fullmatch(path.name):
        return [dt.datetime.strptime(path.name[:8], "%Y%m%d").date()]
    return []


def _fields(
    path: Path,
    stores: list[tuple[Path, xr.Dataset]],
    findings: Findings,
    mask: xr.DataArray | None,
    reference: Forecasts | None,
) -> None:
    """Read every field once."""
    try:
        if START in stores[0][1].dims:
            forecasts = from_dataset(stores[0][1], path.name)
        else:
            starts = [_starts(store, data)[0] for store, data in stores]
            forecasts = from_datasets(starts, [data for _, data in stores], path.name)
    except UserError as problem:
        text = "differing stores", "the same grid and leads in all", str(problem)
        findings.add(path.name, [error("stores", *text)])
        return
    fields = Fields(forecasts, mask, reference)
    for start in track(range(len(forecasts.starts)), label="validation"):
        findings.add(f"{forecasts.starts[start]:%Y%m%d}", fields.check(start))
    findings.add(path.name, fields.missing())


class Fields:
    """Checks of the values of all fields.

    Args:
        forecasts: Their form is sound.
        mask: OceanBench's ocean mask.
        reference: Forecasts with values wherever they are expected.
    """

    def __init__(
        self, forecasts: Forecasts, mask: xr.DataArray | None, reference: Forecasts | None
    ) -> None:
        self._forecasts, self._reference = forecasts, reference
        self._weights = definitions.area_weights(forecasts.lat)
        self._ocean = ocean_on(mask, forecasts.lat, forecasts.lon) if mask is not None else None
        if reference is not None:
            self._matched = definitions.match(
                forecasts.lat, forecasts.lon, reference.lat, reference.lon
            )
        self._known: dict[str, np.ndarray] = {}
        self._lacking: dict[tuple[str, str], float] = {}

    def check(self, start: int) -> Iterator[Finding]:
        """Findings of one start."""
        forecasts = self._forecasts
        for short, standard in names.STANDARD_NAME.items():
            levels = np.arange(forecasts.depth.size) if VARIABLES[short].has_depth else None
            low, high, infinite = np.inf, -np.inf, 0
            for lead in range(forecasts.leads):
                field = forecasts.read(standard, start, lead, levels)
                known = np.isfinite(field)
                infinite += int(np.isinf(field).sum())
                if known.any():
                    low, high = min(low, field[known].min()), max(high, field[known].max())
                yield from self._vanished(short, known, start, lead)
                self._count_missing(short, field, start, lead)
            yield from _check_range(short, float(low), float(high), infinite)

    def missing(self) -> Iterator[Finding]:
        """Ocean without values, once all starts were checked."""
        for (short, label), part in self._lacking.items():
            if part > 0:
                report = error if part > MISSING else warning
                yield report(
                    f"{short} at {label}",
                    f"{part:.3%} of the ocean without values",
                    "values over all of the ocean mask",
                    "continue the field to the coast; OceanBench leaves these cells out of the "
                    "score and tells their part as the missing fraction",
                )
        surface = self._known.get("zos")
        if surface is not None and surface.all():
            text = "a value in every cell", "NaN on land", "mask the land"
            yield warning("zos", *text)

    def _vanished(self, short: str, known: np.ndarray, start: int, lead: int) -> Iterator[Finding]:
        """Cells that have had a value and have none now."""
        first = self._known.setdefault(short, known)
        lost = int((first & ~known).sum())
        if lost:
            yield error(
                short,
                f"{lost} cells without value at {LEAD} {lead}",
                f"those of {self._forecasts.starts[0]} at {LEAD} 0",
                "write the forecast again",
            )

    def _count_missing(self, short: str, field: np.ndarray, start: int, lead: int) -> None:
        """Keep the largest part of the ocean without values, by variable and depth."""
        if self._ocean is None and self._reference is None:
            return
        standard = names.STANDARD_NAME[short]
        labels = list(names.DEPTHS) if VARIABLES[short].has_depth else [names.SURFACE]
        depths = np.array([names.DEPTHS[label] for label in labels])
        if VARIABLES[short].has_depth:
            field = field[definitions.nearest_levels(self._forecasts.depth, depths)]
        else:
            field = field[None]
        ocean = np.ones(field.shape, bool)
        if self._ocean is not None:
            ocean &= np.stack([self._ocean[label] for label in labels])
        weights = self._weights
        if self._reference is not None:
            there = self._reference.position(self._forecasts.starts[start])
            truth = (
                self._reference.read_depths(standard, there, lead, depths)
                if VARIABLES[short].has_depth
                else self._reference.read(standard, there, lead)[None]
            )
            field, ocean = (self._matched.challenger(x) for x in (field, ocean))
            ocean &= ~np.isnan(self._matched.reference(truth))
            weights = weights[self._matched.rows]
        nothing = np.zeros_like(field)
        for label, part in zip(
            labels, definitions.missing_fraction(field, nothing, ocean, weights), strict=True
        ):
            key = short, label
            self._lacking[key] = max(self._lacking.get(key, 0.0), float(np.nan_to_num(part)))


def _check_range(short: str, low: float, high: float, infinite: int) -> Iterator[Finding]:
    """Values outside the plausible range."""
    limits = VARIABLES[short].valid_min, VARIABLES[short].valid_max
    expected = f"{limits[0]:g} to {limits[1]:g} {VARIABLES[short].units}"
    if infinite:
        yield error(short, f"{infinite} infinite values", expected, "write NaN on land")
    if low > high:
        yield error(short, "no value at all", expected, "write the forecast again")
    elif low < limits[0] or high > limits[1]:
        action = "check the unit and the fill value; write NaN on land"
        if short == "thetao" and low > 200:
            action = "these are kelvins: subtract 273.15"
        elif max(abs(low), abs(high)) > 1e10:
            action = "a fill value stands on land: write NaN"
        yield error(short, f"values {low:.4g} to {high:.4g}", expected, action)
    elif short == "so" and high < 1.0:
        text = f"values {low:.4g} to {high:.4g}", "about 35", "these are kg/kg: multiply by 1000"
        yield error(short, *text)
