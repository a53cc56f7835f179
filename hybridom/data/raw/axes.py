"""Axes of raw files: names, orientation, comparison, and the levels to take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import netCDF4
import numpy as np
from numpy.typing import NDArray

from hybridom.data.raw.zarrs import ZarrDataset
from hybridom.errors import UserError

Float64 = NDArray[np.float64]

LATITUDE_NAMES = ("latitude", "lat")
LONGITUDE_NAMES = ("longitude", "lon")
DEPTH_NAMES = ("depth", "deptht")
ANGLE_TOLERANCE = 1e-3  # degrees: float32 longitudes carry 2e-5
DEPTH_TOLERANCE = 1e-3  # relative; neighbouring levels differ by 5 % or more


@dataclass(frozen=True)
class SourceAxes:
    """Axes of a source after orientation.

    Attributes:
        lat: (nlat,) degrees north, ascending.
        lon: (nlon,) degrees east in [-180, 180), ascending.
        depth: (ndepth,) m, positive down, ascending; empty where there is none.
    """

    lat: Float64
    lon: Float64
    depth: Float64

    def difference(self, expected: SourceAxes) -> str | None:
        """Words for the first axis that differs from the expected one, or None."""
        for name, tolerance in (("lat", ANGLE_TOLERANCE), ("lon", ANGLE_TOLERANCE), ("depth", 0.0)):
            mine, other = getattr(self, name), getattr(expected, name)
            if mine.shape != other.shape:
                return f"{name} has {mine.size} points where the first file has {other.size}"
            relative = DEPTH_TOLERANCE if name == "depth" else 0.0
            if not np.allclose(mine, other, rtol=relative, atol=tolerance):
                worst = int(np.argmax(np.abs(mine - other)))
                return (
                    f"{name} point {worst} is {mine[worst]:g} where the first file has "
                    f"{other[worst]:g}"
                )
        return None

    def levels(self, wanted: Sequence[float], path: Path) -> NDArray[np.intp]:
        """Indices of the wanted depths.

        Args:
            wanted: Depths (m), ascending.
            path: File, for the message.

        Raises:
            UserError: A depth is not on the axis.
        """
        if not self.depth.size:
            raise UserError(f"{path}: no depth axis; expected one with the levels of grid.depths")
        indices = np.array([np.argmin(np.abs(self.depth - z)) for z in wanted])
        for z, index in zip(wanted, indices, strict=True):
            if abs(self.depth[index] - z) > DEPTH_TOLERANCE * z:
                raise UserError(
                    f"{path}: no level at {z:g} m as grid.depths wants, the nearest is "
                    f"{self.depth[index]:g} m: correct grid.depths"
                )
        return indices


def _coordinate(
    dataset: netCDF4.Dataset | ZarrDataset, path: Path, names: Sequence[str]
) -> Float64:
    for name in names:
        if name in dataset.variables:
            values = np.asarray(dataset.variables[name][:], np.float64)
            if values.ndim == 1 and values.size > 0:
                return values
            raise UserError(f"{path}: axis {name!r} has shape {values.shape}, expected a 1-D axis")
    found = ", ".join(dataset.variables)
    raise UserError(f"{path}: no axis called {' or '.join(names)}; the file holds {found}")


def _evenly(values: Float64, circle: bool) -> Float64:
    """Even spacing restored where float32 has blurred it by less than a thousandth of a step."""
    if values.size < 2:
        return values
    step = (values[-1] - values[0]) / (values.size - 1)
    if circle and abs(values.size * step - 360.0) < 1e-3 * step:
        step = 360.0 / values.size
    even = values[0] + step * np.arange(values.size)
    return even if np.allclose(values, even, rtol=0.0, atol=1e-3 * abs(step)) else values


def _longitude_order(lon: Float64) -> tuple[Float64, NDArray[np.intp]]:
    """Longitudes in [-180, 180), ascending, and where each was."""
    wrapped = (lon + 180.0) % 360.0 - 180.0
    wrapped[wrapped > 180.0 - 0.1 * ANGLE_TOLERANCE] -= 360.0
    order = np.argsort(wrapped)
    return wrapped[order], order


@dataclass(frozen=True)
class Orientation:
    """How the horizontal axes of a file run.

    Attributes:
        flip: Whether latitudes run north to south.
        order: Permutation of the columns, or None where they already ascend from -180.
    """

    flip: bool
    order: NDArray[np.intp] | None

    def turn(self, raw: NDArray) -> NDArray:
        """Values (..., nlat, nlon) of the file, south to north and west to east from -180."""
        if self.flip:
            raw = raw[..., ::-1, :]
        return raw if self.order is None else raw[..., self.order]


def read_axes(dataset: netCDF4.Dataset | ZarrDataset, path: Path) -> tuple[SourceAxes, Orientation]:
    """Axes of a file, turned south to north and west to east, and how its values are to be turned.

    Raises:
        UserError: An axis is missing, not monotonic, or repeats a point.
    """
    lat = _coordinate(dataset, path, LATITUDE_NAMES)
    flip = bool(lat[0] > lat[-1])
    lat = lat[::-1] if flip else lat
    # A range across the date line is even only as the file has it, a circle also afterwards.
    lon = _evenly(_coordinate(dataset, path, LONGITUDE_NAMES), circle=False)
    lon, order = _longitude_order(lon)
    depth = np.empty(0)
    if any(name in dataset.variables for name in DEPTH_NAMES):
        depth = _coordinate(dataset, path, DEPTH_NAMES)
    for name, values in (("latitude", lat), ("longitude", lon), ("depth", depth)):
        if np.any(np.diff(values) <= 0) or not np.all(np.isfinite(values)):
            raise UserError(
                f"{path}: {name} is not monotonic or repeats a point, expected a regular axis "
                "(depth: positive down): fetch the file again"
            )
    sorted_already = bool(np.all(np.diff(order) > 0))
    axes = SourceAxes(_evenly(lat, circle=False), _evenly(lon, circle=True), depth)
    return axes, Orientation(flip, None if sorted_already else order)
