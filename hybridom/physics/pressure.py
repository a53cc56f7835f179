"""Hydrostatic pressure below a free surface."""

from __future__ import annotations

from torch import Tensor

from hybridom.constants import GRAVITY, RHO_0
from hybridom.operators import Geometry


def hydrostatic_pressure(density_anomaly: Tensor, zos: Tensor, geometry: Geometry) -> Tensor:
    """Dynamic pressure p = g rho0 eta + g * integral of rho' from the surface down to the level.

    The part that depends on depth alone, g rho0 z, has no gradient and is left out. Each layer is
    taken as uniform, so that p = g rho' z exactly for a uniform rho'.

    Args:
        density_anomaly: rho' at centres (..., nz, ny, nx), kg m-3, finite on land.
        zos: Sea-surface height at centres (..., ny, nx), m, finite on land.
        geometry: The grid.

    Returns:
        Pressure at centres (..., nz, ny, nx), Pa.
    """
    down_to_bottom = (density_anomaly * geometry.dz).cumsum(dim=-3)
    below_level = density_anomaly * (geometry.bottom - geometry.depth)
    surface = (GRAVITY * RHO_0) * zos.unsqueeze(-3)
    return surface + GRAVITY * (down_to_bottom - below_level)
