"""Rows between the grid and the tiles of the CPU kernels: coefficients of transport, masks, fields.

Columns of a tile that lie beyond a seam hold the cells there; beyond an open edge they hold land.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridom.physics.fused import tables
from hybridom.physics.fused.compiler import inner
from hybridom.physics.fused.cpu_rows import LATERAL, STRETCHING, SURFACE, VERTICAL

# What stays the same over the day, by cell (`still`). Inflow with diffusion, s-1, from:
FROM_WEST, FROM_EAST, FROM_SOUTH, FROM_NORTH, FROM_BELOW, FROM_ABOVE = range(6)
SOURCE = 6  # of vorticity, s-2
UPWIND = 7  # number of these without those of limited fluxes
FLOW_EAST, FLOW_NORTH, FLOW_TOP = range(7, 10)  # m2 s-1, m2 s-1, m s-1; zero on closed faces
TVD = 10

# `masks`, 0 or 1: ocean, and open faces
WET, EAST, NORTH, BELOW = range(4)
MASKS = 4


class Window(NamedTuple):
    """Fields of one window; see `types.Start`.

    Attributes:
        state: Temperature, salinity, vorticity (3 of (nz, ny, nx)).
        u, v, w, zos, source: As there, without the axis of windows.
        flags: `tables.Tables.flags`.
        periodic: Whether the last column neighbours the first.
    """

    state: tuple[NDArray, ...]
    u: NDArray
    v: NDArray
    w: NDArray
    zos: NDArray
    source: NDArray
    flags: NDArray
    periodic: bool


class Row(NamedTuple):
    """A row of a tile, of n columns.

    Attributes:
        state: Temperature, salinity, vorticity (3, nz, n).
        rates: Their losses (3, nz, n), per second.
        still: See the names above (.., nz, n).
        masks: See the names above (4, nz, n), uint8.
        surface: Pressure of the sea surface (n,), Pa.
    """

    state: NDArray
    rates: NDArray
    still: NDArray
    masks: NDArray
    surface: NDArray


@inner
def load_row(window, rates, is_first, numbers, j, first, south, row, lo, hi):
    """Load columns `lo` to `hi` of row `j`.

    Args:
        window: Fields of the grid.
        rates: Losses on the grid (3, nz, ny, nx), read unless `is_first`: they are zero then.
        numbers: See `cpu_rows.Numbers`.
        first: Column of the grid that is column 0 of the tile; may be negative.
        south: Masks of the row in the south, see `Row.masks`; zero beyond the grid.
        row: Result.
    """
    nx, i = window.flags.shape[2], lo
    while i < hi:
        column = first + i
        if window.periodic:
            column %= nx
        if 0 <= column < nx:
            count = min(hi - i, nx - column)
            load_masks(window.flags, j, column, row.masks, i, count)
            for c in range(3):
                field, state, last = window.state[c], row.state[c], row.rates[c]
                load_state(field, j, column, row.masks, state, i, count)
                load_rates(rates[c], is_first, j, column, last, i, count)
            metrics, levels, constants = numbers.rows[j], numbers.levels, numbers.constants
            masks, still = row.masks, row.still
            load_zonal(window.u, metrics, constants, j, column, masks, still, i, count)
            load_meridional(window.v, metrics, constants, j, column, south, masks, still, i, count)
            load_vertical(window.w, metrics, levels, constants, j, column, masks, still, i, count)
            if still.shape[0] > UPWIND:
                load_flow(window.u, window.v, window.w, metrics, j, column, masks, still, i, count)
            load_surface(window, numbers, j, column, row, i, count)
        else:
            count = min(hi - i, -column) if column < 0 else hi - i
            load_land(row, i, i + count)
        i += count


@inner
def load_land(row, begin, end):
    """Columns `begin` to `end` without ocean."""
    clear(row.state, begin, end)
    clear(row.rates, begin, end)
    clear(row.still, begin, end)
    clear(row.masks, begin, end)
    for i in range(begin, end):
        row.surface[i] = row.surface.dtype.type(0)


@inner
def clear(rows, lo, hi):
    """Zero columns of rows (.., nz, n)."""
    zero = rows.dtype.type(0)
    for c in range(rows.shape[0]):
        for k in range(rows.shape[1]):
            for i in range(lo, hi):
                rows[c, k, i] = zero


@inner
def copy(source, rows, lo, hi):
    """Copy columns of rows (.., nz, n)."""
    for c in range(rows.shape[0]):
        for k in range(rows.shape[1]):
            for i in range(lo, hi):
                rows[c, k, i] = source[c, k, i]


@inner
def load_masks(flags, j, column, masks, begin, count):
    """Masks of cells from `column` of the grid on, to columns from `begin` on."""
    begin, column, count = np.uint64(begin), np.uint64(column), np.uint64(count)
    for k in range(flags.shape[0]):
        for i in range(count):
            f = flags[k, j, column + i]
            masks[WET, k, begin + i] = np.uint8(f & 1)
            masks[EAST, k, begin + i] = np.uint8((f >> 1) & 1)
            masks[NORTH, k, begin + i] = np.uint8((f >> 2) & 1)
            masks[BELOW, k, begin + i] = np.uint8((f >> 3) & 1)


@inner
def load_state(field, j, column, masks, state, begin, count):
    """A field, zero on land whatever is there."""
    zero = state.dtype.type(0)
    begin, column, count = np.uint64(begin), np.uint64(column), np.uint64(count)
    for k in range(state.shape[0]):
        for i in range(count):
            x = field[k, j, column + i]
            state[k, begin + i] = x if masks[WET, k, begin + i] != 0 else zero


@inner
def load_rates(field, is_first, j, column, rates, begin, count):
    """Losses of a field."""
    zero = rates.dtype.type(0)
    begin, column, count = np.uint64(begin), np.uint64(column), np.uint64(count)
    for k in range(rates.shape[0]):
        if is_first:
            for i in range(count):
                rates[k, begin + i] = zero
        else:
            for i in range(count):
                rates[k, begin + i] = field[k, j, column + i]


@inner
def load_zonal(u, row, constants, j, column, masks, still, begin, count):
    """Coefficients of transport through western and eastern faces."""
    o, zero, real = np.uint64(1), row.dtype.type(0), row.dtype.type
    begin, column, count = np.uint64(begin), np.uint64(column), np.uint64(count)
    flow = row[tables.AREA_INVERSE] * row[tables.LENGTH_U]
    mix = constants[LATERAL] * flow * row[tables.DX_INVERSE]
    for k in range(u.shape[0]):
        for i in range(count):
            x = u[k, j, column + i]
            x = flow * (x if x > zero else zero) + mix
            still[FROM_WEST, k, begin + i] = x * real(masks[EAST, k, begin + i - o])
        for i in range(count):
            x = u[k, j, column + i + o]
            x = mix - flow * (zero if x > zero else x)
            still[FROM_EAST, k, begin + i] = x * real(masks[EAST, k, begin + i])


@inner
def load_meridional(v, row, constants, j, column, south, masks, still, begin, count):
    """Coefficients of transport through southern and northern faces.

    Args:
        south: Masks of the row in the south.
    """
    o, zero, real = np.uint64(1), row.dtype.type(0), row.dtype.type
    begin, column, count, j = np.uint64(begin), np.uint64(column), np.uint64(count), np.uint64(j)
    flow_south = row[tables.AREA_INVERSE] * row[tables.LENGTH_SOUTH]
    mix_south = constants[LATERAL] * flow_south * row[tables.DY_SOUTH_INVERSE]
    flow_north = row[tables.AREA_INVERSE] * row[tables.LENGTH_NORTH]
    mix_north = constants[LATERAL] * flow_north * row[tables.DY_NORTH_INVERSE]
    for k in range(v.shape[0]):
        for i in range(count):
            x = v[k, j, column + i]
            x = flow_south * (x if x > zero else zero) + mix_south
            still[FROM_SOUTH, k, begin + i] = x * real(south[NORTH, k, begin + i])
        for i in range(count):
            x = v[k, j + o, column + i]
            x = mix_north - flow_north * (zero if x > zero else x)
            still[FROM_NORTH, k, begin + i] = x * real(masks[NORTH, k, begin + i])


@inner
def load_vertical(w, row, levels, constants, j, column, masks, still, begin, count):
    """Coefficients of transport through interfaces, and the source of vorticity by stretching."""
    zero, real = levels.dtype.type(0), levels.dtype.type
    begin, column, count = np.uint64(begin), np.uint64(column), np.uint64(count)
    for k in range(masks.shape[1]):
        per_depth, above = levels[k, tables.DZ_INVERSE], max(k - 1, 0)
        # what crosses the surface has the value of the cell below it
        is_inner = zero if k == 0 else real(1)
        mix_above = constants[VERTICAL] * per_depth * levels[k, tables.DZ_UPPER_INVERSE]
        mix_below = constants[VERTICAL] * per_depth * levels[k, tables.DZ_LOWER_INVERSE]
        stretching = constants[STRETCHING] * row[tables.CORIOLIS] * per_depth
        for i in range(count):
            top, bottom, at = w[k, j, column + i], w[k + 1, j, column + i], begin + i
            x = per_depth * (bottom if bottom > zero else zero) + mix_below
            still[FROM_BELOW, k, at] = x * real(masks[BELOW, k, at])
            x = mix_above - per_depth * (zero if top > zero else top)
            still[FROM_ABOVE, k, at] = x * (is_inner * real(masks[BELOW, above, at]))
            still[SOURCE, k, at] = stretching * (top - bottom) * real(masks[WET, k, at])


@inner
def load_flow(u, v, w, row, j, column, masks, still, begin, count):
    """Transports without mixing, for limited fluxes."""
    real = row.dtype.type
    length_x, length_y = row[tables.LENGTH_U], row[tables.LENGTH_NORTH]
    for k in range(u.shape[0]):
        for i in range(count):
            at, c = begin + i, column + i
            still[FLOW_EAST, k, at] = length_x * u[k, j, c + 1] * real(masks[EAST, k, at])
            still[FLOW_NORTH, k, at] = length_y * v[k, j + 1, c] * real(masks[NORTH, k, at])
            still[FLOW_TOP, k, at] = w[k, j, c] * real(masks[WET, k, at])


@inner
def load_surface(window, numbers, j, column, row, begin, count):
    """Pressure of the sea surface, and the source of vorticity of the top layer."""
    zero = row.surface.dtype.type(0)
    for i in range(count):
        at, c = begin + i, column + i
        is_wet = row.masks[WET, 0, at] != 0
        row.surface[at] = numbers.constants[SURFACE] * window.zos[j, c] if is_wet else zero
        row.still[SOURCE, 0, at] += window.source[j, c] if is_wet else zero


@inner
def store_row(row, begin, j, west, east, field):
    """Write columns of a row (nz, n), from its column `begin` on, to a field (nz, ny, nx)."""
    begin, west, count = np.uint64(begin), np.uint64(west), np.uint64(east - west)
    for k in range(row.shape[0]):
        for i in range(count):
            field[k, j, west + i] = row[k, begin + i]
