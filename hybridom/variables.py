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
        role: `prognostic` (stepped by the model) or `forcing` (given).
        valid_min: Lowest plausible value, in `units`.
        valid_max: Highest plausible value, in `units`.
        aliases: Other names under which sources deliver it.
    """

    name: str
    standard_name: str
    long_name: str
    units: str
    has_depth: bool
    role: Literal["prognostic", "forcing"]
    valid_min: float
    valid_max: float
    aliases: tuple[str, ...] = ()


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
)

VARIABLES: dict[str, Variable] = {v.name: v for v in _TABLE}

PROGNOSTIC: tuple[str, ...] = tuple(v.name for v in _TABLE if v.role == "prognostic")

FORCING_SETS: dict[str, tuple[str, ...]] = {
    "surface3": ("u10", "v10", "t2m"),
    "surface4": ("u10", "v10", "t2m", "msl"),
}

# Spellings of the same unit met in CMEMS, ERA5 and CF files.
UNIT_SPELLINGS: dict[str, frozenset[str]] = {
    "degrees_C": frozenset({"degrees_C", "degree_C", "degC", "Celsius", "celsius"}),
    "1e-3": frozenset({"1e-3", "1e-03", "0.001", "psu", "PSU", "g kg-1", "g/kg"}),
    "m s-1": frozenset({"m s-1", "m/s", "m s**-1", "meter second-1"}),
    "m": frozenset({"m", "meter", "metre", "meters", "metres"}),
    "K": frozenset({"K", "kelvin", "Kelvin"}),
    "Pa": frozenset({"Pa", "pascal", "Pascal"}),
}


def cf_attributes(name: str) -> dict[str, str]:
    """CF attributes (`standard_name`, `long_name`, `units`) of a variable."""
    v = VARIABLES[name]
    return {"standard_name": v.standard_name, "long_name": v.long_name, "units": v.units}
