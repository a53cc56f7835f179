"""Air-sea fluxes by the NCAR bulk formulae of Large and Yeager, differentiable.

    sensible = rho c_p C_H U (theta_10 - SST)          evaporation = rho C_E U (q_10 - q_s)
    stress   = rho C_D U dU                            latent      = L_v evaporation
    net long-wave = e (strd - sigma SST^4)

with dU the wind at 10 m less the surface current and U = max(|dU|, 0.5 m/s). The coefficients are
functions of the neutral wind and of the stability of the surface layer, found in four iterations,
which also shift temperature and humidity from 2 m to 10 m. All fluxes are positive downwards, as
those of ERA5 are: a sea that cools and evaporates has negative heat fluxes and a negative `mer`.

Every cell is taken as open water. Sea ice is no variable of the model, so that fluxes under ice are
those that a lead in it would have; land has none (`open_water_fluxes`).

Where the scheme has a corner (floors, limits, the switch between stable and unstable air) the
derivative is that of one side; it is finite everywhere, in a calm and in neutral air too. In
nearly calm air that is all but neutrally buoyant (below 1 m/s, about one cell of 100 000) four
iterations have not settled, and the derivative can be a hundred times the usual 40 W m-2 K-1.

Sources:
    Large and Yeager (2004), NCAR/TN-460+STR, doi:10.5065/D6KK98Q6: equations by number below.
    Large and Yeager (2009), Clim. Dyn. 33, 341-364, doi:10.1007/s00382-008-0441-3: drag at high
        winds (eq. 11), density of the air from its state.
    Brodeau et al. (2017), J. Phys. Oceanogr. 47, 5-28, doi:10.1175/JPO-D-16-0169.1: the floor of
        the neutral wind, the humidity from the dew point, the reflected long-wave radiation.
    Buck (1981), J. Appl. Meteorol. 20, 1527-1532: saturation over water, in the form of the IFS
        documentation Cy41r2, part IV, eq. 7.5, by which ERA5's dew point was made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hybridom.constants import GRAVITY, KELVIN
from hybridom.variables import BULK_FLUXES

STEFAN_BOLTZMANN = 5.670374419e-8  # W m-2 K-4
EMISSIVITY = 0.98  # of the sea surface in the long wave, which reflects the other 2 %
GAS_CONSTANT_DRY = 287.0597  # J kg-1 K-1, as in the IFS
GAS_CONSTANT_VAPOUR = 461.5250  # J kg-1 K-1, as in the IFS
HEAT_CAPACITY_AIR = 1000.5  # J kg-1 K-1 (Large & Yeager 2004)
LATENT_HEAT = 2.5e6  # J kg-1, of vaporisation (Large & Yeager 2004)
SALT_FACTOR = 0.98  # humidity over salt water as a part of that over fresh water (eq. 5)
VON_KARMAN = 0.4
WIND_HEIGHT, AIR_HEIGHT = 10.0, 2.0  # m, of the wind, and of temperature and humidity
MIN_WIND = 0.5  # m s-1, gusts in a calm
MIN_NEUTRAL_WIND = 0.25  # m s-1
MAX_ZETA = 10.0
HIGH_WIND = 33.0  # m s-1, from which the neutral drag stays the same
ITERATIONS = 4

# Ratio of the gas constants, and what it makes of moist air in the virtual temperature.
_EPSILON = GAS_CONSTANT_DRY / GAS_CONSTANT_VAPOUR
_VIRTUAL = 1.0 / _EPSILON - 1.0
# The fields of the atmosphere that are read, with what fills them on land before the arithmetic.
_LAND = {"u10": 1.0, "v10": 1.0, "msl": 101_325.0, "t2m": 274.0, "d2m": 270.0, "strd": 300.0}


class SurfaceLayer(NamedTuple):
    """The air at 10 m and its exchange with the sea, all (..., ny, nx).

    Attributes:
        drag: Transfer coefficient of momentum, C_D.
        heat: Transfer coefficient of sensible heat, C_H.
        moisture: Transfer coefficient of evaporation, C_E.
        temperature: Potential temperature at 10 m, K.
        humidity: Specific humidity at 10 m, kg kg-1.
    """

    drag: Tensor
    heat: Tensor
    moisture: Tensor
    temperature: Tensor
    humidity: Tensor


def ncar_fluxes(
    atmosphere: Mapping[str, Tensor], sst: Tensor, current_u: Tensor, current_v: Tensor
) -> dict[str, Tensor]:
    """Fluxes between the air of a day and the sea surface below it, all positive downwards.

    Args:
        atmosphere: u10, v10 (m s-1), msl (Pa), t2m, d2m (K) and strd (W m-2), each (..., ny, nx).
        sst: Temperature of the uppermost level (..., ny, nx), degC.
        current_u, current_v: Current of the uppermost level (..., ny, nx), m s-1.

    Returns:
        By the names of `variables.BULK_FLUXES`, each (..., ny, nx): net long-wave radiation
        `msnlwrf`, sensible heat `msshf` and latent heat `mslhf` (W m-2), eastward and northward
        stress `metss`, `mntss` (N m-2), evaporation `mer` (kg m-2 s-1, negative upwards). They hold
        for open water, and depend on wind and current through their difference alone.
    """
    pressure, sea = atmosphere["msl"], sst + KELVIN
    air = potential_temperature(atmosphere["t2m"])
    q_air = specific_humidity(saturation_pressure(atmosphere["d2m"]), pressure)
    q_sea = SALT_FACTOR * specific_humidity(saturation_pressure(sea), pressure)
    du, dv = atmosphere["u10"] - current_u, atmosphere["v10"] - current_v
    # The floor under the square, not under the root, which has no derivative in a calm.
    wind = torch.sqrt(torch.clamp(du**2 + dv**2, min=MIN_WIND**2))

    layer = surface_layer(wind, air, q_air, sea, q_sea)
    transport = air_density(layer.temperature, layer.humidity, pressure) * wind
    evaporation = transport * layer.moisture * (layer.humidity - q_sea)
    return {
        "msnlwrf": net_long_wave(atmosphere["strd"], sst),
        "msshf": HEAT_CAPACITY_AIR * transport * layer.heat * (layer.temperature - sea),
        "mslhf": LATENT_HEAT * evaporation,
        "metss": transport * layer.drag * du,
        "mntss": transport * layer.drag * dv,
        "mer": evaporation,
    }


def open_water_fluxes(
    atmosphere: Mapping[str, Tensor], sst: Tensor, current_u: Tensor, current_v: Tensor, wet: Tensor
) -> dict[str, Tensor]:
    """`ncar_fluxes` on a grid with land, where fields may hold anything and fluxes are zero.

    Args:
        atmosphere, sst, current_u, current_v: As for `ncar_fluxes`; land may hold fill values or
            NaN, which reach no flux and no gradient.
        wet: Ocean cells of the uppermost level (ny, nx), bool.
    """
    air = {name: torch.where(wet, atmosphere[name], fill) for name, fill in _LAND.items()}
    surface = (torch.where(wet, x, 0.0) for x in (sst, current_u, current_v))
    fluxes = ncar_fluxes(air, *surface)
    return {name: torch.where(wet, x, 0.0) for name, x in fluxes.items()}


def bulk_day(
    fields: Mapping[str, NDArray[np.floating]],
    sst: NDArray[np.floating],
    uo: NDArray[np.floating],
    vo: NDArray[np.floating],
    wet: NDArray[np.bool_],
) -> dict[str, NDArray[np.float32]]:
    """`open_water_fluxes` of arrays: what the model would compute from an analysed sea surface.

    Args:
        fields: The atmosphere as for `ncar_fluxes`, each (..., ny, nx); others are not read.
        sst: Temperature of the uppermost level (..., ny, nx), degC.
        uo, vo: Current of the uppermost level (..., ny, nx), m s-1.
        wet: Ocean cells of the uppermost level (ny, nx).

    Returns:
        By the names of `variables.BULK_FLUXES`: (..., ny, nx) float32, zero on land.
    """
    air = {name: _tensor(fields[name]) for name in _LAND}
    with torch.no_grad():
        fluxes = open_water_fluxes(
            air, _tensor(sst), _tensor(uo), _tensor(vo), torch.as_tensor(np.asarray(wet, bool))
        )
    return {name: fluxes[name].numpy() for name in BULK_FLUXES}


def _tensor(x: NDArray[np.floating]) -> Tensor:
    return torch.tensor(x, dtype=torch.float32)


def net_long_wave(strd: Tensor, sst: Tensor) -> Tensor:
    """Net long-wave radiation e (strd - sigma SST^4), W m-2, positive downwards.

    The sea sends up e sigma SST^4 and the part (1 - e) of what comes down, which it reflects.

    Args:
        strd: Downward long-wave radiation, W m-2.
        sst: Sea-surface temperature, degC.
    """
    return EMISSIVITY * (strd - STEFAN_BOLTZMANN * (sst + KELVIN) ** 4)


def saturation_pressure(temperature: Tensor) -> Tensor:
    """Saturation vapour pressure over water, Pa, of a temperature or dew point in K."""
    return 611.21 * torch.exp(17.502 * (temperature - 273.16) / (temperature - 32.19))


def specific_humidity(vapour: Tensor, pressure: Tensor) -> Tensor:
    """Specific humidity, kg kg-1, from vapour pressure and pressure in Pa."""
    return _EPSILON * vapour / (pressure - (1.0 - _EPSILON) * vapour)


def potential_temperature(t2m: Tensor) -> Tensor:
    """Potential temperature of air at 2 m, K, by the dry adiabatic lapse rate: 0.02 K warmer."""
    return t2m + GRAVITY / HEAT_CAPACITY_AIR * AIR_HEIGHT


def virtual_temperature(temperature: Tensor, humidity: Tensor) -> Tensor:
    """Virtual temperature, K, of air with a specific humidity in kg kg-1."""
    return temperature * (1.0 + _VIRTUAL * humidity)


def air_density(temperature: Tensor, humidity: Tensor, pressure: Tensor) -> Tensor:
    """Density of moist air at the sea surface, kg m-3, from potential temperature (K)."""
    return pressure / (GAS_CONSTANT_DRY * virtual_temperature(temperature, humidity))


def neutral_drag(wind: Tensor) -> Tensor:
    """Neutral drag coefficient at 10 m of the neutral wind in m s-1 (Large & Yeager 2009, eq. 11).

    Least near 6 m s-1 (1.05e-3), 1.18e-3 at 10 m s-1 and 2.34e-3 from 33 m s-1 on.
    """
    drag = 2.7 / wind + 0.142 + wind / 13.09 - 3.14807e-10 * wind**6
    return 1e-3 * torch.where(wind < HIGH_WIND, drag, 2.34)


def neutral_heat(root_drag: Tensor, stable: Tensor) -> Tensor:
    """Neutral coefficient of sensible heat from sqrt(C_DN) and where the air is stable (6c, 6d)."""
    # A choice between two plain numbers would be made in single precision.
    return torch.where(stable, 18e-3 * root_drag, 32.7e-3 * root_drag)


def neutral_moisture(root_drag: Tensor) -> Tensor:
    """Neutral coefficient of evaporation from sqrt(C_DN) (6b)."""
    return 34.6e-3 * root_drag


def stability_momentum(zeta: Tensor) -> Tensor:
    """Integrated profile function of momentum, psi_m, of z / L (8b-8d)."""
    squared = _unstable_squared(zeta)
    x = torch.sqrt(squared)
    unstable = (
        2.0 * torch.log((1.0 + x) / 2.0)
        + torch.log((1.0 + squared) / 2.0)
        - 2.0 * torch.atan(x)
        + math.pi / 2.0
    )
    return torch.where(zeta >= 0.0, -5.0 * zeta, unstable)


def stability_scalar(zeta: Tensor) -> Tensor:
    """Integrated profile function of heat and moisture, psi_h, of z / L (8b, 8c, 8e)."""
    unstable = 2.0 * torch.log((1.0 + _unstable_squared(zeta)) / 2.0)
    return torch.where(zeta >= 0.0, -5.0 * zeta, unstable)


def _unstable_squared(zeta: Tensor) -> Tensor:
    """X^2 = sqrt(1 - 16 zeta) of unstable air, and 1 in stable air, where it is not used."""
    return torch.sqrt(1.0 - 16.0 * torch.clamp(zeta, max=0.0))


def surface_layer(
    wind: Tensor, air: Tensor, q_air: Tensor, sea: Tensor, q_sea: Tensor
) -> SurfaceLayer:
    """Solve the surface layer for its transfer coefficients and for the air at 10 m.

    Args:
        wind: Speed at 10 m relative to the current (..., ny, nx), m s-1, at least `MIN_WIND`.
        air: Potential temperature at 2 m, K.
        q_air: Specific humidity at 2 m, kg kg-1.
        sea: Sea-surface temperature, K.
        q_sea: Specific humidity of air saturated over the sea, kg kg-1.
    """
    drag = neutral_drag(wind)
    root = torch.sqrt(drag)
    stable = virtual_temperature(air, q_air) >= virtual_temperature(sea, q_sea)
    layer = SurfaceLayer(drag, neutral_heat(root, stable), neutral_moisture(root), air, q_air)
    for _ in range(ITERATIONS):
        root_full = torch.sqrt(layer.drag)
        t_star = layer.heat / root_full * (layer.temperature - sea)  # (7b)
        q_star = layer.moisture / root_full * (layer.humidity - q_sea)  # (7c)
        per_metre = _inverse_length(layer, wind, t_star, q_star)
        zeta = torch.clamp(WIND_HEIGHT * per_metre, -MAX_ZETA, MAX_ZETA)
        zeta_air = torch.clamp(AIR_HEIGHT * per_metre, -MAX_ZETA, MAX_ZETA)
        psi_m, psi_h = stability_momentum(zeta), stability_scalar(zeta)

        shift = math.log(AIR_HEIGHT / WIND_HEIGHT) + psi_h - stability_scalar(zeta_air)
        temperature = air - t_star / VON_KARMAN * shift  # (9b)
        humidity = torch.clamp(q_air - q_star / VON_KARMAN * shift, min=0.0)  # (9c)
        neutral_wind = wind / (1.0 - root * psi_m / VON_KARMAN)  # (9a)
        drag = neutral_drag(torch.clamp(neutral_wind, min=MIN_NEUTRAL_WIND))
        root = torch.sqrt(drag)
        full_drag = drag / (1.0 - root * psi_m / VON_KARMAN) ** 2  # (10a)
        ratio = torch.sqrt(full_drag) / root
        heat, moisture = (
            c * ratio / (1.0 - c * psi_h / (VON_KARMAN * root))  # (10b, 10c)
            for c in (neutral_heat(root, zeta >= 0.0), neutral_moisture(root))
        )
        layer = SurfaceLayer(full_drag, heat, moisture, temperature, humidity)
    return layer


def _inverse_length(layer: SurfaceLayer, wind: Tensor, t_star: Tensor, q_star: Tensor) -> Tensor:
    """Reciprocal of the Monin-Obukhov length, m-1 (8a)."""
    moist = 1.0 + _VIRTUAL * layer.humidity
    buoyancy = t_star / layer.temperature + _VIRTUAL * q_star / moist
    return VON_KARMAN * GRAVITY * buoyancy / (layer.drag * wind**2)
