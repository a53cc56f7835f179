"""Learning rate as a closed form of the step, and which curriculum stage a step belongs to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up followed by a half cosine.

    The rate depends on the step alone, so the position of the schedule is the step itself and
    nothing else needs to be restored on resume.

    Attributes:
        peak: Learning rate at the end of the warm-up.
        final: Learning rate of the last step.
        warmup: Number of warm-up steps; the first step uses `peak / warmup`.
        total: Number of optimiser steps in the whole run.
    """

    peak: float
    final: float
    warmup: int
    total: int

    def __call__(self, step: int) -> float:
        """Learning rate of optimiser step `step`, counted from 0."""
        if step < self.warmup:
            return self.peak * (step + 1) / self.warmup
        # The last step lands on `final` exactly; a cosine of a single step stays at the peak.
        fraction = (step - self.warmup) / max(self.total - 1 - self.warmup, 1)
        cosine = 0.5 * (1.0 + math.cos(math.pi * min(fraction, 1.0)))
        return self.final + (self.peak - self.final) * cosine


@dataclass(frozen=True)
class Stage:
    """One part of the curriculum.

    Attributes:
        index: Position in the curriculum.
        days: Days unrolled for each sample.
        first: First optimiser step of the stage.
        last: One past its last optimiser step.
    """

    index: int
    days: int
    first: int
    last: int


def stages(curriculum: Sequence[tuple[int, int]]) -> list[Stage]:
    """Lay the curriculum, pairs of (days, steps), end to end along the optimiser steps."""
    laid, first = [], 0
    for index, (days, steps) in enumerate(curriculum):
        laid.append(Stage(index, days, first, first + steps))
        first += steps
    return laid
