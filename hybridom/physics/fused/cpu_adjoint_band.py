"""One stage of a day in reverse, in a band of rows.

A front moves north through the rows of the band. Pressure is computed in the row of the front,
derivatives through the eastward geostrophic velocity in the row behind it, and everything else in
the row behind that one. Bands read what lies beyond their edges, and write rows of their own alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridom.physics.fused import cpu_reverse, cpu_reverse_limited, cpu_rows, tables
from hybridom.physics.fused.compiler import kernel
from hybridom.physics.fused.cpu_halo import MARGIN, load, load_bits, load_sum, wrap
from hybridom.physics.fused.cpu_pressure import northward_row, pressure_reverse_row, pressure_row
from hybridom.physics.fused.cpu_rows import Numbers

# entries of `Stage.weights`
FIRST, SECOND, THIRD, TENDENCY, FORMER = range(5)

Fields = tuple[NDArray, NDArray, NDArray]


class Day(NamedTuple):
    """What stays the same over the day, of one window.

    Attributes:
        u, v, w, zos: See `types.Start`, without the axis of windows.
        flags: See `tables.Tables`.
        numbers: Metrics and coefficients.
        limited: Whether the advection of tracers is `tvd`.
    """

    u: NDArray
    v: NDArray
    w: NDArray
    zos: NDArray
    flags: NDArray
    numbers: Numbers
    limited: bool


class Stage(NamedTuple):
    """Temperature, salinity and vorticity (3 of (nz, ny, nx) each) around a stage s.

    Attributes:
        state: The fields y_s; anything on land.
        after: Derivatives L_(s+1); anything on land, as all of them.
        second: L_(s+2), where its weight is not zero.
        result: Before, L_(s+2) where `FORMER` is not zero, L_(s+3) where `THIRD` is not; finite in
            the ocean in any case. After, L_s, zero on land.
        weights: (5,), those of `gpu_stages.ReverseStage` in their order.
    """

    state: Fields
    after: Fields
    second: Fields
    result: Fields
    weights: NDArray


class Band(NamedTuple):
    """Rows of one call.

    Attributes:
        south, north: Rows (exclusive).
        edges: What `Stage.result` holds before in the `MARGIN` rows in the south of the band, and
            then in those in the north of it (3 of (nz, 2 `MARGIN`, nx)): other calls write them.
    """

    south: int
    north: int
    edges: Fields


class Gradients(NamedTuple):
    """Derivatives with respect to the fields that stay the same, added up over the stages.

    Attributes:
        u, v, w, zos, source: See `types.Start`, without the axis of windows. That of the seam is
            in the last column of `u`.
    """

    u: NDArray
    v: NDArray
    w: NDArray
    zos: NDArray
    source: NDArray


class Rings(NamedTuple):
    """Rows at hand, each in the slot that is its number modulo the slots.

    Attributes:
        fields: Temperature, salinity, vorticity, then m of each (slots, 6, nz, n).
        bits: (slots, nz, n).
        pressure: Pressure, northward velocity, then the results of
            `cpu_reverse.eastward_reverse_row` (slots, 4, nz, n).
        north: Results of `cpu_reverse.vorticity_north_row` and `tracers_north_row`
            (2, 6, nz, n).
        density: Derivative with respect to density (nz, n).
        lines: Scratch (12, n).
    """

    fields: NDArray
    bits: NDArray
    pressure: NDArray
    north: NDArray
    density: NDArray
    lines: NDArray


def rings(day: Day) -> list[tuple[tuple[int, ...], np.dtype]]:
    """Shapes and types of `Rings`."""
    nz, n, dtype = day.flags.shape[0], day.flags.shape[2] + 2 * MARGIN, day.numbers.rows.dtype
    slots = 4 if day.limited else 3
    return [
        ((slots, 6, nz, n), dtype),
        ((slots, nz, n), np.dtype(np.uint8)),
        ((slots, 4, nz, n), dtype),
        ((2, 6, nz, n), dtype),
        ((nz, n), dtype),
        ((12, n), dtype),
    ]


@kernel
def load_rows(day, stage, band, j, rings):
    """Put row `j` of everything into the rings, and compute its pressure."""
    at, row, numbers = j % rings.bits.shape[0], day.numbers.rows[j], day.numbers
    bits, fields = rings.bits[at], rings.fields[at]
    load_bits(day.flags, j, bits)
    new = row[tables.AREA_INVERSE] * stage.weights[TENDENCY]
    old = row[tables.AREA_INVERSE] * stage.weights[FORMER]
    for c in range(3):
        load(stage.state[c], j, bits, fields[c])
        after = stage.after[c]
        if old == 0:
            load_sum(after, j, new, after, j, old, bits, fields[3 + c])
        elif band.south <= j < band.north:
            load_sum(after, j, new, stage.result[c], j, old, bits, fields[3 + c])
        else:
            edge = j - band.south if j < band.south else j - band.north
            edge += MARGIN
            load_sum(after, j, new, band.edges[c], edge, old, bits, fields[3 + c])
    zos = rings.lines[0]
    for i in range(day.zos.shape[1]):
        zos[MARGIN + i] = day.zos[j, i]
    wrap(zos)
    p, total = rings.pressure[at], rings.lines[1]
    pressure_row(fields[0], fields[1], zos, numbers.levels, numbers.constants, total, p[0])
    northward_row(p[0], bits, row, p[1])


@kernel
def turn_eastward(day, j, rings):
    """What the eastward geostrophic velocity in row `j` passes on."""
    slots, ny = rings.bits.shape[0], day.flags.shape[1]
    at, south, north = j % slots, max(j - 1, 0) % slots, min(j + 1, ny - 1) % slots
    p, fields, lines = rings.pressure, rings.fields[at], rings.lines
    cpu_reverse.eastward_reverse_row(
        p[south, 0], p[at, 0], p[north, 0], fields[2], fields[5], rings.bits[at],
        day.numbers.rows[j], day.numbers.constants, lines[0], lines[1], lines[2], p[at, 2],
        p[at, 3],
    )  # fmt: skip


@kernel
def turn_north(day, j, rings):
    """What passes the northern faces of row `j`."""
    slots, ny = rings.bits.shape[0], day.flags.shape[1]
    at, north = j % slots, min(j + 1, ny - 1) % slots
    here, beyond, result = rings.fields[at], rings.fields[north], rings.north[j % 2]
    p, p_north, bits = rings.pressure[at], rings.pressure[north], rings.bits[at]
    rows, constants = day.numbers.rows, day.numbers.constants
    cpu_reverse.vorticity_north_row(
        p[1], p_north[1], here[2], beyond[2], here[5], beyond[5], p[2], p_north[2], bits, rows[j],
        constants, result[0], result[1], result[2],
    )  # fmt: skip
    cpu_reverse.tracers_north_row(
        here[0], beyond[0], here[1], beyond[1], here[3], beyond[3], here[4], beyond[4], bits,
        rows[j], constants, day.v, j, result[3], result[4], result[5],
    )  # fmt: skip
    if day.limited and j + 1 < ny:
        below, last = rings.fields[max(j - 1, 0) % slots], rings.fields[min(j + 2, ny - 1) % slots]
        for c in range(2):
            cpu_reverse_limited.limited_north_row(
                below[c], here[c], beyond[c], last[c], below[3 + c], here[3 + c], beyond[3 + c],
                last[3 + c], bits, rings.bits[north], rows[j], rows[j + 1], day.v, j, result[4 + c],
                result[3],
            )  # fmt: skip


@kernel
def add_lateral(slope_x, slope_y, row, j, k, u, v):
    """Add to the derivatives with respect to u and v at the eastern and northern faces."""
    o, lo, face = np.uint64(1), np.uint64(MARGIN), np.uint64(j + 1)
    length_x, length_y = row[tables.LENGTH_U], row[tables.LENGTH_NORTH]
    for i in range(np.uint64(v.shape[2])):
        u[k, j, i + o] += length_x * slope_x[lo + i]
    for i in range(np.uint64(v.shape[2])):
        v[k, face, i] += length_y * slope_y[k, lo + i]


@kernel
def add_vertical(slope, mz, bits, row, levels, constants, j, k, w):
    """Add to the derivative with respect to w, also through the stretching of vorticity."""
    zero, lo, up = mz.dtype.type(0), np.uint64(MARGIN), max(k - 1, 0)
    stretch = constants[cpu_rows.STRETCHING] * row[tables.CORIOLIS] / row[tables.AREA_INVERSE]
    here = stretch * levels[k, tables.DZ_INVERSE]
    above = stretch * levels[up, tables.DZ_INVERSE] if k > 0 else zero
    for i in range(np.uint64(w.shape[2])):
        c = lo + i
        change = slope[c] + here * mz[k, c] - above * mz[up, c]
        w[k, j, i] += change if bits[k, c] & np.uint8(tables.WET) else zero


@kernel
def turn_level(day, j, k, top, rings):
    """What passes the eastern and the upper faces of row `j`, level `k`.

    Args:
        day, rings: See there. Results are in `rings.lines`: those of `tracers_east_level` in 0
            to 2, those of `tracers_top_level` in 3, `top` and `top` + 1.
    """
    at, numbers = j % rings.bits.shape[0], day.numbers
    row, levels, constants = numbers.rows[j], numbers.levels, numbers.constants
    fields, bits, lines = rings.fields[at], rings.bits[at], rings.lines
    t, s, mt, ms = fields[0], fields[1], fields[3], fields[4]
    cpu_reverse.tracers_east_level(
        t, s, mt, ms, bits, row, constants, day.u, j, k, lines[0], lines[1], lines[2]
    )
    cpu_reverse.tracers_top_level(
        t, s, mt, ms, bits, row, levels, constants, day.w, j, k, lines[3], lines[top],
        lines[top + 1],
    )  # fmt: skip
    if day.limited:
        for c in range(2):
            cpu_reverse_limited.limited_east_level(
                fields[c], fields[3 + c], bits, row, day.u, j, k, lines[8], lines[9], lines[10],
                lines[11], lines[1 + c], lines[0],
            )  # fmt: skip
            if k > 0:
                cpu_reverse_limited.limited_top_level(
                    fields[c], fields[3 + c], bits, row, levels, day.w, j, k, lines[top + c],
                    lines[3],
                )  # fmt: skip


@kernel
def turn_tracers(day, stage, j, rings, gradients):
    """Derivatives in row `j` with respect to temperature, salinity and the flow."""
    at, nz, real = j % rings.bits.shape[0], rings.bits.shape[1], rings.density.dtype.type
    row, levels, constants = day.numbers.rows[j], day.numbers.levels, day.numbers.constants
    fields, bits, lines, density = rings.fields[at], rings.bits[at], rings.lines, rings.density
    t, s, mz = fields[0], fields[1], fields[5]
    south, north = rings.north[(j - 1) % 2], rings.north[j % 2]
    own, older = stage.weights[FIRST], stage.weights[THIRD]
    tt = real(2) * constants[cpu_rows.THERMAL_SQUARE]
    ss, ts = real(2) * constants[cpu_rows.HALINE_SQUARE], constants[cpu_rows.MIXED]
    t_ref, s_ref = constants[cpu_rows.T_REF], constants[cpu_rows.S_REF]
    lines[4:8] = real(0)
    for upwards in range(nz):
        k = nz - 1 - upwards
        top, bottom = 4 + 2 * (k % 2), 6 - 2 * (k % 2)
        turn_level(day, j, k, top, rings)
        add_lateral(lines[0], north[3], row, j, k, gradients.u, gradients.v)
        add_vertical(lines[3], mz, bits, row, levels, constants, j, k, gradients.w)
        thermal = levels[k, cpu_rows.THERMAL] - tt * t_ref - ts * s_ref
        cpu_reverse.finish_level(
            t, s, thermal, tt, ts, density, lines[1], south[4], north[4], lines[top], lines[bottom],
            bits, own, stage.after[0], older, j, k, stage.result[0],
        )  # fmt: skip
        haline = levels[k, cpu_rows.HALINE] - ss * s_ref - ts * t_ref
        cpu_reverse.finish_level(
            s, t, haline, ss, ts, density, lines[2], south[5], north[5], lines[top + 1],
            lines[bottom + 1], bits, own, stage.after[1], older, j, k, stage.result[1],
        )  # fmt: skip


@kernel
def turn_row(day, stage, j, rings, gradients):
    """All derivatives in row `j`."""
    at, row, constants = j % rings.bits.shape[0], day.numbers.rows[j], day.numbers.constants
    south, north, bits = rings.north[(j - 1) % 2], rings.north[j % 2], rings.bits[at]
    mz, lines, area = rings.fields[at, 5], rings.lines, row.dtype.type(1) / row[tables.AREA_INVERSE]
    pressure_reverse_row(
        south[1], north[1], south[2], north[2], mz, bits, row, day.numbers.levels, constants,
        lines[0], lines[1], lines[2], rings.density,
    )  # fmt: skip
    for i in range(day.zos.shape[1]):
        gradients.zos[j, i] += constants[cpu_rows.SURFACE] * lines[2, MARGIN + i]
        gradients.source[j, i] += area * mz[0, MARGIN + i]
    turn_tracers(day, stage, j, rings, gradients)
    weights = stage.weights
    cpu_reverse.finish_vorticity_row(
        rings.pressure[at, 3], south[0], north[0], bits, weights[FIRST], stage.after[2],
        weights[THIRD], j, stage.result[2],
    )  # fmt: skip
    if weights[SECOND] != 0:
        for c in range(3):
            cpu_reverse.add_row(weights[SECOND], stage.second[c], j, bits, stage.result[c])


@kernel
def reverse_band(day, stage, band, rings, gradients):
    """Take one stage in reverse in the rows of a band.

    Args:
        day, stage, band, gradients: See there.
        rings: See there; they hold anything.
    """
    ny, south, north = day.flags.shape[1], band.south, band.north
    rings.north[(south - 1) % 2] = rings.north.dtype.type(0)
    for front in range(south - MARGIN, north + MARGIN):
        if 0 <= front < ny:
            load_rows(day, stage, band, front, rings)
        if max(south - 1, 0) <= front - 1 < min(north + 1, ny):
            turn_eastward(day, front - 1, rings)
        if max(south - 1, 0) <= front - 2:
            turn_north(day, front - 2, rings)
        if south <= front - 2:
            turn_row(day, stage, front - 2, rings, gradients)
