"""`hybridom model`, and forecasts from a checkpoint that is named."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from hybridom import __version__, checkpoint, cli
from hybridom.training import loop
from tests.training import world as tiny


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory):
    return tiny.make_world(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def trained(world):
    """Paths of a short run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    short = "training.curriculum=[{days: 1, steps: 3}]"
    config, layout = world.config(short, "training.tracking.tensorboard=false")
    loop.train(config, layout)
    torch.set_num_threads(threads)
    return layout


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Exit status, output and errors of a command."""
    capsys.readouterr()
    status = cli.main([str(word) for word in words])
    found = capsys.readouterr()
    return status, found.out, found.err


def test_the_card_of_a_final_checkpoint(world, trained, capsys) -> None:
    status, out, _ = run(capsys, "model", "info", trained.checkpoint, "--json")
    assert status == 0
    card = json.loads(out)
    path = trained.checkpoint
    assert card["sha256"] == sha256(path.read_bytes()).hexdigest()
    assert card["size_bytes"] == path.stat().st_size
    assert (card["version"], card["format"]) == (__version__, checkpoint.FORMAT)
    assert card["kind"] == "weights" and card["experiment"] == "tiny"
    grid = card["grid"]
    assert grid["shape"] == [3, 6, 18] and grid["resolution_degrees"] == 20.0
    assert grid["latitude"] == [-60.0, 60.0] and grid["periodic"] is True
    assert grid["levels_m"] == [10.0, 50.0, 200.0] and grid["hash"] == world.grid.hash
    assert grid["wet_cells"] == int(world.wet.sum())
    assert card["forcing"] == {"set": "surface3", "variables": ["u10", "v10", "t2m"]}
    assert card["skeleton"]["substeps"] == 2
    model = checkpoint.load_model(path).model
    for name in ("ilap", "state"):
        count = sum(x.numel() for x in getattr(model, name).parameters())
        assert card["networks"][name] == {"name": "odm", "parameters": count}
    assert card["networks"]["parameters"] == sum(x.numel() for x in model.parameters())
    training = card["training"]
    assert training["steps"] == 3 and training["curriculum"] == [{"days": 1, "steps": 3}]
    assert (training["ema"], training["loss"]) == (0.9, "published")
    assert "steps_taken" not in training


def test_the_card_of_a_resumable_checkpoint_says_how_far_it_is(trained, capsys) -> None:
    path = trained.checkpoints_dir / "step_000000002.pt"
    status, out, _ = run(capsys, "model", "info", path)
    assert status == 0
    lines = [line.strip() for line in out.splitlines()]
    assert "kind: resumable" in lines and "steps taken: 2" in lines and "steps: 3" in lines
    assert "curriculum: days 1 steps 3" in lines and "levels m: 10.0, 50.0, 200.0" in lines
    assert any(line.startswith("statistics hash: ") for line in lines)


def test_the_statistics_hash_tells_statistics_apart(trained) -> None:
    statistics = checkpoint.load_model(trained.checkpoint).model.statistics
    card = checkpoint.describe(trained.checkpoint)
    from hybridom.checkpoint.describe import statistics_hash

    assert card["statistics_hash"] == statistics_hash(statistics)
    other = statistics | {"so_mean": statistics["so_mean"] + 1e-9}
    assert statistics_hash(other) != card["statistics_hash"]


def test_an_exported_checkpoint_has_the_same_card_and_forecast(
    world, trained, tmp_path: Path, capsys
) -> None:
    path = tmp_path / "tiny.safetensors"
    status, _, _ = run(capsys, "model", "export", trained.checkpoint, "--output", path)
    assert status == 0 and list(tmp_path.iterdir()) == [path]
    first, second = checkpoint.describe(trained.checkpoint), checkpoint.describe(path)
    for card in (first, second):
        for key in ("file", "size_bytes", "sha256", "written"):
            del card[key]
    assert first == second

    words = ("forecast", "--config", world.file, "--start", "2001-02-25")
    assert run(capsys, *words)[0] == 0
    store = xr.open_zarr(next(trained.experiment_dir.glob("forecast/*.zarr")), consolidated=False)
    expected = store.load()
    other = ("--set", "experiment=other", "--checkpoint", path)
    assert run(capsys, *words, *other)[0] == 0
    results = trained.experiment_dir.parent / "other" / "forecast"
    found = xr.open_zarr(next(results.glob("*.zarr")), consolidated=False)
    for name in expected:
        assert np.array_equal(found[name].values, expected[name].values, equal_nan=True), name
    assert found.attrs["checkpoint_sha256"] == sha256(path.read_bytes()).hexdigest()
    assert found.attrs["source"].startswith("tiny.safetensors, ")


def test_a_forecast_uses_the_statistics_of_its_checkpoint(tmp_path: Path, capsys) -> None:
    """Statistics that were made again do not change what a trained model's inputs mean."""
    world = tiny.make_world(tmp_path)
    short = "training.curriculum=[{days: 1, steps: 1}]"
    config, layout = world.config(short, "training.tracking.tensorboard=false")
    loop.train(config, layout)
    layout.statistics_file.unlink()
    assert run(capsys, "forecast", "--config", world.file, "--start", "2001-02-25")[0] == 0


@pytest.mark.parametrize("command", ["info", "export", "forecast"])
def test_files_that_are_no_checkpoint_are_refused_in_one_line(
    world, tmp_path: Path, capsys, command: str
) -> None:
    path = tmp_path / "x.pt"
    words = {
        "info": ("model", "info", path),
        "export": ("model", "export", path, "--output", tmp_path / "x.safetensors"),
        "forecast": ("forecast", "--config", world.file, "--checkpoint", path),
    }[command]
    for content, message in ((None, "no checkpoint"), (b"text", "damaged or incomplete")):
        if content is not None:
            path.write_bytes(content)
        status, out, err = run(capsys, *words)
        errors = [line for line in err.splitlines() if line.startswith("hybridom: error")]
        assert status == 2 and out == "" and len(errors) == 1
        assert str(path) in errors[0] and message in errors[0]


def test_a_results_folder_that_cannot_be_written_is_refused_in_one_line(world, capsys) -> None:
    words = ("train", "--config", world.file, "--set", "paths.results=/proc/none")
    status, _, err = run(capsys, *words)
    errors = [line for line in err.splitlines() if line.startswith("hybridom: error")]
    assert status == 2 and len(errors) == 1 and "/proc/none" in errors[0]
