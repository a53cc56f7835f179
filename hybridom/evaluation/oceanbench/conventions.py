"""What OceanBench 0.6.1 fixes: names, depths, grids, dates and regions.

All from the package `oceanbench` 0.6.1 (Mercator Ocean International): `core.dataset_utils`,
`core.rmsd`, `core.regions`, `core.resolution`, `core.lagrangian_support`. Its scores change
between minor versions, so every table names the version.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np

from hybridom.variables import PROGNOSTIC, VARIABLES

VERSION = "0.6.1"

# Label -> depth in m: levels of GLORYS12 and GLO12.
DEPTHS: dict[str, float] = {
    "surface": 0.4940250,
    "50m": 47.37369,
    "100m": 92.32607,
    "200m": 222.4752,
    "300m": 318.1274,
    "500m": 541.0889,
}
SURFACE = "surface"

STANDARD_NAME: dict[str, str] = {name: VARIABLES[name].standard_name for name in PROGNOSTIC}
MIXED_LAYER = "ocean_mixed_layer_thickness"
GEOSTROPHIC_NORTHWARD = "geostrophic_northward_sea_water_velocity"
GEOSTROPHIC_EASTWARD = "geostrophic_eastward_sea_water_velocity"

# Variables of each gridded metric, in the order of OceanBench's rows.
METRIC_VARIABLES: dict[str, tuple[str, ...]] = {
    "rmsd_of_variables": tuple(STANDARD_NAME[n] for n in ("zos", "thetao", "so", "vo", "uo")),
    "rmsd_of_mixed_layer_depth": (MIXED_LAYER,),
    "rmsd_of_geostrophic_currents": (GEOSTROPHIC_NORTHWARD, GEOSTROPHIC_EASTWARD),
}
DRIFT = "deviation_of_lagrangian_trajectories"
METRICS = (*METRIC_VARIABLES, DRIFT)
MISSING = "missing_fraction_of_"  # before the name of the gridded metric it belongs to
DRIFT_FIRST_LEAD = 2  # the first lead that particles have drifted for a day

_WORDS: dict[str, tuple[str, str]] = {
    STANDARD_NAME["zos"]: ("Sea surface height", "m"),
    STANDARD_NAME["thetao"]: ("Temperature", "°C"),
    STANDARD_NAME["so"]: ("Salinity", "PSU"),
    STANDARD_NAME["vo"]: ("Meridional current", "m/s"),
    STANDARD_NAME["uo"]: ("Zonal current", "m/s"),
    MIXED_LAYER: ("Mixed layer depth", "m"),
    GEOSTROPHIC_NORTHWARD: ("Meridional geostrophic current", "m/s"),
    GEOSTROPHIC_EASTWARD: ("Zonal geostrophic current", "m/s"),
}
DRIFT_LABEL = "Lagrangian trajectory deviation (km) []{surface}"

LEADS = 10
# core.ocean_mask: of the bytes of the mask as booleans, (depth, latitude, longitude)
MASK_SHA256 = "9aa92afe12a1d35f35b9ce0ad6631d835cbd85f783075beea07d4188e869c52d"
# How far a coordinate may lie from the reference's and still be scored, in degrees.
TOLERANCE = 1e-4
# Part of the challenger's grid points that must find a point of the reference.
MATCHED = 0.999


def row_label(variable: str, depth: str) -> str:
    """The row of OceanBench's tables for a variable (standard name) at a depth (label)."""
    words, unit = _WORDS[variable]
    return f"{words} ({unit}) [{variable}]{{{depth}}}"


def has_depth(variable: str) -> bool:
    """Whether a variable, by standard name, is scored at all six depths."""
    return variable in {STANDARD_NAME[name] for name in ("thetao", "so", "uo", "vo")}


def rows(metric: str) -> list[tuple[str, str]]:
    """Standard name and depth label of the rows of a gridded metric, in OceanBench's order."""
    return [
        (variable, depth)
        for depth in DEPTHS
        for variable in METRIC_VARIABLES[metric]
        if depth == SURFACE or has_depth(variable)
    ]


@dataclass(frozen=True)
class OfficialGrid:
    """Coordinates of one of OceanBench's tracks.

    Attributes:
        resolution: Degrees.
        lat: Rows, degrees north, ascending.
        lon: Columns, degrees east, ascending.
    """

    resolution: float
    lat: np.ndarray
    lon: np.ndarray


def official_grid(resolution: float) -> OfficialGrid:
    """The grid of the 1/4 degree (672 x 1440) or the 1 degree (170 x 360) track."""
    if resolution == 0.25:
        lat, lon = -78.0 + 0.25 * np.arange(672), -180.0 + 0.25 * np.arange(1440)
    elif resolution == 1.0:
        lat, lon = -79.5 + np.arange(170.0), -179.5 + np.arange(360.0)
    else:
        raise ValueError(f"no official grid of {resolution:g} degrees")
    return OfficialGrid(resolution, lat, lon)


# First point of the lattice of each spacing that the references are kept at.
LATTICES: dict[float, float] = {1.0: 0.5, 0.25: 0.0, 1.0 / 12.0: 0.0}


def official_starts() -> list[dt.date]:
    """First forecast days of the official evaluation: the 52 Wednesdays of 2024."""
    return [dt.date(2024, 1, 3) + dt.timedelta(7 * n) for n in range(52)]


@dataclass(frozen=True)
class Box:
    """A region: south, north, west and east in degrees, edges included."""

    south: float
    north: float
    west: float
    east: float

    def select(self, lat: np.ndarray, lon: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns inside, as booleans; a box may lie across the seam of longitudes."""
        west, east = self.west, self.east
        if lon.min() >= 0 and lon.max() > 180:
            west, east = west % 360, east % 360
        inside = (lon >= west) & (lon <= east) if west <= east else (lon >= west) | (lon <= east)
        return (lat >= self.south) & (lat <= self.north), inside


REGIONS: dict[str, Box | None] = {"global": None, "ibi": Box(26.17, 56.08, -19.08, 5.08)}
