"""Vertical velocity from continuity."""

from __future__ import annotations

import torch
from torch import Tensor

from hybridom.operators import Geometry


def vertical_velocity(u: Tensor, v: Tensor, geometry: Geometry) -> Tensor:
    """Upward velocity that closes every layer: dw/dz = -div_h(u), integrated up from w = 0.

    Layers keep their thickness, so that the value at the surface is minus the divergence of the
    vertically integrated flow, which is the tendency of the sea surface.

    Args:
        u: Eastward velocity at u (..., nz, ny, nx+1), m s-1, zero on closed faces.
        v: Northward velocity at v (..., nz, ny+1, nx), m s-1, zero on closed faces.
        geometry: The grid.

    Returns:
        Velocity at w (..., nz+1, ny, nx), m s-1, positive up, zero on the bottom.
    """
    return vertical_velocity_of(u * geometry.length_u, v * geometry.length_v, geometry)


def vertical_velocity_of(through_u: Tensor, through_v: Tensor, geometry: Geometry) -> Tensor:
    """As `vertical_velocity`, of volume transports per unit of depth.

    Args:
        through_u: Through u faces (..., nz, ny, nx+1), m2 s-1, zero on closed ones.
        through_v: Through v faces (..., nz, ny+1, nx), m2 s-1, zero on closed ones.
        geometry: The grid.
    """
    inflow = -geometry.outflow_to_t(through_u, through_v) * geometry.dz
    from_below = inflow.flip(-3).cumsum(dim=-3).flip(-3)
    return torch.cat([from_below, torch.zeros_like(inflow[..., :1, :, :])], dim=-3)


def sea_surface_tendency(w: Tensor) -> Tensor:
    """d(eta)/dt (..., ny, nx) in m s-1: the vertical velocity at the surface."""
    return w[..., 0, :, :]
