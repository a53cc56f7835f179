"""Currents at the surface: geostrophic ones from sea surface height, and kinetic energy."""

from __future__ import annotations

import numpy as np


def geostrophic_currents(
    zos: np.ndarray,
    lat: np.ndarray,
    lon: np.ndarray,
    wet: np.ndarray,
    periodic: bool,
    gravity: float,
    rotation: float,
    radius: float,
    band: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Geostrophic currents u = -g/f d(zos)/dy, v = g/f d(zos)/dx, f = 2 Omega sin(lat).

    Slopes are centred differences over the two neighbours of a cell; there is none at the edge of
    the grid, but across the first and last column of a periodic one.

    Args:
        zos: Sea surface height (..., ny, nx), m; may hold anything outside `wet`.
        lat: Rows (ny,), degrees north, ascending.
        lon: Columns (nx,), degrees east, ascending.
        wet: bool (ny, nx).
        periodic: Whether the last column neighbours the first.
        gravity: m s-2.
        rotation: Rate of the Earth's rotation Omega, s-1.
        radius: Of the Earth, m.
        band: Rows nearer to the equator than this (degrees) are left out.

    Returns:
        Eastward and northward velocity, float64 (..., ny, nx), m s-1; NaN within the band,
        wherever the cell itself or a neighbour is dry, and for v in a row at a pole.
    """
    height = np.where(wet, np.asarray(zos, np.float64), np.nan)
    rows, columns = np.deg2rad(lat), np.deg2rad(lon)
    outside = np.abs(lat) >= max(band, np.finfo(np.float64).tiny)
    f = np.where(outside, 2.0 * rotation * np.sin(rows), np.nan)[:, None]

    slope_y = np.full(height.shape, np.nan)
    dy = radius * (rows[2:] - rows[:-2])[:, None]
    slope_y[..., 1:-1, :] = (height[..., 2:, :] - height[..., :-2, :]) / dy

    slope_x = np.full(height.shape, np.nan)
    # at a pole itself there is no eastward direction
    around = np.where(np.abs(lat) < 90.0, radius * np.cos(rows), np.nan)[:, None]
    if periodic:
        dx = around * np.mod(np.roll(columns, -1) - np.roll(columns, 1), 2.0 * np.pi)
        slope_x[...] = (np.roll(height, -1, axis=-1) - np.roll(height, 1, axis=-1)) / dx
    else:
        dx = around * (columns[2:] - columns[:-2])
        slope_x[..., 1:-1] = (height[..., 2:] - height[..., :-2]) / dx

    u, v = -gravity / f * slope_y, gravity / f * slope_x
    return np.where(wet, u, np.nan), np.where(wet, v, np.nan)


def kinetic_energy(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Kinetic energy per mass (u^2 + v^2) / 2, float64, m2 s-2, of velocities in m s-1."""
    east, north = np.asarray(u, np.float64), np.asarray(v, np.float64)
    return np.asarray(0.5 * (east * east + north * north))
