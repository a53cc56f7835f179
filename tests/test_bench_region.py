"""The measurements of a region: its driver is given, counted, stored and read."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hybridom.bench import loader, peak, step, train, train_count
from hybridom.bench.loader_stores import coarser
from hybridom.bench.ocean import InventedOcean
from hybridom.bench.step import unit_statistics
from hybridom.bench.train_data import Sea, open_scene
from hybridom.bench.train_parts import PARTS
from hybridom.bench.train_table import table
from hybridom.bench.train_trial import Trial
from hybridom.bench.train_variants import with_overrides
from hybridom.cli import main
from hybridom.config import Config, load
from hybridom.data.days import as_date
from hybridom.grid import Grid
from hybridom.variables import PROGNOSTIC
from tests import driven

CONFIG = Path(__file__).parents[1] / "config" / "test_region.yaml"
CPU = torch.device("cpu")
UNGATED = ["networks.gate.name=none", "networks.correction.name=none", "networks.driver=none"]


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch):
    """Small tensors are faster on one thread, a large product without bfloat16 slow."""
    monkeypatch.setitem(peak.SIDE, "cpu", 64)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def config() -> Config:
    return load(CONFIG)


def alone(config: Config) -> Config:
    """The same box without anything that drives it."""
    rest = ["region=null", "training.curriculum=[{days: 1, steps: 1}]"]
    rest += ["evaluation.baselines=[persistence]", "evaluation.edges=0"]
    return with_overrides(config, [*UNGATED, *rest])


def counted(config: Config, days: int):
    box = config.grid
    grid = Grid.regular(box.resolution, box.lat, box.lon, box.depths)
    scales = unit_statistics(grid.nz, config.forcing_names)
    return train_count.count(config, grid, InventedOcean(grid).wet, scales, days)


def test_a_driver_is_drawn_after_all_else(config):
    nested = with_overrides(config, UNGATED)
    ours, plain = step.build_case(nested, 1, CPU), step.build_case(alone(config), 1, CPU)
    for name, field in plain.state.items():
        assert torch.equal(field, getattr(ours.state, name))
    for one, other in zip(ours.conditions, plain.conditions, strict=True):
        assert other.outer is None and one.outer is not None
        assert torch.equal(one.climatology.so, other.climatology.so)
        assert torch.equal(one.forcing.fields["t2m"], other.forcing.fields["t2m"])
        assert one.outer.thetao.shape == one.climatology.thetao.shape
        assert not torch.equal(one.outer.thetao, one.climatology.thetao)
    outer = [x.outer.thetao for x in ours.conditions if x.outer is not None]
    assert not torch.equal(*outer)


def test_a_day_of_a_region_is_measured(capsys, tmp_path):
    output = tmp_path / "step.json"
    words = ["bench", "step", "--config", str(CONFIG), "--repeats", "1", "--json", str(output)]
    assert main(words) == 0
    found = json.loads(output.read_text())
    assert found["grid"] == [3, 8, 16]
    assert found["forward"]["fastest"] > 0 and found["forward_backward"]["fastest"] > 0
    assert "3 x 8 x 16 cells" in capsys.readouterr().out


def test_a_window_holds_the_driver_on_its_days(config):
    days, cells, fields = 2, 8 * 16, 4 * 3 + 1
    _, size = counted(config, days)
    _, without = counted(alone(config), days)
    one = 4 * config.training.batch * (days + 1) * cells
    assert without.window == one * 2 * (fields + 3)
    assert size.window == without.window + one * fields


def test_the_gate_and_its_correction_are_counted(config):
    gated, _ = counted(config, 2)
    uncorrected, _ = counted(with_overrides(config, ["networks.correction.name=none"]), 2)
    plain, _ = counted(with_overrides(config, UNGATED[:2]), 2)
    assert gated.forward > uncorrected.forward > plain.forward
    again = with_overrides(config, ["networks.correction.checkpoint=true"])
    recomputed, _ = counted(again, 2)
    assert recomputed.useful == gated.useful and recomputed.recomputed > 0 == gated.recomputed


def test_a_count_of_variants(config):
    found = train.count_train(config, ["reference", "bf16", "cheap"], 1)["variants"]
    assert not [row["skipped"] for row in found.values() if "skipped" in row]
    assert found["reference"]["flop"] == found["bf16"]["flop"]
    assert found["cheap"]["flop"]["forward"] < found["reference"]["flop"]["forward"]


def test_training_of_a_region_is_measured(config, tmp_path):
    result = train.bench_train(config, ["reference"], 1, 1, "synthetic", 100.0, tmp_path)
    row = result["variants"]["reference"]
    assert set(row["parameters"]) == {"ilap", "state", "gate", "correction"}
    assert tuple(row["parts"]) == PARTS and row["parts"]["gate"] > 0
    assert result["data"]["source"] == "synthetic"
    window = 4 * 2 * (3 * (4 * 3 + 1) + 2 * 3) * 8 * 16 / 1e6
    assert result["data"]["window_mb"] == pytest.approx(window)
    assert " gate " in table(result)
    assert list(tmp_path.iterdir()) == []


def test_synthetic_stores_hold_the_driver_on_its_own_grid(config, tmp_path):
    with open_scene(config, 1, "synthetic", 100, tmp_path) as scene:
        batch = next(scene.batches)
        (grid_file,) = tmp_path.rglob("global_12_test_coarse/grid.nc")
        assert grid_file.parent.joinpath("state", "2001.zarr").is_dir()
    assert batch.outer is not None
    wet = torch.as_tensor(scene.wet)
    for name, field in batch.outer.items():
        assert field.shape == getattr(batch.state, name).shape
        land = ~(wet if field.ndim == 5 else wet[0])
        assert field.isfinite().all() and (field[..., land] == 0).all()
    warm = batch.outer.thetao[..., wet]
    # the same ocean, not the same cells
    assert (warm - batch.state.thetao[..., wet]).abs().mean() < 2.0
    assert not torch.equal(warm, batch.state.thetao[..., wet])


def test_a_batch_in_memory_has_a_driver_where_one_is_needed(config):
    with open_scene(config, 1, "memory", 0) as scene:
        batch = next(scene.batches)
        assert batch.outer is not None and batch.outer.so.shape == batch.state.so.shape
        assert Trial(with_overrides(config, train.STILL), scene, CPU).step(scene.batches)[0] > 0
    with open_scene(alone(config), 1, "memory", 0) as scene:
        assert next(scene.batches).outer is None


def test_stores_of_ones_own_are_driven_as_the_last_stage_is(tmp_path):
    own, _ = driven.make_region(tmp_path).config()
    for part in (0.0, 1.0):
        last = f"training.curriculum=[{{days: 2, steps: 1, forecasts: {part}}}]"
        with open_scene(with_overrides(own, [last]), 2, "stores", 0) as scene:
            batch = next(scene.batches)
        assert batch.outer is not None
        first = as_date(int(batch.start[0]))
        analysed = driven.value("so", first, None)
        found = float(batch.outer.so[0, 0][:, scene.wet[0]][0, 0])
        assert (found == pytest.approx(analysed, abs=1e-3)) == (part == 0.0)


def test_windows_of_a_region_are_read(config, capsys, tmp_path):
    output = tmp_path / "loader.json"
    words = ["bench", "loader", "--config", str(CONFIG), "--days", "3", "--window", "2"]
    assert main([*words, "--repeats", "1", "--folder", str(tmp_path), "--json", str(output)]) == 0
    found = json.loads(output.read_text())
    assert found["driver"] and "climatology and driver" in capsys.readouterr().out
    size = 2 * 4 * (3 * 13 + 2 * 3) * 8 * 16
    assert found["window_gb"] == pytest.approx(size / 1e9)
    assert all(row["first_gb_per_s"] > 0 for row in found["layouts"])
    assert list(tmp_path.iterdir()) == [output]


def test_the_rate_is_that_of_all_tensors(config, monkeypatch):
    item = {"state": {"so": torch.zeros(250)}, "outer": {"so": torch.zeros(250)}, "start": 1}
    clock = iter([0.0, 2.0])
    monkeypatch.setattr(loader.time, "perf_counter", lambda: next(clock))
    assert loader.rate_of([item], 0) == pytest.approx(1e-6)  # type: ignore[arg-type]


def test_cells_of_a_driver_are_twice_as_large():
    grid = Grid.regular(2.0, (-10.0, 10.0), (170.0, 200.0), (5.0, 50.0))
    coarse = coarser(grid)
    np.testing.assert_array_equal(coarse.lat_bounds, np.arange(-10.0, 11.0, 4.0))
    # of fifteen columns the last stays single
    np.testing.assert_array_equal(coarse.lon_bounds, [*np.arange(170.0, 199.0, 4.0), 200.0])
    assert coarse.lon[-1] == 199.0 and coarse.shape == (2, 5, 8) and not coarse.periodic
    assert (coarse.depth == grid.depth).all()
    same = dataclasses.replace(coarse)
    assert same.hash == coarse.hash != grid.hash


def test_the_ocean_of_a_driver_is_that_of_its_region(config):
    sea, coarse = Sea(config), Sea(config, driver=True)
    assert coarse.grid.shape == (3, 4, 8) and sea.grid.shape == (3, 8, 16)
    assert coarse.wet.shape == coarse.grid.shape
    for name in PROGNOSTIC:
        fine, other = np.nanmean(sea.field(name, 0)), np.nanmean(coarse.field(name, 0))
        assert other == pytest.approx(fine, abs=0.5)
