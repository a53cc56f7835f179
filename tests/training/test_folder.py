"""The folder of a run: what is kept, whose it is, whether the disk is large enough."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch

from hybridom import checkpoint
from hybridom.config import CheckpointConfig, narrow
from hybridom.errors import UserError
from hybridom.training import folder as folders
from hybridom.training import loop
from hybridom.training.distributed import Ranks
from hybridom.training.folder import CheckpointFolder, size_of
from hybridom.training.identity import Identity, changes


def kept(folder: CheckpointFolder) -> list[int]:
    """Steps of the checkpoints that are there."""
    return sorted(int(path.stem.split("_")[1]) for path in folder.path.glob("step_*.pt"))


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"keep": 1}, [4, 20]),
        ({"keep": 3}, [4, 16, 18, 20]),
        ({"keep": 1, "every": 6}, [4, 6, 12, 18, 20]),
        ({"keep": 2, "every": 5}, [4, 10, 18, 20]),
    ],
)
def test_the_newest_the_best_and_every_so_many_are_kept(
    tmp_path: Path, policy: dict[str, int], expected: list[int]
) -> None:
    folder = CheckpointFolder(tmp_path, CheckpointConfig(**policy))
    for step in range(2, 21, 2):
        folder.write(step, {"step": step}, best=min(step, 4))
    assert kept(folder) == expected
    assert (tmp_path / "best.pt").resolve() == folder.file(4)


def test_the_link_leads_to_the_best_and_goes_with_it(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, CheckpointConfig(keep=1))
    for step, best in ((1, 1), (2, 1), (3, 3), (4, 3)):
        folder.write(step, {"step": step}, best)
    assert kept(folder) == [3, 4]
    assert torch.load(tmp_path / "best.pt", weights_only=True) == {"step": 3}
    # a copy of the folder, or the folder under another name, has a link of its own
    moved = tmp_path.with_name("moved")
    tmp_path.rename(moved)
    assert (moved / "best.pt").resolve().parent == moved.resolve()
    CheckpointFolder(moved, CheckpointConfig()).link_best(None)
    assert not (moved / "best.pt").is_symlink()


def test_nothing_is_deleted_when_a_run_went_wrong(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, CheckpointConfig(keep=1))
    folder.write(1, {}, None)
    folder.write(2, {"stopped": "the loss is nan"}, None)
    assert kept(folder) == [1, 2]


def test_a_checkpoint_that_cannot_be_written_costs_none_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = CheckpointFolder(tmp_path, CheckpointConfig(keep=1))
    folder.write(1, {"step": 1}, 1)

    def full(contents: object, handle) -> None:
        handle.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match="No space left on device"):
        folder.write(2, {"step": 2}, 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best.pt", "step_000000001.pt"]


def test_the_space_that_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = 5_500_000
    usage = type("Usage", (), {"free": free})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    folder = CheckpointFolder(tmp_path, CheckpointConfig(keep=3, best=True, every=10))
    # 3 newest, 1 best, 2 of 20 steps for good, and the next one
    folder.require_space(free // 7, 20)
    with pytest.raises(UserError) as caught:
        folder.require_space(free // 7 + 1, 20)
    message = str(caught.value)
    assert "7 checkpoints of 786 kB need 5.5 MB, 5.5 MB are free" in message
    assert str(tmp_path) in message and "\n" not in message
    # those that are there already need no more
    for step in (1, 2, 3):
        folder.file(step).write_bytes(b"")
    folder.require_space(free // 4, 20)


def test_the_estimate_is_the_size_of_a_checkpoint(world, reference) -> None:
    config, layout = world.config(experiment="size")
    trainer = loop.Trainer(narrow(config, "train"), layout, Ranks(0, 1, torch.device("cpu")))
    size = (reference.checkpoints_dir / "step_000000010.pt").stat().st_size
    assert trainer.size == size_of(trainer.model, average=True)
    parameters = sum(x.numel() for x in trainer.model.parameters())
    assert trainer.size > 4 * 4 * parameters
    # of a network of this size, names and headers are a third
    assert 0.5 * size < trainer.size < size


def test_a_disk_that_is_too_small_is_refused_before_the_first_step(
    world, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, layout = world.config("training.checkpoint.keep=2", experiment="small")
    usage = type("Usage", (), {"free": 300_000})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UserError, match=r"4 checkpoints of \d+ kB need .* 300 kB are free"):
        loop.train(config, layout)
    assert not list(layout.checkpoints_dir.glob("*.pt"))


@pytest.fixture
def identity(world):
    """Identity of a run with overrides."""

    def of(*overrides: str) -> Identity:
        config, layout = world.config(*overrides, experiment="identity")
        trainer = loop.Trainer(narrow(config, "train"), layout, Ranks(0, 1, torch.device("cpu")))
        return trainer.identity

    return of


@pytest.mark.parametrize(
    "override",
    [
        "training.ranks=4",
        "training.accumulate=2",
        "training.parallel=fsdp",
        "training.cache=none",
        "training.num_workers=2",
        "training.validation={every: 3, leads: [2], starts: 1}",
        "training.checkpoint={minutes: 1, keep: 7, best: false, every: 3}",
        "training.divergence={factor: 2, steps: 3}",
        "training.tracking={tensorboard: false, wandb: {mode: offline}}",
        "figures.dpi=50",
        # the same loss by another name
        "training.loss={preset: sharp, kind: mse, gradient: 0, "
        "weights: {thetao: 1, so: 1, uo: 6, vo: 6, zos: 6}}",
    ],
)
def test_settings_that_do_not_touch_the_losses_keep_a_run(identity, override: str) -> None:
    assert identity(override).values == identity().values
    assert identity(override).hash == identity().hash


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.learning_rate=2e-3", "training.learning_rate 0.001 -> 0.002"),
        ("training.seed=7", "training.seed 0 -> 7"),
        ("training.batch=1", "training.batch 2 -> 1"),
        ("training.start_from=a.pt", "training.start_from null -> a.pt"),
        ("networks.ilap.name=none", "networks.ilap.name odm -> none"),
        ("skeleton.enabled=false", "skeleton.enabled true -> false"),
        ("networks.precision=bfloat16", "networks.precision float32 -> bfloat16"),
        ("forcing=fluxes8", "forcing surface3 -> fluxes8"),
        (
            "periods.train={start: 2001-01-01, end: 2001-02-08}",
            'periods.train {"start": "2001-01-01", "end": "2001-02-09"} -> '
            '{"start": "2001-01-01", "end": "2001-02-08"}',
        ),
    ],
)
def test_every_other_change_is_named(identity, override: str, message: str) -> None:
    before = identity()
    if override.startswith("forcing"):
        after = before.values | {"forcing": "fluxes8"}
    else:
        after = identity(override).values
    assert changes(before.values, after, before.neutral) == [message]


def test_what_is_switched_off_has_no_details(identity) -> None:
    off = ("networks.ilap.name=none", "skeleton.enabled=false")
    before, after = identity(*off), identity(*off, "networks.ilap.embed=16", "skeleton.substeps=4")
    assert before.values == after.values


def test_a_key_that_is_new_counts_only_when_it_is_not_neutral() -> None:
    neutral = {"training.new": 0.0}
    assert changes({"a": 1}, {"a": 1, "training.new": 0.0}, neutral) == []
    assert changes({"a": 1}, {"a": 1, "training.new": 0.5}, neutral) == ["training.new 0.0 -> 0.5"]
    # a key that is gone, or one that must be given, is a change
    assert changes({"a": 1}, {}, neutral) == ["a 1 -> absent"]
    assert changes({}, {"a": 1}, neutral) == ["a absent -> 1"]


def test_an_unused_folder_is_claimed_and_the_note_says_what_for(identity, tmp_path: Path) -> None:
    folder, run = CheckpointFolder(tmp_path / "new", CheckpointConfig()), identity()
    folder.claim(run)
    note = json.loads((folder.path / folders.RUN_FILE).read_text())
    assert note == {"run": run.hash, "values": run.values}
    folder.claim(run)
    assert [p.name for p in tmp_path.iterdir()] == ["new"]


def test_a_note_that_cannot_be_read_is_refused_and_nothing_is_touched(
    identity, tmp_path: Path
) -> None:
    folder = CheckpointFolder(tmp_path, CheckpointConfig())
    (tmp_path / folders.RUN_FILE).write_text("{")
    with pytest.raises(UserError, match=r"run\.json: cannot be read"):
        folder.claim(identity())
    assert [p.name for p in tmp_path.iterdir()] == [folders.RUN_FILE]


def test_a_folder_without_values_belongs_to_the_run_of_its_checkpoint(
    world, reference, identity, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "checkpoints"
    path.mkdir()
    shutil.copy(reference.checkpoints_dir / "step_000000003.pt", path)
    (path / folders.RUN_FILE).write_text('{"run": "7688e32a92ac"}')
    folder = CheckpointFolder(path, CheckpointConfig())
    folder.claim(identity())
    assert kept(folder) == [3]
    (path / folders.RUN_FILE).write_text('{"run": "7688e32a92ac"}')
    with caplog.at_level(logging.WARNING):
        folder.claim(identity("training.seed=1"))
    assert kept(folder) == [] and "training.seed 0 -> 1" in caplog.text
    assert (tmp_path / "checkpoints.before1" / "step_000000003.pt").exists()


def test_weights_alone_are_no_place_to_go_on_from(
    world, reference, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(reference.checkpoint, tmp_path / "step_000000009.pt")
    shutil.copy(reference.checkpoints_dir / "step_000000003.pt", tmp_path)
    path, contents = CheckpointFolder(tmp_path, CheckpointConfig()).newest()
    assert path.name == "step_000000003.pt" and contents["progress"]["step"] == 3
    assert "step_000000009.pt: not a resumable checkpoint; trying the one before" in caplog.text
    assert checkpoint.load_model(tmp_path / "step_000000009.pt")


def test_settings_that_are_changed_back_find_their_checkpoints(
    identity, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = CheckpointFolder(tmp_path / "checkpoints", CheckpointConfig())
    first, second = identity(), identity("training.seed=1")
    folder.claim(first)
    folder.write(3, {"progress": {}}, None)
    folder.claim(second)
    assert kept(folder) == []
    folder.write(1, {"progress": {}}, None)
    folder.claim(first)
    assert kept(folder) == [3]
    assert "checkpoints.before1 is of this run and taken back" in caplog.text
    folder.claim(second)
    assert kept(folder) == [1]
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 2 and names[0] == "checkpoints"
    # who deletes the folder wants to begin anew
    shutil.rmtree(folder.path)
    folder.claim(second)
    assert kept(folder) == []


def test_a_folder_that_cannot_be_set_aside_is_refused_in_one_line(
    identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = CheckpointFolder(tmp_path / "checkpoints", CheckpointConfig())
    folder.claim(identity())

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", denied)
    with pytest.raises(UserError) as caught:
        folder.claim(identity("training.seed=1"))
    message = str(caught.value)
    assert "training.seed 0 -> 1. It cannot be set aside (Permission denied)" in message
    assert "\n" not in message
