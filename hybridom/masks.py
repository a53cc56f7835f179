"""Face and corner masks, all derived from the one wet mask (nz, ny, nx)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]


def u_mask(wet: Mask, periodic: bool) -> Mask:
    """Western and eastern faces (nz, ny, nx+1) whose two neighbours are wet.

    The outer faces of an open grid are closed; on a periodic grid the first and the last face are
    the same one.
    """
    mask = np.zeros((*wet.shape[:-1], wet.shape[-1] + 1), dtype=bool)
    mask[..., 1:-1] = wet[..., 1:] & wet[..., :-1]
    if periodic:
        mask[..., 0] = mask[..., -1] = wet[..., 0] & wet[..., -1]
    return mask


def v_mask(wet: Mask) -> Mask:
    """Southern and northern faces (nz, ny+1, nx) with two wet neighbours; outer ones closed."""
    mask = np.zeros((*wet.shape[:-2], wet.shape[-2] + 1, wet.shape[-1]), dtype=bool)
    mask[..., 1:-1, :] = wet[..., 1:, :] & wet[..., :-1, :]
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
