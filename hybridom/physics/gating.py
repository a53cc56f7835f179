"""Fluxes of a region and of the coarser ocean that drives it, blended at the faces.

With F the lateral fluxes (advective and diffusive) of temperature or salinity, those of the region
at its day (h), of the driver at the same day (0) and at the next one (1), and weights that sum to
one, the gated flux is F_h + w_0 (F_0 - F_h) + w_1 (F_1 - F_h). What it adds to a day that the core
has taken with F_h is

    dc = -1 day * [ div_h(F_gated - F_h) + d/dz(W c*) ],

W being the vertical velocity of the blended volume transports less that of the region's own.
Without this last term a uniform tracer would not stay uniform where the currents differ. It is a
divergence like the first, so that content changes through the boundaries alone; c* is the region's
tracer on the upstream side. (The published code adds the divergence, times 0.001; the flux form of
Shu et al. 2026, arXiv 2602.00598, has the sign and the scale of a day's step.)

Equal states have equal fluxes, so that every difference is exactly zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hybridom.constants import SECONDS_PER_DAY
from hybridom.operators import Geometry
from hybridom.physics.advection import upwind_weights
from hybridom.physics.continuity import vertical_velocity_of
from hybridom.physics.fluxes import FaceWeights, Fluxes, convergence, face_fluxes
from hybridom.physics.mixing import diffusion_weights
from hybridom.physics.stability import transport_rate

# A day is one Euler step here. Where a cell would hand on more than this part of its volume within
# it, the driver's weights are lowered in proportion: taking back a day of the region's own upwind
# transport then adds less to the shortest waves than that transport itself takes from them.
LARGEST_TRANSPORT = 0.25


@dataclass(frozen=True)
class Transport:
    """What the currents of a state and diffusion do to any tracer.

    Attributes:
        weights: Lateral fluxes per unit of the tracer, m2 s-1.
        x: Volume through u faces per unit of depth (..., nz, ny, nx+1), m2 s-1.
        y: Volume through v faces per unit of depth (..., nz, ny+1, nx), m2 s-1.
    """

    weights: FaceWeights
    x: Tensor
    y: Tensor

    @classmethod
    def of(cls, uo: Tensor, vo: Tensor, diffusivity: float, geometry: Geometry) -> Transport:
        """That of currents at centres (..., nz, ny, nx), m s-1, finite on land.

        Args:
            uo: Eastward velocity.
            vo: Northward velocity.
            diffusivity: Lateral, m2 s-1.
            geometry: The grid.
        """
        u, v = geometry.interp_x_to_u(uo), geometry.interp_y_to_v(vo)
        flow = upwind_weights(u, v, None, geometry)
        weights = flow + diffusion_weights(geometry, diffusivity)
        return cls(weights, u * geometry.length_u, v * geometry.length_v)


def face_weights(weights: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor]:
    """Weights at u and v faces: means of the two cells, so that they still sum to one.

    Args:
        weights: At centres (..., nd, nl, ny, nx), of both directions (nd = 2) or one set for both
            (nd = 1), of each level (nl = nz) or of the column (nl = 1).
        geometry: The grid.

    Returns:
        (..., nz, ny, nx+1) and (..., nz, ny+1, nx), zero on closed faces.
    """
    x, y = weights.select(-4, 0), weights.select(-4, -1)
    return geometry.interp_x_to_u(x), geometry.interp_y_to_v(y)


@torch.no_grad()
def driver_share(
    fine: Transport, drivers: Sequence[Transport], geometry: Geometry
) -> tuple[Tensor, Tensor]:
    """Part of the driver's weights that a day's Euler step can bear, at u and v faces.

    Returns:
        (..., 1, ny, nx+1) and (..., 1, ny+1, nx) in (0, 1]; one unless a cell beside the face hands
        on more than `LARGEST_TRANSPORT` of its volume in a day.
    """
    rate = transport_rate(fine.weights, geometry)
    for driver in drivers:
        w = vertical_velocity_of(driver.x - fine.x, driver.y - fine.y, geometry)
        both = replace(driver.weights, above=w.clamp(max=0.0), below=w.clamp(min=0.0))
        rate = torch.maximum(rate, transport_rate(both, geometry))
    number = SECONDS_PER_DAY * rate.amax(dim=-3, keepdim=True)
    share = LARGEST_TRANSPORT / number.clamp(min=LARGEST_TRANSPORT)
    x, y = geometry.pad_x(share), geometry.pad_y(share)
    return (
        torch.minimum(x[..., :-1], x[..., 1:]),
        torch.minimum(y[..., :-1, :], y[..., 1:, :]),
    )


def gated_change(
    tracers: Tensor,
    fine: Transport,
    driven: Sequence[tuple[Tensor, Transport]],
    weights: Sequence[tuple[Tensor, Tensor]],
    geometry: Geometry,
) -> Tensor:
    """What the gated flux adds to a day of the core, in units of the tracers.

    Args:
        tracers: The region's (2, ..., nz, ny, nx), finite on land.
        fine: Transport by the region.
        driven: Tracers and transport of the driver at the day and at the next one.
        weights: Of both, at u and v faces, see `face_weights`.
        geometry: The grid.

    Returns:
        (2, ..., nz, ny, nx), exactly zero where the driver's states equal the region's.
    """
    own = face_fluxes(tracers, fine.weights, geometry)
    x, y = torch.zeros_like(own.x), torch.zeros_like(own.y)
    volume_x, volume_y = torch.zeros_like(own.x), torch.zeros_like(own.y)
    for (values, transport), (at_u, at_v) in zip(driven, weights, strict=True):
        theirs = face_fluxes(values, transport.weights, geometry)
        x, y = x + at_u * (theirs.x - own.x), y + at_v * (theirs.y - own.y)
        volume_x = volume_x + at_u * (transport.x - fine.x)
        volume_y = volume_y + at_v * (transport.y - fine.y)
    w = vertical_velocity_of(volume_x, volume_y, geometry)
    above_below = geometry.pad_z(tracers)
    z = torch.where(w > 0, w * above_below[..., 1:, :, :], w * above_below[..., :-1, :, :])
    return SECONDS_PER_DAY * convergence(Fluxes(x, y, z), geometry)


def correction_change(per_day: Tensor, geometry: Geometry) -> Tensor:
    """What a learned flux adds within a day; nothing passes the outer edge of the grid.

    Args:
        per_day: Flux at centres (2, ..., 2, nz, ny, nx), eastward and northward: what a face would
            bring into a cell of its own size in a day, in units of the tracer.
        geometry: The grid.

    Returns:
        (2, ..., nz, ny, nx), in units of the tracer; its integral over the grid is zero.
    """
    east, north = per_day.unbind(dim=-4)
    x = geometry.interp_x_to_u(east) * (geometry.length_u * geometry.dx_u)
    y = geometry.interp_y_to_v(north) * (geometry.length_v * geometry.dy_v)
    x, y = torch.where(geometry.u_open, x, 0.0), torch.where(geometry.v_open, y, 0.0)
    return convergence(Fluxes(x, y, None), geometry)
