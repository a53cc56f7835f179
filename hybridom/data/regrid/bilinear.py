"""Bilinear interpolation from nodes to the cell centres of a grid: atmosphere, and coarse to fine.

For sources about as coarse as the target or coarser. It is linear in latitude and in longitude, in
degrees, and does not conserve integrals.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from hybridom.data.regrid.conservative import ROUND_OFF
from hybridom.data.regrid.separable import FULL_CIRCLE, Float64, Weights, unwrap
from hybridom.errors import UserError
from hybridom.grid import Grid

POLE = 90.0


def two_point_weights(nodes: ArrayLike, points: ArrayLike) -> sparse.csr_matrix:
    """Linear interpolation from nodes to points between them.

    Args:
        nodes: (m,) ascending, at least two.
        points: (n,) within the nodes.

    Returns:
        (n, m) sparse matrix of one or two weights a row; a point on a node has that node alone.
    """
    nodes, points = np.asarray(nodes, np.float64), np.asarray(points, np.float64)
    lower = np.clip(np.searchsorted(nodes, points, side="right") - 1, 0, nodes.size - 2)
    upper_part = (points - nodes[lower]) / (nodes[lower + 1] - nodes[lower])
    # Else a node that a point only touches would let its own missing value in.
    upper_part[upper_part < ROUND_OFF] = 0.0
    upper_part[upper_part > 1.0 - ROUND_OFF] = 1.0
    rows = np.arange(points.size)
    weights = sparse.csr_matrix(
        (
            np.concatenate([1.0 - upper_part, upper_part]),
            (np.concatenate([rows, rows]), np.concatenate([lower, lower + 1])),
        ),
        shape=(points.size, nodes.size),
    )
    weights.eliminate_zeros()
    return weights


def _latitude_weights(lat: Float64, centres: Float64) -> sparse.csr_matrix | None:
    """Weights of rows, or None where a centre lies outside the source."""
    step = np.diff(lat)
    south, north = lat[0], lat[-1]
    # The pole belongs to the last row where it is no further away than another row would be.
    reaches_south = south + POLE <= step[0] * (1.0 + ROUND_OFF)
    reaches_north = POLE - north <= step[-1] * (1.0 + ROUND_OFF)
    inside_south = reaches_south or centres.min() >= south - ROUND_OFF * step[0]
    inside_north = reaches_north or centres.max() <= north + ROUND_OFF * step[-1]
    if not (inside_south and inside_north):
        return None
    return two_point_weights(lat, np.clip(centres, south, north))


def _longitude_weights(lon: Float64, centres: Float64) -> sparse.csr_matrix | None:
    """Weights of columns, or None where a centre lies outside the source."""
    nodes, start, circle = unwrap(lon)
    if circle:
        nodes = np.append(nodes, nodes[0] + FULL_CIRCLE)
    slack = ROUND_OFF * (nodes[1] - nodes[0])
    turned = nodes[0] - slack + (centres - nodes[0] + slack) % FULL_CIRCLE
    if turned.max() > nodes[-1] + slack:
        return None
    weights = two_point_weights(nodes, np.clip(turned, nodes[0], nodes[-1])).tocsc()
    if circle:
        seam = sparse.csc_matrix(weights[:, -1])
        weights = weights[:, :-1] + sparse.hstack(
            [seam, sparse.csc_matrix((centres.size, lon.size - 1))]
        )
    columns = (np.arange(lon.size) - start) % lon.size  # back to the order of the source
    return sparse.csr_matrix(weights[:, columns])


class BilinearRegridder:
    """Weights from the nodes of one source to the cell centres of a grid, made once.

    Longitude is periodic where the source is a circle. A source whose last row is within one step
    of a pole reaches it: between the two, the last row's values hold. (A mean over the row at the
    pole itself would be meaningless for the components of a vector.) ERA5 has rows at both poles.
    """

    def __init__(self, source_lat: ArrayLike, source_lon: ArrayLike, grid: Grid) -> None:
        """Build the weights.

        Args:
            source_lat: (ny_s,) ascending nodes, degrees north, at least two.
            source_lon: (nx_s,) ascending nodes in [-180, 180), degrees east, at least two; a
                circle or part of one, which may lie across the date line.
            grid: Target grid.

        Raises:
            UserError: A cell centre of the grid lies outside the source.
        """
        lat, lon = np.asarray(source_lat, np.float64), np.asarray(source_lon, np.float64)
        y, x = _latitude_weights(lat, grid.lat), _longitude_weights(lon, grid.lon)
        if y is None or x is None:
            nodes = unwrap(lon)[0]
            raise UserError(
                f"the source spans {lat[0]:g} to {lat[-1]:g} N, {nodes[0]:g} to {nodes[-1]:g} E; "
                f"bilinear regridding expected the cell centres of the grid inside it, "
                f"{grid.lat[0]:g} to {grid.lat[-1]:g} N, {grid.lon[0]:g} to {grid.lon[-1]:g} E: "
                "fetch a larger box or shrink grid.lat, grid.lon"
            )
        self.weights = Weights(y, x)

    def __call__(self, field: NDArray, wet: NDArray[np.bool_] | None = None) -> Float64:
        """Interpolate a field.

        Args:
            field: (..., ny_s, nx_s); finite where it is used.
            wet: (..., ny_s, nx_s), broadcast against the field, True where its values count: a
                centre takes the mean of the wet ones of its four corners by their weights. None:
                all values count.

        Returns:
            (..., ny, nx); with `wet`, NaN where none of the four corners is wet.
        """
        if wet is None:
            return self.weights.apply(field)
        weight = self.weights.apply(wet)
        weight[weight == 0] = np.nan
        return self.weights.apply(np.where(wet, field, 0.0)) / weight
