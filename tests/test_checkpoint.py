"""Checkpoints: whole or not there, readable without running code, refused in one line."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
import torch

from hybridom import checkpoint
from hybridom.config import NetworkConfig, NetworksConfig, SkeletonConfig
from hybridom.errors import UserError
from hybridom.grid import Grid
from hybridom.normalisation import KINDS
from hybridom.stepper import HybridOM
from hybridom.variables import PROGNOSTIC, VARIABLES

NAMES = ("u10", "v10", "t2m")
SMALL = NetworkConfig(embed=8, latent=16, spatial_layers=2, blocks=2, heads=2, window=4)
NETWORKS = NetworksConfig(ilap=SMALL, state=SMALL)
SKELETON = SkeletonConfig(substeps=2)
CONFIG = {
    "experiment": "tiny",
    "skeleton": SKELETON.model_dump(mode="json"),
    "networks": NETWORKS.model_dump(mode="json"),
}


@pytest.fixture
def model() -> HybridOM:
    torch.manual_seed(0)
    grid = Grid.regular(20.0, (-60.0, 60.0), (-180.0, 180.0), (10.0, 50.0))
    wet = np.ones(grid.shape, dtype=bool)
    wet[:, 2:4, 3:6] = False
    statistics = {
        f"{name}_{kind}": torch.rand(
            (grid.nz,) if VARIABLES[name].has_depth else (), dtype=torch.float64
        )
        + 0.1
        for name in (*PROGNOSTIC, *NAMES)
        for kind in KINDS
    }
    made = HybridOM(grid, wet, statistics, NAMES, SKELETON, NETWORKS)
    with torch.no_grad():
        for weight in made.parameters():
            weight += torch.randn_like(weight)
    return made


@pytest.fixture
def saved(model: HybridOM, tmp_path: Path) -> Path:
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, checkpoint.pack(model, CONFIG))
    return path


def altered(path: Path, **entries: object) -> Path:
    contents = torch.load(path, weights_only=True)
    torch.save(contents | entries, path)
    return path


def test_a_checkpoint_rebuilds_the_model_by_itself(model: HybridOM, saved: Path) -> None:
    loaded = checkpoint.load_model(saved)
    assert not loaded.model.training
    assert loaded.grid.hash == model.grid.hash
    assert np.array_equal(loaded.grid.lat, model.grid.lat)
    assert np.array_equal(loaded.wet, model.wet.numpy())
    assert loaded.config == CONFIG
    assert loaded.model.forcing_names == NAMES
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], tensor), name
    for name, tensor in model.statistics.items():
        assert torch.equal(loaded.model.statistics[name], tensor), name
    assert torch.equal(loaded.model.static, model.static)
    assert torch.equal(loaded.model.vorticity_scale, model.vorticity_scale)


def test_contents_are_read_without_running_code(saved: Path) -> None:
    contents = torch.load(saved, weights_only=True)
    assert contents["version"] and contents["format"] == checkpoint.FORMAT

    class Trap:
        def __reduce__(self):
            return (print, ("this must never run",))

    torch.save({"format": checkpoint.FORMAT, "trap": Trap()}, saved)
    with pytest.raises(UserError, match="damaged"):
        checkpoint.load(saved)


def test_a_missing_checkpoint_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.pt: no checkpoint.*hybridom train"):
        checkpoint.load_model(tmp_path / "none.pt")


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_checkpoint_is_refused_in_one_line(saved: Path, part: float) -> None:
    whole = saved.read_bytes()
    saved.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(UserError, match="damaged or incomplete") as caught:
        checkpoint.load_model(saved)
    assert "\n" not in str(caught.value)


def test_other_files_and_other_formats_are_refused(saved: Path) -> None:
    altered(saved, format=99, version="7.0")
    with pytest.raises(UserError, match=r"format 99 \(version 7.0\), expected"):
        checkpoint.load_model(saved)
    torch.save({"weights": torch.zeros(3)}, saved)
    with pytest.raises(UserError, match="not a checkpoint of this project"):
        checkpoint.load_model(saved)


def test_an_altered_grid_is_refused(saved: Path) -> None:
    grid = torch.load(saved, weights_only=True)["grid"]
    altered(saved, grid=grid | {"depth": grid["depth"] + 1.0})
    with pytest.raises(UserError, match="grid hash"):
        checkpoint.load_model(saved)


def test_weights_of_another_size_are_refused(saved: Path) -> None:
    small = CONFIG["networks"]
    altered(saved, config=CONFIG | {"networks": small | {"state": small["state"] | {"embed": 16}}})
    with pytest.raises(UserError, match="do not fit") as caught:
        checkpoint.load_model(saved)
    assert "\n" not in str(caught.value)


def test_data_on_another_grid_or_mask_are_refused(saved: Path) -> None:
    loaded = checkpoint.load_model(saved)
    loaded.require_grid(loaded.grid, loaded.wet, Path("grid.nc"))
    other = Grid.regular(20.0, (-60.0, 60.0), (-180.0, 180.0), (10.0, 60.0))
    with pytest.raises(UserError, match=r"trained on grid .* grid\.nc holds grid"):
        loaded.require_grid(other, loaded.wet, Path("grid.nc"))
    wet = loaded.wet.copy()
    wet[0, 0, :3] = False
    with pytest.raises(UserError, match=r"another wet mask .* \(3 cells differ\)"):
        loaded.require_grid(loaded.grid, wet, Path("grid.nc"))


def test_a_reader_of_the_old_checkpoint_is_not_disturbed_by_a_new_one(
    model: HybridOM, saved: Path
) -> None:
    before = saved.read_bytes()
    with saved.open("rb") as handle:
        checkpoint.save(saved, checkpoint.pack(model, CONFIG | {"experiment": "later"}))
        assert handle.read() == before
    assert checkpoint.load(saved)["config"]["experiment"] == "later"


def test_a_failed_write_leaves_the_old_checkpoint_and_no_litter(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def full(contents: object, handle: object) -> None:
        handle.write(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match=r"cannot be written \(No space left"):
        checkpoint.save(saved, {})
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]
