"""Lateral and vertical diffusion in flux form; coasts, surface and bottom are insulated."""

from __future__ import annotations

import torch

from hybridom.operators import Geometry
from hybridom.physics.fluxes import FaceWeights


def diffusion_weights(
    geometry: Geometry, lateral: float, vertical: float | None = None
) -> FaceWeights:
    """Weights of the fluxes -K dc/dx, -K dc/dy and -K_v dc/dz between ocean cells.

    Args:
        geometry: The grid.
        lateral: Lateral diffusivity (or viscosity), m2 s-1.
        vertical: Vertical diffusivity, m2 s-1; None for lateral fluxes alone.
    """
    x = torch.where(geometry.u_open, lateral * geometry.length_u / geometry.dx_u, 0.0)
    y = torch.where(geometry.v_open, lateral * geometry.length_v / geometry.dy_v, 0.0)
    z = None if vertical is None else torch.where(geometry.w_open, vertical / geometry.dz_w, 0.0)
    return FaceWeights(
        west=x,
        east=-x,
        south=y,
        north=-y,
        above=None if z is None else -z,
        below=z,
    )
