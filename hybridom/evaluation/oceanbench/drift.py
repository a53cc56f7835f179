"""Drift of particles as OceanBench 0.6.1 has it: Parcels 3.1 with its default precision.

Classical fourth-order Runge-Kutta steps of one hour with currents that are bilinear in degrees and
linear in time (Delandmeter & van Sebille 2019, doi 10.5194/gmd-12-3571-2019). Parcels keeps
positions, currents and coordinates in single precision and calculates in double; the kernel below
rounds at the same places, since distances are differences of close positions.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import ArrayLike

from hybridom.errors import UserError
from hybridom.evaluation.oceanbench.definitions import is_circle

# core.lagrangian_trajectory and core.metrics
SEED = 123
PARTICLES = 10_000
FEWEST = 2_000  # in a region with enough ocean points
KILOMETRES = 111.0  # in a degree
STEP = 3600.0  # s
STEPS = 24  # a day
DAY = STEP * STEPS
# Parcels' metres in a degree: 60 nautical miles.
METRES = 1000.0 * 1.852 * 60.0
CIRCLE = np.float32(360.0)


def particle_number(all_points: int, points: int) -> int:
    """How many particles a region gets: in proportion to its ocean points, 2,000 at least.

    Args:
        all_points: Ocean points of the whole challenger.
        points: Those of the region, which also are the most it gets.
    """
    return min(points, max(FEWEST, round(PARTICLES * points / all_points)))


def seed_particles(
    ocean: np.ndarray, lat: np.ndarray, lon: np.ndarray, number: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw points of the grid without replacement, by the cosine of latitude.

    NumPy's legacy generator with seed 123, whose stream is frozen.

    Args:
        ocean: bool (ny, nx).
        lat: (ny,) degrees north.
        lon: (nx,) degrees east.
        number: How many; all points where there are fewer.

    Returns:
        Latitude and longitude (number,).

    Raises:
        UserError: There is no ocean point.
    """
    rows, columns = np.nonzero(ocean)
    if rows.size == 0:
        raise UserError(
            "the first sea surface height of the challenger has no value; expected values over "
            "the ocean, from which the particles are drawn"
        )
    weights = np.cos(np.deg2rad(np.asarray(lat[rows], float)))
    random = np.random.RandomState(SEED)
    drawn = random.choice(rows.size, min(number, rows.size), False, weights / weights.sum())
    return lat[rows[drawn]], lon[columns[drawn]]


def trajectories(
    u: np.ndarray,
    v: np.ndarray,
    lat: np.ndarray,
    lon: np.ndarray,
    particle_lat: ArrayLike,
    particle_lon: ArrayLike,
) -> tuple[np.ndarray, np.ndarray]:
    """Daily positions of particles from the first field to the last.

    Args:
        u: Daily eastward currents (days, ny, nx), m s-1; NaN counts as zero.
        v: Northward, likewise.
        lat: (ny,) ascending, degrees north.
        lon: (nx,) ascending, degrees east; periodic where the columns close the circle.
        particle_lat: (n,) degrees north.
        particle_lon: (n,) degrees east.

    Returns:
        Latitude and longitude (n, days), float32. A particle that leaves the rows (or the
        columns, where they do not close the circle) has its last position inside at the end of
        that day, as Parcels writes it on deletion, and NaN on later days.
    """
    fields = _single(np.nan_to_num(u)), _single(np.nan_to_num(v))
    axes = _single(lat), _single(lon)
    particles = _single(particle_lat), _single(particle_lon)
    return _advect(*fields, *axes, *particles, is_circle(np.asarray(lon)))


def deviation(
    lat: np.ndarray, lon: np.ndarray, reference_lat: np.ndarray, reference_lon: np.ndarray
) -> np.ndarray:
    """Mean distance of particles from those of the reference.

    A degree has 111 km, in longitude times the cosine of the reference's latitude.

    Args:
        lat: (n, days) degrees.
        lon: Likewise.
        reference_lat: Likewise.
        reference_lon: Likewise.

    Returns:
        (days,) km; pairs of which one has left are left out, NaN where none remains.
    """
    east = lon.astype(np.float64) - reference_lon
    east = np.where(np.abs(east) > 180.0, east - 360.0 * np.sign(east), east)
    north = lat.astype(np.float64) - reference_lat
    cosine = np.cos(np.deg2rad(reference_lat.astype(np.float64)))
    distance = KILOMETRES * np.hypot(north, east * cosine)
    known = ~np.isnan(distance)
    number = known.sum(axis=0)
    total = np.where(known, distance, 0.0).sum(axis=0)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _single(values: ArrayLike) -> np.ndarray:
    return np.ascontiguousarray(values, np.float32)


@njit(nogil=True, cache=True, error_model="numpy")
def _advect(u, v, lat, lon, particle_lat, particle_lon, circle):
    """`trajectories` on plain float32 arrays."""
    days, n = u.shape[0], particle_lat.size
    all_lat = np.full((n, days), np.nan, np.float32)
    all_lon = np.full((n, days), np.nan, np.float32)
    for p in range(n):
        y, x = particle_lat[p], particle_lon[p]
        for step in range(STEPS * (days - 1)):
            north, east, inside = _step(step * STEP, y, x, u, v, lat, lon, circle)
            if step % STEPS == 0 or not inside:
                day = (step + STEPS - 1) // STEPS
                all_lat[p, day], all_lon[p, day] = y, x
            if not inside:
                break
            if circle:
                if x < lon[0]:
                    east += 360.0
                elif x >= lon[0] + CIRCLE:
                    east -= 360.0
            y, x = np.float32(y + north), np.float32(x + east)
        else:
            all_lat[p, days - 1], all_lon[p, days - 1] = y, x
    return all_lat, all_lon


@njit(nogil=True, cache=True, error_model="numpy")
def _step(time, y, x, u, v, lat, lon, circle):
    """Way in degrees over one step, and whether all its stages lie inside."""
    y, x = np.float64(y), np.float64(x)
    v1, u1, in1 = _rate(time, y, x, u, v, lat, lon, circle)
    half = time + 0.5 * STEP
    v2, u2, in2 = _rate(half, y + v1 * 0.5 * STEP, x + u1 * 0.5 * STEP, u, v, lat, lon, circle)
    v3, u3, in3 = _rate(half, y + v2 * 0.5 * STEP, x + u2 * 0.5 * STEP, u, v, lat, lon, circle)
    v4, u4, in4 = _rate(time + STEP, y + v3 * STEP, x + u3 * STEP, u, v, lat, lon, circle)
    north = (v1 + 2 * v2 + 2 * v3 + v4) / 6.0 * STEP
    east = (u1 + 2 * u2 + 2 * u3 + u4) / 6.0 * STEP
    return north, east, in1 and in2 and in3 and in4


@njit(nogil=True, cache=True, error_model="numpy")
def _rate(time, y, x, u, v, lat, lon, circle):
    """Degrees a second, northward and eastward, and whether the point lies inside."""
    ny, nx = lat.size, lon.size
    if y < lat[0] or y > lat[ny - 1] or (not circle and (x < lon[0] or x > lon[nx - 1])):
        return 0.0, 0.0, False
    j = min(max(np.searchsorted(lat, y, side="right") - 1, 0), ny - 2)
    eta = (y - lat[j]) / np.float64(lat[j + 1] - lat[j])
    if circle:
        x = np.float64(lon[0]) + (x - np.float64(lon[0])) % 360.0
    i = min(max(np.searchsorted(lon, x, side="right") - 1, 0), nx - 1 if circle else nx - 2)
    k = (i + 1) % nx
    width = lon[k] - lon[i] if k > i else lon[k] + CIRCLE - lon[i]
    xsi = (x - lon[i]) / np.float64(width)
    # The day before, so that a field's own time belongs to the interval that it ends.
    t = max(math.ceil(time / DAY) - 1, 0)
    part = np.float32(time / DAY - t)
    east = _between(u, t, part, j, i, k, eta, xsi)
    north = _between(v, t, part, j, i, k, eta, xsi)
    per_degree = METRES * math.cos(y * math.pi / 180)
    return (
        np.float64(np.float32(north * (1.0 / METRES))),
        np.float64(np.float32(east * (1.0 / per_degree))),
        True,
    )


@njit(nogil=True, cache=True, error_model="numpy")
def _between(field, t, part, j, i, k, eta, xsi):
    """Bilinear in space, then linear in time, each rounded to single precision."""
    first = _bilinear(field[t], j, i, k, eta, xsi)
    if part == 0.0:
        return first
    last = _bilinear(field[t + 1], j, i, k, eta, xsi)
    return np.float32(first + np.float32(np.float32(last - first) * part))


@njit(nogil=True, cache=True, error_model="numpy")
def _bilinear(field, j, i, k, eta, xsi):
    return np.float32(
        (1 - xsi) * (1 - eta) * field[j, i]
        + xsi * (1 - eta) * field[j, k]
        + xsi * eta * field[j + 1, k]
        + (1 - xsi) * eta * field[j + 1, i]
    )
