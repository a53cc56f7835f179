"""The kernels on CPUs: entry points for `operators`."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hybridom.physics.fused import tables, threads
from hybridom.physics.fused.cpu_flow import flow, flow_adjoint
from hybridom.physics.fused.cpu_load import MASKS, TVD, UPWIND, VECTOR, Window
from hybridom.physics.fused.cpu_march import STATE, Rings, Stages, Tile, march_tile
from hybridom.physics.fused.cpu_rows import Numbers, numbers
from hybridom.physics.fused.types import Metrics, Settings, Start

__all__ = ["flow", "flow_adjoint", "march", "march_adjoint", "passes", "take_stages", "window_of"]

Fields = tuple[NDArray, ...]

# Stages of a pass: enough that arithmetic, not memory, sets the time; rows of so many stages and of
# a tile of so many columns fit the caches of a core.
PASS = 12
COLUMNS = 180
CELLS = 50_000  # of a tile, so that it takes longer than to hand it to a thread
REACH = {"upwind": 1, "tvd": 2}  # cells that a stage reads on each side


def march(start: Start, metrics: Metrics, settings: Settings) -> tuple[Tensor, Tensor, Tensor]:
    """See `operators.march`."""
    values = numbers(metrics, settings)
    windows = [window_of(start, metrics, settings, b) for b in range(start.thetao.shape[0])]
    rates: list[NDArray] | None = None
    t, s, zeta = (threads.empty(start.thetao.shape, start.thetao.dtype) for _ in range(STATE))
    *former, latest = passes(settings, values.rows.dtype)
    for stages in (*former, latest):
        if stages is latest:
            kept = [tuple(x[b : b + 1].numpy() for x in (t, s, zeta)) for b in range(len(windows))]
        else:
            kept = [tuple(np.empty_like(x)[None] for x in window.state) for window in windows]
        rates = take_stages(windows, rates, values, stages, settings.advection, kept)
        windows = [
            window._replace(state=tuple(x[0] for x in fields))
            for window, fields in zip(windows, kept, strict=True)
        ]
    return t, s, zeta


def march_adjoint(
    grads: tuple[Tensor, Tensor, Tensor], start: Start, metrics: Metrics, settings: Settings
) -> tuple[Tensor, ...]:
    """See `operators.march_adjoint`."""
    from hybridom.physics.fused import cpu_adjoint

    return cpu_adjoint.march_adjoint(grads, start, metrics, settings)


def window_of(start: Start, metrics: Metrics, settings: Settings, b: int) -> Window:
    """The fields of window `b`."""
    t, s, zeta, u, v, w, zos, source = (x[b].numpy() for x in start)
    flags, periodic = metrics.flags.numpy(), settings.periodic
    return Window((t, s, zeta), u, v, w, zos, source, flags, periodic)


def passes(settings: Settings, dtype: np.dtype, size: int = PASS) -> Iterator[Stages]:
    """The stages of a day, in passes over memory of at most `size` stages each."""
    steps, dt, offset = settings.substeps, settings.dt, settings.ab2_offset
    if settings.scheme == "rk3":
        # the stages of Shu and Osher, each an Euler step from the one before
        own, base = np.tile([1, 1 / 4, 2 / 3], steps), np.repeat(np.arange(steps), 3)
        new, old = np.full(own.size, dt), np.zeros(own.size)
    else:
        own, base = np.ones(steps), np.full(steps, -1)
        new, old = np.full(steps, dt * (1.5 + offset)), np.full(steps, -dt * (0.5 + offset))
        new[0], old[0] = dt, 0.0
    has_current = settings.geostrophic_advection or settings.planetary
    own, new, old = (x.astype(dtype) for x in (own, new, old))
    for begin in range(0, own.size, size):
        part = slice(begin, begin + size)
        first = begin == 0 or settings.scheme == "rk3"
        last = begin + size >= own.size or settings.scheme == "rk3"
        bases = base[part] - max(base[begin], 0)
        yield Stages(own[part], new[part], old[part], bases, first, last, has_current)


def take_stages(
    windows: Sequence[Window],
    rates: Sequence[NDArray] | None,
    values: Numbers,
    stages: Stages,
    advection: str,
    kept: Sequence[Fields],
) -> list[NDArray]:
    """Take the stages of a pass.

    Args:
        windows: Fields before the pass.
        rates: What this function returned for the pass before; None for the first one.
        values, stages: See there.
        advection: See `types.Settings`.
        kept: Of each window, temperature, salinity and vorticity after the last stages, 3 of
            (.., nz, ny, nx), as many stages as there is room for.

    Returns:
        What the next pass wants of each window (3, nz, ny, nx).
    """
    new_rates = [_room_for_rates(window, stages) for window in windows]
    before = rates or [np.empty((STATE, 1, 1, 1), values.rows.dtype)] * len(windows)
    # windows have the same ocean
    count, reach = stages.own.size, REACH[advection]
    tiles = list(_tiles(windows[0].flags, count, reach, len(windows)))
    threads.run(
        [
            functools.partial(_march_tile, window, former, values, stages, tile, fields, latter)
            for window, former, fields, latter in zip(windows, before, kept, new_rates, strict=True)
            for tile in tiles
        ]
    )
    return new_rates


def _room_for_rates(window: Window, stages: Stages) -> NDArray:
    field = window.state[0]
    return np.empty((STATE, *((1, 1, 1) if stages.last else field.shape)), field.dtype)


def _tiles(flags: NDArray, count: int, reach: int, windows: int) -> Iterator[Tile]:
    """Tiles for a pass of `count` stages, with as much ocean in the one as in the other.

    Results do not depend on them.
    """
    nz, ny, nx = flags.shape
    columns = max(round(nx / COLUMNS), 1)
    workers = torch.get_num_threads()
    # tiles in the north of each other overlap: as few as keep all threads busy to the end
    bands = min(
        range(1, max(nz * ny * nx // columns // CELLS, 1) + 1),
        key=lambda n: -(-windows * columns * n // workers) * (ny / n + count * reach),
    )
    begin = _vectors(count * reach + VECTOR)
    ocean = flags[0] & tables.WET
    for west, east in itertools.pairwise(_edges(ocean.sum(0), columns, VECTOR)):
        for south, north in itertools.pairwise(_edges(ocean[:, west:east].sum(1), bands, 1)):
            yield Tile(south, north, west, east, begin, reach, 1)


def _edges(weights: NDArray, parts: int, unit: int) -> list[int]:
    """Edges of so many parts of equal weight, each a multiple of `unit` long but for the last."""
    total = np.cumsum(weights, dtype=np.int64)
    inner = np.searchsorted(total, total[-1] * np.arange(1, parts) / parts) // unit * unit
    return sorted({0, weights.size, *inner.tolist()})


def _vectors(columns: int) -> int:
    """As many columns, in whole vectors."""
    return -(-columns // VECTOR) * VECTOR


def _march_tile(
    window: Window,
    rates: NDArray,
    values: Numbers,
    stages: Stages,
    tile: Tile,
    kept: Fields,
    new_rates: NDArray,
) -> None:
    dtype, count, reach = values.rows.dtype, stages.own.size, tile.reach
    row = window.flags.shape[0], 2 * tile.begin + _vectors(tile.east - tile.west)
    limited = 2 if reach == REACH["tvd"] else 0  # tracers
    slots, bases = (count + 1) * reach + 1, max(int(stages.base.max()) + 1, 0)
    shapes = {
        "state": ((reach + 1) * count + reach, STATE, *row),
        "base": (bases, 2 * reach + 1, STATE, *row),
        "current": (count, 2, 2, *row),
        "carried": (count, limited, 2, *row),
        "former": (limited, *row),
        "rates": (slots, STATE, *row),
        "still": (slots, TVD if limited else UPWIND, *row),
        "masks": (slots, MASKS, *row),
        "surface": (slots, row[-1]),
        "ocean": (slots, row[-1] // VECTOR),
        "wet": (row[-1],),
        "lines": (9, row[-1]),
    }
    flags = {"masks", "ocean", "wet"}
    types = {name: np.dtype(np.uint8) if name in flags else dtype for name in shapes}
    with threads.Memory([(shapes[name], types[name]) for name in Rings._fields]) as memory:
        march_tile(window, rates, values, stages, tile, Rings(*memory), kept, new_rates)
