"""Forecasts of a region in the forecast of its driver, and the weights of its gate."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import shutil

import numpy as np
import pytest
import torch
import xarray as xr

from hybridom import checkpoint, cli
from hybridom.conditions import Conditions
from hybridom.config import load
from hybridom.data.datasets import DayReader
from hybridom.data.driver import Driver
from hybridom.data.stores import checksum
from hybridom.errors import UserError
from hybridom.forecast import ForecastSlabs, forecast
from hybridom.gate_weights import write_gate_weights
from hybridom.grid import Grid, read_grid, write_grid
from hybridom.layout import Layout
from hybridom.normalisation import read_statistics
from hybridom.state import Forcing, OceanState
from hybridom.stepper import HybridOM
from hybridom.variables import PROGNOSTIC, VARIABLES
from tests import driven
from tests.training import world as tiny

START = dt.date(2001, 2, 25)
DAYS = 8
GATED = (
    "networks.gate={name: resnet, embed: 8, blocks: 1}",
    "networks.driver=change",
    "networks.gating.levels=each",
    "networks.gating.directions=each",
)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Small tensors are faster, and sums repeatable, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return driven.make_region(tmp_path_factory.mktemp("driven"))


def write_checkpoint(config, layout, size: float = 0.05) -> None:
    """A model whose weights are far from their zero start."""
    torch.manual_seed(0)
    grid, wet = read_grid(layout.grid_file)
    statistics = read_statistics(layout.statistics_file, config.forcing_names)
    model = HybridOM(grid, wet, statistics, config.forcing_names, config.skeleton, config.networks)
    with torch.no_grad():
        for weight in model.parameters():
            weight += size * torch.randn_like(weight)
    sections = ("skeleton", "networks", "region")
    plain = {name: getattr(config, name).model_dump(mode="json") for name in sections}
    checkpoint.save(layout.checkpoint, checkpoint.pack(model, plain))


def run(world, experiment: str, *overrides: str):
    """A checkpoint and its forecast."""
    config, layout = world.config(*overrides, experiment=experiment)
    if not layout.checkpoint.exists():
        write_checkpoint(config, layout)
    forecast(config, layout, START)
    return layout


def stored(layout) -> xr.Dataset:
    return xr.open_zarr(layout.forecast_store(START), chunks=None, consolidated=False)


@pytest.fixture
def copy(world, tmp_path):
    """A copy of all stores that a test may spoil, and where it is."""
    shutil.copytree(world.root / "resources", tmp_path / "resources")
    shutil.copytree(world.root / "results" / "coarse", tmp_path / "results" / "coarse")
    return [f"paths.{name}={tmp_path}/{name}" for name in ("resources", "results")]


@pytest.fixture(scope="module")
def done(world):
    """Paths of an uninterrupted forecast."""
    return run(world, "whole", *GATED)


def by_hand(world, layout) -> list[tuple[OceanState, Conditions]]:
    """State and conditions of every lead, stepped one day after the other."""
    config, _ = world.config(*GATED, experiment="whole")
    model = checkpoint.load_model(layout.checkpoint).model
    grid, wet = read_grid(layout.grid_file)
    period = config.periods.test
    reader = DayReader(layout, grid, wet, config.forcing_names, "none", period)
    outer = Driver(layout, grid, wet).forecast(START)

    def tensors(fields):
        return {name: torch.as_tensor(x)[None] for name, x in fields.items()}

    days = []
    for lead in range(DAYS + 1):
        day = START + dt.timedelta(lead)
        days.append(
            Conditions(
                Forcing(tensors(reader.forcing(day))),
                OceanState(**tensors(reader.climatology(day))),
                Forcing(tensors(reader.forcing_climatology(day))),
                OceanState(**tensors(outer.state(lead))),
            )
        )
    state = OceanState(**tensors(reader.state(START)))
    found = [(state, days[0])]
    with torch.no_grad():
        for now, then in itertools.pairwise(days):
            state = model.step(state, now, then)
            found.append((state, then))
    return found


def test_each_day_is_stepped_between_the_drivers_forecasts_of_that_day_and_the_next(
    world, done
) -> None:
    data = stored(done)
    _, wet = read_grid(done.grid_file)
    for lead, (state, day) in enumerate(by_hand(world, done)):
        value = driven.value("zos", START + dt.timedelta(lead), START)
        assert float(day.outer.zos[0, 4, 4]) == pytest.approx(value, rel=1e-6)
        for name in PROGNOSTIC:
            sea = wet if VARIABLES[name].has_depth else wet[0]
            found = data[name].isel(lead=lead).values
            assert np.array_equal(found[sea], getattr(state, name)[0].numpy()[sea]), (name, lead)


@pytest.mark.parametrize("lead", [1, 5])
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
        run(world, f"interrupted{lead}", *GATED)
    asked = []
    monkeypatch.setattr(ForecastSlabs, "slab", lambda self, n: (asked.append(n), whole(self, n))[1])
    layout = run(world, f"interrupted{lead}", *GATED)
    assert asked == list(range(lead, DAYS + 1))
    assert checksum(layout.forecast_store(START)) == checksum(done.forecast_store(START))


def test_another_forecast_of_the_driver_makes_another_one_of_the_region(world, copy) -> None:
    layout = run(world, "again", *copy, "forecast.days=2")
    before = stored(layout)["thetao"].isel(lead=2).values
    shutil.rmtree(layout.driver.forecast_store(START))
    driven.write_forecast(layout, START, DAYS, shift=0.5)
    run(world, "again", *copy, "forecast.days=2")
    after = stored(layout)["thetao"].isel(lead=2).values
    assert not np.array_equal(before, after, equal_nan=True)


def test_the_store_says_what_drove_it(done) -> None:
    source = stored(done).attrs["source"]
    assert source.endswith(", driven by the forecast of coarse on coarse")


def test_a_forecast_of_the_driver_that_is_too_short_is_refused_with_numbers(world, copy) -> None:
    _, layout = world.config(*copy)
    shutil.rmtree(layout.driver.forecast_store(START))
    driven.write_forecast(layout, START, 5)
    with pytest.raises(UserError, match=r"2001-02-25 has 5 days, expected the 8 of forecast\.days"):
        run(world, "short", *copy)
    run(world, "short", *copy, "forecast.days=5")


def test_without_the_drivers_forecast_the_command_that_makes_it_is_named(world, copy) -> None:
    _, layout = world.config(*copy)
    layout.driver.forecast_manifest(START).unlink()
    with pytest.raises(UserError, match=r"`hybridom forecast --start 2001-02-25` with the driver"):
        run(world, "none", *copy)


def test_a_region_is_not_forecast_without_its_driver(world, done) -> None:
    text = world.file.read_text()
    begin, end = text.index("region:"), text.index("periods:")
    other = world.root / "plain" / "config.yaml"
    other.parent.mkdir()
    other.write_text(text[:begin] + text[end:])
    config = load(other, ["experiment=whole"])
    with pytest.raises(UserError, match=r"trained as a region with a driver, .* section region"):
        forecast(config, Layout(config), START)


# the weights of the gate


def weights_of(layout) -> xr.DataArray:
    with xr.open_dataset(layout.gate_weights(START)) as data:
        return data.load()["weight"]


def test_the_weights_are_those_of_the_day_that_ends_at_the_lead(world, done) -> None:
    overrides = [*GATED, "evaluation.gate_leads=[1, 5, 30]"]
    config, layout = world.config(*overrides, experiment="whole")
    write_gate_weights(config, layout, START)
    found = weights_of(layout)
    grid, wet = read_grid(layout.grid_file)
    assert found.dims == (
        "lead", "source", "tracer", "direction", "level", "latitude", "longitude"
    )  # fmt: skip
    assert found.shape == (2, 3, 2, 2, 3, grid.ny, grid.nx) and found.dtype == np.float32
    assert found["lead"].values.tolist() == [1, 5]
    assert found["depth"].values.tolist() == [10, 50, 200]
    assert found["source"].values.tolist() == ["fine", "driver_today", "driver_tomorrow"]
    assert found["tracer"].values.tolist() == ["thetao", "so"]
    assert found["latitude"].attrs["units"] == "degrees_north"
    model = checkpoint.load_model(layout.checkpoint).model
    days = by_hand(world, done)
    for number, lead in enumerate((1, 5)):
        (state, now), (_, then) = days[lead - 1], days[lead]
        expected = model.gate_weights(state, now, then)[0].numpy()
        values = found.values[number]
        assert np.array_equal(values[..., wet], expected[..., wet])
        assert np.isnan(values[..., ~wet]).all()
    np.testing.assert_allclose(found.sum("source").values[..., wet], 1.0, rtol=1e-5)
    assert float(found.std()) > 0


def test_shared_weights_have_one_level_and_no_gate_leaves_all_to_the_region(world) -> None:
    layout = run(world, "ungated")
    config, _ = world.config(experiment="ungated")
    write_gate_weights(config, layout, START)
    found = weights_of(layout)
    _, wet = read_grid(layout.grid_file)
    assert found.shape[3:5] == (1, 1) and "depth" not in found.coords
    assert found["lead"].values.tolist() == [1]
    assert (found.values[:, 0][..., wet[0]] == 1).all()
    assert (found.values[:, 1:][..., wet[0]] == 0).all()
    assert np.isnan(found.values[..., ~wet[0]]).all()


def test_leads_beyond_the_forecast_are_refused(world, done) -> None:
    config, layout = world.config(*GATED, "evaluation.gate_leads=[9, 30]", experiment="whole")
    with pytest.raises(UserError, match=r"gate_leads: 9, 30 all lie beyond forecast\.days 8"):
        write_gate_weights(config, layout, START)


def test_a_forecast_of_other_weights_is_refused(world, done, tmp_path) -> None:
    config, layout = world.config(*GATED, experiment="whole2")
    shutil.copytree(done.experiment_dir, layout.experiment_dir)
    layout.gate_weights(START).unlink(missing_ok=True)
    write_checkpoint(config, layout, size=0.02)
    with pytest.raises(UserError, match=r"made by checkpoint .*run `hybridom forecast --start"):
        write_gate_weights(config, layout, START)
    assert not layout.gate_weights(START).exists()


# the commands


def test_check_writes_how_the_region_lies_in_its_driver(world, capsys) -> None:
    _, layout = world.config()
    assert cli.main(["region", "check", "--config", str(world.file)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1 and "2 cells of box along one of coarse" in printed
    report = json.loads(layout.region_check.read_text())
    assert report["ratio"] == 2 and report["levels"] == 3 and report["driver_levels"] == 4


def test_check_refuses_a_region_that_does_not_fit(world, copy, capsys) -> None:
    _, layout = world.config(*copy)
    layout.region_check.unlink(missing_ok=True)
    smaller = Grid.regular(20.0, (-20, 60), depths=driven.DEPTHS)
    wet = np.ones(smaller.shape, bool)
    write_grid(layout.driver.grid_file, smaller, wet, wet.astype(np.float64), {})
    arguments = ["region", "check", "--config", str(world.file)]
    assert cli.main([*arguments, *(f"--set={text}" for text in copy)]) == 2
    assert "-40 to 40 N, those of the driver from -20 to 60 N" in capsys.readouterr().err
    assert not layout.region_check.exists()


def test_check_without_a_region_says_what_is_missing(tmp_path, capsys) -> None:
    plain = tiny.make_world(tmp_path)
    assert cli.main(["region", "check", "--config", str(plain.file)]) == 2
    assert "no section region" in capsys.readouterr().err
    assert cli.main(["region", "gate", "--config", str(plain.file), "--start", str(START)]) == 2


def test_gate_writes_the_weights_of_a_start_date(world, done) -> None:
    settings = [f"--set={text}" for text in (*GATED, "experiment=whole")]
    arguments = ["region", "gate", "--config", str(world.file), "--start", str(START), *settings]
    done.gate_weights(START).unlink(missing_ok=True)
    assert cli.main(arguments) == 0
    assert weights_of(done).shape[0] == 1
