"""One stage of a day in reverse, in a band of rows.

A front moves north through the rows of the band. Pressure is computed in the row of the front,
derivatives through the eastward geostrophic velocity in the row behind it, and everything else in
the row behind that one. Bands read what lies beyond their edges, and write rows of their own alone.
"""

from __future__ import annotations

import numpy as np

from hybridom.physics.fused import cpu_rows, tables
from hybridom.physics.fused.compiler import bare, kernel
from hybridom.physics.fused.cpu_adjoint_types import FIRST, FORMER, SECOND, TENDENCY, THIRD
from hybridom.physics.fused.cpu_halo import (
    M_T,
    M_ZETA,
    MARGIN,
    Q_S,
    Q_T,
    SLOPE_Y,
    S,
    T,
    load,
    load_bits,
    load_sum,
)
from hybridom.physics.fused.cpu_pressure import northward_row, pressure_reverse_level, pressure_row
from hybridom.physics.fused.cpu_reverse import (
    add_row,
    eastward_reverse_row,
    finish_tracer_level,
    finish_vorticity_level,
    tracers_east_level,
    tracers_north_level,
    tracers_top_level,
    vorticity_north_level,
)
from hybridom.physics.fused.cpu_reverse_limited import (
    limited_east_level,
    limited_north_level,
    limited_top_level,
)


@bare
def load_rows(day, stage, band, j, rings):
    """Put row `j` of everything into the rings, and compute its pressure."""
    at, rows, fields, bits = j % rings.bits.shape[0], day.numbers.rows, rings.fields, rings.bits
    spans = day.spans[j]
    load_bits(day.flags, j, bits[at])
    new = rows[j, tables.AREA_INVERSE] * stage.weights[TENDENCY]
    old = rows[j, tables.AREA_INVERSE] * stage.weights[FORMER]
    for c in range(3):
        load(stage.state[c], j, spans, bits[at], fields[at, T + c])
        after, into = stage.after[c], fields[at, M_T + c]
        if old == 0:
            load_sum(after, j, new, after, j, old, spans, bits[at], into)
        elif band.south <= j < band.north:
            load_sum(after, j, new, stage.result[c], j, old, spans, bits[at], into)
        else:
            edge = j - band.south if j < band.south else j - band.north
            load_sum(after, j, new, band.edges[c], edge + MARGIN, old, spans, bits[at], into)
    for i in range(day.zos.shape[1]):
        rings.a[MARGIN + i] = day.zos[j, i]
    levels, constants = day.numbers.levels, day.numbers.constants
    pressure_row(fields, at, spans, rings.a, levels, constants, rings.total, rings.pressure)
    northward_row(rings.pressure, bits, at, spans, rows, j, rings.northward)


@bare
def turn_eastward(day, j, rings):
    """What the eastward geostrophic velocity in row `j` passes on."""
    slots, ny = rings.bits.shape[0], day.flags.shape[1]
    at, south, north = j % slots, max(j - 1, 0) % slots, min(j + 1, ny - 1) % slots
    eastward_reverse_row(
        rings.pressure, rings.fields, rings.bits, south, at, north, day.spans[j],
        day.numbers.rows, j, day.numbers.constants, rings.a, rings.b, rings.c, rings.gain,
        rings.change,
    )  # fmt: skip


@bare
def turn_north(day, j, k, rings):
    """What passes the northern faces of row `j`, level `k`."""
    slots, ny, side = rings.bits.shape[0], day.flags.shape[1], j % 2
    at, north = j % slots, min(j + 1, ny - 1) % slots
    rows, constants, fields = day.numbers.rows, day.numbers.constants, rings.fields
    bits, spans = rings.bits, day.spans[j]
    vorticity_north_level(
        rings.northward, rings.gain, fields, bits, at, north, spans, rows, j, constants, k,
        rings.faces, side,
    )  # fmt: skip
    tracers_north_level(
        fields, bits, at, north, spans, rows, j, constants, day.v, k, rings.faces, side
    )
    if day.limited and j + 1 < ny:
        south, beyond = max(j - 1, 0) % slots, min(j + 2, ny - 1) % slots
        for c in range(2):
            limited_north_level(
                T + c, M_T + c, fields, bits, south, at, north, beyond, rows, j, day.v, k,
                rings.faces, side, Q_T + c,
            )  # fmt: skip


@bare
def turn_inside(day, j, k, rings):
    """What passes the eastern and the upper faces of row `j`, level `k`."""
    at, rows, levels = j % rings.bits.shape[0], day.numbers.rows, day.numbers.levels
    fields, bits, constants = rings.fields, rings.bits, day.numbers.constants
    spans = day.spans[j]
    tracers_east_level(
        fields, bits, at, spans, rows, j, constants, day.u, k, rings.slope_x, rings.q_t, rings.q_s
    )
    tracers_top_level(
        fields, bits, at, spans, rows, j, levels, constants, day.w, k, rings.slope_z, rings.top_t,
        rings.top_s,
    )  # fmt: skip
    if day.limited:
        for c in range(2):
            q_x, q_z = (rings.q_t, rings.top_t) if c == 0 else (rings.q_s, rings.top_s)
            limited_east_level(
                T + c, M_T + c, fields, bits, at, rows, j, day.u, k, rings.a, rings.b, rings.c,
                rings.d, q_x, rings.slope_x,
            )  # fmt: skip
            if k > 0:
                limited_top_level(
                    T + c, M_T + c, fields, bits, at, rows, j, levels, day.w, k, q_z, rings.slope_z
                )


@bare
def add_lateral(slope, faces, side, spans, rows, j, k, u, v):
    """Add to the derivatives with respect to u and v at the eastern and northern faces."""
    o, lo, face = np.uint64(1), np.uint64(MARGIN), np.uint64(j + 1)
    length_x, length_y = rows[j, tables.LENGTH_U], rows[j, tables.LENGTH_NORTH]
    for n in range(spans.shape[0]):
        for i in range(spans[n, 0], spans[n, 1]):
            u[k, j, i - lo + o] += length_x * slope[i]
    for n in range(spans.shape[0]):
        for i in range(spans[n, 0], spans[n, 1]):
            v[k, face, i - lo] += length_y * faces[side, SLOPE_Y, k, i]


@bare
def add_vertical(slope, fields, bits, at, spans, rows, j, levels, constants, k, w):
    """Add to the derivative with respect to w, also through the stretching of vorticity."""
    zero, lo, up = slope.dtype.type(0), np.uint64(MARGIN), max(k - 1, 0)
    stretch = constants[cpu_rows.STRETCHING] * rows[j, tables.CORIOLIS]
    stretch /= rows[j, tables.AREA_INVERSE]
    here = stretch * levels[k, tables.DZ_INVERSE]
    above = stretch * levels[up, tables.DZ_INVERSE] if k > 0 else zero
    for n in range(spans.shape[0]):
        for c in range(spans[n, 0], spans[n, 1]):
            more = here * fields[at, M_ZETA, k, c] - above * fields[at, M_ZETA, up, c]
            more += slope[c]
            w[k, j, c - lo] += more if bits[at, k, c] & np.uint8(tables.WET) else zero


@bare
def finish_level(day, stage, j, k, rings):
    """Write the derivatives with respect to the fields before a stage, in row `j`, level `k`."""
    at, side, real = j % rings.bits.shape[0], j % 2, rings.density.dtype.type
    levels, constants, spans = day.numbers.levels, day.numbers.constants, day.spans[j]
    first, third, fields = stage.weights[FIRST], stage.weights[THIRD], rings.fields
    tt = real(2) * constants[cpu_rows.THERMAL_SQUARE]
    ss, ts = real(2) * constants[cpu_rows.HALINE_SQUARE], constants[cpu_rows.MIXED]
    t_ref, s_ref = constants[cpu_rows.T_REF], constants[cpu_rows.S_REF]
    thermal = levels[k, cpu_rows.THERMAL] - tt * t_ref - ts * s_ref
    finish_tracer_level(
        T, S, thermal, tt, ts, rings.density, rings.q_t, Q_T, rings.top_t, rings.bottom_t, fields,
        rings.bits, at, spans, rings.faces, side, first, stage.after[0], third, j, k,
        stage.result[0],
    )  # fmt: skip
    haline = levels[k, cpu_rows.HALINE] - ss * s_ref - ts * t_ref
    finish_tracer_level(
        S, T, haline, ss, ts, rings.density, rings.q_s, Q_S, rings.top_s, rings.bottom_s, fields,
        rings.bits, at, spans, rings.faces, side, first, stage.after[1], third, j, k,
        stage.result[1],
    )  # fmt: skip
    finish_vorticity_level(
        rings.change, rings.bits, at, spans, rings.faces, side, first, stage.after[2], third, j, k,
        stage.result[2],
    )  # fmt: skip


@bare
def turn_row(day, stage, j, rings, gradients):
    """All derivatives in row `j`, from the lowest level upwards."""
    at, side, nz = j % rings.bits.shape[0], j % 2, rings.bits.shape[1]
    rows, levels, constants = day.numbers.rows, day.numbers.levels, day.numbers.constants
    fields, bits, spans, lo = rings.fields, rings.bits, day.spans[j], np.uint64(MARGIN)
    zero = rows.dtype.type(0)
    for i in range(np.uint64(rings.total.size)):
        rings.total[i] = rings.top_t[i] = rings.top_s[i] = zero
    for upwards in range(nz):
        k = nz - 1 - upwards
        for i in range(np.uint64(rings.total.size)):
            rings.bottom_t[i], rings.bottom_s[i] = rings.top_t[i], rings.top_s[i]
        turn_north(day, j, k, rings)
        pressure_reverse_level(
            rings.faces, side, fields, bits, at, spans, rows, j, levels, constants, k, rings.a,
            rings.b, rings.total, rings.density,
        )  # fmt: skip
        turn_inside(day, j, k, rings)
        add_lateral(rings.slope_x, rings.faces, side, spans, rows, j, k, gradients.u, gradients.v)
        add_vertical(
            rings.slope_z, fields, bits, at, spans, rows, j, levels, constants, k, gradients.w
        )
        finish_level(day, stage, j, k, rings)
    area, surface = rows.dtype.type(1) / rows[j, tables.AREA_INVERSE], constants[cpu_rows.SURFACE]
    for n in range(spans.shape[0]):
        for i in range(spans[n, 0], spans[n, 1]):
            is_wet = (bits[at, 0, i] & np.uint8(tables.WET)) != 0
            gradients.zos[j, i - lo] += surface * rings.total[i] if is_wet else zero
            gradients.source[j, i - lo] += area * fields[at, M_ZETA, 0, i]
    if stage.weights[SECOND] != 0:
        for c in range(3):
            add_row(stage.weights[SECOND], stage.second[c], bits, at, spans, j, stage.result[c])


@kernel
def reverse_band(day, stage, band, rings, gradients):
    """Take one stage in reverse in the rows of a band.

    Args:
        day, stage, band, gradients: See there.
        rings: See there; they hold anything.
    """
    ny, south, north = day.flags.shape[1], band.south, band.north
    rings.faces[(south - 1) % 2] = rings.faces.dtype.type(0)
    for front in range(south - MARGIN, north + MARGIN):
        if 0 <= front < ny:
            load_rows(day, stage, band, front, rings)
        if max(south - 1, 0) <= front - 1 < min(north + 1, ny):
            turn_eastward(day, front - 1, rings)
        j = front - 2
        if 0 <= j == south - 1:
            for k in range(day.flags.shape[0]):
                turn_north(day, j, k, rings)
        elif south <= j:
            turn_row(day, stage, j, rings, gradients)
