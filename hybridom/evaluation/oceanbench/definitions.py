"""The gridded definitions of OceanBench 0.6.1, on plain arrays.

Each function says which part of the package `oceanbench` 0.6.1 it states anew. They are kept as
they are there, so that scores agree; the mixed layer depth is in `hybridom.evaluation.mixed_layer`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from hybridom.errors import UserError
from hybridom.evaluation.oceanbench.conventions import MATCHED, TOLERANCE

# core.geostrophic_currents
GRAVITY = 9.81  # m s-2
ROTATION = 7.2921e-5  # s-1
RADIUS = 6_371_000.0  # m
EQUATOR = 5.0  # degrees; rows nearer to the equator are left out


@dataclass(frozen=True)
class Matched:
    """Which points of two grids are compared.

    Attributes:
        rows: Rows of the challenger that have a partner.
        columns: Likewise.
        reference_rows: Their partners.
        reference_columns: Likewise.
    """

    rows: np.ndarray
    columns: np.ndarray
    reference_rows: np.ndarray
    reference_columns: np.ndarray

    def challenger(self, field: np.ndarray) -> np.ndarray:
        """The matched points of a field (..., ny, nx) of the challenger."""
        return field[..., self.rows[:, None], self.columns]

    def reference(self, field: np.ndarray) -> np.ndarray:
        """The matched points of a field (..., ny_r, nx_r) of the reference."""
        return field[..., self.reference_rows[:, None], self.reference_columns]


def match(
    lat: np.ndarray, lon: np.ndarray, reference_lat: np.ndarray, reference_lon: np.ndarray
) -> Matched:
    """Snap the reference's grid to the challenger's (core.rmsd).

    A point is compared where a coordinate of the reference lies within 1e-4 degrees.

    Raises:
        UserError: Less than 99.9 % of the challenger's points find one, or two find the same.
    """
    rows, reference_rows = _nearest(lat, reference_lat, "latitude")
    columns, reference_columns = _nearest(lon, reference_lon, "longitude")
    part = rows.size / lat.size * columns.size / lon.size
    if part < MATCHED:
        raise UserError(
            f"{part:.2%} of the challenger's grid points lie on the reference's grid, at least "
            f"{MATCHED:.1%} expected (latitude {rows.size} of {lat.size}, longitude "
            f"{columns.size} of {lon.size}, within {TOLERANCE:g} degrees); give the reference on "
            "the challenger's grid, or export onto its grid"
        )
    return Matched(rows, columns, reference_rows, reference_columns)


def _nearest(
    coordinate: np.ndarray, reference: np.ndarray, name: str
) -> tuple[np.ndarray, np.ndarray]:
    partner = pd.Index(reference).get_indexer(
        pd.Index(coordinate), method="nearest", tolerance=TOLERANCE
    )
    found = np.flatnonzero(partner >= 0)
    if np.unique(partner[found]).size != found.size:
        raise UserError(
            f"two {name}s of the challenger lie within {TOLERANCE:g} degrees of the same {name} "
            "of the reference; expected one each"
        )
    return found, partner[found]


def nearest_levels(depth: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Index of the level nearest to each depth, however far (core.rmsd)."""
    return np.asarray(pd.Index(depth).get_indexer(pd.Index(wanted), method="nearest"))


def area_weights(lat: np.ndarray) -> np.ndarray:
    """Cosine of latitude (ny, 1) (core.rmsd)."""
    return np.cos(np.deg2rad(np.asarray(lat, np.float64)))[:, None]


def rmsd(
    forecast: np.ndarray, reference: np.ndarray, ocean: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Root of the mean squared difference over ocean cells where both have a value (core.rmsd).

    Args:
        forecast: (..., ny, nx), NaN where missing.
        reference: Likewise.
        ocean: bool (..., ny, nx).
        weights: (ny, 1).

    Returns:
        (...), float64; NaN where no cell is left.
    """
    squared = (np.asarray(forecast, np.float64) - reference) ** 2
    counted = ocean & ~np.isnan(squared)
    return np.sqrt(_mean(np.where(counted, squared, 0.0), counted, weights))


def missing_fraction(
    forecast: np.ndarray, reference: np.ndarray, ocean: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Part of the ocean with a reference value where the forecast has none (core.rmsd).

    Arguments and result as for `rmsd`.
    """
    scorable = ocean & ~np.isnan(reference)
    return _mean((scorable & np.isnan(forecast)).astype(np.float64), scorable, weights)


def _mean(values: np.ndarray, counted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    total = (values * weights).sum(axis=(-2, -1))
    area = (counted * weights).sum(axis=(-2, -1))
    return np.where(area > 0, total / np.where(area > 0, area, 1.0), np.nan)


def is_circle(lon: np.ndarray) -> bool:
    """Whether the columns close the circle (core.dataset_utils)."""
    step = (lon[-1] - lon[0]) / (lon.size - 1)
    return bool(abs(lon[-1] - lon[0] + step - 360.0) < step / 2)


def geostrophic_currents(
    height: np.ndarray, lat: np.ndarray, lon: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Surface currents from sea surface height (core.geostrophic_currents).

    f = 2 * 7.2921e-5 sin(lat); v = g / f d zos/dx, u = -g / f d zos/dy, with differences of the
    two neighbours (one-sided at the edges; around the circle where the columns close it) and
    g = 9.81, R = 6,371,000 m.

    Args:
        height: (..., ny, nx) m, NaN on land.
        lat: (ny,) degrees north.
        lon: (nx,) degrees east.

    Returns:
        Eastward and northward (..., ny, nx), m s-1, on all rows; `off_equator` says which count.
    """
    lat, lon = np.asarray(lat, np.float64), np.asarray(lon, np.float64)
    height = np.asarray(height, np.float64)
    phi = np.deg2rad(lat)[:, None]
    coriolis = 2 * ROTATION * np.sin(phi)
    coriolis = np.where(np.abs(coriolis) < 1e-10, np.nan, coriolis)
    dx = np.deg2rad(np.gradient(lon)) * RADIUS * np.cos(phi)
    dy = np.deg2rad(np.gradient(lat))[:, None] * RADIUS
    if is_circle(lon):
        along = (np.roll(height, -1, axis=-1) - np.roll(height, 1, axis=-1)) / 2
    else:
        along = np.gradient(height, axis=-1)
    northward = GRAVITY / coriolis * along / dx
    eastward = -GRAVITY / coriolis * np.gradient(height, axis=-2) / dy
    return eastward, northward


def off_equator(lat: np.ndarray) -> np.ndarray:
    """Rows (ny,) on which geostrophic currents are scored: 5 degrees from the equator or more."""
    return np.abs(lat) >= EQUATOR
