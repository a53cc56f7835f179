"""The grid: one object, built once in float64, that owns centres, faces, areas, layers and f.

Regular latitude-longitude cells, south to north and west to east, levels downwards. Face arrays
have one more entry than cells: index `j` (`i`) is the southern (western) face of cell `j` (`i`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hybridom import __version__
from hybridom.constants import EARTH_RADIUS, OMEGA
from hybridom.errors import UserError
from hybridom.files import write_netcdf

if TYPE_CHECKING:
    import xarray as xr

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Grid:
    """Regular latitude-longitude grid of cells (Arakawa C).

    Attributes:
        lat: Cell centres (ny,), degrees north, ascending.
        lon: Cell centres (nx,), degrees east, ascending.
        lat_bounds: Cell edges (ny+1,).
        lon_bounds: Cell edges (nx+1,).
        depth: Level centres (nz,), m, positive down.
        depth_bounds: Layer interfaces (nz+1,), m, from 0.
        periodic: Whether the last column neighbours the first.
    """

    lat: Array
    lon: Array
    lat_bounds: Array
    lon_bounds: Array
    depth: Array
    depth_bounds: Array
    periodic: bool

    def __post_init__(self) -> None:
        for centres, edges, name in (
            (self.lat, self.lat_bounds, "lat"),
            (self.lon, self.lon_bounds, "lon"),
            (self.depth, self.depth_bounds, "depth"),
        ):
            inside = (edges[:-1] < centres) & (centres < edges[1:])
            if edges.shape != (centres.size + 1,) or not inside.all():
                raise UserError(f"grid: {name} centres must lie between ascending edges")

    @classmethod
    def regular(
        cls,
        resolution: float,
        lat: tuple[float, float] = (-90.0, 90.0),
        lon: tuple[float, float] = (-180.0, 180.0),
        depths: Iterable[float] = (5.0,),
    ) -> Grid:
        """Grid of square (in degrees) cells that fills the box `lat` x `lon`.

        Args:
            resolution: Cell size, degrees.
            lat: Southern and northern edge, degrees.
            lon: Western and eastern edge, degrees; 360 apart makes the grid periodic.
            depths: Level centres, m; interfaces lie half-way, the lowest as far below the last
                centre as its upper interface lies above it.
        """
        ny = round((lat[1] - lat[0]) / resolution)
        nx = round((lon[1] - lon[0]) / resolution)
        lat_bounds = lat[0] + resolution * np.arange(ny + 1, dtype=np.float64)
        lon_bounds = lon[0] + resolution * np.arange(nx + 1, dtype=np.float64)
        depth = np.asarray(list(depths), dtype=np.float64)
        return cls(
            lat=0.5 * (lat_bounds[1:] + lat_bounds[:-1]),
            lon=0.5 * (lon_bounds[1:] + lon_bounds[:-1]),
            lat_bounds=lat_bounds,
            lon_bounds=lon_bounds,
            depth=depth,
            depth_bounds=layer_interfaces(depth),
            periodic=bool(np.isclose(lon[1] - lon[0], 360.0)),
        )

    @property
    def ny(self) -> int:
        """Rows."""
        return self.lat.size

    @property
    def nx(self) -> int:
        """Columns."""
        return self.lon.size

    @property
    def nz(self) -> int:
        """Levels."""
        return self.depth.size

    @property
    def shape(self) -> tuple[int, int, int]:
        """(nz, ny, nx)."""
        return self.nz, self.ny, self.nx

    @cached_property
    def dlon(self) -> Array:
        """Cell widths (nx,), radians."""
        return np.deg2rad(np.diff(self.lon_bounds))

    @cached_property
    def dx_t(self) -> Array:
        """Zonal distance across a cell at its centre (ny, nx), m."""
        return EARTH_RADIUS * np.cos(np.deg2rad(self.lat))[:, None] * self.dlon

    @cached_property
    def dx_v(self) -> Array:
        """Lengths of southern and northern faces (ny+1, nx), m; exactly 0 at the poles."""
        cos = np.cos(np.deg2rad(self.lat_bounds))
        cos[np.isclose(np.abs(self.lat_bounds), 90.0)] = 0.0
        return EARTH_RADIUS * cos[:, None] * self.dlon

    @cached_property
    def dy(self) -> Array:
        """Lengths of western and eastern faces (ny,), m."""
        return EARTH_RADIUS * np.deg2rad(np.diff(self.lat_bounds))

    @cached_property
    def area(self) -> Array:
        """Cell areas (ny, nx), m2; a global grid's sum to 4 pi R^2."""
        band = np.diff(np.sin(np.deg2rad(self.lat_bounds)))
        return EARTH_RADIUS**2 * band[:, None] * self.dlon

    @cached_property
    def dz(self) -> Array:
        """Layer thicknesses (nz,), m."""
        return np.diff(self.depth_bounds)

    @cached_property
    def f_t(self) -> Array:
        """Coriolis parameter at centres and at western and eastern faces (ny,), s-1."""
        return 2 * OMEGA * np.sin(np.deg2rad(self.lat))

    @cached_property
    def f_v(self) -> Array:
        """Coriolis parameter at southern and northern faces (ny+1,), s-1."""
        return 2 * OMEGA * np.sin(np.deg2rad(self.lat_bounds))

    @cached_property
    def hash(self) -> str:
        """Twelve hexadecimal digits that change with any coordinate (rounded to 1e-6)."""
        digest = hashlib.sha256(str(self.periodic).encode())
        for edges in (self.lat_bounds, self.lon_bounds, self.depth, self.depth_bounds):
            # adding 0.0 turns -0.0 into 0.0, which has other bytes
            digest.update((np.round(edges, 6) + 0.0).tobytes())
        return digest.hexdigest()[:12]

    def to_dataset(self) -> xr.Dataset:
        """Coordinates with CF bounds and attributes."""
        import xarray as xr

        def axis(name: str, values: Array, edges: Array, **attrs: str) -> None:
            coords[name] = (name, values, {**attrs, "bounds": f"{name}_bounds"})
            bounds[f"{name}_bounds"] = ((name, "bound"), np.stack([edges[:-1], edges[1:]], -1))

        coords: dict[str, object] = {}
        bounds: dict[str, object] = {}
        axis(
            "depth",
            self.depth,
            self.depth_bounds,
            standard_name="depth",
            units="m",
            positive="down",
            axis="Z",
        )
        axis(
            "latitude",
            self.lat,
            self.lat_bounds,
            standard_name="latitude",
            units="degrees_north",
            axis="Y",
        )
        axis(
            "longitude",
            self.lon,
            self.lon_bounds,
            standard_name="longitude",
            units="degrees_east",
            axis="X",
        )
        attrs = {"Conventions": "CF-1.11", "grid_hash": self.hash, "periodic": int(self.periodic)}
        return xr.Dataset(bounds, coords=coords, attrs=attrs)

    @classmethod
    def from_dataset(cls, ds: xr.Dataset) -> Grid:
        """Inverse of `to_dataset`."""

        def edges(name: str) -> Array:
            pairs = np.asarray(ds[f"{name}_bounds"].values, dtype=np.float64)
            return np.append(pairs[:, 0], pairs[-1, 1])

        def centres(name: str) -> Array:
            return np.asarray(ds[name].values, dtype=np.float64)

        return cls(
            lat=centres("latitude"),
            lon=centres("longitude"),
            lat_bounds=edges("latitude"),
            lon_bounds=edges("longitude"),
            depth=centres("depth"),
            depth_bounds=edges("depth"),
            periodic=bool(ds.attrs["periodic"]),
        )


def layer_interfaces(depth: Array) -> Array:
    """Interfaces (nz+1,) half-way between level centres (nz,), from 0 at the surface, in m."""
    if depth.size == 1:
        return np.array([0.0, 2 * depth[0]])
    middle = 0.5 * (depth[1:] + depth[:-1])
    return np.concatenate([[0.0], middle, [2 * depth[-1] - middle[-1]]])


def write_grid(
    path: Path,
    grid: Grid,
    wet: Mask,
    wet_fraction: Array,
    attrs: Mapping[str, str],
    thickness: npt.NDArray[np.floating] | None = None,
) -> None:
    """Write grid.nc: coordinates, bounds, wet mask, wet fraction, cell areas and thicknesses.

    Args:
        path: NetCDF file; appears complete or not at all.
        grid: The grid.
        wet: (nz, ny, nx) ocean cells.
        wet_fraction: (nz, ny, nx) wet part of each cell's area in the source.
        attrs: Global attributes beside the version and the grid's hash.
        thickness: (nz, ny, nx) m of water in each wet cell, where known.
    """
    cell = ("depth", "latitude", "longitude")
    ds = grid.to_dataset()
    ds["wet"] = (
        cell,
        wet.astype(np.int8),
        {
            "standard_name": "sea_binary_mask",
            "units": "1",
            "flag_values": np.array([0, 1], np.int8),
            "flag_meanings": "land sea",
        },
    )
    ds["wet_fraction"] = (
        cell,
        wet_fraction.astype(np.float32),
        {"standard_name": "sea_area_fraction", "units": "1"},
    )
    ds["cell_area"] = (cell[1:], grid.area, {"standard_name": "cell_area", "units": "m2"})
    ds["cell_thickness"] = (
        cell[:1],
        grid.dz,
        {"standard_name": "cell_thickness", "units": "m"},
    )
    if thickness is not None:
        ds["thickness"] = (
            cell,
            np.where(wet, thickness, np.nan).astype(np.float32),
            {
                "standard_name": "cell_thickness",
                "long_name": "thickness of the water, partial cells being thinner",
                "units": "m",
                "cell_methods": "area: mean where sea",
            },
        )
    ds.attrs.update(attrs, hybridom_version=__version__)
    write_netcdf(path, ds)


def read_grid(path: Path) -> tuple[Grid, Mask]:
    """Read grid.nc.

    Returns:
        The grid, and the wet mask (nz, ny, nx) of bool.

    Raises:
        UserError: The file is missing or unreadable, or its coordinates were altered.
    """
    import xarray as xr

    if not path.exists():
        raise UserError(f"{path}: no grid file; make it with `hybridom prepare grid`")
    try:
        with xr.open_dataset(path, engine="netcdf4") as ds:
            grid = Grid.from_dataset(ds)
            wet = ds["wet"].values.astype(bool)
            stored = ds.attrs["grid_hash"]
    except (OSError, KeyError, ValueError) as e:
        raise UserError(f"{path}: not a grid file of this project ({e}); delete it") from None
    if stored != grid.hash:
        raise UserError(f"{path}: grid hash {stored} expected, coordinates give {grid.hash}")
    return grid, wet


def read_thickness(path: Path) -> npt.NDArray[np.float32]:
    """Thickness of the water in every cell (nz, ny, nx), m, NaN on land.

    It is what the source's static files say, or else that of the layers, `Grid.dz`.

    Raises:
        UserError: As `read_grid`.
    """
    import xarray as xr

    grid, wet = read_grid(path)
    with xr.open_dataset(path, engine="netcdf4") as ds:
        if "thickness" in ds:
            return np.asarray(ds["thickness"].values, np.float32)
    return np.where(wet, grid.dz[:, None, None], np.nan).astype(np.float32)
