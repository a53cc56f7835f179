"""Interrupted runs of the tiny ocean end as if nothing had happened."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import tarfile
import time
from pathlib import Path

import pytest
import torch
import xarray as xr

from hybridom import checkpoint
from hybridom.config import TrainingConfig
from hybridom.launch import HEED
from hybridom.training import folder, loop
from hybridom.training.optimise import Optimisation
from hybridom.training.stop import EXIT_STOPPED, StopRequest
from tests.training import world as tiny
from tests.warm import LAUNCHER, TORCHRUN, Command, server

ROOT = Path(__file__).parents[2]


def start(log: Path, world, *overrides: str, experiment: str, ranks: int = 1) -> Command:
    """Start a training run as a process of its own, under torchrun if it has several ranks."""
    options = [f"--set={x}" for x in (f"experiment={experiment}", *overrides)]
    command = ["train", f"--config={world.file}", *options]
    if ranks == 1:
        return server(*TORCHRUN).start("hybridom", command, log)
    launch = ["--standalone", f"--nproc-per-node={ranks}", *HEED, "-m", "hybridom"]
    return server(*TORCHRUN).start(LAUNCHER, [*launch, *command], log)


def wait_for_step(layout, step: int, process: Command, log: Path) -> None:
    """Wait until a checkpoint of `step` or later is there."""
    deadline = time.monotonic() + 300
    while not list(layout.checkpoints_dir.glob(f"step_*{step}.pt")):
        assert process.running(), log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.01)


@pytest.mark.parametrize("step", [2, 6, 9])
def test_a_run_resumed_with_other_random_state_equals_the_uninterrupted_one(
    world, reference, step: int, monkeypatch: pytest.MonkeyPatch
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
    record = layout.checkpoints_dir / "metrics.csv"
    count = len(record.read_text().splitlines()[0].split(","))
    with record.open("a") as handle:
        handle.write(f"{step + 1}" + ",1.0" * (count - 1) + "\n77,")
    torch.manual_seed(12345)
    loop.train(config, layout)
    tiny.assert_same_run(layout, reference)


def test_a_finished_run_started_again_changes_nothing(world, reference) -> None:
    before = tiny.contents(reference.checkpoint)["model"]
    config, layout = world.config(experiment="reference")
    loop.train(config, layout)
    torch.testing.assert_close(
        tiny.contents(layout.checkpoint)["model"], before, rtol=0.0, atol=0.0
    )
    assert len(tiny.losses(layout.train_log)) == tiny.TOTAL


def test_a_killed_process_goes_on_bit_for_bit(
    world, reference, tmp_path: Path, caplog: pytest.LogCaptureFixture
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
    world, reference, monkeypatch: pytest.MonkeyPatch
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
    # the signal comes during step 4, in time for the decision on step 5
    assert [p.name for p in layout.checkpoints_dir.glob("step*.pt")] == ["step_000000005.pt"]
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
    world, tmp_path: Path
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
    world, reference, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config, layout = world.config(experiment="ranks")
    layout.checkpoints_dir.mkdir(parents=True)
    source = reference.checkpoints_dir / "step_000000007.pt"
    altered = tiny.contents(source)
    altered["progress"]["ranks"] = 4
    torch.save(altered, layout.checkpoints_dir / source.name)
    with caplog.at_level(logging.INFO):
        loop.train(config, layout)
    assert "1 processes instead of 4: a step takes 2 windows, before 8" in caplog.text
    assert "going on after step 7" in caplog.text


def test_checkpoints_of_another_configuration_are_set_aside(
    world, caplog: pytest.LogCaptureFixture
) -> None:
    short = "training.curriculum=[{days: 1, steps: 2}]"
    config, layout = world.config(short, experiment="aside")
    loop.train(config, layout)
    first = tiny.contents(layout.checkpoint)["model"]
    config, _ = world.config(short, "training.loss.kind=mae", experiment="aside")
    with caplog.at_level(logging.WARNING):
        loop.train(config, layout)
    assert "set aside" in caplog.text and "starts anew" in caplog.text
    assert "data: training.loss.kind mse -> mae. It" in caplog.text
    aside = list(layout.train_dir.glob("checkpoints.*"))
    assert len(aside) == 1 and len(list(aside[0].glob("step*.pt"))) == 2
    assert f"training.start_from={aside[0] / 'step_000000002.pt'}" in caplog.text
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
    world, reference, caplog: pytest.LogCaptureFixture
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
    few = ("training.checkpoint.keep=2", "training.checkpoint.best=false")
    config, layout = world.config(*few, experiment="few")
    loop.train(config, layout)
    names = sorted(p.name for p in layout.checkpoints_dir.glob("*.pt"))
    assert names == ["step_000000009.pt", "step_000000010.pt"]


def test_the_best_and_every_so_many_are_kept_too(world, monkeypatch: pytest.MonkeyPatch) -> None:
    skills = iter([0.9, 0.5, float("nan"), 0.7, 0.6])
    validated = loop.validate
    monkeypatch.setattr(
        loop, "validate", lambda *given: validated(*given) | {"skill": next(skills)}
    )
    keep = "training.checkpoint={minutes: 60, keep: 1, every: 3}"
    config, layout = world.config(keep, "training.validation.every=2", experiment="policy")
    loop.train(config, layout)
    names = sorted(p.name for p in layout.checkpoints_dir.glob("*.pt"))
    # 4: the best; 3, 6, 9: every third; 10: the newest
    assert names == ["best.pt", *(f"step_{n:09d}.pt" for n in (3, 4, 6, 9, 10))]
    best = layout.checkpoints_dir / "best.pt"
    assert best.resolve().name == "step_000000004.pt"
    assert tiny.contents(layout.checkpoints_dir / "step_000000010.pt")["best"]["step"] == 4
    loaded = checkpoint.load_model(best).model.state_dict()
    average = tiny.contents(best)["average"]["weights"]
    assert average and all(torch.equal(loaded[name], x) for name, x in average.items())


def in_a_process(work) -> int:
    """Do `work` in a process of its own, which may be killed; its exit status."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(3)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kill_here(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("where", ["half a file", "before the link", "before deleting"])
def test_a_kill_while_a_checkpoint_is_written_loses_no_bit(
    world, reference, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = "training.checkpoint={minutes: 1e-9, keep: 1}"
    config, layout = world.config(keep, experiment=f"write {where}".replace(" ", "_"))
    saved, number = torch.save, 0

    def save(contents, handle):
        nonlocal number
        number += 1
        if number == 5 and where == "half a file":
            handle.write(bytes(5000))
            handle.flush()
            kill_here()
        saved(contents, handle)
        if number == 5:
            name = {"before the link": "link_best", "before deleting": "_prune"}[where]
            monkeypatch.setattr(folder.CheckpointFolder, name, kill_here)

    def work():
        monkeypatch.setattr(torch, "save", save)
        loop.train(config, layout)

    assert in_a_process(work) == -signal.SIGKILL
    names = {p.name for p in layout.checkpoints_dir.glob("*.pt*")}
    fifth = {"step_000000005.pt.partial"} if where == "half a file" else {"step_000000005.pt"}
    link = {"best.pt"} if where == "before deleting" else set()
    assert names == {"step_000000004.pt"} | fifth | link
    loop.train(config, layout)
    tiny.assert_same_run(layout, reference)
    # step 5 was validated and, unlike step 10, perhaps the best: the link leads somewhere
    assert (layout.checkpoints_dir / "best.pt").exists()
    assert not list(layout.checkpoints_dir.glob("*.partial"))


def test_a_run_killed_again_and_again_ends_as_the_uninterrupted_one(
    world, reference, tmp_path: Path
) -> None:
    rng, lives = random.Random(1), 0
    _, layout = world.config(experiment="often")
    log = tmp_path / "log"
    while lives < 5:
        process = start(log, world, experiment="often")
        before = len(list(layout.checkpoints_dir.glob("step*.pt")))
        deadline = time.monotonic() + 120
        # at least one step a life, so that the test ends
        while process.running() and len(list(layout.checkpoints_dir.glob("step*.pt"))) == before:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.2))
        if process.running():
            process.send(signal.SIGKILL)
        if process.wait(120) == 0:
            break
        lives += 1
    config, _ = world.config(experiment="often")
    loop.train(config, layout)
    assert lives > 0
    tiny.assert_same_run(layout, reference)


def workers_of(launcher: Command) -> list[int]:
    """Process numbers of the ranks that a launcher started."""
    text = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text()
    return [int(word) for word in text.split()]


@pytest.mark.parametrize("told", ["a rank", "torchrun"])
def test_a_signal_stops_both_ranks_and_one_may_go_on(
    told: str, world, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With one rank instead of two and twice the accumulation, every step has the same windows."""
    experiment = f"usr1_{told.split()[-1]}"
    _, layout = world.config(experiment=experiment)
    config, alone = world.config("training.accumulate=2", experiment="accumulated")
    if not alone.checkpoint.exists():
        loop.train(config, alone)
    log = tmp_path / "log"
    process = start(log, world, "training.ranks=2", experiment=experiment, ranks=2)
    wait_for_step(layout, 3, process, log)
    if told == "torchrun":
        process.send(signal.SIGUSR1)
    else:
        os.kill(max(workers_of(process)), signal.SIGUSR1)
    assert process.wait(300) != 0
    assert "stopped on request" in log.read_text()
    config, layout = world.config("training.accumulate=2", experiment=experiment)
    with caplog.at_level(logging.INFO):
        loop.train(config, layout)
    assert "1 processes instead of 2: a step takes 4 windows, before 4" in caplog.text
    tiny.assert_close_runs(layout, alone, 1e-6)


def test_two_ranks_with_a_loss_that_is_not_finite_stop_alike_with_a_checkpoint(
    world, tmp_path: Path
) -> None:
    """Weights in two shards are put together for it."""
    hot = ("training.learning_rate=1e30", "training.warmup_steps=0", "training.clip=1e30")
    _, layout = world.config(*hot, experiment="hot")
    log = tmp_path / "log"
    sharded = ("training.ranks=2", "training.parallel=fsdp", "training.checkpoint.minutes=60")
    process = start(log, world, *hot, *sharded, experiment="hot", ranks=2)
    assert process.wait(300) != 0
    (kept,) = (tiny.contents(path) for path in layout.checkpoints_dir.glob("step*.pt"))
    step = kept["progress"]["step"]
    text = log.read_text()
    assert f"hybridom: error: training step {step + 1}: the " in text, text
    assert f"step_{step:09d}.pt holds the run after step {step}" in text
    assert kept["stopped"].startswith(f"training step {step + 1}: the ")
    model = checkpoint.load_model(layout.checkpoints_dir / f"step_{step:09d}.pt").model
    assert all(x.isfinite().all() for x in model.state_dict().values())


# files of version 0.1.0


def unpack_format_1(target: Path) -> None:
    with tarfile.open(Path(__file__).parent / "data" / "format1.tar.gz") as archive:
        archive.extractall(target, filter="data")


FORMAT_1 = (
    "networks.ilap.name=none",
    "networks.state={embed: 8, latent: 8, spatial_layers: 2, blocks: 2, heads: 2, window: 4, "
    "mlp_ratio: 1, drop_path: 0.2}",
)


def test_a_run_of_format_1_goes_on_to_the_weights_that_its_version_reached(
    world, caplog: pytest.LogCaptureFixture
) -> None:
    """The archive holds what version 0.1.0 left after step 5 of this run, and its final weights."""
    config, layout = world.config(*FORMAT_1, experiment="format1")
    unpack_format_1(layout.train_dir)
    theirs = tiny.contents(layout.checkpoint)
    assert theirs["format"] == 1
    with caplog.at_level(logging.INFO):
        loop.train(config, layout)
    assert "format 1 of version 0.1.0, read as format 2" in caplog.text
    assert "going on after step 5" in caplog.text and "set aside" not in caplog.text
    ours = tiny.contents(layout.checkpoint)
    assert ours["format"] == checkpoint.FORMAT
    # both began with drop-path and Adam in the middle; kernels may have been rewritten since
    torch.testing.assert_close(ours["model"], theirs["model"], rtol=0.0, atol=1e-5)
    record = layout.train_log.read_text().splitlines()
    assert [line.split(",")[0] for line in record[1:]] == [str(n) for n in range(1, 11)]


def as_format_1(contents: dict) -> dict:
    """What version 0.1.0 would have written."""
    average = contents["average"]
    old = {k: v for k, v in contents.items() if k not in ("loss", "best", "stopped", "divergence")}
    weights = contents["model"] | average["weights"]
    named = {f"module.{name}": x for name, x in weights.items()}
    old["average"] = {"n_averaged": torch.tensor(average["updates"])} | named
    return old | {"format": 1}


def test_a_checkpoint_of_format_1_is_resumed_bit_for_bit(world, reference) -> None:
    config, layout = world.config(experiment="migrated")
    layout.checkpoints_dir.mkdir(parents=True)
    name = "step_000000007.pt"
    torch.save(
        as_format_1(tiny.contents(reference.checkpoints_dir / name)), layout.checkpoints_dir / name
    )
    record = (reference.checkpoints_dir / "metrics.csv").read_bytes()
    (layout.checkpoints_dir / "metrics.csv").write_bytes(record)
    (layout.checkpoints_dir / "run.json").write_text('{"run": "7688e32a92ac"}')
    loop.train(config, layout)
    tiny.assert_same_run(layout, reference)


# what changed


def test_a_key_of_a_later_version_does_not_orphan_a_run(
    world, caplog: pytest.LogCaptureFixture
) -> None:
    short = "training.curriculum=[{days: 1, steps: 2}]"
    config, layout = world.config(short, experiment="later")
    loop.train(config, layout)
    note = layout.checkpoints_dir / "run.json"
    kept = json.loads(note.read_text())
    for key in ("networks.state.skip", "networks.precision", "training.clip"):
        del kept["values"][key]
    note.write_text(json.dumps(kept))
    assert TrainingConfig.model_fields["clip"].default == config.training.clip
    with caplog.at_level(logging.INFO):
        loop.train(config, layout)
    assert "going on after step 2" in caplog.text and "set aside" not in caplog.text
    note.write_text(json.dumps(kept))
    config, _ = world.config(short, "networks.state.skip=add", experiment="later")
    loop.train(config, layout)
    assert "networks.state.skip concat -> add. It is set aside" in caplog.text


def test_other_statistics_and_another_mask_are_named(
    world, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    short = ("training.curriculum=[{days: 1, steps: 1}]", "training.tracking.tensorboard=false")
    mine = tiny.make_world(tmp_path)
    config, layout = mine.config(*short)
    loop.train(config, layout)
    with xr.open_dataset(layout.statistics_file) as ds:
        ds = ds.load()
    ds["so_anomaly_std"] *= 1.5
    ds.to_netcdf(layout.statistics_file)
    loop.train(config, layout)
    assert "other settings or data: statistics so_anomaly_std. It is set aside" in caplog.text
    caplog.clear()
    with xr.open_dataset(layout.grid_file) as ds:
        ds = ds.load()
    ds["wet"].values[2, 0, 0] = 0
    ds.to_netcdf(layout.grid_file)
    loop.train(config, layout)
    assert "other settings or data: wet mask. It is set aside" in caplog.text
    assert [p.name for p in sorted(layout.train_dir.glob("checkpoints.*"))] == [
        "checkpoints.before1",
        "checkpoints.before2",
    ]


def test_skills_of_another_validation_are_not_compared(
    world, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    skills = iter([0.1, 0.9, 0.8])
    validated = loop.validate
    monkeypatch.setattr(
        loop, "validate", lambda *given: validated(*given) | {"skill": next(skills)}
    )
    config, layout = world.config("training.checkpoint.keep=1", experiment="other_leads")

    class Killed(Exception):
        pass

    taken = Optimisation.take_step

    def take_step(self, batches, done, stop):
        if done == 7:
            raise Killed
        return taken(self, batches, done, stop)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Optimisation, "take_step", take_step)
        loop.train(config, layout)
    best = layout.checkpoints_dir / "best.pt"
    assert best.resolve().name == "step_000000005.pt"
    other = ("training.checkpoint.keep=1", "training.validation={every: 4, leads: [1], starts: 1}")
    config, _ = world.config(*other, experiment="other_leads")
    with caplog.at_level(logging.INFO):
        loop.train(config, layout)
    assert "validation is another than before" in caplog.text
    assert best.resolve().name == "step_000000010.pt"
    rows = layout.train_log.read_text().splitlines()
    assert len(rows) == 11 and "rmse_so_2" in rows[0] and "rmse_so_1" in rows[0]
