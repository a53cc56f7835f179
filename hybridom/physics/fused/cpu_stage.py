"""One stage of one row of cells.

What a stage takes away is collected as losses: the tendency with the opposite sign. Differences are
taken as the cell minus its neighbour, which processors subtract straight from memory.

A stage writes its result over the row in the south, and the pressure of the row in the north over
that of the row in the south: what is read and written then fits a cache better. Columns `lo` to
`hi` are computed, in whole vectors; the outermost ones read what has no meaning, and their results
have none.

`o`, the distance of columns that neighbour each other, is 1, but must not be known to the compiler:
it would carry values over from one column to the next, and vectorise less.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from hybridom.physics.fused import tables
from hybridom.physics.fused.compiler import inner
from hybridom.physics.fused.cpu_load import (
    EAST,
    FROM_ABOVE,
    FROM_BELOW,
    FROM_EAST,
    FROM_NORTH,
    FROM_SOUTH,
    FROM_WEST,
    NORTH,
    SOURCE,
)
from hybridom.physics.fused.cpu_rows import (
    ADVECTION,
    GRAVITY_,
    HALINE,
    HALINE_SQUARE,
    MIXED,
    PLANETARY,
    S_REF,
    T_REF,
    THERMAL,
    THERMAL_SQUARE,
    VISCOSITY,
)

part = njit(inline="always")
PRESSURE, NORTHWARD = range(2)  # of `current`
COLUMN, NEW_PRESSURE, NEW_NORTHWARD, EASTWARD = range(4)  # lines of work memory


@part
def press(state, levels, constants, k, lines, lo, hi):
    """Pressure of level `k` of a row, Pa, and its running sum down the column."""
    t_ref, s_ref = constants[T_REF], constants[S_REF]
    tt, ts, ss = constants[THERMAL_SQUARE], constants[MIXED], constants[HALINE_SQUARE]
    thermal, haline = levels[k, THERMAL], levels[k, HALINE]
    layer = constants[GRAVITY_] * levels[k, tables.DZ]
    below = constants[GRAVITY_] * levels[k, tables.BELOW_LEVEL]
    for i in range(lo, hi):
        ta, sa = state[0, k, i] - t_ref, state[1, k, i] - s_ref
        rho = (thermal + tt * ta + ts * sa) * ta + (haline + ss * sa) * sa
        down = lines[COLUMN, i] + layer * rho
        lines[COLUMN, i] = down
        lines[NEW_PRESSURE, i] = down - below * rho


@part
def go_north(masks, row, k, lines, o, lo, hi):
    """Northward geostrophic velocity of level `k` of a row, m s-1."""
    real = lines.dtype.type
    factor = row[tables.GEOSTROPHIC] * row[tables.DX_INVERSE]
    half = real(0.5) * factor
    for i in range(lo, hi):
        x, west, east = lines[NEW_PRESSURE, i], real(masks[EAST, k, i - o]), real(masks[EAST, k, i])
        slopes = west * (x - lines[NEW_PRESSURE, i - o])
        slopes -= east * (x - lines[NEW_PRESSURE, i + o])
        # the mean of the slopes on the open ones of both faces
        lines[NEW_NORTHWARD, i] = (factor - half * (west * east)) * slopes


@part
def go_east(masks_south, masks, row, constants, current_south, current, k, lines, lo, hi):
    """Half of the transport by the eastward geostrophic velocity through a face, m2 s-1."""
    real = lines.dtype.type
    half = real(0.5)
    factor = half * constants[ADVECTION] * row[tables.GEOSTROPHIC] * row[tables.LENGTH_U]
    step_south, step_north = row[tables.DY_SOUTH_INVERSE], row[tables.DY_NORTH_INVERSE]
    half = half * factor
    for i in range(lo, hi):
        x, x_north = current[PRESSURE, k, i], lines[NEW_PRESSURE, i]
        south, north = real(masks_south[NORTH, k, i]), real(masks[NORTH, k, i])
        slopes = (north * step_north) * (x - x_north)
        slopes -= (south * step_south) * (x - current_south[PRESSURE, k, i])
        lines[EASTWARD, i] = (factor - half * (south * north)) * slopes
        current_south[PRESSURE, k, i] = x_north


@part
def drain(inflow, x, west, east, south, north, below, above):
    """Loss of a cell of value `x` to its neighbours."""
    from_west, from_east, from_south, from_north, from_below, from_above = inflow
    zonal = from_west * (x - west) + from_east * (x - east)
    meridional = from_south * (x - south) + from_north * (x - north)
    return (zonal + meridional) + (from_below * (x - below) + from_above * (x - above))


@part
def take_tracer(c, inflow, south, here, north, rates, k, above, below, new, old, o, i):
    """One stage of tracer `c` in a cell."""
    x = here[c, k, i]
    loss = drain(
        inflow, x, here[c, k, i - o], here[c, k, i + o], south[c, k, i], north[c, k, i],
        here[c, below, i], here[c, above, i],
    )  # fmt: skip
    south[c, k, i] = x - new * loss - old * rates[c, k, i]
    rates[c, k, i] = loss


@part
def transport(south, here, north, still, rates, k, above, below, new, old, o, lo, hi):
    """One stage of temperature and salinity at level `k`."""
    for i in range(lo, hi):
        inflow = (
            still[FROM_WEST, k, i], still[FROM_EAST, k, i], still[FROM_SOUTH, k, i],
            still[FROM_NORTH, k, i], still[FROM_BELOW, k, i], still[FROM_ABOVE, k, i],
        )  # fmt: skip
        take_tracer(0, inflow, south, here, north, rates, k, above, below, new, old, o, i)
        take_tracer(1, inflow, south, here, north, rates, k, above, below, new, old, o, i)


@part
def turn(
    south, here, north, masks_south, masks, still, current_south, current, rates, row, constants,
    k, new, old, lines, o, lo, hi,
):  # fmt: skip
    """One stage of vorticity at level `k`."""
    real, zero = here.dtype.type, here.dtype.type(0)
    flow = real(0.5) * constants[ADVECTION]
    viscosity, per_area = constants[VISCOSITY], row[tables.AREA_INVERSE]
    mix_x = viscosity * row[tables.LENGTH_U] * row[tables.DX_INVERSE]
    mix_south = viscosity * row[tables.LENGTH_SOUTH] * row[tables.DY_SOUTH_INVERSE]
    mix_north = viscosity * row[tables.LENGTH_NORTH] * row[tables.DY_NORTH_INVERSE]
    flow_south, flow_north = flow * row[tables.LENGTH_SOUTH], flow * row[tables.LENGTH_NORTH]
    beta = constants[PLANETARY] * row[tables.BETA]
    for i in range(lo, hi):
        x, u = here[2, k, i], lines[EASTWARD, i]
        v, v_north = current[NORTHWARD, k, i], lines[NEW_NORTHWARD, i]
        west, east = u + lines[EASTWARD, i - o], u + lines[EASTWARD, i + o]
        down, up = v + current_south[NORTHWARD, k, i], v + v_north
        current_south[NORTHWARD, k, i] = v_north
        west = real(masks[EAST, k, i - o]) * ((west if west > zero else zero) + mix_x)
        east = real(masks[EAST, k, i]) * (mix_x - (zero if east > zero else east))
        down = (down if down > zero else zero) * flow_south + mix_south
        up = mix_north - (zero if up > zero else up) * flow_north
        zonal = west * (x - here[2, k, i - o]) + east * (x - here[2, k, i + o])
        meridional = real(masks_south[NORTH, k, i]) * down * (x - south[2, k, i])
        meridional += real(masks[NORTH, k, i]) * up * (x - north[2, k, i])
        loss = per_area * (zonal + meridional) + (beta * v - still[SOURCE, k, i])
        south[2, k, i] = x - new * loss - old * rates[2, k, i]
        rates[2, k, i] = loss


@inner
def stage_row(
    south, here, north, current_south, current, masks_south, masks, masks_north, still,
    surface_north, rates, row, row_north, levels, constants, has_current, new, old, lines, o, lo,
    hi,
):  # fmt: skip
    """One stage of temperature, salinity and vorticity in a row.

    Args:
        south, here, north: State (3, nz, n) in three rows; the result is written to `south`.
        current_south, current: `PRESSURE` and `NORTHWARD` velocity (2, nz, n) in two rows; those
            of the row in the north are written to `current_south`.
        masks_south, masks, masks_north, still: See `cpu_load`.
        surface_north: Pressure of the sea surface (n,) in the row in the north, Pa.
        rates: Losses (3, nz, n), s-1 and s-2, before; now, as a result.
        row, row_north, levels, constants: See `cpu_rows.Numbers`.
        has_current: Whether vorticity needs the geostrophic velocity; `current` and `lines` are
            zero where it does not.
        new, old: Weights of this tendency and of the one before, s.
        lines: Work memory (4, n).
        o, lo, hi: See above.
    """
    nz = here.shape[1]
    lo, hi, o = np.uint64(lo), np.uint64(hi), np.uint64(o)
    for i in range(lo, hi):
        lines[COLUMN, i] = surface_north[i]
    for k in range(nz):
        if has_current:
            press(north, levels, constants, k, lines, lo, hi)
            go_north(masks_north, row_north, k, lines, o, lo, hi)
            go_east(masks_south, masks, row, constants, current_south, current, k, lines, lo, hi)
        turn(
            south, here, north, masks_south, masks, still, current_south, current, rates, row,
            constants, k, new, old, lines, o, lo, hi,
        )  # fmt: skip
    # apart from the above, so that the levels above and below are still in the cache
    for k in range(nz):
        # the top layer stands in for what is above it, the lowest for what is below
        above, below = max(k - 1, 0), min(k + 1, nz - 1)
        transport(south, here, north, still, rates, k, above, below, new, old, o, lo, hi)


@inner
def current_row(state, masks, surface, row, levels, constants, current, lines, o, lo, hi):
    """Pressure and northward velocity of a row, to `current` (2, nz, n)."""
    lo, hi, o = np.uint64(lo), np.uint64(hi), np.uint64(o)
    for i in range(lo, hi):
        lines[COLUMN, i] = surface[i]
    for k in range(state.shape[1]):
        press(state, levels, constants, k, lines, lo, hi)
        go_north(masks, row, k, lines, o, lo, hi)
        for i in range(lo, hi):
            current[PRESSURE, k, i] = lines[NEW_PRESSURE, i]
            current[NORTHWARD, k, i] = lines[NEW_NORTHWARD, i]
