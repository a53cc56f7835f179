"""Forecasts at the places of observations, and which observations count, as OceanBench has it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from scipy.interpolate import RegularGridInterpolator

from hybridom.errors import UserError
from hybridom.evaluation.oceanbench.conventions import TOLERANCE
from hybridom.evaluation.oceanbench.definitions import is_circle

QUARTER = 0.25  # degrees
FINE_CELLS = 3  # of the mask in a quarter of a degree


class Population:
    """Observations that count whatever the challenger: those with ocean around them.

    The four quarter-degree cells around an observation must be ocean at the first level of the
    mask at or below it; such a cell is ocean where the nine cells of the mask around its point are.

    Args:
        mask: OceanBench's ocean mask, at 1/12 degree.
    """

    def __init__(self, mask: xr.DataArray) -> None:
        mask = mask.sortby("depth")
        self._depths = np.asarray(mask["depth"].values, np.float64)
        self._south, self._west = (float(mask[x].values[0]) for x in ("latitude", "longitude"))
        wet = mask.values.astype(bool)
        ny, nx = wet.shape[1:]
        rows, columns = np.arange(0, ny, FINE_CELLS), np.arange(0, nx, FINE_CELLS)
        self._wet = np.ones((len(wet), rows.size, columns.size), bool)
        for north in (-1, 0, 1):
            for east in (-1, 0, 1):
                row = np.clip(rows + north, 0, ny - 1)
                self._wet &= wet[:, row][:, :, (columns + east) % nx]

    def select(self, found: pd.DataFrame) -> pd.DataFrame:
        """The rows (with latitude, longitude, depth) that count."""
        _, ny, nx = self._wet.shape
        south = np.floor((found["latitude"].to_numpy() - self._south) / QUARTER).astype(int)
        west = np.floor((found["longitude"].to_numpy() - self._west) / QUARTER).astype(int)
        first = np.clip(south, 0, ny - 1)
        _, level = _levels_around(self._depths, found["depth"].to_numpy())
        kept = np.ones(len(found), bool)
        for row in (first, np.minimum(first + 1, ny - 1)):
            for column in (west % nx, (west + 1) % nx):
                kept &= self._wet[level, row, column]
        return found[kept]


def on_grid(field: xr.DataArray, lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """A field (latitude, longitude) at the points of a grid; NaN outside its span.

    Raises:
        UserError: A point inside lies more than 1e-4 degrees off the field's.
    """
    picks = []
    for axis, wanted in (("latitude", lat), ("longitude", lon)):
        values = field[axis].values
        index = pd.Index(values).get_indexer(
            pd.Index(wanted), method="nearest", tolerance=TOLERANCE
        )
        inside = (wanted > values.min() - TOLERANCE) & (wanted < values.max() + TOLERANCE)
        if (index[inside] < 0).any():
            raise UserError(
                f"mean dynamic topography: its {axis}s are not those of the challenger within "
                f"{TOLERANCE:g} degrees; give the one of the challenger's resolution"
            )
        picks.append(index)
    found = field.values[picks[0][:, None], picks[1]].astype(np.float64)
    found[(picks[0] < 0)[:, None] | (picks[1] < 0)] = np.nan
    return found


def at_points(
    field: np.ndarray, depth: np.ndarray, lat: np.ndarray, lon: np.ndarray, places: pd.DataFrame
) -> np.ndarray:
    """A field at observations: bilinear in degrees, then linear in depth.

    Above the topmost and below the lowest level that level counts. A value needs all four corners
    at both levels around it.

    Args:
        field: (nz, ny, nx), NaN on land.
        depth: (nz,) m, ascending.
        lat: (ny,) degrees north.
        lon: (nx,) degrees east; the seam is crossed where the columns close the circle.
        places: Columns latitude, longitude, depth.

    Returns:
        float64 (n,), NaN where a corner has no value.
    """
    lat, lon = np.asarray(lat, np.float64), np.asarray(lon, np.float64)
    y, x = (places[axis].to_numpy(np.float64) for axis in ("latitude", "longitude"))
    if is_circle(lon):
        x = np.where((x >= lon[0]) & (x <= lon[-1]), x, lon[0] + (x - lon[0]) % 360.0)
        lon = np.append(lon, lon[0] + 360.0)
        field = np.concatenate([field, field[..., :1]], axis=-1)
    columns = np.moveaxis(np.asarray(field, np.float64), 0, -1)
    profiles = RegularGridInterpolator((lat, lon), columns, bounds_error=False)((y, x))
    upper, lower = _levels_around(depth, places["depth"].to_numpy(np.float64))
    every = np.arange(len(places))
    above, below = profiles[every, upper], profiles[every, lower]
    span = np.asarray(depth, np.float64)[lower] - depth[upper]
    same = np.isclose(depth[upper], depth[lower])
    part = (places["depth"].to_numpy() - depth[upper]) / np.where(same, 1.0, span)
    part = np.where(same, 0.0, part)
    return np.where(np.isnan(below), np.nan, above + part * (below - above))


def _levels_around(depths: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Levels above (or at) and below (or at) each depth; the outermost beyond them."""
    place = np.searchsorted(depths, wanted)
    below = np.clip(place, 0, depths.size - 1)
    above = np.clip(place - 1, 0, depths.size - 1)
    return np.where(depths[below] == wanted, below, above), below
