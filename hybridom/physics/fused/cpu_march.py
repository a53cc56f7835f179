"""Substeps of a tile of columns and rows, many of them in one pass over memory.

A front moves north. At each of its rows the first stage is taken of the row behind it, the second
one of the row behind that, and so on: rows of all stages are at hand in rings that fit a cache, and
memory is read and written once for all stages. Tiles overlap by the cells that the stages reach.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridom.physics.fused import cpu_rows, tables
from hybridom.physics.fused.compiler import kernel
from hybridom.physics.fused.cpu_rows import Numbers

STATE = 3  # temperature, salinity, vorticity


class Window(NamedTuple):
    """Fields of one window; see `types.Start`.

    Attributes:
        state: Temperature, salinity, vorticity (3 of (nz, ny, nx)).
        x: Velocity through eastern faces (nz, ny, nx), a view.
        y: Velocity through northern faces (nz, ny, nx), a view.
        w: Velocity through tops and the lowest bottom (nz+1, ny, nx).
        zos, source: (1, ny, nx).
    """

    state: tuple[NDArray, NDArray, NDArray]
    x: NDArray
    y: NDArray
    w: NDArray
    zos: NDArray
    source: NDArray


class Rings(NamedTuple):
    """Rows at hand, each in the slot that is its number modulo the slots.

    Attributes:
        state: Fields before each stage, and after the last (stages + 1, slots, 3, nz, n).
        pressure: Pressure and northward velocity of each stage (stages, slots, 2, nz, n).
        rates: Tendencies (slots, 3, nz, n).
        flow: Transports to the east and to the north (slots, 2, nz, n).
        w: Upward velocity (slots, nz+1, n).
        surface: Sea-surface height and source (slots, 2, 1, n).
        bits: (slots, nz, n).
        scratch: (n,).
    """

    state: NDArray
    pressure: NDArray
    rates: NDArray
    flow: NDArray
    w: NDArray
    surface: NDArray
    bits: NDArray
    scratch: NDArray


class Tile(NamedTuple):
    """Cells that a call is to step, and how far stages reach.

    Attributes:
        south, north: Rows (exclusive).
        west, east: Columns (exclusive).
        reach: Cells that a stage reads on each side.
        periodic: Whether the last column neighbours the first.
    """

    south: int
    north: int
    west: int
    east: int
    reach: int
    periodic: bool


class Stages(NamedTuple):
    """Stages of a pass: next = own * (field + new * rate + old * rate before) + other * base.

    Attributes:
        own, other, new, old: Weights (stages,), of the type of the fields.
        base: Stage whose field is the base (stages,).
        first: Whether there is no rate before the first stage.
        last: Whether no rate is needed after the last stage.
        pressure: Whether vorticity needs the pressure.
    """

    own: NDArray
    other: NDArray
    new: NDArray
    old: NDArray
    base: NDArray
    first: bool
    last: bool
    pressure: bool


@kernel
def load_row(window, rates, flags, numbers, first_pass, tile, j, count, rings):
    """Put row `j` of everything that stages read into the rings."""
    first, periodic = tile.west - count * tile.reach, tile.periodic
    slot, slots = j % rings.rates.shape[0], rings.state.shape[1]
    bits, row = rings.bits[slot], numbers.rows[j]
    one = row.dtype.type(1)
    cpu_rows.load_bits(flags, j, first, periodic, bits)
    for c in range(STATE):
        into = rings.state[0, j % slots, c]
        cpu_rows.load_field(window.state[c], j, first, periodic, bits, tables.WET, one, into)
        into = rings.rates[slot, c]
        if first_pass:
            into[:] = row.dtype.type(0)
        else:
            cpu_rows.load_field(rates[c], j, first, periodic, bits, tables.WET, one, into)
    x, y = rings.flow[slot, 0], rings.flow[slot, 1]
    length_x, length_y = row[tables.LENGTH_U], row[tables.LENGTH_NORTH]
    cpu_rows.load_field(window.x, j, first, periodic, bits, tables.EAST, length_x, x)
    cpu_rows.load_field(window.y, j, first, periodic, bits, tables.NORTH, length_y, y)
    nz, w = bits.shape[0], rings.w[slot]
    cpu_rows.load_field(window.w[:nz], j, first, periodic, bits, tables.WET, one, w[:nz])
    w[nz, :] = row.dtype.type(0)
    zos, source = rings.surface[slot, 0], rings.surface[slot, 1]
    cpu_rows.load_field(window.zos, j, first, periodic, bits, tables.WET, one, zos)
    cpu_rows.load_field(window.source, j, first, periodic, bits, tables.WET, one, source)


@kernel
def press(numbers, s, j, lo, rings):
    """Pressure and northward velocity of row `j` before stage `s`, from column `lo` on."""
    slot, at, n = j % rings.rates.shape[0], j % rings.state.shape[1], rings.scratch.size
    t, salt = rings.state[s, at, 0], rings.state[s, at, 1]
    p, vg = rings.pressure[s, at, 0], rings.pressure[s, at, 1]
    zos = rings.surface[slot, 0, 0]
    cpu_rows.pressure_row(
        t, salt, zos, numbers.levels, numbers.constants, rings.scratch, p, lo, n - lo
    )
    cpu_rows.northward_row(p, rings.bits[slot], numbers.rows[j], vg, lo + 1, n - lo - 1)


@kernel
def take_stage(numbers, stages, s, j, ny, lo, rings):
    """Row `j` after stage `s`, from column `lo` on."""
    hi = rings.scratch.size - lo
    slots, depth = rings.rates.shape[0], rings.state.shape[1]
    slot, at = j % slots, j % depth
    # rows beyond the grid are not read through their closed faces: any finite one will do
    south, north = max(j - 1, 0), min(j + 1, ny - 1)
    bits, row, rates = rings.bits[slot], numbers.rows[j], rings.rates[slot]
    levels, constants, new, old = numbers.levels, numbers.constants, stages.new[s], stages.old[s]
    state, after = rings.state[s], rings.state[s + 1, at]
    below, here, beyond = state[south % depth], state[at], state[north % depth]
    flow, w = rings.flow, rings.w[slot]
    cpu_rows.tracers_row(
        below[0], here[0], beyond[0], below[1], here[1], beyond[1], flow[slot, 0],
        flow[south % slots, 1], flow[slot, 1], w, bits, row, levels, constants, new, old,
        rates[0], rates[1], after[0], after[1], lo, hi,
    )  # fmt: skip
    p = rings.pressure[s]
    p_south, p_here, p_north = p[south % depth], p[at], p[north % depth]
    cpu_rows.vorticity_row(
        below[2], here[2], beyond[2], p_south[0], p_here[0], p_north[0], p_south[1], p_here[1],
        p_north[1], w, rings.surface[slot, 1, 0], bits, row, levels, constants, new, old,
        rings.scratch, rates[2], after[2], lo, hi,
    )  # fmt: skip
    if stages.other[s] != 0:
        base = rings.state[stages.base[s], at]
        for c in range(STATE):
            blend(base[c], stages.other[s], stages.own[s], after[c], lo, hi)


@kernel
def blend(base, other, own, row, lo, hi):
    """own * row + other * base, in place."""
    for k in range(row.shape[0]):
        for i in range(np.uint64(lo), np.uint64(hi)):
            row[k, i] = own * row[k, i] + other * base[k, i]


@kernel
def store_row(rings, count, j, tile, last_pass, result, new_rates):
    """Write row `j` after the last stage."""
    slot, at = j % rings.rates.shape[0], j % rings.state.shape[1]
    first = count * tile.reach
    for c in range(STATE):
        cpu_rows.store_field(rings.state[count, at, c], first, j, tile.west, tile.east, result[c])
        if not last_pass:
            rates = rings.rates[slot, c]
            cpu_rows.store_field(rates, first, j, tile.west, tile.east, new_rates[c])


@kernel
def march_tile(window, rates, flags, numbers, stages, tile, rings, result, new_rates):
    """Take the stages in a tile.

    Args:
        window: See `Window`.
        rates: Tendencies before the first stage (3, nz, ny, nx); read unless `stages.first`.
        flags: `tables.Tables.flags`.
        numbers, stages, tile, rings: See there; the fields of `rings` hold anything.
        result: Temperature, salinity, vorticity (3 of (nz, ny, nx)), written in the tile.
        new_rates: Tendencies of the last stage; written in the tile unless `stages.last`.
    """
    count, slots, reach = stages.own.size, rings.rates.shape[0], tile.reach
    ny = flags.shape[1]
    start = max(tile.south - count * reach, 0)
    stop = min(tile.north + count * reach, ny)
    if not stages.pressure:
        rings.pressure[:] = rings.pressure.dtype.type(0)
    for front in range(start, tile.north + count * reach):
        if front < stop:
            load_row(window, rates, flags, numbers, stages.first, tile, front, count, rings)
        for s in range(count):
            if stages.pressure:
                newest = front - s * reach
                margin = (count - s) * reach
                if max(tile.south - margin, 0) <= newest < min(tile.north + margin, ny):
                    press(numbers, s, newest, s * reach, rings)
            j = front - (s + 1) * reach
            margin = (count - s - 1) * reach
            if max(tile.south - margin, 0) <= j < min(tile.north + margin, ny):
                take_stage(numbers, stages, s, j, ny, (s + 1) * reach, rings)
        j = front - count * reach
        if tile.south <= j:
            store_row(rings, count, j, tile, stages.last, result, new_rates)
