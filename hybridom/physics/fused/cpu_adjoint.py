"""Adjoint of the day on CPUs: derivatives with respect to the fields at its start.

y_s are temperature, salinity and vorticity (T, S, zeta) before stage s, G their tendencies, and
L_s the derivatives with respect to y_s; `gpu_stages` has the weights of a stage,

    y_(s+1) = newest y_s + tendency G(y_s) + former G(y_(s-1)) + older y_(s-back)
    L_s = first L_(s+1) + second L_(s+2) + third L_(s+3) + (dG/dy)^T m
    m = tendency L_(s+1) + former L_(s+2)

Transport and mixing of c, with a_f what flows in through a face plus K (per length), over the faces
between open cells, divided by the area A (by dz for z):

    G_i = sum_f a_f (c_f - c_i) / A_i,  M_i = m_i / A_i

On an eastern face with transport X and the cells W and E, M* being M downstream (W where X = 0),

    q = X M* + K (M_E - M_W),  M* = M_E if X > 0 else M_W
    ((dG/dc)^T m)_i = q_east - q_west + q_north - q_south + q_top - q_bottom
    dX += (c_W - c_E) M*

and alike for y and z. So it is for zeta with X = length (ug_W + ug_E) / 2, Y alike, and for its
other terms

    d ug_i = length / 2 (dX_west + dX_east),  d vg_i = (length dY)_south,north / 2 - beta m_i
    dw_k += f (m_k / dz_k - m_(k-1) / dz_(k-1)),  d source += m_top

From the geostrophic velocities, F share (sum of the slopes of p on the open faces of a cell), with
e = 1 on open faces, to pressure, density, T, S and the sea surface:

    h_x = F share_x d vg,  h_y = -F share_y d ug
    dp_i = e_w (h_x,W + h_x,i) / dx - e_e (h_x,i + h_x,E) / dx + (y alike)
    d rho_k = g (dz_k sum_(l >= k) dp_l - (bottom_k - z_k) dp_k),   d zos += g rho0 sum_k dp_k
    dT += d rho (d rho / dT),   dS += d rho (d rho / dS)

Every cell gathers what it gets, in an order that does not depend on the number of threads. The
fields of the day are computed again, a few stages at a time, so that few have to be kept.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hybridom.physics.fused import tables, threads
from hybridom.physics.fused.cpu_adjoint_band import reverse_band
from hybridom.physics.fused.cpu_adjoint_path import Path
from hybridom.physics.fused.cpu_adjoint_types import (
    Band,
    Day,
    Fields,
    Gradients,
    Rings,
    Stage,
    rings,
)
from hybridom.physics.fused.cpu_halo import MARGIN, spans_of_rows
from hybridom.physics.fused.cpu_rows import numbers
from hybridom.physics.fused.gpu_stages import reverse_stages, stages
from hybridom.physics.fused.types import Metrics, Settings, Start

BAND = 45  # rows, at most
KEPT = 3  # states at a time, for a day of few stages; and for one of many,
SECTIONS = 8  # parts of the day at most


def march_adjoint(
    grads: tuple[Tensor, Tensor, Tensor], start: Start, metrics: Metrics, settings: Settings
) -> tuple[Tensor, ...]:
    """See `operators.march_adjoint`.

    The derivatives are those of transport in the form above, which equals the flux form for a flow
    that closes every layer; they are zero on land, and on faces and interfaces that are closed. On
    a periodic grid, whose seam is the first and the last face of a row, the last one has all of it.
    """
    result = Start(*(threads.empty(x.shape, x.dtype).zero_() for x in start))
    flags, values = metrics.flags.numpy(), numbers(metrics, settings)
    limited = settings.advection == "tvd"
    # limited fluxes look at land, too
    spans = spans_of_rows(flags, limited)
    for b in range(start.thetao.shape[0]):
        u, v, w, zos = (x[b].numpy() for x in start[3:7])
        day = Day(u, v, w, zos, flags, values, limited, spans)
        path = Path(start, b, metrics, settings, values)
        _reverse_day(tuple(g[b] for g in grads), day, path, [x[b].numpy() for x in result])
    return tuple(result)


def _reverse_day(out: tuple[Tensor, ...], day: Day, path: Path, result: list[NDArray]) -> None:
    """Take all stages of a window in reverse.

    Args:
        out: Derivatives with respect to the results of the day.
        day, path: See there.
        result: Derivatives with respect to the fields of `Start`; written, and zero before.
    """
    weights = reverse_stages(stages(path.settings))
    count, depth = len(weights), 3 if any(w.third for w in weights) else 2
    # L_s is written over L_(s + depth)
    fields = (result[0], result[1], result[2])
    buffers = [fields, *(_zeros_like(fields) for _ in range(depth - 1))]
    wet, zero = torch.from_numpy(day.flags & np.uint8(tables.WET) != 0), out[0].new_zeros(())
    for field, derivative in zip(buffers[count % depth], out, strict=True):
        torch.where(wet, derivative, zero, out=torch.from_numpy(field))
    gradients = Gradients(*result[3:])
    kept = max(KEPT, -(-count // SECTIONS))
    for first in reversed(range(0, count, kept)):
        states = path.states(first, min(first + kept, count))
        for s, state in reversed(list(enumerate(states, first))):
            w, (after, second, into) = weights[s], (buffers[(s + n) % depth] for n in (1, 2, 0))
            factors = np.array([w.first, w.second, w.third, w.tendency, w.former], into[0].dtype)
            _reverse_stage(day, Stage(state, after, second, into, factors), gradients)


def _zeros_like(fields: Fields) -> Fields:
    t, s, zeta = (threads.empty_array(x.shape, x.dtype) for x in fields)
    for field in (t, s, zeta):
        torch.from_numpy(field).zero_()
    return t, s, zeta


def _reverse_stage(day: Day, stage: Stage, gradients: Gradients) -> None:
    """Take one stage in reverse, in bands of rows."""
    ny, workers = day.flags.shape[1], torch.get_num_threads()
    # as many bands as keep all threads busy to the end
    count = min(-(-ny // (BAND * workers)) * workers, ny)
    bands = [_band(stage.result, *ends) for ends in threads.split(ny, count)]
    threads.run([functools.partial(_reverse_band, day, stage, band, gradients) for band in bands])


def _band(fields: Fields, south: int, north: int) -> Band:
    """The band from row `south` to `north`, with copies of the rows around it."""
    before = np.arange(south - MARGIN, south).clip(min=0)
    beyond = np.arange(north, north + MARGIN).clip(max=fields[0].shape[1] - 1)
    rows = np.concatenate([before, beyond])
    nz, _, nx = fields[0].shape
    a, b, c = (np.empty((nz, rows.size, nx), x.dtype) for x in fields)
    for field, edge in zip(fields, (a, b, c), strict=True):
        for at, row in enumerate(rows):
            edge[:, at] = field[:, row]
    return Band(south, north, (a, b, c))


def _reverse_band(day: Day, stage: Stage, band: Band, gradients: Gradients) -> None:
    with threads.Memory(rings(day)) as memory:
        reverse_band(day, stage, band, Rings(*memory), gradients)
