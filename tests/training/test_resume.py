"""Interrupted runs of the tiny ocean end as if nothing had happened."""

from __future__ import annotations

import logging
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from hybridom.training import loop
from hybridom.training.optimise import Optimisation
from hybridom.training.stop import EXIT_STOPPED, StopRequest
from hybridom.training.tracking import COLUMNS
from tests.warm import Command, server


def start(log: Path, world, *overrides: str, experiment: str, ranks: int = 1) -> Command:
    """Start a training run as a process of its own, under torchrun if it has several ranks."""
    options = [f"--set={x}" for x in (f"experiment={experiment}", *overrides)]
    command = ["train", f"--config={world.file}", *options]
    if ranks == 1:
        modules = ("hybridom.cli", "hybridom.training.loop", "torch._dynamo")
        return server(*modules).start("hybridom", command, log)
    launch = ["--standalone", f"--nproc-per-node={ranks}", "-m", "hybridom"]
    launcher = "torch.distributed.run"
    return server(launcher).start(launcher, [*launch, *command], log)


def wait_for_step(layout, step: int, process: Command, log: Path) -> None:
    """Wait until a checkpoint of `step` or later is there."""
    deadline = time.monotonic() + 300
    while not list(layout.checkpoints_dir.glob(f"step_*{step}.pt")):
        assert process.running(), log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.01)


@pytest.mark.parametrize("step", [2, 6, 9])
def test_a_run_resumed_with_other_random_state_equals_the_uninterrupted_one(
    world, tiny, reference, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, layout = world.config(experiment=f"resumed{step}")

    class Killed(Exception):
        pass

    taken = Optimisation.take_step

    def take_step(self, batches, done, stop):
        if done == step:
            raise Killed
        return taken(self, batches, done, stop)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Optimisation, "take_step", take_step)
        loop.train(config, layout)
    assert not layout.checkpoint.exists() and not layout.train_log.exists()
    # rows that a kill leaves behind the last checkpoint, one of them cut short
    with (layout.checkpoints_dir / "metrics.csv").open("a") as handle:
        handle.write(f"{step + 1}" + ",1.0" * (len(COLUMNS) - 1) + "\n77,")
    torch.manual_seed(12345)
    loop.train(config, layout)
    tiny.assert_same_run(layout, reference)


def test_a_finished_run_started_again_changes_nothing(world, tiny, reference) -> None:
    before = tiny.contents(reference.checkpoint)["model"]
    config, layout = world.config(experiment="reference")
    loop.train(config, layout)
    torch.testing.assert_close(
        tiny.contents(layout.checkpoint)["model"], before, rtol=0.0, atol=0.0
    )
    assert len(tiny.losses(layout.train_log)) == tiny.TOTAL


def test_a_killed_process_goes_on_bit_for_bit(
    world, tiny, reference, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, layout = world.config(experiment="killed")
    log = tmp_path / "log"
    process = start(log, world, experiment="killed")
    wait_for_step(layout, 4, process, log)
    process.send(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not layout.checkpoint.exists()
    config, _ = world.config(experiment="killed")
    with caplog.at_level(logging.INFO):
        loop.train(config, layout)
    assert "going on after step" in caplog.text
    tiny.assert_same_run(layout, reference)


def test_a_signal_saves_exits_with_85_and_the_run_goes_on_bit_for_bit(
    world, tiny, reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    # no checkpoint is due by time, so the one found is the signal's
    config, layout = world.config("training.checkpoint.minutes=60", experiment="signal")
    taken = Optimisation.take_step

    def take_step(self, batches, done, stop):
        if done == 3:
            os.kill(os.getpid(), signal.SIGUSR1)
        return taken(self, batches, done, stop)

    with monkeypatch.context() as patch, pytest.raises(SystemExit) as caught:
        patch.setattr(Optimisation, "take_step", take_step)
        loop.train(config, layout)
    assert caught.value.code == EXIT_STOPPED == 85
    assert [p.name for p in layout.checkpoints_dir.glob("*.pt")] in (
        ["step_000000004.pt"],
        ["step_000000005.pt"],
    )
    loop.train(config, layout)
    tiny.assert_same_run(layout, reference)


def test_the_command_exits_with_85_on_sigterm(world, tmp_path: Path) -> None:
    _, layout = world.config(experiment="terminated")
    longer = "training.curriculum=[{days: 1, steps: 100000}]"
    log = tmp_path / "log"
    process = start(log, world, longer, experiment="terminated")
    wait_for_step(layout, 2, process, log)
    process.send(signal.SIGTERM)
    assert process.wait(300) == 85, log.read_text()
    assert "stopped on request" in log.read_text()


def test_handlers_are_restored() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.pending
    assert signal.getsignal(signal.SIGTERM) is before


def test_two_ranks_stopped_and_resumed_equal_one_rank_that_accumulates_twice(
    world, tiny, tmp_path: Path
) -> None:
    """Drop-path is on: what is dropped depends on the windows, not on who computes them."""
    config, alone = world.config("training.accumulate=2", experiment="accumulated")
    loop.train(config, alone)
    _, layout = world.config(experiment="two")
    log = tmp_path / "log"
    process = start(log, world, "training.ranks=2", experiment="two", ranks=2)
    wait_for_step(layout, 4, process, log)
    process.send(signal.SIGTERM)
    assert process.wait(300) != 0
    assert "stopped on request" in log.read_text()
    assert not layout.checkpoint.exists()
    log = tmp_path / "again"
    process = start(log, world, "training.ranks=2", experiment="two", ranks=2)
    assert process.wait(600) == 0, log.read_text()
    assert log.read_text().count("going on after step") == 1
    assert (
        tiny.contents(layout.checkpoints_dir / f"step_{tiny.TOTAL:09d}.pt")["progress"]["ranks"]
        == 2
    )
    tiny.assert_close_runs(layout, alone, 1e-6)


def test_another_number_of_ranks_goes_on_and_says_so(
    world, tiny, reference, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config, layout = world.config(experiment="ranks")
    layout.checkpoints_dir.mkdir(parents=True)
    source = reference.checkpoints_dir / "step_000000007.pt"
    altered = tiny.contents(source)
    altered["progress"]["ranks"] = 4
    torch.save(altered, layout.checkpoints_dir / source.name)
    with caplog.at_level(logging.INFO):
        loop.train(config, layout)
    assert "1 processes instead of 4: a step now takes 2 windows" in caplog.text
    assert "going on after step 7" in caplog.text


def test_checkpoints_of_another_configuration_are_set_aside(
    world, tiny, caplog: pytest.LogCaptureFixture
) -> None:
    short = "training.curriculum=[{days: 1, steps: 2}]"
    config, layout = world.config(short, experiment="aside")
    loop.train(config, layout)
    first = tiny.contents(layout.checkpoint)["model"]
    config, _ = world.config(short, "training.loss.kind=mae", experiment="aside")
    with caplog.at_level(logging.WARNING):
        loop.train(config, layout)
    assert "set aside" in caplog.text and "starts anew" in caplog.text
    aside = list(layout.train_dir.glob("checkpoints.*"))
    assert len(aside) == 1 and len(list(aside[0].glob("*.pt"))) == 2
    second = tiny.contents(layout.checkpoint)["model"]
    assert any(not torch.equal(x, second[name]) for name, x in first.items())


def test_settings_that_do_not_touch_the_losses_keep_the_checkpoints(
    world, caplog: pytest.LogCaptureFixture
) -> None:
    short = "training.curriculum=[{days: 1, steps: 2}]"
    config, layout = world.config(short, experiment="kept")
    loop.train(config, layout)
    same = ("training.validation.starts=1", "training.cache=none", "figures.dpi=50")
    config, _ = world.config(short, *same, experiment="kept")
    with caplog.at_level(logging.INFO):
        loop.train(config, layout)
    assert "going on after step 2" in caplog.text


def test_a_damaged_checkpoint_is_passed_over(
    world, tiny, reference, caplog: pytest.LogCaptureFixture
) -> None:
    config, layout = world.config(experiment="damaged")
    layout.checkpoints_dir.mkdir(parents=True)
    for step in (6, 7):
        name = f"step_{step:09d}.pt"
        (layout.checkpoints_dir / name).write_bytes((reference.checkpoints_dir / name).read_bytes())
    record = reference.checkpoints_dir / "metrics.csv"
    (layout.checkpoints_dir / "metrics.csv").write_bytes(record.read_bytes())
    newest = layout.checkpoints_dir / "step_000000007.pt"
    newest.write_bytes(newest.read_bytes()[:1000])
    with caplog.at_level(logging.INFO):
        loop.train(config, layout)
    assert "trying the one before it" in caplog.text
    assert "going on after step 6" in caplog.text
    tiny.assert_same_run(layout, reference)


def test_old_checkpoints_are_deleted(world) -> None:
    config, layout = world.config("training.checkpoint.keep=2", experiment="few")
    loop.train(config, layout)
    names = sorted(p.name for p in layout.checkpoints_dir.glob("*.pt"))
    assert names == ["step_000000009.pt", "step_000000010.pt"]
