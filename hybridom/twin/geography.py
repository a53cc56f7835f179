"""Cells, coastline and bathymetry of the embedded ocean.

The coastline is that of `global-land-mask` (GLOBE, about 1 km), coarsened; the bathymetry is
analytic: it deepens from the coast and carries seven ridges. Both are kept in a small file per
resolution, because reading the fine land mask takes seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hybridom.errors import UserError
from hybridom.twin.netcdf import atomic_dataset

Array = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

# Every second to fourth level of GLORYS12V1 (m), so that the product needs no vertical
# interpolation.
DEPTHS = (
    9.572997,
    29.44473,
    55.76429,
    92.32607,
    155.8507,
    222.4752,
    318.1274,
    453.9377,
    643.5668,
    902.3393,
    1245.291,
    1684.284,
    2225.078,
    2865.703,
    3597.032,
)
SOUTH, NORTH = -76.0, 68.0
WEST = -180.0
FIRST_WATER_LATITUDE = -72.0
LEAST_LEVELS = 8
LEAST_DEPTH = 700.0

DATA_DIR = Path(__file__).parent / "data"

# Each ridge: points (longitude, latitude), depth of the crest (m), half width (degrees of arc).
RIDGES: tuple[tuple[tuple[tuple[float, float], ...], float, float], ...] = (
    (  # Mid-Atlantic
        (
            (-30, 62), (-35, 52), (-30, 42), (-42, 30), (-45, 18), (-32, 5), (-14, -5),
            (-13, -20), (-14, -35), (-5, -50), (20, -53),
        ),
        2600.0,
        5.0,
    ),
    (  # East Pacific Rise to the Indian Ocean
        (
            (-105, 15), (-105, -5), (-112, -25), (-115, -40), (-130, -52), (-160, -60),
            (170, -63), (145, -55), (115, -50), (85, -42), (70, -28), (67, -10), (60, 5),
        ),
        2900.0,
        5.0,
    ),
    (((70, -46), (75, -54), (80, -60)), 1600.0, 5.0),  # Kerguelen
    (((-66, -54), (-52, -53), (-40, -54), (-28, -58), (-40, -61), (-55, -61)), 1900.0, 4.0),
    (((172, -44), (168, -52), (165, -58)), 1500.0, 4.0),  # Campbell plateau
    (((-15, 64), (-7, 62), (-2, 60)), 900.0, 3.5),  # Iceland to Faroe
    (((-175, 52), (-170, 40), (-170, 30), (-157, 20)), 3300.0, 4.0),  # Emperor
)  # fmt: skip

DRAKE_PASSAGE = ((-62, -58), (-66, -58), (-58, -58), (-62, -62), (-66, -62), (-58, -62))
PANAMA = ((-82, 10), (-78, 10), (-80, 8), (-84, 10))


@dataclass(frozen=True)
class TwinGrid:
    """Cells of the simulation, south to north, west to east, top to bottom.

    Attributes:
        degrees: Cell size.
        lon: Longitudes of cell centres, shape (nx,), degrees, ascending from WEST - degrees / 2:
            Veros puts the east face of its first cell at the origin.
        lat: Latitudes of cell centres, shape (ny,), degrees, ascending.
        depth: Depths of cell centres, shape (nz,), m, ascending.
        thickness: Layer thicknesses, shape (nz,), m.
    """

    degrees: float
    lon: Array
    lat: Array
    depth: Array
    thickness: Array

    @property
    def shape(self) -> tuple[int, int, int]:
        """(nz, ny, nx)."""
        return len(self.depth), len(self.lat), len(self.lon)

    @classmethod
    def of(cls, degrees: float) -> TwinGrid:
        """The grid of a resolution.

        Layer faces lie half-way between centres, because Veros reflects one face in each centre
        to get the next: from any other list of thicknesses the distances between centres
        alternate, and the run diverges after weeks.
        """
        depth = np.array(DEPTHS)
        bottom = depth[-1] + 0.5 * (depth[-1] - depth[-2])
        faces = np.concatenate([[0.0], 0.5 * (depth[1:] + depth[:-1]), [bottom]])
        nx, ny = round(360 / degrees), round((NORTH - SOUTH) / degrees)
        return cls(
            degrees=degrees,
            lon=WEST + (np.arange(nx) - 0.5) * degrees,
            lat=SOUTH + (np.arange(ny) - 0.5) * degrees,
            depth=depth,
            thickness=np.diff(faces),
        )


def levels(grid: TwinGrid) -> NDArray[np.int64]:
    """Number of wet levels of every column, shape (ny, nx), 0 on land.

    Read from the package where a file for this resolution exists, else computed.
    """
    path = geography_file(grid.degrees)
    return read_levels(path, grid) if path.exists() else compute_levels(grid)


def geography_file(degrees: float) -> Path:
    """Where the package keeps the wet levels of a resolution."""
    return DATA_DIR / f"geography_{degrees:g}deg.nc"


def wet_cells(wet_levels: NDArray[np.int64], nz: int) -> Mask:
    """Wet cells, shape (nz, ny, nx), from the number of wet levels, shape (ny, nx)."""
    return np.arange(nz)[:, None, None] < wet_levels[None]


def read_levels(path: Path, grid: TwinGrid) -> NDArray[np.int64]:
    """Wet levels of every column from `path`, shape (ny, nx)."""
    import netCDF4

    with netCDF4.Dataset(path) as f:
        found = np.asarray(f["wet_levels"][:], dtype=np.int64)
    if found.shape != grid.shape[1:]:
        raise UserError(
            f"{path}: wet_levels has shape {found.shape}, expected {grid.shape[1:]}: wrong file"
        )
    return found


def write_levels(path: Path, grid: TwinGrid, wet_levels: NDArray[np.int64]) -> None:
    """Write the wet levels of every column, shape (ny, nx)."""
    with atomic_dataset(path) as f:
        f.title = f"Geography of the embedded ocean at {grid.degrees:g} degrees"
        f.Conventions = "CF-1.8"
        f.source = "coastline: global-land-mask (GLOBE), coarsened; analytic bathymetry"
        for name, values, units in (
            ("latitude", grid.lat, "degrees_north"),
            ("longitude", grid.lon, "degrees_east"),
        ):
            f.createDimension(name, len(values))
            v = f.createVariable(name, "f8", (name,))
            v.standard_name, v.units = name, units
            v[:] = values
        v = f.createVariable("wet_levels", "i1", ("latitude", "longitude"), zlib=True)
        v.long_name = "number of wet levels from the surface, 0 on land"
        v.units = "1"
        v[:] = wet_levels.astype(np.int8)


def compute_levels(grid: TwinGrid) -> NDArray[np.int64]:
    """Wet levels of every column from coastline and bathymetry, shape (ny, nx).

    A column takes the level whose lower face lies nearest to the depth, and at least
    LEAST_LEVELS levels.
    """
    ocean = coastline(grid)
    depth = bathymetry(grid, ocean)
    lower_faces = np.cumsum(grid.thickness)
    nearest = 1 + np.argmin(np.abs(depth[..., None] - lower_faces), axis=-1)
    return np.where(ocean, np.clip(nearest, LEAST_LEVELS, len(lower_faces)), 0)


def coastline(grid: TwinGrid) -> Mask:
    """Ocean cells, shape (ny, nx): more than half wet, one connected basin.

    Drake Passage is kept open and Panama closed whatever the resolution; bays of one cell are
    filled because they hold no velocity.
    """
    ocean = ocean_fraction(grid) > 0.5
    ocean[(grid.lat < FIRST_WATER_LATITUDE) | (grid.lat > NORTH)] = False
    ocean[[0, -1]] = False
    for points, wet in ((DRAKE_PASSAGE, True), (PANAMA, False)):
        for lon, lat in points:
            i = int(np.argmin(np.abs((grid.lon - lon + 180) % 360 - 180)))
            ocean[int(np.argmin(np.abs(grid.lat - lat))), i] = wet
    return largest_basin(fill_bays(ocean))


def ocean_fraction(grid: TwinGrid) -> Array:
    """Part of each cell that the land mask calls ocean, shape (ny, nx).

    Raises:
        UserError: The package `global-land-mask` is missing.
    """
    try:
        from global_land_mask import globe
    except ImportError:
        raise UserError(
            "the embedded ocean needs the package global-land-mask for its coastline: "
            "pip install 'hybridom[twin]'"
        ) from None
    count = max(4, round(grid.degrees * 4))
    offset = ((np.arange(count) + 0.5) / count - 0.5) * grid.degrees
    lon = (((grid.lon[:, None] + offset).ravel() + 180) % 360) - 180
    lat = np.clip((grid.lat[:, None] + offset).ravel(), -89.9, 89.9)
    wet = globe.is_ocean(*np.meshgrid(lat, lon, indexing="ij"))
    return wet.reshape(len(grid.lat), count, len(grid.lon), count).mean(axis=(1, 3))


def fill_bays(ocean: Mask) -> Mask:
    """Turn cells into land that have three dry sides or lie in no 2 x 2 block of water."""
    ocean = ocean.copy()
    while True:
        m = np.pad(np.pad(ocean, ((0, 0), (1, 1)), mode="wrap"), ((1, 1), (0, 0)))
        sides = [m[1:-1, :-2], m[1:-1, 2:], m[:-2, 1:-1], m[2:, 1:-1]]
        dry_sides = sum((~side).astype(int) for side in sides)
        block = m[:-1, :-1] & m[:-1, 1:] & m[1:, :-1] & m[1:, 1:]
        in_block = block[:-1, :-1] | block[:-1, 1:] | block[1:, :-1] | block[1:, 1:]
        bad = ocean & ((dry_sides >= 3) | ~in_block)
        if not bad.any():
            return ocean
        ocean[bad] = False


def largest_basin(ocean: Mask) -> Mask:
    """Keep the largest connected basin of a grid that is periodic in longitude."""
    nx = ocean.shape[1]
    label, _ = ndimage.label(np.tile(ocean, (1, 3)))
    size = np.bincount(label.ravel())
    size[0] = 0
    return (label == size.argmax())[:, nx : 2 * nx]


def bathymetry(grid: TwinGrid, ocean: Mask) -> Array:
    """Depth of the sea floor, shape (ny, nx), m, 0 on land."""
    nx = len(grid.lon)
    arc = ndimage.distance_transform_edt(np.tile(ocean, (1, 3)))[:, nx : 2 * nx] * grid.degrees
    depth = 1000.0 + 2700.0 * (1 - np.exp(-((arc - 0.5 * grid.degrees) / 7.0)))
    for points, crest, width in RIDGES:
        near = np.exp(-((distance_to_line(grid, points) / width) ** 2))
        depth = depth - near * np.maximum(depth - crest, 0.0)
    for _ in range(2):
        weighted = _smooth(np.where(ocean, depth, 0.0))
        depth = np.where(ocean, weighted / np.maximum(_smooth(ocean.astype(float)), 1e-6), 0.0)
    return np.where(ocean, np.maximum(depth, LEAST_DEPTH), 0.0)


def _smooth(field: Array) -> Array:
    return ndimage.gaussian_filter(field, 0.7, mode=("nearest", "wrap"))


def distance_to_line(grid: TwinGrid, points: tuple[tuple[float, float], ...]) -> Array:
    """Distance of each cell from a chain of points, shape (ny, nx), degrees of arc (flat)."""
    lon, lat = np.meshgrid(grid.lon, grid.lat)
    nearest = np.full(lon.shape, np.inf)
    for (x0, y0), (x1, y1) in pairwise(points):
        step = (x1 - x0 + 180) % 360 - 180
        for s in np.linspace(0, 1, 25):
            x, y = x0 + s * step, y0 + s * (y1 - y0)
            east = ((lon - x + 180) % 360 - 180) * np.cos(np.deg2rad(y))
            nearest = np.minimum(nearest, np.hypot(east, lat - y))
    return nearest
