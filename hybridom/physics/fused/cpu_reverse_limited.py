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
from hybridom.physics.fused.compiler import bare
from hybridom.physics.fused.cpu_halo import MARGIN, SLOPE_Y, SOUTH, wrap


@bare
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


@bare
def x_open(bits):
    """Whether the eastern face is open."""
    return (bits & np.uint8(tables.EAST)) != 0


@bare
def limited_east_level(
    c, m, fields, bits, at, rows, j, u, k, x, by_before, by_after, rise, q, slope
):
    """Eastern faces of level `k`.

    Args:
        c, m: `T` and `M_T`, or `S` and `M_S`.
        fields, bits: Rings.
        u: Eastward velocity (nz, ny, nx+1).
        x, by_before, by_after, rise: Scratch (n,).
        q, slope: Results of `cpu_reverse.tracers_east_level` (n,), added to.
    """
    o, zero, one = np.uint64(1), x.dtype.type(0), x.dtype.type(1)
    lo, last, share = np.uint64(MARGIN), np.uint64(x.size - 1), x.dtype.type(0.25)
    for i in range(np.uint64(u.shape[2] - 1)):
        flow = rows[j, tables.LENGTH_U] * u[k, j, i + o]
        x[lo + i] = flow if x_open(bits[at, k, lo + i]) else zero
    wrap(x)
    for i in range(o, last):
        here = fields[at, c, k, i]
        before = here - fields[at, c, k, i - o] if x_open(bits[at, k, i - o]) else zero
        after = fields[at, c, k, i + o] - here if x_open(bits[at, k, i]) else zero
        rise[i], one_side, other_side = limited_rise(before, after, share, zero, one)
        into = fields[at, m, k, i + o] - fields[at, m, k, i]
        out = fields[at, m, k, i] - fields[at, m, k, i - o]
        gain = (x[i] if x[i] > zero else zero) * into
        gain += (zero if x[i - o] > zero else -x[i - o]) * out
        by_before[i], by_after[i] = gain * one_side, gain * other_side
    for i in range(o, last - o):
        change = by_after[i] + by_before[i + o]
        product = fields[at, m, k, i + o] - fields[at, m, k, i]
        product *= rise[i] if x[i] > zero else -rise[i + o]
        q[i] -= change if x_open(bits[at, k, i]) else zero
        slope[i] += product if x_open(bits[at, k, i]) else zero


@bare
def limited_north_level(
    c, m, fields, bits, south, at, north, beyond, rows, j, v, k, faces, side, q
):
    """Northern faces of level `k` of a row that is not the last one.

    Args:
        c, m: `T` and `M_T`, or `S` and `M_S`.
        fields, bits: Rings.
        south, at, north, beyond: Slots of the rows j - 1 to j + 2; of any where there is none.
        v: Northward velocity (nz, ny+1, nx).
        faces, side: Ring of northern faces and its slot; `SLOPE_Y` and entry `q`, as
            `cpu_reverse.tracers_north_level` wrote them, are added to.
        q: `Q_T` or `Q_S`.
    """
    zero, one, share = faces.dtype.type(0), faces.dtype.type(1), faces.dtype.type(0.25)
    length_south, length = rows[j, tables.LENGTH_SOUTH], rows[j, tables.LENGTH_NORTH]
    length_beyond = rows[j + 1, tables.LENGTH_NORTH]
    o, lo, face = np.uint64(1), np.uint64(MARGIN), np.uint64(j)
    for i in range(np.uint64(v.shape[2])):
        p = lo + i
        is_open = (bits[at, k, p] & np.uint8(tables.NORTH)) != 0
        has_south = (bits[at, k, p] & np.uint8(SOUTH)) != 0
        has_beyond = (bits[north, k, p] & np.uint8(tables.NORTH)) != 0
        d_south = fields[at, c, k, p] - fields[south, c, k, p]
        d = fields[north, c, k, p] - fields[at, c, k, p]
        d_beyond = fields[beyond, c, k, p] - fields[north, c, k, p]
        y_south, y = length_south * v[k, face, i], length * v[k, face + o, i]
        y_beyond = length_beyond * v[k, face + o + o, i]
        d_south, y_south = d_south if has_south else zero, y_south if has_south else zero
        d_beyond, y_beyond = d_beyond if has_beyond else zero, y_beyond if has_beyond else zero
        d = d if is_open else zero
        rise, _, by_after = limited_rise(d_south, d, share, zero, one)
        rise_north, by_before, _ = limited_rise(d, d_beyond, share, zero, one)
        g = fields[north, m, k, p] - fields[at, m, k, p]
        gain = (y if y > zero else zero) * g
        g_south = fields[at, m, k, p] - fields[south, m, k, p]
        gain += (zero if y_south > zero else -y_south) * g_south
        g_beyond = fields[beyond, m, k, p] - fields[north, m, k, p]
        gain_north = (y_beyond if y_beyond > zero else zero) * g_beyond
        gain_north += (zero if y > zero else -y) * g
        change = gain * by_after + gain_north * by_before
        product = g * (rise if y > zero else -rise_north)
        faces[side, q, k, p] -= change if is_open else zero
        faces[side, SLOPE_Y, k, p] += product if is_open else zero


@bare
def limited_top_level(c, m, fields, bits, at, rows, j, levels, w, k, q, slope):
    """Upper faces of level `k` > 0.

    Args:
        c, m, fields, bits: As for `limited_east_level`.
        w: Upward velocity (nz+1, ny, nx).
        q, slope: Results of `cpu_reverse.tracers_top_level` (n,), added to.
    """
    zero, one, lo = slope.dtype.type(0), slope.dtype.type(1), np.uint64(MARGIN)
    area, inverse = one / rows[j, tables.AREA_INVERSE], tables.DZ_INVERSE
    up, top, down = k - 1, max(k - 2, 0), min(k + 1, fields.shape[2] - 1)
    from_top, from_up = area * levels[top, inverse], area * levels[up, inverse]
    from_here, from_down = area * levels[k, inverse], area * levels[down, inverse]
    share_up, share = share_of_level(levels, up), share_of_level(levels, k)
    has_top = one if up > 0 else zero
    for i in range(np.uint64(w.shape[2])):
        p = lo + i
        is_open = (bits[at, k, p] & np.uint8(tables.WET)) != 0
        has_down = one if bits[at, k, p] & np.uint8(tables.BELOW) else zero
        z_top, z, z_down = has_top * w[up, j, i], w[k, j, i], has_down * w[k + 1, j, i]
        here, above = fields[at, c, k, p], fields[at, c, up, p]
        d_top, d = has_top * (fields[at, c, top, p] - above), above - here
        d_down = has_down * (here - fields[at, c, down, p])
        rise, _, by_after = limited_rise(d_down, d, share, zero, one)
        rise_up, by_before, _ = limited_rise(d, d_top, share_up, zero, one)
        here, above = from_here * fields[at, m, k, p], from_up * fields[at, m, up, p]
        g_top, g = from_top * fields[at, m, top, p] - above, above - here
        g_down = here - from_down * fields[at, m, down, p]
        gain = (z if z > zero else zero) * g + (zero if z_down > zero else -z_down) * g_down
        gain_up = (z_top if z_top > zero else zero) * g_top + (zero if z > zero else -z) * g
        change = gain * by_after + gain_up * by_before
        product = g * (rise if z > zero else -rise_up)
        q[p] -= change if is_open else zero
        slope[p] += product if is_open else zero


@bare
def share_of_level(levels, k):
    """Quarter of the weight of the central slope: 1/4 on equally spaced levels."""
    one, half = levels.dtype.type(1), levels.dtype.type(0.5)
    above = one / levels[k, tables.DZ_UPPER_INVERSE]
    below = one / levels[k, tables.DZ_LOWER_INVERSE]
    return half * levels[k, tables.DZ] / (above + below)
