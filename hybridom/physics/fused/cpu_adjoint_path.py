"""The states of a day once more, for its adjoint."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hybridom.physics.fused import cpu, threads
from hybridom.physics.fused.cpu_rows import Numbers
from hybridom.physics.fused.types import Metrics, Settings, Start

# Stages of a pass, a multiple of the three of a substep of rk3; more than the day itself is
# integrated with, since fields between passes would take memory beside those that are asked for.
PASS = 24

Fields = tuple[NDArray, ...]


class Path:
    """The states of one window before the stages of a day, a few at a time.

    Whoever asks for states has the day integrated again from its start; they are valid until the
    next ones are asked for.
    """

    def __init__(
        self, start: Start, b: int, metrics: Metrics, settings: Settings, values: Numbers
    ) -> None:
        self.start = cpu.window_of(start, metrics, settings, b)
        self.settings, self.values = settings, values
        self.room: Fields = ()

    def states(self, first: int, last: int) -> list[Fields]:
        """Temperature, salinity and vorticity before the stages `first` to `last` (exclusive)."""
        if not self.room or len(self.room[0]) < last - max(first, 1):
            size = last - first
            self.room = tuple(
                threads.empty_array((size, *x.shape), x.dtype) for x in self.start.state
            )
        window, rates, at = self.start, None, 0
        found: list[Fields] = [window.state] if first == 0 else []
        for whole in cpu.passes(self.settings, self.values.rows.dtype, PASS):
            count = min(whole.own.size, last - 1 - at)
            if count == 0:
                break
            cut = {name: getattr(whole, name)[:count] for name in ("own", "new", "old", "base")}
            is_last = whole.last or at + count == last - 1
            stages, at = whole._replace(**cut, last=is_last), at + count
            wanted = min(count, at + 1 - max(first, 1))
            if wanted > 0:
                into = tuple(x[len(found) - (first == 0) :][:wanted] for x in self.room)
            else:
                into = tuple(np.empty_like(x[:1]) for x in self.room)
            advection = self.settings.advection
            rates = cpu.take_stages([window], rates, self.values, stages, advection, [into])
            states = list(zip(*into, strict=True))
            window = window._replace(state=states[-1])
            found += states if wanted > 0 else []
        return found
