"""The table of variables: names, units, CF standard names and plausible ranges.

Names are those of the CMEMS products (ocean) and of ERA5 (atmosphere). The valid ranges are wide
enough for every sea-water value on Earth and narrow enough to catch a wrong unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Variable:
    """One physical variable.

    Attributes:
        name: Short name in every file of the project.
        standard_name: CF standard name.
        long_name: Words for axes and legends.
        units: CF units.
        has_depth: Whether it has a depth axis.
        role: `prognostic` (stepped by the model), `ice` (kept beside the state on request) or
            `forcing` (given).
        valid_min: Lowest plausible value, in `units`.
        valid_max: Highest plausible value, in `units`.
        aliases: Other names under which sources deliver it.
        hour_ending: Whether a sample is the mean over the hour that ends at its time, as ERA5's
            mean rates and accumulations are; samples of the others are instantaneous.
    """

    name: str
    standard_name: str
    long_name: str
    units: str
    has_depth: bool
    role: Literal["prognostic", "ice", "forcing"]
    valid_min: float
    valid_max: float
    aliases: tuple[str, ...] = ()
    hour_ending: bool = False


def _flux(
    name: str, standard_name: str, long_name: str, units: str, largest: float, *aliases: str
) -> Variable:
    """A surface flux, positive downwards; means over an hour."""
    low, high = -largest, largest
    return Variable(
        name,
        standard_name,
        long_name,
        units,
        False,
        "forcing",
        low,
        high,
        aliases,
        hour_ending=True,
    )


_TABLE = (
    Variable(
        "thetao",
        "sea_water_potential_temperature",
        "potential temperature",
        "degrees_C",
        True,
        "prognostic",
        -4.0,
        45.0,
    ),
    Variable("so", "sea_water_salinity", "salinity", "1e-3", True, "prognostic", 0.0, 50.0),
    Variable(
        "uo",
        "eastward_sea_water_velocity",
        "eastward velocity",
        "m s-1",
        True,
        "prognostic",
        -6.0,
        6.0,
    ),
    Variable(
        "vo",
        "northward_sea_water_velocity",
        "northward velocity",
        "m s-1",
        True,
        "prognostic",
        -6.0,
        6.0,
    ),
    Variable(
        "zos",
        "sea_surface_height_above_geoid",
        "sea surface height",
        "m",
        False,
        "prognostic",
        -6.0,
        6.0,
    ),
    Variable(
        "siconc", "sea_ice_area_fraction", "sea ice concentration", "1", False, "ice", 0.0, 1.01
    ),
    Variable("sithick", "sea_ice_thickness", "sea ice thickness", "m", False, "ice", 0.0, 50.0),
    Variable(
        "usi",
        "eastward_sea_ice_velocity",
        "eastward sea ice velocity",
        "m s-1",
        False,
        "ice",
        -3.0,
        3.0,
    ),
    Variable(
        "vsi",
        "northward_sea_ice_velocity",
        "northward sea ice velocity",
        "m s-1",
        False,
        "ice",
        -3.0,
        3.0,
    ),
    Variable(
        "u10",
        "eastward_wind",
        "eastward wind at 10 m",
        "m s-1",
        False,
        "forcing",
        -90.0,
        90.0,
        ("10m_u_component_of_wind",),
    ),
    Variable(
        "v10",
        "northward_wind",
        "northward wind at 10 m",
        "m s-1",
        False,
        "forcing",
        -90.0,
        90.0,
        ("10m_v_component_of_wind",),
    ),
    Variable(
        "t2m",
        "air_temperature",
        "air temperature at 2 m",
        "K",
        False,
        "forcing",
        170.0,
        340.0,
        ("2m_temperature",),
    ),
    Variable(
        "msl",
        "air_pressure_at_mean_sea_level",
        "mean sea level pressure",
        "Pa",
        False,
        "forcing",
        85_000.0,
        110_000.0,
        ("mean_sea_level_pressure",),
    ),
    Variable(
        "d2m",
        "dew_point_temperature",
        "dew point temperature at 2 m",
        "K",
        False,
        "forcing",
        150.0,
        330.0,
        ("2m_dewpoint_temperature",),
    ),
    _flux(
        "ssr",
        "surface_net_downward_shortwave_flux",
        "net short-wave radiation (accumulated)",
        "W m-2",
        1500.0,
        "surface_net_solar_radiation",
    ),
    _flux(
        "strd",
        "surface_downwelling_longwave_flux_in_air",
        "downward long-wave radiation (accumulated)",
        "W m-2",
        1000.0,
        "surface_thermal_radiation_downwards",
    ),
    _flux(
        "msnlwrf",
        "surface_net_downward_longwave_flux",
        "net long-wave radiation",
        "W m-2",
        1000.0,
        "avg_snlwrf",
        "mean_surface_net_long_wave_radiation_flux",
    ),
    _flux(
        "msnswrf",
        "surface_net_downward_shortwave_flux",
        "net short-wave radiation",
        "W m-2",
        1500.0,
        "avg_snswrf",
        "mean_surface_net_short_wave_radiation_flux",
    ),
    _flux(
        "msshf",
        "surface_downward_sensible_heat_flux",
        "sensible heat flux",
        "W m-2",
        3000.0,
        "avg_ishf",
        "mean_surface_sensible_heat_flux",
    ),
    _flux(
        "mslhf",
        "surface_downward_latent_heat_flux",
        "latent heat flux",
        "W m-2",
        3000.0,
        "avg_slhtf",
        "mean_surface_latent_heat_flux",
    ),
    _flux(
        "metss",
        "surface_downward_eastward_stress",
        "eastward wind stress",
        "N m-2",
        30.0,
        "avg_iews",
        "mean_eastward_turbulent_surface_stress",
    ),
    _flux(
        "mntss",
        "surface_downward_northward_stress",
        "northward wind stress",
        "N m-2",
        30.0,
        "avg_inss",
        "mean_northward_turbulent_surface_stress",
    ),
    _flux(
        "mer",
        "water_evapotranspiration_flux",
        "evaporation, negative upwards",
        "kg m-2 s-1",
        1e-2,
        "avg_ie",
        "mean_evaporation_rate",
    ),
    _flux(
        "mtpr",
        "precipitation_flux",
        "precipitation",
        "kg m-2 s-1",
        0.1,
        "avg_tprate",
        "mean_total_precipitation_rate",
    ),
)

VARIABLES: dict[str, Variable] = {v.name: v for v in _TABLE}

PROGNOSTIC: tuple[str, ...] = tuple(v.name for v in _TABLE if v.role == "prognostic")

ICE: tuple[str, ...] = tuple(v.name for v in _TABLE if v.role == "ice")

FLUXES8 = ("msnlwrf", "msnswrf", "msshf", "mslhf", "metss", "mntss", "mer", "mtpr")
ATMOSPHERE8 = ("u10", "v10", "msl", "t2m", "d2m", "ssr", "strd", "mtpr")
# Fluxes that bulk formulae make from the atmosphere above and the sea surface below.
BULK_FLUXES = ("msnlwrf", "msshf", "mslhf", "metss", "mntss", "mer")

# What the forcing stores of each set hold.
FORCING_SETS: dict[str, tuple[str, ...]] = {
    "surface3": ("u10", "v10", "t2m"),
    "surface4": ("u10", "v10", "t2m", "msl"),
    "fluxes8": FLUXES8,
    "bulk8": (*ATMOSPHERE8, *BULK_FLUXES),
}

# What of it the raw files must hold.
RAW_FORCING: dict[str, tuple[str, ...]] = FORCING_SETS | {"bulk8": ATMOSPHERE8}

# What of it the networks see: of `bulk8` the eight fluxes at the sea surface, of which the model
# itself makes BULK_FLUXES from the atmosphere of the day and its own ocean (`bulk`, `stepper`).
NETWORK_FORCING: dict[str, tuple[str, ...]] = FORCING_SETS | {
    "bulk8": ("msnlwrf", "ssr", "msshf", "mslhf", "metss", "mntss", "mer", "mtpr")
}

# Spellings of the same unit met in CMEMS, ERA5 and CF files.
UNIT_SPELLINGS: dict[str, frozenset[str]] = {
    "degrees_C": frozenset({"degrees_C", "degree_C", "degC", "Celsius", "celsius"}),
    "1e-3": frozenset({"1e-3", "1e-03", "0.001", "psu", "PSU", "g kg-1", "g/kg"}),
    "m s-1": frozenset({"m s-1", "m/s", "m s**-1", "meter second-1"}),
    "m": frozenset({"m", "meter", "metre", "meters", "metres"}),
    "K": frozenset({"K", "kelvin", "Kelvin"}),
    "Pa": frozenset({"Pa", "pascal", "Pascal"}),
    "1": frozenset({"1", "(0 - 1)", "", "fraction"}),
    "W m-2": frozenset({"W m-2", "W m**-2", "W/m2", "W/m^2"}),
    "N m-2": frozenset({"N m-2", "N m**-2", "N/m2"}),
    "kg m-2 s-1": frozenset({"kg m-2 s-1", "kg m**-2 s**-1", "kg/m2/s"}),
}

# Spelling -> unit and factor: ERA5's accumulations are per hour.
UNIT_CONVERSIONS: dict[str, tuple[str, float]] = {
    spelling: ("W m-2", 1.0 / 3600.0) for spelling in ("J m-2", "J m**-2", "J/m2")
}


def cf_attributes(name: str) -> dict[str, str]:
    """CF attributes (`standard_name`, `long_name`, `units`) of a variable."""
    v = VARIABLES[name]
    return {"standard_name": v.standard_name, "long_name": v.long_name, "units": v.units}
