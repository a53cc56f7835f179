"""One raw NetCDF file or Zarr store: opening, headers, and values in the project's orientation."""

from __future__ import annotations

import datetime as dt
import threading
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
from numpy.typing import NDArray

from hybridom.data.raw.axes import (
    DEPTH_NAMES,
    LATITUDE_NAMES,
    LONGITUDE_NAMES,
    Orientation,
    SourceAxes,
    read_axes,
)
from hybridom.data.raw.zarrs import ZarrDataset, ZarrVariable
from hybridom.errors import UserError
from hybridom.variables import UNIT_SPELLINGS, VARIABLES

Float32 = NDArray[np.float32]
StoredVariable = netCDF4.Variable | ZarrVariable

TIME_NAMES = ("time", "valid_time")
DAMAGED = (OSError, RuntimeError, ValueError, zlib.error)  # what libraries say of damaged data

# The NetCDF and HDF5 libraries are not thread-safe: every use of them holds this lock.
LIBRARY = threading.RLock()


class SourceFile:
    """An open NetCDF file or Zarr store (a folder); a context manager, usable from any thread.

    Values that are read are south to north, and west to east in [-180, 180), whatever way the file
    runs.

    Args:
        path: The file.
        when: What days it should hold, for the message.

    Raises:
        UserError: It cannot be opened, for example because it was cut off.
    """

    def __init__(self, path: Path, when: object = "any day") -> None:
        self.path = path
        self._axes: tuple[SourceAxes, Orientation] | None = None
        self._times: list[dt.datetime] | None = None
        form = "Zarr" if path.is_dir() else "NetCDF"
        self.dataset: netCDF4.Dataset | ZarrDataset
        try:
            if form == "Zarr":
                self.dataset = ZarrDataset(path)
                return
            with LIBRARY:
                self.dataset = netCDF4.Dataset(path)
                self.dataset.set_auto_maskandscale(False)
        except DAMAGED as e:
            raise UserError(
                f"{path}: cannot be opened as {form} ({_reason(e)}), all variables are unreadable "
                f"on {when}; expected a complete file: it may be truncated, fetch or make it again"
            ) from None

    def __enter__(self) -> SourceFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        with LIBRARY:
            self.dataset.close()

    @property
    def _geometry(self) -> tuple[SourceAxes, Orientation]:
        # Not a cached_property: its own lock (Python 3.11) would be taken before LIBRARY by one
        # thread and after it by another.
        with LIBRARY:
            if self._axes is None:
                self._axes = read_axes(self.dataset, self.path)
            return self._axes

    @property
    def axes(self) -> SourceAxes:
        """Axes after orientation.

        Raises:
            UserError: An axis is missing or not monotonic.
        """
        return self._geometry[0]

    @property
    def orientation(self) -> Orientation:
        """How values are to be turned.

        Raises:
            UserError: As `axes`.
        """
        return self._geometry[1]

    @property
    def is_store(self) -> bool:
        """Whether it is a Zarr store."""
        return isinstance(self.dataset, ZarrDataset)

    @property
    def is_hdf5(self) -> bool:
        """Whether it is an HDF5 file, as NetCDF-4 files are."""
        return not isinstance(self.dataset, ZarrDataset) and self.dataset.disk_format == "HDF5"

    @property
    def attributes(self) -> dict[str, Any]:
        """Global attributes."""
        with LIBRARY:
            return {name: self.dataset.getncattr(name) for name in self.dataset.ncattrs()}

    @property
    def times(self) -> list[dt.datetime]:
        """Time stamps (UTC).

        Raises:
            UserError: There is no time axis, or it is in a calendar other than the civil one.
        """
        with LIBRARY:
            if self._times is None:
                self._times = self._read_times()
            return self._times

    def _read_times(self) -> list[dt.datetime]:
        held = [name for name in TIME_NAMES if name in self.dataset.variables]
        if not held:
            raise UserError(f"{self.path}: no time axis; expected `time` or `valid_time`")
        variable = self.dataset.variables[held[0]]
        try:
            stamps = netCDF4.num2date(
                variable[:],
                variable.units,
                getattr(variable, "calendar", "standard"),
                only_use_cftime_datetimes=False,
                only_use_python_datetimes=True,
            )
            return list(np.asarray(stamps, dtype=object).ravel())
        except (AttributeError, *DAMAGED) as e:
            raise UserError(
                f"{self.path}: time axis {held[0]!r} cannot be read ({_reason(e)}); expected CF "
                "units such as `hours since 1950-01-01` in the standard calendar"
            ) from None

    def variable(self, name: str) -> StoredVariable | None:
        """The variable called `name` or one of its aliases."""
        for known in (name, *VARIABLES[name].aliases):
            if known in self.dataset.variables:
                return self.dataset.variables[known]
        return None

    def header_problem(self, name: str, when: object) -> str | None:
        """What is wrong with the presence, dimensions or units of a variable, in one line."""
        variable = self.variable(name)
        if variable is None:
            held = [v for v in self.dataset.variables if v not in self.dataset.dimensions]
            return (
                f"{self.path}: variable {name} is absent on {when}, the file holds "
                f"{', '.join(held) or 'none'}; expected {name}: fetch the file with it"
            )
        axes = [TIME_NAMES, DEPTH_NAMES, LATITUDE_NAMES, LONGITUDE_NAMES]
        if not VARIABLES[name].has_depth:
            axes.remove(DEPTH_NAMES)
        found = variable.dimensions
        if len(found) != len(axes) or any(d not in a for d, a in zip(found, axes, strict=True)):
            return (
                f"{self.path}: variable {name} on {when} has dimensions ({', '.join(found)}); "
                f"expected ({', '.join(a[0] for a in axes)}): reorder them or remove the others"
            )
        expected = VARIABLES[name].units
        with LIBRARY:
            units = str(getattr(variable, "units", "(none)"))
        if units not in UNIT_SPELLINGS[expected]:
            return (
                f"{self.path}: variable {name} on {when} has units {units!r}; expected "
                f"{expected!r}: convert it"
            )
        return None

    def axes_problem(self, expected: SourceAxes) -> str | None:
        """How the axes differ from those of the first file, in one line."""
        try:
            axes = self.axes
        except UserError as e:
            return str(e)
        if not axes.depth.size:  # none of its variables has depth, or header_problem says so
            expected = replace(expected, depth=axes.depth)
        difference = axes.difference(expected)
        if difference is None:
            return None
        return (
            f"{self.path}: {difference}, for all variables; expected the same axes in all files: "
            "fetch the file again"
        )

    def read(self, name: str, when: object, index: tuple[int | slice, ...]) -> Float32:
        """Read and unpack part of a variable.

        Args:
            name: Variable.
            when: Day, for messages.
            index: Leading indices (time, or time and depth); horizontal axes are read whole.

        Returns:
            (..., nlat, nlon), NaN where missing.

        Raises:
            UserError: The variable is absent, in other units or on other axes, or unreadable.
        """
        problem = self.header_problem(name, when)
        if problem:
            raise UserError(problem)
        raw = self.read_raw(name, when, index)
        with LIBRARY:  # for the attributes of the packing
            return unpack(raw, self.variable(name))

    def read_raw(self, name: str, when: object, index: tuple[int | slice, ...]) -> NDArray:
        """Read part of a variable as it is stored, not unpacked, whose header has no problem.

        Args:
            name: Variable.
            when: Day, for messages.
            index: Leading indices (time, or time and depth); horizontal axes are read whole.

        Returns:
            (..., nlat, nlon), turned south to north and west to east.

        Raises:
            UserError: The values cannot be read.
        """
        variable: Any = self.variable(name)
        try:
            if isinstance(variable, ZarrVariable):
                raw = variable[index]
            else:
                with LIBRARY:
                    raw = variable[index]
        except DAMAGED as e:
            raise UserError(damage(self.path, name, when, e)) from None
        return self.orientation.turn(raw)


def damage(path: Path, name: str, when: object, error: Exception) -> str:
    """What to say of values that cannot be read, in one line."""
    return (
        f"{path}: variable {name} on {when} cannot be read ({_reason(error)}); expected "
        "a complete file: it may be damaged, fetch or make it again"
    )


def _reason(error: Exception) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error).split())


def unpack(raw: NDArray, variable: Any) -> Float32:
    """Physical values of packed ones: raw * scale_factor + add_offset, NaN where missing.

    Args:
        raw: Stored values.
        variable: Their variable, for its attributes.
    """
    values = raw.astype(np.float32)
    for key in ("_FillValue", "missing_value"):
        if hasattr(variable, key):
            values[raw == getattr(variable, key)] = np.nan
    if hasattr(variable, "scale_factor"):
        values *= np.float32(variable.scale_factor)
    if hasattr(variable, "add_offset"):
        values += np.float32(variable.add_offset)
    return values
