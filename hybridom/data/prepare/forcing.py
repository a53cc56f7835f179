"""The forcing of a year on the model grid."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from hybridom.data.checks import first_day, forcing_axes, value_problem
from hybridom.data.plans import (
    AnyConfig,
    daily_coordinates,
    daily_mean,
    global_attributes,
    origin,
)
from hybridom.data.prepare.grid import model_grid, year_days
from hybridom.data.raw.forcing import ForcingFiles, ForcingReader
from hybridom.data.regrid import Regridder
from hybridom.data.stores import Slab, StorePlan, write_store
from hybridom.errors import UserError
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC, VARIABLES

log = logging.getLogger(__name__)

Mask = NDArray[np.bool_]

CELL = ("depth", "latitude", "longitude")
DEEP = tuple(name for name in PROGNOSTIC if VARIABLES[name].has_depth)


def prepare_forcing(config: AnyConfig, layout: Layout, year: int) -> None:
    """Write the forcing store of a year: daily means on the model grid, over land too.

    Variables (time, latitude, longitude), cell centres, float32. A killed call continues where it
    stopped.

    Raises:
        UserError: A day is missing, double, incomplete, unreadable or implausible, or the files do
            not cover the grid.
    """
    grid, _ = model_grid(config, layout)
    names = config.forcing_names
    files = ForcingFiles.scan(layout.forcing_dir, names)
    if files.unreadable:
        raise UserError(files.unreadable[0])
    axes = forcing_axes(config, files)
    regrid = Regridder(axes.lat, axes.lon, grid)
    if not np.all(regrid.wet_fraction > 0):
        raise UserError(
            f"{layout.forcing_dir}: variable {names[0]} on {first_day(config)} spans "
            f"{axes.lat[0]:g} to {axes.lat[-1]:g} N, {axes.lon[0]:g} to {axes.lon[-1]:g} E; "
            "expected all of grid.lat, grid.lon: fetch a larger box"
        )
    days = year_days(config, year)
    problems = (files.problem(name, day) for day in days for name in names)
    if problem := next((p for p in problems if p), None):
        raise UserError(problem)
    paths = sorted({s.path for name in names for day in days for s in files.samples[name][day]})

    with ForcingReader(files, axes) as reader:

        def slab(index: int) -> Slab:
            fields = {}
            for name in names:
                values = reader.daily_mean(name, days[index])
                path = files.samples[name][days[index]][0].path
                if problem := value_problem(values, None, name, days[index], path):
                    raise UserError(problem)
                fields[name] = regrid(values[None])[0]
            return fields

        attrs = global_attributes(config, "state", f"daily mean forcing of {year}", paths)
        plan = StorePlan(
            layout.forcing_store(year),
            layout.forcing_manifest(year),
            daily_coordinates(grid, days, attrs).drop_dims("depth"),
            {name: (("time", *CELL[1:]), daily_mean(name, "")) for name in names},
            origin(config, "state", grid, paths),
        )
        write_store(plan, slab, f"forcing {year}")
