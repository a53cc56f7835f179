"""Channels, names and axes of the published files.

With nz levels (23 in the published ones) the channels are

    state file, 4 nz + 8      uo nz, vo nz, zos', thetao' nz, so' nz, siconc, sithick, usi, vsi,
                              u10, v10, t2m
    forcing file, 8           the fluxes of `FLUXES8`, each min-max normalised to [0, 1]
    climatology, 4 nz + 1     so nz, uo nz, vo nz, thetao nz, zos

where ' is an anomaly from the climatology. The release reads so, thetao and zos of the climatology
and says nothing of the 2 nz channels between; files written here hold uo and vo there, and no
reader depends on them. Rows run from south to north, but from north to south in the climatology,
which has one more row in front that readers drop. There is one row of days a day: 366 in leap
years, and 365 in the climatology.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from hybridom.config.data import PUBLISHED_REGIONAL_VARIABLE, PUBLISHED_VARIABLES
from hybridom.errors import UserError
from hybridom.grid import Grid
from hybridom.variables import FLUXES8, FORCING_SETS, ICE

Float64 = NDArray[np.float64]

KEY = "data"
AXES = ("latitude", "longitude", "depth")  # datasets beside `data` in files written here
WINDS = FORCING_SETS["surface3"]
ANOMALIES = ("zos", "thetao", "so")
BESIDE_LEVELS = 1 + len(ICE) + len(WINDS)  # channels of a state file that have no depth
CLIMATOLOGY_FILE = "climate_mean_s_t_ssh.npy"

TOLERANCE = 1e-3  # degrees, and relative for depths: neighbouring levels differ by 5 % or more
WEST = -180.0  # western edge of global files; documented at 0.25 degree, assumed at the others

# Levels 0, 2, ... 20, 21, 22, 24, ... 32 of GLORYS12V1 (m), in files that do not name theirs.
# fmt: off
PUBLISHED_DEPTHS = (
    0.494025, 2.645669, 5.078224, 7.929560, 11.405, 15.81007, 21.59882, 29.44473, 40.34405,
    55.76429, 77.85385, 92.32607, 109.7293, 130.666, 155.8507, 186.1256, 222.4752, 266.0403,
    318.1274, 380.2130, 453.9377, 541.0889, 643.5668,
)
# fmt: on
# Beginning of the name -> (rows, columns), resolution, southern and western edge (degrees).
PUBLISHED_GRIDS = {
    "GLORYS_05": ((360, 720), 0.5, -90.0, WEST),
    "WenHai_forcing_05": ((360, 720), 0.5, -90.0, WEST),
    "GLORYS_pc_025": ((180, 360), 0.25, 15.0, 120.0),
}


def state_channels(levels: int) -> dict[str, slice]:
    """Channels of every variable of a state file with that many levels."""
    return _runs(
        [("uo", levels), ("vo", levels), ("zos", 1), ("thetao", levels), ("so", levels)]
        + [(name, 1) for name in (*ICE, *WINDS)]
    )


def forcing_channels() -> dict[str, slice]:
    """Channels of every variable of a forcing file."""
    return _runs([(name, 1) for name in FLUXES8])


def climatology_channels(levels: int) -> dict[str, slice]:
    """Channels of every variable of the climatology with that many levels."""
    return _runs([(name, levels) for name in ("so", "uo", "vo", "thetao")] + [("zos", 1)])


def _runs(lengths: Sequence[tuple[str, int]]) -> dict[str, slice]:
    table, first = {}, 0
    for name, length in lengths:
        table[name] = slice(first, first + length)
        first += length
    return table


def stem(resolution: float, regional: bool) -> str:
    """Middle of file names: the digits of the resolution without their point, `pc_` for a region.

    0.5 gives `05`, a region at 0.25 gives `pc_025`, 4 gives `4`.
    """
    digits = f"{resolution:g}".replace(".", "")
    return f"pc_{digits}" if regional else digits


def state_file(folder: Path, resolution: float, regional: bool, year: int) -> Path:
    """Path of a state file."""
    return folder / f"GLORYS_{stem(resolution, regional)}_{year}.h5"


def forcing_file(folder: Path, resolution: float, regional: bool, year: int) -> Path:
    """Path of a forcing file."""
    return folder / f"WenHai_forcing_{stem(resolution, regional)}_{year}.h5"


def find_year(folder: Path, kind: str, resolution: float, regional: bool, year: int) -> Path:
    """The file of a year; a region may also be cut out of the global file of its resolution.

    Args:
        folder: Where the files are.
        kind: `state` or `forcing`.
        resolution: Cell size of the model grid, degrees.
        regional: Whether the model grid is a region.
        year: Year.

    Raises:
        UserError: There is none; the message names the variable that points to the folder.
    """
    name = state_file if kind == "state" else forcing_file
    tried = [name(folder, resolution, region, year) for region in ([True] if regional else [])]
    tried.append(name(folder, resolution, False, year))
    for path in tried:
        if path.is_file():
            return path
    key = "ocean_dir" if kind == "state" else "forcing_dir"
    variable = PUBLISHED_VARIABLES[key]
    if kind == "state" and regional and resolution == 0.25:
        variable = PUBLISHED_REGIONAL_VARIABLE
    raise UserError(
        f"{tried[0]}: no such file, year {year} is missing; expected it in source.{key}: correct "
        f"that key, or the variable {variable}"
    )


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """A file for reading that holds the key `data`.

    Raises:
        UserError: It does not, or is no HDF5 file.
    """
    try:
        with h5py.File(path, "r") as file:
            if KEY not in file:
                held = ", ".join(file) or "nothing"
                raise UserError(f"{path}: no key {KEY!r}, it holds {held}: fetch it again")
            yield file
    except OSError as e:
        text = " ".join(str(e).split())
        raise UserError(f"{path}: not a readable HDF5 file ({text}): fetch it again") from None


@dataclass(frozen=True)
class FileAxes:
    """Axes of a published file.

    Attributes:
        lat: (nlat,) degrees north, ascending.
        lon: (nlon,) degrees east, ascending.
        depth: (nz,) m, positive down; empty in a forcing file.
    """

    lat: Float64
    lon: Float64
    depth: Float64

    @classmethod
    def read(cls, path: Path, days: int) -> FileAxes:
        """Axes of a file: those that it holds beside its data, or those of the published ones.

        Args:
            path: State or forcing file.
            days: Number of days that it should have.

        Raises:
            UserError: It is no HDF5 file, or key, shape or length of the year are not as expected.
        """
        forcing = path.name.startswith("WenHai")
        with open_hdf5(path) as file:
            shape, kind = file[KEY].shape, file[KEY].dtype
            own = {name: np.asarray(file[name], np.float64) for name in AXES if name in file}
        if len(shape) != 4 or kind != np.float32:
            raise UserError(
                f"{path}: key {KEY!r} is {kind} of shape {shape}, expected float32 of (days, "
                "channels, rows, columns): fetch it again"
            )
        levels = 0 if forcing else (shape[1] - BESIDE_LEVELS) // 4
        axes = cls._own(own, forcing) if own else cls._published(path, levels, forcing)
        channels = len(FLUXES8) if forcing else 4 * axes.depth.size + BESIDE_LEVELS
        expected = (days, channels, axes.lat.size, axes.lon.size)
        if shape != expected:
            raise UserError(
                f"{path}: key {KEY!r} has shape {shape}, expected {expected} (days, channels, rows,"
                " columns): fetch or export it again"
            )
        return axes

    @classmethod
    def _own(cls, own: dict[str, Float64], forcing: bool) -> FileAxes:
        empty = np.empty(0)
        depth = empty if forcing else own.get("depth", empty)
        return cls(own.get("latitude", empty), own.get("longitude", empty), depth)

    @classmethod
    def _published(cls, path: Path, levels: int, forcing: bool) -> FileAxes:
        known = next((g for n, g in PUBLISHED_GRIDS.items() if path.name.startswith(n + "_")), None)
        if known is None or levels not in (0, len(PUBLISHED_DEPTHS)):
            raise UserError(
                f"{path}: neither a published file of {len(PUBLISHED_DEPTHS)} levels nor one with "
                f"its own {', '.join(AXES)}: export it with `hybridom export published`"
            )
        (rows, columns), step, south, west = known
        return cls(
            south + step * (np.arange(rows, dtype=np.float64) + 0.5),
            west + step * (np.arange(columns, dtype=np.float64) + 0.5),
            np.array(() if forcing else PUBLISHED_DEPTHS),
        )


@dataclass(frozen=True)
class Box:
    """Where the model grid lies in a file.

    Attributes:
        rows: Rows, south to north.
        columns: (nx,) columns, west to east; they may run over the file's last column.
        levels: (nz,) levels.
    """

    rows: slice
    columns: NDArray[np.intp]
    levels: NDArray[np.intp]

    @classmethod
    def find(cls, grid: Grid, axes: FileAxes, path: Path) -> Box:
        """Find the grid's cells in a file.

        Args:
            grid: Model grid.
            axes: Axes of the file; without depth, `levels` is empty.
            path: File, for messages.

        Raises:
            UserError: Some cell or level of the grid is not one of the file's.
        """
        south = int(np.argmin(np.abs(axes.lat - grid.lat[0])))
        rows = slice(south, south + grid.ny)
        lat = axes.lat[rows]
        if lat.size != grid.ny or not np.allclose(lat, grid.lat, rtol=0, atol=TOLERANCE):
            raise _outside(path, "lat", axes.lat, grid.lat)
        west = int(np.argmin(_apart(axes.lon, grid.lon[0])))
        columns = (west + np.arange(grid.nx)) % axes.lon.size
        if grid.nx > axes.lon.size or np.any(_apart(axes.lon[columns], grid.lon) > TOLERANCE):
            raise _outside(path, "lon", axes.lon, grid.lon)
        if not axes.depth.size:
            return cls(rows, columns, np.empty(0, np.intp))
        levels = np.array([np.argmin(np.abs(axes.depth - z)) for z in grid.depth], np.intp)
        for z, found in zip(grid.depth, axes.depth[levels], strict=True):
            if abs(found - z) > TOLERANCE * z:
                raise UserError(
                    f"{path}: no level at {z:g} m as grid.depths wants, the nearest is {found:g} "
                    "m: correct grid.depths"
                )
        return cls(rows, columns, levels)

    def cut(self, values: NDArray, rows_cut: bool = False) -> NDArray:
        """The grid's part of (..., rows, columns) values.

        Args:
            values: Whole rows of the file.
            rows_cut: Whether they are the grid's rows already.
        """
        if not rows_cut:
            values = values[..., self.rows, :]
        first, beyond = int(self.columns[0]), int(self.columns[-1]) + 1
        if first < beyond:
            return values[..., first:beyond]
        return np.concatenate([values[..., first:], values[..., :beyond]], axis=-1)


def _apart(lon: Float64, other: Float64 | float) -> Float64:
    """Degrees between longitudes, the short way round."""
    return np.abs((lon - other + 180.0) % 360.0 - 180.0)


def _outside(path: Path, name: str, found: Float64, wanted: Float64) -> UserError:
    return UserError(
        f"{path}: {found.size} points of {name} from {found[0]:g} to {found[-1]:g}; expected among "
        f"them the grid's {wanted.size} from {wanted[0]:g} to {wanted[-1]:g}: correct "
        f"grid.resolution and grid.{name}"
    )
