"""How many cells of a grid are ocean, before any data are there."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hybridom.config import Config
from hybridom.data.prepare import model_grid
from hybridom.errors import UserError
from hybridom.grid import Grid
from hybridom.layout import Layout
from hybridom.operations.cost_item import Made
from hybridom.twin.geography import TwinGrid, levels

# Part of the area of the sea whose floor lies above a depth (m): Menard and Smith 1966, J. Geophys.
# Res. 71, 4305, table 2.
FLOOR_DEPTHS = (0.0, 200.0, 1000.0, 2000.0, 3000.0, 4000.0, 5000.0, 6000.0)
FLOOR_ABOVE = (0.0, 0.075, 0.119, 0.163, 0.248, 0.457, 0.774, 0.986)
COASTLINE = "coastline/coastline_110m.npz"
STEP = 1.0  # degrees between the points at which the coastline is looked at
SOUTHMOST = -80.0  # the ocean product begins here


@dataclass(frozen=True)
class Ocean:
    """Ocean cells of a grid.

    Attributes:
        grid: The grid.
        shares: (nz,) part of the cells of each level that is ocean.
        made, how: See `Cost`.
    """

    grid: Grid
    shares: NDArray[np.float64]
    made: Made
    how: str

    @property
    def surface(self) -> float:
        """Number of ocean cells of the topmost level."""
        return float(self.shares[0] * self.grid.ny * self.grid.nx)

    @property
    def volume(self) -> float:
        """Number of ocean cells of all levels."""
        return float(self.shares.sum() * self.grid.ny * self.grid.nx)

    @property
    def columns(self) -> int:
        """Number of cells of a level, land included."""
        return self.grid.ny * self.grid.nx


def ocean_cells(config: Config, layout: Layout) -> Ocean:
    """Count the ocean cells in grid.nc where it fits, else estimate them from maps.

    Args:
        config: The configuration.
        layout: Its paths.
    """
    box = config.grid
    grid = Grid.regular(box.resolution, box.lat, box.lon, box.depths)
    if layout.grid_file.exists():
        try:
            _, wet = model_grid(config, layout)
        except UserError:
            pass  # of an older configuration; it would be made again
        else:
            shares = wet.mean(axis=(1, 2))
            return Ocean(grid, shares, "counted", f"ocean cells of {layout.grid_file}")
    if config.source.kind == "twin":
        shares = _twin_shares(config, grid)
        return Ocean(grid, shares, "estimated", "ocean cells of the embedded ocean's own grid")
    shares = _surface_share(grid) * (1 - np.interp(grid.depth, FLOOR_DEPTHS, FLOOR_ABOVE))
    how = "ocean cells from Natural Earth's coastline and the mean depths of the world's sea floor"
    return Ocean(grid, shares, "estimated", how)


def _twin_shares(config: Config, grid: Grid) -> NDArray[np.float64]:
    """(nz,) ocean part of the simulation's cells in the box; outside of them all is land."""
    twin = TwinGrid.of(config.twin.degrees)
    wet_levels = levels(twin)
    bottoms = np.concatenate([[0.0], twin.depth])[wet_levels]
    lon = (twin.lon - grid.lon_bounds[0]) % 360.0 + grid.lon_bounds[0]
    rows = (twin.lat > grid.lat_bounds[0]) & (twin.lat < grid.lat_bounds[-1])
    columns = lon < grid.lon_bounds[-1]
    inside = bottoms[np.ix_(rows, columns)]
    cells = grid.ny * grid.nx * (config.grid.resolution / config.twin.degrees) ** 2
    found = [np.count_nonzero(inside >= depth - 1e-3) for depth in grid.depth]
    return np.minimum(np.array(found) / cells, 1.0)


def _surface_share(grid: Grid) -> float:
    """Ocean part of the points of a fine raster in the box."""
    lat = np.arange(grid.lat_bounds[0] + STEP / 2, grid.lat_bounds[-1], STEP)
    lon = np.arange(grid.lon_bounds[0] + STEP / 2, grid.lon_bounds[-1], STEP)
    with as_file(files("hybridom.figures") / COASTLINE) as path:
        return float((~_land(lat, (lon + 180.0) % 360.0 - 180.0, path)).mean())


def _land(lat: NDArray[np.float64], lon: NDArray[np.float64], coastline: Path) -> NDArray[np.bool_]:
    """(nlat, nlon) whether points lie inside an odd number of coastlines, or south of all sea."""
    from matplotlib.path import Path as Outline

    x, y = np.meshgrid(lon, lat)
    points = np.column_stack([x.ravel(), y.ravel()])
    odd = np.zeros(len(points), bool)
    with np.load(coastline) as data:
        for outline in np.split(data["points"] / 100.0, data["starts"][1:]):
            odd ^= Outline(outline).contains_points(points)
    return odd.reshape(x.shape) | (y < SOUTHMOST)
