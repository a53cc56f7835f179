from __future__ import annotations

import socket
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from hybridom.config.output import FamilyName
from hybridom.evaluation.scores import aggregate, evaluate_start
from hybridom.figures import draw, figure_names
from hybridom.variables import PROGNOSTIC
from tests.evaluation import synthetic as synthetic_world
from tests.figures import tables


@pytest.fixture(scope="session")
def synthetic():
    """The module that writes a small world."""
    return synthetic_world


def training_record(steps=40):
    """A record of training as the loop writes it, validated every tenth step at days 1 and 4."""
    rng = np.random.default_rng(5)
    step = np.arange(1, steps + 1)
    columns = {"step": step, "days": np.where(step <= 30, 1, 3)}
    columns["loss"] = np.exp(-step / 20) + 0.1 * rng.random(steps)
    for name in PROGNOSTIC:
        columns[f"loss_{name}"] = columns["loss"] * (1 + 0.1 * rng.random(steps))
    columns["learning_rate"] = np.full(steps, 1e-3)
    for name in ("gradient_norm", "gradient_norm_ilap", "gradient_norm_state"):
        columns[name] = rng.uniform(0.5, 2.0, steps)
    for name in ("ilap", "state"):
        columns[f"update_ratio_{name}"] = rng.uniform(1e-4, 2e-3, steps)
    columns["samples_per_second"] = 8.0 / columns["days"] + 0.2 * rng.random(steps)
    columns["data_wait"] = 0.05 + 0.02 * rng.random(steps)
    for name in PROGNOSTIC:
        for lead in (1, 4):
            scores = {"rmse": np.exp(-step / 30) / lead, "acc": step / 50 / lead}
            scores["persistence"] = np.full(steps, 0.5)
            for score, values in scores.items():
                columns[f"{score}_{name}_{lead}"] = np.where(step % 10 == 0, values, np.nan)
    return pd.DataFrame(columns)


def with_families(config):
    """The configuration with every family of scores, and stretches that fit the coarse grid."""
    evaluation = config.evaluation
    spectra = evaluation.spectra.model_copy(update={"segment": 360.0})
    update = {"families": get_args(FamilyName), "spectra": spectra}
    return config.model_copy(update={"evaluation": evaluation.model_copy(update=update)})


def altered(config, **figures):
    """The configuration with other plotting options."""
    return config.model_copy(update={"figures": config.figures.model_copy(update=figures)})


@pytest.fixture(scope="session")
def scored(synthetic, tmp_path_factory):
    """A world with scores of its forecasts, invented tables of the other families, and a record
    of training."""
    world = synthetic.make_world(tmp_path_factory.mktemp("figures"))
    for start in world.config.forecast.start_dates():
        evaluate_start(world.config, world.layout, start)
    aggregate(world.config, world.layout)
    world.config = with_families(world.config)
    for family, make in tables.TABLES.items():
        if family != "scores":
            make(world.config).to_parquet(world.layout.table(family), index=False)
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
