"""Whole training runs on the tiny ocean: what they leave, refuse and learn."""

from __future__ import annotations

import csv
import errno
import logging
import os
import signal

import pytest
import torch

from hybridom import checkpoint
from hybridom.config import narrow
from hybridom.data.datasets import DayReader
from hybridom.data.days import day_number
from hybridom.errors import UserError
from hybridom.stepper import HybridOM
from hybridom.training import loop, windows
from hybridom.training.distributed import Ranks
from hybridom.training.monitor import Monitor
from hybridom.training.optimise import Optimisation
from hybridom.training.tracking import Record
from hybridom.variables import PROGNOSTIC
from tests.training import world as tiny


def test_a_run_leaves_a_record_and_averaged_weights(reference) -> None:
    rows = tiny.losses(reference.train_log)
    assert [row[0] for row in rows] == [str(step) for step in range(1, tiny.TOTAL + 1)]
    assert [row[1] for row in rows] == ["1"] * 6 + ["2"] * 4
    scored = [bool(row[-1]) for row in rows]
    assert scored == [step % 5 == 0 for step in range(1, tiny.TOTAL + 1)]
    last = tiny.contents(reference.checkpoints_dir / f"step_{tiny.TOTAL:09d}.pt")
    published = tiny.contents(reference.checkpoint)["model"]
    for name, weight in published.items():
        mean = last["average"]["weights"].get(name, last["model"][name])
        assert torch.equal(weight, mean), name
    assert any(not torch.equal(weight, last["model"][n]) for n, weight in published.items())
    assert last["average"]["updates"] == tiny.TOTAL
    assert last["progress"] == {"step": tiny.TOTAL, "consumed": 8, "ranks": 1}
    assert last["stopped"] is None


def test_a_loss_that_is_not_finite_stops_before_the_step_and_spares_the_checkpoints(
    world, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # no checkpoint is due by time, so the one found is that of the stop
    config, layout = world.config("training.checkpoint.minutes=60", experiment="nan")
    original = windows.collate
    calls = []

    def collate(items):
        batch = original(items)
        calls.append(len(items))
        if sum(calls) == 8:  # the fourth batch of two
            batch.state.uo.mul_(float("nan"))
        return batch

    monkeypatch.setattr(windows, "collate", collate)
    seen = []
    stepped = torch.optim.AdamW.step
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda s: (seen.append(1), stepped(s))[1])
    with pytest.raises(UserError, match=r"training step 4: the loss is nan .*uo") as caught:
        loop.train(config, layout)
    assert len(seen) == 3
    (file,) = layout.checkpoints_dir.glob("*.pt")
    assert file.name == "step_000000003.pt"
    assert f"{file} holds the run after step 3" in str(caught.value)
    assert "\n" not in str(caught.value)
    kept = tiny.contents(file)
    assert "training step 4: the loss is nan" in kept["stopped"]
    assert kept["progress"]["step"] == kept["average"]["updates"] == 3
    assert all(x.isfinite().all() for x in kept["model"].values())

    # the cause is gone: the run goes on, says where it comes from, and ends as any other
    monkeypatch.undo()
    with caplog.at_level(logging.INFO):
        loop.train(config, layout)
    assert "going on after step 3" in caplog.text
    assert "saved when training stopped: training step 4: the loss is nan" in caplog.text
    assert tiny.contents(layout.checkpoints_dir / "step_000000010.pt")["stopped"] is None


def test_a_gradient_that_is_not_finite_stops_before_the_step(
    world, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, layout = world.config(experiment="inf")
    norms = Monitor.gradient_norms
    monkeypatch.setattr(Monitor, "gradient_norms", lambda self: norms(self) * float("inf"))
    with pytest.raises(UserError, match="training step 1: the gradient norm is inf"):
        loop.train(config, layout)
    assert [x.name for x in layout.checkpoints_dir.glob("*.pt")] == ["step_000000000.pt"]


def test_without_networks_the_checkpoint_is_the_skeleton(world) -> None:
    off = ("networks.ilap.name=none", "networks.state.name=none")
    config, layout = world.config(*off, experiment="skeleton")
    loop.train(config, layout)
    model = checkpoint.load_model(layout.checkpoint).model
    assert model.skeleton is not None and not list(model.parameters())
    assert layout.train_log.exists()


def test_the_loss_falls_to_the_noise_free_law(world) -> None:
    """The law is linear and without noise, so a network that sees its inputs removes the loss."""
    config, layout = world.config(
        "skeleton.enabled=false",
        "networks.ilap.name=none",
        "networks.state.drop_path=0",
        "training.curriculum=[{days: 1, steps: 120}]",
        "training.learning_rate=5e-3",
        "training.final_learning_rate=1e-4",
        "training.batch=4",
        "training.ema=0",
        "training.warmup_steps=10",
        "training.loss.scale=tendency",
        "training.validation={every: 1000, leads: [2], starts: 5}",
        "training.checkpoint.minutes=60",
        experiment="learning",
    )
    loop.train(config, layout)
    with layout.train_log.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    first, last = float(rows[0]["loss"]), sum(float(row["loss"]) for row in rows[-10:]) / 10
    assert last < first / 5
    for name in PROGNOSTIC:
        rmse, persistence = (float(rows[-1][f"{s}_{name}_2"]) for s in ("rmse", "persistence"))
        assert rmse < 0.7 * persistence
    assert float(rows[-1]["skill"]) < 0.7


def test_loader_processes_change_no_bit(world) -> None:
    short = "training.curriculum=[{days: 2, steps: 3}]"
    runs = []
    for workers in (0, 1):
        setting = f"training.num_workers={workers}"
        config, layout = world.config(short, setting, experiment=f"workers{workers}")
        loop.train(config, layout)
        runs.append(layout)
    assert tiny.losses(runs[0].train_log) == tiny.losses(runs[1].train_log)


def test_accumulation_equals_one_large_batch(world) -> None:
    short = ("training.curriculum=[{days: 2, steps: 3}]", "networks.state.drop_path=0")
    short += ("networks.ilap.drop_path=0",)
    runs = []
    for name, shape in (
        ("large", ("training.batch=4",)),
        ("small", ("training.accumulate=4", "training.batch=1")),
    ):
        config, layout = world.config(*short, *shape, experiment=name)
        loop.train(config, layout)
        runs.append(layout)
    tiny.assert_close_runs(*runs, 1e-5)


def test_steps_after_a_validation_train_again(world, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an average it is the trained model itself that validation puts into evaluation."""
    short = ("training.curriculum=[{days: 1, steps: 3}]", "training.validation.every=1")
    config, layout = world.config(*short, "training.ema=0", experiment="modes")
    modes = []
    gradients = Optimisation._accumulate_gradients

    def spy(self, batches, step):
        modes.append(self.model.training)
        return gradients(self, batches, step)

    monkeypatch.setattr(Optimisation, "_accumulate_gradients", spy)
    loop.train(config, layout)
    assert modes == [True] * 3
    last = tiny.contents(layout.checkpoints_dir / "step_000000003.pt")["model"]
    torch.testing.assert_close(tiny.contents(layout.checkpoint)["model"], last, rtol=0.0, atol=0.0)


def test_a_grid_file_of_another_configuration_is_refused(world) -> None:
    config, layout = world.config("grid.depths=[10, 50, 300]", experiment="grid")
    with pytest.raises(UserError, match=r"grid\.nc"):
        loop.train(config, layout)


def test_validation_that_does_not_fit_its_period_is_refused_before_training(world) -> None:
    config, layout = world.config("training.validation.leads=[1,30]", experiment="long")
    with pytest.raises(UserError, match=r"training\.validation\.leads: .*30 days"):
        loop.train(config, layout)


def test_validation_without_enough_days_in_a_row_is_refused_before_training(
    world, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, layout = world.config("training.validation.leads=[1,3]", experiment="long")
    monkeypatch.setattr(
        DayReader, "days_without_data", lambda self, period: range(day_number(period.end))[::3]
    )
    with pytest.raises(UserError, match=r"training\.validation\.leads: .* no rollout of 3 days"):
        loop.train(config, layout)
    assert not layout.checkpoints_dir.exists()


def test_the_optimiser_decays_matrices_but_neither_gains_nor_biases(world) -> None:
    config, layout = world.config(experiment="groups")
    trainer = loop.Trainer(narrow(config, "train"), layout, Ranks(0, 1, torch.device("cpu")))
    assert isinstance(trainer.model, HybridOM)
    decayed, rest = trainer.optimisation.optimiser.param_groups
    assert all(p.ndim > 1 for p in decayed["params"]) and decayed["weight_decay"] == 0.01
    assert all(p.ndim <= 1 for p in rest["params"]) and rest["weight_decay"] == 0.0
    count = len(decayed["params"]) + len(rest["params"])
    assert count == len(list(trainer.model.parameters()))


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch):
    """While its one entry is true, no checkpoint can be written."""
    full, saved = [False], torch.save

    def save(contents, handle):
        if full[0]:
            handle.write(b"half of it")
            raise OSError(errno.ENOSPC, "No space left on device")
        saved(contents, handle)

    monkeypatch.setattr(torch, "save", save)
    return full


def each_step(monkeypatch: pytest.MonkeyPatch, act) -> None:
    """Call `act` with the number of every step before it is taken."""
    taken = Optimisation.take_step

    def take_step(self, batches, step, stop):
        act(step + 1)
        return taken(self, batches, step, stop)

    monkeypatch.setattr(Optimisation, "take_step", take_step)


def test_a_full_disk_costs_neither_the_run_nor_its_earlier_checkpoints(
    world, reference, full_disk, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    policy = "training.checkpoint={minutes: 1e-9, keep: 1}"
    config, layout = world.config(policy, experiment="full")
    there = {}

    def act(step: int) -> None:
        full_disk[0] = 4 <= step <= 7
        there[step] = sorted(path.name for path in layout.checkpoints_dir.glob("*.pt*"))

    each_step(monkeypatch, act)
    monkeypatch.setattr(loop, "validate", skills := Skills(loop.validate, [0.5, 0.6]))
    loop.train(config, layout)
    assert there[5] == there[8] == ["step_000000003.pt"]
    assert caplog.text.count("cannot be written (No space left on device)") == 4
    assert caplog.text.count("training goes on, earlier checkpoints are kept") == 4
    # the validation of step 5 was the better one, but nothing is left of it
    assert skills.left == []
    assert (layout.checkpoints_dir / "best.pt").resolve().name == "step_000000010.pt"
    published = tiny.contents(layout.checkpoint)["model"]
    expected = tiny.contents(reference.checkpoint)["model"]
    torch.testing.assert_close(published, expected, rtol=0.0, atol=0.0)


class Skills:
    """Validation whose skills are given."""

    def __init__(self, validate, left: list[float]) -> None:
        self.validate, self.left = validate, left

    def __call__(self, *given):
        return self.validate(*given) | {"skill": self.left.pop(0)}


def test_a_stop_without_room_for_its_checkpoint_is_an_error(
    world, full_disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, layout = world.config(experiment="full_stop")

    def act(step: int) -> None:
        if step == 3:
            full_disk[0] = True
            os.kill(os.getpid(), signal.SIGTERM)

    each_step(monkeypatch, act)
    with pytest.raises(UserError, match=r"step_000000004\.pt: cannot be written \(No space"):
        loop.train(config, layout)
    names = sorted(path.name for path in layout.checkpoints_dir.glob("*.pt*"))
    assert names == ["step_000000001.pt", "step_000000002.pt"]


def test_final_weights_that_cannot_be_written_are_an_error_and_the_run_is_kept(
    world, full_disk, reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, layout = world.config(experiment="full_end")
    publish = loop.Trainer.publish

    def late(self):
        full_disk[0] = True
        publish(self)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "publish", late)
        with pytest.raises(UserError, match=r"train/checkpoint\.pt: cannot be written"):
            loop.train(config, layout)
    assert not layout.checkpoint.exists()
    full_disk[0] = False
    loop.train(config, layout)
    tiny.assert_same_run(layout, reference)


def test_rows_that_cannot_be_recorded_are_said_once_and_cost_no_step(
    world, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config, layout = world.config("training.checkpoint.minutes=60", experiment="unrecorded")
    append = Record.append

    def failing(self, row):
        if row["step"] in (3, 4, 7):
            raise OSError(errno.ENOSPC, "No space left on device")
        append(self, row)

    monkeypatch.setattr(Record, "append", failing)
    loop.train(config, layout)
    said = [x.getMessage() for x in caplog.records if "rows will be missing" in x.msg]
    assert ["step 3 cannot" in said[0], "step 7 cannot" in said[1], len(said)] == [True, True, 2]
    assert layout.checkpoint.exists()
