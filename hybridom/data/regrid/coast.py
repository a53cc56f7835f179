"""Continuing ocean values onto land near the coast."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(nogil=True, cache=True)
def _fill_ring(out, filled, ring, periodic):
    """Fill the cells that have a filled neighbour; `filled` holds the ring that filled a cell."""
    ny, nx = out.shape
    for j in range(ny):
        for i in range(nx):
            if filled[j, i] < ring:
                continue
            total, count = 0.0, 0
            for b in range(max(j - 1, 0), min(j + 2, ny)):
                for a in range(i - 1, i + 2):
                    if periodic:
                        a = a % nx
                    elif a < 0 or a >= nx:
                        continue
                    if filled[b, a] < ring:
                        total += out[b, a]
                        count += 1
            if count > 0:
                out[j, i] = total / count
                filled[j, i] = ring


@njit(nogil=True, cache=True)
def _fill_levels(out, sea, cells, periodic):
    unfilled = cells + 1
    for k in range(out.shape[0]):
        filled = np.where(sea[k], 0, unfilled).astype(np.int32)
        for ring in range(1, cells + 1):
            _fill_ring(out[k], filled, ring, periodic)
        for j in range(out.shape[1]):
            for i in range(out.shape[2]):
                if filled[j, i] == unfilled:
                    out[k, j, i] = np.nan


def fill_from_sea(
    field: NDArray[np.floating[Any]], sea: NDArray[np.bool_], cells: int, periodic: bool
) -> NDArray[np.floating[Any]]:
    """Continue a field's values from the sea onto land, ring by ring, level by level.

    A land cell with sea or filled cells among its eight neighbours takes their mean, without
    weights; the cells of one ring do not see one another. Nothing is exchanged across the poles or
    between levels.

    Args:
        field: (..., ny, nx) float32 or float64, finite in the sea; values on land are ignored.
        sea: (..., ny, nx) of the same shape, True in the sea.
        cells: Number of rings, 0 or more.
        periodic: Whether the last column neighbours the first.

    Returns:
        (..., ny, nx) of the field's type: the field in the sea, its continuation within `cells`
        cells of the sea, NaN beyond.
    """
    if sea.shape != field.shape:
        raise ValueError(f"field of shape {field.shape}, sea of {sea.shape}")
    out = np.array(field, order="C")
    levels = (-1, *field.shape[-2:])
    _fill_levels(out.reshape(levels), np.ascontiguousarray(sea).reshape(levels), cells, periodic)
    return out
