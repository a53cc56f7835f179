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

VECTOR = 8  # columns, the values of a vector
GAP = 4 * VECTOR  # columns of land that take less time than to begin anew behind them


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
        ocean: Vectors of columns with ocean in this row or in the one in the north (n / `VECTOR`,),
            uint8. The others hold anything finite, but no open faces.
        wet: Scratch (n,), uint8.
    """

    state: NDArray
    rates: NDArray
    still: NDArray
    masks: NDArray
    surface: NDArray
    ocean: NDArray
    wet: NDArray


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
    load_masks(window, j, first, row, lo, hi)
    begin, end = next_ocean(row.ocean, lo, hi)
    while begin < end:
        load_columns(window, rates, is_first, numbers, j, first, south, row, begin, end)
        begin, end = next_ocean(row.ocean, end, hi)


@inner
def next_ocean(ocean, lo, hi):
    """Columns `begin` to `end` (exclusive) from `lo` on that are not all land; none: both `hi`."""
    begin = lo
    while begin < hi and ocean[begin // VECTOR] == 0:
        begin += VECTOR
    end, i = begin, begin
    while i < hi and i - end <= GAP:
        i += VECTOR
        if ocean[i // VECTOR - 1] != 0:
            end = i
    return begin, end


@inner
def load_masks(window, j, first, row, lo, hi):
    """Masks of row `j`, and which of its columns are not all land."""
    flags, nx, i = window.flags, window.flags.shape[2], lo
    north = min(j + 1, flags.shape[1] - 1)
    row.wet[:] = 0
    while i < hi:
        column, count = first + i, hi - i
        if window.periodic:
            column %= nx
        if 0 <= column < nx:
            count = min(count, nx - column)
            for k in range(flags.shape[0]):
                unpack(flags[k, j], flags[k, north], column, row.masks, k, row.wet, i, count)
        else:
            count = min(count, -column) if column < 0 else count
            clear(row.masks, i, i + count)
        i += count
    for block in range(row.ocean.size):
        row.ocean[block] = row.wet[block * VECTOR : (block + 1) * VECTOR].any()


@inner
def unpack(flags, north, column, masks, k, wet, begin, count):
    """Masks of level `k` of cells from `column` of the grid on, to columns from `begin` on."""
    begin, column = np.uint64(begin), np.uint64(column)
    for i in range(np.uint64(count)):
        f = flags[column + i]
        masks[WET, k, begin + i] = np.uint8(f & 1)
        masks[EAST, k, begin + i] = np.uint8((f >> 1) & 1)
        masks[NORTH, k, begin + i] = np.uint8((f >> 2) & 1)
        masks[BELOW, k, begin + i] = np.uint8((f >> 3) & 1)
        wet[begin + i] |= np.uint8((f | north[column + i]) & 1)


@inner
def load_columns(window, rates, is_first, numbers, j, first, south, row, lo, hi):
    """See `load_row`."""
    nx, i = window.flags.shape[2], lo
    while i < hi:
        column = first + i
        if window.periodic:
            column %= nx
        if 0 <= column < nx:
            count = min(hi - i, nx - column)
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
    for i in range(begin, end):
        row.surface[i] = row.surface.dtype.type(0)


@inner
def clear(rows, lo, hi):
    """Zero columns of rows (.., nz, n)."""
    zero, lo, hi = rows.dtype.type(0), np.uint64(lo), np.uint64(hi)
    for c in range(rows.shape[0]):
        for k in range(rows.shape[1]):
            for i in range(lo, hi):
                rows[c, k, i] = zero


@inner
def copy(source, rows, lo, hi):
    """Copy columns of rows (.., nz, n)."""
    lo, hi = np.uint64(lo), np.uint64(hi)
    for c in range(rows.shape[0]):
        for k in range(rows.shape[1]):
            for i in range(lo, hi):
                rows[c, k, i] = source[c, k, i]


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
def store_row(row, masks, tile, j, field):
    """Write what a tile is to step of a row (nz, n) to a field (nz, ny, nx); land becomes zero."""
    zero = row.dtype.type(0)
    begin, west, count = (
        np.uint64(tile.begin),
        np.uint64(tile.west),
        np.uint64(tile.east - tile.west),
    )
    for k in range(row.shape[0]):
        for i in range(count):
            x = row[k, begin + i]
            field[k, j, west + i] = x if masks[WET, k, begin + i] != 0 else zero
