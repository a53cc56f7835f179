"""What passes between the operators and their CPU and GPU kernels."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Start(NamedTuple):
    """Fields at the start of a day, contiguous and of one type; B windows.

    Attributes:
        thetao: Potential temperature at centres (B, nz, ny, nx), degC; anything on land.
        so: Salinity at centres (B, nz, ny, nx), 1e-3; anything on land.
        vorticity: Relative vorticity at centres (B, nz, ny, nx), s-1, zero on land.
        u: Eastward velocity at u (B, nz, ny, nx+1), m s-1, zero on closed faces.
        v: Northward velocity at v (B, nz, ny+1, nx), m s-1, zero on closed faces.
        w: Upward velocity at w (B, nz+1, ny, nx), m s-1, zero on the bottom; closes every layer.
        zos: Sea-surface height (B, ny, nx), m, zero on land.
        source: Vorticity source of the top layer (B, ny, nx), s-2, zero on land.
    """

    thetao: Tensor
    so: Tensor
    vorticity: Tensor
    u: Tensor
    v: Tensor
    w: Tensor
    zos: Tensor
    source: Tensor


class Settings(NamedTuple):
    """Coefficients and terms of one day; see `config.SkeletonConfig`.

    Attributes:
        dt: Substep, s.
        substeps: Number of substeps.
        scheme: `ab2` or `rk3`.
        ab2_offset: Offset of `ab2`.
        advection: `upwind` or `tvd`, of the tracers.
        lateral_diffusivity: K_h, m2 s-1.
        vertical_diffusivity: K_v, m2 s-1.
        viscosity: A_h, m2 s-1; 0 where the term is off.
        geostrophic_advection, planetary, stretching: Terms that are on.
        periodic: Whether the last column neighbours the first.
    """

    dt: float
    substeps: int
    scheme: str
    ab2_offset: float
    advection: str
    lateral_diffusivity: float
    vertical_diffusivity: float
    viscosity: float
    geostrophic_advection: bool
    planetary: bool
    stretching: bool
    periodic: bool


class Metrics(NamedTuple):
    """The tensors of `tables.Tables`, by the same names."""

    flags: Tensor
    rows: Tensor
    levels: Tensor


class Faces(NamedTuple):
    """Masks of the faces that water passes and of open corners, bool; see `operators.Geometry`.

    Attributes:
        u_flow: (nz, ny, nx+1).
        v_flow: (nz, ny+1, nx).
        corner_open: (nz, ny+1, nx+1).
    """

    u_flow: Tensor
    v_flow: Tensor
    corner_open: Tensor
