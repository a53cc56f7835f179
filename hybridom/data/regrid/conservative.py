"""First-order conservative regridding between latitude-longitude grids with wet-area weights.

The source is node-centred: its values are points whose cells reach half-way to the next point, and
a row at a pole is half a cell. With `Wy` the overlaps of rows in sin(latitude) and `Wx` those of
columns in longitude, a field F is integrated over the target cells as

    I(F) = Wy F Wx^T                                      (Jones 1999, doi 10.1175/
    target = I(wet * F) / I(wet)                           1520-0493(1999)127<2204:FASOCR>2.0.CO;2)

which leaves constants constant and conserves the integral over the wet source area as long as the
wet area of every target cell, `I(wet)`, is kept with the result. This is the exact form, in
float64; `hybridom.data.regrid.fused` is the fast one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hybridom.data.regrid.separable import FULL_CIRCLE, Float64, Weights, unwrap
from hybridom.grid import Grid

Array = NDArray[np.floating]
Mask = NDArray[np.bool_]

ROUND_OFF = 1e-6  # of a cell: coordinates of products are stored as float32


def node_edges(nodes: Array) -> Float64:
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
        (n, m) sparse matrix, without overlaps shorter than round-off of the coordinates.
    """
    # All edges together cut the line into pieces, each in one source and one target interval.
    edges = np.union1d(source_edges, target_edges)
    length, middle = np.diff(edges), 0.5 * (edges[1:] + edges[:-1])
    column = np.searchsorted(source_edges, middle) - 1
    row = np.searchsorted(target_edges, middle) - 1
    shape = len(target_edges) - 1, len(source_edges) - 1
    smallest = ROUND_OFF * min(np.diff(source_edges).min(), np.diff(target_edges).min())
    kept = (length > smallest) & (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
    return sparse.csr_matrix((length[kept], (row[kept], column[kept])), shape=shape)


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
        source_lon: (m,) ascending nodes in [-180, 180), degrees east; a circle or part of one,
            which may lie across the date line.
        target_bounds: (n + 1,) ascending bounds, degrees east; they may cross the date line.

    Returns:
        (n, m) sparse matrix in radians.
    """
    nodes, start, _ = unwrap(source_lon)
    edges, bounds = node_edges(nodes), np.asarray(target_bounds, np.float64)
    first = int(np.floor((bounds[0] - edges[-1]) / FULL_CIRCLE))
    last = int(np.ceil((bounds[-1] - edges[0]) / FULL_CIRCLE))
    weights = sum(
        overlap_weights(edges + turn * FULL_CIRCLE, bounds) for turn in range(first, last + 1)
    )
    columns = (np.arange(nodes.size) - start) % nodes.size  # back to the order of the source
    return sparse.csr_matrix(weights[:, columns] * np.pi / 180.0)


def conservative_weights(source_lat: Array, source_lon: Array, grid: Grid) -> Weights:
    """Areas, in units of the squared radius, that source cells share with target cells.

    Args:
        source_lat: (ny_s,) ascending nodes, degrees north.
        source_lon: (nx_s,) ascending nodes in [-180, 180), degrees east.
        grid: Target grid.
    """
    return Weights(
        latitude_weights(source_lat, grid.lat_bounds),
        longitude_weights(source_lon, grid.lon_bounds),
    )


class Regridder:
    """Weights from one node-centred source grid to the cells of a target grid, made once.

    Attributes:
        weights: The factors of the shared areas.
        wet_area: (nz, ny, nx) wet source area inside each target cell, in units of the squared
            radius; (1, ny, nx) without a mask.
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
        self.weights = conservative_weights(source_lat, source_lon, grid)
        if source_wet is None:
            source_wet = np.ones((1, len(source_lat), len(source_lon)), bool)
        self._source_wet = source_wet
        self.wet_area = self.weights.apply(source_wet)
        self._cell_area = cell_areas(grid)

    @property
    def wet_fraction(self) -> Float64:
        """(nz, ny, nx) wet part of each target cell's area, 0...1."""
        fraction = self.wet_area / self._cell_area
        return np.minimum(fraction, 1.0, out=fraction)

    def __call__(self, field: Array) -> Float64:
        """Average a field over the wet part of each target cell.

        Args:
            field: (nz, ny_s, nx_s) on the levels of the mask, or fewer levels from the top; finite
                where the source is wet. Values on land are ignored.

        Returns:
            (nz, ny, nx); NaN where a target cell holds no wet source area.
        """
        result = np.empty((len(field), *self.wet_area.shape[1:]))
        for k, values in enumerate(field):
            area = self.wet_area[k]
            divisor = np.where(area > 0, area, np.nan)
            result[k] = self.weights.apply(np.where(self._source_wet[k], values, 0)) / divisor
        return result


def cell_areas(grid: Grid) -> Float64:
    """Areas (ny, nx) of the cells of a grid in units of the squared radius."""
    height = np.diff(np.sin(np.radians(grid.lat_bounds)))
    return height[:, None] * np.radians(np.diff(grid.lon_bounds))
