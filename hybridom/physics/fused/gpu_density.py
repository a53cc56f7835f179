"""The equation of state of `hybridom.physics.eos` and its derivatives, for the GPU kernels."""

# The arguments of kernels have no types that mypy knows.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton
import triton.language as tl

from hybridom.physics import eos

T_REF, S_REF = tl.constexpr(eos.T_REF), tl.constexpr(eos.S_REF)
A0, B0, NU = tl.constexpr(eos.A0), tl.constexpr(eos.B0), tl.constexpr(eos.NU)
MU1, MU2 = tl.constexpr(eos.MU1), tl.constexpr(eos.MU2)
CABBELING_T = tl.constexpr(eos.A0 * eos.LAMBDA1)
CABBELING_S = tl.constexpr(eos.B0 * eos.LAMBDA2)


@triton.jit
def density(thetao, so, depth):
    """Density anomaly rho', kg m-3, at a depth in m."""
    t, s = thetao - T_REF, so - S_REF
    thermal = -A0 * (1 + MU1 * depth) - (0.5 * CABBELING_T) * t - NU * s
    haline = B0 * (1 - MU2 * depth) - (0.5 * CABBELING_S) * s
    return thermal * t + haline * s


@triton.jit
def density_slopes(thetao, so, depth):
    """Derivatives of rho' with respect to temperature and salinity."""
    t, s = thetao - T_REF, so - S_REF
    of_t = -A0 * (1 + MU1 * depth) - CABBELING_T * t - NU * s
    of_s = B0 * (1 - MU2 * depth) - CABBELING_S * s - NU * t
    return of_t, of_s
