"""Runs that begin with the weights of another: which fit, and what is said of those that do not."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
import xarray as xr

from hybridom import checkpoint
from hybridom.config import narrow
from hybridom.errors import UserError
from hybridom.training import loop
from hybridom.training.distributed import Ranks
from tests.training import world as tiny

ALONE = Ranks(0, 1, torch.device("cpu"))
SHORT = ("training.curriculum=[{days: 1, steps: 1}]", "training.tracking.tensorboard=false")


def begun(world, path: Path, *overrides: str, experiment: str = "begun") -> loop.Trainer:
    """A run that is about to take its first step."""
    config, layout = world.config(
        *SHORT, f"training.start_from={path}", *overrides, experiment=experiment
    )
    trainer = loop.Trainer(narrow(config, "train"), layout, ALONE)
    trainer.resume()
    return trainer


def refusal(world, path: Path, *overrides: str, experiment: str = "refused") -> str:
    """The one line with which a beginning is refused."""
    with pytest.raises(UserError) as caught:
        begun(world, path, *overrides, experiment=experiment)
    message = str(caught.value)
    assert "\n" not in message and message.startswith("training.start_from: ")
    assert str(path) in message
    return message


@pytest.mark.parametrize("name", ["checkpoint.pt", "checkpoints/step_000000010.pt", "export"])
def test_a_run_begins_with_the_averaged_weights(
    world, reference, name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = reference.train_dir / name
    if name == "export":
        path = tmp_path / "weights.safetensors"
        checkpoint.export(checkpoint.load_model(reference.checkpoint), path)
    with caplog.at_level(logging.INFO):
        trainer = begun(world, path, experiment=f"begun_{Path(name).stem}")
    assert f"beginning with the weights of {path}" in caplog.text and "scales" not in caplog.text
    expected = tiny.contents(reference.checkpoint)["model"]
    last = tiny.contents(reference.checkpoints_dir / "step_000000010.pt")["model"]
    assert any(not torch.equal(expected[n], last[n]) for n in expected)  # the average is another
    for key, x in trainer.model.state_dict().items():
        assert torch.equal(x, expected[key]), key
    # the average starts there too, and the optimiser from nothing
    with trainer.optimisation.averaged() as model:
        assert all(torch.equal(x, expected[key]) for key, x in model.state_dict().items())
    assert trainer.step == 0 and not trainer.optimisation.optimiser.state


def test_a_run_that_has_begun_goes_on_from_its_own_weights(
    world, reference, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "gone.pt"
    path.write_bytes(reference.checkpoint.read_bytes())
    config, layout = world.config(*SHORT, f"training.start_from={path}", experiment="own")
    loop.train(config, layout)
    kept = tiny.contents(layout.checkpoints_dir / "step_000000001.pt")
    assert kept["config"]["training"]["start_from"] == str(path)
    path.unlink()
    with caplog.at_level(logging.INFO):
        loop.train(config, layout)
    assert "going on after step 1" in caplog.text


def test_weights_go_over_to_another_grid(
    world, reference, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Land where there was sea: other cells, the same weights, and the grid's own scales."""
    other = tiny.make_world(tmp_path)
    _, layout = other.config()
    with xr.open_dataset(layout.grid_file) as ds:
        ds = ds.load()
    ds["wet"].values[:, 0, :4] = 0
    ds.to_netcdf(layout.grid_file)
    scale(layout.statistics_file, "uo_tendency_std", 1.1)
    with caplog.at_level(logging.INFO):
        trainer = begun(other, reference.checkpoint)
    assert "scales differ by up to 10 % (uo_tendency_std)" in caplog.text
    expected = tiny.contents(reference.checkpoint)["model"]
    for key, x in trainer.model.named_parameters():
        assert torch.equal(x, expected[key]), key
    nz = world.grid.nz
    ours, theirs = trainer.model.normaliser.tendency_std, expected["normaliser.tendency_std"]
    torch.testing.assert_close(ours[2 * nz : 3 * nz], 1.1 * theirs[2 * nz : 3 * nz])


def scale(path: Path, name: str, factor: float) -> None:
    """Multiply an entry of the statistics."""
    with xr.open_dataset(path) as ds:
        ds = ds.load()
    ds[name] = ds[name] * factor
    ds.to_netcdf(path)


def test_other_scales_are_refused_with_the_numbers(world, reference, tmp_path: Path) -> None:
    other = tiny.make_world(tmp_path)
    _, layout = other.config()
    # neither the mean nor the deviation about it is seen by a network
    scale(layout.statistics_file, "so_mean", 2.0)
    scale(layout.statistics_file, "so_std", 2.0)
    begun(other, reference.checkpoint, experiment="unseen")
    scale(layout.statistics_file, "so_anomaly_std", 0.5)
    message = refusal(other, reference.checkpoint)
    assert "so_anomaly_std as 0.1 0.1 0.1, the statistics of this run have 0.05 0.05" in message


def test_other_networks_are_refused_with_the_first_weight(world, reference) -> None:
    message = refusal(world, reference.checkpoint, "networks.state.latent=24", experiment="wide")
    assert "other networks than those of the configuration (state." in message
    message = refusal(world, reference.checkpoint, "networks.ilap.name=none", experiment="less")
    assert "(ilap." in message and "is absent" not in message and "and absent here" in message


def test_other_levels_and_forcing_are_refused(world, reference, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    contents = tiny.contents(reference.checkpoint)
    deeper = contents["grid"] | {"depth": torch.tensor([10.0, 50.0, 250.0], dtype=torch.float64)}
    torch.save(contents | {"grid": deeper}, path)
    message = refusal(world, path)
    assert "trained on 3 levels (10 to 250 m), but grid.depths gives 3 (10 to 200 m)" in message
    torch.save(contents | {"forcing_names": ["u10", "v10", "msl"]}, path)
    assert "forcing u10, v10, msl, but the configuration gives u10, v10, t2m" in refusal(
        world, path
    )


def test_a_file_that_cannot_be_read_names_the_key(world, tmp_path: Path) -> None:
    assert "no checkpoint" in refusal(world, tmp_path / "none.pt")
    (tmp_path / "x.pt").write_bytes(b"text")
    assert "damaged or incomplete" in refusal(world, tmp_path / "x.pt")
