"""What is refused before a day runs: fields that do not fit, and a time step that is too long."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from hybridom.config import SkeletonConfig
from hybridom.constants import SECONDS_PER_DAY
from hybridom.errors import UserError
from hybridom.grid import Grid
from hybridom.operators import Geometry
from hybridom.physics.fluxes import FaceWeights
from hybridom.variables import VARIABLES


def transport_rate(weights: FaceWeights, geometry: Geometry) -> Tensor:
    """Part of its volume that a cell hands to its neighbours, at centres (..., nz, ny, nx), s-1.

    By Gershgorin's theorem the eigenvalues of the linear transport, in flux form, lie in discs of
    this radius that touch zero from the left.
    """
    rate = weights.west[..., 1:] - weights.east[..., :-1]
    rate = (rate + weights.south[..., 1:, :] - weights.north[..., :-1, :]) / geometry.area
    if weights.above is None or weights.below is None:
        return rate
    upward = weights.below[..., :-1, :, :] - weights.above[..., 1:, :, :]
    return rate + upward / geometry.dz


def renewal_rate(weights: FaceWeights, geometry: Geometry) -> Tensor:
    """Part of its volume that a cell gets from its neighbours, at centres (..., nz, ny, nx), s-1.

    The radius of Gershgorin's discs as for `transport_rate`, of lateral transport in advective
    form. The two differ where the flow converges: many neighbours may hand a little each to one
    cell. What enters through an open edge of the grid is no neighbour's.
    """
    west = torch.where(geometry.u_open, weights.west, 0.0)
    east = torch.where(geometry.u_open, weights.east, 0.0)
    south = torch.where(geometry.v_open, weights.south, 0.0)
    north = torch.where(geometry.v_open, weights.north, 0.0)
    rate = west[..., :-1] - east[..., 1:] + south[..., :-1, :] - north[..., 1:, :]
    return rate / geometry.area


def stability_limit(config: SkeletonConfig) -> float:
    """Largest stable transport number (transport rate times step).

    A disc of radius r that touches zero lies in the stability region of Adams-Bashforth with offset
    e for r <= 1 / (2 (1 + e)), and in that of an Euler step, which bounds each stage of the
    Runge-Kutta scheme, for r <= 1.
    """
    return 1.0 if config.scheme == "rk3" else 0.5 / (1 + config.ab2_offset)


def require_stable(what: str, rate: Tensor, grid: Grid, config: SkeletonConfig) -> float:
    """Largest transport number (rate times step) of the substeps of `config`.

    Args:
        what: Name of the transported fields, for the message.
        rate: Of the linear fluxes that act on them together (..., nz, ny, nx), s-1.
        grid: The grid, for the message.
        config: Number of substeps and time scheme.

    Raises:
        UserError: The number is above the limit of the time scheme.
    """
    rate = rate.reshape(-1, *grid.shape).amax(dim=0)
    number = float(rate.max()) * SECONDS_PER_DAY / config.substeps
    limit = stability_limit(config)
    if number <= limit:
        return number
    enough = math.ceil(number / limit * config.substeps)
    raise UserError(
        f"skeleton: the transport number of {what} is {number:.3g} "
        f"(Courant plus diffusion) {_place(grid, int(rate.argmax()))}; "
        f"scheme {config.scheme} is stable up to {limit:.3g}: set skeleton.substeps to {enough} "
        f"or more (now {config.substeps}), or lower diffusivity and viscosity"
    )


def require_fit(what: str, fields: Mapping[str, Tensor], grid: Grid, dtype: torch.dtype) -> None:
    """Refuse fields that are not on the grid, or not of the type that the model computes in.

    Args:
        what: What they are, for the message.
        fields: Variable -> (..., nz, ny, nx) or (..., ny, nx).
        grid: The grid.
        dtype: Type of the model.

    Raises:
        UserError: Names the variable, what it is and what was expected.
    """
    for name, field in fields.items():
        shape = grid.shape if VARIABLES[name].has_depth else grid.shape[1:]
        if tuple(field.shape[-len(shape) :]) != shape:
            expected = ", ".join(str(n) for n in shape)
            raise UserError(
                f"{what}: {name} has shape {tuple(field.shape)}, but the grid needs "
                f"(..., {expected}); bring it to the grid of the model"
            )
        if field.dtype != dtype:
            raise UserError(
                f"{what}: {name} is {field.dtype}, but the model computes in {dtype}; convert it "
                f"with .to({dtype})"
            )


def require_finite(what: str, fields: Mapping[str, Tensor], grid: Grid, wet: Tensor) -> None:
    """Refuse fields that are not finite in the ocean.

    Args:
        what: What they are, for the message.
        fields: Variable -> (..., nz, ny, nx) or (..., ny, nx), on the grid.
        grid: The grid, for the message.
        wet: Its ocean cells (nz, ny, nx), bool.

    Raises:
        UserError: Names the variable, the number of cells and the first of them.
    """
    for name, field in fields.items():
        mask = wet if VARIABLES[name].has_depth else wet[0]
        bad = mask & ~torch.isfinite(field)
        count = int(bad.sum())
        if count:
            anywhere = bad.reshape(-1, mask.numel()).any(dim=0)
            first = int(anywhere.int().argmax())
            raise UserError(
                f"{what}: {name} is not finite in {count} ocean cells, the first "
                f"{_place(grid, first)}; expected a number in every cell of the wet mask: check "
                "the store it comes from and the grid file"
            )


def _place(grid: Grid, cell: int) -> str:
    """Where a cell is, given its place in a flattened field (nz, ny, nx) or (ny, nx)."""
    k, rest = divmod(cell, grid.ny * grid.nx)
    j, i = divmod(rest, grid.nx)
    return (
        f"at latitude {grid.lat[j]:.4g}, longitude {grid.lon[i]:.4g}, depth {grid.depth[k]:.4g} m"
    )
