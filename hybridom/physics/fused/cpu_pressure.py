"""Pressure and geostrophic velocity of a row of cells, and their derivatives.

Rows are those of `cpu_halo`; `row`, `levels` and `constants` are from `cpu_rows.Numbers`.
"""

from __future__ import annotations

import numpy as np

from hybridom.physics.fused import cpu_rows, tables
from hybridom.physics.fused.compiler import kernel
from hybridom.physics.fused.cpu_halo import BOTH_X, BOTH_Y, MARGIN, SOUTH, WEST


@kernel
def pressure_row(t, s, zos, levels, constants, total, p):
    """Pressure (nz, n), Pa, of rows of temperature, salinity and sea-surface height (n,).

    Args:
        total: Scratch (n,).
    """
    n, gravity = np.uint64(t.shape[1]), constants[cpu_rows.GRAVITY_]
    t_ref, s_ref = constants[cpu_rows.T_REF], constants[cpu_rows.S_REF]
    tt, ss = constants[cpu_rows.THERMAL_SQUARE], constants[cpu_rows.HALINE_SQUARE]
    ts, surface = constants[cpu_rows.MIXED], constants[cpu_rows.SURFACE]
    for i in range(n):
        total[i] = surface * zos[i]
    for k in range(t.shape[0]):
        thermal, haline = levels[k, cpu_rows.THERMAL], levels[k, cpu_rows.HALINE]
        layer, below = gravity * levels[k, tables.DZ], gravity * levels[k, tables.BELOW_LEVEL]
        for i in range(n):
            ta, sa = t[k, i] - t_ref, s[k, i] - s_ref
            rho = (thermal + tt * ta + ts * sa) * ta + (haline + ss * sa) * sa
            down = total[i] + layer * rho
            total[i] = down
            p[k, i] = down - below * rho


@kernel
def northward_row(p, bits, row, vg):
    """Northward geostrophic velocity (nz, n), m s-1, but for the outermost columns."""
    o, zero, whole = np.uint64(1), p.dtype.type(0), row[tables.GEOSTROPHIC] * row[tables.DX_INVERSE]
    half = p.dtype.type(0.5) * whole
    for k in range(p.shape[0]):
        for i in range(o, np.uint64(p.shape[1]) - o):
            f, here = bits[k, i], p[k, i]
            east, west = p[k, i + o] - here, here - p[k, i - o]
            east = east if f & np.uint8(tables.EAST) else zero
            west = west if f & np.uint8(WEST) else zero
            share = half if f & np.uint8(BOTH_X) else whole
            vg[k, i] = share * (east + west)


@kernel
def eastward_level(p_south, p, p_north, bits, row, k, ug):
    """Eastward geostrophic velocity (n,), m s-1, of level `k` of three rows of pressure."""
    step_south, step_north = row[tables.DY_SOUTH_INVERSE], row[tables.DY_NORTH_INVERSE]
    zero, whole = p.dtype.type(0), -row[tables.GEOSTROPHIC]
    half = p.dtype.type(0.5) * whole
    for i in range(np.uint64(p.shape[1])):
        f, here = bits[k, i], p[k, i]
        north, south = step_north * (p_north[k, i] - here), step_south * (here - p_south[k, i])
        north = north if f & np.uint8(tables.NORTH) else zero
        south = south if f & np.uint8(SOUTH) else zero
        share = half if f & np.uint8(BOTH_Y) else whole
        ug[i] = share * (north + south)


@kernel
def pressure_reverse_row(
    slope_south, slope, push_south, push, mz, bits, row, levels, constants, gain, push_x, total,
    change,
):  # fmt: skip
    """Derivatives with respect to density and sea-surface height.

    Args:
        slope_south, slope, push_south, push: Results of `cpu_reverse.vorticity_north_row`.
        mz: See `cpu_reverse`.
        bits: Row of bits.
        gain, push_x: Scratch (n,).
        total: Result (n,), with respect to g rho0 times the sea-surface height.
        change: Result (nz, n), with respect to density.
    """
    o, zero, nz = np.uint64(1), mz.dtype.type(0), mz.shape[0]
    lo, hi = np.uint64(MARGIN), np.uint64(mz.shape[1] - MARGIN)
    beta = constants[cpu_rows.PLANETARY] * row[tables.BETA] / row[tables.AREA_INVERSE]
    whole = row[tables.GEOSTROPHIC] * row[tables.DX_INVERSE]
    half = mz.dtype.type(0.5) * whole
    gravity = constants[cpu_rows.GRAVITY_]
    for i in range(lo, hi):
        total[i] = zero
    for upwards in range(nz):
        k = nz - 1 - upwards
        layer, below = gravity * levels[k, tables.DZ], gravity * levels[k, tables.BELOW_LEVEL]
        for i in range(lo - o, hi + o):
            share = half if bits[k, i] & np.uint8(BOTH_X) else whole
            gain[i] = share * (slope_south[k, i] + slope[k, i] - beta * mz[k, i])
        for i in range(lo - o, hi):
            both = gain[i] + gain[i + o]
            push_x[i] = both if bits[k, i] & np.uint8(tables.EAST) else zero
        for i in range(lo, hi):
            p = (push_x[i - o] - push_x[i]) + (push_south[k, i] - push[k, i])
            deeper = total[i] + p
            total[i] = deeper
            change[k, i] = layer * deeper - below * p
