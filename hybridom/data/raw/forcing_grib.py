"""GRIB files of the atmosphere, by cfgrib and ecCodes (the optional extra `grib`).

Fields are taken at the time for which they are valid, the start of the forecast plus its step, so
that accumulated fields of ERA5 (forecasts from 06 and 18 UTC, steps 1 to 12) lie on the hours at
which they end. The index that cfgrib makes of a file (<file>.<hash>.idx) is kept beside it where
the folder can be written, for indexing reads the whole file.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from hybridom.data.raw.axes import Orientation, SourceAxes, read_axes
from hybridom.data.raw.forcing_sources import (
    FINAL,
    ForcingSource,
    Timeline,
    unit_factor,
    units_problem,
)
from hybridom.data.raw.netcdf import damage
from hybridom.data.raw.packed import PackedField
from hybridom.errors import UserError
from hybridom.variables import UNIT_CONVERSIONS, VARIABLES

GRID_KEYS = (
    "gridType",
    "jPointsAreConsecutive",
    "Nj",
    "Ni",
    "latitudeOfFirstGridPointInDegrees",
    "latitudeOfLastGridPointInDegrees",
    "longitudeOfFirstGridPointInDegrees",
    "longitudeOfLastGridPointInDegrees",
    "iScansNegatively",
)
TIME_KEYS = ("validityDate", "validityTime", "startStep", "endStep")
KEYS = ("cfVarName", "units", "expver", *TIME_KEYS, *GRID_KEYS)
INDEX = "{path}.{short_hash}.idx"  # as cfgrib names its indices by default


class _Grid(NamedTuple):
    kind: str
    by_columns: int
    nlat: int
    nlon: int
    south_north: tuple[float, float]
    west_east: tuple[float, float]
    westwards: int


class _Message(NamedTuple):
    time: np.datetime64
    version: str
    units: str
    hours: int
    grid: _Grid
    offset: Any


class GribSource(ForcingSource):
    """A GRIB file of fields on regular latitudes and longitudes.

    Args:
        path: The file.

    Raises:
        UserError: cfgrib is not installed, or the file is cut off or holds no field.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            from cfgrib.messages import FileStream
        except (ImportError, RuntimeError) as e:  # cfgrib raises the latter without ecCodes
            raise UserError(
                f"{path}: GRIB files need the extra `grib`, which cannot be loaded ({e}); "
                "install hybridom[grib], or fetch NetCDF files"
            ) from None
        self._stream = FileStream(str(path), errors="raise")
        try:
            self._messages = self._index()
        except Exception as e:  # ecCodes has many exceptions, without a common one but this
            raise UserError(
                f"{path}: cannot be opened as GRIB ({e}), all variables are unreadable on any "
                "day; expected a complete file: it may be truncated, fetch it again"
            ) from None

    def _index(self) -> dict[str, list[_Message]]:
        """Messages of each short name, in order of validity."""
        from cfgrib.messages import FileIndex

        for index in self.path.parent.glob(f"{self.path.name}.*.idx"):
            if not index.stat().st_size:  # of a job that was killed
                index.unlink(missing_ok=True)
        # What cfgrib would report, with a traceback, is mended or ends in an exception here.
        quiet = logging.Logger("cfgrib", logging.CRITICAL + 1)
        kept = INDEX if os.access(self.path.parent, os.W_OK) else ""
        found = FileIndex.from_indexpath_or_filestream(self._stream, list(KEYS), kept, log=quiet)
        messages: dict[str, list[_Message]] = {}
        for values, offsets in found.iter_index():
            name, message = _message(dict(zip(KEYS, values, strict=True)))
            messages.setdefault(name, []).extend(message._replace(offset=o) for o in offsets)
        for held in messages.values():
            held.sort(key=lambda m: (m.time, m.version))
        return messages

    def close(self) -> None:
        """Nothing to release: the file is opened for each reading."""

    def _of(self, name: str) -> list[_Message]:
        held = (self._messages.get(known) for known in (name, *VARIABLES[name].aliases))
        return next((messages for messages in held if messages), [])

    def holds(self, name: str) -> bool:
        return bool(self._of(name))

    def timeline(self, name: str) -> Timeline:
        messages = self._of(name)
        times = np.array([m.time for m in messages], "datetime64[s]")
        interim = np.array([_is_interim(m.version) for m in messages], bool)
        accumulated = messages[0].units in UNIT_CONVERSIONS
        return Timeline(times, np.arange(times.size), interim, accumulated).final_first()

    def header_problem(self, name: str, when: object) -> str | None:
        messages = self._of(name)
        grids = {m.grid for ms in self._messages.values() for m in ms}
        grid = next(iter(grids))
        if len(grids) > 1 or grid.kind != "regular_ll" or grid.by_columns:
            kinds = ", ".join(sorted({g.kind for g in grids}))
            return (
                f"{self.path}: variable {name} on {when} lies on {len(grids)} grids ({kinds}); "
                "expected one of regular latitudes and longitudes (regular_ll), stored by rows: "
                "fetch it on such a grid"
            )
        units, *others = sorted({m.units for m in messages})
        hours = sorted({m.hours for m in messages})
        if others or (units in UNIT_CONVERSIONS and not set(hours) <= {0, 1}):
            held = ", ".join((units, *others))
            return (
                f"{self.path}: variable {name} on {when} is in {held}, over {hours} hours by "
                "startStep and endStep; expected one unit and, of accumulations, one hour each: "
                "fetch ERA5's hourly fields"
            )
        return units_problem(self.path, name, when, units)

    @cached_property
    def _geometry(self) -> tuple[SourceAxes, Orientation]:
        name = next(iter(self._messages))
        grid = self._messages[name][0].grid
        west, east = grid.west_east
        span = (west - east if grid.westwards else east - west) % 360.0
        lon = west + (-1 if grid.westwards else 1) * np.linspace(0.0, span, grid.nlon)
        lat = np.linspace(*grid.south_north, grid.nlat)
        dataset: Any = SimpleNamespace(variables={"latitude": lat, "longitude": lon})
        return read_axes(dataset, self.path)

    @property
    def axes(self) -> SourceAxes:
        return self._geometry[0]

    @property
    def orientation(self) -> Orientation:
        return self._geometry[1]

    def size(self, name: str) -> int:
        return len(self._of(name))

    def layer(self, name: str) -> int:
        return 1

    def bands(
        self, name: str, when: object, first: int, last: int
    ) -> Iterator[tuple[slice, PackedField]]:
        messages = self._of(name)[first:last]
        grid = messages[0].grid
        raw = np.empty((len(messages), grid.nlat, grid.nlon), np.float32)
        for field, message in zip(raw, messages, strict=True):
            try:
                found = self._stream[message.offset]
                field[:] = np.reshape(found["values"], field.shape)
                missing = found["missingValue"]
            except Exception as e:  # as in opening
                raise UserError(damage(self.path, name, when, e)) from None
            field[field == np.float32(missing)] = np.nan
        yield slice(0, grid.nlat), PackedField(raw, unit_factor(messages[0].units))


def _message(values: dict[str, Any]) -> tuple[str, _Message]:
    """Short name and header of a message; its offset is not in the header."""
    date, clock, start, end = (int(values[key]) for key in TIME_KEYS)
    text = f"{date // 10000:04d}-{date // 100 % 100:02d}-{date % 100:02d}"
    time = np.datetime64(f"{text}T{clock // 100:02d}:{clock % 100:02d}:00", "s")
    kind, by_columns, nlat, nlon, north, south, west, east, westwards = (
        values[key] for key in GRID_KEYS
    )
    grid = _Grid(kind, by_columns, nlat, nlon, (north, south), (west, east), westwards)
    version = str(values["expver"])
    return str(values["cfVarName"]), _Message(
        time, version, str(values["units"]), end - start, grid, None
    )


def _is_interim(version: str) -> bool:
    """Whether `expver` is that of preliminary data; a file need not tell it."""
    return version.isdigit() and int(version) != FINAL
