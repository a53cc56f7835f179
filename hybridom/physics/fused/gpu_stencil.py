"""What the GPU kernels share: the place of a program, masks, and the transports through faces.

A program works on a tile of rows and columns of one level of one window. A line is a row of cells
in the positive direction of an axis (eastward, northward, upward), `before` the cell, itself and
`after` it; tuples of six are in the order west, east, south, north, below, above. Nothing is read
across a closed face, so that it does not matter what land holds, NaN included.

Coefficients are compile-time constants, because Triton hands numbers to kernels in single
precision; what belongs to a coefficient of zero is not compiled at all. In a product with a
constant that is passed on at once, the constant comes second: the interpreter would hand on the
constant first in it as something that is no tensor.
"""

# The arguments of kernels have no types that mypy knows.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton
import triton.language as tl

from hybridom.physics.fused import tables

WET, EAST = tl.constexpr(tables.WET), tl.constexpr(tables.EAST)
NORTH, BELOW = tl.constexpr(tables.NORTH), tl.constexpr(tables.BELOW)

AREA_INVERSE = tl.constexpr(tables.AREA_INVERSE)
LENGTH_U = tl.constexpr(tables.LENGTH_U)
LENGTH_SOUTH = tl.constexpr(tables.LENGTH_SOUTH)
LENGTH_NORTH = tl.constexpr(tables.LENGTH_NORTH)
DX_INVERSE = tl.constexpr(tables.DX_INVERSE)
DY_SOUTH_INVERSE = tl.constexpr(tables.DY_SOUTH_INVERSE)
DY_NORTH_INVERSE = tl.constexpr(tables.DY_NORTH_INVERSE)
GEOSTROPHIC = tl.constexpr(tables.GEOSTROPHIC)
CORIOLIS, BETA = tl.constexpr(tables.CORIOLIS), tl.constexpr(tables.BETA)

DZ, DZ_INVERSE = tl.constexpr(tables.DZ), tl.constexpr(tables.DZ_INVERSE)
DEPTH, BELOW_LEVEL = tl.constexpr(tables.DEPTH), tl.constexpr(tables.BELOW_LEVEL)
DZ_LOWER_INVERSE = tl.constexpr(tables.DZ_LOWER_INVERSE)
DZ_UPPER_INVERSE = tl.constexpr(tables.DZ_UPPER_INVERSE)


@triton.jit
def place(nz, ny, nx, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Window, level, rows (ROWS, 1) and columns (1, COLUMNS) of this program.

    Columns vary fastest, then levels, then rows: programs that run at one time share the rows that
    they read, at all levels, through the cache.
    """
    program = tl.program_id(0)
    across = (nx + COLUMNS - 1) // COLUMNS
    along = (ny + ROWS - 1) // ROWS
    i = (program % across) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    k = (program // across) % nz
    j = (program // (across * nz)) % along * ROWS + tl.arange(0, ROWS)[:, None]
    window = (program // (across * nz * along)).to(tl.int64)
    return window, k, j, i


@triton.jit
def read(field, at, mask):
    """Values at `at`, zero outside `mask`."""
    return tl.load(field + at, mask=mask, other=0.0)


@triton.jit
def write(result, value, at, inside, wet, LAST: tl.constexpr):
    """Store wet cells, and in the last stage zero on land."""
    if LAST:
        tl.store(result + at, tl.where(wet, value, 0.0), mask=inside)
    else:
        tl.store(result + at, value, mask=wet)


@triton.jit
def has(flags, at, mask, BIT: tl.constexpr):
    """Whether a bit is set in the cells `at`; false outside `mask`."""
    return (tl.load(flags + at, mask=mask, other=0) & BIT) != 0


@triton.jit
def of_row(rows, NAME: tl.constexpr, j, ny):
    """A metric of the rows `j`, zero beyond the grid."""
    return tl.load(rows + NAME * ny + j, mask=(j >= 0) & (j < ny), other=0.0)


@triton.jit
def of_level(levels, NAME: tl.constexpr, k, nz):
    """A metric of the level `k`, zero beyond the grid."""
    return tl.load(levels + NAME * nz + k, mask=(k >= 0) & (k < nz), other=0.0)


@triton.jit
def wrapped_steps(i, nx):
    """Distances in memory to the western and the eastern neighbour, across the seam of the grid.

    The faces on the seam of a grid that is not periodic are closed.
    """
    return tl.where(i == 0, nx - 1, -1), tl.where(i + 1 == nx, 1 - nx, 1)


@triton.jit
def neighbours(flags, k, j, i, ny, nx):
    """Where a cell is in memory, whether it is wet, where its neighbours are, and its open faces.

    Returns:
        Position from the start of a window, mask, six distances in memory, six masks.
    """
    plane = ny * nx
    at = (k * ny + j) * nx + i
    own = tl.load(flags + at, mask=(j < ny) & (i < nx), other=0)
    wet = (own & WET) != 0
    west, east = wrapped_steps(i, nx)
    around = (west, east, -nx, nx, plane, -plane)
    is_open = (
        has(flags, at + west, wet, EAST),
        (own & EAST) != 0,
        has(flags, at - nx, wet & (j > 0), NORTH),
        (own & NORTH) != 0,
        (own & BELOW) != 0,
        has(flags, at - plane, wet & (k > 0), BELOW),
    )
    return at, wet, around, is_open


@triton.jit
def read_around(field, at, around, is_open):
    """Values of the six neighbours, zero across closed faces."""
    return (
        read(field, at + around[0], is_open[0]),
        read(field, at + around[1], is_open[1]),
        read(field, at + around[2], is_open[2]),
        read(field, at + around[3], is_open[3]),
        read(field, at + around[4], is_open[4]),
        read(field, at + around[5], is_open[5]),
    )


@triton.jit
def faces_of_window(flow, window, nz, ny, nx):
    """`flow` (at u, v and w faces), from the start of a window on."""
    return (
        flow[0] + window * (nz * ny * (nx + 1)),
        flow[1] + window * (nz * (ny + 1) * nx),
        flow[2] + window * ((nz + 1) * ny * nx),
    )


@triton.jit
def first_faces(k, j, i, ny, nx):
    """Where the western, southern and upper face of a cell are in memory."""
    return (k * ny + j) * (nx + 1) + i, (k * (ny + 1) + j) * nx + i, (k * ny + j) * nx + i


@triton.jit
def transports(flow, rows, is_open, k, j, i, ny, nx):
    """Transports through the six faces: m2 s-1 laterally, m s-1 vertically; zero if closed."""
    at_u, at_v, at_w = first_faces(k, j, i, ny, nx)
    length = of_row(rows, LENGTH_U, j, ny)
    return (
        read(flow[0], at_u, is_open[0]) * length,
        read(flow[0], at_u + 1, is_open[1]) * length,
        read(flow[1], at_v, is_open[2]) * of_row(rows, LENGTH_SOUTH, j, ny),
        read(flow[1], at_v + nx, is_open[3]) * of_row(rows, LENGTH_NORTH, j, ny),
        read(flow[2], at_w + ny * nx, is_open[4]),
        read(flow[2], at_w, is_open[5]),
    )


@triton.jit
def mixing_rates(
    rows, levels, is_open, k, j, nz, ny, LATERAL: tl.constexpr, VERTICAL: tl.constexpr
):
    """Diffusive exchange through the six faces, in the units of `transports`."""
    zonal = LATERAL * of_row(rows, LENGTH_U, j, ny) * of_row(rows, DX_INVERSE, j, ny)
    south = LATERAL * of_row(rows, LENGTH_SOUTH, j, ny) * of_row(rows, DY_SOUTH_INVERSE, j, ny)
    north = LATERAL * of_row(rows, LENGTH_NORTH, j, ny) * of_row(rows, DY_NORTH_INVERSE, j, ny)
    return (
        tl.where(is_open[0], zonal, 0.0),
        tl.where(is_open[1], zonal, 0.0),
        tl.where(is_open[2], south, 0.0),
        tl.where(is_open[3], north, 0.0),
        tl.where(is_open[4], VERTICAL * of_level(levels, DZ_LOWER_INVERSE, k, nz), 0.0),
        tl.where(is_open[5], VERTICAL * of_level(levels, DZ_UPPER_INVERSE, k, nz), 0.0),
    )


@triton.jit
def inflow(c_before, c, c_after, x_before, x_after, mix_before, mix_after):
    """What the two faces of a line bring into a cell, over what leaves it with the value `c`.

    The transport closes every cell together with those of the other lines, so that upwind fluxes
    in flux form and this sum are the same.
    """
    from_after = tl.where(x_after > 0, 0.0, -x_after) + mix_after
    from_before = tl.where(x_before > 0, x_before, 0.0) + mix_before
    return from_after * (c_after - c) + from_before * (c_before - c)


@triton.jit
def inflow_adjoint(q_before, q, q_after, x_before, x_after, mix_before, mix_after):
    """Adjoint of `inflow` with respect to the field, in gather form.

    `q` are the adjoints of the cells' tendencies, divided by the area or thickness of the cell.
    """
    to_after = tl.where(x_after > 0, x_after, 0.0) + mix_after
    from_after = tl.where(x_after > 0, 0.0, -x_after) + mix_after
    to_before = tl.where(x_before > 0, 0.0, -x_before) + mix_before
    from_before = tl.where(x_before > 0, x_before, 0.0) + mix_before
    return to_after * q_after + to_before * q_before - (from_after + from_before) * q


@triton.jit
def transport_adjoint(c, c_after, q, q_after, x):
    """Adjoint of `inflow` to both cells of a face with respect to the transport through it."""
    return (c - c_after) * tl.where(x > 0, q_after, q)


@triton.jit
def mean_slope(p_before, p, p_after, per_before, per_after, open_before, open_after):
    """Mean over the open ones of the derivatives across the two faces of a line."""
    before = tl.where(open_before, (p - p_before) * per_before, 0.0)
    after = tl.where(open_after, (p_after - p) * per_after, 0.0)
    return tl.where(open_before & open_after, 0.5 * (before + after), before + after)


@triton.jit
def geostrophic_v(p, rows, at, wet, around, is_open, j, ny):
    """Northward geostrophic velocity at centres, m s-1, from the pressure at wet cells."""
    per_x = of_row(rows, DX_INVERSE, j, ny)
    p_west, p_east = read(p, at + around[0], is_open[0]), read(p, at + around[1], is_open[1])
    slope = mean_slope(p_west, read(p, at, wet), p_east, per_x, per_x, is_open[0], is_open[1])
    return of_row(rows, GEOSTROPHIC, j, ny) * slope


@triton.jit
def geostrophic_transports(p, flags, rows, at, wet, around, is_open, j, ny, nx):
    """Transports of the geostrophic flow through the lateral faces, m2 s-1, zero if closed.

    Names like `se_from_e` tell whether the face between the cells in the south-east and in the east
    is open. A corner of the block of nine cells is read where one of its two faces is.

    Returns:
        The four transports, and the northward velocity at the centre, m s-1.
    """
    west, east = around[0], around[1]
    w, e, s, n, _, _ = is_open
    bits_sw = tl.load(flags + at - nx + west, mask=s | (w & (j > 0)), other=0)
    sw_from_s, sw_from_w = s & ((bits_sw & EAST) != 0), w & ((bits_sw & NORTH) != 0)
    se_from_s, se_from_e = (
        has(flags, at - nx, s, EAST),
        has(flags, at - nx + east, e & (j > 0), NORTH),
    )
    nw_from_n, nw_from_w = has(flags, at + nx + west, n, EAST), has(flags, at + west, w, NORTH)
    ne_from_n, ne_from_e = has(flags, at + nx, n, EAST), has(flags, at + east, e, NORTH)
    p_0, p_w, p_e = read(p, at, wet), read(p, at + west, w), read(p, at + east, e)
    p_s, p_n = read(p, at - nx, s), read(p, at + nx, n)
    p_sw = read(p, at - nx + west, sw_from_s | sw_from_w)
    p_se = read(p, at - nx + east, se_from_s | se_from_e)
    p_nw = read(p, at + nx + west, nw_from_n | nw_from_w)
    p_ne = read(p, at + nx + east, ne_from_n | ne_from_e)

    f = of_row(rows, GEOSTROPHIC, j, ny)
    per_s, per_n = of_row(rows, DY_SOUTH_INVERSE, j, ny), of_row(rows, DY_NORTH_INVERSE, j, ny)
    u_0 = -f * mean_slope(p_s, p_0, p_n, per_s, per_n, s, n)
    u_w = -f * mean_slope(p_sw, p_w, p_nw, per_s, per_n, sw_from_w, nw_from_w)
    u_e = -f * mean_slope(p_se, p_e, p_ne, per_s, per_n, se_from_e, ne_from_e)
    v_0 = geostrophic_v(p, rows, at, wet, around, is_open, j, ny)
    per_s, per_n = of_row(rows, DX_INVERSE, j - 1, ny), of_row(rows, DX_INVERSE, j + 1, ny)
    v_s = mean_slope(p_sw, p_s, p_se, per_s, per_s, sw_from_s, se_from_s)
    v_n = mean_slope(p_nw, p_n, p_ne, per_n, per_n, nw_from_n, ne_from_n)
    v_s *= of_row(rows, GEOSTROPHIC, j - 1, ny)
    v_n *= of_row(rows, GEOSTROPHIC, j + 1, ny)
    length = of_row(rows, LENGTH_U, j, ny)
    x_w, x_e = 0.5 * (u_0 + u_w) * length, 0.5 * (u_0 + u_e) * length
    y_s = 0.5 * (v_0 + v_s) * of_row(rows, LENGTH_SOUTH, j, ny)
    y_n = 0.5 * (v_0 + v_n) * of_row(rows, LENGTH_NORTH, j, ny)
    return (
        tl.where(w, x_w, 0.0),
        tl.where(e, x_e, 0.0),
        tl.where(s, y_s, 0.0),
        tl.where(n, y_n, 0.0),
        v_0,
    )
