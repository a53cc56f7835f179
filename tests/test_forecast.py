"""Forecasts: the same numbers as training's unroll, whatever interrupts them."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
import torch
import xarray as xr

from hybridom import checkpoint
from hybridom.data.datasets import DayReader, WindowDataset, collate
from hybridom.data.stores import checksum
from hybridom.errors import UserError
from hybridom.forecast import ForecastSlabs, forecast
from hybridom.grid import read_grid
from hybridom.normalisation import read_statistics
from hybridom.state import OceanState
from hybridom.stepper import HybridOM
from hybridom.training.losses import StateLoss
from hybridom.training.rollout import Rollout, conditions
from hybridom.variables import PROGNOSTIC, VARIABLES
from tests.training import world as tiny

START = dt.date(2001, 2, 25)
DAYS = 8


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory):
    return tiny.make_world(tmp_path_factory.mktemp("tiny"))


def write_checkpoint(config, layout, size: float = 0.05) -> None:
    """A model whose weights are far from their zero start."""
    torch.manual_seed(0)
    grid, wet = read_grid(layout.grid_file)
    statistics = read_statistics(layout.statistics_file, config.forcing_names)
    model = HybridOM(grid, wet, statistics, config.forcing_names, config.skeleton, config.networks)
    with torch.no_grad():
        for weight in model.parameters():
            weight += size * torch.randn_like(weight)
    plain = {"skeleton": config.skeleton.model_dump(), "networks": config.networks.model_dump()}
    checkpoint.save(layout.checkpoint, checkpoint.pack(model, plain))


def run(world, experiment: str, *overrides: str):
    """A checkpoint and its forecast."""
    config, layout = world.config(*overrides, experiment=experiment)
    if not layout.checkpoint.exists():
        write_checkpoint(config, layout)
    forecast(config, layout, START)
    return layout


@pytest.fixture(scope="session")
def done(world):
    """Paths of an uninterrupted forecast."""
    return run(world, "whole")


def stored(layout) -> xr.Dataset:
    return xr.open_zarr(layout.forecast_store(START), chunks=None, consolidated=False)


def test_training_validation_and_forecast_give_the_same_fields_bit_for_bit(world, done) -> None:
    config, _ = world.config()
    loaded = checkpoint.load_model(done.checkpoint)
    names = config.forcing_names
    reader = DayReader(done, loaded.grid, loaded.wet, names, "none", config.periods.test)
    batch = collate([WindowDataset(reader, config.periods.test, DAYS, 1)[0]])
    model = loaded.model
    seen: list[OceanState] = []

    class Watch(torch.nn.Module):
        def forward(self, found: OceanState, truth: OceanState) -> torch.Tensor:
            seen.append(found)
            return loss(found, truth)

    loss = StateLoss(loaded.grid, loaded.wet, model.normaliser, config.training.loss)
    errors = Rollout(model, Watch())(batch)
    assert errors.requires_grad and len(seen) == DAYS
    with torch.no_grad():
        plain = list(model.unroll(batch.state.select(1, 0), conditions(batch)))
    data = stored(done)
    for lead, (trained, validated) in enumerate(zip(seen, plain, strict=True), start=1):
        for name in PROGNOSTIC:
            wet = loaded.wet if VARIABLES[name].has_depth else loaded.wet[0]
            expected = getattr(trained, name)[0].detach().numpy()
            assert np.array_equal(expected, getattr(validated, name)[0].numpy())
            found = data[name].isel(lead=lead).values
            assert np.array_equal(found[wet], expected[wet]), (name, lead)
            assert np.isnan(found[~wet]).all()


@pytest.mark.parametrize("lead", [0, 1, 4, DAYS])
def test_an_interrupted_forecast_goes_on_bit_for_bit(
    world, done, lead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(Exception):
        pass

    whole = ForecastSlabs.slab

    def slab(self, number: int):
        if number == lead:
            raise Killed
        return whole(self, number)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(ForecastSlabs, "slab", slab)
        run(world, f"interrupted{lead}")
    _, layout = world.config(experiment=f"interrupted{lead}")
    assert not layout.forecast_store(START).exists()
    assert not layout.forecast_manifest(START).exists()
    asked = []
    monkeypatch.setattr(ForecastSlabs, "slab", lambda self, n: (asked.append(n), whole(self, n))[1])
    run(world, f"interrupted{lead}")
    assert asked == list(range(lead, DAYS + 1))
    assert checksum(layout.forecast_store(START)) == checksum(done.forecast_store(START))


def test_a_damaged_lead_in_the_middle_is_computed_again_alone(
    world, done, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = run(world, "damaged")
    for lead in (3, 4, 7):
        (layout.forecast_store(START) / "vo" / "c" / str(lead) / "0" / "0" / "0").write_bytes(b"x")
    asked = []
    whole = ForecastSlabs.slab
    monkeypatch.setattr(ForecastSlabs, "slab", lambda self, n: (asked.append(n), whole(self, n))[1])
    run(world, "damaged")
    assert asked == [3, 4, 7]
    assert checksum(layout.forecast_store(START)) == checksum(done.forecast_store(START))


def test_the_store_follows_cf_and_says_where_it_comes_from(done, world) -> None:
    data = stored(done)
    assert data["thetao"].dims == ("lead", "depth", "latitude", "longitude")
    assert data["zos"].dims == ("lead", "latitude", "longitude")
    assert data["lead"].values.tolist() == list(range(DAYS + 1))
    days = np.datetime64(START, "ns") + np.arange(DAYS + 1) * np.timedelta64(1, "D")
    assert (data["time"].values == days).all() and data["start_date"].values == days[0]
    for name in PROGNOSTIC:
        assert data[name].attrs["standard_name"] == VARIABLES[name].standard_name
        assert data[name].attrs["units"] == VARIABLES[name].units
        assert data[name].dtype == np.float32
        assert data[name].encoding["chunks"] == (1, *data[name].shape[1:])
    for axis in ("latitude", "longitude", "depth"):
        assert data[axis].attrs["bounds"] == f"{axis}_bounds"
    assert data.attrs["checkpoint_sha256"] == checkpoint.digest(done.checkpoint)
    assert data.attrs["grid_hash"] == world.grid.hash
    assert data.attrs["hybridom_version"] and data.attrs["config_hash"]


def test_lead_zero_is_the_analysis(done, world) -> None:
    analysis = xr.open_zarr(done.state_store(START.year), chunks=None, consolidated=False)
    for name in PROGNOSTIC:
        expected = analysis[name].sel(time=np.datetime64(START)).values
        assert np.array_equal(stored(done)[name].isel(lead=0).values, expected, equal_nan=True)
    manifest = tiny.manifest_of(done.forecast_manifest(START))
    assert manifest["store"] == f"{START}.zarr" and manifest["days"] == DAYS + 1
    assert manifest["checksum"] == checksum(done.forecast_store(START))
    assert manifest["grid_hash"] == world.grid.hash


def test_a_finished_forecast_is_not_made_again_but_a_new_checkpoint_makes_a_new_one(
    world, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = run(world, "again", "forecast.days=2")
    before = stored(layout)["thetao"].isel(lead=2).values

    def refuse(self, lead: int) -> None:
        raise AssertionError("asked for a slab")

    with monkeypatch.context() as patch:
        patch.setattr(ForecastSlabs, "slab", refuse)
        run(world, "again", "forecast.days=2", "forecast.every=3", "figures.dpi=50")
    config, _ = world.config("forecast.days=2", experiment="again")
    write_checkpoint(config, layout, size=0.02)
    run(world, "again", "forecast.days=2")
    after = stored(layout)["thetao"].isel(lead=2).values
    assert not np.array_equal(before, after, equal_nan=True)


def test_a_field_that_is_not_finite_is_refused_with_variable_and_lead(
    world, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = HybridOM.step
    calls = []

    def blow_up(self, state, now, then):
        calls.append(1)
        found = step(self, state, now, then)
        if len(calls) == 3:
            found.vo[0, 1, 0, 0] = float("inf")
        return found

    monkeypatch.setattr(HybridOM, "step", blow_up)
    with pytest.raises(UserError, match=r"2001-02-25: vo is not finite at lead 3 \(2001-02-28\)"):
        run(world, "inf")
    _, layout = world.config(experiment="inf")
    assert not layout.forecast_store(START).exists()


def test_another_forcing_set_than_in_training_is_refused(world, done) -> None:
    config, layout = world.config("forcing=surface4", experiment="whole")
    with pytest.raises(UserError, match=r"trained with forcing u10, v10, t2m.*key forcing"):
        forecast(config, layout, START)


def test_a_day_that_is_not_in_the_stores_is_refused_by_name(world, done) -> None:
    config, layout = world.config(experiment="whole")
    with pytest.raises(UserError, match="2001-03-2"):
        forecast(config, layout, dt.date(2001, 3, 18))


def test_without_a_checkpoint_the_command_that_makes_it_is_named(world) -> None:
    config, layout = world.config(experiment="nothing")
    with pytest.raises(UserError, match="hybridom train"):
        forecast(config, layout, START)
