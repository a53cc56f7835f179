"""Sea-ice transport that keeps concentration in [0, 1] and thickness non-negative."""

from __future__ import annotations

import torch
from torch import Tensor

from hybridom.operators import Geometry
from hybridom.physics.advection import upwind_weights
from hybridom.physics.fluxes import convergence, face_fluxes


def transport_ice(
    concentration: Tensor, thickness: Tensor, u: Tensor, v: Tensor, dt: float, surface: Geometry
) -> tuple[Tensor, Tensor]:
    """Move ice for one Euler step with upwind fluxes of its area and of its volume.

    Both fluxes take from the upstream cell, so that neither amount turns negative while the sum of
    the outward Courant numbers of a cell stays below 1. Where drift piles up more than a full
    cover, concentration is cut to 1 and the volume is kept: the ice thickens (ridging).

    Args:
        concentration: Covered part of the cell (..., 1, ny, nx), 0 to 1, zero on land.
        thickness: Mean thickness of the ice where there is ice (..., 1, ny, nx), m, zero on land.
        u: Eastward drift at u (..., 1, ny, nx+1), m s-1, zero on closed faces.
        v: Northward drift at v (..., 1, ny+1, nx), m s-1, zero on closed faces.
        dt: Step, s.
        surface: Geometry of the top layer.

    Returns:
        Concentration and thickness after the step; thickness is zero where no ice is left.
    """
    amounts = torch.stack([concentration, concentration * thickness])
    drift = upwind_weights(u, v, None, surface)
    moved = amounts + dt * convergence(face_fluxes(amounts, drift, surface), surface)
    # round-off of the sums may leave -1e-17 where a cell empties
    covered, volume = moved.clamp(min=0.0)
    covered = covered.clamp(max=1.0)
    present = covered > 0
    return covered, torch.where(present, volume / torch.where(present, covered, 1.0), 0.0)
