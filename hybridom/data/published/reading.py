"""Published files as if they were stores: full fields in physical units, NaN on land.

The dictionaries that these functions are given are the entries `published` of the manifests that
`hybridom.data.published.preparing` writes.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridom.data.days import DAYS_IN_YEAR, climatology_rows, day_number
from hybridom.data.plans import daily_coordinates, daily_mean
from hybridom.data.published.layout import (
    ANOMALIES,
    KEY,
    Box,
    FileAxes,
    climatology_channels,
    forcing_channels,
    state_channels,
)
from hybridom.errors import UserError
from hybridom.grid import Grid, read_grid
from hybridom.variables import FLUXES8, VARIABLES

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]
Entry = Mapping[str, Any]


def year_days(year: int) -> list[dt.date]:
    """All days of a calendar year, ascending."""
    first = dt.date(year, 1, 1)
    return [first + dt.timedelta(n) for n in range((dt.date(year + 1, 1, 1) - first).days)]


class Climatology:
    """The published climatology of thetao, so and zos, mapped into memory.

    Args:
        path: climate_mean_s_t_ssh.npy: (365, 4 nz + 1, rows + 1, columns), north to south, with a
            first row that is dropped.
        axes: Axes of the state files that it belongs to.
        box: Where the model grid lies in them.

    Raises:
        UserError: The file is missing, no array, or of another shape.
    """

    def __init__(self, path: Path, axes: FileAxes, box: Box) -> None:
        self._path, self._box = path, box
        self._channels = climatology_channels(axes.depth.size)
        self._rows = axes.lat.size
        expected = (DAYS_IN_YEAR, 4 * axes.depth.size + 1, axes.lat.size + 1, axes.lon.size)
        if self._array.shape != expected:
            raise UserError(
                f"{path}: shape {self._array.shape}, expected {expected} (days, channels, rows and "
                "one more, columns): correct source.climatology"
            )

    @cached_property
    def _array(self) -> np.ndarray:
        return load_array(self._path, "climatology")

    def __getstate__(self) -> dict[str, Any]:
        """Without the mapping, which would be copied as a whole into every loader process."""
        return {key: value for key, value in self.__dict__.items() if key != "_array"}

    def of_day(self, name: str, day: dt.date) -> Float32:
        """Climatology of a day: ([nz,] ny, nx); 29 February is the mean of its neighbours."""
        before, after = climatology_rows(day)
        first = self._row(name, before)
        if before == after:
            return first
        return np.float32(0.5) * (first + self._row(name, after))

    def _row(self, name: str, row: int) -> Float32:
        # Counted from the end, because the file runs from north to south.
        north = self._rows - self._box.rows.stop
        cut = slice(1 + north, 1 + self._rows - self._box.rows.start)
        channels = self._channels[name]
        if not VARIABLES[name].has_depth:
            values = self._array[row, channels.start, cut]
            return np.asarray(self._box.cut(values[::-1], rows_cut=True), np.float32)
        first, thin = _level_run(self._box.levels)
        start = channels.start + first.start
        values = self._array[row, start : start + first.stop - first.start, cut][thin]
        return np.asarray(self._box.cut(values[:, ::-1], rows_cut=True), np.float32)


def load_array(path: Path, key: str) -> np.ndarray:
    """An .npy file, mapped into memory; `key` is the one of `source` that names it.

    Raises:
        UserError: It is missing or no array.
    """
    try:
        return np.load(path, mmap_mode="r")
    except (OSError, ValueError) as e:
        text = " ".join(str(e).split())
        raise UserError(
            f"{path}: no readable .npy file ({text}): correct source.{key} of the configuration"
        ) from None


def _level_run(levels: NDArray[np.intp]) -> tuple[slice, slice | NDArray[np.intp]]:
    """Shortest run of levels that holds those wanted, and how to thin it out."""
    first, last = int(levels[0]), int(levels[-1])
    every = levels.size == last - first + 1
    return slice(first, last + 1), slice(None) if every else levels - first


class PublishedArray:
    """One variable of a year: indexed like a stored array, (days, [nz,] ny, nx) float32.

    Every access reads one run of channels, whole levels of consecutive days at once. It may be used
    by several threads, sent to other processes, and used on both sides of a fork.

    Args:
        path: State or forcing file.
        days: Days of the year.
        name: Variable.
        channels: Its channels.
        box: Where the model grid lies in the file.
        dry: Land, ([nz,] ny, nx). Ocean variables are NaN there. Forcing, which networks see over
            land too, takes the mean of the day's other cells where a file has none over land.
        climatology: What to add to the stored anomaly; None for full fields.
    """

    dtype = np.dtype(np.float32)

    def __init__(
        self,
        path: Path,
        days: Sequence[dt.date],
        name: str,
        channels: slice,
        box: Box,
        dry: Mask,
        climatology: Climatology | None,
    ) -> None:
        self._path, self._days, self._name = path, days, name
        self._box, self._dry, self._climatology = box, dry, climatology
        self._deep = VARIABLES[name].has_depth
        self._run, self._thin = _level_run(box.levels if self._deep else np.zeros(1, np.intp))
        self._run = slice(channels.start + self._run.start, channels.start + self._run.stop)
        cell = (box.rows.stop - box.rows.start, box.columns.size)
        self.shape = (len(days), *((box.levels.size,) if self._deep else ()), *cell)
        self.ndim = len(self.shape)
        self._opened: tuple[int, h5py.Dataset] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the open file, which belongs to this process."""
        return {**self.__dict__, "_opened": None}

    def __len__(self) -> int:
        """Number of days."""
        return self.shape[0]

    def __getitem__(self, key: Any) -> Float32:
        """Values of a day, or of a range of days; further indices apply to what was read."""
        key, *rest = key if isinstance(key, tuple) else (key,)
        if isinstance(key, slice):
            first, stop, step = key.indices(len(self))
            values = self._read(first, max(first, stop))[::step]
            return values[(slice(None), *rest)]
        row = range(len(self))[key]
        return self._read(row, row + 1)[(0, *rest)]

    def _data(self) -> h5py.Dataset:
        # HDF5 handles do not survive a fork: each process opens the file itself.
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = os.getpid(), h5py.File(self._path, "r")[KEY]
        return self._opened[1]

    def _read(self, first: int, stop: int) -> Float32:
        values = self._data()[first:stop, self._run, self._box.rows]
        values = self._box.cut(values[:, self._thin], rows_cut=True)
        values = np.ascontiguousarray(values if self._deep else values[:, 0], np.float32)
        if self._climatology is not None:
            for row, day in enumerate(self._days[first:stop]):
                values[row] += self._climatology.of_day(self._name, day)
        if VARIABLES[self._name].role == "forcing":
            return _fill_land(values, self._dry)
        np.copyto(values, np.float32(np.nan), where=self._dry)
        return values


def _fill_land(values: Float32, dry: Mask) -> Float32:
    """Give land cells (days, ny, nx) without value the mean of the cells with one that day."""
    absent = np.isnan(values)
    if absent.any():
        held = np.count_nonzero(~absent, axis=(1, 2), keepdims=True)
        total = np.where(absent, 0.0, values).sum(axis=(1, 2), keepdims=True, dtype=np.float64)
        means = (total / np.maximum(held, 1)).astype(np.float32)
        np.copyto(values, means, where=absent & dry & (held > 0))
    return values


def entry_grid(entry: Entry) -> tuple[Grid, Mask]:
    """Model grid and wet mask of an entry.

    Raises:
        UserError: grid.nc is missing or was made for another grid, or a file has changed.
    """
    grid, wet = read_grid(Path(entry["grid"]))
    if grid.hash != entry["grid_hash"]:
        raise UserError(
            f"{entry['grid']}: grid {grid.hash}, expected {entry['grid_hash']} for which "
            f"{entry['file']} was checked: run `hybridom prepare {entry['kind']}` again"
        )
    for name, stamp in entry["stamps"].items():
        if file_stamp(Path(name)) != list(stamp):
            raise UserError(
                f"{name}: missing or changed since it was checked for {entry['year']}; expected "
                f"{stamp[0]} bytes: run `hybridom prepare {entry['kind']}` again"
            )
    return grid, wet


def file_stamp(path: Path) -> list[int]:
    """Size (bytes) and time of change (ns) of a file; zeros where there is none."""
    if not path.exists():
        return [0, 0]
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def open_arrays(entry: Entry, names: Sequence[str]) -> dict[str, Any]:
    """Variables of a year.

    Args:
        entry: Entry `published` of a manifest.
        names: Variables, or `time`.

    Returns:
        Variable -> array-like (days of the year, [nz,] ny, nx) float32: full fields, NaN on land;
        the fluxes of forcing files are normalised to [0, 1]. `time`: (days of the year,) days
        since 1970-01-01.

    Raises:
        UserError: A file is missing, has changed, or does not hold a variable.
    """
    days = year_days(entry["year"])
    found: dict[str, Any] = {}
    if "time" in names:
        found["time"] = np.array([day_number(day) for day in days], np.int32)
    if set(names) <= set(found):
        return found
    grid, wet = entry_grid(entry)
    path = Path(entry["file"])
    axes = FileAxes.read(path, len(days))
    box = Box.find(grid, axes, path)
    channels = state_channels(axes.depth.size) if axes.depth.size else forcing_channels()
    climatology: Climatology | None = None
    if set(names) & set(ANOMALIES):
        climatology = Climatology(Path(entry["climatology"]), axes, box)
    for name in names:
        if name != "time" and name not in entry["variables"]:
            raise UserError(
                f"{path}: variable {name} is not among {', '.join(entry['variables'])}: make the "
                f"manifest again with `hybridom prepare {entry['kind']}`"
            )
        if name in channels:
            dry = ~wet if VARIABLES[name].has_depth else ~wet[0]
            add = climatology if name in ANOMALIES else None
            found[name] = PublishedArray(path, days, name, channels[name], box, dry, add)
    return found


def grid_hash(entry: Entry) -> str:
    """Hash of the model grid that the year was checked for."""
    return str(entry["grid_hash"])


def gaps(entry: Entry) -> frozenset[int]:
    """Days without values, as days since 1970-01-01."""
    return frozenset(day_number(dt.date.fromisoformat(day)) for day in entry["gaps"])


def open_dataset(entry: Entry) -> xr.Dataset:
    """A year as a dataset like that of a store, values loaded on access, one chunk a day.

    Raises:
        UserError: As `open_arrays`.
    """
    import dask.array as da

    grid, _ = read_grid(Path(entry["grid"]))
    attrs = {"title": f"published {entry['kind']} of {entry['year']}", "source": entry["file"]}
    dataset = daily_coordinates(grid, year_days(entry["year"]), attrs)
    for name, array in open_arrays(entry, entry["variables"]).items():
        cell = ("depth", "latitude", "longitude")[4 - array.ndim :]
        lazy = da.from_array(array, chunks=(1, *array.shape[1:]), asarray=True)
        dataset[name] = (("time", *cell), lazy, attributes(name))
    return xr.decode_cf(dataset, decode_timedelta=False)


def attributes(name: str) -> dict[str, str]:
    """CF attributes of a variable of a published file; normalised fluxes have no unit."""
    where = "" if VARIABLES[name].role == "forcing" else "sea"
    found = daily_mean(name, where)
    if name in FLUXES8:
        found.pop("standard_name")
        found |= {"units": "1", "long_name": f"{found['long_name']}, min-max normalised"}
    return found
