"""Exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from hybridom.training.sharding import local

WARM_UP = 10  # updates; the young average forgets its first, untrained members this fast


def decay_at(decay: float, updates: int) -> float:
    """Decay of an average that has seen `updates` sets of weights: min(decay, (1+n) / (10+n)).

    A constant decay would keep the untrained weights for about 1 / (1 - decay) steps.
    """
    return min(decay, (1 + updates) / (WARM_UP + updates))


class Average:
    """Averages that follow w <- d w + (1 - d) w_model on each update, beside the weights.

    Args:
        parameters: The weights that are trained; of sharded ones, the same shard is averaged.
        decay: Largest decay d, in (0, 1); see `decay_at`. The first update copies the weights.

    Attributes:
        weights: The averages, in the order of `parameters`.
        updates: Sets of weights seen.
    """

    def __init__(self, parameters: Sequence[Tensor], decay: float) -> None:
        self.parameters, self.decay = list(parameters), decay
        self.weights = [p.detach().clone() for p in self.parameters]
        self.updates = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take the present weights into the average."""
        d = decay_at(self.decay, self.updates) if self.updates > 0 else 0.0
        means, current = self._pairs()
        if d == 0.0:
            torch._foreach_copy_(means, current)
        else:
            torch._foreach_lerp_(means, current, 1.0 - d)
        self.updates += 1

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Let the model hold the averages while the block runs."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        # Values move, not storages: shards, compiled code and gradient buckets hold on to those.
        for mean, weight in zip(*self._pairs(), strict=True):
            kept = weight.clone()
            weight.copy_(mean)
            mean.copy_(kept)

    def _pairs(self) -> tuple[list[Tensor], list[Tensor]]:
        return [local(x) for x in self.weights], [local(x) for x in self.parameters]
