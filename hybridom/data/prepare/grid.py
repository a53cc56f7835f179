"""The model grid and its wet mask, from the first ocean file."""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hybridom.data.ocean_checks import reference_day
from hybridom.data.plans import AnyConfig, grid_attributes
from hybridom.data.published.preparing import prepare_grid_published
from hybridom.data.raw.axes import SourceAxes
from hybridom.data.raw.netcdf import SourceFile
from hybridom.data.raw.ocean import OceanFiles, OceanReader
from hybridom.data.regrid import Regridder
from hybridom.data.thickness import layer_thickness
from hybridom.errors import UserError
from hybridom.grid import Grid, Mask, read_grid, write_grid
from hybridom.layout import Layout
from hybridom.masks import require_ocean, without_overhangs
from hybridom.variables import ICE, PROGNOSTIC

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OceanSource:
    """The ocean files and what the first of them says about all.

    Attributes:
        files: Index of days.
        axes: Axes of every file.
        reader: Of the levels of grid.depths.
        wet: (nz, nlat, nlon) cells with a temperature in the first file.
        first: The first file.
        day: Its day.
    """

    files: OceanFiles
    axes: SourceAxes
    reader: OceanReader
    wet: Mask
    first: Path
    day: dt.date

    @classmethod
    def open(cls, config: AnyConfig, layout: Layout) -> OceanSource:
        """Read the first file.

        Raises:
            UserError: There are no files, or the first one is not as expected.
        """
        files = OceanFiles.scan(layout.ocean_dir, ocean_names(config))
        if files.refused:
            raise UserError(files.refused[0])
        day = reference_day(config, files)
        record = files.record(day)
        with SourceFile(record.path, day) as file:
            axes = file.axes
        levels = axes.levels(config.grid.depths, record.path)
        reader = OceanReader(axes, levels)
        wet = np.empty((len(levels), axes.lat.size, axes.lon.size), bool)
        for block in reader.blocks(record, day, ["thetao"]):
            wet[block.levels] = block.load().present()
        return cls(files, axes, reader, wet, record.path, day)


def ocean_names(config: AnyConfig) -> tuple[str, ...]:
    """Variables of the state stores: what the model steps and, on request, sea ice."""
    return (*PROGNOSTIC, *(ICE if config.source.sea_ice else ()))


def target_grid(config: AnyConfig) -> Grid:
    """The grid that the configuration asks for."""
    g = config.grid
    return Grid.regular(g.resolution, g.lat, g.lon, g.depths)


def prepare_grid(config: AnyConfig, layout: Layout) -> None:
    """Write grid.nc: the model grid with its wet mask, from the first ocean file.

    A cell is wet where at least `grid.wet_threshold` of its area is ocean in the source and all
    cells above it are wet. With `source.static_dir` the thickness of the water is written too.

    Raises:
        UserError: The first file is unfit, or no cell is wet.
    """
    if config.source.kind == "published":
        prepare_grid_published(config, layout)
        return
    source = OceanSource.open(config, layout)
    grid = target_grid(config)
    fraction = Regridder(source.axes.lat, source.axes.lon, grid, source.wet).wet_fraction
    wet = wet_cells(config, fraction)
    if not wet[0].any():
        raise UserError(
            f"{source.first}: no cell of the grid is wet on {source.day} (variable thetao); "
            "expected ocean in grid.lat, grid.lon: correct the box or lower grid.wet_threshold"
        )
    covered = int(np.count_nonzero(_wet_enough(config, fraction) & ~wet))
    if covered:
        log.warning("%s: %d wet cells under dry ones are made dry", layout.grid_file, covered)
    thickness = None
    if config.source.static_dir is not None:
        static = Path(config.source.static_dir)
        thickness = layer_thickness(static, source.axes, source.wet, grid, wet)
    attrs = grid_attributes(config, source.first.name)
    write_grid(layout.grid_file, grid, wet, fraction, attrs, thickness)
    log.info("%s: %d of %d surface cells are wet", layout.grid_file, wet[0].sum(), wet[0].size)


def wet_cells(config: AnyConfig, fraction: NDArray[np.float64]) -> Mask:
    """Cells (nz, ny, nx) that are wet by their fraction, as all cells above them are."""
    return without_overhangs(_wet_enough(config, fraction))


def _wet_enough(config: AnyConfig, fraction: NDArray[np.float64]) -> Mask:
    return (fraction >= config.grid.wet_threshold) & (fraction > 0)


def model_grid(config: AnyConfig, layout: Layout) -> tuple[Grid, Mask]:
    """Read grid.nc and see that it is the configured grid.

    Raises:
        UserError: It is missing, or was made for other settings, or its mask has no ocean.
    """
    grid, wet = read_grid(layout.grid_file)
    if grid.hash != target_grid(config).hash:
        raise UserError(
            f"{layout.grid_file}: not the grid of the configuration (section grid); expected "
            f"hash {target_grid(config).hash}, found {grid.hash}: run `hybridom prepare grid`"
        )
    require_ocean(wet, grid.shape, f"{layout.grid_file}: wet mask")
    return grid, wet


def year_days(config: AnyConfig, year: int) -> list[dt.date]:
    """Days of a year that the periods need.

    Raises:
        UserError: There is none.
    """
    days = config.periods.days(year)
    if not days:
        raise UserError(
            f"year {year}: no day of it lies in periods; expected {config.periods.years}"
        )
    return days
