"""Daily means from a small Zarr in place of the public one, with closed forms."""

from __future__ import annotations

import datetime as dt
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from hybridom.errors import UserError
from hybridom.retrieve import arco, fetching
from hybridom.variables import VARIABLES

START = np.datetime64("2020-01-24T00", "h")
HOURS = 24 * 11  # to 3 February
LAT = np.arange(16.0, 7.9, -0.25)
LON = np.arange(174.0, 186.1, 0.25)
FORCING = "bulk8"
NAMES = ("u10", "v10", "msl", "t2m", "d2m", "ssr", "strd", "mtpr")
BASE = {"u10": 0.0, "v10": 3.0, "msl": 1e5, "t2m": 280.0, "d2m": 270.0, "mtpr": 1e-4}


def slope(name):
    """Change in an hour."""
    return 1e-7 if name == "mtpr" else 0.01


def field(name, hours):
    """Value at a number of hours after the start, (time, lat, lon)."""
    place = 1e-3 * (LAT[:, None] + 2 * LON)
    scale = 1e-6 if name == "mtpr" else 1.0
    hours = np.asarray(hours, float)[:, None, None]
    return BASE.get(name, 100.0) + slope(name) * hours + scale * place


def write_zarr(path: Path, stop="2020-02-03", omit=(), change=None, units_of=None):
    """The stand-in: long names, latitudes from the north, accumulations in J m-2.

    Chunks are days here, for speed.
    """
    variables = {}
    times = START + np.arange(HOURS)
    for name in set(NAMES) - set(omit):
        values = field(name, np.arange(HOURS))
        units = VARIABLES[name].units.replace("W m-2", "J m**-2").replace("-2 s-1", "**-2 s**-1")
        factor = 3600.0 if units == "J m**-2" else 1.0
        values = (change or {}).get(name, lambda x: x)(values * factor)
        units = (units_of or {}).get(name, units)
        long = VARIABLES[name].aliases[-1]
        variables[long] = (("time", "latitude", "longitude"), values.astype("f8"), {"units": units})
    axes = {"time": times.astype("datetime64[ns]"), "latitude": LAT, "longitude": LON}
    final = {"valid_time_start": "2020-01-24", "valid_time_stop": "2020-01-30"}
    dataset = xr.Dataset(variables, axes, final | {"valid_time_stop_era5t": stop})
    chunks = {n: {"chunks": (24, LAT.size, LON.size)} for n in variables}
    dataset.to_zarr(path, zarr_format=2, encoding=chunks)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """The stand-in, which no test alters."""
    path = tmp_path_factory.mktemp("arco") / "era5.zarr"
    write_zarr(path)
    return path


@pytest.fixture
def world(make, store):
    def build(url=store, **sections):
        return make(forcing=FORCING, download={"arco_url": str(url)}, **sections)

    return build


def fetch(config, layout, month="2020-01"):
    fetching.run(arco.forcing_job(config, layout, month), arco.fetch_daily)
    return json.loads(layout.forcing_download(month).read_text())


def result(layout, month="202001"):
    return layout.forcing_dir / "2020" / f"era5_daily_{month}.nc"


@pytest.mark.parametrize("name", NAMES)
def test_daily_means_are_those_of_the_right_24_hours(world, name):
    config, layout = world()
    fetch(config, layout)
    with xr.open_dataset(result(layout)) as file:
        for index, day in enumerate(range(25, 32)):
            midnight = 24 * (day - 24)
            # a rate at 01 is the mean from 00 to 01, so its day is 01 to 24
            first = midnight + (1 if VARIABLES[name].hour_ending else 0)
            expected = field(name, [first + 11.5])[0]
            expected = expected[(LAT >= 9) & (LAT <= 15)][::-1][:, (LON >= 177) & (LON <= 183)]
            np.testing.assert_allclose(file[name][index], expected, rtol=2e-7)
        assert file[name].attrs["units"] == VARIABLES[name].units


def test_the_file_follows_cf_and_covers_the_box_across_the_date_line(world):
    config, layout = world()
    manifest = fetch(config, layout)
    with xr.open_dataset(result(layout), decode_times=False) as file:
        np.testing.assert_array_equal(file.latitude, np.arange(9, 15.1, 0.25))
        np.testing.assert_array_equal(file.longitude, np.arange(177, 183.1, 0.25))
        days = (np.datetime64("2020-01-25") - np.datetime64("1970-01-01")).astype(int)
        np.testing.assert_array_equal(file.time, days + 0.5 + np.arange(7))
        np.testing.assert_array_equal(file.time_bnds[:, 0], days + np.arange(7))
        np.testing.assert_array_equal(file.time_bnds[:, 1] - file.time_bnds[:, 0], 1)
        for name in NAMES:
            assert file[name].attrs["cell_methods"] == "time: mean"
            assert file[name].attrs["standard_name"] == VARIABLES[name].standard_name
    assert manifest["interim_days"] == ["2020-01-31"]
    assert manifest["files"][0]["file"] == "2020/era5_daily_202001.nc"


def test_the_forcing_reader_finds_every_day_once(world):
    from hybridom.data.raw.forcing import ForcingFiles

    config, layout = world()
    for month in config.periods.months():
        fetch(config, layout, month)
    files = ForcingFiles.scan(layout.forcing_dir, NAMES)
    for number in range(9):
        day = dt.date(2020, 1, 25) + dt.timedelta(number)
        assert [files.problem(name, day) for name in NAMES] == [None] * len(NAMES)
    late = [dt.date(2020, 1, 31), dt.date(2020, 2, 1), dt.date(2020, 2, 2)]
    assert files.interim_days([dt.date(2020, 1, 30), *late]) == late


def count_days(monkeypatch, stop_after=None):
    """Days whose means are made, from now on."""
    made = []
    mean = arco.Store.daily_mean

    def counted(self, name, day):
        if name == NAMES[0]:
            if stop_after is not None and len(made) == stop_after:
                raise KeyboardInterrupt
            made.append(day.day)
        return mean(self, name, day)

    monkeypatch.setattr(arco.Store, "daily_mean", counted)
    return made


def test_a_stopped_month_goes_on_with_the_next_day(world, monkeypatch):
    config, layout = world()
    with monkeypatch.context() as patch:
        count_days(patch, stop_after=3)
        with pytest.raises(KeyboardInterrupt):
            fetch(config, layout)
    assert not layout.forcing_download("2020-01").exists() and not result(layout).exists()
    made = count_days(monkeypatch)
    fetch(config, layout)
    assert made == [28, 29, 30, 31]
    made.clear()
    fetch(config, layout)
    assert made == []


def test_a_stopped_month_of_another_request_is_begun_afresh(world, monkeypatch):
    with monkeypatch.context() as patch:
        count_days(patch, stop_after=3)
        with pytest.raises(KeyboardInterrupt):
            fetch(*world())
    made = count_days(monkeypatch)
    grid = {"name": "b", "resolution": 1.0, "lat": [11, 14], "lon": [178, 182], "depths": [1.0]}
    fetch(*world(grid=grid))
    assert made == list(range(25, 32))


def slow_fetch(root: str, url: str) -> None:
    """A retrieval that takes long enough to be killed."""
    from hybridom.layout import Layout
    from tests.retrieve.stand_ins import download_config

    mean = arco.Store.daily_mean
    arco.Store.daily_mean = lambda self, name, day: (time.sleep(0.01), mean(self, name, day))[1]
    config = download_config(Path(root), forcing=FORCING, download={"arco_url": url})
    fetch(config, Layout(config))


def test_a_killed_month_ends_with_the_same_bytes(world, store, tmp_path, tmp_path_factory):
    whole = tmp_path_factory.mktemp("whole")
    slow_fetch(str(whole), str(store))
    expected = result_in(whole).read_bytes()
    config, layout = world()
    partial = arco.forcing_job(config, layout, "2020-01").partial
    spawn = multiprocessing.get_context("spawn")
    for days in (1, 3, 6):
        process = spawn.Process(target=slow_fetch, args=(str(tmp_path), str(store)))
        process.start()
        while len(list(partial.glob("*.npy"))) < days:
            assert process.is_alive()
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert not result(layout).exists()
    fetch(config, layout)
    assert result(layout).read_bytes() == expected
    assert not partial.exists()


def result_in(root):
    return root / "raw" / "era5" / "2020" / "era5_daily_202001.nc"


def test_a_damaged_file_is_made_again(world):
    config, layout = world()
    fetch(config, layout)
    content = result(layout).read_bytes()
    result(layout).write_bytes(content[:-1])
    fetch(config, layout)
    assert result(layout).read_bytes() == content


def test_days_after_the_last_are_named(world, tmp_path):
    write_zarr(tmp_path / "short.zarr", stop="2020-01-30")
    with pytest.raises(UserError, match=r"data of 2020-01-30, 2020-01-31 \(2 of 7 days"):
        fetch(*world(tmp_path / "short.zarr"))


def test_missing_values_are_never_averaged_away(world, tmp_path):
    def hole(values):
        values[24 * 4 + 5, 6, 16] = np.nan  # 28 January, 05 UTC
        return values

    write_zarr(tmp_path / "holes.zarr", change={"t2m": hole})
    with pytest.raises(UserError, match="variable t2m on 2020-01-28 has no value in 1 of"):
        fetch(*world(tmp_path / "holes.zarr"))


def test_a_missing_variable_and_a_missing_store_are_named(world, tmp_path):
    write_zarr(tmp_path / "less.zarr", omit=["t2m"])
    with pytest.raises(UserError, match="variable t2m is absent, also as 2m_temperature"):
        fetch(*world(tmp_path / "less.zarr"))
    with pytest.raises(UserError, match=r"none.zarr: no such Zarr"):
        fetch(*world(tmp_path / "none.zarr"))


def test_an_unknown_unit_is_refused(world, tmp_path):
    write_zarr(tmp_path / "f.zarr", units_of={"t2m": "degF"})
    with pytest.raises(UserError, match="variable t2m has units 'degF'; expected 'K'"):
        fetch(*world(tmp_path / "f.zarr"))
