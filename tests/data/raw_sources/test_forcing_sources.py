"""The same atmosphere in every form in which it is delivered."""

from __future__ import annotations

import datetime as dt

import netCDF4
import numpy as np
import pytest

from hybridom.data.raw.forcing import ForcingFiles
from hybridom.errors import UserError
from hybridom.variables import FLUXES8, VARIABLES
from tests.data.raw_sources import era5
from tests.data.raw_sources.era5 import DAY, HOUR, hours, means, pattern

NEXT = DAY + dt.timedelta(1)


def fields(times, *names, seed=0):
    """Random values of time at the scale of each variable, (time, lat, lon) float32."""
    random = np.random.default_rng(seed)
    found = {}
    for name in names:
        low, high = VARIABLES[name].valid_min, VARIABLES[name].valid_max
        middle, width = (low + high) / 2, (high - low) / 8
        values = middle + width * random.uniform(-1, 1, len(times))
        places = pattern(times, 0 * values) * width / 1e3
        found[name] = (values[:, None, None] + places).astype(np.float32)
    return found


def versions(times, first_interim):
    """`expver` of each time."""
    return ["0001" if t < first_interim else "0005" for t in times]


@pytest.mark.parametrize("name", ["u10", "v10", "t2m", "msl", "d2m", "ssr", "strd", *FLUXES8])
def test_each_name_under_which_a_variable_is_delivered_is_read_alike(tmp_path, monkeypatch, name):
    monkeypatch.setitem(era5.UNITS, name, VARIABLES[name].units)
    times = hours(DAY, 25)
    values = pattern(times, np.arange(25.0))
    found = []
    for known in (name, *VARIABLES[name].aliases):
        folder = tmp_path / known
        era5.write(folder / "a.nc", times, {name: values}, rename={name: known})
        found.append(means(folder, name, [DAY]))
    assert len(found) > 1
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_old_files_equal_new_ones(tmp_path):
    times = hours(DAY, 49)
    held = fields(times, "t2m", "ssr")
    era5.write(tmp_path / "new" / "a.nc", times, held, chunks=(20, 4, 6))
    options = {"time_name": "time", "kind": "NETCDF3_64BIT_OFFSET"}
    era5.write(tmp_path / "old" / "a.nc", times, held, **options)
    for name in held:
        a, b = (means(tmp_path / form, name, [DAY, NEXT]) for form in ("new", "old"))
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("chunk", [1, 10])
def test_zarr_stores_equal_netcdf(tmp_path, version, chunk):
    times = hours(DAY, 49)
    held = fields(times, "u10", "mtpr")
    files, store = tmp_path / "files", tmp_path / "stores" / "era5.zarr"
    era5.write(files / "a.nc", times, held)
    names = {"u10": "10m_u_component_of_wind", "mtpr": "mean_total_precipitation_rate"}
    long = {names[n]: (held[n], VARIABLES[n].units) for n in held}
    era5.write_zarr(store, times, long, chunk=chunk, version=version)
    for name in held:
        expected = means(files, name, [DAY, NEXT])
        for folder in (store.parent, store):
            np.testing.assert_allclose(means(folder, name, [DAY, NEXT]), expected, rtol=1e-12)


def test_the_public_zarr_ends_where_it_says(tmp_path):
    times = hours(DAY, 24 * 6)
    held = {"u10": (fields(times, "u10")["u10"], "m s**-1")}
    days = [DAY + dt.timedelta(n) for n in range(6)]
    attributes = {
        "valid_time_start": str(days[1]),
        "valid_time_stop": str(days[2]),
        "valid_time_stop_era5t": str(days[4]),
    }
    era5.write_zarr(tmp_path / "a.zarr", times, held, attributes=attributes)
    files = ForcingFiles.scan(tmp_path / "a.zarr", ["u10"])
    assert files.missing(days) == [days[0], days[5]]
    assert files.interim_days(days) == [days[3], days[4]]


def test_both_versions_in_one_old_file_are_merged(tmp_path):
    times = hours(DAY, 73)
    values = np.round(fields(times, "u10")["u10"], 2)
    final = np.array(times) < times[30]
    era5.write_both_versions(tmp_path / "both" / "a.nc", times, "u10", values, final)
    era5.write(tmp_path / "one" / "a.nc", times, {"u10": values})
    days = [DAY + dt.timedelta(n) for n in range(3)]
    found, expected = (means(tmp_path / f, "u10", days) for f in ("both", "one"))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    files = ForcingFiles.scan(tmp_path / "both", ["u10"])
    assert files.interim_days(days) == days[1:]


@pytest.mark.parametrize("name", ["t2m", "ssr"])
def test_interim_days_are_those_with_any_preliminary_sample(tmp_path, name):
    times = hours(DAY, 73)
    days = [DAY + dt.timedelta(n) for n in range(3)]
    change = times[24]  # 00:00 of the second day, the last hour of the first one's fluxes
    era5.write(tmp_path / "a.nc", times, fields(times, name), expver=versions(times, change))
    files = ForcingFiles.scan(tmp_path, [name])
    expected = days if VARIABLES[name].hour_ending else days[1:]
    assert files.interim_days(days) == expected
    assert files.interim_days([]) == []


@pytest.mark.parametrize(
    ("options", "interim"),
    [
        ({}, []),
        ({"expver": "0001"}, []),
        ({"expver": "0005"}, [DAY, NEXT]),
        ({"attributes": {"interim_days": str(NEXT)}}, [NEXT]),
        ({"attributes": {"interim_days": ""}}, []),
    ],
)
def test_a_version_of_all_times_is_read(tmp_path, options, interim):
    times = hours(DAY, 48)
    era5.write(tmp_path / "a.nc", times, fields(times, "u10"), **options)
    assert ForcingFiles.scan(tmp_path, ["u10"]).interim_days([DAY, NEXT]) == interim


def test_a_time_in_both_versions_of_one_file_is_read_as_the_final_one(tmp_path):
    times = hours(DAY, 24)
    final, interim = (fields(times, "u10", seed=seed)["u10"] for seed in (1, 2))
    both = np.concatenate([interim, final])
    marks = ["0005"] * 24 + ["0001"] * 24
    era5.write(tmp_path / "a.nc", times * 2, {"u10": both}, expver=marks)
    expected = era5.turned(final.astype(np.float64).mean(axis=0))
    np.testing.assert_allclose(means(tmp_path, "u10", [DAY])[0], expected, rtol=1e-12)
    assert ForcingFiles.scan(tmp_path, ["u10"]).interim_days([DAY]) == []


@pytest.mark.parametrize("marks", [None, ["0001"] * 24])
def test_the_same_time_in_two_files_is_refused(tmp_path, marks):
    times = hours(DAY, 24)
    era5.write(tmp_path / "a.nc", times, fields(times, "u10"), expver=marks)
    era5.write(tmp_path / "b.nc", times, fields(times, "u10"), expver="0005")
    problem = ForcingFiles.scan(tmp_path, ["u10"]).problem("u10", DAY)
    assert "b.nc" in problem and "duplicate of 00:00 UTC in " in problem
    assert ForcingFiles.scan(tmp_path, ["u10"]).missing([DAY]) == []


def test_the_same_time_twice_in_one_file_is_refused(tmp_path):
    times = hours(DAY, 24)
    times[5] = times[4]
    times.append(times[4] + HOUR)
    era5.write(tmp_path / "a.nc", times, fields(times, "u10"))
    assert "duplicate of 04:00" in ForcingFiles.scan(tmp_path, ["u10"]).problem("u10", DAY)


def test_versions_that_are_no_numbers_are_refused(tmp_path):
    times = hours(DAY, 24)
    era5.write(tmp_path / "a.nc", times, fields(times, "u10"), expver="latest")
    (line,) = ForcingFiles.scan(tmp_path, ["u10"]).unreadable
    assert "a.nc" in line and "expver" in line and "latest" in line


def test_a_calendar_of_equal_years_is_refused(tmp_path):
    times = hours(DAY, 24)
    era5.write(tmp_path / "a.nc", times, fields(times, "u10"), calendar="noleap")
    (line,) = ForcingFiles.scan(tmp_path, ["u10"]).unreadable
    assert "a.nc" in line and "standard calendar" in line


def test_another_unit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(era5.UNITS, "t2m", "J m**-2")
    times = hours(DAY, 24)
    era5.write(tmp_path / "a.nc", times, fields(times, "t2m"))
    with pytest.raises(UserError, match=r"a.nc: variable t2m on 2000-02-28 .*'J m\*\*-2'.*'K'"):
        means(tmp_path, "t2m", [DAY])


def test_dimensions_of_one_member_do_not_matter(tmp_path):
    times = hours(DAY, 24)
    values = fields(times, "u10")["u10"]
    path = era5.write(tmp_path / "a.nc", times, {})
    with netCDF4.Dataset(path, "a") as file:
        file.createDimension("member", 1)
        dimensions = ("valid_time", "member", "latitude", "longitude")
        variable = file.createVariable("u10", "f4", dimensions)
        variable.units = "m s-1"
        variable[:, 0] = values
    expected = era5.turned(values.astype(np.float64).mean(axis=0))
    np.testing.assert_allclose(means(tmp_path, "u10", [DAY])[0], expected, rtol=1e-12)


def test_the_time_of_validity_counts_where_both_times_are_given(tmp_path):
    times = hours(DAY, 24)
    path = era5.write(tmp_path / "a.nc", times, fields(times, "u10"), time_name="time")
    with netCDF4.Dataset(path, "a") as file:
        valid = file.createVariable("valid_time", "i8", ("time",))
        valid.units = file["time"].units
        valid[:] = file["time"][:] + 86400
    assert list(ForcingFiles.scan(tmp_path, ["u10"]).samples["u10"]) == [NEXT]


def test_files_that_hold_nothing_wanted_are_left_alone(tmp_path):
    times = hours(DAY, 24)
    era5.write(tmp_path / "a.nc", times, fields(times, "u10"))
    era5.write(tmp_path / "b.nc", times, fields(times, "msl"), calendar="noleap")
    (tmp_path / "c.nc.partial").write_bytes(b"half")
    assert not ForcingFiles.scan(tmp_path, ["u10"]).unreadable


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no atmosphere file .*source.forcing_dir"):
        ForcingFiles.scan(tmp_path, ["u10"])


def test_damaged_values_are_refused_by_name(tmp_path):
    times = hours(DAY, 48)
    values = np.random.default_rng(0).normal(size=(48, *era5.places().shape))
    path = era5.write(tmp_path / "a.nc", times, {"u10": values}, chunks=(1, 7, 12))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] + bytes(2000) + whole[len(whole) // 2 + 2000 :])
    with pytest.raises(UserError, match=r"a.nc: variable u10 on 2000-02-2\d cannot be read"):
        means(tmp_path, "u10", [DAY, NEXT])


def test_a_file_that_has_changed_is_looked_into_again(tmp_path):
    times = hours(DAY, 48)
    era5.write(tmp_path / "a.nc", times[:24], fields(times[:24], "u10"))
    assert len(ForcingFiles.scan(tmp_path, ["u10"]).samples["u10"]) == 1
    era5.write(tmp_path / "a.nc", times, fields(times, "u10"))
    assert len(ForcingFiles.scan(tmp_path, ["u10"]).samples["u10"]) == 2


def test_other_axes_than_the_first_files_are_refused(tmp_path, monkeypatch):
    times = hours(DAY, 48)
    era5.write(tmp_path / "a.nc", times[:24], fields(times[:24], "u10"))
    monkeypatch.setattr(era5, "LON", era5.LON + 1.0)
    era5.write(tmp_path / "b.nc", times[24:], fields(times[24:], "u10"))
    with pytest.raises(UserError, match=r"b.nc: lon point 0 is -179 where the first file has -180"):
        means(tmp_path, "u10", [DAY, NEXT])


def test_a_sample_tells_its_time_file_step_and_version(tmp_path):
    times = hours(DAY, 24)
    era5.write(tmp_path / "a.nc", times, fields(times, "u10"), expver="0005")
    (sample, *_) = ForcingFiles.scan(tmp_path, ["u10"]).samples["u10"][DAY]
    assert sample == (dt.datetime(2000, 2, 28), tmp_path / "a.nc", 0, True)
