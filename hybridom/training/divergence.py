"""Early warning: a loss that runs away from what the run has reached already."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any


class Divergence:
    """Compares the mean loss of the last steps with the lowest such mean of the curriculum stage.

    Longer windows have larger losses, so every stage starts from nothing. The first mean of a stage
    comes with its step `steps`; a stage that is shorter is not watched.

    Args:
        factor: Times the lowest mean from which on the run counts as diverging.
        steps: Steps in a mean.
    """

    def __init__(self, factor: float, steps: int) -> None:
        self.factor, self.steps = factor, steps
        self.start_stage()

    def start_stage(self) -> None:
        """Forget the losses of the stage before."""
        self.losses: deque[float] = deque(maxlen=self.steps)
        self.lowest = math.inf

    def add(self, loss: float) -> None:
        """Take in the finite loss of one step."""
        self.losses.append(loss)
        self.lowest = min(self.lowest, self.mean)

    @property
    def mean(self) -> float:
        """Mean loss of the last `steps` steps in float64; infinite while there are fewer."""
        if len(self.losses) < self.steps:
            return math.inf
        return math.fsum(self.losses) / self.steps

    def reason(self) -> str | None:
        """Why the run counts as diverging, with the numbers; None where it does not."""
        if not self.factor * self.lowest < self.mean < math.inf:
            return None
        return (
            f"the mean loss of the last {self.steps} steps is {self.mean:.4g}, more than "
            f"training.divergence.factor {self.factor:g} times the lowest such mean of this "
            f"curriculum stage, {self.lowest:.4g}"
        )

    def state(self) -> dict[str, Any]:
        """What a resumable checkpoint keeps."""
        return {"losses": list(self.losses), "lowest": self.lowest}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state`; `factor` and `steps` may have changed since."""
        self.losses = deque(state["losses"], maxlen=self.steps)
        self.lowest = state["lowest"]
