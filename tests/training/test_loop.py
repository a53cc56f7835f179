"""Whole training runs on the tiny ocean: what they leave, refuse and learn."""

from __future__ import annotations

import pytest
import torch

from hybridom import checkpoint
from hybridom.config import narrow
from hybridom.errors import UserError
from hybridom.stepper import HybridOM
from hybridom.training import loop
from hybridom.training.distributed import Ranks
from hybridom.training.optimise import Optimisation


def test_a_run_leaves_a_record_and_averaged_weights(tiny, reference) -> None:
    rows = tiny.losses(reference.train_log)
    assert [row[0] for row in rows] == [str(step) for step in range(1, tiny.TOTAL + 1)]
    assert [row[1] for row in rows] == ["1"] * 6 + ["2"] * 4
    scored = [bool(row[-1]) for row in rows]
    assert scored == [step % 5 == 0 for step in range(1, tiny.TOTAL + 1)]
    last = tiny.contents(reference.checkpoints_dir / f"step_{tiny.TOTAL:09d}.pt")
    published = tiny.contents(reference.checkpoint)["model"]
    for name, weight in published.items():
        assert torch.equal(weight, last["average"][f"module.{name}"]), name
    assert any(not torch.equal(weight, last["model"][n]) for n, weight in published.items())
    assert last["progress"] == {"step": tiny.TOTAL, "consumed": 8, "ranks": 1}


def test_a_loss_that_is_not_finite_stops_before_the_step_and_spares_the_checkpoints(
    world, tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, layout = world.config(experiment="nan")
    original = loop.collate
    calls = []

    def collate(items):
        batch = original(items)
        calls.append(len(items))
        if sum(calls) == 8:  # the fourth batch of two
            batch.state.uo.mul_(float("nan"))
        return batch

    monkeypatch.setattr(loop, "collate", collate)
    seen = []
    stepped = torch.optim.AdamW.step
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda s: (seen.append(1), stepped(s))[1])
    with pytest.raises(UserError, match=r"training step 4: the loss is nan .*uo"):
        loop.train(config, layout)
    assert len(seen) == 3
    files = sorted(layout.checkpoints_dir.glob("*.pt"))
    assert [f.name for f in files] == [f"step_{n:09d}.pt" for n in (1, 2, 3)]
    assert all(x.isfinite().all() for x in tiny.contents(files[-1])["model"].values())


def test_a_gradient_that_is_not_finite_stops_before_the_step(
    world, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, layout = world.config(experiment="inf")
    clip = torch.nn.utils.clip_grad_norm_
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda p, c: clip(p, c) * float("inf"))
    with pytest.raises(UserError, match="training step 1: the gradient norm is inf"):
        loop.train(config, layout)
    assert not list(layout.checkpoints_dir.glob("*.pt"))


def test_without_networks_the_checkpoint_is_the_skeleton(world) -> None:
    off = ("networks.ilap.name=none", "networks.state.name=none")
    config, layout = world.config(*off, experiment="skeleton")
    loop.train(config, layout)
    model = checkpoint.load_model(layout.checkpoint).model
    assert model.skeleton is not None and not list(model.parameters())
    assert layout.train_log.exists()


def test_the_loss_falls_to_the_noise_free_law(world, tiny) -> None:
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
        "training.validation={every: 1000, days: 2, starts: 5}",
        "training.checkpoint.minutes=60",
        experiment="learning",
    )
    loop.train(config, layout)
    rows = tiny.losses(layout.train_log)
    first, last = float(rows[0][2]), sum(float(row[2]) for row in rows[-10:]) / 10
    assert last < first / 5
    scores = [float(x) for x in rows[-1][-10:]]
    for model, persistence in zip(scores[:5], scores[5:], strict=True):
        assert model < 0.7 * persistence


def test_loader_processes_change_no_bit(world, tiny) -> None:
    short = "training.curriculum=[{days: 2, steps: 3}]"
    runs = []
    for workers in (0, 1):
        setting = f"training.num_workers={workers}"
        config, layout = world.config(short, setting, experiment=f"workers{workers}")
        loop.train(config, layout)
        runs.append(layout)
    assert tiny.losses(runs[0].train_log) == tiny.losses(runs[1].train_log)


def test_accumulation_equals_one_large_batch(world, tiny) -> None:
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


def test_steps_after_a_validation_train_again(world, tiny, monkeypatch: pytest.MonkeyPatch) -> None:
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
    config, layout = world.config("training.validation.days=30", experiment="long")
    with pytest.raises(UserError, match=r"training\.validation\.days 30"):
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
