"""The kernels on CPUs: entry points for `operators`."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hybridom.physics.fused import threads
from hybridom.physics.fused.cpu_flow import flow, flow_adjoint
from hybridom.physics.fused.cpu_march import Rings, Stages, Tile, Window, march_tile
from hybridom.physics.fused.cpu_rows import Numbers, numbers
from hybridom.physics.fused.types import Metrics, Settings, Start

__all__ = ["flow", "flow_adjoint", "march", "march_adjoint"]

PASS = 12  # stages
TILE = 180  # columns


def march(start: Start, metrics: Metrics, settings: Settings) -> tuple[Tensor, Tensor, Tensor]:
    """See `operators.march`."""
    values, flags = numbers(metrics, settings), metrics.flags.numpy()
    states = [[x[b].numpy() for x in start[:3]] for b in range(start.thetao.shape[0])]
    rates = [np.empty((3, 1, 1, 1), values.rows.dtype) for _ in states]
    for stages in passes(settings, values.rows.dtype):
        result = [torch.empty_like(start.thetao) for _ in range(3)]
        new_rates = rates if stages.last else [np.empty((3, *flags.shape), values.rows.dtype) for _ in states]
        tasks = []
        for b, state in enumerate(states):
            window = _window(start, b, state)
            into = tuple(x[b].numpy() for x in result)
            for tile in tiles(flags.shape[1], flags.shape[2], 1, settings.periodic):
                tasks.append(functools.partial(_march_tile, window, rates[b], flags, values, stages, tile, into, new_rates[b]))
        threads.run(tasks)
        states = [[x[b].numpy() for x in result] for b in range(len(states))]
        rates = new_rates
    a, b, c = result
    return a, b, c


def passes(settings: Settings, dtype: np.dtype) -> Iterator[Stages]:
    """The stages of a day in as many passes over memory as needed; see `Stages`."""
    dt, e = settings.dt, settings.ab2_offset
    if settings.scheme == "rk3":
        substep = [(1, 0, dt, 0, 0), (1/4, 3/4, dt, 0, -1), (2/3, 1/3, dt, 0, -2)]
        day = substep * settings.substeps
    else:
        day = [(1, 0, dt, 0, 0)] + [(1, 0, (1.5 + e) * dt, -(0.5 + e) * dt, 0)] * (settings.substeps - 1)
    for at in range(0, len(day), PASS):
        part = day[at:at+PASS]
        own, other, new, old, base = (np.array(x) for x in zip(*part, strict=True))
        yield Stages(
            own.astype(dtype), other.astype(dtype), new.astype(dtype), old.astype(dtype),
            base + np.arange(len(part)), at == 0 or settings.scheme=="rk3", at + PASS >= len(day) or settings.scheme=="rk3",
            settings.geostrophic_advection or settings.planetary
        )


def tiles(ny, nx, reach, periodic) -> list[Tile]:
    n = max(round(nx / TILE), 1)
    edges = [nx * i // n for i in range(n + 1)]
    return [Tile(0, ny, a, b, reach, periodic) for a, b in zip(edges[:-1], edges[1:], strict=True)]


def _march_tile(window, rates, flags, values, stages, tile, into, new_rates):
    count, reach, dtype = stages.own.size, tile.reach, values.rows.dtype
    nz, n = flags.shape[0], tile.east - tile.west + 2 * count * reach
    depth = 2 * reach + 1 if not stages.other.any() else 3 * reach + 1
    slots = count * reach + 2
    arrays = {
        "state": ((count + 1, depth, 3, nz, n), dtype),
        "pressure": ((count, depth, 2, nz, n), dtype),
        "rates": ((slots, 3, nz, n), dtype),
        "flow": ((slots, 2, nz, n), dtype),
        "w": ((slots, nz + 1, n), dtype),
        "surface": ((slots, 2, 1, n), dtype),
        "bits": ((slots, nz, n), np.dtype(np.uint8)),
        "scratch": ((n,), dtype),
    }
    with threads.Memory(list(arrays.values())) as memory:
        march_tile(window, rates, flags, values, stages, tile, Rings(*memory), into, new_rates)


def _window(start: Start, b: int, state) -> Window:
    return Window(
        tuple(state),
        start.u[b].numpy()[:, :, 1:],
        start.v[b].numpy()[:, 1:],
        start.w[b].numpy(),
        start.zos[b : b + 1].numpy(),
        start.source[b : b + 1].numpy(),
    )


def march_adjoint(grads, start, metrics, settings):
    """See `operators.march_adjoint`."""
    from hybridom.physics.fused import cpu_adjoint

    return cpu_adjoint.march_adjoint(grads, start, metrics, settings)
