"""Derivatives of the tendencies in a row of cells, in gather form.

The equations are those of `cpu_adjoint`. `M_T`, `M_S` and `M_ZETA` are M of temperature, salinity
and vorticity: the derivatives with respect to their tendencies, divided by the areas of the cells.
What passes a face, q, is computed once for the cells on both sides.

Rows are those of `cpu_halo`, in the slots of the rings of `cpu_adjoint_types`: `at` is the slot of
row `j` of the grid, `south` and `north` are those of its neighbours; `spans` are the columns of
`at` that are looked at; `rows`, `levels` and
`constants` are from `cpu_rows.Numbers`.
"""

from __future__ import annotations

import numpy as np

from hybridom.physics.fused import cpu_rows, tables
from hybridom.physics.fused.compiler import bare
from hybridom.physics.fused.cpu_halo import (
    BOTH_Y,
    M_S,
    M_T,
    M_ZETA,
    MARGIN,
    PUSH,
    Q_S,
    Q_T,
    Q_ZETA,
    SLOPE_V,
    SLOPE_Y,
    ZETA,
    S,
    T,
    wrap,
)
from hybridom.physics.fused.cpu_pressure import eastward_level


@bare
def eastward_reverse_row(
    pressure, fields, bits, south, at, north, spans, rows, j, constants, ug, q, slope, gain, change
):
    """Zonal transport of vorticity, and its part in the derivative with respect to pressure.

    Args:
        pressure, fields, bits: Rings.
        ug, q, slope: Scratch (n,).
        gain: Ring, written: derivative with respect to the sum of the slopes of pressure on the
            southern and the northern face.
        change: Ring, written: derivative with respect to vorticity, zonal part.
    """
    o, zero, half = np.uint64(1), ug.dtype.type(0), ug.dtype.type(0.5)
    flow = half * constants[cpu_rows.ADVECTION] * rows[j, tables.LENGTH_U]
    mix = constants[cpu_rows.VISCOSITY] * rows[j, tables.LENGTH_U] * rows[j, tables.DX_INVERSE]
    whole = -rows[j, tables.GEOSTROPHIC] * flow
    half = half * whole
    for k in range(bits.shape[1]):
        eastward_level(pressure, bits, south, at, north, spans, rows, j, k, ug)
        for n in range(spans.shape[0]):
            for i in range(spans[n, 0], spans[n, 1]):
                is_open = (bits[at, k, i] & np.uint8(tables.EAST)) != 0
                here, east = fields[at, M_ZETA, k, i], fields[at, M_ZETA, k, i + o]
                u, rise = ug[i] + ug[i + o], fields[at, ZETA, k, i] - fields[at, ZETA, k, i + o]
                into = east if u > zero else here
                passing, product = flow * u * into + mix * (east - here), rise * into
                q[i] = passing if is_open else zero
                slope[i] = product if is_open else zero
        wrap(q)
        wrap(slope)
        for n in range(spans.shape[0]):
            for i in range(spans[n, 0], spans[n, 1]):
                share = half if bits[at, k, i] & np.uint8(BOTH_Y) else whole
                gain[at, k, i] = share * (slope[i - o] + slope[i])
                change[at, k, i] = q[i] - q[i - o]


@bare
def vorticity_north_level(
    northward, gain, fields, bits, at, north, spans, rows, j, constants, k, faces, side
):
    """Northern faces of level `k`: transport of vorticity, and derivatives of pressure.

    Args:
        northward: Ring of northward velocity at centres.
        gain: Ring, see `eastward_reverse_row`.
        fields, bits: Rings.
        faces, side: Ring of northern faces and its slot; `Q_ZETA` is written, `SLOPE_V`, the
            derivative with respect to the northward velocity of both cells, and `PUSH`, that with
            respect to the pressure in the north, and minus that with respect to the pressure here,
            by the slope of pressure on the face.
    """
    zero, half = gain.dtype.type(0), gain.dtype.type(0.5)
    length, step = rows[j, tables.LENGTH_NORTH], rows[j, tables.DY_NORTH_INVERSE]
    flow = half * constants[cpu_rows.ADVECTION] * length
    mix = constants[cpu_rows.VISCOSITY] * length * step
    for n in range(spans.shape[0]):
        for i in range(spans[n, 0], spans[n, 1]):
            is_open = (bits[at, k, i] & np.uint8(tables.NORTH)) != 0
            here, beyond = fields[at, M_ZETA, k, i], fields[north, M_ZETA, k, i]
            v = northward[at, k, i] + northward[north, k, i]
            rise = fields[at, ZETA, k, i] - fields[north, ZETA, k, i]
            into = beyond if v > zero else here
            passing, product = flow * v * into + mix * (beyond - here), flow * rise * into
            both = step * (gain[at, k, i] + gain[north, k, i])
            faces[side, Q_ZETA, k, i] = passing if is_open else zero
            faces[side, SLOPE_V, k, i] = product if is_open else zero
            faces[side, PUSH, k, i] = both if is_open else zero


@bare
def tracers_north_level(fields, bits, at, north, spans, rows, j, constants, v, k, faces, side):
    """Northern faces of level `k`: transport of temperature and salinity.

    Args:
        fields, bits: Rings.
        v: Northward velocity (nz, ny+1, nx).
        faces, side: Ring of northern faces and its slot; `Q_T`, `Q_S` are written and `SLOPE_Y`,
            the derivative with respect to the transport.
    """
    zero, lo, face = faces.dtype.type(0), np.uint64(MARGIN), np.uint64(j + 1)
    length = rows[j, tables.LENGTH_NORTH]
    mix = constants[cpu_rows.LATERAL] * length * rows[j, tables.DY_NORTH_INVERSE]
    for n in range(spans.shape[0]):
        for c in range(spans[n, 0], spans[n, 1]):
            is_open = (bits[at, k, c] & np.uint8(tables.NORTH)) != 0
            flow = length * v[k, face, c - lo]
            here, beyond = fields[at, M_T, k, c], fields[north, M_T, k, c]
            into = beyond if flow > zero else here
            passing = flow * into + mix * (beyond - here)
            product = (fields[at, T, k, c] - fields[north, T, k, c]) * into
            faces[side, Q_T, k, c] = passing if is_open else zero
            here, beyond = fields[at, M_S, k, c], fields[north, M_S, k, c]
            into = beyond if flow > zero else here
            passing = flow * into + mix * (beyond - here)
            product += (fields[at, S, k, c] - fields[north, S, k, c]) * into
            faces[side, Q_S, k, c] = passing if is_open else zero
            faces[side, SLOPE_Y, k, c] = product if is_open else zero


@bare
def tracers_east_level(fields, bits, at, spans, rows, j, constants, u, k, slope, q_t, q_s):
    """Eastern faces of level `k`, as `tracers_north_level`.

    Args:
        fields, bits: Rings.
        u: Eastward velocity (nz, ny, nx+1).
        slope, q_t, q_s: Results (n,).
    """
    zero, o, lo = slope.dtype.type(0), np.uint64(1), np.uint64(MARGIN)
    length = rows[j, tables.LENGTH_U]
    mix = constants[cpu_rows.LATERAL] * length * rows[j, tables.DX_INVERSE]
    for n in range(spans.shape[0]):
        for c in range(spans[n, 0], spans[n, 1]):
            is_open = (bits[at, k, c] & np.uint8(tables.EAST)) != 0
            flow = length * u[k, j, c - lo + o]
            here, east = fields[at, M_T, k, c], fields[at, M_T, k, c + o]
            into = east if flow > zero else here
            passing = flow * into + mix * (east - here)
            product = (fields[at, T, k, c] - fields[at, T, k, c + o]) * into
            q_t[c] = passing if is_open else zero
            here, east = fields[at, M_S, k, c], fields[at, M_S, k, c + o]
            into = east if flow > zero else here
            passing = flow * into + mix * (east - here)
            product += (fields[at, S, k, c] - fields[at, S, k, c + o]) * into
            q_s[c] = passing if is_open else zero
            slope[c] = product if is_open else zero
    wrap(q_t)
    wrap(q_s)


@bare
def tracers_top_level(fields, bits, at, spans, rows, j, levels, constants, w, k, slope, q_t, q_s):
    """Upper faces of level `k`, as `tracers_north_level`; nothing is carried through the surface.

    Args:
        fields, bits: Rings.
        w: Upward velocity (nz+1, ny, nx).
        slope, q_t, q_s: Results (n,).
    """
    zero, one, lo = slope.dtype.type(0), slope.dtype.type(1), np.uint64(MARGIN)
    area, up = one / rows[j, tables.AREA_INVERSE], max(k - 1, 0)
    from_here, from_up = area * levels[k, tables.DZ_INVERSE], area * levels[up, tables.DZ_INVERSE]
    mix = constants[cpu_rows.VERTICAL] * levels[k, tables.DZ_UPPER_INVERSE]
    mask = np.uint8(tables.WET if k > 0 else 0)
    for n in range(spans.shape[0]):
        for c in range(spans[n, 0], spans[n, 1]):
            is_open = (bits[at, k, c] & mask) != 0
            flow = w[k, j, c - lo]
            here, above = from_here * fields[at, M_T, k, c], from_up * fields[at, M_T, up, c]
            into = above if flow > zero else here
            passing = flow * into + mix * (above - here)
            product = (fields[at, T, k, c] - fields[at, T, up, c]) * into
            q_t[c] = passing if is_open else zero
            here, above = from_here * fields[at, M_S, k, c], from_up * fields[at, M_S, up, c]
            into = above if flow > zero else here
            passing = flow * into + mix * (above - here)
            product += (fields[at, S, k, c] - fields[at, S, up, c]) * into
            q_s[c] = passing if is_open else zero
            slope[c] = product if is_open else zero


@bare
def finish_tracer_level(
    own, other, rise, square, mixed, density, q_x, q, q_top, q_bottom, fields, bits, at,
    spans, faces, side, first, after, third, j, k, result,
):  # fmt: skip
    """Write the derivative with respect to a tracer before a stage, at level `k`.

    Args:
        own, other: `T` and `S`, or the other way round.
        rise, square, mixed: Derivative of density with respect to the tracer where both are zero,
            and the derivatives of that with respect to the tracer and to the other one.
        density: Result of `cpu_pressure.pressure_reverse_level`.
        q_x, q_top, q_bottom: What passes the eastern, upper and lower faces (n,).
        q: `Q_T` or `Q_S`.
        fields, bits, faces, side: Rings, and slot of `faces`.
        first, after: Weight and derivative with respect to the tracer after the stage.
        third: Weight of what `result` holds.
        result: (nz, ny, nx), zero on land.
    """
    o, zero, lo, below = np.uint64(1), density.dtype.type(0), np.uint64(MARGIN), 1 - side
    for n in range(spans.shape[0]):
        for c in range(spans[n, 0], spans[n, 1]):
            i = c - lo
            slope = rise + square * fields[at, own, k, c] + mixed * fields[at, other, k, c]
            new = first * after[k, j, i] + third * result[k, j, i] + density[c] * slope
            new += (q_x[c] - q_x[c - o]) + (faces[side, q, k, c] - faces[below, q, k, c])
            new += q_top[c] - q_bottom[c]
            result[k, j, i] = new if bits[at, k, c] & np.uint8(tables.WET) else zero


@bare
def finish_vorticity_level(change, bits, at, spans, faces, side, first, after, third, j, k, result):
    """Write the derivative with respect to vorticity before a stage, at level `k`.

    Args:
        change: Ring, see `eastward_reverse_row`.
        bits, faces, side, first, after, third, result: As for `finish_tracer_level`.
    """
    zero, lo, below = change.dtype.type(0), np.uint64(MARGIN), 1 - side
    for n in range(spans.shape[0]):
        for c in range(spans[n, 0], spans[n, 1]):
            i = c - lo
            new = first * after[k, j, i] + third * result[k, j, i] + change[at, k, c]
            new += faces[side, Q_ZETA, k, c] - faces[below, Q_ZETA, k, c]
            result[k, j, i] = new if bits[at, k, c] & np.uint8(tables.WET) else zero


@bare
def add_row(weight, field, bits, at, spans, j, result):
    """Add row `j` of a field times `weight` to that of `result` (nz, ny, nx), but on land."""
    zero, lo = result.dtype.type(0), np.uint64(MARGIN)
    for k in range(result.shape[0]):
        for n in range(spans.shape[0]):
            for c in range(spans[n, 0], spans[n, 1]):
                i = c - lo
                more = weight * field[k, j, i]
                result[k, j, i] += more if bits[at, k, c] & np.uint8(tables.WET) else zero
