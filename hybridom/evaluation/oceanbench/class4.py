"""Scores of OceanBench 0.6.1 against observations (class 4).

Stated anew from `core.classIV_support` of the package `oceanbench` 0.6.1. Unlike the gridded
scores, a score pools all matchups of a lead day, over all starts.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from hybridom.config.output import BootstrapConfig
from hybridom.errors import UserError
from hybridom.evaluation.bootstrap import resamples
from hybridom.evaluation.oceanbench import conventions as names
from hybridom.evaluation.oceanbench import matching
from hybridom.evaluation.oceanbench.forecasts import Forecasts, open_file
from hybridom.progress import track

METRIC = "rmsd_of_variables_compared_to_observations"
COUNTS = {"observations": 1, "missing_observations": 2}  # rows of the sums below
SSH_SHIFT = -0.1148  # m, of GLORYS's mean sea surface height
VELOCITY_DEPTH = 15.0  # m
BINS = {"0-5m": (0.0, 5.0), "5-100m": (5.0, 100.0), "100-300m": (100.0, 300.0)}
BINS |= {"300-600m": (300.0, 600.0)}
SKIN = (-1.0, 1.0)  # m; temperatures within are of the surface
ROWS = (
    *(("thetao", label) for label in ("surface", *BINS)),
    *(("so", label) for label in BINS),
    *(("zos", "surface"), ("uo", "15m"), ("vo", "15m")),
)
PLACE = ["time", "latitude", "longitude", "depth"]


class Class4:
    """Matchups of forecasts and observations.

    Args:
        challenger: The forecasts.
        folder: Daily observations `YYYYMMDD.zarr` (or `.nc`) of every day of the forecasts, with
            time, latitude, longitude, depth (m) and variables by standard name along one
            dimension; sea level anomalies under the name of the sea surface height.
        mask: OceanBench's ocean mask, which says which observations count.
        topography: Mean dynamic topography (latitude, longitude) in m on the challenger's grid.
        region: Name in `conventions.REGIONS`.
    """

    def __init__(
        self,
        challenger: Forecasts,
        folder: Path,
        mask: xr.DataArray,
        topography: xr.DataArray,
        region: str = "global",
    ) -> None:
        self._box = names.REGIONS[region]
        self._source, self._folder, self._region = challenger.within(self._box), folder, region
        self._population = matching.Population(mask)
        self._topography = matching.on_grid(topography, self._source.lat, self._source.lon)
        shape = len(challenger.starts), 3, len(ROWS), challenger.leads
        self.sums = np.zeros(shape)  # squared errors, observations, those without forecast

    def run(self) -> None:
        """Match all starts; one variable at one lead is held at a time."""
        for number in track(range(len(self._source.starts)), label="OceanBench class 4"):
            for lead in range(self._source.leads):
                day = self._observations(number, lead)
                for short, standard in names.STANDARD_NAME.items():
                    chosen = self._population.select(prepared(day, short, standard))
                    if len(chosen):
                        self._add(number, lead, short, chosen)

    def table(self, settings: BootstrapConfig) -> pd.DataFrame:
        """Rows in the columns of `scorer.Scorer.table`, those without an observation left out.

        `n_starts` counts the starts that have matchups; the rows `observations` and
        `missing_observations` are their numbers.
        """
        starts = len(self.sums)
        value = _pooled(self.sums.sum(axis=0)[None])[0]
        low, high = np.full((2, *value.shape), np.nan)
        if starts > 1:
            weights = resamples(starts, settings)
            drawn = _pooled(np.tensordot(weights, self.sums, axes=1))
            known = np.isfinite(drawn).any(axis=0)
            tail = 50.0 * (1.0 - settings.level)
            ends = np.nanpercentile(np.where(known, drawn, 0.0), (tail, 100 - tail), axis=0)
            low, high = np.where(known, ends, np.nan)
        number = (self.sums[:, 1] > self.sums[:, 2]).sum(axis=0)
        nothing = np.full_like(value, np.nan)
        parts = [self._rows(METRIC, value, low, high, number)]
        for metric, n in COUNTS.items():
            parts.append(self._rows(metric, self.sums[:, n].sum(axis=0), nothing, nothing, number))
        return pd.concat(parts, ignore_index=True)

    def _rows(self, metric: str, *columns: np.ndarray) -> pd.DataFrame:
        used = np.flatnonzero(self.sums[:, 1].sum(axis=(0, 2)) > 0)
        found = []
        for row in used:
            short, depth = ROWS[row]
            standard = names.STANDARD_NAME[short]
            label = names.row_label(standard, depth)
            if short == "zos":
                label = label.replace("Sea surface height", "Sea level anomaly")
            keys = {"metric": metric, "variable": standard, "depth": depth, "label": label}
            leads = pd.array(np.arange(self._source.leads) + 1, dtype="Int64")
            values = dict(zip(("value", "low", "high", "n_starts"), columns, strict=True))
            part = {name: x[row] for name, x in values.items()}
            found.append(pd.DataFrame({"lead_day": leads, **part}).assign(**keys))
        if not found:
            raise UserError(
                f"{self._folder}: no observation lies in OceanBench's ocean on the days of the "
                "forecasts; check their times and positions"
            )
        table = pd.concat(found, ignore_index=True)
        table["reference"], table["region"] = "observations", self._region
        return table.assign(oceanbench_version=names.VERSION)

    def _observations(self, start: int, lead: int) -> pd.DataFrame:
        """All observations of the day of a lead."""
        day = np.datetime64(self._source.starts[start]) + np.timedelta64(lead, "D")
        name = str(day).replace("-", "")
        paths = [self._folder / f"{name}{suffix}" for suffix in (".zarr", ".nc")]
        path = next((p for p in paths if p.exists()), None)
        if path is None:
            raise UserError(f"{paths[0]}: no observations of {day}; give every day of a forecast")
        data = open_file(path)
        needed = [*PLACE, *names.STANDARD_NAME.values()]
        if lacking := sorted(set(needed) - set(map(str, data.variables))):
            raise UserError(f"{path}: no variable {lacking[0]}; expected {', '.join(needed)}")
        table = pd.DataFrame({column: data[column].values for column in needed})
        table["time"] = pd.to_datetime(table["time"])
        begin = pd.Timestamp(day)
        today = (table["time"] >= begin) & (table["time"] < begin + pd.Timedelta(days=1))
        if self._box is not None:
            box, lat, lon = self._box, table["latitude"], table["longitude"]
            today &= lat.between(box.south, box.north) & lon.between(box.west, box.east)
        return table[today]

    def _add(self, start: int, lead: int, short: str, chosen: pd.DataFrame) -> None:
        """Add the matchups of one variable and lead."""
        standard, source = names.STANDARD_NAME[short], self._source
        if short == "zos":
            field = source.read(standard, start, lead) - self._topography - SSH_SHIFT
            levels, field = np.zeros(1), field[None]
        else:
            levels = source.depth
            field = source.read(standard, start, lead, np.arange(levels.size))
        forecast = matching.at_points(field, levels, source.lat, source.lon, chosen)
        error = (forecast - chosen["value"].to_numpy()) ** 2
        for row, (name, label) in enumerate(ROWS):
            if name == short:
                here = (chosen["bin"] == label).to_numpy()
                missing = np.isnan(error[here]).sum()
                self.sums[start, :, row, lead] += np.nansum(error[here]), here.sum(), missing


def prepared(day: pd.DataFrame, short: str, standard: str) -> pd.DataFrame:
    """Observations of one variable: columns `PLACE`, value and bin.

    Currents are those at 15 m, linear between the nearest above and below at one place and time;
    the others fall into bins of depth, and those outside all bins are left out.
    """
    found = day[[*PLACE, standard]].rename(columns={standard: "value"}).dropna(subset="value")
    if short in ("uo", "vo"):
        return _at_depth(found, VELOCITY_DEPTH).assign(bin="15m")
    if short == "zos":
        return found.assign(bin="surface")
    depth, label = found["depth"], pd.Series("", index=found.index)
    for name, (top, bottom) in BINS.items():
        label[(depth >= top) & (depth < bottom)] = name
    if short == "thetao":
        label[(depth >= SKIN[0]) & (depth < SKIN[1])] = "surface"
    return found.assign(bin=label)[label != ""]


def _at_depth(found: pd.DataFrame, target: float) -> pd.DataFrame:
    """Observations at one depth, from the means at the nearest depths above and below."""
    place = ["time", "latitude", "longitude"]
    found = found.dropna(subset=[*place, "depth"])
    sides = []
    for side, best in ((found["depth"] <= target, "max"), (found["depth"] >= target, "min")):
        part = found[side]
        nearest = part.groupby(place)["depth"].transform(best)
        sides.append(part[part["depth"] == nearest].groupby(place).mean())
    above, below = sides[0].add_suffix("_above"), sides[1].add_suffix("_below")
    both = above.join(below, how="inner").reset_index()
    span = both["depth_below"] - both["depth_above"]
    part = (target - both["depth_above"]) / span.where(span > 0, 1.0)
    value = both["value_above"] + part.where(span > 0, 0.0) * (
        both["value_below"] - both["value_above"]
    )
    return both[place].assign(depth=target, value=value)[[*PLACE, "value"]]


def _pooled(sums: np.ndarray) -> np.ndarray:
    """Root of the mean squared error (..., rows, leads) of sums (..., 3, rows, leads)."""
    number = sums[..., 1, :, :] - sums[..., 2, :, :]
    return np.sqrt(
        np.where(number > 0, sums[..., 0, :, :] / np.where(number > 0, number, 1.0), np.nan)
    )


def open_topography(path: Path) -> xr.DataArray:
    """The mean dynamic topography: a variable (latitude, longitude) in m.

    Raises:
        UserError: It is missing, or holds something else.
    """
    if not path.exists():
        raise UserError(f"{path}: no mean dynamic topography; fetch OceanBench's of your grid")
    data, standard = open_file(path), names.STANDARD_NAME["zos"]
    found = [x for n, x in data.data_vars.items() if x.attrs.get("standard_name", n) == standard]
    if len(found) != 1 or set(found[0].dims) != {"latitude", "longitude"}:
        raise UserError(
            f"{path}: expected one variable (latitude, longitude) with standard_name {standard}"
        )
    return found[0].transpose("latitude", "longitude")
