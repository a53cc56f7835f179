"""Weights that factor into latitude and longitude: what every regridding here is made of.

On the sphere the area of a latitude-longitude cell is a difference of sin(latitude) times a
difference of longitude, and bilinear interpolation is linear in each. So all the weights between
two grids are the outer product of two small sparse matrices, `y` and `x`, and are made in
milliseconds.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

Float64 = NDArray[np.float64]

FULL_CIRCLE = 360.0
# Of a step: a wider gap between neighbours is the end of a part of the circle. Regular axes have
# gaps of one step, and a part of the circle leaves at least one node out.
WIDE_GAP = 1.5


class Weights(NamedTuple):
    """Two factors of the weights from a source to a target grid.

    Attributes:
        y: (ny, ny_s) sparse.
        x: (nx, nx_s) sparse.
    """

    y: sparse.csr_matrix
    x: sparse.csr_matrix

    def apply(self, field: NDArray) -> Float64:
        """`y F x^T` for every level.

        Args:
            field: (..., ny_s, nx_s), finite or bool.

        Returns:
            (..., ny, nx).
        """
        levels = field.reshape(-1, *field.shape[-2:])
        ny, nx = self.y.shape[0], self.x.shape[0]
        result = np.empty((len(levels), ny, nx))
        # Level by level, so that no float64 copy of the whole field is made and what lies between
        # the two products stays in the cache.
        for k, level in enumerate(levels):
            result[k] = (self.x @ (self.y @ level.astype(np.float64, copy=False)).T).T
        return result.reshape(*field.shape[:-2], ny, nx)


def unwrap(lon: ArrayLike) -> tuple[Float64, int, bool]:
    """Nodes of a circle, or of a part of one that may lie across the seam, in one ascending row.

    Args:
        lon: (n,) ascending nodes in [-180, 180), degrees east, at least two.

    Returns:
        (n,) ascending nodes, those before `start` moved to the end and raised by 360 degrees;
        `start`; and whether the last node neighbours the first around the globe.
    """
    lon = np.asarray(lon, np.float64)
    gaps = np.append(np.diff(lon), lon[0] + FULL_CIRCLE - lon[-1])
    widest = int(np.argmax(gaps))
    if gaps[widest] <= WIDE_GAP * np.median(gaps):
        return lon, 0, True
    start = (widest + 1) % lon.size
    return np.concatenate([lon[start:], lon[:start] + FULL_CIRCLE]), start, False
