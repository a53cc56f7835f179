"""Particles carried by currents on the sphere: seeding, advection and distances."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from hybridom.constants import EARTH_RADIUS
from hybridom.grid import Grid

STEP = 3600.0  # s, of the Runge-Kutta scheme
FULL_CIRCLE = 360.0


@dataclass(frozen=True)
class Domain:
    """Where currents are known.

    Attributes:
        lon: Columns (nx,) in degrees east, ascending.
        lat: Rows (ny,) in degrees north, ascending.
        edges: West, east, south and north edge in degrees; a particle beyond them has left.
            Between an edge and the outermost column or row the current is that of the outermost.
        periodic: Whether the last column neighbours the first; west and east have no edge then.
    """

    lon: np.ndarray
    lat: np.ndarray
    edges: tuple[float, float, float, float]
    periodic: bool

    @classmethod
    def of(cls, grid: Grid) -> Domain:
        """The whole of a grid, out to the edges of its outermost cells."""
        (west, east), (south, north) = grid.lon_bounds[[0, -1]], grid.lat_bounds[[0, -1]]
        edges = (float(west), float(east), float(south), float(north))
        return cls(grid.lon, grid.lat, edges, grid.periodic)


@dataclass(frozen=True)
class Currents:
    """Horizontal currents at one time.

    Attributes:
        u: Eastward (ny, nx), m s-1, finite; 0 on land.
        v: Northward, likewise.
    """

    u: np.ndarray
    v: np.ndarray

    @classmethod
    def at_sea(cls, u: np.ndarray, v: np.ndarray, wet: np.ndarray) -> Currents:
        """Currents (ny, nx) that are taken as zero outside bool `wet`."""
        return cls(np.where(wet, u, 0.0), np.where(wet, v, 0.0))


def seed_particles(
    grid: Grid, wet: np.ndarray, number: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw particles uniformly over the area of the wet cells.

    Args:
        grid: The grid.
        wet: bool (ny, nx).
        number: How many.
        seed: Of NumPy's `default_rng`; the same seed gives the same particles.

    Returns:
        Longitude and latitude in degrees, and the flat index j * nx + i of the cell: (number,).
    """
    rng = np.random.default_rng(seed)
    sea = np.flatnonzero(wet)
    area = np.broadcast_to(grid.area, wet.shape).ravel()[sea]
    cell = rng.choice(sea, size=number, p=area / area.sum())
    j, i = np.divmod(cell, grid.nx)
    along = rng.random(number)
    west, east = grid.lon_bounds[i], grid.lon_bounds[i + 1]
    # The sine of latitude, not latitude, is in proportion to area.
    sine = np.sin(np.deg2rad(grid.lat_bounds))
    south, north = sine[j], sine[j + 1]
    lat = np.rad2deg(np.arcsin(south + rng.random(number) * (north - south)))
    return west + along * (east - west), lat, cell


def advect(
    lon: np.ndarray,
    lat: np.ndarray,
    first: Currents,
    last: Currents,
    domain: Domain,
    hours: float = 24.0,
    step: float = STEP,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Carry particles with currents that are bilinear in space and linear in time.

    Classical Runge-Kutta of fourth order for d lon/dt = u / (R cos lat), d lat/dt = v / R.

    Args:
        lon: Longitude (n,) in degrees east; NaN stays NaN.
        lat: Latitude (n,) in degrees north.
        first: Currents at the beginning.
        last: Currents at the end.
        domain: Where they are known.
        hours: From beginning to end.
        step: Longest time step in s; steps are as long as this or, to fit in evenly, shorter.

    Returns:
        Longitude, latitude and the length of the path in km (n,). A particle of which a stage or a
        step ends beyond an edge is NaN in all three. On a periodic domain longitudes come back
        between its west and east edge.
    """
    steps = math.ceil(hours * 3600.0 / step - 1e-9)
    seconds = hours * 3600.0 / steps
    return _advect(
        *(np.asarray(lon, np.float64), np.asarray(lat, np.float64)),
        *(first.u, first.v, last.u, last.v),
        *(domain.lon, domain.lat, domain.edges, domain.periodic),
        *(steps, seconds),
    )


def distance(
    lon: np.ndarray, lat: np.ndarray, other_lon: np.ndarray, other_lat: np.ndarray
) -> np.ndarray:
    """Great-circle distance in km between points in degrees (haversine formula)."""
    a, b = np.deg2rad(lat), np.deg2rad(other_lat)
    half_lon = 0.5 * np.deg2rad(np.subtract(other_lon, lon))
    h = np.sin(0.5 * (b - a)) ** 2 + np.cos(a) * np.cos(b) * np.sin(half_lon) ** 2
    return np.asarray(2e-3 * EARTH_RADIUS * np.arcsin(np.sqrt(np.minimum(h, 1.0))))


@njit(nogil=True, cache=True, error_model="numpy")
def _advect(lon, lat, u0, v0, u1, v1, columns, rows, edges, periodic, steps, seconds):
    """`advect` on plain arrays."""
    n = lon.size
    end_lon, end_lat, length = np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan)
    for p in range(n):
        x, y, path = lon[p], lat[p], 0.0
        for s in range(steps):
            dx = dy = kx = ky = 0.0
            for stage in range(4):
                part = 0.5 * ((stage + 1) // 2)
                at = (s + part) / steps
                to_x, to_y = x + part * seconds * kx, y + part * seconds * ky
                kx, ky = _rate(to_x, to_y, at, u0, v0, u1, v1, columns, rows, edges, periodic)
                weight = 2.0 if 1 <= stage <= 2 else 1.0
                dx, dy = dx + weight * kx, dy + weight * ky
            to_x, to_y = x + seconds * dx / 6.0, y + seconds * dy / 6.0
            path += _distance(x, y, to_x, to_y)
            x, y = to_x, to_y
            if periodic:
                x = _wrapped(x, edges[0])
            if not _inside(x, y, edges, periodic):
                break
        else:
            end_lon[p], end_lat[p], length[p] = x, y, path
    return end_lon, end_lat, length


@njit(nogil=True, inline="always", error_model="numpy")
def _inside(x, y, edges, periodic):
    """Whether a point lies within the edges; NaN does not."""
    west, east, south, north = edges
    return south <= y <= north and (periodic or west <= x <= east) and not math.isnan(x)


@njit(nogil=True, inline="always", error_model="numpy")
def _wrapped(x, west):
    """A longitude from `west` to 360 degrees beyond it."""
    if west <= x < west + FULL_CIRCLE:
        return x
    return west + (x - west) % FULL_CIRCLE


@njit(nogil=True, inline="always", error_model="numpy")
def _rate(x, y, at, u0, v0, u1, v1, columns, rows, edges, periodic):
    """Degrees a second at a point, a part `at` of the way through time; NaN beyond the edges."""
    if not _inside(x, y, edges, periodic):
        return math.nan, math.nan
    if periodic:
        x = _wrapped(x, columns[0])
    j, north = _bracket(rows, y)
    if periodic and x > columns[-1]:
        i, k = columns.size - 1, 0
        east = (x - columns[-1]) / (columns[0] + FULL_CIRCLE - columns[-1])
    else:
        i, east = _bracket(columns, x)
        k = min(i + 1, columns.size - 1)
    m = min(j + 1, rows.size - 1)
    sw, se = (1.0 - north) * (1.0 - east), (1.0 - north) * east
    nw, ne = north * (1.0 - east), north * east
    u = (1.0 - at) * (sw * u0[j, i] + se * u0[j, k] + nw * u0[m, i] + ne * u0[m, k]) + at * (
        sw * u1[j, i] + se * u1[j, k] + nw * u1[m, i] + ne * u1[m, k]
    )
    v = (1.0 - at) * (sw * v0[j, i] + se * v0[j, k] + nw * v0[m, i] + ne * v0[m, k]) + at * (
        sw * v1[j, i] + se * v1[j, k] + nw * v1[m, i] + ne * v1[m, k]
    )
    per_metre = 180.0 / (math.pi * EARTH_RADIUS)
    return u * per_metre / math.cos(math.radians(y)), v * per_metre


@njit(nogil=True, inline="always", error_model="numpy")
def _bracket(axis, value):
    """The interval of an ascending axis that holds a value, and how far in it lies, 0 to 1."""
    last = axis.size - 1
    if value <= axis[0]:
        return 0, 0.0
    if value >= axis[last]:
        return last, 0.0
    # Right at once where the axis is even, near it otherwise.
    n = int((value - axis[0]) / (axis[last] - axis[0]) * last)
    n = min(max(n, 0), last - 1)
    while axis[n] > value:
        n -= 1
    while axis[n + 1] <= value:
        n += 1
    return n, (value - axis[n]) / (axis[n + 1] - axis[n])


@njit(nogil=True, inline="always", error_model="numpy")
def _distance(x, y, to_x, to_y):
    """`distance` of two points."""
    a, b = math.radians(y), math.radians(to_y)
    h = (
        math.sin(0.5 * (b - a)) ** 2
        + math.cos(a) * math.cos(b) * math.sin(0.5 * math.radians(to_x - x)) ** 2
    )
    return 2e-3 * EARTH_RADIUS * math.asin(math.sqrt(min(h, 1.0)))
