"""Layer thickness on the model grid, from the static files of the ocean product.

The last wet cell of a column is thinner than its level (a partial cell), as e3t of the static
files says. The water column of a source cell is the sum of e3t over its wet levels; what of it lies
between the interfaces of a model layer is the layer's thickness there, and a model cell has the
mean over its wet source area. So thickness times wet area is the volume of water in the source.

Static files: GLORYS12V1, doi 10.48670/moi-00021, parts `coords` (e3t) and `bathy` (mask, deptho).
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybridom.data.raw.axes import ANGLE_TOLERANCE, DEPTH_TOLERANCE, SourceAxes
from hybridom.data.raw.netcdf import DAMAGED, LIBRARY, SourceFile, damage, unpack
from hybridom.data.regrid import Regridder
from hybridom.errors import UserError
from hybridom.grid import Grid

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

ALWAYS = "any day"  # when static fields hold, for messages
# Of the distance between levels: interfaces of GLORYS12V1 lie within 0.03 of half-way, and where a
# level is left out some of those below it seem to lie 0.75 and more away.
HALF_WAY = 0.1
ROUND_OFF = 1e-3  # relative, between sums of float32 thicknesses and a depth of the sea floor


def layer_thickness(
    folder: Path, source: SourceAxes, source_wet: Mask, grid: Grid, wet: Mask
) -> Float32:
    """Thickness of the water in every wet cell of the model.

    Read level by level: memory holds a few levels of the source, however many it has.

    Args:
        folder: Of the static files; they may cover more than the daily ones.
        source: Axes of the daily files.
        source_wet: (nz, nlat, nlon) cells with a temperature in the first daily file, on the
            levels of the model.
        grid: Model grid.
        wet: (nz, ny, nx) ocean cells of the model.

    Returns:
        (nz, ny, nx) m, NaN on land.

    Raises:
        UserError: A static variable is missing, twice there or damaged, lies on other axes, lacks
            levels or values, or has another mask than the daily files.
    """
    with ExitStack() as opened:
        static = _StaticFiles(folder, source, opened)
        column = _water_column(static, source, source_wet, grid)
    result = np.empty(grid.shape, np.float32)
    for k in range(grid.nz):
        inside = np.clip(column - grid.depth_bounds[k], 0.0, grid.dz[k])
        regrid = Regridder(source.lat, source.lon, grid, source_wet[k : k + 1])
        result[k] = np.where(wet[k], regrid(inside[None])[0], np.nan)
        if dry := int(np.count_nonzero(wet[k] & ~(result[k] > 0))):
            raise UserError(
                f"{static.path('e3t')}: variable e3t ends above {grid.depth_bounds[k]:g} m in all "
                f"source cells of {dry} wet cells of the layer at {grid.depth[k]:g} m; expected "
                "some water there: fetch the static files of the daily files' product, or leave "
                "source.static_dir out"
            )
    return result


class _StaticFiles:
    """The static variables on the axes of the daily files, read level by level.

    Attributes:
        depth: (levels,) of e3t and mask, m.
    """

    def __init__(self, folder: Path, source: SourceAxes, opened: ExitStack) -> None:
        self._folder = folder
        self._files: dict[str, SourceFile] = {}
        self._places: dict[str, tuple[NDArray[np.intp], NDArray[np.intp]]] = {}
        for path in sorted(folder.rglob("*.nc")):
            file = opened.enter_context(SourceFile(path, ALWAYS))
            for name in {"e3t", "mask", "deptho"} & set(file.dataset.variables):
                if name in self._files:
                    raise UserError(
                        f"{path}: variable {name} is in {self.path(name)} too; expected it in one "
                        f"file of {folder}: remove the other"
                    )
                self._files[name] = file
        for name in ("e3t", "mask"):
            self._locate(name, source)
        self.depth = self._files["e3t"].axes.depth
        other = self._files["mask"].axes.depth
        if other.shape != self.depth.shape or not np.allclose(other, self.depth, DEPTH_TOLERANCE):
            raise UserError(
                f"{self.path('mask')}: variable mask lies on {other.size} levels, but e3t of "
                f"{self.path('e3t')} on {self.depth.size} or other ones; expected the same: fetch "
                "both with all levels"
            )

    def path(self, name: str) -> Path:
        """File of a variable."""
        return self._files[name].path

    def floor(self, source: SourceAxes) -> Float32:
        """Depth of the sea floor (nlat, nlon), m."""
        self._locate("deptho", source)
        return self._read("deptho", ())

    def level(self, name: str, number: int) -> Float32:
        """One level of a variable (nlat, nlon), NaN where it has no value."""
        return self._read(name, (number,))

    def _locate(self, name: str, source: SourceAxes) -> None:
        """Find the nodes of the daily files among those of a variable."""
        if name not in self._files:
            raise UserError(
                f"{self._folder}: no NetCDF file with variable {name}; expected the product's "
                "static files (e3t; mask and deptho): fetch them or leave source.static_dir out"
            )
        axes = self._files[name].axes
        found = []
        for axis in ("lat", "lon"):
            held, wanted = getattr(axes, axis), getattr(source, axis)
            after = np.clip(np.searchsorted(held, wanted), 1, held.size - 1)
            place = np.where(wanted - held[after - 1] < held[after] - wanted, after - 1, after)
            worst = int(np.abs(held[place] - wanted).argmax())
            if abs(held[place[worst]] - wanted[worst]) > ANGLE_TOLERANCE:
                raise UserError(
                    f"{self.path(name)}: variable {name} has no {axis} point at "
                    f"{wanted[worst]:g}, the nearest is {held[place[worst]]:g}; expected all "
                    "points of the daily files: fetch the static files of the same box or larger"
                )
            found.append(place)
        self._places[name] = found[0], found[1]

    def _read(self, name: str, index: tuple[int, ...]) -> Float32:
        file = self._files[name]
        variable: Any = file.dataset.variables[name]
        if variable.ndim != len(index) + 2:
            raise UserError(
                f"{file.path}: variable {name} has dimensions ({', '.join(variable.dimensions)}); "
                f"expected {'depth, ' if index else ''}latitude, longitude: fetch the file again"
            )
        try:
            with LIBRARY:
                raw = variable[(*index, slice(None), slice(None))]
        except DAMAGED as e:
            raise UserError(damage(file.path, name, ALWAYS, e)) from None
        rows, columns = self._places[name]
        return unpack(file.orientation.turn(raw)[rows][:, columns], variable)


def _water_column(
    static: _StaticFiles, source: SourceAxes, source_wet: Mask, grid: Grid
) -> Float64:
    """Sum of e3t over the wet levels of each source cell (nlat, nlon), m.

    Raises:
        UserError: A level or a value is absent, or the masks differ.
    """
    path = static.path("e3t")
    wanted = SourceAxes(np.empty(0), np.empty(0), static.depth).levels(tuple(grid.depth), path)
    column = np.zeros(source_wet.shape[1:])
    differing: list[str] = []
    sea = np.zeros(column.shape, bool)
    for number, depth in enumerate(static.depth):
        sea = static.level("mask", number) == 1
        thickness = static.level("e3t", number)
        _require_values(path, thickness, sea, depth)
        if sea.any():
            _require_neighbour(path, static.depth, number, float(column[sea].max()))
        column += np.where(sea, thickness, 0.0)
        for k in np.flatnonzero(wanted == number):
            fewer = int(np.count_nonzero(source_wet[k] & ~sea))
            more = int(np.count_nonzero(sea & ~source_wet[k]))
            if fewer or more:
                differing.append(f"{fewer} and {more} at {depth:g} m")
    if differing:
        raise UserError(
            f"{static.path('mask')}: variable mask differs from the cells that have a thetao in "
            f"the first daily file (cells with thetao on its land, without in its sea: "
            f"{', '.join(differing)}); expected the same: fetch the static files of that product"
        )
    _require_floor(static, source, column, sea & (column < grid.depth_bounds[-1]))
    return column


def _require_values(path: Path, thickness: Float32, sea: Mask, depth: float) -> None:
    bad = int(np.count_nonzero(sea & ~(thickness > 0)))
    if bad:
        raise UserError(
            f"{path}: variable e3t has no thickness in {bad} wet cells at {depth:g} m; expected "
            "one in every cell of the static mask: fetch the static files again"
        )


def _require_neighbour(path: Path, depth: Float64, number: int, top: float) -> None:
    """Refuse a level whose neighbours above are absent: it begins half-way between the centres."""
    if not number:
        return
    upper, lower = depth[number - 1], depth[number]
    if abs(top - 0.5 * (upper + lower)) > HALF_WAY * (lower - upper):
        raise UserError(
            f"{path}: levels of e3t are absent at or above {lower:g} m (those that are there reach "
            f"from the surface to {top:g} m, not half-way from {upper:g} to {lower:g} m); expected "
            "all levels: fetch the static files with all of them"
        )


def _require_floor(static: _StaticFiles, source: SourceAxes, column: Float64, open_: Mask) -> None:
    """Refuse columns that go on below the lowest level.

    Args:
        static: Static files.
        source: Axes of the daily files.
        column: (nlat, nlon) m.
        open_: (nlat, nlon) columns with water in the lowest level that end within the model's.
    """
    if not open_.any():
        return
    # The floor is given as a level's centre or as its end: neither lies below the lowest level.
    lacking = open_ & (static.floor(source) > (1.0 + ROUND_OFF) * column.max())
    if lacking.any():
        raise UserError(
            f"{static.path('e3t')}: levels of e3t below {static.depth[-1]:g} m are absent, where "
            f"deptho has water in {int(lacking.sum())} cells and the model's lowest layer needs "
            "it; expected all levels down to that layer's end: fetch the static files with more"
        )
