"""Fluxes through faces, written so that those of several processes add up.

A flux that is linear in the field is a weight on each of the two cells that a face separates.
Advection and diffusion give such weights; they are summed once a day and applied every substep.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

from torch import Tensor

from hybridom.operators import Geometry


class Fluxes(NamedTuple):
    """Transport of a field through faces, positive eastward, northward and upward.

    Attributes:
        x: Through u faces, per unit of depth (..., nz, ny, nx+1), field times m2 s-1.
        y: Through v faces, per unit of depth (..., nz, ny+1, nx), field times m2 s-1.
        z: Through layer interfaces, per unit of area (..., nz+1, ny, nx), field times m s-1;
            None for purely lateral fluxes.
    """

    x: Tensor
    y: Tensor
    z: Tensor | None


@dataclass(frozen=True)
class FaceWeights:
    """Flux per unit of the field in the cell on each side of a face; zero on closed faces.

    Attributes:
        west, east: At u (..., nz, ny, nx+1), m2 s-1.
        south, north: At v (..., nz, ny+1, nx), m2 s-1.
        above, below: At w (..., nz+1, ny, nx), m s-1; None for purely lateral fluxes.
    """

    west: Tensor
    east: Tensor
    south: Tensor
    north: Tensor
    above: Tensor | None = None
    below: Tensor | None = None

    def __add__(self, other: FaceWeights) -> FaceWeights:
        """Weights of the two processes together; vertical ones count as zero where absent."""
        sums = {}
        for f in fields(self):
            a, b = getattr(self, f.name), getattr(other, f.name)
            sums[f.name] = a + b if a is not None and b is not None else (b if a is None else a)
        return FaceWeights(**sums)


def face_fluxes(c: Tensor, weights: FaceWeights, geometry: Geometry) -> Fluxes:
    """Fluxes of the field c (..., nz, ny, nx) at centres; see `Fluxes` for positions and units.

    The top face sees the surface cell on both sides: water that leaves or enters there carries the
    value of the surface cell, so that a uniform field stays uniform.
    """
    cx, cy = geometry.pad_x(c), geometry.pad_y(c)
    x = weights.west * cx[..., :-1] + weights.east * cx[..., 1:]
    y = weights.south * cy[..., :-1, :] + weights.north * cy[..., 1:, :]
    if weights.above is None or weights.below is None:
        return Fluxes(x, y, None)
    cz = geometry.pad_z(c)
    z = weights.above * cz[..., :-1, :, :] + weights.below * cz[..., 1:, :, :]
    return Fluxes(x, y, z)


def convergence(fluxes: Fluxes, geometry: Geometry) -> Tensor:
    """What the fluxes leave behind: -div_h - d/dz, at centres (..., nz, ny, nx), per second."""
    tendency = -geometry.outflow_to_t(fluxes.x, fluxes.y)
    if fluxes.z is None:
        return tendency
    upward = fluxes.z[..., :-1, :, :] - fluxes.z[..., 1:, :, :]
    return tendency - upward / geometry.dz
