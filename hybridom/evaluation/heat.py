"""Sums over the depth of the water, and the heat content of layers."""

from __future__ import annotations

import numpy as np

from hybridom.constants import CP_SEAWATER, RHO_0


def overlap(depth_bounds: np.ndarray, top: float, bottom: float) -> np.ndarray:
    """How much of each level lies between two depths.

    Args:
        depth_bounds: Interfaces (nz+1,), m, ascending.
        top: m.
        bottom: m, below `top`.

    Returns:
        Thickness (nz,), m, of the part of each level within [top, bottom].
    """
    inside = np.clip(np.asarray(depth_bounds, np.float64), top, bottom)
    return np.diff(inside)


def column_integral(field: np.ndarray, wet: np.ndarray, thickness: np.ndarray) -> np.ndarray:
    """Integral over the wet part of every column.

    Args:
        field: (nz, ny, nx); may hold anything outside `wet`.
        wet: bool (nz, ny, nx).
        thickness: What counts of each level (nz,), m.

    Returns:
        float64 (ny, nx), units of the field times m; 0 without water.
    """
    total = np.zeros(wet.shape[1:])
    for level in np.flatnonzero(thickness):
        total += thickness[level] * np.where(wet[level], field[level], 0.0)
    return total


def heat_content(
    thetao: np.ndarray, wet: np.ndarray, depth_bounds: np.ndarray, layer: tuple[float, float]
) -> np.ndarray:
    """Heat content of a layer, rho0 cp times the integral of potential temperature.

    It is that of the wet part of the layer, relative to 0 degC, with temperature uniform within
    each level; rho0 = 1026 kg m-3, cp = 3991.868 J kg-1 K-1 (TEOS-10).

    Args:
        thetao: Potential temperature (nz, ny, nx), degC; may hold anything outside `wet`.
        wet: bool (nz, ny, nx).
        depth_bounds: Interfaces (nz+1,), m.
        layer: Top and bottom, m.

    Returns:
        float64 (ny, nx), J m-2; NaN where no water lies in the layer.
    """
    thickness = overlap(depth_bounds, *layer)
    heat = RHO_0 * CP_SEAWATER * column_integral(thetao, wet, thickness)
    return np.where(wet[thickness > 0].any(axis=0), heat, np.nan)
