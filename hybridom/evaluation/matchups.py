"""Forecasts at the places and days of observations (class 4 of GODAE OceanView).

An observation is compared with the daily mean of its calendar day, at every lead that reaches it
(Ryan et al. 2015, J. Oper. Oceanogr. 8, s98). All systems are taken at the same observations.

Horizontally the value is bilinear in the four surrounding cell centres. Corners on land have no
weight, and the others are scaled up; where the nearest of the four is land there is no value.
Vertically it is linear between the levels around the observation, both of which need a value;
above the topmost level that level is taken, and below the lowest one there is no value.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hybridom.errors import UserError
from hybridom.evaluation.bootstrap import Means
from hybridom.evaluation.case import Case, Day
from hybridom.evaluation.external.interpolation import bracket
from hybridom.evaluation.families import KEYS, Family
from hybridom.evaluation.observations import SLA
from hybridom.grid import Grid
from hybridom.variables import VARIABLES

# Depths (m) from the first up to, not including, the second; OceanBench's, and what lies below.
BINS: dict[str, tuple[float, float]] = {
    "all": (-np.inf, np.inf),
    "surface": (-1.0, 1.0),
    "0-5 m": (0.0, 5.0),
    "5-100 m": (5.0, 100.0),
    "100-300 m": (100.0, 300.0),
    "300-600 m": (300.0, 600.0),
    "below 600 m": (600.0, np.inf),
}
FAMILY = Family("matchups", "Observations", ("depth_bin",), skill="rmse")
SUMS = ("count", "error", "error_absolute", "error_squared")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Places:
    """Cells around observations.

    Attributes:
        found: bool (n,), whether there is a value.
        cells: Index into the flattened field (n, 8), of those with a value.
        weights: (n, 8), summing to 1, 0 on land.
        nearest: Row and column (2, n) of the nearest cell.
    """

    found: np.ndarray
    cells: np.ndarray
    weights: np.ndarray
    nearest: np.ndarray

    def take(self, field: np.ndarray) -> np.ndarray:
        """A field (nz or 1, ny, nx) at the observations, float64."""
        values = field.reshape(-1)[self.cells].astype(np.float64)
        return np.where(self.weights > 0, self.weights * values, 0.0).sum(axis=1)


def places(
    grid: Grid, wet: np.ndarray, lat: np.ndarray, lon: np.ndarray, depth: np.ndarray | None
) -> Places:
    """Find the cells around observations and their weights.

    Args:
        grid: The grid.
        wet: Cells with values (nz or 1, ny, nx).
        lat: Degrees north (n,).
        lon: Degrees east (n,), in any range.
        depth: m (n,), or None for fields without depth.
    """
    rows = bracket(grid.lat, lat)
    if not grid.periodic:
        middle = 0.5 * (grid.lon[0] + grid.lon[-1])
        lon = (lon - middle + 180.0) % 360.0 + middle - 180.0
    columns = bracket(grid.lon, lon, 360.0 if grid.periodic else None)
    top = np.zeros(lat.size) if depth is None else np.maximum(depth, grid.depth[0])
    levels = bracket(grid.depth if depth is not None else np.zeros(1), top)
    found = np.isfinite(rows.weight) & np.isfinite(columns.weight) & np.isfinite(levels.weight)
    cells, weights = [], []
    near_row = np.where(rows.weight < 0.5, rows.lower, rows.upper)
    near_column = np.where(columns.weight < 0.5, columns.lower, columns.upper)
    for level, part in ((levels.lower, 1.0 - levels.weight), (levels.upper, levels.weight)):
        needed = part > 0
        found &= ~needed | wet[level, near_row, near_column]
        corners = []
        for row, south in ((rows.lower, 1.0 - rows.weight), (rows.upper, rows.weight)):
            for column, west in (
                (columns.lower, 1.0 - columns.weight),
                (columns.upper, columns.weight),
            ):
                cells.append(np.ravel_multi_index((level, row, column), wet.shape))
                corners.append(np.where(wet[level, row, column], south * west, 0.0))
        total = np.sum(corners, axis=0)
        weights += [part * corner / np.where(total > 0, total, 1.0) for corner in corners]
    nearest = np.stack([near_row, near_column])
    kept = np.flatnonzero(found)
    return Places(
        found, np.stack(cells, axis=1)[kept], np.stack(weights, axis=1)[kept], nearest[:, kept]
    )


class Matchups:
    """Forecasts of one case at observations.

    Args:
        case: The forecast; its truth is not looked at.
        observations: Table of `observations.read_observations`.
        mean_topography: Mean dynamic topography (ny, nx) in m, for `sla`; or None.
        sla_offset: Added to zos less that topography, m.

    Attributes:
        names: Variables of the observations that the forecast has.

    Raises:
        UserError: There are observations of `sla` and no mean dynamic topography.
    """

    def __init__(
        self,
        case: Case,
        observations: pd.DataFrame,
        mean_topography: np.ndarray | None = None,
        sla_offset: float = 0.0,
    ) -> None:
        self._case, self._observations = case, observations
        self._topography, self._offset = mean_topography, sla_offset
        days = observations["time"].to_numpy().astype("datetime64[D]")
        self._days = days
        known = [name for name in (*VARIABLES, SLA) if name in set(observations["variable"])]
        self.names = [n for n in known if (n if n != SLA else "zos") in case.names]
        if SLA in self.names and mean_topography is None:
            raise UserError(
                "observations hold sla, which is zos less a mean dynamic topography; expected "
                "--mdt FILE on the forecast's grid, or a table without sla"
            )

    def each_lead(self) -> list[pd.DataFrame]:
        """Matchups of every lead from 1; only what is observed on a day is read."""
        return [self.of_day(self._case.day(lead)) for lead in range(1, self._case.days + 1)]

    def of_day(self, day: Day) -> pd.DataFrame:
        """Matchups of one day.

        Returns:
            The columns of the observations, then start, lead, row and column of the nearest cell,
            and a column a system.
        """
        first, last = np.searchsorted(
            self._days, [np.datetime64(day.date), np.datetime64(day.date + dt.timedelta(1))]
        )
        that_day = self._observations.iloc[first:last]
        parts = [
            self._of_variable(day, name, part)
            for name in self.names
            if len(part := that_day[that_day["variable"] == name])
        ]
        if not parts:
            return self._of_variable(day, "", that_day.iloc[:0])
        return pd.concat(parts, ignore_index=True)

    def _of_variable(self, day: Day, name: str, rows: pd.DataFrame) -> pd.DataFrame:
        case = self._case
        field_name = "zos" if name == SLA else name
        deep = field_name in VARIABLES and VARIABLES[field_name].has_depth
        wet = case.wet if deep else case.wet[:1]
        if name == SLA and self._topography is not None:
            wet = wet & np.isfinite(self._topography)
        depth = rows["depth"].to_numpy(np.float64) if deep else None
        lat, lon = (rows[axis].to_numpy(np.float64) for axis in ("latitude", "longitude"))
        place = places(case.grid, wet, lat, lon, depth)
        found = rows[place.found].assign(
            start=pd.Timestamp(case.start),
            lead=np.int32(day.lead),
            row=place.nearest[0],
            column=place.nearest[1],
        )
        shift = np.zeros(len(found))
        if name == SLA and self._topography is not None:
            shift = self._offset - place.take(self._topography)
        values = {
            system: (place.take(day.forecast(system, name if name != SLA else "zos")) + shift)
            if len(rows)
            else np.empty(0)
            for system in case.systems
        }
        return found.assign(**values)


def sums_table(matchups: pd.DataFrame, case: Case, variables: Sequence[str]) -> pd.DataFrame:
    """Sums of the errors, forecast minus observation, of one start.

    Args:
        matchups: All leads of the start.
        case: The forecast.
        variables: Those that have rows, whether observed on these days or not.

    Returns:
        Columns `KEYS`, depth_bin and value: metrics `SUMS`, NaN where there is no matchup.
    """
    inside = case.regions.inside[:, matchups["row"].to_numpy(), matchups["column"].to_numpy()]
    errors = matchups[list(case.systems)].to_numpy(np.float64)
    errors = errors - matchups["observed"].to_numpy(np.float64)[:, None]
    terms = np.stack([np.ones_like(errors), errors, np.abs(errors), errors**2], axis=1)
    leads = matchups["lead"].to_numpy() - 1
    depth, names = matchups["depth"].to_numpy(), matchups["variable"].to_numpy()
    tables = []
    for variable in variables:
        deep = variable in VARIABLES and VARIABLES[variable].has_depth
        for label, (top, bottom) in BINS.items() if deep else [("all", BINS["all"])]:
            chosen = (names == variable) & (depth >= top) & (depth < bottom)
            for region, cells in zip(case.regions.names, inside, strict=True):
                rows = np.flatnonzero(chosen & cells)
                total = np.zeros((case.days, len(SUMS), len(case.systems)))
                np.add.at(total, leads[rows], terms[rows])
                total = np.moveaxis(total, 1, 0)
                total = np.where(total[0] > 0, total, np.nan)
                keys = {"region": region, "variable": variable, "depth_bin": label}
                tables.append(_rows(total, list(case.systems), keys))
    table = pd.concat(tables, ignore_index=True).assign(depth=np.nan)
    return table[[*KEYS, "depth_bin", "value"]]


def _rows(total: np.ndarray, systems: list[str], keys: Mapping[str, str]) -> pd.DataFrame:
    axes = {"metric": list(SUMS), "lead": range(1, total.shape[1] + 1), "system": systems}
    index = pd.MultiIndex.from_product(axes.values(), names=axes.keys())
    return index.to_frame(index=False).assign(**keys, value=total.ravel())


def finish(means: Means) -> dict[str, np.ndarray]:
    """From mean sums over start dates to metrics pooled over all matchups."""
    count = means["count"]
    return {
        "rmse": np.sqrt(means["error_squared"] / count),
        "bias": means["error"] / count,
        "mae": means["error_absolute"] / count,
        "count": count,
    }


def with_counts(table: pd.DataFrame) -> pd.DataFrame:
    """The table of `averages.average` with the number of matchups as a column of all rows."""
    keys = [name for name in (*KEYS, *FAMILY.keys) if name != "metric"]
    counts = table[table["metric"] == "count"]
    total = (counts["value"] * counts["n_starts"]).round().astype(np.int64)
    counts = counts[keys].assign(count=total)
    rest = table[table["metric"] != "count"]
    return rest.merge(counts, on=keys, how="left", validate="many_to_one")
