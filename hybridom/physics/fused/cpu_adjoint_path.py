"""The states of a day once more, for its adjoint."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from hybridom.physics.fused import cpu, cpu_march, threads
from hybridom.physics.fused.cpu_rows import Numbers
from hybridom.physics.fused.types import Metrics, Settings, Start


class Path:
    """TEMPORARY"""

    def __init__(self, start: Start, b: int, metrics: Metrics, settings: Settings, values: Numbers):
        self.window = cpu._window(start, b, [x[b].numpy() for x in start[:3]])
        self.flags, self.settings, self.values = metrics.flags.numpy(), settings, values
        self.dtype = values.rows.dtype
        dt, e = settings.dt, settings.ab2_offset
        if settings.scheme == "rk3":
            self.stages = [(1, 0, dt, 0, 0), (1/4, 3/4, dt, 0, -1), (2/3, 1/3, dt, 0, -2)] * settings.substeps
        else:
            self.stages = [(1, 0, dt, 0, 0)] + [(1, 0, (1.5 + e) * dt, -(0.5 + e) * dt, 0)] * (settings.substeps - 1)
        self.size = 3 if settings.scheme == "rk3" else 1

    def run(self, state, rates, a, b):
        part = self.stages[a:b]
        own, other, new, old, base = (np.array(x) for x in zip(*part, strict=True))
        t = self.dtype
        st = cpu_march.Stages(own.astype(t), other.astype(t), new.astype(t), old.astype(t), base + np.arange(b-a), a == 0 or self.size == 3, False, True)
        into = tuple(np.empty_like(x) for x in state)
        new_rates = np.empty((3, *self.flags.shape), t)
        w = self.window._replace(state=state)
        ny, nx = self.flags.shape[1:]
        threads.run([functools.partial(cpu._march_tile, w, rates, self.flags, self.values, st, tile, into, new_rates) for tile in cpu.tiles(ny, nx, 1, self.settings.periodic)])
        return into, new_rates

    def states(self, first, last):
        rates = np.zeros((3, 1,1,1), self.dtype)
        at = first - first % self.size
        state = self.window.state
        if at:
            state, rates = self.run(state, rates, 0, at)
        found = []
        while True:
            for count in range(self.size):
                if at + count >= last: return found
                if count:
                    s, _ = self.run(state, rates, at, at + count)
                else:
                    s = state
                if at + count >= first: found.append(s)
            if at + self.size >= last: return found
            state, rates = self.run(state, rates, at, at + self.size)
            at += self.size
