"""Validation scores against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hybridom.config import narrow
from hybridom.data.datasets import collate
from hybridom.training import loop
from hybridom.training.distributed import Ranks
from hybridom.training.rollout import conditions, validate
from hybridom.variables import PROGNOSTIC, VARIABLES

ALONE = Ranks(0, 1, torch.device("cpu"))


@pytest.fixture
def trainer(world) -> loop.Trainer:
    config, layout = world.config(experiment="rollout")
    made = loop.Trainer(narrow(config, "train"), layout, ALONE)
    with torch.no_grad():
        for weight in made.model.parameters():
            weight += 0.05 * torch.randn_like(weight)
    return made


def test_scores_are_root_mean_squares_over_windows_and_wet_cells(trainer, world) -> None:
    windows = [trainer.validation[i] for i in range(len(trainer.validation))]
    assert len(windows) == 2
    found = validate(trainer.model, [collate([w]) for w in windows], ALONE)
    grid, wet = world.grid, world.wet
    for name in PROGNOSTIC:
        deep = VARIABLES[name].has_depth
        weight = grid.area * (wet * grid.dz[:, None, None] if deep else wet[0])
        squares = {"rmse": [], "persistence": []}
        for window in windows:
            batch = collate([window])
            with torch.no_grad():
                states = list(
                    trainer.model.eval().unroll(batch.state.select(1, 0), conditions(batch))
                )
            truth = window["state"][name].numpy().astype(np.float64)
            model = getattr(states[-1], name)[0].numpy()
            for system, x in (("rmse", model), ("persistence", truth[0])):
                squares[system].append(np.average((x - truth[-1]) ** 2, weights=weight))
        for system, values in squares.items():
            expected = np.sqrt(np.mean(values))
            assert found[f"{system}_{name}"] == pytest.approx(expected, rel=1e-5)


def test_starts_span_the_period_and_ranks_share_them(world) -> None:
    config, layout = world.config("training.validation.starts=5", experiment="rollout")
    trainer = loop.Trainer(narrow(config, "train"), layout, ALONE)
    whole = list(trainer.validation.indices)
    assert whole[0] == 0 and whole[-1] == 12 and len(whole) == 5
    shares = []
    for rank in range(2):
        trainer.ranks = Ranks(rank, 2, torch.device("cpu"))
        shares += trainer._validation_windows().indices
    assert sorted(shares) == whole


def test_scores_are_means_over_windows_not_sums(trainer) -> None:
    window = collate([trainer.validation[0]])
    once = validate(trainer.model, [window], ALONE)
    assert validate(trainer.model, [window, window], ALONE) == pytest.approx(once)
