"""From the C grid of the simulation to the nodes of the products."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hybridom.twin.geography import Array, Mask, TwinGrid


def centre_u(u: Array) -> Array:
    """Zonal velocity from east faces to cell centres, shape (nz, ny, nx), periodic in longitude.

    The mean of both faces; a face on the coast counts with its velocity, zero.
    """
    return 0.5 * (u + np.roll(u, 1, axis=2))


def centre_v(v: Array) -> Array:
    """Meridional velocity from north faces to cell centres, shape (nz, ny, nx).

    The mean of both faces; the southern edge of the grid is a coast.
    """
    south = np.pad(v[:, :-1], ((0, 0), (1, 0), (0, 0)))
    return 0.5 * (v + south)


class NodeInterpolation:
    """Bilinear interpolation from wet cell centres to nodes, level by level.

    A node is wet where the cell that holds it is wet; a node on a face belongs to the cell to the
    east or north. Among the four surrounding centres only wet ones count, with their bilinear
    weights scaled to a sum of one.

    Args:
        grid: Cells of the simulation.
        wet: Wet cells, shape (nz, ny, nx).
        lat: Latitudes of the nodes, shape (nlat,), degrees.
        lon: Longitudes of the nodes, shape (nlon,), degrees.

    Attributes:
        wet: Wet nodes, shape (nz, nlat, nlon).
        nearest: For every node the row and column of its cell, each (nlat, nlon).
    """

    def __init__(self, grid: TwinGrid, wet: Mask, lat: Array, lon: Array) -> None:
        _, ny, nx = wet.shape
        y = (lat - grid.lat[0]) / grid.degrees
        x = ((lon - grid.lon[0]) / grid.degrees) % nx
        row, column = np.floor(y + 0.5).astype(int), np.floor(x + 0.5).astype(int) % nx
        inside = (row >= 0) & (row < ny)
        self.nearest = np.meshgrid(np.clip(row, 0, ny - 1), column, indexing="ij")
        self.wet = wet[:, self.nearest[0], self.nearest[1]] & inside[:, None]
        corners = list(_corners(y, x, ny, nx))
        self._operators = [
            self._operator(level, nodes, corners)
            for level, nodes in zip(wet, self.wet, strict=True)
        ]

    @staticmethod
    def _operator(
        level: Mask, nodes: Mask, corners: Sequence[tuple[NDArray[np.int64], Array]]
    ) -> sparse.csr_array:
        target = np.flatnonzero(nodes)
        cells = np.stack([cell.ravel()[target] for cell, _ in corners])
        weights = np.stack([weight.ravel()[target] for _, weight in corners])
        weights = weights * level.ravel()[cells]
        weights = weights / weights.sum(axis=0)
        rows = np.broadcast_to(target, cells.shape)
        entries = (weights.ravel(), (rows.ravel(), cells.ravel()))
        return sparse.coo_array(entries, shape=(nodes.size, level.size)).tocsr()

    def __call__(self, field: Array) -> Array:
        """Interpolate a field at cell centres, (nz, ny, nx) or (ny, nx), to the nodes.

        Returns:
            Values at the nodes, (nz, nlat, nlon) or (nlat, nlon), NaN where the node is dry.
        """
        levels = field if field.ndim == 3 else field[None]
        found = np.stack(
            [
                np.where(nodes, (operator @ level.ravel()).reshape(nodes.shape), np.nan)
                for level, nodes, operator in zip(levels, self.wet, self._operators, strict=False)
            ]
        )
        return found if field.ndim == 3 else found[0]


def _corners(y: Array, x: Array, ny: int, nx: int) -> list[tuple[NDArray[np.int64], Array]]:
    """The four surrounding cells of each node and their bilinear weights, each (nlat, nlon)."""
    j, i = np.floor(y).astype(int), np.floor(x).astype(int)
    found = []
    for dj, weight_y in ((0, 1 - (y - j)), (1, y - j)):
        for di, weight_x in ((0, 1 - (x - i)), (1, x - i)):
            cell = np.clip(j + dj, 0, ny - 1)[:, None] * nx + ((i + di) % nx)[None, :]
            found.append((cell, weight_y[:, None] * weight_x[None, :]))
    return found


def linear_operator(source: Array, target: Array, period: float | None) -> sparse.csr_array:
    """Linear interpolation between points in one dimension, as a matrix.

    Args:
        source: Ascending, equally spaced points, shape (m,).
        target: Points, shape (n,), within `source` unless periodic.
        period: Length of the period, covered by `source`; None for none.

    Returns:
        Matrix of shape (n, m) whose rows sum to one.
    """
    m = len(source)
    place = (target - source[0]) / (source[1] - source[0])
    if period is not None:
        place = place % m
    left = np.floor(place).astype(int)
    if period is None:
        left = np.clip(left, 0, m - 2)
    part = place - left
    row = np.arange(len(target))
    entries = np.concatenate([1 - part, part])
    columns = np.concatenate([left % m, (left + 1) % m])
    shape = (len(target), m)
    return sparse.coo_array((entries, (np.tile(row, 2), columns)), shape=shape).tocsr()
