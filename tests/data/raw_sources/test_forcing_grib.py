"""GRIB files, written here with ecCodes, are read as the NetCDF files of the same fields."""

from __future__ import annotations

import datetime as dt
import shutil

import numpy as np
import pytest

from hybridom.data.raw.forcing import ForcingFiles
from hybridom.errors import UserError
from tests.data.raw_sources import era5
from tests.data.raw_sources.era5 import DAY, LAT, LON, hours, means, pattern

pytest.importorskip("cfgrib", reason="needs the extra `grib`: cfgrib and ecCodes")
eccodes = pytest.importorskip("eccodes", reason="needs the extra `grib`: cfgrib and ecCodes")

PARAMETERS = {"u10": 165, "t2m": 167, "ssr": 176, "mtpr": 235055}
NEXT = DAY + dt.timedelta(1)
GRID = {
    "Ni": LON.size,
    "Nj": LAT.size,
    "latitudeOfFirstGridPointInDegrees": LAT[0],
    "latitudeOfLastGridPointInDegrees": LAT[-1],
    "longitudeOfFirstGridPointInDegrees": LON[0],
    "longitudeOfLastGridPointInDegrees": LON[-1],
    "iDirectionIncrementInDegrees": LON[1] - LON[0],
    "jDirectionIncrementInDegrees": LAT[0] - LAT[1],
}


def write_grib(path, fields, *, expver="0001", hours_each=1, grid=GRID):
    """Write messages: fields is variable -> time -> (lat, lon); fluxes as steps of forecasts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for name, values in fields.items():
            for time, field in values.items():
                message = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib1")
                for key, value in grid.items():
                    eccodes.codes_set(message, key, value)
                eccodes.codes_set(message, "paramId", PARAMETERS[name])
                start, step = forecast(time) if name in ("ssr", "mtpr") else (time, 0)
                eccodes.codes_set(message, "dataDate", int(f"{start:%Y%m%d}"))
                eccodes.codes_set(message, "dataTime", int(f"{start:%H%M}"))
                if step:
                    kind = "accum" if name == "ssr" else "avg"
                    eccodes.codes_set(message, "stepType", kind)
                    eccodes.codes_set(message, "stepRange", f"{step - hours_each}-{step}")
                eccodes.codes_set(message, "expver", expver)
                eccodes.codes_set(message, "bitsPerValue", 24)
                eccodes.codes_set(message, "bitmapPresent", 1)
                eccodes.codes_set(message, "missingValue", 9999.0)
                eccodes.codes_set_values(message, np.nan_to_num(field, nan=9999.0).ravel())
                eccodes.codes_write(message, file)
                eccodes.codes_release(message)
    return path


def forecast(valid):
    """Start and step (h) of ERA5's forecast that holds the hour ending at a time."""
    first = valid - dt.timedelta(hours=1)
    start = first.replace(hour=6 if 6 <= first.hour < 18 else 18)
    if start > first:
        start -= dt.timedelta(days=1)
    return start, round((valid - start).total_seconds()) // 3600


def by_time(times, values):
    return dict(zip(times, values, strict=True))


def test_forecasts_start_at_06_and_18_and_last_twelve_hours():
    for time in hours(DAY, 48):
        start, step = forecast(time)
        assert start.hour in (6, 18) and 1 <= step <= 12
        assert start + dt.timedelta(hours=step) == time


@pytest.mark.parametrize("name", list(PARAMETERS))
def test_grib_equals_netcdf_with_accumulations_at_the_end_of_their_hour(tmp_path, name):
    times = hours(DAY, 49)
    scale = {"t2m": 250.0, "ssr": 3.6e6, "mtpr": 1e-4}.get(name, 1.0)
    values = scale * (1 + pattern(times, np.arange(49.0)) / 1e3)
    era5.write(tmp_path / "netcdf" / "a.nc", times, {name: values})
    write_grib(tmp_path / "grib" / "a.grib", {name: by_time(times, values)})
    expected, found = (means(tmp_path / f, name, [DAY, NEXT]) for f in ("netcdf", "grib"))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_several_variables_in_several_files_are_found_and_versions_recorded(tmp_path):
    times = hours(DAY, 48)
    values = by_time(times, pattern(times, np.arange(48.0)))
    first = {time: field for time, field in values.items() if time.date() == DAY}
    write_grib(tmp_path / "a.grb", {"u10": first, "t2m": values})
    write_grib(tmp_path / "b.grib", {"u10": {t: values[t] for t in times[24:]}}, expver="0005")
    files = ForcingFiles.scan(tmp_path, ["u10", "t2m"])
    assert files.per_day == {"u10": 24, "t2m": 24}
    assert files.missing([DAY, NEXT]) == []
    assert files.interim_days([DAY, NEXT]) == [NEXT]
    np.testing.assert_allclose(means(tmp_path, "u10", [NEXT])[0], 35.5 + era5.places(), rtol=1e-5)


def test_fields_from_the_south_and_without_value_are_read(tmp_path):
    times = hours(DAY, 24)
    values = pattern(times, np.arange(24.0)).copy()
    values[3, 1, 2] = np.nan
    south = GRID | {
        "latitudeOfFirstGridPointInDegrees": LAT[-1],
        "latitudeOfLastGridPointInDegrees": LAT[0],
        "jScansPositively": 1,
    }
    write_grib(tmp_path / "a.grib", {"u10": by_time(times, values[:, ::-1])}, grid=south)
    mean = means(tmp_path, "u10", [DAY])[0]
    assert np.isnan(mean).sum() == 1
    expected = era5.turned(values.mean(axis=0))
    np.testing.assert_allclose(mean, expected, rtol=1e-5, atol=1e-4)


def test_accumulations_over_more_than_an_hour_are_refused(tmp_path):
    times = [t for t in hours(DAY, 25) if forecast(t)[1] >= 3]
    values = by_time(times, pattern(times, np.ones(len(times))))
    write_grib(tmp_path / "a.grib", {"ssr": values}, hours_each=3)
    _, opened = era5.reader(tmp_path, "ssr")
    with opened, pytest.raises(UserError, match=r"a.grib: variable ssr .*\[3\] hours.*hourly"):
        opened.sample("ssr", DAY, 0)


def test_another_grid_within_a_file_is_refused(tmp_path):
    times = hours(DAY, 24)
    values = by_time(times, pattern(times, np.ones(24)))
    a = write_grib(tmp_path / "a.grib", {"u10": values})
    shifted = GRID | {
        "longitudeOfFirstGridPointInDegrees": LON[0] + 1,
        "longitudeOfLastGridPointInDegrees": LON[-1] + 1,
    }
    b = write_grib(tmp_path / "b.grib", {"t2m": values}, grid=shifted)
    a.write_bytes(a.read_bytes() + b.read_bytes())
    b.unlink()
    _, opened = era5.reader(tmp_path, "u10")
    with opened, pytest.raises(UserError, match=r"variable u10 on 2000-02-28 lies on 2 grids"):
        opened.daily_mean("u10", DAY)


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.99])
def test_a_truncated_file_is_unreadable(tmp_path, kept):
    times = hours(DAY, 24)
    path = write_grib(tmp_path / "a.grib", {"u10": by_time(times, pattern(times, np.ones(24)))})
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    (line,) = ForcingFiles.scan(tmp_path, ["u10"]).unreadable
    assert str(path) in line and "truncated" in line and "\n" not in line


def test_an_index_is_kept_and_one_of_a_killed_job_is_made_again(tmp_path):
    times = hours(DAY, 24)
    path = write_grib(tmp_path / "a.grib", {"u10": by_time(times, pattern(times, np.ones(24)))})
    ForcingFiles.scan(tmp_path, ["u10"])
    (index,) = tmp_path.glob("*.idx")
    assert index.stat().st_size
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(path, copy)
    (copy / index.name).write_bytes(b"")
    assert not ForcingFiles.scan(copy, ["u10"]).unreadable
    assert (copy / index.name).stat().st_size == pytest.approx(index.stat().st_size, rel=0.1)


def test_without_the_extra_the_message_names_it(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cfgrib.messages", None)
    (tmp_path / "a.grib").write_bytes(b"GRIB")
    (line,) = ForcingFiles.scan(tmp_path, ["u10"]).unreadable
    assert "hybridom[grib]" in line
