"""Physical constants (SI units unless said)."""

EARTH_RADIUS = 6_371_000.0  # m, mean radius (as in NEMO and OceanBench)
OMEGA = 7.2921e-5  # s-1, rotation rate of the Earth
GRAVITY = 9.81  # m s-2
RHO_0 = 1026.0  # kg m-3, Boussinesq reference density (HybridOM, NEMO)
RHO_AIR = 1.22  # kg m-3, air density at the surface (Large & Yeager 2004)
CP_SEAWATER = 3991.86795711963  # J kg-1 K-1 (TEOS-10)
KELVIN = 273.15  # K at 0 degC
SECONDS_PER_DAY = 86_400.0
