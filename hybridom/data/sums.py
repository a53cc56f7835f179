"""Compiled loops over the cells of a block; one thread each, without Python's global lock.

Values are float32 and sums float64. Where several fields are combined the loops go tile by tile,
so that a tile stays in the cache while all fields are added to it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

TILE = 2048  # cells; a tile of sums is 16 kB


@njit(nogil=True, cache=True)
def add(values, weight, total):
    """Add `weight` times the values (cells,) to `total` (cells,)."""
    for i in range(values.size):
        total[i] += weight * values[i]


@njit(nogil=True, cache=True)
def project(basis, sums, moment):
    """Add `basis^T sums` to `moment`.

    Args:
        basis: (days, functions).
        sums: (days, cells) float64.
        moment: (functions, cells) float64, changed.
    """
    for start in range(0, sums.shape[1], TILE):
        stop = min(start + TILE, sums.shape[1])
        for k in range(basis.shape[1]):
            total = moment[k, start:stop]
            for n in range(basis.shape[0]):
                part, factor = sums[n, start:stop], basis[n, k]
                for i in range(total.size):
                    total[i] += factor * part[i]


@njit(nogil=True, cache=True)
def combine(matrix, fields, out):
    """Set `out` to `matrix fields`, summed in float64.

    Args:
        matrix: (m, k).
        fields: (k, cells).
        out: (m, cells) float32, changed.
    """
    buffer = np.empty(TILE)
    for start in range(0, fields.shape[1], TILE):
        stop = min(start + TILE, fields.shape[1])
        total = buffer[: stop - start]
        for m in range(matrix.shape[0]):
            total[:] = 0.0
            for k in range(matrix.shape[1]):
                part, factor = fields[k, start:stop], matrix[m, k]
                for i in range(total.size):
                    total[i] += factor * part[i]
            for i in range(total.size):
                out[m, start + i] = total[i]


@njit(nogil=True, cache=True)
def add_whole(values, scale, sign, total):
    """Add `sign` (1 or -1) times the whole number nearest to `scale * values` to `total`.

    Whole numbers below 2^53 are exact in float64: what is added and taken away again leaves no
    trace, and a sum does not depend on the order in which it was made.
    """
    for i in range(values.size):
        total[i] += sign * np.rint(scale * values[i])


@njit(nogil=True, cache=True)
def covered(total, factor, cover, out):
    """Set `out` (cells,) float32 to `factor * total`, NaN where `cover` is 0."""
    for i in range(total.size):
        out[i] = factor * total[i] if cover[i] else np.nan


# Sums over a row may be reordered, otherwise they could not be vectorised.
@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
def add_moments(values, before, normal, cover, band, width, shift, sums):
    """Add area-weighted sums of one day, level by level.

    Args:
        values: (n, ny, nx) float32.
        before: (n, ny, nx) the day before; `values` itself where there is none.
        normal: (n, ny, nx) climatology.
        cover: (n, ny, nx) 1 in cells that count.
        band: (ny,) factor of the cell areas.
        width: (nx,) the other factor.
        shift: (n,) a value near the mean.
        sums: (n, 4) of values - shift, its square, and the squares of values - normal and
            values - before; changed.
    """
    for k in range(values.shape[0]):
        for j in range(values.shape[1]):
            x, b, c, wet = values[k, j], before[k, j], normal[k, j], cover[k, j]
            first, second, anomaly, change = 0.0, 0.0, 0.0, 0.0
            for i in range(x.size):
                weight = width[i] * wet[i]
                value = np.float64(x[i])
                d, a, t = value - shift[k], value - c[i], value - b[i]
                first += weight * d
                second += weight * d * d
                anomaly += weight * a * a
                change += weight * t * t
            sums[k, 0] += band[j] * first
            sums[k, 1] += band[j] * second
            sums[k, 2] += band[j] * anomaly
            sums[k, 3] += band[j] * change
