"""A window of days taken through the model: for the loss, and for validation."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import astuple
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from hybridom.conditions import Conditions
from hybridom.metrics import METRICS, Moments, moments
from hybridom.stepper import HybridOM
from hybridom.training.distributed import Ranks
from hybridom.training.losses import StateLoss
from hybridom.variables import PROGNOSTIC, VARIABLES

if TYPE_CHECKING:
    from hybridom.data.datasets import Batch

# Names of the scores and the metric behind each; `persistence` is the RMSE of the first day held.
SCORES = {"rmse": "rmse", "acc": "acc_centred", "bias": "bias", "persistence": "rmse"}


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
        """Error of each channel (C,), mean over the K days and the batch."""
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
            None if batch.outer is None else batch.outer.select(1, k),
        )
        for k in range(batch.state.zos.shape[1])
    ]


def score_names(leads: Sequence[int]) -> tuple[str, ...]:
    """Names of the scores of `validate` in their order."""
    scores = (f"{score}_{v}_{lead}" for score in SCORES for v in PROGNOSTIC for lead in leads)
    return (*scores, "skill")


@torch.no_grad()
def validate(
    model: HybridOM, batches: Iterable[Batch], leads: Sequence[int], ranks: Ranks
) -> dict[str, float]:
    """Roll the model out over windows and score it as the stage `evaluate` does.

    Every window is a start. Its scores at a lead are those of `hybridom.metrics` over the whole
    grid, by area and, where there is depth, all levels together by volume, against the truth and
    with the climatology of the valid day; they are averaged over starts. An anomaly correlation
    that is undefined is left out of its average; any other score that is not finite shows.

    Args:
        model: The model; its mode is left as it was.
        batches: This process's windows, each at least as long as the last lead; there may be none.
        leads: Days to score, ascending.
        ranks: The processes that share the windows.

    Returns:
        `rmse_<variable>_<lead>`, `acc_...` (centred anomaly correlation), `bias_...` and
        `persistence_...` (RMSE of the first day held), in the units of the variable; and `skill`,
        the mean over variables of the RMSE over that of persistence at the last lead: lower is
        better, and below one beats persistence. The same on every process.
    """
    weights = np.where(model.wet.cpu().numpy(), model.grid.area, 0.0)
    shape = len(SCORES), len(PROGNOSTIC), len(leads)
    sums, counts = np.zeros(shape), np.zeros(shape)
    training = model.training
    model.eval()
    for batch in batches:
        for scores in _window_scores(model, batch.to(ranks.device), leads, weights):
            undefined = np.isnan(scores)
            undefined[[score != "acc" for score in SCORES]] = False
            sums += np.where(undefined, 0.0, scores)
            counts += ~undefined
    model.train(training)
    both = torch.as_tensor(np.stack([sums, counts]), device=ranks.device)
    sums, counts = ranks.add(both).cpu().numpy()
    mean = np.divide(sums, counts, out=np.full(shape, np.nan), where=counts > 0)
    by_score = dict(zip(SCORES, mean, strict=True))
    skill = np.mean(by_score["rmse"][:, -1] / by_score["persistence"][:, -1])
    values = [*mean.ravel().tolist(), float(skill)]
    return dict(zip(score_names(leads), values, strict=True))


def _window_scores(
    model: HybridOM, batch: Batch, leads: Sequence[int], weights: np.ndarray
) -> np.ndarray:
    """Scores (B, score, variable, lead) of every window of a batch; NaN beyond its end."""
    first = batch.state.select(1, 0)
    scores = np.full((len(first.zos), len(SCORES), len(PROGNOSTIC), len(leads)), np.nan)
    days = itertools.islice(model.unroll(first, conditions(batch)), leads[-1])
    for lead, forecast in enumerate(days, start=1):
        if lead not in leads:
            continue
        truth, normal = batch.state.select(1, lead), batch.climatology.select(1, lead)
        for v, name in enumerate(PROGNOSTIC):
            given = (getattr(x, name).cpu().numpy() for x in (forecast, first, truth, normal))
            for b, fields in enumerate(zip(*given, strict=True)):
                scores[b, :, v, leads.index(lead)] = _scores(name, fields, weights, model.grid.dz)
    return scores


def _scores(
    name: str, fields: tuple[np.ndarray, ...], weights: np.ndarray, thickness: np.ndarray
) -> list[float]:
    """Scores of one variable in the order of `SCORES`.

    Args:
        name: The variable.
        fields: Forecast, first day, truth and climatology ([nz,] ny, nx).
        weights: Cell area in the ocean, 0 on land (nz, ny, nx).
        thickness: Layer thickness (nz,).
    """
    forecast, first, truth, normal = fields
    model = _moments(name, (forecast, truth, normal), weights, thickness)
    persistence = _moments(name, (first, truth, normal), weights, thickness)
    return [
        float(METRICS[metric](persistence if score == "persistence" else model))
        for score, metric in SCORES.items()
    ]


def _moments(
    name: str,
    fields: tuple[np.ndarray, np.ndarray, np.ndarray],
    weights: np.ndarray,
    thickness: np.ndarray,
) -> Moments:
    """Moments of a variable over its whole ocean."""
    if not VARIABLES[name].has_depth:
        return moments(*fields, weights[0])
    # A level at a time: in float64, a whole variable and its products would fill the memory.
    levels = [astuple(moments(*parts)) for parts in zip(*fields, weights, strict=True)]
    return Moments(*np.transpose(levels)).pool_levels(thickness)
