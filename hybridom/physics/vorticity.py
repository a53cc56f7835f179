"""The quasi-geostrophic vorticity equation at cell centres.

d(zeta)/dt = -u_g . grad(zeta) - beta v_g + f dw/dz + curl(tau) / (rho0 dz_1) + A_h lap(zeta)

Relative vorticity is the curl of the face velocities at corners, where the C grid has it, averaged
to the centres over the corners that do not touch land. Circulation gives the exact mean of a
solid-body rotation around every corner, and the exact value of a zonally uniform one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hybridom.constants import RHO_0, RHO_AIR
from hybridom.errors import UserError
from hybridom.operators import Geometry
from hybridom.physics.fluxes import FaceWeights, convergence, face_fluxes
from hybridom.state import Forcing


def relative_vorticity(u: Tensor, v: Tensor, geometry: Geometry) -> Tensor:
    """Relative vorticity at centres (..., nz, ny, nx), s-1.

    Args:
        u: Eastward velocity at u (..., nz, ny, nx+1), m s-1, zero on closed faces.
        v: Northward velocity at v (..., nz, ny+1, nx), m s-1, zero on closed faces.
        geometry: The grid.
    """
    return geometry.interp_corner_to_t(geometry.curl_to_corner(u, v))


def geostrophic_velocity(
    pressure: Tensor, geometry: Geometry, f_min: float
) -> tuple[Tensor, Tensor]:
    """Geostrophic velocity at centres, regularised towards the equator.

    u_g = -F dp/dy / rho0 and v_g = F dp/dx / rho0 with F = f / (f^2 + f_min^2) in place of 1/f. F
    is odd in f, as 1/f is, differs from it by less than 1 % where |f| > 10 f_min, has its largest
    value 1/(2 f_min) where |f| = f_min (4 degrees of latitude for 1e-5 s-1), and falls to zero on
    the equator: there the velocity blends to zero, and nothing divides by f.

    Args:
        pressure: Pressure at centres (..., nz, ny, nx), Pa, finite on land.
        geometry: The grid.
        f_min: f0 of the regularisation, s-1.

    Returns:
        Eastward and northward velocity at centres (..., nz, ny, nx), m s-1. Gradients next to a
        coast are one-sided.
    """
    factor = geometry.f_t / ((geometry.f_t**2 + f_min**2) * RHO_0)
    east = geometry.interp_u_to_t(geometry.grad_x_to_u(pressure))
    north = geometry.interp_v_to_t(geometry.grad_y_to_v(pressure))
    return -factor * north, factor * east


def relative_advection(zeta: Tensor, flow: FaceWeights, geometry: Geometry) -> Tensor:
    """-u . grad(zeta) at centres (..., nz, ny, nx), s-2.

    First-order upwind in advective form, -div(u zeta) + zeta div(u), because a geostrophic flow is
    not free of divergence: a uniform vorticity stays uniform.

    Args:
        zeta: Relative vorticity at centres (..., nz, ny, nx), s-1.
        flow: Upwind weights of the lateral flow.
        geometry: The grid.
    """
    outflow = geometry.outflow_to_t(flow.west + flow.east, flow.south + flow.north)
    return convergence(face_fluxes(zeta, flow, geometry), geometry) + zeta * outflow


def planetary_advection(v_g: Tensor, geometry: Geometry) -> Tensor:
    """-u_g . grad(f) = -beta v_g at centres (..., nz, ny, nx), s-2."""
    return -geometry.beta_t * v_g


def stretching(w: Tensor, geometry: Geometry) -> Tensor:
    """f dw/dz at centres (..., nz, ny, nx), s-2, from w at w (..., nz+1, ny, nx), m s-1."""
    return geometry.f_t * (w[..., :-1, :, :] - w[..., 1:, :, :]) / geometry.dz


def wind_stress(u10: Tensor, v10: Tensor) -> tuple[Tensor, Tensor]:
    """Wind stress by the neutral bulk formula of Large and Yeager (2004, NCAR/TN-460+STR, eq. 6a).

    tau = rho_a C_d |U| U with 1000 C_d = 2.70 / |U| + 0.142 + 0.0764 |U|, so that C_d |U| is finite
    in a calm.

    Args:
        u10, v10: Wind at 10 m (..., ny, nx), m s-1.

    Returns:
        Eastward and northward stress (..., ny, nx), N m-2.
    """
    # the square root has no derivative at zero: 1e-6 m2 s-2 keeps gradients finite in a calm
    speed = torch.sqrt(u10**2 + v10**2 + 1e-6)
    drag = (RHO_AIR * 1e-3) * (2.70 + 0.142 * speed + 0.0764 * speed**2)
    return drag * u10, drag * v10


def surface_stress(forcing: Forcing, surface: Geometry) -> tuple[Tensor, Tensor]:
    """Stress on the sea surface: the given one, or that of the wind where none is given.

    Args:
        forcing: Stress `metss`, `mntss` (..., ny, nx), N m-2, or else wind `u10`, `v10`, m s-1;
            values over land are not used.
        surface: Geometry of the top layer.

    Returns:
        Eastward and northward stress at centres (..., 1, ny, nx), N m-2, zero on land.

    Raises:
        UserError: The forcing holds neither.
    """
    for names, given in ((("metss", "mntss"), True), (("u10", "v10"), False)):
        if forcing.fields.keys() >= set(names):
            # Land is cleaned before the formula: its values would reach the gradients.
            x, y = (surface.clean(forcing[name].unsqueeze(-3)) for name in names)
            return (x, y) if given else wind_stress(x, y)
    raise UserError(
        f"forcing: the wind stress needs metss and mntss, or u10 and v10, but the forcing holds "
        f"{', '.join(forcing.fields) or 'nothing'}; choose another set (key forcing) or set "
        "skeleton.wind_stress to false"
    )


def wind_curl(forcing: Forcing, surface: Geometry) -> Tensor:
    """curl(tau) / (rho0 dz_1): the vorticity that the wind gives the top layer.

    Args:
        forcing: As for `surface_stress`.
        surface: Geometry of the top layer.

    Returns:
        Tendency at centres (..., 1, ny, nx), s-2.
    """
    tau_x, tau_y = surface_stress(forcing, surface)
    curl = relative_vorticity(surface.interp_x_to_u(tau_x), surface.interp_y_to_v(tau_y), surface)
    return curl / (RHO_0 * surface.dz)
