"""Derivatives of the tendencies in a row of cells, in gather form.

The equations are those of `cpu_adjoint`. `mt`, `ms` and `mz` are M of temperature, salinity and
vorticity: the derivatives with respect to their tendencies, divided by the areas of the cells. What
passes a face, q, is computed once for the cells on both sides.

Rows are those of `cpu_halo`; `bits` are a row of bits, and `row`, `levels` and `constants` are from
`cpu_rows.Numbers`.
"""

from __future__ import annotations

import numpy as np

from hybridom.physics.fused import cpu_rows, tables
from hybridom.physics.fused.compiler import kernel
from hybridom.physics.fused.cpu_halo import BOTH_Y, MARGIN
from hybridom.physics.fused.cpu_pressure import eastward_level


@kernel
def eastward_reverse_row(
    p_south, p, p_north, zeta, mz, bits, row, constants, ug, q, slope, gain, change
):  # fmt: skip
    """Zonal transport of vorticity, and its part in the derivative with respect to pressure.

    Args:
        p_south, p, p_north: Rows of pressure, Pa.
        zeta: Vorticity, s-1, zero on land.
        mz: See above.
        ug, q, slope: Scratch (n,).
        gain: Result (nz, n): derivative with respect to the sum of the slopes of pressure on the
            southern and the northern face.
        change: Result (nz, n): derivative with respect to `zeta`, zonal part.
    """
    o, zero, half = np.uint64(1), p.dtype.type(0), p.dtype.type(0.5)
    lo, hi = np.uint64(MARGIN), np.uint64(p.shape[1] - MARGIN)
    flow = half * constants[cpu_rows.ADVECTION] * row[tables.LENGTH_U]
    mix = constants[cpu_rows.VISCOSITY] * row[tables.LENGTH_U] * row[tables.DX_INVERSE]
    whole = -row[tables.GEOSTROPHIC] * flow
    half = half * whole
    for k in range(p.shape[0]):
        eastward_level(p_south, p, p_north, bits, row, k, ug)
        for i in range(lo - o, hi):
            is_open = (bits[k, i] & np.uint8(tables.EAST)) != 0
            here, east = mz[k, i], mz[k, i + o]
            u, rise = ug[i] + ug[i + o], zeta[k, i] - zeta[k, i + o]
            into = east if u > zero else here
            passing, product = flow * u * into + mix * (east - here), rise * into
            q[i] = passing if is_open else zero
            slope[i] = product if is_open else zero
        for i in range(lo, hi):
            share = half if bits[k, i] & np.uint8(BOTH_Y) else whole
            gain[k, i] = share * (slope[i - o] + slope[i])
            change[k, i] = q[i] - q[i - o]


@kernel
def vorticity_north_row(
    vg, vg_north, zeta, zeta_north, mz, mz_north, gain, gain_north, bits, row, constants, q, slope,
    push,
):  # fmt: skip
    """Northern faces: transport of vorticity, and derivatives with respect to pressure.

    Args:
        vg, vg_north: Rows of northward velocity at centres, m s-1.
        zeta, zeta_north, mz, mz_north: See `eastward_reverse_row`.
        gain, gain_north: Results of `eastward_reverse_row`.
        q: Result (nz, n): see above.
        slope: Result (nz, n): derivative with respect to the northward velocity of both cells.
        push: Result (nz, n): derivative with respect to the pressure in the north, and minus that
            with respect to the pressure here, by the slope of pressure on the face.
    """
    zero, half = vg.dtype.type(0), vg.dtype.type(0.5)
    flow = half * constants[cpu_rows.ADVECTION] * row[tables.LENGTH_NORTH]
    mix = constants[cpu_rows.VISCOSITY] * row[tables.LENGTH_NORTH] * row[tables.DY_NORTH_INVERSE]
    step = row[tables.DY_NORTH_INVERSE]
    for k in range(vg.shape[0]):
        for i in range(np.uint64(MARGIN - 1), np.uint64(vg.shape[1] - MARGIN + 1)):
            is_open = (bits[k, i] & np.uint8(tables.NORTH)) != 0
            here, north = mz[k, i], mz_north[k, i]
            v, rise = vg[k, i] + vg_north[k, i], zeta[k, i] - zeta_north[k, i]
            into = north if v > zero else here
            passing, product = flow * v * into + mix * (north - here), flow * rise * into
            both = step * (gain[k, i] + gain_north[k, i])
            q[k, i] = passing if is_open else zero
            slope[k, i] = product if is_open else zero
            push[k, i] = both if is_open else zero


@kernel
def tracers_north_row(
    t, t_north, s, s_north, mt, mt_north, ms, ms_north, bits, row, constants, v, j, slope, q_t, q_s
):  # fmt: skip
    """Northern faces: transport of temperature and salinity.

    Args:
        t, t_north, s, s_north: Rows of temperature and salinity, zero on land.
        mt, mt_north, ms, ms_north: See above.
        v: Northward velocity (nz, ny+1, nx).
        j: Row of the grid.
        slope: Result (nz, n): derivative with respect to the transport.
        q_t, q_s: Results (nz, n): see above.
    """
    zero, lo, face = mt.dtype.type(0), np.uint64(MARGIN), np.uint64(j + 1)
    length = row[tables.LENGTH_NORTH]
    mix = constants[cpu_rows.LATERAL] * length * row[tables.DY_NORTH_INVERSE]
    for k in range(t.shape[0]):
        for i in range(np.uint64(v.shape[2])):
            c = lo + i
            is_open = (bits[k, c] & np.uint8(tables.NORTH)) != 0
            flow = length * v[k, face, i]
            here, north = mt[k, c], mt_north[k, c]
            into = north if flow > zero else here
            passing, product = flow * into + mix * (north - here), (t[k, c] - t_north[k, c]) * into
            q_t[k, c] = passing if is_open else zero
            here, north = ms[k, c], ms_north[k, c]
            into = north if flow > zero else here
            passing = flow * into + mix * (north - here)
            product += (s[k, c] - s_north[k, c]) * into
            q_s[k, c] = passing if is_open else zero
            slope[k, c] = product if is_open else zero


@kernel
def tracers_east_level(t, s, mt, ms, bits, row, constants, u, j, k, slope, q_t, q_s):
    """Eastern faces of level `k`, as `tracers_north_row`.

    Args:
        u: Eastward velocity (nz, ny, nx+1).
        slope, q_t, q_s: Results (n,).
    """
    zero, before, length = mt.dtype.type(0), np.uint64(MARGIN - 1), row[tables.LENGTH_U]
    o, mix = np.uint64(1), constants[cpu_rows.LATERAL] * length * row[tables.DX_INVERSE]
    for i in range(np.uint64(u.shape[2])):
        c = before + i
        is_open = (bits[k, c] & np.uint8(tables.EAST)) != 0
        flow = length * u[k, j, i]
        here, east = mt[k, c], mt[k, c + o]
        into = east if flow > zero else here
        passing, product = flow * into + mix * (east - here), (t[k, c] - t[k, c + o]) * into
        q_t[c] = passing if is_open else zero
        here, east = ms[k, c], ms[k, c + o]
        into = east if flow > zero else here
        passing = flow * into + mix * (east - here)
        product += (s[k, c] - s[k, c + o]) * into
        q_s[c] = passing if is_open else zero
        slope[c] = product if is_open else zero


@kernel
def tracers_top_level(t, s, mt, ms, bits, row, levels, constants, w, j, k, slope, q_t, q_s):
    """Upper faces of level `k`, as `tracers_north_row`; nothing is carried through the surface.

    Args:
        w: Upward velocity (nz+1, ny, nx).
        slope, q_t, q_s: Results (n,).
    """
    zero, one, lo = mt.dtype.type(0), mt.dtype.type(1), np.uint64(MARGIN)
    area, up = one / row[tables.AREA_INVERSE], max(k - 1, 0)
    from_here, from_up = area * levels[k, tables.DZ_INVERSE], area * levels[up, tables.DZ_INVERSE]
    mix = constants[cpu_rows.VERTICAL] * levels[k, tables.DZ_UPPER_INVERSE]
    mask = np.uint8(tables.WET if k > 0 else 0)
    for i in range(np.uint64(w.shape[2])):
        c = lo + i
        is_open = (bits[k, c] & mask) != 0
        flow = w[k, j, i]
        here, above = from_here * mt[k, c], from_up * mt[up, c]
        into = above if flow > zero else here
        passing, product = flow * into + mix * (above - here), (t[k, c] - t[up, c]) * into
        q_t[c] = passing if is_open else zero
        here, above = from_here * ms[k, c], from_up * ms[up, c]
        into = above if flow > zero else here
        passing = flow * into + mix * (above - here)
        product += (s[k, c] - s[up, c]) * into
        q_s[c] = passing if is_open else zero
        slope[c] = product if is_open else zero


@kernel
def finish_level(
    field, other, rise, square, mixed, change, q_x, q_south, q_north, q_top, q_bottom, bits, own,
    after, older, j, k, result,
):  # fmt: skip
    """Write the derivative with respect to a tracer before a stage, at level `k`.

    Args:
        field, other: The tracer, and the other of temperature and salinity.
        rise, square, mixed: Derivative of density with respect to the tracer where both are zero,
            and the derivatives of that with respect to the tracer and to the other one.
        change: Result of `cpu_pressure.pressure_reverse_row`.
        q_x, q_south, q_north, q_top, q_bottom: What passes the faces, see above.
        own, after: Weight and derivative with respect to the tracer after the stage.
        older: Weight of what `result` holds.
        j: Row of the grid.
        result: (nz, ny, nx), zero on land.
    """
    o, zero, lo = np.uint64(1), change.dtype.type(0), np.uint64(MARGIN)
    for i in range(np.uint64(result.shape[2])):
        c = lo + i
        slope = rise + square * field[k, c] + mixed * other[k, c]
        new = own * after[k, j, i] + older * result[k, j, i] + change[k, c] * slope
        new += (q_x[c] - q_x[c - o]) + (q_north[k, c] - q_south[k, c]) + (q_top[c] - q_bottom[c])
        result[k, j, i] = new if bits[k, c] & np.uint8(tables.WET) else zero


@kernel
def finish_vorticity_row(change, q_south, q_north, bits, own, after, older, j, result):
    """Write the derivative with respect to vorticity before a stage.

    Args:
        change: Result of `eastward_reverse_row`.
        q_south, q_north: Results of `vorticity_north_row`.
        own, after, older, j, result: As for `finish_level`.
    """
    zero, lo = change.dtype.type(0), np.uint64(MARGIN)
    for k in range(change.shape[0]):
        for i in range(np.uint64(result.shape[2])):
            c = lo + i
            new = own * after[k, j, i] + older * result[k, j, i]
            new += change[k, c] + (q_north[k, c] - q_south[k, c])
            result[k, j, i] = new if bits[k, c] & np.uint8(tables.WET) else zero


@kernel
def add_row(weight, field, j, bits, result):
    """Add row `j` of a field times `weight` to that of `result` (nz, ny, nx), but on land."""
    zero, lo = result.dtype.type(0), np.uint64(MARGIN)
    for k in range(result.shape[0]):
        for i in range(np.uint64(result.shape[2])):
            more = weight * field[k, j, i]
            result[k, j, i] += more if bits[k, lo + i] & np.uint8(tables.WET) else zero
