"""Pressure and geostrophic velocity of a row of cells, and their derivatives.

Rows are those of `cpu_halo`, in the rings of `cpu_adjoint_types`; `spans` are the columns of them
that are looked at; `rows`, `levels` and `constants`
are from `cpu_rows.Numbers`.
"""

from __future__ import annotations

import numpy as np

from hybridom.physics.fused import cpu_rows, tables
from hybridom.physics.fused.compiler import bare
from hybridom.physics.fused.cpu_halo import (
    BOTH_X,
    BOTH_Y,
    M_ZETA,
    PUSH,
    SLOPE_V,
    SOUTH,
    WEST,
    S,
    T,
    wrap,
)


@bare
def pressure_row(fields, at, spans, zos, levels, constants, total, pressure):
    """Pressure, Pa, of the row in slot `at`.

    Args:
        fields, at: Ring of fields and slot.
        zos: Sea-surface height (n,).
        total: Scratch (n,).
        pressure: Ring, written.
    """
    t_ref, s_ref = constants[cpu_rows.T_REF], constants[cpu_rows.S_REF]
    tt, ss = constants[cpu_rows.THERMAL_SQUARE], constants[cpu_rows.HALINE_SQUARE]
    ts, surface = constants[cpu_rows.MIXED], constants[cpu_rows.SURFACE]
    gravity = constants[cpu_rows.GRAVITY_]
    for n in range(spans.shape[0]):
        for i in range(spans[n, 0], spans[n, 1]):
            total[i] = surface * zos[i]
    for k in range(fields.shape[2]):
        thermal, haline = levels[k, cpu_rows.THERMAL], levels[k, cpu_rows.HALINE]
        layer, below = gravity * levels[k, tables.DZ], gravity * levels[k, tables.BELOW_LEVEL]
        for n in range(spans.shape[0]):
            for i in range(spans[n, 0], spans[n, 1]):
                ta, sa = fields[at, T, k, i] - t_ref, fields[at, S, k, i] - s_ref
                rho = (thermal + tt * ta + ts * sa) * ta + (haline + ss * sa) * sa
                down = total[i] + layer * rho
                total[i] = down
                pressure[at, k, i] = down - below * rho
        wrap(pressure[at, k])


@bare
def northward_row(pressure, bits, at, spans, rows, j, northward):
    """Northward geostrophic velocity, m s-1, of row `j`, without margins.

    Args:
        pressure, bits, at: Rings and slot.
        northward: Ring, written.
    """
    o, zero = np.uint64(1), pressure.dtype.type(0)
    whole = rows[j, tables.GEOSTROPHIC] * rows[j, tables.DX_INVERSE]
    half = pressure.dtype.type(0.5) * whole
    for k in range(bits.shape[1]):
        for n in range(spans.shape[0]):
            for i in range(spans[n, 0], spans[n, 1]):
                f, here = bits[at, k, i], pressure[at, k, i]
                east, west = pressure[at, k, i + o] - here, here - pressure[at, k, i - o]
                east = east if f & np.uint8(tables.EAST) else zero
                west = west if f & np.uint8(WEST) else zero
                share = half if f & np.uint8(BOTH_X) else whole
                northward[at, k, i] = share * (east + west)


@bare
def eastward_level(pressure, bits, south, at, north, spans, rows, j, k, ug):
    """Eastward geostrophic velocity (n,), m s-1, of row `j`, level `k`.

    Args:
        pressure, bits: Rings.
        south, at, north: Slots of the rows around.
        ug: Result.
    """
    step_south, step_north = rows[j, tables.DY_SOUTH_INVERSE], rows[j, tables.DY_NORTH_INVERSE]
    zero, whole = ug.dtype.type(0), -rows[j, tables.GEOSTROPHIC]
    half = ug.dtype.type(0.5) * whole
    for n in range(spans.shape[0]):
        for i in range(spans[n, 0], spans[n, 1]):
            f, here = bits[at, k, i], pressure[at, k, i]
            rise = step_north * (pressure[north, k, i] - here)
            fall = step_south * (here - pressure[south, k, i])
            rise = rise if f & np.uint8(tables.NORTH) else zero
            fall = fall if f & np.uint8(SOUTH) else zero
            share = half if f & np.uint8(BOTH_Y) else whole
            ug[i] = share * (rise + fall)
    wrap(ug)


@bare
def pressure_reverse_level(
    faces, side, fields, bits, at, spans, rows, j, levels, constants, k, gain, push_x, total, change
):
    """Derivatives with respect to density at level `k`, after those at the levels below.

    Args:
        faces, side: Ring of northern faces, and the slot of this row.
        fields, bits, at: Rings, and the slot of this row.
        j: Row of the grid.
        gain, push_x: Scratch (n,).
        total: Derivative with respect to the pressure of the levels below (n,); of this one, too,
            as a result. That of all levels is the one with respect to the surface pressure.
        change: Result (n,).
    """
    o, zero, other = np.uint64(1), gain.dtype.type(0), 1 - side
    beta = constants[cpu_rows.PLANETARY] * rows[j, tables.BETA] / rows[j, tables.AREA_INVERSE]
    whole = rows[j, tables.GEOSTROPHIC] * rows[j, tables.DX_INVERSE]
    half = gain.dtype.type(0.5) * whole
    gravity = constants[cpu_rows.GRAVITY_]
    layer, below = gravity * levels[k, tables.DZ], gravity * levels[k, tables.BELOW_LEVEL]
    for n in range(spans.shape[0]):
        for i in range(spans[n, 0], spans[n, 1]):
            share = half if bits[at, k, i] & np.uint8(BOTH_X) else whole
            slopes = faces[other, SLOPE_V, k, i] + faces[side, SLOPE_V, k, i]
            gain[i] = share * (slopes - beta * fields[at, M_ZETA, k, i])
    wrap(gain)
    for n in range(spans.shape[0]):
        for i in range(spans[n, 0], spans[n, 1]):
            both = gain[i] + gain[i + o]
            push_x[i] = both if bits[at, k, i] & np.uint8(tables.EAST) else zero
    wrap(push_x)
    for n in range(spans.shape[0]):
        for i in range(spans[n, 0], spans[n, 1]):
            p = push_x[i - o] - push_x[i] + (faces[other, PUSH, k, i] - faces[side, PUSH, k, i])
            deeper = total[i] + p
            total[i] = deeper
            change[i] = layer * deeper - below * p
