"""Daily means of the atmosphere, in closed form, by each of ERA5's conventions."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from hybridom.data.raw.forcing import ForcingFiles
from hybridom.data.raw.forcing_gridded import GriddedSource
from hybridom.errors import UserError
from tests.data.raw_sources import era5
from tests.data.raw_sources.era5 import DAY, HOUR, hours, hours_since, means, pattern, places

NEXT = DAY + dt.timedelta(1)  # 29 February
MARCH = DAY + dt.timedelta(2)


def ramp(times, per_hour=1.0):
    """Values that grow by one an hour."""
    return pattern(times, per_hour * hours_since(times))


def refusal(folder, name, day):
    """The one line that refuses a day."""
    _, opened = era5.reader(folder, name)
    with opened, pytest.raises(UserError) as error:
        opened.daily_mean(name, day)
    (line,) = str(error.value).splitlines()
    return line


@pytest.mark.parametrize("step", [1, 3, 6])
def test_an_instantaneous_wave_of_a_day_leaves_its_mean(tmp_path, step):
    times = hours(DAY, 48 // step, step)
    wave = 5 * np.sin(2 * np.pi * hours_since(times) / 24 + 0.3)
    era5.write(tmp_path / "a.nc", times, {"u10": pattern(times, 7 + wave)})
    np.testing.assert_allclose(
        means(tmp_path, "u10", [DAY, NEXT]), np.stack([7 + places()] * 2), rtol=1e-6, atol=1e-5
    )


@pytest.mark.parametrize("step", [1, 3, 6])
def test_instantaneous_samples_of_a_day_are_those_labelled_00_to_23(tmp_path, step):
    times = hours(DAY, 72 // step, step)
    era5.write(tmp_path / "a.nc", times, {"u10": ramp(times)})
    expected = (24 - step) / 2 + 24 * np.arange(3)[:, None, None] + places()
    np.testing.assert_allclose(
        means(tmp_path, "u10", [DAY, NEXT, MARCH]), expected, rtol=1e-6, atol=1e-5
    )


@pytest.mark.parametrize("step", [1, 3])
def test_hour_ending_samples_of_a_day_are_those_labelled_01_to_24(tmp_path, step):
    times = hours(DAY, 48 // step + 1, step)
    era5.write(tmp_path / "a.nc", times, {"msnlwrf": ramp(times)})
    expected = (24 + step) / 2 + 24 * np.arange(2)[:, None, None] + places()
    np.testing.assert_allclose(
        means(tmp_path, "msnlwrf", [DAY, NEXT]), expected, rtol=1e-6, atol=1e-5
    )


def test_hourly_accumulations_become_watts(tmp_path):
    times = hours(DAY, 25)
    era5.write(tmp_path / "a.nc", times, {"ssr": 3600 * ramp(times)})
    np.testing.assert_allclose(
        means(tmp_path, "ssr", [DAY])[0], 12.5 + places(), rtol=1e-6, atol=1e-5
    )


@pytest.mark.parametrize(("step", "words"), [(3, "3 h apart"), (24, "24 h apart")])
def test_accumulations_over_another_time_are_refused(tmp_path, step, words):
    times = hours(DAY, 72 // step + 1, step)
    era5.write(tmp_path / "a.nc", times, {"ssr": 3600 * ramp(times)})
    line = refusal(tmp_path, "ssr", DAY)
    assert words in line and "a.nc" in line and str(DAY) in line and "hourly" in line


def test_the_first_sample_of_a_year_belongs_to_the_last_day_of_the_one_before(tmp_path):
    for year in (2000, 2001):
        first = dt.date(year, 12, 31) if year == 2000 else dt.date(year, 1, 1)
        times = hours(first, 24)
        values = pattern(times, hours_since(times, dt.date(2000, 12, 31)))
        era5.write(tmp_path / f"{year}.nc", times, {"mtpr": values})
    np.testing.assert_allclose(
        means(tmp_path, "mtpr", [dt.date(2000, 12, 31)])[0], 12.5 + places(), rtol=1e-6
    )


@pytest.mark.parametrize("hour", [0, 12])
@pytest.mark.parametrize("name", ["u10", "mtpr"])
def test_daily_files_hold_the_mean_of_the_day_on_which_they_are_stamped(tmp_path, name, hour):
    times = hours(DAY, 4, 24, hour)
    values = np.random.default_rng(1).normal(size=(4, *places().shape)).astype(np.float32)
    era5.write(tmp_path / "a.nc", times, {name: values})
    days = [time.date() for time in times]
    np.testing.assert_array_equal(means(tmp_path, name, days), era5.turned(values))


def test_one_value_of_an_instant_a_day_is_no_daily_mean(tmp_path):
    times = hours(DAY, 3, 24, 12)
    attributes = {"cell_methods": "valid_time: point"}
    era5.write(tmp_path / "a.nc", times, {"u10": ramp(times)}, variable_attributes=attributes)
    assert "12:00 UTC (cell_methods: point)" in refusal(tmp_path, "u10", DAY)


def test_a_missing_last_hour_is_named_with_what_to_fetch(tmp_path):
    times = hours(DAY, 48)
    era5.write(tmp_path / "a.nc", times, {"mtpr": ramp(times)})
    assert means(tmp_path, "mtpr", [DAY])[0, 0, 0] == pytest.approx(12.5 + places()[0, 0])
    line = refusal(tmp_path, "mtpr", NEXT)
    assert "23 samples, expected 24" in line
    assert f"no file holds {MARCH} 00:00 UTC, fetch it" in line and str(NEXT) in line


def test_half_days_are_refused_though_all_are_alike(tmp_path):
    times = [t for t in hours(DAY, 72) if t.hour < 12]
    era5.write(tmp_path / "a.nc", times, {"u10": ramp(times)})
    assert "12 samples, expected 24" in refusal(tmp_path, "u10", DAY)


def test_a_step_that_does_not_divide_the_day_is_refused(tmp_path):
    times = hours(DAY, 20, 5)
    era5.write(tmp_path / "a.nc", times, {"u10": ramp(times)})
    assert "5 h apart" in refusal(tmp_path, "u10", DAY)


def test_a_sample_between_the_others_is_refused(tmp_path):
    times = sorted([*hours(DAY, 48, 1), *(t + HOUR / 2 for t in hours(DAY, 1))])
    era5.write(tmp_path / "a.nc", times, {"u10": ramp(times)})
    assert "25 samples, expected 24" in refusal(tmp_path, "u10", DAY)


def test_a_sample_without_value_leaves_none_in_the_mean(tmp_path):
    times = hours(DAY, 24)
    for packing in (None, (0.01, 5.0)):
        values = ramp(times).copy()
        values[7, 2, 3] = np.nan
        era5.write(tmp_path / "a.nc", times, {"u10": values}, packing=packing)
        mean = means(tmp_path, "u10", [DAY])[0]
        assert np.isnan(era5.turned(values[7])[np.isnan(mean)]).all()
        assert np.isnan(mean).sum() == 1


def test_packed_values_are_unpacked(tmp_path):
    times = hours(DAY, 24)
    era5.write(tmp_path / "a.nc", times, {"u10": ramp(times)}, packing=(0.001, 12.0))
    np.testing.assert_allclose(means(tmp_path, "u10", [DAY])[0], 11.5 + places(), atol=5e-4)


@pytest.mark.parametrize(
    "chunks",
    [None, (1, 7, 12), (1, 2, 5), (7, 7, 12), (5, 2, 5), (30, 3, 4), (100, 7, 12), (240, 1, 12)],
)
def test_each_chunk_is_read_once_whatever_its_shape(tmp_path, monkeypatch, chunks):
    times = hours(DAY, 240)
    values = pattern(times, np.random.default_rng(2).normal(size=240))
    era5.write(tmp_path / "a.nc", times, {"mtpr": values.astype(np.float32)}, chunks=chunks)
    seen = np.zeros((240, era5.LAT.size), int)
    stored = GriddedSource._stored

    def counted(self, name, when, steps, rows, **options):
        seen[steps, rows] += 1
        return stored(self, name, when, steps, rows, **options)

    monkeypatch.setattr(GriddedSource, "_stored", counted)
    days = [DAY + dt.timedelta(n) for n in range(9)]
    found = means(tmp_path, "mtpr", days)
    expected = [era5.turned(values[24 * n + 1 : 24 * n + 25].mean(axis=0)) for n in range(9)]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-5)
    assert (seen[1:217] == 1).all() and seen.max() == 1


def test_days_in_any_order_and_twice_give_the_same_means(tmp_path):
    times = hours(DAY, 24 * 40)
    values = pattern(times, np.random.default_rng(3).normal(size=len(times))).astype(np.float32)
    era5.write(tmp_path / "a.nc", times, {"u10": values}, chunks=(700, 4, 6))
    order = [3, 20, 4, 4, 39, 0, 19, 5, 30, 12]
    found = means(tmp_path, "u10", [DAY + dt.timedelta(n) for n in order])
    expected = [era5.turned(values[24 * n : 24 * n + 24].mean(axis=0)) for n in order]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-5)


def test_large_layers_are_read_in_bands(tmp_path, monkeypatch):
    from hybridom.data.raw import forcing_gridded

    monkeypatch.setattr(forcing_gridded, "READ_BYTES", 4 * 24 * era5.LON.size * 2)
    sizes = []
    stored = GriddedSource._stored

    def measured(self, *args, **options):
        raw = stored(self, *args, **options)
        sizes.append(raw.nbytes)
        return raw

    monkeypatch.setattr(GriddedSource, "_stored", measured)
    times = hours(DAY, 72)
    era5.write(tmp_path / "a.nc", times, {"u10": ramp(times)}, chunks=(24, 2, 5))
    expected = 11.5 + 24 * np.arange(3)[:, None, None] + places()
    found = means(tmp_path, "u10", [DAY, NEXT, MARCH])
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-5)
    assert max(sizes) == 4 * 24 * era5.LON.size * 2 and len(sizes) == 12


def test_samples_are_read_at_their_place(tmp_path):
    times = hours(DAY, 97)
    era5.write(tmp_path / "a.nc", times, {"u10": ramp(times)}, chunks=(40, 4, 6))
    era5.write(tmp_path / "b.nc", times, {"mtpr": ramp(times)})
    for name, first in (("u10", 0), ("mtpr", 1)):
        _, opened = era5.reader(tmp_path, name)
        with opened:
            for number, position in ((0, 0), (1, 0), (3, 0), (0, 23), (2, 5)):
                found = opened.sample(name, DAY + dt.timedelta(number), position)
                assert found.dtype == np.float32
                expected = 24 * number + position + first + places()
                np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-5)


def test_variables_of_different_steps_and_forms_lie_in_one_folder(tmp_path):
    hourly, daily = hours(DAY, 49), hours(DAY, 3, 24)
    era5.write(tmp_path / "rates" / "a.nc", hourly[:30], {"mtpr": ramp(hourly)[:30]})
    era5.write(tmp_path / "rates" / "b.nc", hourly[30:], {"mtpr": ramp(hourly)[30:]})
    era5.write(tmp_path / "daily.nc", daily, {"t2m": ramp(daily)})
    six = hours(DAY, 8, 6)
    wind = {"10m_u_component_of_wind": (ramp(six), "m s**-1")}
    era5.write_zarr(tmp_path / "wind.zarr", six, wind)
    files, opened = era5.reader(tmp_path, "mtpr", "t2m", "u10")
    assert files.per_day == {"mtpr": 24, "t2m": 1, "u10": 4}
    with opened:
        for name, first in (("mtpr", 12.5), ("t2m", 0.0), ("u10", 9.0)):
            found = [opened.daily_mean(name, day) for day in (DAY, NEXT)]
            expected = first + 24 * np.arange(2)[:, None, None] + places()
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-5)
    assert files.missing([DAY, NEXT, MARCH]) == [MARCH]


def test_days_without_a_sample_and_those_that_end_there_are_missing(tmp_path):
    times = [t for t in hours(DAY, 24 * 5) if t.date() != MARCH]
    era5.write(tmp_path / "a.nc", times, {"u10": ramp(times), "mtpr": ramp(times)})
    files = ForcingFiles.scan(tmp_path, ["u10", "mtpr"])
    days = [DAY + dt.timedelta(n) for n in range(5)]
    assert files.missing(days) == [NEXT, MARCH, days[3 + 1]]
    assert files.problem("u10", NEXT) is None
    assert f"{MARCH} 00:00" in files.problem("mtpr", NEXT)
    assert "no file holds variable u10" in files.problem("u10", MARCH)
