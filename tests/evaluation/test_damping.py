"""Damped persistence: its fit, and what it scores on oceans whose anomalies have a closed form."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hybridom.config import narrow
from hybridom.errors import UserError
from hybridom.evaluation.damping import fit_damping, read_damping, start_dates
from hybridom.evaluation.scores import evaluate_start
from hybridom.variables import PROGNOSTIC, VARIABLES
from tests.evaluation.synthetic import START

LEADS = 4
# What is left of an anomaly after a day, by level.
DECAY = {
    "thetao": (0.95, 0.9, 0.8),
    "so": (0.9, 0.97, 0.6),
    "uo": (0.5, 0.3, 0.7),
    "vo": (-0.6, 0.2, 0.85),
    "zos": (0.75,),
}


def make_ocean(synthetic, folder, train_days, noise, resolution=30.0, **evaluation):
    """An ocean of anomalies a(t + 1) = decay a(t) + noise on a climatology with a season.

    With `noise` the anomalies are stationary, of variance 1; else they start from 1 and fade. The
    test period follows the training period; the truth holds both and the days between.
    """
    begin = START - dt.timedelta(train_days + 6)
    sections = {
        "periods": {
            "train": {"start": begin, "end": begin + dt.timedelta(train_days - 1)},
            "validation": {"start": START - dt.timedelta(6), "end": START - dt.timedelta(4)},
            "test": {"start": START - dt.timedelta(3), "end": START + dt.timedelta(10)},
        },
        "evaluation": evaluation,
    }
    world = synthetic.make_world(folder, days=LEADS, starts=1, resolution=resolution, **sections)
    rng = np.random.default_rng(11)
    world.first_day = begin
    length = train_days + 6 + LEADS + 1
    season = np.cos(2 * np.pi * np.arange(365) / 365)
    days = [begin + dt.timedelta(n) for n in range(length)]
    for name in PROGNOSTIC:
        decay = np.reshape(DECAY[name], (-1, 1, 1))
        x = rng.normal(size=(length, len(decay), world.grid.ny, world.grid.nx))
        push = np.sqrt(1 - decay**2) * x if noise else 0 * x
        for day in range(1, length):
            x[day] = decay * x[day - 1] + push[day]
        wet = world.wet[: len(decay)]
        climate = np.where(wet, season[:, None, None, None], np.nan)
        truth = np.stack([climate[rows(day)].mean(axis=0) for day in days]) + x
        if not VARIABLES[name].has_depth:
            climate, truth = climate[:, 0], truth[:, 0]
        world.climatology[name], world.truth[name] = climate, truth
    at = world.on(START)
    world.forecasts = {START: {n: x[at : at + LEADS + 1] for n, x in world.truth.items()}}
    synthetic.write_world(world)
    world.layout.damping.unlink()
    return world


def rows(day):
    """Rows of the climatology whose mean is that of a day."""
    if (day.month, day.day) == (2, 29):
        return [58, 59]
    return [day.replace(year=2001).timetuple().tm_yday - 1]


def fitted(world):
    """The damping that is fitted with the stage's own part of the configuration."""
    fit_damping(narrow(world.config, "damping"), world.layout)
    return read_damping(world.layout, world.grid, LEADS)


def powers(name):
    """The closed form (leads, levels)."""
    return np.array(DECAY[name]) ** np.arange(1, LEADS + 1)[:, None]


def anomaly(world, name, day):
    """Anomaly on a day by its definition (nz or 1, ny, nx), in what the stores can hold."""
    truth = world.truth[name][world.on(day)].astype(np.float32).astype(float)
    normal = world.climatology[name][rows(day)].astype(np.float32).astype(float)
    found = truth - normal.mean(axis=0)
    return found.reshape(-1, world.grid.ny, world.grid.nx)


@pytest.fixture(scope="module")
def noisy(synthetic, tmp_path_factory):
    """An ocean with noise, of many cells, and its damping; no test alters it."""
    folder = tmp_path_factory.mktemp("noisy")
    world = make_ocean(synthetic, folder, train_days=120, noise=True, resolution=10.0)
    world.damping = fitted(world)
    return world


@pytest.fixture
def fading(synthetic, tmp_path):
    """A small ocean without noise, of the test's own."""
    return make_ocean(synthetic, tmp_path, train_days=12, noise=False, damping_starts=4)


def test_without_noise_the_damping_is_the_power_of_a_days(fading):
    damping = fitted(fading)
    for name in PROGNOSTIC:
        np.testing.assert_allclose(damping[name], powers(name), atol=2e-5)


def test_with_noise_the_damping_is_that_power_within_the_sampling_error(noisy):
    damping = noisy.damping
    cells = noisy.wet.sum(axis=(1, 2))
    for name in PROGNOSTIC:
        # A third off for unequal areas and for starts whose anomalies are related.
        pairs = 24 * cells[: damping[name].shape[1]] / 3
        error = np.sqrt((1 - powers(name) ** 2) / pairs)
        assert (np.abs(damping[name] - powers(name)) < 4 * error).all(), name


def test_the_damping_equals_loops_over_starts_and_has_the_smallest_error(synthetic, tmp_path):
    world = make_ocean(synthetic, tmp_path, train_days=40, noise=True, damping_starts=5)
    starts, damping = start_dates(world.config), fitted(world)
    assert len(starts) == 5
    area = np.broadcast_to(world.grid.area, world.wet.shape[1:])
    for name, level, lead in (("thetao", 0, 1), ("vo", 2, 4), ("zos", 0, 3), ("so", 1, 2)):
        wet = world.wet[level]
        before = [anomaly(world, name, day)[level][wet] for day in starts]
        after = [anomaly(world, name, d + dt.timedelta(lead))[level][wet] for d in starts]
        product = sum((area[wet] * a * b).sum() for a, b in zip(before, after, strict=True))
        square = sum((area[wet] * a * a).sum() for a in before)
        found = damping[name][lead - 1, level]
        assert found == pytest.approx(product / square, rel=1e-9)
        less, least, more = (
            sum((area[wet] * (b - r * a) ** 2).sum() for a, b in zip(before, after, strict=True))
            for r in (found - 0.01, found, found + 0.01)
        )
        assert least < min(less, more)


def test_no_day_outside_the_training_period_is_read(synthetic, fading):
    before = fitted(fading)
    train = fading.config.periods.train
    inside = np.zeros(len(fading.truth["zos"]), bool)
    inside[fading.on(train.start) : fading.on(train.end) + 1] = True
    assert inside.sum() == 12 and not inside.all()
    for name in PROGNOSTIC:
        fading.truth[name][~inside] = np.nan
    synthetic.write_world(fading)
    after = fitted(fading)
    for name in PROGNOSTIC:
        np.testing.assert_array_equal(after[name], before[name])


def test_days_that_are_gaps_are_left_out(synthetic, fading):
    """Without noise every pair gives the same number, so that a gap changes nothing."""
    starts = start_dates(fading.config)
    gap = starts[1]
    for name in PROGNOSTIC:
        fading.truth[name][fading.on(gap)] = np.nan
    synthetic.write_world(fading)
    store = fading.layout.state_store(gap.year)
    days = xr.open_zarr(store, consolidated=False).load().assign_attrs(gaps=[str(gap)])
    for x in (*days.data_vars.values(), *days.coords.values()):
        x.encoding = {}
    synthetic.write_store(days, store, fading.layout.state_manifest(gap.year), fading.grid.hash)
    damping = fitted(fading)
    for name in PROGNOSTIC:
        np.testing.assert_allclose(damping[name], powers(name), atol=2e-5)
    with xr.open_dataset(fading.layout.damping) as data:
        assert data.attrs["start_dates"] == len(starts) - 1


def rmse(table, name, depth, system):
    """RMSE over the globe by lead."""
    keep = (table["variable"] == name) & (table["system"] == system) & (table["metric"] == "rmse")
    keep &= (table["region"] == "global") & (table["depth"].fillna(-1) == depth)
    return table[keep].sort_values("lead")["value"].to_numpy()


def test_on_noise_with_memory_the_scores_have_their_closed_form(noisy):
    """sqrt(1 - r^2L) damped, sqrt(2 - 2 r^L) persisted, 1 for the climatology."""
    evaluate_start(narrow(noisy.config, "evaluate"), noisy.layout, START)
    table = pd.read_parquet(noisy.layout.scores(START))
    cells = noisy.wet.sum(axis=(1, 2))
    for name in PROGNOSTIC:
        depths = noisy.grid.depth if VARIABLES[name].has_depth else [-1]
        for level, depth in enumerate(depths):
            left = powers(name)[:, level]
            expected = {
                "damped_persistence": np.sqrt(1 - left**2),
                "persistence": np.sqrt(2 - 2 * left),
                "climatology": np.ones(LEADS),
            }
            found = {system: rmse(table, name, depth, system) for system in expected}
            # The error of a root mean square over n cells is 1/sqrt(2n); areas are not equal.
            bound = 4 * math.sqrt(1.5 / (2 * cells[level]))
            for system, values in expected.items():
                np.testing.assert_allclose(found[system], values, rtol=bound)
            worth = left > 0.3  # elsewhere it is the climatology but for the sampling error
            damped = found["damped_persistence"][worth]
            assert (damped < found["climatology"][worth]).all()
            assert (damped < found["persistence"][worth]).all()


def test_without_noise_damped_persistence_is_without_error(fading):
    fitted(fading)
    evaluate_start(fading.config, fading.layout, START)
    table = pd.read_parquet(fading.layout.scores(START))
    for name in PROGNOSTIC:
        depth = fading.grid.depth[0] if VARIABLES[name].has_depth else -1
        assert rmse(table, name, depth, "damped_persistence").max() < 1e-4
        # What has faded by START is below the stores' precision in other variables.
        if DECAY[name][0] >= 0.9:
            assert rmse(table, name, depth, "persistence").min() > 1e-3


def test_start_dates_fill_the_training_period_and_leave_room_for_the_last_lead(synthetic, tmp_path):
    train = {"start": "2003-01-01", "end": "2003-12-31"}
    config = period_config(synthetic, tmp_path, train, 8)
    places = [(day - config.periods.train.start).days for day in start_dates(config)]
    room = 365 - LEADS
    assert len(places) == 8
    assert [int(place * 8 / room) for place in places] == list(range(8))
    few = period_config(synthetic, tmp_path, {"start": "2003-01-01", "end": "2003-01-10"}, 8)
    assert start_dates(few) == [dt.date(2003, 1, 1) + dt.timedelta(n) for n in range(10 - LEADS)]


@pytest.mark.parametrize("years", [6, 12, 24])
def test_starts_that_are_half_a_year_apart_still_hold_all_seasons(synthetic, tmp_path, years):
    train = {"start": f"{2004 - years}-01-01", "end": "2003-12-31"}
    starts = start_dates(period_config(synthetic, tmp_path, train, 24))
    seasons = [(day.month % 12) // 3 for day in starts]
    assert min(seasons.count(season) for season in range(4)) >= 3


def period_config(synthetic, folder, train, count):
    """A configuration of forecasts of four days with this training period."""
    periods = {
        "train": train,
        "validation": {"start": "2004-01-01", "end": "2004-01-31"},
        "test": {"start": "2004-02-01", "end": "2005-12-31"},
    }
    evaluation = {"damping_starts": count}
    return synthetic.make_config(folder, days=LEADS, periods=periods, evaluation=evaluation)


def test_the_file_says_what_it_is(fading):
    fitted(fading)
    with xr.open_dataset(fading.layout.damping) as data:
        assert data.attrs["Conventions"] == "CF-1.11"
        assert data.attrs["grid_hash"] == fading.grid.hash
        assert data.attrs["start_dates"] == 4
        assert {"hybridom_version", "config_hash", "title", "source"} <= set(data.attrs)
        assert data["lead"].attrs == {"standard_name": "forecast_period", "units": "days"}
        assert data["thetao_damping"].dims == ("lead", "depth")
        assert data["zos_damping"].dims == ("lead",)
        assert all(x.attrs["units"] == "1" for n, x in data.items() if n.endswith("_damping"))
    assert not list(fading.layout.damping.parent.glob("*.partial"))


def test_a_level_without_sea_has_no_damping(synthetic, tmp_path, monkeypatch):
    world = make_ocean(synthetic, tmp_path, train_days=12, noise=False, damping_starts=4)
    dry = world.wet.copy()
    dry[2] = False
    monkeypatch.setattr("hybridom.evaluation.damping.read_grid", lambda path: (world.grid, dry))
    damping = fitted(world)
    assert np.isnan(damping["so"][:, 2]).all()
    np.testing.assert_allclose(damping["so"][:, :2], powers("so")[:, :2], atol=2e-5)


def refusal(call, *arguments):
    with pytest.raises(UserError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def score(world):
    evaluate_start(world.config, world.layout, START)


def test_a_missing_damping_is_asked_for(fading):
    message = refusal(score, fading)
    assert "damping.nc: the damping of anomalies is missing" in message
    assert "`hybridom evaluate damping`" in message and "evaluation.baselines" in message


def rewrite(world, change):
    """Write the damping again after a change."""
    fitted(world)
    with xr.open_dataset(world.layout.damping) as data:
        changed = change(data.load())
    changed.to_netcdf(world.layout.damping)


def test_a_damping_of_another_grid_is_refused(fading):
    rewrite(fading, lambda data: data.assign_attrs(grid_hash="0123456789ab"))
    message = refusal(score, fading)
    assert "damping.nc: grid hash 0123456789ab found" in message and fading.grid.hash in message


def test_a_damping_of_too_few_leads_is_refused(fading):
    rewrite(fading, lambda data: data.isel(lead=slice(0, 3)))
    assert "damping.nc: 3 leads found, expected 1 to 4 (forecast.days)" in refusal(score, fading)


def test_a_damping_of_more_leads_serves_shorter_forecasts(fading):
    whole = fitted(fading)
    short = read_damping(fading.layout, fading.grid, 2)
    for name in PROGNOSTIC:
        np.testing.assert_array_equal(short[name], whole[name][:2])


def test_a_file_of_something_else_is_refused(fading):
    rewrite(fading, lambda data: data.drop_vars("vo_damping"))
    assert "damping.nc: not a file of damping" in refusal(score, fading)
    fading.layout.damping.write_text("nothing")
    assert "damping.nc: not a file of damping" in refusal(score, fading)


def test_forecasts_that_do_not_fit_into_the_training_period_are_refused(synthetic, tmp_path):
    train = {"start": "2003-12-01", "end": "2003-12-04"}
    message = refusal(start_dates, period_config(synthetic, tmp_path, train, 8))
    assert "forecast.days: 4 days" in message and "periods.train (4 days)" in message


def test_an_ocean_that_is_its_own_climatology_is_refused(synthetic, fading):
    train = fading.config.periods.train
    for day in train.days():
        normal = fading.climatology["so"][rows(day), 1].mean(axis=0)
        fading.truth["so"][fading.on(day), 1] = normal
    synthetic.write_world(fading)
    message = refusal(fit_damping, fading.config, fading.layout)
    assert "variable so at 20 m has no anomalies" in message and "lead 1" in message
