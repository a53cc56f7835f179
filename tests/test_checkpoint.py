"""Checkpoints: whole or not there, readable without running code, refused in one line."""

from __future__ import annotations

import errno
import json
import logging
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from hybridom import __version__, checkpoint
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
    message = refusal(saved)
    assert "format 99 (version 7.0), expected 2 or older" in message and __version__ in message
    altered(saved, format=0)
    with pytest.raises(UserError, match="format 0"):
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


def refusal(path: Path) -> str:
    """The one line with which a file is refused."""
    with pytest.raises(UserError) as caught:
        checkpoint.load_model(path)
    message = str(caught.value)
    assert "\n" not in message and str(path) in message
    return message


def test_a_byte_that_is_wrong_is_found(saved: Path) -> None:
    whole = bytearray(saved.read_bytes())
    for place in np.random.default_rng(0).integers(0, len(whole), 40):
        broken = whole.copy()
        broken[place] ^= 0xFF
        saved.write_bytes(broken)
        try:
            loaded = checkpoint.load_model(saved).model.state_dict()
        except UserError as error:
            assert "\n" not in str(error)
        else:  # the byte was padding, or a name that nobody reads
            saved.write_bytes(whole)
            good = checkpoint.load_model(saved).model.state_dict()
            assert all(torch.equal(x, good[name]) for name, x in loaded.items())


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_what_is_no_checkpoint_is_refused_in_one_line(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    assert "no checkpoint; make it with `hybridom train`" in refusal(path)
    path.mkdir()
    assert "is a folder" in refusal(path)
    path.rmdir()
    for foreign in (b"", b"some text\n", bytes(1000), pickle.dumps({"format": 2}), b"PK\x03\x04"):
        path.write_bytes(foreign)
        assert "damaged or incomplete" in refusal(path)
    path.write_bytes(b"x")
    path.chmod(0)
    if os.geteuid() != 0:
        assert "cannot be read (Permission denied)" in refusal(path)


def test_a_file_that_may_not_be_read_is_not_called_damaged(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    assert "cannot be read (Permission denied)" in refusal(saved)


def test_entries_that_are_missing_are_named(saved: Path) -> None:
    contents = torch.load(saved, weights_only=True)
    torch.save({k: x for k, x in contents.items() if k not in ("wet", "statistics")}, saved)
    assert "it has no wet, statistics" in refusal(saved)
    torch.save(contents | {"config": {"skeleton": CONFIG["skeleton"]}}, saved)
    assert "no section networks" in refusal(saved)


def test_keys_that_this_version_does_not_know_are_named_with_the_version(saved: Path) -> None:
    state = CONFIG["networks"]["state"] | {"wings": 2}
    altered(saved, config=CONFIG | {"networks": CONFIG["networks"] | {"state": state}}, version="9")
    message = refusal(saved)
    assert "written by version 9, whose configuration has networks.state.wings = 2" in message
    state = CONFIG["networks"]["state"] | {"name": "wing"}
    altered(saved, config=CONFIG | {"networks": CONFIG["networks"] | {"state": state}})
    assert "unknown network 'wing'" in refusal(saved)


def test_sections_that_only_training_reads_do_not_matter(saved: Path) -> None:
    altered(saved, config=CONFIG | {"training": {"validation": {"days": 5}, "gone": 1}})
    checkpoint.load_model(saved)


def resumable(model: HybridOM) -> dict[str, object]:
    """What a resumable checkpoint holds besides, averages that are not the weights among them."""
    weights = {name: 2.0 * x.detach() for name, x in model.named_parameters()}
    return {
        "progress": {"step": 3, "consumed": 6, "ranks": 1},
        "average": {"weights": weights, "updates": 3},
        "optimiser": {"state": {}, "param_groups": []},
        "loss": {},
    }


def test_the_averaged_weights_of_a_resumable_checkpoint_are_the_ones_to_use(
    model: HybridOM, saved: Path
) -> None:
    checkpoint.save(saved, checkpoint.pack(model, CONFIG, **resumable(model)))
    loaded = dict(checkpoint.load_model(saved).model.named_parameters())
    for name, weight in model.named_parameters():
        assert torch.equal(loaded[name], 2.0 * weight), name


def test_format_1_is_read_and_said(
    model: HybridOM, saved: Path, caplog: pytest.LogCaptureFixture
) -> None:
    more = resumable(model)
    state = model.state_dict() | more["average"]["weights"]
    average = {"n_averaged": torch.tensor(3)} | {f"module.{k}": x for k, x in state.items()}
    del more["loss"]
    packed = checkpoint.pack(model, CONFIG, **more | {"average": average})
    torch.save(packed | {"format": 1, "version": "0.1.0"}, saved)
    with caplog.at_level(logging.INFO):
        contents = checkpoint.load(saved)
    assert "format 1 of version 0.1.0, read as format 2" in caplog.text
    assert len(caplog.records) == 1
    assert contents["format"] == 2 and contents["loss"] == {}
    assert checkpoint.describe(saved)["format"] == 1
    assert contents["average"]["updates"] == 3
    assert set(contents["average"]["weights"]) == set(state)
    assert all(torch.equal(x, state[k]) for k, x in contents["average"]["weights"].items())
    # a final one has nothing but weights
    torch.save(checkpoint.pack(model, CONFIG) | {"format": 1}, saved)
    assert torch.equal(
        checkpoint.load_model(saved).model.state_dict()["state.readout.weight"],
        model.state_dict()["state.readout.weight"],
    )


# safetensors


@pytest.fixture
def exported(saved: Path) -> Path:
    path = saved.with_suffix(".safetensors")
    checkpoint.export(checkpoint.load_model(saved), path)
    return path


def test_an_exported_model_is_the_same_model(saved: Path, exported: Path) -> None:
    first, second = checkpoint.load_model(saved), checkpoint.load_model(exported)
    assert second.config == first.config and second.version == first.version
    assert second.grid.hash == first.grid.hash and np.array_equal(second.wet, first.wet)
    assert second.model.forcing_names == first.model.forcing_names
    for name, x in first.model.state_dict().items():
        assert torch.equal(second.model.state_dict()[name], x), name
    for name, x in first.model.statistics.items():
        assert torch.equal(second.model.statistics[name], x)
        assert second.model.statistics[name].dtype == x.dtype


def test_an_exported_file_is_read_without_this_package(model: HybridOM, exported: Path) -> None:
    with safe_open(exported, framework="np") as handle:
        text = json.loads(handle.metadata()["hybridom"])
        assert text["config"] == CONFIG and text["forcing_names"] == list(NAMES)
        assert text["grid_hash"] == model.grid.hash and text["version"] == __version__
        assert np.array_equal(handle.get_tensor("grid.lat"), model.grid.lat)
        assert np.array_equal(handle.get_tensor("wet"), model.wet.numpy())
        weight = model.state_dict()["state.readout.weight"].numpy()
        assert np.array_equal(handle.get_tensor("model.state.readout.weight"), weight)
        scale = model.statistics["so_anomaly_std"].numpy()
        assert np.array_equal(handle.get_tensor("statistics.so_anomaly_std"), scale)


def test_the_same_model_gives_the_same_bytes(saved: Path, exported: Path) -> None:
    before = exported.read_bytes()
    checkpoint.export(checkpoint.load_model(saved), exported)
    assert exported.read_bytes() == before


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_a_truncated_export_is_refused_in_one_line(exported: Path, part: float) -> None:
    whole = exported.read_bytes()
    exported.write_bytes(whole[: int(part * len(whole))])
    assert "damaged or incomplete" in refusal(exported)


def test_exports_of_others_altered_and_newer_ones_are_refused(exported: Path) -> None:
    with safe_open(exported, framework="pt") as handle:
        texts = handle.metadata()
        tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    newer = json.loads(texts["hybridom"]) | {"format": 99, "version": "7.0"}
    save_file(tensors, exported, {"hybridom": json.dumps(newer)})
    assert "format 99 (version 7.0)" in refusal(exported)
    save_file(tensors | {"grid.depth": tensors["grid.depth"] + 1.0}, exported, texts)
    assert "grid hash" in refusal(exported)
    save_file({"weight": torch.zeros(3)}, exported)
    assert "not a checkpoint of this project" in refusal(exported)
    save_file(tensors | {"more.weight": torch.zeros(3)}, exported, texts)
    assert "not a checkpoint of this project" in refusal(exported)


def test_an_export_needs_its_suffix(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected a name that ends in \.safetensors"):
        checkpoint.export(checkpoint.load_model(saved), tmp_path / "weights.bin")


def test_a_folder_that_cannot_be_written_is_named(model: HybridOM) -> None:
    with pytest.raises(UserError, match=r"/proc/none/x\.pt: cannot be written"):
        checkpoint.save(Path("/proc/none/x.pt"), checkpoint.pack(model, CONFIG))
