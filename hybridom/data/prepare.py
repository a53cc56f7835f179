"""The stages of preparation: grid, yearly stores of state and forcing, climatology, statistics."""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridom.config import Config
from hybridom.data.checks import check_year, first_day, forcing_axes, value_problem
from hybridom.data.climatology import evaluate, fit_climatology
from hybridom.data.days import DAYS_IN_YEAR
from hybridom.data.plans import (
    AnyConfig,
    daily_coordinates,
    daily_mean,
    global_attributes,
    origin,
)
from hybridom.data.raw.axes import SourceAxes
from hybridom.data.raw.forcing import ForcingFiles, ForcingReader
from hybridom.data.raw.netcdf import SourceFile
from hybridom.data.raw.ocean import OceanFiles, read_ocean
from hybridom.data.regrid import Regridder
from hybridom.data.statistics import compute_statistics, write_statistics
from hybridom.data.stores import Slab, StorePlan, write_store
from hybridom.errors import UserError
from hybridom.grid import Grid, read_grid, write_grid
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC, VARIABLES, cf_attributes

log = logging.getLogger(__name__)

Mask = NDArray[np.bool_]

CELL = ("depth", "latitude", "longitude")
DEEP = tuple(name for name in PROGNOSTIC if VARIABLES[name].has_depth)


@dataclass(frozen=True)
class OceanSource:
    """The ocean files and what the first of them says about all.

    Attributes:
        files: Index of days.
        axes: Axes of every file.
        levels: (nz,) indices of grid.depths on the file's depth axis.
        wet: (nz, nlat, nlon) cells with a temperature in the first file.
        first: The first file.
    """

    files: OceanFiles
    axes: SourceAxes
    levels: NDArray[np.intp]
    wet: Mask
    first: Path

    @classmethod
    def open(cls, config: AnyConfig, layout: Layout) -> OceanSource:
        """Read the first file.

        Raises:
            UserError: There are no files, or the first one is not as expected.
        """
        files = OceanFiles.scan(layout.ocean_dir)
        day = first_day(config)
        first = files.path(day)
        with SourceFile(first, day) as file:
            axes = file.axes
        levels = axes.levels(config.grid.depths, first)
        field = read_ocean(first, day, ["thetao"], axes, levels)["thetao"]
        return cls(files, axes, levels, np.isfinite(field), first)


def target_grid(config: AnyConfig) -> Grid:
    """The grid that the configuration asks for."""
    g = config.grid
    return Grid.regular(g.resolution, g.lat, g.lon, g.depths)


def prepare_grid(config: AnyConfig, layout: Layout) -> None:
    """Write grid.nc: the model grid with its wet mask, from the first ocean file.

    A cell is wet where at least `grid.wet_threshold` of its area is ocean in the source.

    Raises:
        UserError: The first file is unfit, or no cell is wet.
    """
    source = OceanSource.open(config, layout)
    grid = target_grid(config)
    fraction = Regridder(source.axes.lat, source.axes.lon, grid, source.wet).wet_fraction
    wet = _wet_cells(config, fraction)
    if not wet[0].any():
        raise UserError(
            f"{source.first}: no cell of the grid is wet on {first_day(config)} (variable thetao); "
            "expected ocean in grid.lat, grid.lon: correct the box or lower grid.wet_threshold"
        )
    attrs = global_attributes(config, "grid", "model grid and wet mask", [source.first])
    write_grid(layout.grid_file, grid, wet, fraction, attrs)
    log.info("%s: %d of %d surface cells are wet", layout.grid_file, wet[0].sum(), wet[0].size)


def _wet_cells(config: AnyConfig, fraction: NDArray[np.float64]) -> Mask:
    return (fraction >= config.grid.wet_threshold) & (fraction > 0)


def model_grid(config: AnyConfig, layout: Layout) -> tuple[Grid, Mask]:
    """Read grid.nc and see that it is the configured grid.

    Raises:
        UserError: It is missing, or was made for other settings.
    """
    grid, wet = read_grid(layout.grid_file)
    if grid.hash != target_grid(config).hash:
        raise UserError(
            f"{layout.grid_file}: not the grid of the configuration (section grid); expected "
            f"hash {target_grid(config).hash}, found {grid.hash}: run `hybridom prepare grid`"
        )
    return grid, wet


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
    if not np.array_equal(wet, _wet_cells(config, regrid.wet_fraction)):
        raise UserError(
            f"{layout.grid_file}: its wet mask is not that of thetao in {source.first} on "
            f"{first_day(config)}; expected the same: run `hybridom prepare grid` again"
        )
    days = _days(config, year)
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
    days = _days(config, year)
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


def prepare_climatology(config: AnyConfig, layout: Layout) -> None:
    """Write climatology.zarr: 365 days of state and forcing, from the training period alone.

    Variables (dayofyear, [depth,] latitude, longitude), float32, NaN on land.

    Raises:
        UserError: A store of a training year is missing, or the harmonics need days of the year
            that the training period lacks.
    """
    grid, wet = model_grid(config, layout)
    names = (*PROGNOSTIC, *config.forcing_names)
    coefficients = fit_climatology(config, layout, names)
    inputs = _training_manifests(config, layout)
    attrs = global_attributes(
        config, "climatology", "daily climatology of the training period", inputs
    )
    days = xr.DataArray(
        np.arange(1, DAYS_IN_YEAR + 1, dtype=np.int32),
        dims="dayofyear",
        attrs={"long_name": "day of a year of 365 days; 29 February lies half-way", "units": "1"},
    )
    methods = {"cell_methods": "time: mean over years"}
    plan = StorePlan(
        layout.climatology_store,
        layout.climatology_manifest,
        grid.to_dataset().assign_coords(dayofyear=days).assign_attrs(attrs),
        {
            name: (
                ("dayofyear", *(CELL if VARIABLES[name].has_depth else CELL[1:])),
                cf_attributes(name) | methods,
            )
            for name in names
        },
        origin(config, "climatology", grid, inputs, wet),
    )
    write_store(
        plan, lambda row: {n: evaluate(c, row) for n, c in coefficients.items()}, "climatology"
    )


def prepare_statistics(config: AnyConfig, layout: Layout) -> None:
    """Write statistics.nc from the training period alone.

    Raises:
        UserError: A store is missing, or a deviation is zero (it names variable and level).
    """
    grid, wet = model_grid(config, layout)
    found = compute_statistics(config, layout, grid, wet)
    inputs = [*_training_manifests(config, layout), layout.climatology_manifest]
    attrs = global_attributes(config, "climatology", "statistics of the training period", inputs)
    write_statistics(layout.statistics_file, grid, found, {**attrs, "grid_hash": grid.hash})
    log.info("%s: written", layout.statistics_file)


def prepare_all(config: Config, layout: Layout) -> None:
    """All stages of preparation in order, every input being checked first.

    Raises:
        UserError: As the stages.
    """
    years = config.periods.years
    for year in years:
        check_year(config, layout, year)
    prepare_grid(config, layout)
    for year in years:
        prepare_state(config, layout, year)
        prepare_forcing(config, layout, year)
    prepare_climatology(config, layout)
    prepare_statistics(config, layout)


def _days(config: AnyConfig, year: int) -> list[dt.date]:
    days = config.periods.days(year)
    if not days:
        raise UserError(
            f"year {year}: no day of it lies in periods; expected {config.periods.years}"
        )
    return days


def _training_manifests(config: AnyConfig, layout: Layout) -> list[Path]:
    years = config.periods.train.years
    return [f(y) for y in years for f in (layout.state_manifest, layout.forcing_manifest)]
