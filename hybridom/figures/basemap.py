"""Map panels: projection, land and coastline, without any download."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import cartopy.crs as ccrs
import numpy as np
from cartopy.mpl.ticker import LatitudeFormatter, LongitudeFormatter
from matplotlib.collections import QuadMesh
from matplotlib.colors import Colormap, Normalize
from matplotlib.ticker import MaxNLocator

from hybridom.figures import style
from hybridom.grid import Grid

COASTLINE = Path(__file__).parent / "coastline" / "coastline_110m.npz"
# A whole globe is cut here, where the least ocean is: through Africa and Scandinavia.
SEAM = 20.0  # degrees east


@cache
def coastline() -> np.ndarray:
    """Coastlines of Natural Earth at 1:110 million.

    Returns:
        Longitude in [-180, 180] and latitude (n, 2) in degrees, a row of NaN between two lines.
    """
    with np.load(COASTLINE) as data:
        return np.insert(data["points"] / 100.0, data["starts"][1:], np.nan, axis=0)


def projected_coastline(view: ccrs.Projection) -> np.ndarray:
    """The coastline in the coordinates of a projection, cut where it leaves the map's edge.

    Args:
        view: A projection about a meridian.

    Returns:
        x and y (n, 2), a row of NaN at every cut.
    """
    points = view.transform_points(ccrs.PlateCarree(), *coastline().T.copy())[:, :2]
    width = view.x_limits[1] - view.x_limits[0]
    # No two neighbouring points are this far apart unless one lies on either side of the seam.
    jumps = np.flatnonzero(np.abs(np.diff(points[:, 0])) > 0.5 * width) + 1
    cut = np.insert(points, jumps, np.nan, axis=0)
    return np.where(np.isfinite(cut), cut, np.nan)


def seam_column(grid: Grid) -> int:
    """Column of a periodic grid that a map of it starts with."""
    distance = np.abs((grid.lon_bounds[:-1] - SEAM + 180.0) % 360.0 - 180.0)
    return int(distance.argmin()) if grid.periodic else 0


def arranged(grid: Grid, field: np.ndarray) -> np.ndarray:
    """A field (ny, nx) with its columns in the order of a map of the grid."""
    return np.roll(field, -seam_column(grid), axis=-1)


def centre_longitude(grid: Grid) -> float:
    """Longitude in the middle of a map of the grid, degrees east."""
    west = grid.lon_bounds[seam_column(grid)]
    return float((west + 0.5 * (grid.lon_bounds[-1] - grid.lon_bounds[0]) + 180.0) % 360.0 - 180.0)


def projection(grid: Grid) -> ccrs.Projection:
    """Robinson for a globe, plate carrée for a region, about the middle of the grid."""
    centre = centre_longitude(grid)
    return ccrs.Robinson(centre) if grid.periodic else ccrs.PlateCarree(centre)


def draw_field(
    axes: Any, grid: Grid, field: np.ndarray, colours: Colormap, norm: Normalize
) -> QuadMesh:
    """Draw a field as cells, with grey land and a thin coastline.

    Args:
        axes: Cartopy axes of `projection(grid)`.
        grid: The grid.
        field: (ny, nx), NaN on land.
        colours: Colour map.
        norm: Its limits.
    """
    axes.set_facecolor(style.LAND)
    axes.grid(False)
    shift = seam_column(grid)
    # Longitudes relative to the middle run from west to east without a jump.
    centre = centre_longitude(grid)
    span = grid.lon_bounds[-1] - grid.lon_bounds[0]
    widths = np.roll(np.diff(grid.lon_bounds), -shift)
    edges = np.concatenate([[0.0], np.cumsum(widths)]) - 0.5 * span
    # An edge at exactly 180 degrees may be taken for one at -180: a cell around the globe.
    inner = np.clip(edges, -180.0 + 1e-6, 180.0 - 1e-6)
    mesh = axes.pcolormesh(
        inner,
        grid.lat_bounds,
        arranged(grid, field),
        transform=ccrs.PlateCarree(centre),
        cmap=colours,
        norm=norm,
        rasterized=True,
        # Slanted cells leave specks of land between them without an edge of their own colour.
        edgecolors="face",
        linewidth=0.2,
    )
    axes.plot(*projected_coastline(axes.projection).T, color=style.COAST, linewidth=0.35)
    if grid.periodic:
        axes.set_global()
    else:
        box = (edges[0], edges[-1], grid.lat_bounds[0], grid.lat_bounds[-1])
        axes.set_extent(box, crs=ccrs.PlateCarree(centre))
    axes.spines["geo"].set_linewidth(0.5)
    return mesh


def label_edges(axes: Any, grid: Grid, left: bool, bottom: bool) -> None:
    """Tick a map of a region in degrees; latitudes on its left, longitudes at its bottom.

    Args:
        axes: Cartopy axes of `projection(grid)`.
        grid: A grid that is not periodic.
        left: Whether latitudes are written.
        bottom: Whether longitudes are written.
    """
    for axis, set_ticks, bounds, formatter, written in (
        (axes.xaxis, axes.set_xticks, grid.lon_bounds, LongitudeFormatter(), bottom),
        (axes.yaxis, axes.set_yticks, grid.lat_bounds, LatitudeFormatter(), left),
    ):
        ticks = MaxNLocator(5, steps=[1, 1.5, 2, 3, 5, 10]).tick_values(bounds[0], bounds[-1])
        inside = (ticks >= bounds[0]) & (ticks <= bounds[-1])
        set_ticks(ticks[inside], crs=ccrs.PlateCarree())
        axis.set_major_formatter(formatter)
        axis.set_tick_params(length=2.0, labelbottom=written, labelleft=written)
