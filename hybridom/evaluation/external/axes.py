"""The grid of a foreign file, and the order in which its cells are stored."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from hybridom.errors import UserError
from hybridom.evaluation.external import names
from hybridom.grid import Grid, layer_interfaces
from hybridom.variables import VARIABLES

AXIS_TOLERANCE = 1e-4  # degrees or metres; coordinates stored in single precision differ by less
POLE = 90.0 - 1e-6
SURFACE = 1e-6  # m
UNEVEN = 5e-5  # degrees; steps that differ by less are even ones in single precision

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Placement:
    """Where the values of one variable lie, and in which order they are read.

    Attributes:
        lat: Rows (ny,) in degrees north, ascending.
        lon: Columns (nx,) in degrees east, ascending, the first in [-180, 180).
        depth: Levels (nz,) in m, ascending; empty for a variable without depth.
        lat_bounds: Cell edges (ny+1,).
        lon_bounds: Cell edges (nx+1,).
        depth_bounds: Layer interfaces (nz+1,), or empty.
        dims: Names of the dimensions of depth (or None), latitude and longitude in the file.
        rows: Position in the file of each row.
        columns: Position in the file of each column.
        periodic: Whether the columns go round the Earth.
    """

    lat: np.ndarray
    lon: np.ndarray
    depth: np.ndarray
    lat_bounds: np.ndarray
    lon_bounds: np.ndarray
    depth_bounds: np.ndarray
    dims: tuple[str | None, str, str]
    rows: np.ndarray
    columns: np.ndarray
    periodic: bool

    def order(self, values: np.ndarray) -> np.ndarray:
        """Values (..., rows, columns) of the file in our order; nothing moves in space."""
        return values[..., self.rows, :][..., self.columns]


def placement(data: xr.Dataset, variable: str, ours: str, path: Path) -> Placement:
    """Find the axes of a variable.

    Rows stored from north to south are flipped, and columns in 0...360 degrees are rolled, which
    changes the order of storage alone. Cell edges are those of the file's CF bounds, or lie
    midway between centres. A row at a pole is a point, not a cell, and is left out.

    Args:
        data: The file.
        variable: Its name there.
        ours: Its name here.
        path: For messages.

    Raises:
        UserError: An axis is missing, has two dimensions, or is not monotonic.
    """
    x = data[variable]
    lat_dim, lat_name = _horizontal(data, x, "latitude", names.LATITUDE, path)
    lon_dim, lon_name = _horizontal(data, x, "longitude", names.LONGITUDE, path)
    lat, lat_edges, rows = _latitude(data, lat_name, path)
    lon, lon_edges, columns, periodic = _longitude(data, lon_name, path)
    depth_dim, depth, depth_edges = None, np.empty(0), np.empty(0)
    if VARIABLES[ours].has_depth:
        depth_dim, depth, depth_edges = _depth(data, x, path)
    elif (found := names.find_axis(x, "depth", names.DEPTH, "Z")) and x.sizes[found] != 1:
        raise UserError(
            f"{path}: {variable} has {x.sizes[found]} levels; expected a field without depth"
        )
    return Placement(
        *(lat, lon, depth, lat_edges, lon_edges, depth_edges),
        *((depth_dim, lat_dim, lon_dim), rows, columns, periodic),
    )


def _horizontal(
    data: xr.Dataset, x: xr.DataArray, standard_name: str, known: tuple[str, ...], path: Path
) -> tuple[str, str]:
    """Dimension and coordinate variable of an axis."""
    found = names.coordinates(data, x, standard_name, known)
    wide = [name for name in found if data[name].ndim == 2]
    if wide:
        raise UserError(
            f"{path}: {wide[0]} of {x.name} has two dimensions; expected a regular latitude-"
            "longitude grid with axes of one dimension, regrid the file first"
        )
    if not found:
        raise UserError(
            f"{path}: {x.name} has no {standard_name} axis with values (its dimensions are "
            f"{', '.join(map(str, x.dims))}); expected one named {known[0]} or {known[1]}, or with "
            f"the CF attribute standard_name = {standard_name!r}"
        )
    return str(data[found[0]].dims[0]), found[0]


def _require_monotonic(values: np.ndarray, name: str, path: Path) -> None:
    steps = np.diff(values)
    if not np.isfinite(values).all() or not ((steps > 0).all() or (steps < 0).all()):
        raise UserError(f"{path}: {name} is not monotonic; expected ascending or descending values")


def _bounds(data: xr.Dataset, name: str) -> str | None:
    """The variable that holds the CF bounds of an axis, if any."""
    known = (data[name].attrs.get("bounds", ""), f"{name}_bounds", f"{name}_bnds")
    fits = (key for key in known if key in data.variables)
    return next((key for key in fits if data[key].shape == (data[name].size, 2)), None)


def _edges(
    data: xr.Dataset, name: str, centres: np.ndarray, path: Path, period: float | None = None
) -> np.ndarray:
    """Edges in the order of the centres, from CF bounds or midway."""
    if (key := _bounds(data, name)) is not None:
        pairs = np.asarray(data[key].values, np.float64)
        if period is not None:
            away = pairs - centres[:, None] + period / 2
            pairs = centres[:, None] + away % period - period / 2
        ascending = centres.size == 1 or centres[-1] > centres[0]
        pairs = np.sort(pairs, axis=1)[:, :: 1 if ascending else -1]
        apart = np.abs(pairs[1:, 0] - pairs[:-1, 1]).max(initial=0.0)
        inside = (pairs.min(axis=1) <= centres) & (centres <= pairs.max(axis=1))
        if apart > AXIS_TOLERANCE or not inside.all():
            raise UserError(
                f"{path}: {key} are no edges of adjoining cells around {name}; expected CF bounds, "
                "correct them or take them out"
            )
        return np.append(pairs[:, 0], pairs[-1, 1])
    if centres.size == 1:
        raise UserError(
            f"{path}: {name} has one value and no bounds; expected {name}_bounds with the edges "
            "of its cell"
        )
    step = (centres[-1] - centres[0]) / (centres.size - 1)
    if np.abs(np.diff(centres) - step).max() <= UNEVEN:
        return centres[0] + step * (np.arange(centres.size + 1) - 0.5)
    middle = 0.5 * (centres[1:] + centres[:-1])
    first, last = 2 * centres[0] - middle[0], 2 * centres[-1] - middle[-1]
    return np.concatenate([[first], middle, [last]])


def _latitude(data: xr.Dataset, name: str, path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    values = np.asarray(data[name].values, np.float64)
    _require_monotonic(values, name, path)
    if np.abs(values).max() > 90.0 + AXIS_TOLERANCE:
        raise UserError(f"{path}: {name} reaches {np.abs(values).max():g}; expected -90 to 90")
    edges = np.sort(_edges(data, name, values, path))
    rows = np.argsort(values)
    inside = np.abs(values[rows]) < POLE
    if not inside.all():
        log.warning("%s: the row at %s 90 is a point, not a row of cells: left out", path, name)
    edges = np.clip(edges, -90.0, 90.0)
    kept = np.flatnonzero(inside)
    return values[rows][inside], edges[kept[0] : kept[-1] + 2], rows[inside]


def _longitude(
    data: xr.Dataset, name: str, path: Path
) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    values = np.asarray(data[name].values, np.float64)
    steps = np.diff(values)
    if (np.abs(steps) > 180.0).sum() == 1:  # ..., 179, -179, ...: runs on across the date line
        values = np.unwrap(values, period=360.0)
    _require_monotonic(values, name, path)
    edges = _edges(data, name, values, path, 360.0)
    columns = np.argsort(values)
    values, edges = values[columns], np.sort(edges)
    span = edges[-1] - edges[0]
    if values[-1] - values[0] > 360.0 - AXIS_TOLERANCE:
        raise UserError(
            f"{path}: {name} runs over more than 360 degrees; expected each column once"
        )
    periodic = bool(abs(span - 360.0) < 0.5 * np.diff(edges).min())
    turn = 360.0 * np.floor((values + 180.0 + AXIS_TOLERANCE) / 360.0)
    if periodic:
        wrapped = values - turn
        first = int(np.argmin(wrapped))
        roll = np.r_[first : values.size, 0:first]
        widths = np.diff(edges)[roll]
        west = edges[first] - turn[first]
        edges = west + np.concatenate([[0.0], np.cumsum(widths)])
        edges[-1] = west + 360.0
        return wrapped[roll], edges, columns[roll], True
    return values - turn[0], edges - turn[0], columns, False


def _depth(
    data: xr.Dataset, x: xr.DataArray, path: Path
) -> tuple[str | None, np.ndarray, np.ndarray]:
    found = [key for key in names.coordinates(data, x, "depth", names.DEPTH) if data[key].ndim == 1]
    single = [key for key in names.DEPTH if key in data.variables and data[key].size == 1]
    if not found and not single:
        raise UserError(
            f"{path}: {x.name} has no depth axis with values (its dimensions are "
            f"{', '.join(map(str, x.dims))}); expected one named depth or lev, or a scalar "
            "coordinate depth, in m"
        )
    key = (found or single)[0]
    dim = str(data[key].dims[0]) if found else None
    values = np.asarray(data[key].values, np.float64).reshape(-1)
    units = data[key].attrs.get("units", "m")
    if units not in names.METRES:
        raise UserError(f"{path}: {key} is in units {units!r}; expected 'm'")
    if (values < 0).any() or (np.diff(values) <= 0).any():
        raise UserError(
            f"{path}: {key} is not positive and ascending; expected metres below the surface, from "
            "the top down"
        )
    bounded = _bounds(data, key) is not None
    edges = _edges(data, key, values, path) if bounded else layer_interfaces(values)
    # A level at the very surface lies on the edge of its layer, and a grid wants it inside.
    edges[0] = min(edges[0], values[0] - SURFACE)
    return dim, values, edges


def make_grid(surface: Placement, levels: Placement | None) -> Grid:
    """The grid of a file; without a variable that has depth, it has one level of 1 m."""
    deep = levels is not None
    return Grid(
        *(surface.lat, surface.lon, surface.lat_bounds, surface.lon_bounds),
        levels.depth if deep and levels else np.array([0.5]),
        levels.depth_bounds if deep and levels else np.array([0.0, 1.0]),
        surface.periodic,
    )


def first_difference(grid: Grid, other: Placement, ours: str) -> str | None:
    """The first axis in which a variable's place differs from a grid, in words, or None."""
    pairs = [("latitude", grid.lat, other.lat), ("longitude", grid.lon, other.lon)]
    if VARIABLES[ours].has_depth:
        pairs.insert(0, ("depth", grid.depth, other.depth))
    for axis, expected, found in pairs:
        if found.shape != expected.shape:
            return f"{axis} has {found.size} values, expected {expected.size}"
        difference = np.abs(found - expected)
        if difference.max() > AXIS_TOLERANCE:
            worst = int(difference.argmax())
            return f"{axis}[{worst}] is {found[worst]:g}, expected {expected[worst]:g}"
    return None
