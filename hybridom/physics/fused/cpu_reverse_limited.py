"""Derivatives of what `advection: tvd` adds to the upwind fluxes, in gather form.

On a face with transport X the flux gains F = max(X, 0) r_W + max(-X, 0) r_E, with r the limited
rise of the field c in the cells on both sides, a function of the differences d of c across their
faces. With g = m_E - m_W the derivative with respect to F,

    dr_i = max(X_e, 0) g_e + max(-X_w, 0) g_w
    dd_f = dr_W (d r_W / d after) + dr_E (d r_E / d before),    q_f -= dd_f
    dX_f += g_f (r_W if X_f > 0 else -r_E)

Rows, m and q are those of `cpu_reverse`; y and z are alike. Where the limiter has a kink, the
derivative is that of one of its branches.
"""

from __future__ import annotations

import numpy as np

from hybridom.physics.fused import tables
from hybridom.physics.fused.compiler import kernel
from hybridom.physics.fused.cpu_halo import MARGIN, SOUTH


@kernel
def limited_rise(before, after, share, zero, one):
    """Limited rise in a cell, and its derivatives with respect to both differences.

    Args:
        before, after: Differences across the western and the eastern face, or alike.
        share: Quarter of the weight of the central slope.
        zero, one: Of the type of the differences.
    """
    low, high = abs(before), abs(after)
    smaller, central = low if low < high else high, share * abs(before + after)
    is_central, rises = central <= smaller, before * after > zero
    rise = central if is_central else smaller
    rise = rise if before > zero else -rise
    by_before = share if is_central else (one if low < high else zero)
    by_after = share if is_central else (zero if low < high else one)
    return rise if rises else zero, by_before if rises else zero, by_after if rises else zero


@kernel
def limited_east_level(c, m, bits, row, u, j, k, x, by_before, by_after, rise, q, slope):
    """Eastern faces of level `k`.

    Args:
        c, m: Rows of a tracer, zero on land, and of m (nz, n).
        u: Eastward velocity (nz, ny, nx+1).
        j: Row of the grid.
        x, by_before, by_after, rise: Scratch (n,).
        q, slope: Results of `cpu_reverse.tracers_east_level` (n,), added to.
    """
    o, zero, one, n = np.uint64(1), c.dtype.type(0), c.dtype.type(1), c.shape[1]
    last, share, length = np.uint64(n - 1), c.dtype.type(0.25), row[tables.LENGTH_U]
    # the margins have no velocity of their own: that of the columns which they stand for
    for i in range(n):
        face = (i - MARGIN) % (n - 2 * MARGIN) + 1
        x[i] = length * u[k, j, face] if bits[k, i] & np.uint8(tables.EAST) else zero
    for i in range(o, last):
        before = c[k, i] - c[k, i - o] if x_open(bits[k, i - o]) else zero
        after = c[k, i + o] - c[k, i] if x_open(bits[k, i]) else zero
        rise[i], by_before[i], by_after[i] = limited_rise(before, after, share, zero, one)
        into, out = m[k, i + o] - m[k, i], m[k, i] - m[k, i - o]
        gain = (x[i] if x[i] > zero else zero) * into
        gain += (zero if x[i - o] > zero else -x[i - o]) * out
        by_before[i] *= gain
        by_after[i] *= gain
    for i in range(o, last - o):
        is_open = x_open(bits[k, i])
        change = by_after[i] + by_before[i + o]
        product = (m[k, i + o] - m[k, i]) * (rise[i] if x[i] > zero else -rise[i + o])
        q[i] -= change if is_open else zero
        slope[i] += product if is_open else zero


@kernel
def x_open(bits):
    """Whether the eastern face is open."""
    return (bits & np.uint8(tables.EAST)) != 0


@kernel
def limited_north_row(
    c_south, c, c_north, c_beyond, m_south, m, m_north, m_beyond, bits, bits_north, row, row_north,
    v, j, q, slope,
):  # fmt: skip
    """Northern faces of a row that is not the last one.

    Args:
        c_south, c, c_north, c_beyond: Rows j - 1 to j + 2 of a tracer, zero on land; any finite
            row where there is none.
        m_south, m, m_north, m_beyond: Rows of m, alike.
        bits, bits_north, row, row_north: Of rows j and j + 1.
        v: Northward velocity (nz, ny+1, nx).
        j: Row of the grid.
        q, slope: Results of `cpu_reverse.tracers_north_row` (nz, n), added to.
    """
    zero, one, share = c.dtype.type(0), c.dtype.type(1), c.dtype.type(0.25)
    lo, at = np.uint64(MARGIN), np.uint64(j)
    length_south, length = row[tables.LENGTH_SOUTH], row[tables.LENGTH_NORTH]
    length_beyond, o = row_north[tables.LENGTH_NORTH], np.uint64(1)
    for k in range(c.shape[0]):
        for i in range(np.uint64(v.shape[2])):
            p = lo + i
            is_open = (bits[k, p] & np.uint8(tables.NORTH)) != 0
            has_south = (bits[k, p] & np.uint8(SOUTH)) != 0
            has_beyond = (bits_north[k, p] & np.uint8(tables.NORTH)) != 0
            here, north = c[k, p], c_north[k, p]
            d_south, d, d_beyond = here - c_south[k, p], north - here, c_beyond[k, p] - north
            y_south, y = length_south * v[k, at, i], length * v[k, at + o, i]
            y_beyond = length_beyond * v[k, at + o + o, i]
            d_south, y_south = d_south if has_south else zero, y_south if has_south else zero
            d_beyond, y_beyond = d_beyond if has_beyond else zero, y_beyond if has_beyond else zero
            d = d if is_open else zero
            rise, _, by_after = limited_rise(d_south, d, share, zero, one)
            rise_north, by_before, _ = limited_rise(d, d_beyond, share, zero, one)
            here, north = m[k, p], m_north[k, p]
            g_south, g, g_beyond = here - m_south[k, p], north - here, m_beyond[k, p] - north
            gain = (y if y > zero else zero) * g
            gain += (zero if y_south > zero else -y_south) * g_south
            gain_north = (y_beyond if y_beyond > zero else zero) * g_beyond
            gain_north += (zero if y > zero else -y) * g
            change = gain * by_after + gain_north * by_before
            product = g * (rise if y > zero else -rise_north)
            q[k, p] -= change if is_open else zero
            slope[k, p] += product if is_open else zero


@kernel
def limited_top_level(c, m, bits, row, levels, w, j, k, q, slope):
    """Upper faces of level `k` > 0.

    Args:
        c, m: As for `limited_east_level`.
        w: Upward velocity (nz+1, ny, nx).
        j: Row of the grid.
        q, slope: Results of `cpu_reverse.tracers_top_level` (n,), added to.
    """
    zero, one, lo = c.dtype.type(0), c.dtype.type(1), np.uint64(MARGIN)
    nz, area, inverse = c.shape[0], one / row[tables.AREA_INVERSE], tables.DZ_INVERSE
    up, top, down = k - 1, max(k - 2, 0), min(k + 1, nz - 1)
    from_top, from_up = area * levels[top, inverse], area * levels[up, inverse]
    from_here, from_down = area * levels[k, inverse], area * levels[down, inverse]
    share_up, share = share_of_level(levels, up), share_of_level(levels, k)
    has_top = one if up > 0 else zero
    for i in range(np.uint64(w.shape[2])):
        p = lo + i
        is_open = (bits[k, p] & np.uint8(tables.WET)) != 0
        has_down = one if bits[k, p] & np.uint8(tables.BELOW) else zero
        z_top, z, z_down = has_top * w[up, j, i], w[k, j, i], has_down * w[k + 1, j, i]
        here, above = c[k, p], c[up, p]
        d_top, d, d_down = (
            has_top * (c[top, p] - above),
            above - here,
            has_down * (here - c[down, p]),
        )
        rise, _, by_after = limited_rise(d_down, d, share, zero, one)
        rise_up, by_before, _ = limited_rise(d, d_top, share_up, zero, one)
        here, above = from_here * m[k, p], from_up * m[up, p]
        g_top, g, g_down = from_top * m[top, p] - above, above - here, here - from_down * m[down, p]
        gain = (z if z > zero else zero) * g + (zero if z_down > zero else -z_down) * g_down
        gain_up = (z_top if z_top > zero else zero) * g_top + (zero if z > zero else -z) * g
        change = gain * by_after + gain_up * by_before
        product = g * (rise if z > zero else -rise_up)
        q[p] -= change if is_open else zero
        slope[p] += product if is_open else zero


@kernel
def share_of_level(levels, k):
    """Quarter of the weight of the central slope: 1/4 on equally spaced levels."""
    one, half = levels.dtype.type(1), levels.dtype.type(0.5)
    above = one / levels[k, tables.DZ_UPPER_INVERSE]
    below = one / levels[k, tables.DZ_LOWER_INVERSE]
    return half * levels[k, tables.DZ] / (above + below)
