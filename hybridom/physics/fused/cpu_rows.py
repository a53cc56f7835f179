"""What the CPU kernels do to one row of cells: loading, pressure, velocities, tendencies.

A row is an array (nz, n) of all levels and n columns of a tile, which include a margin on both
sides: columns beyond a seam hold the cells there, columns beyond an open edge hold land. Functions
write columns `lo` to `hi` (exclusive) and read one column more on both sides where they difference
in x. A row beyond the first or last one of the grid is stood in for by the row itself: the faces
between are closed.

Indices of columns are unsigned: numba then leaves out the handling of negative ones, which loops
could not be vectorised with. Numbers come in arrays of the type of the fields, because numba takes
literals for float64.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridom.constants import GRAVITY, RHO_0
from hybridom.physics import eos
from hybridom.physics.fused import tables
from hybridom.physics.fused.compiler import kernel
from hybridom.physics.fused.types import Metrics, Settings

# bits of a row beside those of `tables`
WEST, SOUTH = 16, 32

# further columns of `Numbers.levels`
THERMAL, HALINE = range(6, 8)  # of the equation of state: coefficients of Ta and Sa alone

# entries of `Numbers.constants`
(
    T_REF,  # degC
    S_REF,  # 1e-3
    THERMAL_SQUARE,  # of Ta^2, kg m-3 K-2
    MIXED,  # of Ta Sa, kg m-3 K-1
    HALINE_SQUARE,  # of Sa^2, kg m-3
    GRAVITY_,  # m s-2
    SURFACE,  # Pa per m of sea-surface height
    LATERAL,  # K_h, m2 s-1
    VERTICAL,  # K_v, m2 s-1
    VISCOSITY,  # A_h, m2 s-1
    ADVECTION,  # 1 with geostrophic advection, else 0
    PLANETARY,  # 1 with planetary advection, else 0
    STRETCHING,  # 1 with stretching, else 0
) = range(13)


class Numbers(NamedTuple):
    """Metrics and coefficients in the order in which rows are worked on, all of one type.

    Attributes:
        rows: (ny, 15), `tables.Tables.rows` the other way round.
        levels: (nz, 8), `tables.Tables.levels` the other way round, and `THERMAL`, `HALINE`.
        constants: (13,), see the names above.
    """

    rows: NDArray
    levels: NDArray
    constants: NDArray


def numbers(metrics: Metrics, settings: Settings) -> Numbers:
    """Collect what the row functions need beside fields."""
    rows = np.ascontiguousarray(metrics.rows.numpy().T)
    levels = metrics.levels.numpy()
    depth = levels[tables.DEPTH].astype(np.float64)
    thermal, haline = -eos.A0 * (1 + eos.MU1 * depth), eos.B0 * (1 - eos.MU2 * depth)
    values = {
        T_REF: eos.T_REF,
        S_REF: eos.S_REF,
        THERMAL_SQUARE: -0.5 * eos.A0 * eos.LAMBDA1,
        MIXED: -eos.NU,
        HALINE_SQUARE: -0.5 * eos.B0 * eos.LAMBDA2,
        GRAVITY_: GRAVITY,
        SURFACE: GRAVITY * RHO_0,
        LATERAL: settings.lateral_diffusivity,
        VERTICAL: settings.vertical_diffusivity,
        VISCOSITY: settings.viscosity,
        ADVECTION: settings.geostrophic_advection,
        PLANETARY: settings.planetary,
        STRETCHING: settings.stretching,
    }
    return Numbers(
        rows,
        np.ascontiguousarray(np.vstack([levels, thermal, haline]).T.astype(rows.dtype)),
        np.array([values[i] for i in range(len(values))], dtype=rows.dtype),
    )


@kernel
def column(i, nx, periodic):
    """Column of the grid that column `i`, which may lie outside, stands for; -1 for none."""
    if periodic:
        return i % nx
    return i if 0 <= i < nx else -1


@kernel
def load_bits(flags, j, first, periodic, bits):
    """Flags of row `j`, columns from `first`, with those of the faces in the west and south.

    Args:
        flags: `tables.Tables.flags`.
        j: Row of the grid.
        first: Column of the grid that is column 0 of the tile; may be negative.
        periodic: Whether the last column neighbours the first.
        bits: Result (nz, n), uint8.
    """
    nz, _, nx = flags.shape
    for k in range(nz):
        for i in range(bits.shape[1]):
            here, west = column(first + i, nx, periodic), column(first + i - 1, nx, periodic)
            both = 0
            if here >= 0:
                both = flags[k, j, here]
                if west >= 0 and flags[k, j, west] & tables.EAST:
                    both |= WEST
                if j > 0 and flags[k, j - 1, here] & tables.NORTH:
                    both |= SOUTH
            bits[k, i] = both


@kernel
def load_field(field, j, first, periodic, bits, bit, factor, row):
    """Row `j` of a field of the grid times `factor`; zero where `bit` is not set.

    Args:
        field: (nz, ny, nx), or a view of one, such as the northern faces of v.
        j, first, periodic: As for `load_bits`.
        bits: Result of `load_bits`.
        bit: Flag of the cells (faces) to load; others may hold anything.
        factor: Of the type of the field.
        row: Result (nz, n).
    """
    nz, _, nx = field.shape
    zero, n = row.dtype.type(0), row.shape[1]
    inside, beyond = min(max(-first, 0), n), max(min(nx - first, n), 0)
    for k in range(nz):
        for i in range(np.uint64(inside), np.uint64(beyond)):
            row[k, i] = field[k, j, first + i] * factor if bits[k, i] & bit else zero
        for i in range(inside):
            here = column(first + i, nx, periodic)
            row[k, i] = field[k, j, here] * factor if bits[k, i] & bit else zero
        for i in range(max(beyond, inside), n):
            here = column(first + i, nx, periodic)
            row[k, i] = field[k, j, here] * factor if bits[k, i] & bit else zero


@kernel
def store_field(row, first, j, west, east, field):
    """Write columns of a row, from its column `first` on, to columns of a field of the grid."""
    for k in range(row.shape[0]):
        for i in range(east - west):
            field[k, j, west + i] = row[k, first + i]


@kernel
def pressure_row(t, s, zos, levels, constants, column_sum, p, lo, hi):
    """Pressure (nz, n), Pa, of rows of temperature, salinity and sea-surface height (n,).

    Args:
        column_sum: Scratch (n,).
    """
    lo, hi = np.uint64(lo), np.uint64(hi)
    t_ref, s_ref = constants[T_REF], constants[S_REF]
    tt, ts, ss = constants[THERMAL_SQUARE], constants[MIXED], constants[HALINE_SQUARE]
    surface, gravity = constants[SURFACE], constants[GRAVITY_]
    for i in range(lo, hi):
        column_sum[i] = surface * zos[i]
    for k in range(t.shape[0]):
        thermal, haline = levels[k, THERMAL], levels[k, HALINE]
        layer = gravity * levels[k, tables.DZ]
        below = gravity * levels[k, tables.BELOW_LEVEL]
        for i in range(lo, hi):
            ta, sa = t[k, i] - t_ref, s[k, i] - s_ref
            rho = (thermal + tt * ta + ts * sa) * ta + (haline + ss * sa) * sa
            down = column_sum[i] + layer * rho
            column_sum[i] = down
            p[k, i] = down - below * rho


@kernel
def northward_row(p, bits, row, vg, lo, hi):
    """Northward geostrophic velocity (nz, n), m s-1, of a row of pressure."""
    o, zero, one, half = np.uint64(1), p.dtype.type(0), p.dtype.type(1), p.dtype.type(0.5)
    factor = row[tables.GEOSTROPHIC] * row[tables.DX_INVERSE]
    for k in range(p.shape[0]):
        for i in range(np.uint64(lo), np.uint64(hi)):
            east = one if bits[k, i] & np.uint8(tables.EAST) else zero
            west = one if bits[k, i] & np.uint8(WEST) else zero
            share = one - half * east * west
            rise = east * (p[k, i + o] - p[k, i]) + west * (p[k, i] - p[k, i - o])
            vg[k, i] = factor * share * rise


@kernel
def eastward_row(p_south, p, p_north, bits, row, k, ug, lo, hi):
    """Eastward geostrophic velocity (n,), m s-1, of level `k` of three rows of pressure."""
    zero, one, half = p.dtype.type(0), p.dtype.type(1), p.dtype.type(0.5)
    factor = -row[tables.GEOSTROPHIC]
    step_south, step_north = row[tables.DY_SOUTH_INVERSE], row[tables.DY_NORTH_INVERSE]
    for i in range(np.uint64(lo), np.uint64(hi)):
        north = one if bits[k, i] & np.uint8(tables.NORTH) else zero
        south = one if bits[k, i] & np.uint8(SOUTH) else zero
        share = one - half * north * south
        here = p[k, i]
        slopes = north * step_north * (p_north[k, i] - here)
        slopes += south * step_south * (here - p_south[k, i])
        ug[i] = factor * share * slopes


@kernel
def tracers_row(
    t_south, t, t_north, s_south, s, s_north, x, y_south, y_north, z, bits, row, levels,
    constants, new, old, rate_t, rate_s, t_next, s_next, lo, hi,
):  # fmt: skip
    """One stage of temperature and salinity: upwind transport and diffusion.

    Args:
        t_south, t, t_north, s_south, s, s_north: Rows of the fields (nz, n), zero on land.
        x: Eastward transport per depth through eastern faces (nz, n), m2 s-1; zero on closed and
            on outer faces, as all transports here.
        y_south, y_north: Northward transport through southern and northern faces, alike.
        z: Upward velocity through the tops of layers and the lowest bottom (nz+1, n), m s-1.
        bits: Result of `load_bits`.
        row, levels, constants: `Numbers.rows` of this row, and the rest of `Numbers`.
        new, old: Weights of this tendency and of the one before, s, of the type of the fields.
        rate_t, rate_s: Tendencies (nz, n) before and, as a result, now, per second.
        t_next, s_next: Results (nz, n): fields + new * tendency + old * tendency before.
    """
    o, zero, one = np.uint64(1), t.dtype.type(0), t.dtype.type(1)
    nz = t.shape[0]
    lateral = constants[LATERAL]
    mix_x = lateral * row[tables.LENGTH_U] * row[tables.DX_INVERSE]
    mix_south = lateral * row[tables.LENGTH_SOUTH] * row[tables.DY_SOUTH_INVERSE]
    mix_north = lateral * row[tables.LENGTH_NORTH] * row[tables.DY_NORTH_INVERSE]
    per_area = row[tables.AREA_INVERSE]
    for k in range(nz):
        # the top layer stands in for what is above it, the lowest for what is below
        above, below = max(k - 1, 0), min(k + 1, nz - 1)
        mix_above = constants[VERTICAL] * levels[k, tables.DZ_UPPER_INVERSE]
        mix_below = constants[VERTICAL] * levels[k, tables.DZ_LOWER_INVERSE]
        per_depth = levels[k, tables.DZ_INVERSE]
        for i in range(np.uint64(lo), np.uint64(hi)):
            f = bits[k, i]
            west, east = x[k, i - o], x[k, i]
            south, north = y_south[k, i], y_north[k, i]
            top, bottom = z[k, i], z[k + 1, i]
            west = (west if west > zero else zero) + (mix_x if f & np.uint8(WEST) else zero)
            east = (zero if east > zero else -east) + (
                mix_x if f & np.uint8(tables.EAST) else zero
            )
            south = (south if south > zero else zero) + (
                mix_south if f & np.uint8(SOUTH) else zero
            )
            north = (zero if north > zero else -north) + (
                mix_north if f & np.uint8(tables.NORTH) else zero
            )
            bottom = (bottom if bottom > zero else zero) + (
                mix_below if f & np.uint8(tables.BELOW) else zero
            )
            top = (zero if top > zero else -top) + (
                mix_above if f & np.uint8(tables.WET) else zero
            )
            c = t[k, i]
            across = west * (t[k, i - o] - c) + east * (t[k, i + o] - c)
            across += south * (t_south[k, i] - c) + north * (t_north[k, i] - c)
            rate = per_area * across
            rate += per_depth * (bottom * (t[below, i] - c) + top * (t[above, i] - c))
            t_next[k, i] = c + new * rate + old * rate_t[k, i]
            rate_t[k, i] = rate
            c = s[k, i]
            across = west * (s[k, i - o] - c) + east * (s[k, i + o] - c)
            across += south * (s_south[k, i] - c) + north * (s_north[k, i] - c)
            rate = per_area * across
            rate += per_depth * (bottom * (s[below, i] - c) + top * (s[above, i] - c))
            s_next[k, i] = c + new * rate + old * rate_s[k, i]
            rate_s[k, i] = rate


@kernel
def vorticity_row(
    zeta_south, zeta, zeta_north, p_south, p, p_north, vg_south, vg, vg_north, z, source, bits,
    row, levels, constants, new, old, ug, rate_zeta, zeta_next, lo, hi,
):  # fmt: skip
    """One stage of vorticity.

    Args:
        zeta_south, zeta, zeta_north: Rows of vorticity (nz, n), s-1, zero on land.
        p_south, p, p_north: Rows of pressure, see `pressure_row`.
        vg_south, vg, vg_north: Rows of northward velocity, see `northward_row`.
        z: As for `tracers_row`.
        source: Source of the top layer (n,), s-2.
        bits, row, levels, constants, new, old: As for `tracers_row`.
        ug: Scratch (n,).
        rate_zeta: Tendency (nz, n) before and, as a result, now, s-2.
        zeta_next: Result (nz, n).
    """
    o, zero, half = np.uint64(1), zeta.dtype.type(0), zeta.dtype.type(0.5)
    viscosity, on = constants[VISCOSITY], half * constants[ADVECTION]
    flow_x, flow_south = on * row[tables.LENGTH_U], on * row[tables.LENGTH_SOUTH]
    flow_north = on * row[tables.LENGTH_NORTH]
    mix_x = viscosity * row[tables.LENGTH_U] * row[tables.DX_INVERSE]
    mix_south = viscosity * row[tables.LENGTH_SOUTH] * row[tables.DY_SOUTH_INVERSE]
    mix_north = viscosity * row[tables.LENGTH_NORTH] * row[tables.DY_NORTH_INVERSE]
    per_area = row[tables.AREA_INVERSE]
    beta = constants[PLANETARY] * row[tables.BETA]
    for k in range(zeta.shape[0]):
        eastward_row(p_south, p, p_north, bits, row, k, ug, lo - 1, hi + 1)
        stretch = constants[STRETCHING] * row[tables.CORIOLIS] * levels[k, tables.DZ_INVERSE]
        for i in range(np.uint64(lo), np.uint64(hi)):
            f = bits[k, i]
            c = zeta[k, i]
            west, east = flow_x * (ug[i - o] + ug[i]), flow_x * (ug[i] + ug[i + o])
            south = flow_south * (vg_south[k, i] + vg[k, i])
            north = flow_north * (vg[k, i] + vg_north[k, i])
            west = (west if west > zero else zero) + mix_x
            east = (zero if east > zero else -east) + mix_x
            south = (south if south > zero else zero) + mix_south
            north = (zero if north > zero else -north) + mix_north
            across = west * (zeta[k, i - o] - c) if f & np.uint8(WEST) else zero
            across += east * (zeta[k, i + o] - c) if f & np.uint8(tables.EAST) else zero
            across += south * (zeta_south[k, i] - c) if f & np.uint8(SOUTH) else zero
            across += north * (zeta_north[k, i] - c) if f & np.uint8(tables.NORTH) else zero
            rate = per_area * across - beta * vg[k, i] + stretch * (z[k, i] - z[k + 1, i])
            if k == 0:
                rate += source[i]
            zeta_next[k, i] = c + new * rate + old * rate_zeta[k, i]
            rate_zeta[k, i] = rate
