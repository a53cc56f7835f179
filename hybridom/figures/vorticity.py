"""Relative vorticity of velocities at cell centres."""

from __future__ import annotations

import numpy as np

from hybridom.constants import EARTH_RADIUS
from hybridom.grid import Grid

LOWEST = 5.0  # degrees; nearer to the equator, f is too small to divide by


def relative_vorticity(grid: Grid, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Vertical component of the curl on the sphere, by centred differences.

    zeta = (dv/dlambda - d(u cos phi)/dphi) / (R cos phi), with longitude lambda and latitude phi
    in radians (Vallis 2017, Atmospheric and Oceanic Fluid Dynamics, 2.2.4).

    Args:
        grid: The grid.
        u: Eastward velocity (ny, nx) at cell centres, m s-1, NaN on land.
        v: Northward velocity, likewise.

    Returns:
        s-1 (ny, nx), NaN beside land, at the first and last row and, unless the grid is periodic,
        at the first and last column.
    """
    lat = np.deg2rad(grid.lat)
    cos = np.cos(lat)[:, None]
    span = np.deg2rad(grid.lon)
    east = np.roll(span, -1) - np.roll(span, 1)
    eastward = (np.roll(v, -1, axis=1) - np.roll(v, 1, axis=1)) / (east % (2.0 * np.pi))
    northward = np.full(u.shape, np.nan)
    northward[1:-1] = (u * cos)[2:] - (u * cos)[:-2]
    northward[1:-1] /= (lat[2:] - lat[:-2])[:, None]
    zeta = np.where(np.isfinite(u + v), (eastward - northward) / (EARTH_RADIUS * cos), np.nan)
    if not grid.periodic:
        zeta[:, [0, -1]] = np.nan
    return zeta


def rossby_number(grid: Grid, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Relative vorticity over the Coriolis parameter, zeta / f.

    Args:
        grid: The grid.
        u: Eastward velocity (ny, nx) at cell centres, m s-1, NaN on land.
        v: Northward velocity, likewise.

    Returns:
        (ny, nx), NaN where `relative_vorticity` is and within 5 degrees of the equator.
    """
    far = np.abs(grid.lat) >= LOWEST
    f = np.where(far, grid.f_t, np.nan)
    return relative_vorticity(grid, u, v) / f[:, None]
