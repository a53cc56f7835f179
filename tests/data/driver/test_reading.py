"""The driver's analyses and forecasts on the region's cells, and what is refused."""

from __future__ import annotations

import datetime as dt
import json
import pickle
import shutil

import numpy as np
import pytest
import xarray as xr
import zarr

from hybridom.data.driver import Registration
from hybridom.data.stores import write_json
from hybridom.errors import UserError
from hybridom.variables import PROGNOSTIC, VARIABLES
from tests import driven
from tests.training import world as tiny

DAY = dt.date(2001, 1, 20)
START = dt.date(2001, 1, 17)


def in_store(path, day: int, region, axis: str):
    """Fields of a store brought to the region by hand."""
    layout = region.layout
    driver = driven.driver_of(layout)
    bring = Registration(
        driver.grid, driver.wet, region.grid, region.wet, layout.grid_file, layout.grid_file
    )
    with xr.open_zarr(path, chunks=None, consolidated=False) as data:
        return {name: bring(name, data[name].isel({axis: day}).values) for name in PROGNOSTIC}


def scatter(path, seed: int) -> None:
    """Let the fields of a store vary in space."""
    store = zarr.open_group(path, mode="r+")
    for name in PROGNOSTIC:
        values = store[name][:]
        noise = np.random.default_rng(seed).standard_normal(values.shape).astype(np.float32)
        store[name][:] = values + tiny.SPREAD[name] * noise


@pytest.mark.parametrize("held", [None, "train"])
def test_an_analysis_is_that_day_of_the_drivers_store(spoiled, held) -> None:
    scatter(spoiled.layout.driver.state_store(2001), 1)
    period = getattr(spoiled.config.periods, held) if held else None
    driver = spoiled.driver(held=period)
    for day in (DAY, dt.date(2001, 3, 1)):  # inside the days that are held, and beyond
        expected = in_store(
            spoiled.layout.driver.state_store(2001), (day - tiny.FIRST).days, spoiled, "time"
        )
        found = driver.analysis(day)
        assert list(found) == list(PROGNOSTIC)
        for name, values in found.items():
            assert values.dtype == np.float32 and np.array_equal(values, expected[name]), name
            wet = spoiled.wet if VARIABLES[name].has_depth else spoiled.wet[0]
            assert np.ptp(values[wet]) > 0 and not values[~wet].any()


def test_a_forecast_is_read_by_lead(spoiled) -> None:
    path = spoiled.layout.driver.forecast_store(START)
    scatter(path, 2)
    forecast = spoiled.driver().forecast(START)
    assert forecast.days == spoiled.config.forecast.days
    for lead in (0, 3, forecast.days):
        expected = in_store(path, lead, spoiled, "lead")
        for name, values in forecast.state(lead).items():
            assert np.array_equal(values, expected[name]), (name, lead)


def test_a_driver_can_be_sent_to_another_process_before_and_after_use(region) -> None:
    driver = region.driver(held=region.config.periods.train)
    before = driver.analysis(DAY), driver.forecast(START).state(2)
    other = pickle.loads(pickle.dumps(driver))
    for a, b in zip(before, (other.analysis(DAY), other.forecast(START).state(2)), strict=True):
        assert all(np.array_equal(a[name], b[name]) for name in PROGNOSTIC)


def test_days_that_the_drivers_stores_lack_are_known(spoiled) -> None:
    store = zarr.open_group(spoiled.layout.driver.state_store(2001), mode="r+")
    store.attrs["gaps"] = ["2001-01-05"]
    lacking = spoiled.driver().days_without_analysis(spoiled.config.periods.train)
    assert [tiny.FIRST + dt.timedelta(n - 11323) for n in lacking] == [dt.date(2001, 1, 5)]
    with pytest.raises(UserError, match="2001-01-05 is a gap"):
        spoiled.driver().analysis(dt.date(2001, 1, 5))


@pytest.mark.parametrize("kind", ["state", "forecast"])
def test_a_store_without_manifest_is_refused_with_the_command(spoiled, kind: str) -> None:
    layout = spoiled.layout.driver
    manifest = layout.state_manifest(2001) if kind == "state" else layout.forecast_manifest(START)
    manifest.unlink()
    ask = {"state": lambda d: d.analysis(DAY), "forecast": lambda d: d.forecast(START)}[kind]
    command = {"state": "prepare state --year 2001", "forecast": "forecast --start 2001-01-17"}
    with pytest.raises(UserError, match=f"`hybridom {command[kind]}`.*region.driver.file") as e:
        ask(spoiled.driver())
    assert str(manifest) in str(e.value) and "is not finished" in str(e.value)
    store = manifest.with_suffix(".zarr")
    partial = store.rename(store.with_name(store.name + ".partial"))
    with pytest.raises(UserError, match="is not finished"):
        ask(spoiled.driver())
    shutil.rmtree(partial)
    with pytest.raises(UserError, match="does not exist"):
        ask(spoiled.driver())


@pytest.mark.parametrize("kind", ["state", "forecast"])
def test_a_store_of_another_grid_is_refused(spoiled, kind: str) -> None:
    layout = spoiled.layout.driver
    path = layout.state_store(2001) if kind == "state" else layout.forecast_store(START)
    zarr.open_group(path, mode="r+").attrs["grid_hash"] = "0123456789ab"
    driver = spoiled.driver()
    with pytest.raises(UserError, match=r"made for grid 0123456789ab, expected .* driver's"):
        driver.analysis(DAY) if kind == "state" else driver.forecast(START)


def test_a_driver_without_grid_file_is_refused(spoiled) -> None:
    spoiled.layout.driver.grid_file.unlink()
    with pytest.raises(UserError, match=r"coarse/grid\.nc: no grid file of the driver"):
        spoiled.driver()


def test_a_day_or_lead_that_is_missing_is_named(region) -> None:
    driver = region.driver()
    with pytest.raises(UserError, match="2001-07-01"):
        driver.analysis(dt.date(2001, 7, 1))
    for lead in (-1, 9):
        day = START + dt.timedelta(lead)
        with pytest.raises(UserError, match=rf"no lead {lead} \({day}\).* has leads 0 to 8"):
            driver.forecast(START).state(lead)


def test_leads_that_do_not_count_from_zero_are_refused(spoiled) -> None:
    store = zarr.open_group(spoiled.layout.driver.forecast_store(START), mode="r+")
    store["lead"][:] = np.arange(9) + 1
    with pytest.raises(UserError, match="expected 0, 1, 2"):
        spoiled.driver().forecast(START)


def test_a_wet_cell_without_value_is_named_with_variable_and_lead(spoiled) -> None:
    store = zarr.open_group(spoiled.layout.driver.forecast_store(START), mode="r+")
    store["so"][4, 1, 0, 0] = np.nan  # far from the region: the store is unfit all the same
    forecast = spoiled.driver().forecast(START)
    forecast.state(3)
    with pytest.raises(UserError, match="variable so has wet cells without value at lead 4"):
        forecast.state(4)


def test_checksums_are_those_of_the_manifests(spoiled) -> None:
    manifest = spoiled.layout.driver.forecast_manifest(START)
    write_json(manifest, json.loads(manifest.read_text()) | {"checksum": "another"})
    driver = spoiled.driver()
    assert driver.forecast(START).checksum == "another"
    assert driver.checksum(2001) == "of 2001.zarr"
    shutil.rmtree(spoiled.layout.driver.forecast_store(START))
    with pytest.raises(UserError, match="does not exist"):
        spoiled.driver().forecast(START)
