"""Whole rows of cells with margins, for kernels that take one stage in one pass.

A row is an array (nz, nx + 2 `MARGIN`). Its margins hold the columns on the other side of the grid:
across the seam of a periodic grid, and behind closed faces on any other. A row beyond the first or
the last one is stood in for by any other: the faces between are closed.

Indices of columns are unsigned, because numba handles negative ones in ways that cannot be
vectorised, and numbers have the type of the fields, because it takes literals for float64. A value
that a mask may replace is computed first: a branch around it could not be vectorised either.
"""

from __future__ import annotations

import numpy as np

from hybridom.physics.fused import tables
from hybridom.physics.fused.compiler import bare, kernel
from hybridom.physics.fused.cpu_load import GAP, VECTOR

MARGIN = 2  # as far as the derivatives of a cell reach

# bits beside those of `tables`: open western and southern faces; both zonal (meridional) ones
WEST, SOUTH, BOTH_X, BOTH_Y = 16, 32, 64, 128


# entries of rings of rows, see `cpu_adjoint_types.Rings`
T, S, ZETA, M_T, M_S, M_ZETA = range(6)
Q_T, Q_S, Q_ZETA, SLOPE_Y, SLOPE_V, PUSH = range(6)


@kernel
def spans_of_rows(flags, whole):
    """Columns of each row that matter: not those where it and the row in the north are all land.

    Where a span begins in the ocean, its first column is in the west of it: the one beside it
    stands for the closed face between them.

    Args:
        flags: `tables.Tables.flags` (nz, ny, nx).
        whole: Whether all columns matter.

    Returns:
        First column and the one beyond the last (ny, spans, 2), uint64, with `MARGIN` columns
        before that of the grid's first cell; both are zero where a row has fewer spans.
    """
    nz, ny, nx = flags.shape
    blocks = (nx + VECTOR - 1) // VECTOR
    spans = np.zeros((ny, blocks // (GAP // VECTOR + 2) + 1, 2), np.uint64)
    for j in range(ny):
        wet, north = np.zeros(nx, np.uint8), min(j + 1, ny - 1)
        for k in range(nz):
            for i in range(nx):
                wet[i] |= (flags[k, j, i] | flags[k, north, i]) & np.uint8(tables.WET)
        count, end = 0, 0
        for begin in range(0, nx, VECTOR):
            beyond = min(begin + VECTOR, nx)
            if whole or wet[begin:beyond].any() or wet[beyond % nx]:
                if count == 0 or begin > end + GAP:
                    spans[j, count, 0] = begin + MARGIN
                    count += 1
                end = beyond
                spans[j, count - 1, 1] = end + MARGIN
    return spans


@bare
def wrap(row):
    """Fill the margins of one level of a row (n,)."""
    n = row.size
    for i in range(MARGIN):
        row[MARGIN - 1 - i] = row[n - MARGIN - 1 - i]
        row[n - MARGIN + i] = row[MARGIN + i]


@bare
def more_bits(flags, west, south):
    """Flags of a cell with the bits above, from those of its neighbours in the west and south."""
    east, north, none = np.uint8(tables.EAST), np.uint8(tables.NORTH), np.uint8(0)
    bits = flags | (np.uint8(WEST) if west & east else none)
    bits |= np.uint8(SOUTH) if south & north else none
    bits |= np.uint8(BOTH_X) if flags & west & east else none
    return bits | (np.uint8(BOTH_Y) if flags & south & north else none)


@bare
def load_bits(flags, j, row):
    """Row `j` of `tables.Tables.flags` (nz, ny, nx), with the bits above."""
    o, lo, last = np.uint64(1), np.uint64(MARGIN), flags.shape[2] - 1
    below = max(j - 1, 0)
    on = np.uint8(tables.NORTH if j > 0 else 0)
    for k in range(row.shape[0]):
        # the eastern face of the last column is the seam, or closed
        row[k, lo] = more_bits(flags[k, j, 0], flags[k, j, last], flags[k, below, 0] & on)
        for i in range(o, np.uint64(flags.shape[2])):
            south = flags[k, below, i] & on
            row[k, lo + i] = more_bits(flags[k, j, i], flags[k, j, i - o], south)
        wrap(row[k])


@bare
def load(field, j, spans, bits, row):
    """Row `j` of a field (nz, ny, nx); zero on land, whatever the field holds there.

    Args:
        spans: Of this row, see `spans_of_rows`; what is beside them stays as it is.
        bits: Row of bits.
        row: Result.
    """
    zero, lo = row.dtype.type(0), np.uint64(MARGIN)
    for k in range(row.shape[0]):
        for n in range(spans.shape[0]):
            for i in range(spans[n, 0], spans[n, 1]):
                value = field[k, j, i - lo]
                row[k, i] = value if bits[k, i] & np.uint8(tables.WET) else zero
        wrap(row[k])


@bare
def load_sum(first, j, a, second, j_second, b, spans, bits, row):
    """Row `j` of a field times `a` plus row `j_second` of another times `b`, as `load`."""
    zero, lo = row.dtype.type(0), np.uint64(MARGIN)
    for k in range(row.shape[0]):
        for n in range(spans.shape[0]):
            for i in range(spans[n, 0], spans[n, 1]):
                value = a * first[k, j, i - lo] + b * second[k, j_second, i - lo]
                row[k, i] = value if bits[k, i] & np.uint8(tables.WET) else zero
        wrap(row[k])
