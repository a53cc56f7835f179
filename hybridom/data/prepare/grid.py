"""The model grid and its wet mask, from the first ocean file."""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hybridom.data.checks import first_day
from hybridom.data.plans import (
    AnyConfig,
    global_attributes,
)
from hybridom.data.raw.axes import SourceAxes
from hybridom.data.raw.netcdf import SourceFile
from hybridom.data.raw.ocean import OceanFiles, read_ocean
from hybridom.data.regrid import Regridder
from hybridom.errors import UserError
from hybridom.grid import Grid, read_grid, write_grid
from hybridom.layout import Layout

log = logging.getLogger(__name__)

Mask = NDArray[np.bool_]


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
    wet = wet_cells(config, fraction)
    if not wet[0].any():
        raise UserError(
            f"{source.first}: no cell of the grid is wet on {first_day(config)} (variable thetao); "
            "expected ocean in grid.lat, grid.lon: correct the box or lower grid.wet_threshold"
        )
    attrs = global_attributes(config, "grid", "model grid and wet mask", [source.first])
    write_grid(layout.grid_file, grid, wet, fraction, attrs)
    log.info("%s: %d of %d surface cells are wet", layout.grid_file, wet[0].sum(), wet[0].size)


def wet_cells(config: AnyConfig, fraction: NDArray[np.float64]) -> Mask:
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


def year_days(config: AnyConfig, year: int) -> list[dt.date]:
    days = config.periods.days(year)
    if not days:
        raise UserError(
            f"year {year}: no day of it lies in periods; expected {config.periods.years}"
        )
    return days
