"""Face and corner masks, all derived from the one wet mask (nz, ny, nx), and open edges."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hybridom.errors import UserError
from hybridom.grid import Array, Grid

Mask = npt.NDArray[np.bool_]


def require_ocean(wet: Mask, shape: tuple[int, int, int], what: str = "wet mask") -> None:
    """Refuse a mask without ocean, or of another grid.

    Args:
        wet: Ocean cells, bool.
        shape: (nz, ny, nx) of the grid.
        what: Where the mask is from, for the message.

    Raises:
        UserError: It has another shape, or no ocean.
    """
    if wet.shape != shape:
        raise UserError(f"{what}: shape {wet.shape} does not fit the grid's {shape}")
    if not wet.any():
        raise UserError(
            f"{what}: no ocean cell among {wet.size}; lower grid.wet_threshold or move the box"
        )


def require_columns(wet: Mask, what: str = "wet mask") -> None:
    """Refuse a mask (nz, ny, nx) with ocean below land.

    Raises:
        UserError: Names the number of such cells and the first of them.
    """
    overhang = wet[1:] & ~wet[:-1]
    if overhang.any():
        k, j, i = (int(n) for n in np.argwhere(overhang)[0])
        raise UserError(
            f"{what}: ocean below land at level {k + 1}, row {j}, column {i} "
            f"(from 0; {overhang.sum()} cells); expected columns that are wet from the surface down"
        )


def u_mask(wet: Mask, periodic: bool, open_boundaries: bool = False) -> Mask:
    """Western and eastern faces (nz, ny, nx+1) whose two neighbours are wet.

    On a periodic grid the first and the last face are the same one. On any other they are closed,
    unless `open_boundaries` opens those of wet cells.
    """
    mask = np.zeros((*wet.shape[:-1], wet.shape[-1] + 1), dtype=bool)
    mask[..., 1:-1] = wet[..., 1:] & wet[..., :-1]
    if periodic:
        mask[..., 0] = mask[..., -1] = wet[..., 0] & wet[..., -1]
    elif open_boundaries:
        mask[..., 0], mask[..., -1] = wet[..., 0], wet[..., -1]
    return mask


def v_mask(wet: Mask, open_boundaries: bool = False) -> Mask:
    """Southern and northern faces (nz, ny+1, nx) with two wet neighbours.

    The outer ones are closed, unless `open_boundaries` opens those of wet cells.
    """
    mask = np.zeros((*wet.shape[:-2], wet.shape[-2] + 1, wet.shape[-1]), dtype=bool)
    mask[..., 1:-1, :] = wet[..., 1:, :] & wet[..., :-1, :]
    if open_boundaries:
        mask[..., 0, :], mask[..., -1, :] = wet[..., 0, :], wet[..., -1, :]
    return mask


def corner_mask(wet: Mask, periodic: bool) -> Mask:
    """Corners (nz, ny+1, nx+1) whose four cells are wet; outer ones closed."""
    east_west = u_mask(wet, periodic)
    mask = np.zeros((*wet.shape[:-2], wet.shape[-2] + 1, wet.shape[-1] + 1), dtype=bool)
    mask[..., 1:-1, :] = east_west[..., 1:, :] & east_west[..., :-1, :]
    return mask


def without_overhangs(wet: Mask) -> Mask:
    """Wet cells (nz, ny, nx) without those that have a dry cell anywhere above them.

    No water column of a model can hold such cells, and a product that has them is odd or damaged.
    """
    return np.logical_and.accumulate(wet, axis=0)


def cells_to_open_edge(grid: Grid, sea: Mask) -> Array:
    """Cells (ny, nx) to the nearest ocean cell of an open edge, the greater of rows and columns.

    Zero in that cell itself, infinite on a grid without open edge.
    """
    rows, columns = np.arange(grid.ny)[:, None], np.arange(grid.nx)[None, :]
    away = np.full(sea.shape, np.inf)
    for j in (0, -1):
        # a face at a pole has no length
        if grid.dx_v[j, 0] > 0:
            along = _cells_to_nearest(sea[j], grid.periodic)[None, :]
            away = np.minimum(away, np.maximum(along, abs(rows - rows[j])))
    if not grid.periodic:
        for i in (0, -1):
            along = _cells_to_nearest(sea[:, i], False)[:, None]
            away = np.minimum(away, np.maximum(along, abs(columns - columns[0, i])))
    return away


def _cells_to_nearest(sea: Mask, periodic: bool) -> Array:
    """Cells (n,) to the nearest true one of a row of cells, infinite where none is true."""
    steps = abs(np.arange(sea.size)[:, None] - np.flatnonzero(sea)[None, :]).astype(float)
    if periodic:
        steps = np.minimum(steps, sea.size - steps)
    return steps.min(axis=1, initial=np.inf)
