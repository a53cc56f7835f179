"""Advection in flux form: first-order upwind, and a TVD-limited second order.

dc/dt = -div_h(u c*) - d(w c*)/dz, with c* the value on the upstream side of the face. `upwind`
takes the upstream cell as uniform. `tvd` gives it a linear profile whose slope is limited by the
monotonised central difference (van Leer 1977, doi:10.1016/0021-9991(77)90095-X), so that the value
on a face never leaves the range of the cells around it. An Euler (or SSP) step then makes no new
extremum while the sum of the outward Courant numbers of a cell stays below 1 (`upwind`) or 1/2
(`tvd`), because the discrete flow (u, v, w) leaves no water behind.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hybridom.operators import Geometry
from hybridom.physics.fluxes import FaceWeights, Fluxes


def upwind_weights(u: Tensor, v: Tensor, w: Tensor | None, geometry: Geometry) -> FaceWeights:
    """Weights of first-order upwind fluxes: all of the transport on the upstream cell.

    Args:
        u: Eastward velocity at u (..., nz, ny, nx+1), m s-1, zero on closed faces.
        v: Northward velocity at v (..., nz, ny+1, nx), m s-1, zero on closed faces.
        w: Upward velocity at w (..., nz+1, ny, nx), m s-1, zero on the bottom; None for a lateral
            flow.
        geometry: The grid.
    """
    x, y = u * geometry.length_u, v * geometry.length_v
    above = None if w is None else torch.where(w > 0, 0.0, w)
    below = None if w is None else torch.where(w > 0, w, 0.0)
    return FaceWeights(
        west=torch.where(x > 0, x, 0.0),
        east=torch.where(x > 0, 0.0, x),
        south=torch.where(y > 0, y, 0.0),
        north=torch.where(y > 0, 0.0, y),
        above=above,
        below=below,
    )


def limited_fluxes(c: Tensor, upwind: FaceWeights, geometry: Geometry) -> Fluxes:
    """What `tvd` adds to the upwind fluxes of c.

    Args:
        c: Field at centres (..., nz, ny, nx), finite on land.
        upwind: Weights of the flow alone, without those of diffusion.
        geometry: The grid.
    """
    dx = geometry.diff_x_to_u(c)
    rise = geometry.pad_x(_limited_rise(dx[..., :-1], dx[..., 1:]))
    x = upwind.west * rise[..., :-1] - upwind.east * rise[..., 1:]
    dy = geometry.diff_y_to_v(c)
    rise = geometry.pad_y(_limited_rise(dy[..., :-1, :], dy[..., 1:, :]))
    y = upwind.south * rise[..., :-1, :] - upwind.north * rise[..., 1:, :]
    if upwind.above is None or upwind.below is None:
        return Fluxes(x, y, None)
    dz = geometry.diff_z_to_w(c)
    # levels are unequally spaced: the central slope runs over the distance between the outer two
    share = 2 * geometry.dz / (geometry.dz_w[:-1] + geometry.dz_w[1:])
    rise = geometry.pad_z(_limited_rise(dz[..., 1:, :, :], dz[..., :-1, :, :], share))
    z = upwind.below * rise[..., 1:, :, :] - upwind.above * rise[..., :-1, :, :]
    return Fluxes(x, y, z)


def _limited_rise(before: Tensor, after: Tensor, share: Tensor | float = 1.0) -> Tensor:
    """Change of the field from a cell's centre to its faces in the positive direction.

    The central estimate is a quarter of the sum of the differences to both neighbours (times
    `share` on unequal spacing); it is cut to the smaller difference, and zero in an extremum and
    next to a closed face.
    """
    central = 0.25 * share * (before + after).abs()
    smallest = torch.minimum(torch.minimum(before.abs(), after.abs()), central)
    return torch.where(before * after > 0, smallest * before.sign(), 0.0)
