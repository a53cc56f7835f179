"""The kernels of the adjoint of a day on a GPU: three for every stage, in reverse.

l is the adjoint of the fields and m that of their tendencies, see `gpu_stages.ReverseStage`. Every
derivative is gathered by one program: no atomics, and the same bits in every run. The derivative
with respect to the transport through a face belongs to the cell west, south or below of it.
`gpu_reverse` counts the bytes.
"""

# The arguments of kernels have no types that mypy knows.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton
import triton.language as tl

from hybridom.physics.fused.gpu_density import density_slopes
from hybridom.physics.fused.gpu_forward import GRAVITY, RHO_0
from hybridom.physics.fused.gpu_limited import (
    differences,
    limited_adjoint,
    neighbours_but_one,
    transports_but_one,
    vertical_shares,
)
from hybridom.physics.fused.gpu_stencil import (
    AREA_INVERSE,
    BELOW_LEVEL,
    BETA,
    DEPTH,
    DX_INVERSE,
    DY_NORTH_INVERSE,
    DY_SOUTH_INVERSE,
    DZ,
    DZ_INVERSE,
    EAST,
    GEOSTROPHIC,
    LENGTH_NORTH,
    LENGTH_SOUTH,
    LENGTH_U,
    NORTH,
    WET,
    faces_of_window,
    first_faces,
    geostrophic_transports,
    has,
    inflow_adjoint,
    mixing_rates,
    neighbours,
    of_level,
    of_row,
    place,
    read,
    read_around,
    transport_adjoint,
    transports,
    wrapped_steps,
    write,
)


@triton.jit
def read_sum(later, at, mask, FIRST: tl.constexpr, SECOND: tl.constexpr, THIRD: tl.constexpr):
    """Weighted sum of three arrays at `at`, zero outside `mask`."""
    total = FIRST * read(later[0], at, mask)
    if SECOND != 0:
        total += SECOND * read(later[1], at, mask)
    if THIRD != 0:
        total += THIRD * read(later[2], at, mask)
    return total


@triton.jit
def read_m(later, at, mask, TENDENCY: tl.constexpr, FORMER: tl.constexpr):
    """Adjoint m of the tendency at `at`, zero outside `mask`."""
    return read_sum(later, at, mask, TENDENCY, FORMER, 0.0)


@triton.jit
def read_m_around(later, at, around, is_open, TENDENCY: tl.constexpr, FORMER: tl.constexpr):
    """Adjoints m of the tendencies of the six neighbours."""
    return (
        read_m(later, at + around[0], is_open[0], TENDENCY, FORMER),
        read_m(later, at + around[1], is_open[1], TENDENCY, FORMER),
        read_m(later, at + around[2], is_open[2], TENDENCY, FORMER),
        read_m(later, at + around[3], is_open[3], TENDENCY, FORMER),
        read_m(later, at + around[4], is_open[4], TENDENCY, FORMER),
        read_m(later, at + around[5], is_open[5], TENDENCY, FORMER),
    )


@triton.jit
def add_to(total, value, at, mask):
    """Add to the array `total`."""
    tl.store(total + at, read(total, at, mask) + value, mask=mask)


@triton.jit
def velocity_adjoint(zeta, q, q_around, x, rows, at, wet, around, is_open, j, ny):
    """Adjoint of the geostrophic velocity at centres, as far as it carries vorticity.

    Args:
        q, q_around: m of a cell and of its four lateral neighbours, divided by their areas.
        x: Transports of the geostrophic flow through the four lateral faces.
    """
    c, near = read(zeta, at, wet), read_around(zeta, at, around, is_open)
    west = transport_adjoint(near[0], c, q_around[0], q, x[0])
    east = transport_adjoint(c, near[1], q, q_around[1], x[1])
    south = transport_adjoint(near[2], c, q_around[2], q, x[2]) * of_row(rows, LENGTH_SOUTH, j, ny)
    north = transport_adjoint(c, near[3], q, q_around[3], x[3]) * of_row(rows, LENGTH_NORTH, j, ny)
    u = tl.where(is_open[0], west, 0.0) + tl.where(is_open[1], east, 0.0)
    v = tl.where(is_open[2], south, 0.0) + tl.where(is_open[3], north, 0.0)
    return 0.5 * of_row(rows, LENGTH_U, j, ny) * u, 0.5 * v


@triton.jit
def vorticity_adjoint_kernel(
    zeta, pressure, later, result, slopes, total, flags, rows, levels, nz, ny, nx,
    FIRST: tl.constexpr, SECOND: tl.constexpr, THIRD: tl.constexpr, TENDENCY: tl.constexpr,
    FORMER: tl.constexpr, VISCOSITY: tl.constexpr, ADVECTION: tl.constexpr,
    PLANETARY: tl.constexpr, STRETCHING: tl.constexpr, LAST: tl.constexpr, ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):  # fmt: skip
    """l of vorticity, the sum of its m over the stages, and the adjoints of pressure's slopes.

    The slopes are those towards east and north at centres, each a mean over two faces; what is
    written belongs to one face. The sum is kept at all levels if vortex stretching wants it, else
    in the top level.
    """
    window, k, j, i = place(nz, ny, nx, ROWS, COLUMNS)
    shift = window * (nz * ny * nx)
    at, wet, around, is_open = neighbours(flags, k, j, i, ny, nx)
    later = (later[0] + shift, later[1] + shift, later[2] + shift)
    m = read_m(later, at, wet, TENDENCY, FORMER)
    found = read_sum(later, at, wet, FIRST, SECOND, THIRD)
    v = tl.full(m.shape, 0.0, m.dtype)
    if PLANETARY:
        v -= of_row(rows, BETA, j, ny) * m
    if ADVECTION or VISCOSITY != 0:
        mixing = mixing_rates(rows, levels, is_open, k, j, nz, ny, VISCOSITY, 0.0)
        m_w, m_e, m_s, m_n, _, _ = read_m_around(later, at, around, is_open, TENDENCY, FORMER)
        per_area = of_row(rows, AREA_INVERSE, j, ny)
        q, q_w, q_e = m * per_area, m_w * per_area, m_e * per_area
        q_s = m_s * of_row(rows, AREA_INVERSE, j - 1, ny)
        q_n = m_n * of_row(rows, AREA_INVERSE, j + 1, ny)
        if ADVECTION:
            x_w, x_e, y_s, y_n, _ = geostrophic_transports(
                pressure + shift, flags, rows, at, wet, around, is_open, j, ny, nx
            )
            found += inflow_adjoint(q_w, q, q_e, x_w, x_e, mixing[0], mixing[1])
            found += inflow_adjoint(q_s, q, q_n, y_s, y_n, mixing[2], mixing[3])
            u, v_carrying = velocity_adjoint(
                zeta + shift, q, (q_w, q_e, q_s, q_n), (x_w, x_e, y_s, y_n), rows, at, wet, around,
                is_open, j, ny,
            )  # fmt: skip
            v += v_carrying
            slope = -of_row(rows, GEOSTROPHIC, j, ny) * u
            slope = tl.where(is_open[2] & is_open[3], 0.5 * slope, slope)
            tl.store(slopes[1] + shift + at, slope, mask=wet)
        else:
            found += mixing[0] * (q_w - q) + mixing[1] * (q_e - q)
            found += mixing[2] * (q_s - q) + mixing[3] * (q_n - q)
    if ADVECTION or PLANETARY:
        slope = of_row(rows, GEOSTROPHIC, j, ny) * v
        slope = tl.where(is_open[0] & is_open[1], 0.5 * slope, slope)
        tl.store(slopes[0] + shift + at, slope, mask=wet)
    write(result + shift, found, at, (j < ny) & (i < nx), wet, LAST)
    if STRETCHING:
        add_to(total + shift, m, at, wet)
    else:
        add_to(total + window * (ny * nx), m, at, wet & (k == 0))


@triton.jit
def pressure_adjoint_kernel(
    slopes, density, zos, flags, rows, levels, nz, ny, nx, ADVECTION: tl.constexpr,
    CELLS: tl.constexpr,
):  # fmt: skip
    """Adjoints of density and, summed over the stages, of the sea-surface height.

    Each program takes CELLS columns of a window up through the levels.
    """
    cell = tl.program_id(0) * CELLS + tl.arange(0, CELLS)
    window = tl.program_id(1).to(tl.int64)
    plane = ny * nx
    j = cell // nx
    west, east = wrapped_steps(cell % nx, nx)
    shift = window * (nz * plane)
    slope_x, slope_y, density = slopes[0] + shift, slopes[1] + shift, density + shift
    per_x = of_row(rows, DX_INVERSE, j, ny)
    per_s, per_n = of_row(rows, DY_SOUTH_INVERSE, j, ny), of_row(rows, DY_NORTH_INVERSE, j, ny)
    total = tl.full((CELLS,), 0.0, density.dtype.element_ty)
    at = cell + nz * plane
    for step in range(nz):
        at -= plane
        own = tl.load(flags + at, mask=cell < plane, other=0)
        wet, e, n = (own & WET) != 0, (own & EAST) != 0, (own & NORTH) != 0
        w, s = has(flags, at + west, wet, EAST), has(flags, at - nx, wet & (j > 0), NORTH)
        x = read(slope_x, at, wet)
        p = tl.where(w, x + read(slope_x, at + west, w), 0.0) * per_x
        p -= tl.where(e, x + read(slope_x, at + east, e), 0.0) * per_x
        if ADVECTION:
            y = read(slope_y, at, wet)
            p += tl.where(s, y + read(slope_y, at - nx, s), 0.0) * per_s
            p -= tl.where(n, y + read(slope_y, at + nx, n), 0.0) * per_n
        total += p
        k = nz - 1 - step
        thickness = tl.load(levels + DZ * nz + k)
        below_level = tl.load(levels + BELOW_LEVEL * nz + k)
        tl.store(density + at, (thickness * total - below_level * p) * GRAVITY, mask=wet)
    add_to(zos + window * plane, total * (GRAVITY * RHO_0), cell, cell < plane)


@triton.jit
def limited_tracer_adjoint(
    field, later, c, near, q_l, q_v, q, flags, rows, levels, at, around, is_open, x, x_2, k, j, i,
    nz, ny, nx, TENDENCY: tl.constexpr, FORMER: tl.constexpr,
):  # fmt: skip
    """What `tvd` adds to the results of `tracer_adjoint`; `q` and `near` are of the neighbours."""
    around_2, open_2 = neighbours_but_one(flags, at, around, is_open, k, j, i, nx)
    far = read_around(field, at, around_2, open_2)
    m = read_m_around(later, at, around_2, open_2, TENDENCY, FORMER)
    per_area = of_row(rows, AREA_INVERSE, j, ny)
    q_ss = m[2] * of_row(rows, AREA_INVERSE, j - 2, ny)
    q_nn = m[3] * of_row(rows, AREA_INVERSE, j + 2, ny)
    q_bb = m[4] * of_level(levels, DZ_INVERSE, k + 2, nz)
    q_aa = m[5] * of_level(levels, DZ_INVERSE, k - 2, nz)
    zonal, east = limited_adjoint(
        differences(c, near, far, is_open, open_2, 0),
        (m[0] * per_area, q[0], q_l, q[1], m[1] * per_area),
        (x_2[0], x[0], x[1], x_2[1]),
        (1.0, 1.0, 1.0),
    )
    meridional, north = limited_adjoint(
        differences(c, near, far, is_open, open_2, 2),
        (q_ss, q[2], q_l, q[3], q_nn),
        (x_2[2], x[2], x[3], x_2[3]),
        (1.0, 1.0, 1.0),
    )
    vertical, up = limited_adjoint(
        differences(c, near, far, is_open, open_2, 4),
        (q_bb, q[4], q_v, q[5], q_aa),
        (x_2[4], x[4], x[5], x_2[5]),
        vertical_shares(levels, k, nz),
    )
    return zonal + meridional + vertical, east, north, up


@triton.jit
def tracer_adjoint(
    field, later, flags, rows, levels, at, wet, around, is_open, x, x_2, mixing, k, j, i, nz, ny,
    nx, FIRST: tl.constexpr, SECOND: tl.constexpr, THIRD: tl.constexpr, TENDENCY: tl.constexpr,
    FORMER: tl.constexpr, TVD: tl.constexpr,
):  # fmt: skip
    """l of a tracer, without the part of pressure, and the adjoints of three transports.

    Returns:
        The tracer, l, and those of the transports through the eastern, northern and upper face.
    """
    c, near = read(field, at, wet), read_around(field, at, around, is_open)
    m = read_m(later, at, wet, TENDENCY, FORMER)
    m_around = read_m_around(later, at, around, is_open, TENDENCY, FORMER)
    per_area = of_row(rows, AREA_INVERSE, j, ny)
    q_l, q_v = m * per_area, m * of_level(levels, DZ_INVERSE, k, nz)
    q = (
        m_around[0] * per_area,
        m_around[1] * per_area,
        m_around[2] * of_row(rows, AREA_INVERSE, j - 1, ny),
        m_around[3] * of_row(rows, AREA_INVERSE, j + 1, ny),
        m_around[4] * of_level(levels, DZ_INVERSE, k + 1, nz),
        m_around[5] * of_level(levels, DZ_INVERSE, k - 1, nz),
    )
    found = read_sum(later, at, wet, FIRST, SECOND, THIRD)
    found += inflow_adjoint(q[0], q_l, q[1], x[0], x[1], mixing[0], mixing[1])
    found += inflow_adjoint(q[2], q_l, q[3], x[2], x[3], mixing[2], mixing[3])
    found += inflow_adjoint(q[4], q_v, q[5], x[4], x[5], mixing[4], mixing[5])
    east = transport_adjoint(c, near[1], q_l, q[1], x[1])
    north = transport_adjoint(c, near[3], q_l, q[3], x[3])
    up = transport_adjoint(c, near[5], q_v, q[5], x[5])
    if TVD:
        more, more_east, more_north, more_up = limited_tracer_adjoint(
            field, later, c, near, q_l, q_v, q, flags, rows, levels, at, around, is_open, x, x_2,
            k, j, i, nz, ny, nx, TENDENCY, FORMER,
        )  # fmt: skip
        found += more
        east += more_east
        north += more_north
        up += more_up
    return c, found, east, north, up


@triton.jit
def tracer_adjoint_kernel(
    fields, density, later_t, later_s, result, flow, flow_sums, flags, rows, levels, nz, ny, nx,
    FIRST: tl.constexpr, SECOND: tl.constexpr, THIRD: tl.constexpr, TENDENCY: tl.constexpr,
    FORMER: tl.constexpr, LATERAL: tl.constexpr, VERTICAL: tl.constexpr, TVD: tl.constexpr,
    PRESSURE: tl.constexpr, LAST: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """l of temperature and salinity, and the derivatives of the flow, added to `flow_sums`."""
    window, k, j, i = place(nz, ny, nx, ROWS, COLUMNS)
    shift = window * (nz * ny * nx)
    at, wet, around, is_open = neighbours(flags, k, j, i, ny, nx)
    flow = faces_of_window(flow, window, nz, ny, nx)
    x = transports(flow, rows, is_open, k, j, i, ny, nx)
    x_2 = x
    if TVD:
        _, open_2 = neighbours_but_one(flags, at, around, is_open, k, j, i, nx)
        x_2 = transports_but_one(flow, rows, around, open_2, k, j, i, ny, nx)
    mixing = mixing_rates(rows, levels, is_open, k, j, nz, ny, LATERAL, VERTICAL)
    later_t = (later_t[0] + shift, later_t[1] + shift, later_t[2] + shift)
    t, found_t, east, north, up = tracer_adjoint(
        fields[0] + shift, later_t, flags, rows, levels, at, wet, around, is_open, x, x_2, mixing,
        k, j, i, nz, ny, nx, FIRST, SECOND, THIRD, TENDENCY, FORMER, TVD,
    )  # fmt: skip
    later_s = (later_s[0] + shift, later_s[1] + shift, later_s[2] + shift)
    s, found_s, east_s, north_s, up_s = tracer_adjoint(
        fields[1] + shift, later_s, flags, rows, levels, at, wet, around, is_open, x, x_2, mixing,
        k, j, i, nz, ny, nx, FIRST, SECOND, THIRD, TENDENCY, FORMER, TVD,
    )  # fmt: skip
    if PRESSURE:
        of_t, of_s = density_slopes(t, s, of_level(levels, DEPTH, k, nz))
        rho = read(density + shift, at, wet)
        found_t += rho * of_t
        found_s += rho * of_s
    inside = (j < ny) & (i < nx)
    write(result[0] + shift, found_t, at, inside, wet, LAST)
    write(result[1] + shift, found_s, at, inside, wet, LAST)
    sums = faces_of_window(flow_sums, window, nz, ny, nx)
    at_u, at_v, at_w = first_faces(k, j, i, ny, nx)
    add_to(sums[0], (east + east_s) * of_row(rows, LENGTH_U, j, ny), at_u + 1, is_open[1])
    add_to(sums[1], (north + north_s) * of_row(rows, LENGTH_NORTH, j, ny), at_v + nx, is_open[3])
    add_to(sums[2], up + up_s, at_w, is_open[5])
