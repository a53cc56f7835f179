"""A window of days taken through the model: for the loss, and for validation."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hybridom.state import OceanState
from hybridom.stepper import Conditions, HybridOM
from hybridom.training.distributed import Ranks
from hybridom.training.losses import StateLoss, cell_weights
from hybridom.variables import PROGNOSTIC

if TYPE_CHECKING:
    from hybridom.data.datasets import Batch


class Rollout(nn.Module):
    """The model unrolled over a window, as one module.

    Gradient synchronisation between processes hooks into a module's `forward`, which therefore has
    to span the whole window.

    Args:
        model: The model.
        loss: Compares each day with the truth.
    """

    def __init__(self, model: HybridOM, loss: StateLoss) -> None:
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(self, batch: Batch) -> Tensor:
        """Error of each variable (V,), mean over the K days and the batch."""
        days = conditions(batch)
        forecasts = self.model.unroll(batch.state.select(1, 0), days)
        errors = [self.loss(x, batch.state.select(1, k)) for k, x in enumerate(forecasts, start=1)]
        return torch.stack(errors).mean(dim=0)


def conditions(batch: Batch) -> list[Conditions]:
    """Split a batch of windows (B, K + 1, ...) into the conditions of its K + 1 days."""
    return [
        Conditions(
            batch.forcing.select(1, k),
            batch.climatology.select(1, k),
            batch.forcing_climatology.select(1, k),
        )
        for k in range(batch.state.zos.shape[1])
    ]


@torch.no_grad()
def validate(model: HybridOM, batches: Iterable[Batch], ranks: Ranks) -> dict[str, float]:
    """Roll the model out over windows and score the last day.

    Args:
        model: The model; it is left in evaluation mode.
        batches: This process's windows, all of the same length.
        ranks: The processes that share the windows.

    Returns:
        `rmse_<variable>` of the model and `persistence_<variable>` of the first day kept, in the
        units of the variable: the root of the mean over windows and wet cells (by volume, the sea
        surface by area) of the squared error.
    """
    model.eval()
    share = cell_weights(model.grid, model.wet.cpu().numpy(), "thickness")
    share = {name: x.to(ranks.device) for name, x in share.items()}
    total = torch.zeros(2 * len(PROGNOSTIC) + 1, dtype=torch.float64, device=ranks.device)
    for batch in batches:
        batch = batch.to(ranks.device)
        first, last = batch.state.select(1, 0), batch.state.select(1, -1)
        # A queue of one keeps the last day and lets go of those before it.
        (forecast,) = deque(model.unroll(first, conditions(batch)), maxlen=1)
        errors = [_squared(x, last, share) for x in (forecast, first)]
        total += torch.cat([*errors, torch.full_like(total[:1], len(last.zos))])
    total = ranks.add(total)
    roots = (total[:-1] / total[-1]).sqrt().tolist()
    names = [f"{system}_{v}" for system in ("rmse", "persistence") for v in PROGNOSTIC]
    return dict(zip(names, roots, strict=True))


def _squared(forecast: OceanState, truth: OceanState, share: dict[str, Tensor]) -> Tensor:
    """Mean squared error of each variable over the ocean, summed over the batch (V,)."""
    errors = forecast.zip_map(truth, lambda a, b: (a - b).double() ** 2)
    return torch.stack([(x * share[name]).sum() for name, x in errors.items()])
