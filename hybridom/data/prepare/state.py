"""The ocean state of a year on the model grid."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from hybridom.data.checks import first_day, value_problem
from hybridom.data.plans import (
    AnyConfig,
    daily_coordinates,
    daily_mean,
    global_attributes,
    origin,
)
from hybridom.data.prepare.grid import OceanSource, model_grid, wet_cells, year_days
from hybridom.data.raw.ocean import read_ocean
from hybridom.data.regrid import Regridder
from hybridom.data.stores import Slab, StorePlan, write_store
from hybridom.errors import UserError
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC, VARIABLES

log = logging.getLogger(__name__)

Mask = NDArray[np.bool_]

CELL = ("depth", "latitude", "longitude")
DEEP = tuple(name for name in PROGNOSTIC if VARIABLES[name].has_depth)


def prepare_state(config: AnyConfig, layout: Layout, year: int) -> None:
    """Write the ocean state store of a year: daily means on the model grid.

    Variables (time, depth, latitude, longitude), zos without depth; cell centres; float32, NaN on
    land. A killed call continues where it stopped.

    Raises:
        UserError: A day is missing, double, unreadable or implausible.
    """
    grid, wet = model_grid(config, layout)
    source = OceanSource.open(config, layout)
    regrid = Regridder(source.axes.lat, source.axes.lon, grid, source.wet)
    if not np.array_equal(wet, wet_cells(config, regrid.wet_fraction)):
        raise UserError(
            f"{layout.grid_file}: its wet mask is not that of thetao in {source.first} on "
            f"{first_day(config)}; expected the same: run `hybridom prepare grid` again"
        )
    days = year_days(config, year)
    paths = [source.files.path(day) for day in days]

    def slab(index: int) -> Slab:
        day, path = days[index], paths[index]
        raw = read_ocean(path, day, PROGNOSTIC, source.axes, source.levels)
        for name, values in raw.items():
            problem = value_problem(values, source.wet[: len(values)], name, day, path)
            if problem:
                raise UserError(problem)
        fields = {name: np.where(wet[: len(x)], regrid(x), np.nan) for name, x in raw.items()}
        return {name: x if name in DEEP else x[0] for name, x in fields.items()}

    variables = {
        name: (("time", *(CELL if name in DEEP else CELL[1:])), daily_mean(name, "sea"))
        for name in PROGNOSTIC
    }
    attrs = global_attributes(config, "state", f"daily mean ocean state of {year}", paths)
    plan = StorePlan(
        layout.state_store(year),
        layout.state_manifest(year),
        daily_coordinates(grid, days, attrs),
        variables,
        origin(config, "state", grid, [source.first, *paths], wet),
    )
    write_store(plan, slab, f"state {year}")
