"""What `tvd` adds to a stage of a tracer in a row; see `physics.advection.limited_fluxes`.

The rise of a cell is half of the limited slope: the change from its centre to its northern face,
and alike for the east and upwards. Those of a row and the fluxes through its southern faces are
kept from the row before. See `cpu_stage` for the rows.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from hybridom.physics.fused import tables
from hybridom.physics.fused.compiler import inner
from hybridom.physics.fused.cpu_load import BELOW, EAST, FLOW_EAST, FLOW_NORTH, FLOW_TOP, NORTH

part = njit(inline="always")
RISE, FLUX = range(2)  # of `carried`
RISE_X, FLUX_X, ACROSS, RISE_Z, FLUX_Z = range(4, 9)  # lines of work memory


@part
def limited(before, after, share, zero):
    """Rise between two differences; `share` is a quarter, more or less on unequal spacing."""
    smallest = min(min(abs(before), abs(after)), share * abs(before + after))
    rise = smallest if before > zero else -smallest
    return rise if before * after > zero else zero


@part
def carried_by(flow, behind, ahead, zero):
    """Flux of the rise of the cell upstream."""
    return flow * behind if flow > zero else -flow * ahead


@part
def limit_zonal(here, masks, still, k, lines, quarter, zero, o, lo, hi):
    """Fluxes through eastern faces of level `k`, per depth."""
    real = here.dtype.type
    for i in range(lo, hi):
        x = here[k, i]
        before = real(masks[EAST, k, i - o]) * (x - here[k, i - o])
        after = real(masks[EAST, k, i]) * (here[k, i + o] - x)
        lines[RISE_X, i] = limited(before, after, quarter, zero)
    for i in range(lo, hi):
        flow = still[FLOW_EAST, k, i]
        lines[FLUX_X, i] = carried_by(flow, lines[RISE_X, i], lines[RISE_X, i + o], zero)


@part
def limit_lateral(
    here, north, beyond, masks, masks_north, still, carried, k, per_area, lines, quarter, zero, o,
    lo, hi,
):  # fmt: skip
    """Lateral losses of level `k`."""
    real = here.dtype.type
    for i in range(lo, hi):
        x = north[k, i]
        before = real(masks[NORTH, k, i]) * (x - here[k, i])
        after = real(masks_north[NORTH, k, i]) * (beyond[k, i] - x)
        rise = limited(before, after, quarter, zero)
        flux = carried_by(still[FLOW_NORTH, k, i], carried[RISE, k, i], rise, zero)
        across = (lines[FLUX_X, i] - lines[FLUX_X, i - o]) + (flux - carried[FLUX, k, i])
        carried[RISE, k, i] = rise
        carried[FLUX, k, i] = flux
        lines[ACROSS, i] = per_area * across


@inner
def limited_row(
    south, here, north, beyond, masks, masks_north, still, carried, former, rates, row, levels, new,
    old, lines, o, lo, hi,
):  # fmt: skip
    """One stage of a tracer in a row, with limited fluxes.

    Args:
        south: The tracer after the stage (nz, n), written.
        here, north, beyond: The tracer before it in this row and in the two rows in the north.
        masks, masks_north, still: See `cpu_load`.
        carried: `RISE` of this row, and `FLUX` through its southern faces per depth (2, nz, n);
            those of the row in the north as a result.
        former: Losses before (nz, n), per second.
        rates: Losses now without limited fluxes; with them, as a result.
        row, levels: See `cpu_rows.Numbers`.
        new, old: Weights of this tendency and of the one before, s.
        lines: Work memory (9, n).
        o, lo, hi: See `cpu_stage`.
    """
    nz, real, zero = here.shape[0], here.dtype.type, here.dtype.type(0)
    quarter, per_area = real(0.25), row[tables.AREA_INVERSE]
    lo, hi, o = np.uint64(lo), np.uint64(hi), np.uint64(o)
    lines[FLUX_X, lo - o] = zero  # what is in the west of the ocean is land
    for i in range(lo, hi):
        lines[RISE_Z, i] = zero
        lines[FLUX_Z, i] = zero
    for k in range(nz):
        limit_zonal(here, masks, still, k, lines, quarter, zero, o, lo, hi)
        limit_lateral(
            here, north, beyond, masks, masks_north, still, carried, k, per_area, lines, quarter,
            zero, o, lo, hi,
        )  # fmt: skip
        below, lowest = min(k + 1, nz - 1), min(k + 2, nz - 1)
        per_depth = levels[k, tables.DZ_INVERSE]
        # the central slope of the level below runs over the distance between its neighbours
        span = real(1) / levels[below, tables.DZ_UPPER_INVERSE]
        span += real(1) / levels[below, tables.DZ_LOWER_INVERSE]
        share = real(0.5) * levels[below, tables.DZ] / span
        for i in range(lo, hi):
            x = here[below, i]
            is_open = real(masks[BELOW, k, i])
            before = real(masks[BELOW, below, i]) * (x - here[lowest, i])
            rise = limited(before, is_open * (here[k, i] - x), share, zero)
            flux = carried_by(is_open * still[FLOW_TOP, below, i], rise, lines[RISE_Z, i], zero)
            loss = lines[ACROSS, i] + per_depth * (lines[FLUX_Z, i] - flux) + rates[k, i]
            lines[RISE_Z, i] = rise
            lines[FLUX_Z, i] = flux
            south[k, i] = here[k, i] - new * loss - old * former[k, i]
            rates[k, i] = loss


@inner
def begin_limited(
    far, south, here, north, masks_far, masks_south, masks, still_south, carried, lo, hi
):  # fmt: skip
    """Rise of a tracer in the first row of a stage, and flux through its southern faces.

    Args:
        far, south, here, north: The tracer in the two rows in the south, this row, and the next.
        masks_far, masks_south, masks, still_south: See `cpu_load`.
        carried: Result, see `limited_row`.
    """
    real, zero, quarter = here.dtype.type, here.dtype.type(0), here.dtype.type(0.25)
    for k in range(here.shape[0]):
        for i in range(np.uint64(lo), np.uint64(hi)):
            first = real(masks_far[NORTH, k, i]) * (south[k, i] - far[k, i])
            second = real(masks_south[NORTH, k, i]) * (here[k, i] - south[k, i])
            third = real(masks[NORTH, k, i]) * (north[k, i] - here[k, i])
            behind = limited(first, second, quarter, zero)
            rise = limited(second, third, quarter, zero)
            carried[RISE, k, i] = rise
            carried[FLUX, k, i] = carried_by(still_south[FLOW_NORTH, k, i], behind, rise, zero)
