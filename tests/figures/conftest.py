from __future__ import annotations

import socket

import numpy as np
import pandas as pd
import pytest

from hybridom.evaluation.scores import aggregate, evaluate_start
from hybridom.figures import draw, figure_names
from hybridom.variables import PROGNOSTIC
from tests.evaluation import synthetic as synthetic_world


@pytest.fixture(scope="session")
def synthetic():
    """The module that writes a small world."""
    return synthetic_world


def training_record(steps=40):
    """A record of training as the loop writes it, validated every tenth step."""
    rng = np.random.default_rng(5)
    step = np.arange(1, steps + 1)
    table = pd.DataFrame({"step": step, "days": np.where(step <= 30, 1, 3)})
    table["loss"] = np.exp(-step / 20) + 0.1 * rng.random(steps)
    for name in PROGNOSTIC:
        table[f"loss_{name}"] = table["loss"] * (1 + 0.1 * rng.random(steps))
    table["learning_rate"], table["gradient_norm"] = 1e-3, rng.uniform(0.5, 2.0, steps)
    for name in PROGNOSTIC:
        table[f"rmse_{name}"] = np.where(step % 10 == 0, np.exp(-step / 30), np.nan)
        table[f"persistence_{name}"] = np.where(step % 10 == 0, 0.5, np.nan)
    return table


@pytest.fixture(scope="session")
def scored(synthetic, tmp_path_factory):
    """A world with scores and a record of training."""
    world = synthetic.make_world(tmp_path_factory.mktemp("figures"))
    for start in world.config.forecast.start_dates():
        evaluate_start(world.config, world.layout, start)
    aggregate(world.config, world.layout)
    world.layout.train_log.parent.mkdir(parents=True)
    training_record().to_csv(world.layout.train_log, index=False)
    return world


@pytest.fixture(scope="session")
def drawn(scored):
    """The world with every figure drawn, without network."""
    with pytest.MonkeyPatch.context() as patch:

        def refuse(*arguments, **keywords):
            raise AssertionError("a figure tried to use the network")

        patch.setattr(socket, "getaddrinfo", refuse)
        patch.setattr(socket.socket, "connect", refuse)
        for name in figure_names(scored.config):
            draw(name, scored.config, scored.layout)
    return scored
