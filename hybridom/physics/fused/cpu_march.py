"""Substeps of a tile of columns and rows, many of them in one pass over memory.

A front moves north. At each of its rows the first stage is taken of the row behind it, the second
one of the row behind that, and so on: rows of all stages are at hand in rings that fit a cache, and
memory is read and written once for all stages. Tiles overlap by the cells that the stages reach.
Columns without ocean near them are skipped: rows hold there what rows before them did.
"""

from __future__ import annotations

from typing import NamedTuple

from numpy.typing import NDArray

from hybridom.physics.fused.compiler import inner, kernel
from hybridom.physics.fused.cpu_limited import begin_limited, limited_row
from hybridom.physics.fused.cpu_load import (
    VECTOR,
    Row,
    clear,
    copy,
    load_row,
    next_ocean,
    store_row,
)
from hybridom.physics.fused.cpu_stage import current_row, stage_row

STATE = 3  # fields: temperature, salinity, vorticity


class Tile(NamedTuple):
    """Cells that a call is to step, and how they lie in rows of work memory.

    Attributes:
        south, north: Rows (exclusive).
        west, east: Columns (exclusive).
        begin: Column of the rows that `west` is, a multiple of `VECTOR`.
        reach: Cells that a stage reads on each side.
        step: Distance of columns that neighbour each other: 1; see `cpu_stage`.
    """

    south: int
    north: int
    west: int
    east: int
    begin: int
    reach: int
    step: int


class Stages(NamedTuple):
    """Stages of a pass: y := base + own * (y + new * rate + old * rate before - base).

    Attributes:
        own, new, old: Weights (stages,), of the type of the fields; of `new` and `old` in s.
        base: Number of the base (stages,), or -1; a stage with `own` = 1 starts from its base.
        first: Whether there is no rate before the first stage.
        last: Whether no rate is needed after the last stage.
        has_current: Whether vorticity needs the geostrophic velocity.
    """

    own: NDArray
    new: NDArray
    old: NDArray
    base: NDArray
    first: bool
    last: bool
    has_current: bool


class Rings(NamedTuple):
    """Rows at hand, each in the slot that is its number modulo the slots.

    Row j before stage s is row j - s of `state`: a stage writes over the row in the south.

    Attributes:
        state: (slots, 3, nz, n).
        base: Bases (bases, slots, 3, nz, n).
        current: Pressure and northward velocity before each stage (stages, 2, 2, nz, n).
        carried: See `cpu_limited`, by stage and tracer (stages, tracers, 2, nz, n).
        former: Losses before a stage (tracers, nz, n); no tracers where fluxes are not limited.
        rates: Losses (slots, 3, nz, n).
        still, masks: See `cpu_load` (slots, .., nz, n).
        surface: Pressure of the sea surface (slots, n).
        ocean, wet: See `cpu_load.Row` (slots, n / `VECTOR`), (n,).
        lines: Work memory (9, n).
    """

    state: NDArray
    base: NDArray
    current: NDArray
    carried: NDArray
    former: NDArray
    rates: NDArray
    still: NDArray
    masks: NDArray
    surface: NDArray
    ocean: NDArray
    wet: NDArray
    lines: NDArray


@inner
def bounds(tile, columns, margin):
    """Columns of the rows that hold the tile and a margin, in whole vectors."""
    lo = (tile.begin - margin) // VECTOR * VECTOR
    return lo, tile.begin + (columns + margin + VECTOR - 1) // VECTOR * VECTOR


@inner
def begin_stage(numbers, stages, tile, s, j, ny, lo, hi, rings):
    """Prepare the first row of a stage: what it reads of the row in the south."""
    depth, slots, current = rings.state.shape[0], rings.masks.shape[0], rings.current[s]
    if j == 0:
        # no row is in the south; any finite values will do, since the faces between are closed
        copy(rings.state[-s % depth], rings.state[(-1 - s) % depth], lo, hi)
    for at in range(max(j - 1, 0), j + 1):
        if stages.has_current:
            current_row(
                rings.state[(at - s) % depth], rings.masks[at % slots], rings.surface[at % slots],
                numbers.rows[at], numbers.levels, numbers.constants, current[at % 2], rings.lines,
                tile.step, lo, hi,
            )  # fmt: skip
        else:
            clear(current[at % 2], lo, hi)
    if j == 0:
        copy(current[0], current[1], lo, hi)
    for c in range(rings.former.shape[0]):
        if j == 0:
            clear(rings.carried[s, c], lo, hi)
            continue
        far, north = max(j - 2, 0), min(j + 1, ny - 1)
        begin_limited(
            rings.state[(far - s) % depth, c], rings.state[(j - 1 - s) % depth, c],
            rings.state[(j - s) % depth, c], rings.state[(north - s) % depth, c],
            rings.masks[(j - 2) % slots], rings.masks[(j - 1) % slots], rings.masks[j % slots],
            rings.still[(j - 1) % slots], rings.carried[s, c], lo, hi,
        )  # fmt: skip


@inner
def take_stage(numbers, stages, tile, s, j, ny, lo, hi, rings):
    """Row `j` after stage `s`."""
    depth, slots = rings.state.shape[0], rings.masks.shape[0]
    # the last row stands in for the one in the north of it: the faces between are closed
    north = min(j + 1, ny - 1)
    south, here = rings.state[(j - 1 - s) % depth], rings.state[(j - s) % depth]
    masks, masks_north = rings.masks[j % slots], rings.masks[north % slots]
    still, rates, base = rings.still[j % slots], rings.rates[j % slots], stages.base[s]
    if base >= 0 and stages.own[s] == 1:
        copy(here, rings.base[base, j % rings.base.shape[1]], lo, hi)
    copy(rates, rings.former, lo, hi)
    stage_row(
        south, here, rings.state[(north - s) % depth], rings.current[s, (j - 1) % 2],
        rings.current[s, j % 2], rings.masks[(j - 1) % slots], masks, masks_north, still,
        rings.surface[north % slots], rates, numbers.rows[j], numbers.rows[north], numbers.levels,
        numbers.constants, stages.has_current, stages.new[s], stages.old[s], rings.lines, tile.step,
        lo, hi,
    )  # fmt: skip
    for c in range(rings.former.shape[0]):
        beyond = min(j + 2, ny - 1)
        limited_row(
            south[c], here[c], rings.state[(north - s) % depth, c],
            rings.state[(beyond - s) % depth, c], masks, masks_north, still, rings.carried[s, c],
            rings.former[c], rates[c], numbers.rows[j], numbers.levels, stages.new[s],
            stages.old[s], rings.lines, tile.step, lo, hi,
        )  # fmt: skip
    if base >= 0 and stages.own[s] != 1:
        blend(rings.base[base, j % rings.base.shape[1]], stages.own[s], south, lo, hi)


@inner
def blend(base, own, state, lo, hi):
    """base + own * (state - base), in place."""
    for c in range(state.shape[0]):
        for k in range(state.shape[1]):
            for i in range(lo, hi):
                state[c, k, i] = base[c, k, i] + own * (state[c, k, i] - base[c, k, i])


@kernel
def march_tile(window, rates, numbers, stages, tile, rings, kept, new_rates):
    """Take the stages in a tile.

    Args:
        window: See `cpu_load.Window`.
        rates: Losses before the first stage (3, nz, ny, nx), read unless `stages.first`.
        numbers, stages, tile, rings: See there; the rings hold anything.
        kept: Temperature, salinity, vorticity after the last stages (3 of (.., nz, ny, nx)).
        new_rates: Losses of the last stage (3, nz, ny, nx), written unless `stages.last`.
    """
    count, reach, ny = stages.own.size, tile.reach, window.flags.shape[1]
    slots, depth, n = rings.masks.shape[0], rings.state.shape[0], rings.masks.shape[-1]
    columns, first = tile.east - tile.west, tile.west - tile.begin
    start, stop = max(tile.south - count * reach, 0), min(tile.north + count * reach, ny)
    # what is beside the ocean must be finite
    for line in rings.lines:
        line[:] = rings.lines.dtype.type(0)
    for at in range(depth):
        clear(rings.state[at], 0, n)
    for at in range(slots):
        clear(rings.still[at], 0, n)
        rings.surface[at] = rings.surface.dtype.type(0)
    # the faces in the south of the first row are closed
    clear(rings.masks[(start - 1) % slots], 0, n)
    for front in range(start, tile.north + count * reach):
        if front < stop:
            at = front % slots
            row = Row(
                rings.state[front % depth], rings.rates[at], rings.still[at], rings.masks[at],
                rings.surface[at], rings.ocean[at], rings.wet,
            )  # fmt: skip
            south = rings.masks[(front - 1) % slots]
            lo, hi = bounds(tile, columns, count * reach)
            load_row(window, rates, stages.first, numbers, front, first, south, row, lo, hi)
        for s in range(count):
            j, margin = front - (s + 1) * reach, (count - s - 1) * reach
            south, north = max(tile.south - margin, 0), min(tile.north + margin, ny)
            if south <= j < north:
                lo, hi = bounds(tile, columns, margin + reach)
                if j == south:
                    begin_stage(numbers, stages, tile, s, j, ny, lo, hi, rings)
                ocean = rings.ocean[j % slots]
                begin, end = next_ocean(ocean, lo, hi)
                while begin < end:
                    take_stage(numbers, stages, tile, s, j, ny, begin, end, rings)
                    begin, end = next_ocean(ocean, end, hi)
                at = s - count + kept[0].shape[0]
                if at >= 0 and tile.south <= j < tile.north:
                    after, masks = rings.state[(j - 1 - s) % depth], rings.masks[j % slots]
                    for c in range(STATE):
                        store_row(after[c], masks, tile, j, kept[c][at])
        j = front - count * reach
        if tile.south <= j and not stages.last:
            for c in range(STATE):
                store_row(rings.rates[j % slots, c], rings.masks[j % slots], tile, j, new_rates[c])
