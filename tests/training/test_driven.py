"""Training of a region: its driver in the loss, in validation, on resume and in the identity."""

from __future__ import annotations

import datetime as dt
import logging
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from hybridom.data.datasets import collate
from hybridom.errors import UserError
from hybridom.state import OceanState
from hybridom.training import loop
from hybridom.training.distributed import Ranks
from hybridom.training.identity import Identity, changes
from hybridom.training.rollout import Rollout, conditions, validate
from hybridom.training.stop import StopRequest
from tests import driven
from tests.training import world as tiny

CURRICULUM = (
    "training.curriculum=[{days: 1, steps: 4, forecasts: 0.5}, {days: 2, steps: 6, forecasts: 1}]"
)
GATED = (
    "networks.gate={name: resnet, embed: 8, blocks: 1}",
    "networks.driver=change",
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return driven.make_region(tmp_path_factory.mktemp("driven"))


def trainer_of(world, experiment: str, *overrides: str) -> loop.Trainer:
    config, layout = world.config(CURRICULUM, *overrides, experiment=experiment)
    return loop.Trainer(loop.narrow(config, "train"), layout, Ranks(0, 1, torch.device("cpu")))


def run(world, experiment: str, *overrides: str):
    config, layout = world.config(CURRICULUM, *overrides, experiment=experiment)
    loop.train(config, layout)
    return layout


@pytest.fixture(scope="module")
def reference(world):
    """Paths of a run that was never interrupted."""
    torch.set_num_threads(1)
    return run(world, "reference", *GATED)


@pytest.mark.parametrize("step", [2, 4, 7])
def test_a_run_that_was_stopped_goes_on_bit_for_bit(
    world, reference, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = loop.Trainer._asked

    def stop_at(self, stop: StopRequest) -> int:
        return loop.STOP if self.step == step - 1 else asked(self, stop)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(loop.Trainer, "_asked", stop_at)
        run(world, f"stopped{step}", *GATED)
    tiny.assert_same_run(run(world, f"stopped{step}", *GATED), reference)


def test_reading_every_day_anew_changes_nothing(world, reference) -> None:
    tiny.assert_same_run(run(world, "read_anew", *GATED, "training.cache=none"), reference)


def test_a_loader_process_gives_the_same_windows(world) -> None:
    found = []
    for workers in (0, 1):
        trainer = trainer_of(world, "loaders", f"training.num_workers={workers}")
        trainer.windows.open()
        trainer.windows.first_day()
        batches = trainer.windows.batches(trainer.stages[0], 0, 0)
        found.append([next(batches) for _ in range(2)])
    for one, other in zip(*found, strict=True):
        assert torch.equal(one.start, other.start)
        assert all(torch.equal(x, getattr(other.outer, n)) for n, x in one.outer.items())


def test_what_drives_a_window_reaches_the_loss(world) -> None:
    trainer = trainer_of(world, "loss")
    trainer.windows.open()
    batches = list(trainer.windows.batches(trainer.stages[1], 4, 0))
    batch = batches[0]
    assert batch.outer is not None and trainer.optimisation is not None
    days = conditions(batch)
    for k, day in enumerate(days):
        assert all(torch.equal(x, getattr(batch.outer, n)[:, k]) for n, x in day.outer.items())
    # The second stage is driven by forecasts alone, each of which has values of its own.
    starts = trainer.config.region.forecasts.starts(trainer.config.periods.train)
    for each in batches:
        for start, outer in zip(each.start, each.outer.zos[:, 0, 4, 4], strict=True):
            day = dt.date(1970, 1, 1) + dt.timedelta(int(start))
            begin = max(s for s in starts if s <= day)
            assert float(outer) == pytest.approx(driven.value("zos", day, begin), rel=1e-6)
    rollout = Rollout(trainer.model, mean_square)
    moved = replace(batch, outer=batch.outer.map(lambda x: x + 0.01))
    assert not torch.equal(rollout(batch), rollout(moved))


def mean_square(found: OceanState, truth: OceanState) -> torch.Tensor:
    return (found.thetao - truth.thetao).square().mean().reshape(1)


def test_forecasts_drive_validation_where_the_period_holds_a_whole_one(world) -> None:
    windows = trainer_of(world, "validated", "training.validation.starts=99").windows
    starts = {dt.date(2001, 2, 10), dt.date(2001, 2, 18)}
    days = []
    for item in windows.starts:
        day = dt.date(1970, 1, 1) + dt.timedelta(item["start"])
        days.append(day)
        found = [s for s in starts if s <= day and (day - s).days + 2 <= driven.DAYS]
        assert len(found) == 1
        expected = [driven.value("zos", day + dt.timedelta(k), found[0]) for k in range(3)]
        np.testing.assert_allclose(item["outer"]["zos"][:, 4, 4], expected, rtol=1e-6)
    # A window on each day of a forecast on which two more days follow.
    assert days == [s + dt.timedelta(n) for s in sorted(starts) for n in range(driven.DAYS - 1)]


def test_analyses_drive_validation_where_no_forecast_fits_and_the_log_says_so(
    world, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        windows = trainer_of(
            world,
            "analysed",
            "region.forecasts.days=15",
            "training.curriculum=[{days: 1, steps: 1}]",
        ).windows
    assert "holds no whole forecast of the driver (region.forecasts.days 15)" in caplog.text
    for item in windows.starts:
        day = dt.date(1970, 1, 1) + dt.timedelta(item["start"])
        expected = driven.value("zos", day, None)
        np.testing.assert_allclose(item["outer"]["zos"][0, 4, 4], expected, rtol=1e-6)


def test_validation_longer_than_the_forecasts_is_refused(world) -> None:
    with pytest.raises(UserError, match=r"validation\.leads: rollouts of 7 days, but .* have 6"):
        trainer_of(world, "long", "training.validation.leads=[1, 7]")


def test_validation_sees_the_driver(world) -> None:
    trainer = trainer_of(world, "seen")
    batch = collate([trainer.windows.starts[0]])
    scores = validate(trainer.model, [batch], [1, 2], trainer.ranks)
    batch = replace(batch, outer=batch.outer.map(lambda x: x + 0.01))
    moved = validate(trainer.model, [batch], [1, 2], trainer.ranks)
    assert scores["rmse_thetao_2"] != moved["rmse_thetao_2"]
    assert scores["persistence_thetao_2"] == moved["persistence_thetao_2"]


def test_a_region_is_another_run_with_another_driver(world, tmp_path) -> None:
    shutil.copytree(world.root, tmp_path / "copy")
    copy = tiny.World(tmp_path / "copy", world.grid, world.wet)
    places = [f"paths.{name}={tmp_path}/copy/{name}" for name in ("resources", "results")]
    one = trainer_of(copy, "one", *places).identity
    assert trainer_of(copy, "one", *places, "training.validation.every=3").identity == one
    assert one.values["region.driver.experiment"] == "coarse"

    file = trainer_of(copy, "one", *places, "region.driver.file=another.yaml").identity
    assert changes(one.values, file.values, file.neutral) == []
    every = trainer_of(copy, "one", *places, "region.forecasts.every=16").identity
    assert "region.forecasts.every 8 -> 16" in changes(one.values, every.values, every.neutral)
    without = trainer_of(copy, "one", *places, "training.curriculum=[{days: 1, steps: 9}]").identity
    assert "region.forecasts.every" not in without.values

    _, layout = copy.config(*places)
    start = dt.date(2001, 1, 9)
    shutil.rmtree(layout.driver.forecast_store(start))
    driven.write_forecast(layout, start, 8, shift=0.5)
    retrained = trainer_of(copy, "one", *places).identity
    assert changes(one.values, retrained.values, one.neutral) == ["driver forecasts"]
    assert retrained.hash != one.hash


def test_a_checkpoint_knows_the_driver_of_its_run(world, reference) -> None:
    trainer = trainer_of(world, "reference", *GATED)
    left = tiny.contents(trainer.folder.file(tiny.TOTAL))
    assert Identity.of_contents(left).values == trainer.identity.values


def test_without_a_region_nothing_new_is_in_the_identity(tmp_path) -> None:
    plain = tiny.make_world(tmp_path / "plain")
    config, layout = plain.config()
    ranks = Ranks(0, 1, torch.device("cpu"))
    trainer = loop.Trainer(loop.narrow(config, "train"), layout, ranks)
    values = trainer.identity.values
    new = ("region", "driver", "networks.gate", "networks.correction", "networks.driver")
    assert not [key for key in values if key.startswith(new)]
    assert values["training.curriculum"] == [{"days": 1, "steps": 6}, {"days": 2, "steps": 4}]
    assert trainer.windows.driver is None
    assert "outer" not in trainer.windows.starts[0]
    assert collate([trainer.windows.starts[0]]).outer is None


def test_a_driver_without_stores_stops_training_at_once(world, tmp_path) -> None:
    shutil.copytree(world.root, tmp_path / "copy")
    copy = tiny.World(tmp_path / "copy", world.grid, world.wet)
    places = [f"paths.{name}={tmp_path}/copy/{name}" for name in ("resources", "results")]
    _, layout = copy.config(*places)
    layout.driver.state_manifest(2001).unlink()
    with pytest.raises(UserError, match="hybridom prepare state --year 2001"):
        trainer_of(copy, "none", *places)
