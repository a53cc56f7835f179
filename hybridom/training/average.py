"""Exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

WARM_UP = 10  # updates; the young average forgets its first, untrained members this fast


def decay_at(decay: float, updates: int) -> float:
    """Decay of an average that has seen `updates` sets of weights: min(decay, (1+n) / (10+n)).

    A constant decay would keep the untrained weights for about 1 / (1 - decay) steps.
    """
    return min(decay, (1 + updates) / (WARM_UP + updates))


def moving_average(model: nn.Module, decay: float) -> AveragedModel:
    """A copy of `model` whose weights follow w <- d w + (1 - d) w_model on each update.

    Args:
        model: The model that is trained.
        decay: Largest decay, in (0, 1); see `decay_at`. The first update copies the weights.
    """

    @torch.no_grad()
    def update(average: Sequence[Tensor], current: Sequence[Tensor], updates: Tensor | int) -> None:
        d = decay_at(decay, int(updates))
        for mean, weight in zip(average, current, strict=True):
            mean.lerp_(weight, 1.0 - d)

    return AveragedModel(model, multi_avg_fn=update)
