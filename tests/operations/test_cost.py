"""Costs against what is really there: stores, checkpoints, models, counted and taken steps."""

from __future__ import annotations

import dataclasses
import datetime as dt
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hybridom import checkpoint
from hybridom.bench import train_count
from hybridom.bench.step import unit_statistics
from hybridom.bench.synthetic import write_ocean
from hybridom.bench.train_data import Sea, open_scene
from hybridom.bench.train_trial import Trial, first_step
from hybridom.bench.train_variants import with_overrides
from hybridom.config import Config, load
from hybridom.data.prepare import prepare_grid, prepare_state
from hybridom.errors import UserError
from hybridom.grid import Grid, write_grid
from hybridom.layout import Layout
from hybridom.operations import (
    cost,
    cost_driver,
    cost_ocean,
    cost_storage,
    cost_trace,
    cost_training,
)
from hybridom.operations.cost_trace import Line, Trace
from hybridom.retrieve import arco
from hybridom.retrieve.ocean import ocean_job
from hybridom.stepper import HybridOM

ROOT = Path(__file__).parents[2]
CONFIGS = ("demo", "demo_region", "global_05", "global_025", "regional_025")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tiny() -> Config:
    return load(ROOT / "config" / "test.yaml")


@pytest.fixture(scope="module")
def traced(tiny: Config) -> Trace:
    return cost_trace.trace(tiny, grid_of(tiny))


def demo(tmp_path: Path) -> Config:
    """The demo without any of its files."""
    return load(ROOT / "config" / "demo.yaml", [f"paths.resources={tmp_path}"])


def grid_of(config: Config) -> Grid:
    box = config.grid
    return Grid.regular(box.resolution, box.lat, box.lon, box.depths)


def size(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def amounts(costs: list[cost.Cost]) -> dict[str, float]:
    assert len({c.what for c in costs}) == len(costs)
    return {c.what: c.amount for c in costs}


# --- storage


def test_the_state_of_rough_files_has_the_estimated_size(tmp_path):
    """Files packed and as rough as the product's, through the stage that makes stores of them."""
    days = {"train": (1, 2), "validation": (3, 3), "test": (4, 5)}
    overrides = [
        *(
            f"periods.{k}={{start: 2001-01-{a:02}, end: 2001-01-{b:02}}}"
            for k, (a, b) in days.items()
        ),
        "grid={name: small, resolution: 1, lat: [-80, 80], depths: [5, 50, 500]}",
        f"paths.resources={tmp_path}",
        f"source.ocean_dir={tmp_path / 'ocean'}",
        "training.curriculum=[{days: 1, steps: 1}]",
        "forecast={days: 1, first: 2001-01-04, last: 2001-01-04}",
        "figures.leads=[1]",
    ]
    config = load(ROOT / "config" / "global_05.yaml", overrides)
    layout = Layout(config)
    write_ocean(layout.ocean_dir, dt.date(2001, 1, 1), 5, config.grid.depths, step=1 / 6)
    prepare_grid(config, layout)
    prepare_state(config, layout, 2001)
    ocean = cost_ocean.ocean_cells(config, layout)
    assert ocean.made == "counted"
    found = amounts(cost_storage.stores(config, ocean))["state"]
    assert 1e9 * found == pytest.approx(size(layout.state_store(2001)), rel=0.1)


@pytest.mark.parametrize("has_grid", [False, True])
def test_stores_of_the_demo_have_the_estimated_size(tmp_path, has_grid):
    root = ROOT / "resources" / "global_4"
    needed = [root / "state" / f"{year}.json" for year in range(2001, 2005)]
    needed += [root / "forcing" / f"{year}.json" for year in range(2001, 2005)]
    if missing := [file for file in [*needed, root / "climatology.json"] if not file.exists()]:
        pytest.skip(f"{missing[0]}: the demo has not been prepared here (`make demo`)")
    config = demo(ROOT / "resources" if has_grid else tmp_path)
    ocean = cost_ocean.ocean_cells(config, Layout(config))
    assert ocean.made == ("counted" if has_grid else "estimated")
    found = amounts(cost_storage.stores(config, ocean))
    stores = {
        "state": sum(size(file.with_suffix(".zarr")) for file in needed[:4]),
        "forcing": sum(size(file.with_suffix(".zarr")) for file in needed[4:]),
        "climatology": size(root / "climatology.zarr"),
        "grid file and statistics": size(root / "grid.nc") + size(root / "statistics.nc"),
    }
    if (root / "percentiles.json").exists():
        stores["percentiles"] = size(root / "percentiles.zarr")
    for name, real in stores.items():
        assert 1e9 * found[name] == pytest.approx(real, rel=0.1), name


def test_results_of_the_demo_have_the_estimated_size(tmp_path):
    root = ROOT / "results" / "demo"
    forecasts = sorted((root / "forecast").glob("*.json"))
    config = demo(tmp_path)
    if len(forecasts) < len(config.forecast.start_dates()):
        pytest.skip(f"{root}: the demo has not run here (`make demo`)")
    ocean = cost_ocean.ocean_cells(config, Layout(config))
    real = sum(size(file.with_suffix(".zarr")) for file in forecasts)
    assert 1e9 * cost_storage.forecasts(config, ocean).amount == pytest.approx(real, rel=0.1)


def test_rounded_bits_and_sea_ice_change_the_size_of_stores(tiny):
    ocean = cost_ocean.ocean_cells(tiny, Layout(tiny))
    plain = cost_storage.state_bytes(tiny, ocean)
    rounded = with_overrides(tiny, ["stores.keepbits={thetao: 7}"])
    saved = 4 * cost_storage.LEFT["thetao"] * ocean.volume * 0.5
    assert cost_storage.state_bytes(rounded, ocean) == pytest.approx(plain - saved)
    ice = with_overrides(tiny, ["source.sea_ice=true"])
    assert cost_storage.state_bytes(ice, ocean) == pytest.approx(plain + 16 * ocean.surface)


def test_files_to_fetch_are_those_of_the_plan():
    overrides = [
        "source={kind: download}",
        "periods.train={start: 2001-01-01, end: 2001-02-28}",
        "periods.validation={start: 2001-03-01, end: 2001-03-31}",
        "periods.test={start: 2001-04-01, end: 2001-06-30}",
        "forecast.first=2001-04-01",
        "forecast.last=2001-04-20",
    ]
    config = load(ROOT / "config" / "regional_025.yaml", overrides)
    layout, months = Layout(config), config.periods.months()
    found = amounts(cost_storage.raw_files(config, layout))
    air = sum(arco.forcing_job(config, layout, month).pieces[0].size for month in months)
    assert 1e9 * found["atmosphere files to fetch"] == pytest.approx(air)
    ocean = sum(p.size for month in months for p in ocean_job(config, layout, month).pieces)
    static = 1e9 * found["ocean files to fetch"] - ocean
    assert 0 < static < 3e9


# --- ocean cells


def test_the_embedded_ocean_is_known_without_its_files(tmp_path):
    config = demo(tmp_path)
    ocean = cost_ocean.ocean_cells(config, Layout(config))
    # 2164 of 45 x 90 cells, as `make demo` writes to grid.nc; its columns end below all levels
    assert ocean.surface == pytest.approx(2164)
    assert ocean.volume == pytest.approx(11 * 2164)


def test_the_real_ocean_is_that_of_the_maps(tmp_path):
    config = load(ROOT / "config" / "global_05.yaml", ["grid.lat=[-80, 80]"])
    ocean = cost_ocean.ocean_cells(config, Layout(config))
    weights = np.cos(np.deg2rad(ocean.grid.lat))
    assert 0.66 < ocean.shares[0] < 0.72
    assert (np.diff(ocean.shares) < 0).all() and ocean.shares[-1] > 0.88 * ocean.shares[0]
    # by area seven tenths of the Earth are sea
    lat, lon = np.arange(-89.5, 90), np.arange(-179.5, 180)
    path = ROOT / "hybridom" / "figures" / cost_ocean.COASTLINE
    weights = np.cos(np.deg2rad(lat))[:, None] * np.ones(lon.size)
    land = cost_ocean._land(lat, lon, path)
    assert np.average(~land, weights=weights) == pytest.approx(0.708, abs=0.01)


def test_cells_of_a_grid_file_are_counted(tmp_path):
    config = demo(tmp_path)
    grid, layout = grid_of(config), Layout(config)
    wet = np.zeros(grid.shape, bool)
    wet[:, :20], wet[4:, :5] = True, False
    layout.grid_file.parent.mkdir(parents=True)
    write_grid(layout.grid_file, grid, wet, wet.astype(float), {})
    ocean = cost_ocean.ocean_cells(config, layout)
    assert ocean.made == "counted"
    assert (ocean.surface, ocean.volume) == pytest.approx((wet[0].sum(), wet.sum()))
    other = with_overrides(config, ["grid.resolution=6"])
    assert cost_ocean.ocean_cells(other, layout).made == "estimated"


# --- training


@pytest.mark.parametrize("name", CONFIGS)
def test_parameters_are_those_of_the_built_model(name):
    # weights do not depend on the grid
    box = ["grid.resolution=5", "grid.lat=[-75, 75]", "grid.lon=[-180, 180]"]
    box += ["skeleton.sponge={width: 0}", "skeleton.boundaries=closed"]
    config = load(ROOT / "config" / f"{name}.yaml", box)
    found = cost_trace.trace(config, grid_of(config))
    sea = Sea(with_overrides(config, ["skeleton.substeps=96"]))
    model = HybridOM(
        sea.grid,
        sea.wet,
        sea.statistics(config.forcing_names),
        config.forcing_names,
        config.skeleton,
        config.networks,
    )
    assert found.parameters == {
        name: sum(p.numel() for p in network.parameters())
        for name, network in model.networks().items()
    }


@pytest.mark.parametrize("days", [1, 2, 4])
def test_operations_and_memory_are_those_of_bench_train(tiny, traced, days):
    grid = grid_of(tiny)
    wet = np.ones(grid.shape, bool)
    scales = unit_statistics(grid.nz, tiny.forcing_names)
    flop, bytes_ = train_count.count(tiny, grid, wet, scales, days)
    assert traced.forward.of(days) == pytest.approx(flop.forward, rel=1e-6)
    assert traced.backward.of(days) == pytest.approx(flop.backward, rel=1e-6)
    assert traced.flop(days) == pytest.approx(flop.useful, rel=1e-6)
    assert traced.weights == bytes_.weights
    assert traced.window.of(days) == bytes_.window
    assert traced.gpu_bytes(days) == pytest.approx(bytes_.total, rel=0 if days < 3 else 0.05)


def test_what_checkpointing_does_again_is_not_counted(tiny, traced):
    again = with_overrides(
        tiny, ["networks.ilap.checkpoint=true", "networks.state.checkpoint=true"]
    )
    found = cost_trace.trace(again, grid_of(tiny))
    assert (found.forward, found.backward) == (traced.forward, traced.backward)
    assert found.step.more < traced.step.more


def test_memory_is_what_a_step_takes():
    """On a CPU all of it is resident; kernels' own memory and gaps come on top."""
    config = load(ROOT / "config" / "demo.yaml", ["grid.resolution=2", "skeleton.substeps=24"])
    days = 2
    found = cost_trace.trace(config, grid_of(config)).gpu_bytes(days) / 1e6
    with open_scene(config, days, "memory", 0.0) as scene:
        next(scene.batches)
        _, row = first_step(config, scene, CPU)
    measured = row["peak_memory_mb"] - row["start_memory_mb"]
    assert 0.9 * found < measured < 1.6 * found


def test_a_checkpoint_has_the_estimated_size(tiny, traced, tmp_path):
    with open_scene(tiny, 1, "memory", 0.0) as scene:
        trial = Trial(tiny, scene, CPU)
        trial.step(scene.batches)
    optimisation = trial.optimisation
    contents = checkpoint.pack(optimisation.model, {}, **optimisation.state())
    checkpoint.save(tmp_path / "step.pt", contents)
    checkpoint.save(tmp_path / "final.pt", checkpoint.pack(optimisation.model, {}))
    grid = grid_of(tiny)
    found = cost_training.checkpoint_bytes(tiny, grid, traced)
    assert found == pytest.approx(size(tmp_path / "step.pt"), rel=0.1)
    found = cost_training.final_bytes(grid, traced)
    assert found == pytest.approx(size(tmp_path / "final.pt"), rel=0.1)


def test_the_training_is_the_sum_of_its_steps(tiny):
    config = with_overrides(
        tiny,
        [
            "skeleton.enabled=false",
            "training.ranks=3",
            "training.batch=2",
            "training.accumulate=5",
            "training.curriculum=[{days: 1, steps: 10}, {days: 3, steps: 4}]",
            "training.validation={every: 7, leads: [1, 6], starts: 2}",
        ],
    )
    found = Trace({"state": 1}, 1, 4, Line(1e12, 1e12), Line(2e12, 3e12), 8, Line(0, 0), Line(0, 0))
    # 30 windows a step: 10 steps of 3, 4 steps of 3 + 8; validation twice, 2 starts of 6 days
    expected = 30 * (10 * 3e12 + 4 * 11e12) + 2 * 2 * 6 * 1e12
    grid = grid_of(config)
    assert cost_training.training_flop(config, grid, found) == pytest.approx(expected)
    hours = cost_training.hours(config, grid, found, gpu_tflops=2.0)
    gpu, clock, forecasts = (row.amount for row in hours)
    assert gpu == pytest.approx(expected / 2e12 / 3600) and clock == pytest.approx(gpu / 3)
    assert forecasts == pytest.approx(2 * 10 * 1e12 / 2e12 / 3600)


def test_the_numerical_ocean_takes_its_substeps(tiny):
    grid, cells = grid_of(tiny), np.prod(grid_of(tiny).shape)
    flop = cost_training.skeleton_flop(tiny, grid)
    assert flop == 100 * cells * tiny.skeleton.substeps
    three = with_overrides(tiny, ["skeleton.scheme=rk3"])
    assert cost_training.skeleton_flop(three, grid) == 3 * flop


# --- all of it


def test_the_table_says_how_each_figure_was_made(tiny):
    costs = cost.estimate(tiny, 60.0)
    text = cost.table(costs)
    words = " ".join(text.split())
    for row in costs:
        assert row.made in ("counted", "measured", "estimated") and row.how
        assert np.isfinite(row.amount) and row.amount >= 0
        assert row.what.strip() in text
        assert " ".join(f"{row.made}: {row.how}".split()) in words or len(row.how) > 60
    assert {c.part for c in costs} == {"storage", "memory", "work", "hours"}
    assert max(map(len, text.splitlines())) <= 130
    parts = [dataclasses.replace(costs[0], amount=0.0)]
    assert " 0 GB" in cost.table(parts)


def test_results_in_sum_are_the_sum_of_results(tiny):
    found = amounts(cost.estimate(tiny, 60.0))
    assert found["results in sum"] == pytest.approx(sum(found[what] for what in cost.RESULTS))


def test_without_networks_nothing_is_said_of_training(tiny):
    config = with_overrides(tiny, ["networks.ilap.name=none", "networks.state.name=none"])
    found = amounts(cost.estimate(config, 60.0))
    assert "forecasts" in found and "parameters" not in found and "training" not in found


def test_a_speed_of_nothing_is_refused(tiny):
    with pytest.raises(UserError, match="expected a number above 0"):
        cost.estimate(tiny, 0.0)


# --- a region


@pytest.fixture(scope="module")
def region() -> Config:
    return load(ROOT / "config" / "test_region.yaml")


@pytest.fixture(scope="module")
def driver(region: Config) -> Config:
    found = cost_driver.driver_config(region, "test_region")
    assert found is not None
    return found


def test_the_driver_is_that_of_its_file(region, driver, tmp_path, monkeypatch):
    assert (driver.experiment, driver.grid.name) == ("test_coarse", "global_12_test_coarse")
    assert cost_driver.driver_config(driver, "test_coarse") is None
    there = with_overrides(region, ["region.driver.file=null"])
    assert cost_driver.driver_config(there, "test_region") is None
    elsewhere = with_overrides(region, ["region.driver.experiment=other"])
    with pytest.raises(UserError, match=r"'other'.*'test_coarse'"):
        cost_driver.driver_config(elsewhere, "test_region")
    monkeypatch.chdir(tmp_path)  # the project is looked in too
    assert cost_driver.driver_config(region, "test_region") == driver


def test_a_region_takes_forecasts_of_its_driver(region, driver):
    # 4 days every 4 of 16 days of training and of 5 of validation, and 2 tests
    assert len(region.region.forecasts.starts(region.periods.train)) == 3
    assert len(region.region.forecasts.starts(region.periods.validation)) == 1
    assert len(cost_driver.forecast_starts(region)) == 3 + 1 + 2
    (row,) = cost_driver.storage(region, driver)
    ocean = cost_ocean.ocean_cells(driver, Layout(driver))
    of_two = cost_storage.forecasts(driver, ocean)
    assert len(driver.forecast.start_dates()) == 2
    assert row.amount == pytest.approx(3 * of_two.amount)
    assert "6 starts x 11 days" in row.how and "4 of them for training" in row.how
    assert "hybridom cost --config config/test_coarse.yaml" in row.how
    undriven = with_overrides(region, ["training.curriculum=[{days: 1, steps: 1}]"])
    assert len(cost_driver.forecast_starts(undriven)) == 1 + 2


def test_hours_of_the_driver_are_those_of_its_forward_pass(region, driver):
    found = cost_trace.trace(driver, grid_of(driver))
    day = found.forward.more
    assert cost_trace.forward_flop(driver, grid_of(driver)) == pytest.approx(day, rel=1e-6)
    (row,) = cost_driver.hours(region, driver, 2.0)
    day += cost_training.skeleton_flop(driver, grid_of(driver))
    assert row.amount == pytest.approx(6 * 10 * day / 2e12 / 3600)


def test_the_driver_stands_in_the_table_of_a_region(region):
    found = amounts(cost.estimate(region, 60.0))
    assert found["forecasts of the driver (test_coarse)"] > found["forecasts"] > 0
    assert found["making those of the driver (test_coarse)"] > 0
    # they lie in the driver's folder
    assert found["results in sum"] == pytest.approx(sum(found[what] for what in cost.RESULTS))
    there = amounts(cost.estimate(with_overrides(region, ["region.driver.file=null"]), 60.0))
    assert not [what for what in there if "driver" in what]


def test_a_window_and_a_cache_in_memory_have_the_driver_too(region):
    def training(config: Config) -> float:
        return 1e9 * cost_training.host_memory(config, grid_of(config))[1].amount

    ranks, batch, days = region.training.ranks, region.training.batch, 2
    plain = ["networks.gate.name=none", "networks.correction.name=none", "networks.driver=none"]
    plain += ["training.curriculum=[{days: 2, steps: 1}]", "region=null", "evaluation.edges=0"]
    alone = with_overrides(region, [*plain, "evaluation.baselines=[persistence]"])
    assert region.training.num_workers == 0 and region.training.cache == "memory"
    # on the region's cells: of each day of a window, and of each day of training
    outer = 4 * 13 * 8 * 16
    grown = outer * ((days + 1) * 2 * batch + region.periods.train.length)
    assert training(region) - training(alone) == pytest.approx(ranks * grown)


def test_memory_of_a_region_is_that_of_bench_train(region):
    grid = grid_of(region)
    scales = unit_statistics(grid.nz, region.forcing_names)
    found = cost_trace.trace(region, grid)
    flop, bytes_ = train_count.count(region, grid, np.ones(grid.shape, bool), scales, 2)
    assert found.flop(2) == pytest.approx(flop.useful, rel=1e-6)
    assert found.window.of(2) == bytes_.window and found.weights == bytes_.weights
    assert set(found.parameters) == {"ilap", "state", "gate", "correction"}


def test_a_gate_alone_is_trained(region):
    gate = with_overrides(region, ["networks.ilap.name=none", "networks.state.name=none"])
    assert cost_trace.has_networks(gate)
    assert not cost_trace.has_networks(
        with_overrides(gate, ["networks.gate.name=none", "networks.correction.name=none"])
    )


def test_the_weights_of_a_gate_take_space(region):
    assert cost_storage.gate_bytes(region) == 4 * 2 * 6 * 8 * 16  # leads 1 and 10 of 10 days
    each = ["networks.gating={levels: each, directions: each}"]
    more = with_overrides(region, each)
    assert cost_storage.gate_bytes(more) == 2 * 3 * cost_storage.gate_bytes(region)
    grown = cost_storage.scores(more).amount - cost_storage.scores(region).amount
    starts = len(region.forecast.start_dates())
    assert 1e9 * grown == pytest.approx(starts * 5 * cost_storage.gate_bytes(region))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["global_025"])  # the largest
def test_the_full_problem_is_never_allocated(name):
    code = (
        "import resource; from hybridom.config import load; from hybridom.operations import cost;"
        f"cost.estimate(load('config/{name}.yaml'), 60.0);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 4e6  # kB
