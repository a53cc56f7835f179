"""A NetCDF file or Zarr store of the atmosphere.

ERA5 (doi 10.24381/cds.adbb2d47) as the Climate Data Store delivers it, now and before 2024, and as
ARCO-ERA5's Zarr. Data of the last months are preliminary (ERA5T) until ERA5's own replace them;
`expver` is 5 for those and 1 for these. Older files that hold both have `expver` as a dimension,
with missing values where the other version holds; newer ones name the version of each time, or of
all. The public Zarr tells in attributes where the final and where all values end.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
from numpy.typing import NDArray

from hybridom.data.raw.axes import LATITUDE_NAMES, LONGITUDE_NAMES, Orientation, SourceAxes
from hybridom.data.raw.forcing_sources import (
    FINAL,
    READ_BYTES,
    ForcingSource,
    Timeline,
    unit_factor,
    units_problem,
)
from hybridom.data.raw.netcdf import DAMAGED, LIBRARY, TIME_NAMES, SourceFile, damage
from hybridom.data.raw.packed import PackedField
from hybridom.errors import UserError
from hybridom.variables import UNIT_CONVERSIONS

VERSION = "expver"


def decode_times(numbers: NDArray, units: str, calendar: str) -> NDArray[np.datetime64]:
    """UTC times (s) of CF numbers in the civil calendar.

    Raises:
        ValueError: Units or calendar are others, or a number is missing.
    """
    values = np.ma.filled(np.ma.asarray(numbers, np.float64), np.nan).ravel()
    if not values.size or not np.all(np.isfinite(values)):
        raise ValueError("it is empty or lacks values")
    low, high = float(values.min()), float(values.max())
    ends = netCDF4.num2date(
        np.array([low, high]),
        units,
        calendar,
        only_use_cftime_datetimes=False,
        only_use_python_datetimes=True,
    )
    first, last = np.asarray(ends, "datetime64[s]")
    # Days are equally long, so that two dates give all of a long axis.
    seconds = float((last - first).astype(np.int64))
    elapsed = (values - low) * (seconds / (high - low) if high > low else 0.0)
    return first + np.round(elapsed).astype("timedelta64[s]")


class GriddedSource(ForcingSource):
    """A NetCDF file or Zarr store.

    Args:
        path: The file, or the folder of the store.

    Raises:
        UserError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = SourceFile(path)

    def close(self) -> None:
        self._file.close()

    @property
    def axes(self) -> SourceAxes:
        return self._file.axes

    def axes_problem(self, expected: SourceAxes) -> str | None:
        return self._file.axes_problem(expected)

    def holds(self, name: str) -> bool:
        return self._file.variable(name) is not None

    def header_problem(self, name: str, when: object) -> str | None:
        variable: Any = self._file.variable(name)
        found, sizes = (
            variable.dimensions,
            dict(zip(variable.dimensions, variable.shape, strict=True)),
        )
        others = [d for d in found[:-2] if d not in TIME_NAMES and sizes[d] > 1]
        if (
            len(found) < 3
            or sum(d in TIME_NAMES for d in found[:-2]) != 1
            or found[-2] not in LATITUDE_NAMES
            or found[-1] not in LONGITUDE_NAMES
            or (others and not (others == [VERSION] and VERSION in self._file.dataset.variables))
        ):
            return (
                f"{self.path}: variable {name} on {when} has dimensions ({', '.join(found)}); "
                "expected (time, latitude, longitude), or expver with its values beside time: "
                "reorder them or remove the others"
            )
        return units_problem(self.path, name, when, self._units(name))

    def _units(self, name: str) -> str:
        return str(getattr(self._file.variable(name), "units", "(none)"))

    def timeline(self, name: str) -> Timeline:
        times = self._times(name)
        steps = np.arange(times.size)
        accumulated = self._units(name) in UNIT_CONVERSIONS
        methods = str(getattr(self._file.variable(name), "cell_methods", ""))
        instant = any(f"{axis}: point" in methods for axis in TIME_NAMES)
        try:
            interim = self._interim(name, times)
        except (ValueError, TypeError) as e:
            raise UserError(
                f"{self.path}: expver of variable {name} cannot be understood ({e}); expected 1 "
                "for ERA5 and 5 for preliminary data: fetch the file again"
            ) from None
        within = self._within(times)
        timeline = Timeline(times[within], steps[within], interim[within], accumulated, instant)
        return timeline.final_first()

    def _times(self, name: str) -> NDArray[np.datetime64]:
        variables, found = self._file.dataset.variables, self._file.variable(name)
        along = [d for d in getattr(found, "dimensions", ()) if d in TIME_NAMES]
        # The time of validity counts where `time` is that of a forecast's start.
        for axis in ("valid_time", *along[:1]):
            if along and axis in variables and variables[axis].dimensions == (along[0],):
                variable: Any = variables[axis]
                break
        else:
            raise UserError(
                f"{self.path}: no time axis of variable {name}; expected `time` or `valid_time`"
            )
        try:
            with LIBRARY:
                numbers, units = variable[:], variable.units
                calendar = getattr(variable, "calendar", "standard")
            return decode_times(numbers, units, calendar)
        except (AttributeError, *DAMAGED) as e:
            raise UserError(
                f"{self.path}: time axis {variable.name!r} cannot be read ({e}); expected CF "
                "units such as `hours since 1950-01-01` in the standard calendar"
            ) from None

    def _interim(self, name: str, times: NDArray[np.datetime64]) -> NDArray[np.bool_]:
        """Whether the values of each time are preliminary."""
        interim = np.zeros(times.size, bool)
        if listed := self._file.attributes.get("interim_days"):
            days = np.array(str(listed).split(), "datetime64[D]")
            interim |= np.isin(times.astype("datetime64[D]"), days)
        if final := self._file.attributes.get("valid_time_stop"):
            interim |= times.astype("datetime64[D]") > np.datetime64(str(final)[:10])
        versions: Any = self._file.dataset.variables.get(VERSION)
        if versions is None:
            return interim
        preliminary = _preliminary(versions)
        if versions.dimensions != (VERSION,):  # of each time, or of all
            return interim | preliminary
        variable: Any = self._file.variable(name)
        if VERSION not in variable.dimensions or self.header_problem(name, "any day"):
            return interim
        corner = self._stored(name, "any day", slice(None), slice(0, 1), merged=False)[..., 0, 0]
        held = ~self._missing(corner, name)  # (time, expver)
        return interim | ~held[:, ~preliminary].any(axis=1)

    def _within(self, times: NDArray[np.datetime64]) -> NDArray[np.bool_]:
        """Times with values: the public Zarr's axis runs years beyond both ends of them."""
        attributes = self._file.attributes
        days = times.astype("datetime64[D]")
        within = np.ones(times.size, bool)
        if first := attributes.get("valid_time_start"):
            within &= days >= np.datetime64(str(first)[:10])
        if last := attributes.get("valid_time_stop_era5t") or attributes.get("valid_time_stop"):
            within &= days <= np.datetime64(str(last)[:10])
        return within

    def _chunk(self, name: str) -> tuple[int, int]:
        """Steps and rows of a chunk; one each where the values are not in chunks."""
        variable: Any = self._file.variable(name)
        with LIBRARY:
            chunking = variable.chunking()
        if chunking is None or chunking == "contiguous":
            return 1, 1
        sizes = dict(zip(variable.dimensions, chunking, strict=True))
        time = next(d for d in variable.dimensions if d in TIME_NAMES)
        return int(sizes[time]), int(chunking[-2])

    @property
    def orientation(self) -> Orientation:
        return self._file.orientation

    def size(self, name: str) -> int:
        variable: Any = self._file.variable(name)
        return next(
            int(n)
            for d, n in zip(variable.dimensions, variable.shape, strict=True)
            if d in TIME_NAMES
        )

    def layer(self, name: str) -> int:
        return self._chunk(name)[0]

    def bands(
        self, name: str, when: object, first: int, last: int
    ) -> Iterator[tuple[slice, PackedField]]:
        variable: Any = self._file.variable(name)
        axes, rows = self._file.axes, self._chunk(name)[1]
        row_bytes = (last - first) * axes.lon.size * variable.dtype.itemsize
        height = max(rows, READ_BYTES // row_bytes // rows * rows)
        factor = unit_factor(self._units(name))
        for top in range(0, axes.lat.size, height):
            bottom = min(top + height, axes.lat.size)
            raw = self._stored(name, when, slice(first, last), slice(top, bottom))
            here = slice(top, bottom)
            if self.orientation.flip:
                here = slice(axes.lat.size - bottom, axes.lat.size - top)
            yield (
                here,
                PackedField(
                    raw,
                    factor * float(getattr(variable, "scale_factor", 1.0)),
                    factor * float(getattr(variable, "add_offset", 0.0)),
                    self._markers(name),
                ),
            )

    def _stored(
        self, name: str, when: object, steps: slice, rows: slice, merged: bool = True
    ) -> NDArray:
        """Stored values (time, [expver,] rows, nlon) in the file's order, versions merged or not"""
        variable: Any = self._file.variable(name)
        own: dict[str, slice | int] = dict.fromkeys(variable.dimensions[:-2], 0)
        time = next(d for d in own if d in TIME_NAMES)
        own[time] = steps
        if VERSION in own:
            own[VERSION] = slice(None)
        try:
            with LIBRARY:
                raw = np.asarray(variable[(*own.values(), rows)])
        except DAMAGED as e:
            raise UserError(damage(self.path, name, when, e)) from None
        if VERSION not in own:
            return raw
        kept = [d for d, index in own.items() if isinstance(index, slice)]
        raw = np.moveaxis(raw, kept.index(time), 0)
        if not merged:
            return raw
        preliminary = _preliminary(self._file.dataset.variables[VERSION])
        values, *others = (raw[:, n] for n in np.argsort(preliminary, kind="stable"))
        for other in others:
            values = np.where(self._missing(values, name), other, values)
        return values

    def _markers(self, name: str) -> tuple[float, ...]:
        variable = self._file.variable(name)
        held = (getattr(variable, key, None) for key in ("_FillValue", "missing_value"))
        return tuple({value for value in held if value is not None and value == value})

    def _missing(self, raw: NDArray, name: str) -> NDArray[np.bool_]:
        missing = raw != raw  # NaN
        for marker in self._markers(name):
            missing |= raw == marker
        return missing


def _preliminary(versions: Any) -> NDArray[np.bool_]:
    """Whether each `expver` is that of preliminary data.

    Raises:
        ValueError: One is no number.
    """
    with LIBRARY:
        values = np.asarray(versions[...])
    if values.dtype.kind == "S" and values.dtype.itemsize == 1 and values.ndim:
        values = netCDF4.chartostring(values)
    if not values.size:
        raise ValueError("it is empty")
    found, where = np.unique(values.astype(str), return_inverse=True)
    return np.array([int(v) != FINAL for v in found])[where].reshape(values.shape)
