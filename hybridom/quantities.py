"""The table of quantities that are made of the prognostic variables when forecasts are scored.

Tables of scores and figures take names, words and units from here. How a quantity is computed
lies in `hybridom.evaluation`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_HEAT_CONTENT = re.compile(r"ohc_(?P<top>[\d.e+]+)_(?P<bottom>[\d.e+]+)")


@dataclass(frozen=True)
class Quantity:
    """One quantity.

    Attributes:
        name: Name in tables of scores.
        long_name: Words for axes and legends.
        units: CF units.
        standard_name: CF standard name, None where there is none.
    """

    name: str
    long_name: str
    units: str
    standard_name: str | None = None


# Two-dimensional fields of a state.
_FIELDS = (
    Quantity(
        "mlotst",
        "mixed-layer depth",
        "m",
        "ocean_mixed_layer_thickness_defined_by_sigma_theta",
    ),
    Quantity("mlotst_oceanbench", "mixed-layer depth as in OceanBench", "m"),
    Quantity(
        "ugos",
        "eastward geostrophic velocity",
        "m s-1",
        "surface_geostrophic_eastward_sea_water_velocity",
    ),
    Quantity(
        "vgos",
        "northward geostrophic velocity",
        "m s-1",
        "surface_geostrophic_northward_sea_water_velocity",
    ),
    Quantity("ke", "kinetic energy", "m2 s-2", "specific_kinetic_energy_of_sea_water"),
    Quantity("eke", "eddy kinetic energy", "m2 s-2"),
)

# Sums and means over all the water of a region.
_BUDGETS = (
    Quantity("thetao_mean", "mean potential temperature", "degrees_C"),
    Quantity("so_mean", "mean salinity", "1e-3"),
    Quantity("heat_content", "heat content", "J"),
    Quantity("salt_content", "salt content", "kg"),
    Quantity("volume_anomaly", "volume above the geoid", "m3"),
    Quantity("kinetic_energy", "kinetic energy", "J"),
)

_TOGETHER = Quantity("all_normalised", "all variables, normalised", "1")

# Heat contents of layers, which the configuration names, come besides: `heat_content`.
QUANTITIES: dict[str, Quantity] = {q.name: q for q in _FIELDS}
BUDGETS: dict[str, Quantity] = {q.name: q for q in _BUDGETS}


def heat_content(top: float, bottom: float) -> Quantity:
    """Heat content of the layer from `top` to `bottom` (m): `ohc_0_300` and the like."""
    return Quantity(
        f"ohc_{top:g}_{bottom:g}",
        f"heat content {top:g}-{bottom:g} m",
        "J m-2",
        "integral_wrt_depth_of_sea_water_potential_temperature_expressed_as_heat_content",
    )


def quantity(name: str) -> Quantity:
    """The quantity of a name in a table of scores that is no variable of the state.

    Raises:
        KeyError: There is none.
    """
    layer = _HEAT_CONTENT.fullmatch(name)
    if layer:
        return heat_content(float(layer["top"]), float(layer["bottom"]))
    return (QUANTITIES | BUDGETS | {_TOGETHER.name: _TOGETHER})[name]
