"""Which variable and which axis of a foreign file is which: by CF attributes, else by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xarray as xr

from hybridom.errors import UserError
from hybridom.variables import PROGNOSTIC, UNIT_SPELLINGS, VARIABLES

# Names beside our own and the CF standard name: those of NEMO's output and of its users.
ALIASES: dict[str, tuple[str, ...]] = {
    "thetao": ("votemper", "potential_temperature", "theta"),
    "so": ("vosaline", "salinity"),
    "uo": ("vozocrtx", "u"),
    "vo": ("vomecrty", "v"),
    "zos": ("sossheig", "ssh"),
}
LATITUDE = ("latitude", "lat", "nav_lat", "y")
LONGITUDE = ("longitude", "lon", "nav_lon", "x")
DEPTH = ("depth", "deptht", "depthu", "depthv", "lev", "level", "olevel", "depth_below_sea")
TIME = ("time", "valid_time", "time_counter")
START = ("forecast_reference_time", "init_time", "start", "start_date", "reference_time", "init")
FIRST_DAY = "first_day_datetime"
LEAD_INDEX = "lead_day_index"
LEAD = ("lead", "lead_time", "leadtime", "step", "prediction_timedelta", "forecast_period")
MEMBER = ("realization", "member", "number", "ensemble", "ens")
DAY_OF_YEAR = "dayofyear"
METRES = UNIT_SPELLINGS["m"]


def find_variables(data: xr.Dataset, path: Path) -> dict[str, str]:
    """Our name -> the file's name of every prognostic variable that the file holds.

    A variable is taken by its CF `standard_name`, or by its name where it has none: the project's
    own, the standard name itself, or one of `ALIASES`.

    Raises:
        UserError: Two variables fit, or one is in other units.
    """
    found = {}
    for name in PROGNOSTIC:
        known = (name, VARIABLES[name].standard_name, *ALIASES[name])
        fits = [
            str(key)
            for key, x in data.data_vars.items()
            if x.attrs.get("standard_name", "") == VARIABLES[name].standard_name
            or ("standard_name" not in x.attrs and str(key).lower() in known)
        ]
        if len(fits) > 1:
            fits = [key for key in fits if key.lower() in known] or fits
        if len(fits) > 1:
            raise UserError(
                f"{path}: {' and '.join(fits)} are both {VARIABLES[name].long_name}; expected one "
                "variable, take the others out of the file"
            )
        if fits:
            check_units(data[fits[0]], name, path)
            found[name] = fits[0]
    return found


def check_units(variable: xr.DataArray, name: str, path: Path) -> None:
    """Refuse a variable in other units than ours, or in none.

    Raises:
        UserError: Names what was found and what is expected.
    """
    expected = VARIABLES[name].units
    found = variable.attrs.get("units")
    if found in UNIT_SPELLINGS[expected]:
        return
    if found is None:
        raise UserError(
            f"{path}: {variable.name} has no units; expected the attribute units = {expected!r}, "
            "write it into the file"
        )
    hint = "; subtract 273.15" if found in UNIT_SPELLINGS["K"] else ""
    raise UserError(
        f"{path}: {variable.name} is in units {found!r}; expected {expected!r}, convert the "
        f"file{hint}"
    )


def find_axis(
    variable: xr.DataArray, standard_name: str, names: tuple[str, ...], axis: str = ""
) -> str | None:
    """The dimension of a variable that is an axis, or None.

    Args:
        variable: The variable with its coordinates.
        standard_name: CF standard name of the axis.
        names: Names that are taken besides.
        axis: CF `axis` attribute that is taken besides.
    """
    by_attribute = [
        str(dim)
        for dim in variable.dims
        if dim in variable.coords
        and (
            variable[dim].attrs.get("standard_name") == standard_name
            or (axis and variable[dim].attrs.get("axis") == axis)
        )
    ]
    by_name = [str(dim) for dim in variable.dims if str(dim).lower() in names]
    return next(iter([*by_attribute, *by_name]), None)


def coordinates(
    data: xr.Dataset, x: xr.DataArray, standard_name: str, names: tuple[str, ...]
) -> list[str]:
    """Coordinate variables of a variable's dimensions, by CF standard name, then by name.

    They need not be called as their dimension is: NEMO's `nav_lat` lies along `y`.
    """
    along = [
        str(key)
        for key, c in data.variables.items()
        if c.ndim and set(c.dims) <= set(x.dims) and key != x.name
    ]
    by_attribute = [key for key in along if data[key].attrs.get("standard_name") == standard_name]
    return [*by_attribute, *(key for key in along if key.lower() in names)]


def scalar(data: xr.Dataset, names: tuple[str, ...]) -> Any:
    """Value of the first scalar coordinate, variable or attribute of these names, or None."""
    for name in names:
        if name in data.variables and data[name].size == 1:
            return data[name].values.reshape(-1)[0]
        if name in data.attrs:
            return data.attrs[name]
    return None
