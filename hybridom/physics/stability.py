"""Whether a time step is small enough for a flow; an unstable one is refused before it runs."""

from __future__ import annotations

import math

import torch

from hybridom.config import SkeletonConfig
from hybridom.constants import SECONDS_PER_DAY
from hybridom.errors import UserError
from hybridom.grid import Grid
from hybridom.operators import Geometry
from hybridom.physics.fluxes import FaceWeights
from hybridom.state import OceanState


def transport_rate(weights: FaceWeights, geometry: Geometry) -> torch.Tensor:
    """Part of its volume that a cell hands to its neighbours, at centres (..., nz, ny, nx), s-1.

    By Gershgorin's theorem the eigenvalues of the linear transport lie in discs of this radius that
    touch zero from the left.
    """
    rate = weights.west[..., 1:] - weights.east[..., :-1]
    rate = (rate + weights.south[..., 1:, :] - weights.north[..., :-1, :]) / geometry.area
    if weights.above is None or weights.below is None:
        return rate
    upward = weights.below[..., :-1, :, :] - weights.above[..., 1:, :, :]
    return rate + upward / geometry.dz


def stability_limit(config: SkeletonConfig) -> float:
    """Largest stable transport number (transport rate times step).

    A disc of radius r that touches zero lies in the stability region of Adams-Bashforth with offset
    e for r <= 1 / (2 (1 + e)), and in that of an Euler step, which bounds each stage of the
    Runge-Kutta scheme, for r <= 1.
    """
    return 1.0 if config.scheme == "rk3" else 0.5 / (1 + config.ab2_offset)


def require_stable(
    what: str, weights: FaceWeights, geometry: Geometry, grid: Grid, config: SkeletonConfig
) -> float:
    """Largest transport number of `weights` in a substep of `config`.

    Args:
        what: Name of the transported fields, for the message.
        weights: All linear fluxes that act on them.
        geometry: The grid.
        grid: The same grid, for the message.
        config: Number of substeps and time scheme.

    Raises:
        UserError: The number is above the limit of the time scheme.
    """
    rate = transport_rate(weights, geometry)
    rate = rate.reshape(-1, *grid.shape).amax(dim=0)
    number = float(rate.max()) * SECONDS_PER_DAY / config.substeps
    limit = stability_limit(config)
    if number <= limit:
        return number
    k, rest = divmod(int(rate.argmax()), grid.ny * grid.nx)
    j, i = divmod(rest, grid.nx)
    enough = math.ceil(number / limit * config.substeps)
    raise UserError(
        f"skeleton: the transport number of {what} is {number:.3g} "
        f"(Courant plus diffusion) at latitude {grid.lat[j]:.4g}, longitude {grid.lon[i]:.4g}, "
        f"depth {grid.depth[k]:.4g} m; "
        f"scheme {config.scheme} is stable up to {limit:.3g}: set skeleton.substeps to {enough} "
        f"or more (now {config.substeps}), or lower diffusivity and viscosity"
    )


def require_finite(state: OceanState, geometry: Geometry, surface: Geometry) -> None:
    """Refuse a state that is not finite in the ocean.

    Raises:
        UserError: Names the variable and the number of cells.
    """
    for name, field in state.items():
        wet = surface.wet.squeeze(0) if name == "zos" else geometry.wet
        bad = int((wet & ~torch.isfinite(field)).sum())
        if bad:
            raise UserError(
                f"initial state: {name} is not finite in {bad} ocean cells; expected a number in "
                "every cell of the wet mask: check the state store and the grid file"
            )
