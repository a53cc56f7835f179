"""First-order conservative regridding between latitude-longitude grids with wet-area weights.

The source is node-centred: its values are points whose cells reach half-way to the next point, and
a row at a pole is half a cell. Areas on the sphere factor into a difference of sin(latitude) and a
difference of longitude, so that the overlap areas of all pairs of cells are the outer product of
two sparse matrices, `Wy` and `Wx`, and a field F is integrated over the target cells as

    I(F) = Wy F Wx^T                                      (Jones 1999, doi 10.1175/
    target = I(wet * F) / I(wet)                           1520-0493(1999)127<2204:FASOCR>2.0.CO;2)

which leaves constants constant and conserves the integral over the wet source area as long as the
wet area of every target cell, `I(wet)`, is kept with the result.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hybridom.grid import Grid

Array = NDArray[np.floating]
Mask = NDArray[np.bool_]

FULL_CIRCLE = 360.0
ROUND_OFF = 1e-6  # of a cell: coordinates of products are stored as float32


def node_edges(nodes: Array) -> NDArray[np.float64]:
    """Edges half-way between ascending nodes.

    Args:
        nodes: (n,) ascending coordinates, at least two.

    Returns:
        (n + 1,) edges; the outermost cells are as wide outwards as inwards.
    """
    nodes = np.asarray(nodes, np.float64)
    inner = 0.5 * (nodes[1:] + nodes[:-1])
    first = nodes[0] - (inner[0] - nodes[0])
    last = nodes[-1] + (nodes[-1] - inner[-1])
    return np.concatenate([[first], inner, [last]])


def overlap_weights(source_edges: Array, target_edges: Array) -> sparse.csr_matrix:
    """Lengths of the overlaps of two sets of adjoining intervals.

    Args:
        source_edges: (m + 1,) ascending.
        target_edges: (n + 1,) ascending, in the same unit.

    Returns:
        (n, m) sparse matrix.
    """
    low = np.maximum(target_edges[:-1, None], source_edges[None, :-1])
    high = np.minimum(target_edges[1:, None], source_edges[None, 1:])
    length = high - low
    smallest = ROUND_OFF * min(np.diff(source_edges).min(), np.diff(target_edges).min())
    return sparse.csr_matrix(np.where(length > smallest, length, 0.0))


def latitude_weights(source_lat: Array, target_bounds: Array) -> sparse.csr_matrix:
    """Overlaps in sin(latitude) of node-centred rows with target rows.

    Args:
        source_lat: (m,) ascending nodes, degrees north.
        target_bounds: (n + 1,) ascending bounds, degrees north.

    Returns:
        (n, m) sparse matrix without unit.
    """
    source_edges = np.clip(node_edges(source_lat), -90.0, 90.0)
    return overlap_weights(np.sin(np.radians(source_edges)), np.sin(np.radians(target_bounds)))


def longitude_weights(source_lon: Array, target_bounds: Array) -> sparse.csr_matrix:
    """Overlaps in longitude of node-centred columns with target columns, modulo 360 degrees.

    Args:
        source_lon: (m,) ascending nodes in [-180, 180), degrees east; a circle or part of one.
        target_bounds: (n + 1,) ascending bounds within (-540, 540), degrees east; they may cross
            the date line.

    Returns:
        (n, m) sparse matrix in radians.
    """
    source_edges = node_edges(source_lon)
    shifts = (-FULL_CIRCLE, 0.0, FULL_CIRCLE)
    weights = sum(overlap_weights(source_edges + s, np.asarray(target_bounds)) for s in shifts)
    return sparse.csr_matrix(weights * np.pi / 180.0)


class Regridder:
    """Weights from one node-centred source grid to the cells of a target grid, made once.

    Attributes:
        wet_area: (nz, ny, nx) wet source area inside each target cell, in units of the squared
            radius; (1, ny, nx) without a mask.
        wet_fraction: The same as a fraction of the target cell's area, 0...1.
    """

    def __init__(
        self, source_lat: Array, source_lon: Array, grid: Grid, source_wet: Mask | None = None
    ) -> None:
        """Build the weights.

        Args:
            source_lat: (ny_s,) ascending nodes, degrees north.
            source_lon: (nx_s,) ascending nodes in [-180, 180), degrees east.
            grid: Target grid.
            source_wet: (nz, ny_s, nx_s) True where the source has values; None: everywhere.
        """
        self._weights_y = latitude_weights(source_lat, grid.lat_bounds)
        self._weights_x = longitude_weights(source_lon, grid.lon_bounds)
        if source_wet is None:
            source_wet = np.ones((1, len(source_lat), len(source_lon)), bool)
        self._source_wet = source_wet
        self.wet_area = self.integrate(source_wet.astype(np.float64))
        height = np.diff(np.sin(np.radians(grid.lat_bounds)))
        width = np.diff(np.radians(grid.lon_bounds))
        self.wet_fraction = np.minimum(self.wet_area / (height[:, None] * width), 1.0)
        self._divisor = np.where(self.wet_area > 0, self.wet_area, np.nan)

    def integrate(self, field: Array) -> NDArray[np.float64]:
        """Integrate a field over the target cells.

        Args:
            field: (..., ny_s, nx_s), finite.

        Returns:
            (..., ny, nx) in units of the field times the squared radius.
        """
        levels = field.reshape(-1, *field.shape[-2:])
        ny, nx = self._weights_y.shape[0], self._weights_x.shape[0]
        result = np.empty((len(levels), ny, nx))
        # Level by level, so that what is between the two products stays in the cache.
        for k, level in enumerate(levels):
            result[k] = (self._weights_x @ (self._weights_y @ level).T).T
        return result.reshape(*field.shape[:-2], ny, nx)

    def __call__(self, field: Array) -> NDArray[np.float64]:
        """Average a field over the wet part of each target cell.

        Args:
            field: (nz, ny_s, nx_s) on the levels of the mask, or fewer levels from the top; finite
                where the source is wet. Values on land are ignored.

        Returns:
            (nz, ny, nx); NaN where a target cell holds no wet source area.
        """
        wet = self._source_wet[: len(field)]
        return self.integrate(np.where(wet, field, 0)) / self._divisor[: len(field)]
