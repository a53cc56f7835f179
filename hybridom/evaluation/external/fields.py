"""Fields of foreign files by lead or by day, on one grid and finite in every wet cell."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping

import numpy as np

from hybridom.errors import UserError
from hybridom.evaluation.external.sources import Source
from hybridom.evaluation.external.times import Key, Place
from hybridom.evaluation.stores import climatology_rows
from hybridom.grid import Grid
from hybridom.variables import VARIABLES

Regrid = Callable[[np.ndarray, bool], np.ndarray]  # values, whether they have depth


def require_finite(
    values: np.ndarray, name: str, grid: Grid, wet: np.ndarray, where: str, hint: str
) -> np.ndarray:
    """The values, with zero on land; refused where a wet cell has none.

    Args:
        values: (nz or 1, ny, nx).
        name: Variable, for the message.
        grid: For areas.
        wet: bool (nz, ny, nx).
        where: File and day.
        hint: What to do.

    Raises:
        UserError: Names the number of cells and their share of the wet area.
    """
    cells = wet[: len(values)]
    bad = cells & ~np.isfinite(values)
    if bad.any():
        share = (bad * grid.area).sum() / (cells * grid.area).sum()
        level, row, column = (int(n) for n in np.argwhere(bad)[0])
        at = f"{grid.depth[level]:g} m, " if VARIABLES[name].has_depth else ""
        raise UserError(
            f"{where}: {name} has no value in {bad.sum()} wet cells ({100 * share:.3g} % of the "
            f"wet area), first at {at}{grid.lat[row]:g} N {grid.lon[column]:g} E; {hint}"
        )
    return np.where(cells, values, np.zeros((), values.dtype))


class ForecastFields:
    """One forecast, as a system of a case.

    Args:
        index: Variable -> (start, lead) -> place.
        start: Start date.
        grid: The grid.
        wet: bool (nz, ny, nx).
    """

    def __init__(
        self, index: Mapping[str, Mapping[Key, Place]], start: dt.date, grid: Grid, wet: np.ndarray
    ) -> None:
        self._index, self._start = index, start
        self._grid, self._wet = grid, wet

    def field(self, name: str, lead: int, normal: object) -> np.ndarray:
        """The stored field (nz or 1, ny, nx)."""
        found = self._index[name].get((self._start, lead))
        if found is None:
            raise UserError(
                f"forecast from {self._start}: {name} has no lead {lead}; expected it in the files "
                "given as --forecast" + (" (the state at the start)" if lead == 0 else "")
            )
        source, at = found
        where = f"{source.path}, lead {lead} from {self._start}"
        hint = "expected a value in every cell where the truth has one, or give --mask common"
        return require_finite(source.read(name, at), name, self._grid, self._wet, where, hint)


class DailyFields:
    """The truth by calendar day.

    Args:
        index: Variable -> day -> place; no days where there is no truth.
        grid: The grid.
        wet: bool (nz, ny, nx).
        regrid: From the files' grid to it, or None where they are the same.
    """

    def __init__(
        self,
        index: Mapping[str, Mapping[dt.date, Place]],
        grid: Grid,
        wet: np.ndarray,
        regrid: Regrid | None = None,
    ) -> None:
        self._index, self._grid, self._wet, self._regrid = index, grid, wet, regrid

    def field(self, name: str, day: dt.date) -> np.ndarray:
        """A variable on a day (nz or 1, ny, nx).

        Raises:
            UserError: There is no field of that day, or it lacks values in wet cells.
        """
        hint = "expected the mask of its first day on every day, mend the file"
        where = f"{self._place(name, day)[0].path}, {day}"
        return require_finite(self.raw(name, day), name, self._grid, self._wet, where, hint)

    def holds(self, name: str, day: dt.date) -> bool:
        """Whether there is a field of a day."""
        return day in self._index[name]

    def raw(self, name: str, day: dt.date) -> np.ndarray:
        """The field as it is, NaN where there is none."""
        source, at = self._place(name, day)
        values = source.read(name, at)
        return values if self._regrid is None else self._regrid(values, VARIABLES[name].has_depth)

    def _place(self, name: str, day: dt.date) -> Place:
        days = self._index[name]
        if not days:
            raise UserError(f"no truth of {name}; expected files that hold it as --truth")
        if day not in days:
            path = next(iter(days.values()))[0].path
            raise UserError(
                f"{path}: no truth of {name} on {day} (days run from {min(days)} to {max(days)}); "
                "expected every day that the forecasts reach, give more files as --truth"
            )
        return days[day]


class ClimatologyFields:
    """A daily climatology of 365 rows.

    Args:
        source: The store.
        grid: The grid.
        wet: bool (nz, ny, nx).
        regrid: From the store's grid to it, or None where they are the same.
    """

    AXIS = "dayofyear"

    def __init__(
        self, source: Source, grid: Grid, wet: np.ndarray, regrid: Regrid | None = None
    ) -> None:
        self._source, self._grid, self._wet, self.regrid = source, grid, wet, regrid
        rows = source.data.get(self.AXIS)
        if rows is None or not np.array_equal(rows.values, np.arange(1, 366)):
            raise UserError(
                f"{source.path}: not a daily climatology; expected the axis {self.AXIS} from 1 to "
                "365, as `hybridom prepare climatology` writes it"
            )

    def field(self, name: str, day: dt.date) -> np.ndarray:
        """The climatology of a day; 29 February is the mean of its neighbours."""
        fields = [self._source.read(name, {self.AXIS: row}) for row in climatology_rows(day)]
        values = fields[0] if len(fields) == 1 else sum(fields[1:], start=fields[0]) / len(fields)
        if self.regrid is not None:
            values = self.regrid(np.asarray(values), VARIABLES[name].has_depth)
        hint = "expected a value wherever the truth has one, or give --mask common"
        where = f"{self._source.path}, climatology of {day}"
        return require_finite(np.asarray(values), name, self._grid, self._wet, where, hint)
