"""Fields of the forecast, the truth and the climatology, aligned or refused.

All three must lie on the grid of grid.nc, in the units of `hybridom.variables`, and hold the days
that are asked for. Nothing is interpolated, shifted, converted or filled here. Fields may be read
from several threads at once.
"""

from __future__ import annotations

import datetime as dt
import json
import threading
from pathlib import Path

import numpy as np
import xarray as xr
import zarr

from hybridom.data.days import climatology_rows as two_rows
from hybridom.data.days import day_number
from hybridom.data.stores import open_arrays, open_store, store_gaps
from hybridom.data.stores.fetching import rows_of
from hybridom.errors import UserError
from hybridom.evaluation.reading import Take, fresh, read_row
from hybridom.grid import Grid
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC, UNIT_SPELLINGS, VARIABLES

AXIS_TOLERANCE = 1e-4  # degrees or metres; coordinates stored in single precision differ by less


class Store:
    """One Zarr store on the model grid, checked when it is opened.

    Args:
        path: The store.
        manifest: Its manifest, which is written last: without it the store is not complete.
        grid: The model grid.
        wet: bool (nz, ny, nx).
        made_by: The command that makes the store, for messages.

    Raises:
        UserError: The store is missing, incomplete, of another grid, in other units, or packed.
    """

    def __init__(
        self, path: Path, manifest: Path, grid: Grid, wet: np.ndarray, made_by: str
    ) -> None:
        self.path = path
        if not manifest.is_file():
            raise UserError(
                f"{path}: the store or its manifest {manifest.name} is missing; run `{made_by}`"
            )
        found = json.loads(manifest.read_text(encoding="utf-8")).get("grid_hash")
        if found != grid.hash:
            raise UserError(
                f"{manifest}: grid hash {found} found, that of grid.nc is {grid.hash}; "
                f"run `{made_by}` again on this grid"
            )
        self.data = open_store(path)
        for axis, values in (
            ("depth", grid.depth),
            ("latitude", grid.lat),
            ("longitude", grid.lon),
        ):
            _check_axis(self.data, axis, values, path)
        for name in PROGNOSTIC:
            _check_variable(self.data, name, path)
        arrays = open_arrays(path, PROGNOSTIC)
        for name, array in arrays.items():
            _check_encoding(self.data[name], array, path)
        self._rows = {name: rows_of(name, array) for name, array in arrays.items()}
        self._wet = wet

    def read(self, name: str, index: int, take: Take = fresh) -> np.ndarray:
        """One field as stored.

        Args:
            name: Prognostic variable.
            index: Position on the leading dimension (`time`, `lead` or `dayofyear`).
            take: Gives memory.

        Returns:
            float32 (nz, ny, nx), or (1, ny, nx) for a variable without depth; NaN on land, and
            wherever else a value is missing.

        Raises:
            UserError: The store is damaged.
        """
        cells = self._wet.shape[0 if VARIABLES[name].has_depth else 1 :]
        return read_row(self._rows[name], index, cells, take)

    def read_whole(self, name: str, index: int, what: str, take: Take = fresh) -> np.ndarray:
        """One field as stored, finite in every wet cell.

        Args:
            name: Prognostic variable.
            index: Position on the leading dimension.
            what: The day in words, for messages.
            take: Gives memory.

        Returns:
            float32 (nz or 1, ny, nx).

        Raises:
            UserError: A wet cell has no finite value, or the store is damaged.
        """
        values = self.read(name, index, take)
        bad = self._wet[: len(values)] & ~np.isfinite(values)
        if bad.any():
            level, row, column = np.argwhere(bad)[0]
            raise UserError(
                f"{self.path}: {name} is not finite in {bad.sum()} wet cells on {what}, first at "
                f"level {level}, row {row}, column {column}; expected a number in every wet cell, "
                "make the store again"
            )
        return values


class ForecastStore(Store):
    """One forecast: lead 0 (the initial state) to the last lead.

    Args:
        layout: Paths.
        grid: The model grid.
        wet: bool (nz, ny, nx).
        start: Start date.
        days: The last lead that the store must hold.
    """

    def __init__(
        self, layout: Layout, grid: Grid, wet: np.ndarray, start: dt.date, days: int
    ) -> None:
        command = f"hybridom forecast --start {start}"
        paths = layout.forecast_store(start), layout.forecast_manifest(start)
        super().__init__(*paths, grid, wet, command)
        self.start = start
        self._last = days
        leads = [int(lead) for lead in self.data["lead"].values]
        if leads != list(range(days + 1)):
            missing = sorted(set(range(days + 1)) - set(leads))
            found = f"lead {missing[0]} is missing" if missing else f"leads end at {leads[-1]}"
            raise UserError(
                f"{self.path}: {found}; expected leads 0 to {days} in order, run `{command}`"
            )
        for lead, time in enumerate(self.data["time"].values):
            expected = _midnight(start + dt.timedelta(lead))
            if time != expected:
                raise UserError(
                    f"{self.path}: lead {lead} is valid at {_text(time)}; expected "
                    f"{_text(expected)}, run `{command}` again"
                )

    def field(self, name: str, lead: int) -> np.ndarray:
        """A variable at a lead in days, float64 (nz or 1, ny, nx), finite in every wet cell."""
        return self.whole(name, lead).astype(np.float64)

    def whole(self, name: str, lead: int, take: Take = fresh) -> np.ndarray:
        """The same as stored: float32."""
        what = f"lead {lead} of the forecast from {self.start}"
        return self.read_whole(name, lead, what, take)

    def stored(self, name: str, lead: int, take: Take = fresh) -> np.ndarray:
        """The same as stored: float32, wet cells not looked at."""
        return self.read(name, lead, take)


class Truth:
    """The verifying analysis, read from one store a year.

    Args:
        layout: Paths.
        grid: The model grid.
        wet: bool (nz, ny, nx).
    """

    def __init__(self, layout: Layout, grid: Grid, wet: np.ndarray) -> None:
        self._layout, self._grid, self._wet = layout, grid, wet
        self._years: dict[int, Year] = {}
        self._lock = threading.Lock()

    def _year(self, day: dt.date) -> Year:
        with self._lock:
            if day.year not in self._years:
                path = self._layout.state_store(day.year)
                manifest = self._layout.state_manifest(day.year)
                self._years[day.year] = Year(path, manifest, self._grid, self._wet, day.year)
            return self._years[day.year]

    def is_gap(self, day: dt.date) -> bool:
        """Whether the day stands in its store without values."""
        return day_number(day) in self._year(day).gaps

    def field(self, name: str, day: dt.date) -> np.ndarray:
        """A variable on a day, float64 (nz or 1, ny, nx), finite in every wet cell.

        Raises:
            UserError: The store has no field stamped 00:00 of that day, or the day is a gap, or
                a wet cell has no value.
        """
        year, position = self._place(day)
        return year.read_whole(name, position, str(day)).astype(np.float64)

    def stored(self, name: str, day: dt.date, take: Take = fresh) -> np.ndarray:
        """The same as stored: float32, wet cells not looked at."""
        year, position = self._place(day)
        return year.read(name, position, take)

    def _place(self, day: dt.date) -> tuple[Year, int]:
        year = self._year(day)
        if day_number(day) in year.gaps:
            raise UserError(
                f"{year.path}: {day} is a gap, there is no truth for it; expected every day "
                "that forecasts reach: leave out their start dates, or fetch the day's raw file "
                f"and run `hybridom prepare state --year {day.year}`"
            )
        position = year.index.get(_midnight(day))
        if position is None:
            raise UserError(
                f"{year.path}: no truth stamped {_text(_midnight(day))} (times run from "
                f"{_text(min(year.index))} to {_text(max(year.index))}); extend `periods` "
                f"or run `hybridom prepare state --year {day.year}`"
            )
        return year, position


class Year(Store):
    """The states of one year.

    Args:
        path: The store.
        manifest: Its manifest.
        grid: The model grid.
        wet: bool (nz, ny, nx).
        year: The year.

    Attributes:
        index: Time stamp -> position.
        gaps: Days since 1970-01-01 that stand in the store without values.
    """

    def __init__(self, path: Path, manifest: Path, grid: Grid, wet: np.ndarray, year: int) -> None:
        command = f"hybridom prepare state --year {year}"
        super().__init__(path, manifest, grid, wet, command)
        times = self.data["time"].values.astype("datetime64[ns]")
        self.index = {time: position for position, time in enumerate(times)}
        self.gaps = store_gaps(path)
        if len(self.index) != len(times):
            raise UserError(f"{path}: a day appears twice; run `{command}` again")


class Climatology(Store):
    """The daily climatology of the training period: 365 rows.

    Args:
        layout: Paths.
        grid: The model grid.
        wet: bool (nz, ny, nx).
    """

    def __init__(self, layout: Layout, grid: Grid, wet: np.ndarray) -> None:
        command = "hybridom prepare climatology"
        paths = layout.climatology_store, layout.climatology_manifest
        super().__init__(*paths, grid, wet, command)
        days = self.data["dayofyear"].values
        if not np.array_equal(days, np.arange(1, 366)):
            raise UserError(f"{self.path}: expected dayofyear 1 to 365; run `{command}` again")

    def field(self, name: str, day: dt.date) -> np.ndarray:
        """A variable on a day, float64 (nz or 1, ny, nx), finite in every wet cell."""
        return self.whole(name, day).astype(np.float64, copy=False)

    def whole(self, name: str, day: dt.date, take: Take = fresh) -> np.ndarray:
        """The same as stored: float32, on 29 February a mean in float64."""
        rows = climatology_rows(day)
        return _mean(
            *(self.read_whole(name, row, f"day {row + 1} of the year", take) for row in rows)
        )

    def stored(self, name: str, day: dt.date, take: Take = fresh) -> np.ndarray:
        """The same as `whole`, wet cells not looked at."""
        return _mean(*(self.read(name, row, take) for row in climatology_rows(day)))


def climatology_rows(day: dt.date) -> tuple[int, ...]:
    """Rows (from 0) of a 365-day climatology whose mean is that of a day, each once."""
    return tuple(dict.fromkeys(two_rows(day)))


def _mean(first: np.ndarray, second: np.ndarray | None = None) -> np.ndarray:
    """Mean of two fields in float64; one alone as it is."""
    return first if second is None else 0.5 * (first.astype(np.float64) + second)


def _midnight(day: dt.date) -> np.datetime64:
    return np.datetime64(day, "ns")


def _text(time: np.datetime64) -> str:
    return str(time.astype("datetime64[m]")).replace("T", " ")


def _check_axis(data: xr.Dataset, axis: str, expected: np.ndarray, path: Path) -> None:
    """Refuse a store whose axis differs from the grid's."""
    if axis not in data.coords:
        raise UserError(f"{path}: coordinate {axis} is missing; expected that of grid.nc")
    found = data[axis].values
    if found.shape != expected.shape:
        raise UserError(
            f"{path}: {axis} has {found.size} values, grid.nc has {expected.size}; make the store "
            "again on this grid"
        )
    difference = np.abs(found - expected)
    if difference.max() > AXIS_TOLERANCE:
        worst = int(difference.argmax())
        raise UserError(
            f"{path}: {axis}[{worst}] is {found[worst]:g}, grid.nc has {expected[worst]:g}; make "
            "the store again on this grid"
        )


def _check_variable(data: xr.Dataset, name: str, path: Path) -> None:
    """Refuse a variable that is absent or in other units."""
    if name not in data:
        raise UserError(f"{path}: variable {name} is missing; expected {', '.join(PROGNOSTIC)}")
    expected = VARIABLES[name].units
    found = data[name].attrs.get("units")
    if found not in UNIT_SPELLINGS[expected]:
        raise UserError(
            f"{path}: {name} is in units {found!r}; expected {expected!r}, make the store again"
        )


def _check_encoding(variable: xr.DataArray, array: object, path: Path) -> None:
    """Refuse packed values, which are read as they lie in the store."""
    encoding = variable.encoding
    fill = encoding.get("_FillValue", np.nan)
    packed = {"scale_factor", "add_offset"} & set(encoding)
    if isinstance(array, zarr.Array) and (
        packed or array.dtype != np.float32 or not np.isnan(fill)
    ):
        raise UserError(
            f"{path}: {variable.name} is stored as {array.dtype} with {encoding}; expected plain "
            "float32 with NaN on land, make the store again"
        )
