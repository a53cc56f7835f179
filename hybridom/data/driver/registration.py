"""Fields of a coarser grid on the cells of a finer one, by coordinates.

A value is linear in latitude and in longitude between cell centres, as in `regrid.bilinear`, and of
the four corners only those count that are wet at that level. Where none is, near a coast that the
coarser grid does not resolve, the nearest wet coarse cell of the level gives its value. Which
longitude an axis begins with changes no bit of the result: all of them are turned to one origin and
rounded before anything is computed with them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from hybridom.config.region import misfit
from hybridom.constants import EARTH_RADIUS
from hybridom.errors import UserError
from hybridom.grid import Grid, Mask
from hybridom.masks import require_ocean

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Index = NDArray[np.int64]

FULL_CIRCLE = 360.0
DIGITS = 9  # of degrees: far below any cell, and above the rounding of turned longitudes


class Registration:
    """From the cells of a coarse grid to those of a fine one, with weights made once.

    Args:
        coarse: Grid of the driver.
        coarse_wet: (nz_c, ny_c, nx_c) its ocean cells.
        fine: Grid of the region: inside the coarse cells, its levels a subset of theirs.
        fine_wet: (nz, ny, nx) its ocean cells.
        coarse_file: Where the coarse grid is from, for messages.
        fine_file: The same of the fine grid.

    Raises:
        UserError: The box leaves the coarse cells; a level is none of the coarse ones; one of the
            grids has no ocean; the driver has none in the box at a level where the region has.
    """

    def __init__(
        self,
        coarse: Grid,
        coarse_wet: Mask,
        fine: Grid,
        fine_wet: Mask,
        coarse_file: Path,
        fine_file: Path,
    ) -> None:
        for grid, wet, path in ((coarse, coarse_wet, coarse_file), (fine, fine_wet, fine_file)):
            require_ocean(wet, grid.shape, f"{path}: wet mask")
        if why := misfit(_box(fine), _box(coarse)):
            raise UserError(f"{fine_file}: does not fit into its driver {coarse_file}: {why}")
        self.coarse, self.fine = coarse, fine
        self._files = coarse_file, fine_file
        self._fine_wet = np.asarray(fine_wet, bool)
        depths = np.abs(coarse.depth[:, None] - fine.depth)
        self.levels: Index = depths.argmin(axis=0)
        corners, weights = _corners(coarse, fine)
        # Only what lies around the box is looked at, also in search of the nearest wet cell.
        self._cells, corners = np.unique(corners, return_inverse=True)
        corners = corners.reshape(weights.shape)
        wet = np.asarray(coarse_wet, bool).reshape(coarse.nz, -1)[:, self._cells]
        self._continued = np.zeros(fine.nz, np.int64)
        self._furthest = 0.0
        near = _Neighbours(coarse, fine, self._cells)
        self._weights = [
            self._level(k, corners, weights, wet[level], near)
            for k, level in enumerate(self.levels)
        ]

    def _level(
        self, k: int, corners: Index, weights: Float64, wet: Mask, near: _Neighbours
    ) -> sparse.csr_matrix:
        """Weights (cells, coarse cells) of a fine level; rows of land are empty."""
        sea = np.flatnonzero(self._fine_wet[k])
        if sea.size and not wet.any():
            coarse_file, fine_file = self._files
            raise UserError(
                f"{fine_file}: {sea.size} cells are wet at {self.fine.depth[k]:g} m, but of the "
                f"{wet.size} cells of {coarse_file} around the box none is; expected ocean of the "
                "driver at every level: leave the level out of grid.depths or move the box"
            )
        counted = weights[sea] * wet[corners[sea]]
        total = counted.sum(axis=1)
        dry = total == 0
        rows = np.repeat(sea[~dry], 4)
        values = (counted[~dry] / total[~dry, None]).ravel()
        columns = corners[sea[~dry]].ravel()
        kept = values > 0
        alone, (nearest, distance) = sea[dry], near(sea[dry], np.flatnonzero(wet))
        self._continued[k] = alone.size
        self._furthest = max(self._furthest, float(distance.max(initial=0.0)))
        rows = np.concatenate([rows[kept], alone])
        order = np.argsort(rows, kind="stable")
        entries = np.concatenate([values[kept], np.ones(alone.size)])[order]
        where = np.concatenate([columns[kept], nearest])[order]
        starts = np.searchsorted(rows[order], np.arange(self._fine_wet[k].size + 1))
        return sparse.csr_matrix((entries, where, starts), shape=(len(starts) - 1, wet.size))

    def __call__(self, name: str, field: NDArray[Any]) -> Float32:
        """Bring a field to the fine cells.

        Args:
            name: Variable, for messages.
            field: (nz_c, ny_c, nx_c) or, of the surface, (ny_c, nx_c); on land it may hold
                anything.

        Returns:
            (nz, ny, nx) or (ny, nx), 0 on land.

        Raises:
            UserError: A wet cell of the driver that is needed has no finite value.
        """
        shape = self.coarse.shape[-field.ndim :]
        if field.ndim not in (2, 3) or field.shape != shape:
            raise ValueError(f"{name}: field of shape {field.shape} on a grid of {shape}")
        levels = self.levels if field.ndim == 3 else self.levels[:1]
        flat = field.reshape(-1, field.shape[-2] * field.shape[-1])
        out = np.empty((len(levels), self.fine.ny, self.fine.nx), np.float32)
        for k, level in enumerate(levels if field.ndim == 3 else [0]):
            used = flat[level][self._cells].astype(np.float64)
            out[k] = (self._weights[k] @ used).reshape(out[k].shape)
        if not np.isfinite(out).all():
            raise UserError(
                f"{name}: {int((~np.isfinite(out)).sum())} cells of {self._files[1]} have no value "
                f"from the driver; expected one in every wet cell of {self._files[0]}: make the "
                "driver's stores again"
            )
        return out if field.ndim == 3 else out[0]

    def report(self) -> dict[str, Any]:
        """How the grids lie to one another, as plain values.

        Returns:
            `ratio` of the cell heights; `box` and `driver_box` (south, north, west, east in
            degrees); `levels` and `driver_levels`, their numbers; `wet_cells` of the region;
            `continued_cells`, those of them without a wet corner, in all and by level, and how far
            (km) the furthest of them takes its value from.
        """
        (south, north), (west, east), _ = _box(self.fine)
        outer = _box(self.coarse)
        height, width = (np.diff(x)[0] for x in (self.coarse.lat_bounds, self.fine.lat_bounds))
        return {
            "grid_hash": self.fine.hash,
            "driver_grid_hash": self.coarse.hash,
            "ratio": round(float(height / width), 6),
            "box": [south, north, west, east],
            "driver_box": [*outer[0], *outer[1]],
            "levels": self.fine.nz,
            "driver_levels": self.coarse.nz,
            "wet_cells": int(self._fine_wet.sum()),
            "continued_cells": int(self._continued.sum()),
            "continued_by_level": self._continued.tolist(),
            "furthest_km": round(1e-3 * self._furthest, 3),
        }


class _Neighbours:
    """The nearest of some coarse cells by great-circle distance.

    Args:
        coarse: The coarse grid.
        fine: The fine grid.
        cells: Flat indices (n,) of the coarse cells that may be asked for.
    """

    def __init__(self, coarse: Grid, fine: Grid, cells: Index) -> None:
        rows, columns = np.divmod(cells, coarse.nx)
        lon = turned(coarse.lon, 0.0)[columns]
        self._points = _on_sphere(coarse.lat[rows], lon)
        # An order of the cells that does not hang on where their axis begins settles ties.
        self._order = np.lexsort((lon, rows))
        lat = np.repeat(fine.lat, fine.nx)
        self._asked = _on_sphere(lat, np.tile(turned(fine.lon, 0.0), fine.ny))

    def __call__(self, asked: Index, among: Index) -> tuple[Index, Float64]:
        """Which of `among` is nearest to each fine cell, and how far away it is (m)."""
        if not asked.size:
            return np.empty(0, np.int64), np.empty(0)
        wet = np.zeros(len(self._points), bool)
        wet[among] = True
        candidates = self._order[wet[self._order]]
        chord, place = cKDTree(self._points[candidates]).query(self._asked[asked])
        return candidates[place], 2.0 * EARTH_RADIUS * np.arcsin(np.clip(0.5 * chord, 0.0, 1.0))


def turned(lon: Float64, origin: float) -> Float64:
    """Degrees east of an origin, in [0, 360), the same bits however often `lon` was turned."""
    east = np.round((np.round(lon, DIGITS) - origin) % FULL_CIRCLE, DIGITS)
    return np.asarray(east % FULL_CIRCLE)


def _corners(coarse: Grid, fine: Grid) -> tuple[Index, Float64]:
    """Flat indices of the four coarse cells around each fine one, and their weights (n, 4)."""
    (south, north), upper = _between(np.round(coarse.lat, DIGITS), np.round(fine.lat, DIGITS))
    # A circle may begin anywhere; a part of one begins at its western edge, wherever that is.
    origin = 0.0 if coarse.periodic else float(turned(coarse.lon_bounds[:1], 0.0)[0])
    nodes = turned(coarse.lon, origin)
    order = np.argsort(nodes)
    nodes = nodes[order]
    if coarse.periodic:
        nodes = np.concatenate([nodes[-1:] - FULL_CIRCLE, nodes, nodes[:1] + FULL_CIRCLE])
        order = np.concatenate([order[-1:], order, order[:1]])
    places, right = _between(nodes, turned(fine.lon, origin))
    west, east = order[places[0]], order[places[1]]
    index = [row[:, None] * coarse.nx + column for row in (south, north) for column in (west, east)]
    weight = [y[:, None] * x for y in (1.0 - upper, upper) for x in (1.0 - right, right)]
    return tuple(np.stack(x, axis=-1).reshape(-1, 4) for x in (index, weight))  # type: ignore[return-value]


def _between(nodes: Float64, points: Float64) -> tuple[tuple[Index, Index], Float64]:
    """Neighbours of points among ascending nodes and the part of the upper one.

    Beyond the outermost node its value holds.
    """
    upper = np.clip(np.searchsorted(nodes, points, side="right"), 0, nodes.size - 1)
    lower = np.clip(np.searchsorted(nodes, points, side="right") - 1, 0, nodes.size - 1)
    gap = np.where(upper > lower, nodes[upper] - nodes[lower], 1.0)
    return (lower, upper), np.where(upper > lower, (points - nodes[lower]) / gap, 0.0)


def _on_sphere(lat: Float64, lon: Float64) -> Float64:
    """Unit vectors (n, 3)."""
    y, x = np.deg2rad(lat), np.deg2rad(lon)
    return np.stack([np.cos(y) * np.cos(x), np.cos(y) * np.sin(x), np.sin(y)], axis=-1)


def _box(grid: Grid) -> tuple[tuple[float, float], tuple[float, float], list[float]]:
    """Edges in latitude and longitude, and level centres, as `misfit` takes them."""
    lat, lon = ((float(x[0]), float(x[-1])) for x in (grid.lat_bounds, grid.lon_bounds))
    return lat, lon, [float(x) for x in grid.depth]
