"""Density: the simplified equation of state of NEMO (S-EOS)."""

from __future__ import annotations

from torch import Tensor

# Coefficients of NEMO's S-EOS, a fit to TEOS-10 over the world ocean: Roquet, Madec, Brodeau and
# Nycander (2015), doi:10.1175/JPO-D-15-0080.1.
T_REF = 10.0  # degC
S_REF = 35.0  # 1e-3
A0 = 1.6550e-1  # kg m-3 K-1, linear thermal expansion
B0 = 7.6554e-1  # kg m-3, linear haline contraction
LAMBDA1 = 5.9520e-2  # K-1, cabbeling in temperature
LAMBDA2 = 5.4914e-4  # 1, cabbeling in salinity
NU = 2.4341e-3  # kg m-3 K-1, cabbeling between the two
MU1 = 1.4970e-4  # m-1, thermobaricity in temperature
MU2 = 1.1090e-5  # m-1, thermobaricity in salinity


def density_anomaly(thetao: Tensor, so: Tensor, depth: Tensor) -> Tensor:
    """Density minus `RHO_0`, without the compression that depends on depth alone.

    rho' = -a0 (1 + lambda1 Ta / 2 + mu1 z) Ta + b0 (1 - lambda2 Sa / 2 - mu2 z) Sa - nu Ta Sa
    with Ta = T - 10 degC and Sa = S - 35 (Roquet et al. 2015).

    Args:
        thetao: Temperature (..., nz, ny, nx), degC, full values and not anomalies. The fit asks
            for conservative temperature; potential temperature differs by less than 0.1 K in most
            of the ocean.
        so: Salinity (..., nz, ny, nx), g kg-1; practical salinity reads about 0.16 lower, nearly
            everywhere alike.
        depth: Depth (nz, 1, 1), m, positive down.

    Returns:
        rho' at centres (..., nz, ny, nx), kg m-3.
    """
    ta = thetao - T_REF
    sa = so - S_REF
    thermal = -A0 * (1 + MU1 * depth) - (0.5 * A0 * LAMBDA1) * ta - NU * sa
    haline = B0 * (1 - MU2 * depth) - (0.5 * B0 * LAMBDA2) * sa
    return thermal * ta + haline * sa
