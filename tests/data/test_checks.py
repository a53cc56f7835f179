"""Every kind of bad input: handled with the same result, or refused before any work."""

from __future__ import annotations

import datetime as dt
import json
import shutil

import netCDF4
import numpy as np
import pytest

from hybridom.data.checks import check_year
from hybridom.data.prepare import prepare_forcing, prepare_grid, prepare_state
from hybridom.data.stores import open_store
from hybridom.errors import UserError
from tests.data.raw import ocean_name, write_forcing_month, write_ocean_days

DAY = dt.date(2000, 3, 2)


def refusal(world):
    """Lines of the refusal."""
    with pytest.raises(UserError) as error:
        check_year(world.config, world.layout, 2000)
    assert not world.layout.check_report(2000).exists()
    return str(error.value).splitlines()


def names(line, *words):
    return all(str(word) in line for word in words)


def ocean_file(world, day=DAY):
    return world.root / "ocean" / ocean_name(day)


def forcing_file(world, month=3):
    return world.root / "forcing" / f"era5_u10_v10_t2m_2000{month:02d}.nc"


def rewrite(world, **options):
    return write_ocean_days(world.root / "ocean", DAY, 1, **options)[0]


def test_good_files_pass_and_leave_a_report(world):
    check_year(world.config, world.layout, 2000)
    report = json.loads(world.layout.check_report(2000).read_text())
    assert (report["days"], report["files"]) == (30, 32)
    sides = {"ocean", "atmosphere"}
    assert report["interim_days"] == {side: [] for side in sides}
    assert report["gaps"] == {side: {} for side in sides}
    assert (report["first_day"], report["last_day"]) == ("2000-02-20", "2000-03-20")
    low, high = report["surface_ranges"]["thetao"]
    assert -4 < low < high < 40


def test_a_year_outside_the_periods_is_refused(world):
    with pytest.raises(UserError, match="year 1999"):
        check_year(world.config, world.layout, 1999)


def test_a_missing_ocean_day_is_named(world):
    ocean_file(world).unlink()
    (line,) = refusal(world)
    assert names(line, "mean_20000302_R", "all ocean variables", DAY, "expected", "fetch")


def test_a_missing_folder_is_named(world):
    shutil.rmtree(world.root / "ocean")
    assert names(refusal(world)[0], world.root / "ocean", "hybridom twin", "source.ocean_dir")


def test_a_duplicate_ocean_day_is_named(world):
    copy = world.root / "ocean" / "again" / "mercatorglorys12v1_gl12_mean_20000302_R20000401.nc"
    copy.parent.mkdir()
    shutil.copy(ocean_file(world), copy)
    (line,) = refusal(world)
    assert names(line, copy.name, ocean_file(world).name, DAY, "remove one")


@pytest.mark.parametrize("kept", [0.9, 0.5, 0.0], ids=["nearly whole", "half", "empty"])
def test_a_truncated_ocean_file_is_named(world, kept):
    path = ocean_file(world)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    (line,) = refusal(world)
    assert names(line, path, DAY, "truncated", "fetch")


def test_a_truncated_forcing_file_is_named_once(world):
    path = forcing_file(world)
    path.write_bytes(path.read_bytes()[:5000])
    (line,) = refusal(world)
    assert names(line, path, "truncated")


def test_kelvin_in_the_values_is_refused(world):
    kelvin = {"change": {"thetao": lambda x: x + 273.15}, "packing": {"thetao": (7e-4, 294.15)}}
    path = rewrite(world, **kelvin)
    (line,) = refusal(world)
    assert names(line, path, "thetao", DAY, "degrees_C", "convert")


def test_kelvin_in_the_units_is_refused(world):
    with netCDF4.Dataset(ocean_file(world), "a") as file:
        file["thetao"].units = "K"
    (line,) = refusal(world)
    assert names(line, ocean_file(world), "thetao", DAY, "'K'", "'degrees_C'", "convert")


def test_celsius_in_the_air_temperature_is_refused_every_day(world):
    path = write_forcing_month(
        world.root / "forcing", 2000, 3, days=range(1, 21), change={"t2m": lambda x: x - 273.15}
    )
    lines = refusal(world)
    assert names(lines[0], path, "t2m", "2000-03-01", "K", "convert")
    assert len(lines) == 11
    assert lines[-1] == "and 10 more problems in 2000"


def test_an_absent_ocean_variable_is_named(world):
    path = rewrite(world, omit=["vo"])
    (line,) = refusal(world)
    assert names(line, path, "vo", DAY, "absent", "thetao, so, uo, zos")


def test_an_absent_forcing_variable_is_named(world):
    shutil.rmtree(world.root / "forcing")
    write_forcing_month(world.root / "forcing", 2000, 2, names=["u10", "t2m"])
    write_forcing_month(world.root / "forcing", 2000, 3, names=["u10", "t2m"])
    lines = refusal(world)
    assert names(lines[0], world.root / "forcing", "v10", "2000-02-20", "absent")


def test_missing_values_in_the_ocean_are_counted(world):
    def spoil(x):
        x = x.copy()
        x[1, 3, 20] = np.nan
        return x

    path = rewrite(world, change={"so": spoil})
    (line,) = refusal(world)
    assert names(line, path, "so", DAY, "1 ocean cells without value (NaN)", "0 land cells")


def test_values_on_land_are_counted(world):
    path = rewrite(world, change={"zos": lambda x: np.nan_to_num(x)})
    (line,) = refusal(world)
    assert names(line, path, "zos", DAY, "0 ocean cells", "land cells with one")


def test_missing_values_in_the_forcing_are_named(world):
    path = write_forcing_month(
        world.root / "forcing", 2000, 2, change={"u10": lambda x: np.where(x > 8, np.nan, x)}
    )
    assert names(refusal(world)[0], path, "u10", "2000-02-20", "NaN")


def test_another_grid_is_named(world):
    path = rewrite(world)
    with netCDF4.Dataset(path, "a") as file:
        file["longitude"][:] = file["longitude"][:] + 0.5
    (line,) = refusal(world)
    assert names(line, path, "lon point 0", "-179.5", "-180")


def test_another_depth_axis_is_named(world):
    with netCDF4.Dataset(ocean_file(world), "a") as file:
        file["depth"][2] = 60.0
    (line,) = refusal(world)
    assert names(line, ocean_file(world), "depth point 2", "60", "55.76")


def test_a_depth_that_the_source_lacks_is_named(world):
    grid = world.config.grid.model_copy(update={"depths": (9.6, 100.0)})
    world.config = world.config.model_copy(update={"grid": grid})
    assert names(refusal(world)[0], "9.6 m", "9.573 m", "grid.depths")


def test_a_file_that_holds_another_day_is_named(world):
    with netCDF4.Dataset(ocean_file(world), "a") as file:
        file["time"][:] = file["time"][:] + 24
    (line,) = refusal(world)
    assert names(line, ocean_file(world), "2000-03-03", DAY)


def test_a_missing_forcing_day_is_named(world):
    write_forcing_month(world.root / "forcing", 2000, 3, days=[1, *range(3, 21)])
    lines = refusal(world)
    assert [names(line, v, DAY) for line, v in zip(lines, ("u10", "v10", "t2m"), strict=True)]


def test_a_forcing_day_that_is_not_whole_is_named(world):
    with netCDF4.Dataset(forcing_file(world), "a") as file:
        file["valid_time"][3] = file["valid_time"][3] + 86400 * 100
    lines = refusal(world)
    assert names(lines[0], forcing_file(world), "u10", "2000-03-01", "3 samples", "expected 4")


def test_a_duplicate_forcing_sample_is_named(world):
    copy = forcing_file(world).with_name("zz_again.nc")
    shutil.copy(forcing_file(world), copy)
    assert names(refusal(world)[0], copy, forcing_file(world).name, "u10", "2000-03-01", "00:00")


def test_a_variable_with_turned_axes_is_refused(world):
    with netCDF4.Dataset(ocean_file(world), "a") as file:
        file.renameVariable("zos", "old")
        file.createVariable("zos", "f4", ("time", "longitude", "latitude")).units = "m"
    (line,) = refusal(world)
    assert names(line, ocean_file(world), "zos", DAY, "(time, longitude, latitude)", "reorder")


def test_forcing_with_one_more_dimension_is_refused(world):
    with netCDF4.Dataset(forcing_file(world), "a") as file:
        file.renameVariable("t2m", "old")
        file.createDimension("expver", 2)
        shape = ("valid_time", "expver", "latitude", "longitude")
        file.createVariable("t2m", "f4", shape).units = "K"
    assert names(refusal(world)[0], forcing_file(world), "t2m", "expver", "2000-03-01")


def prepared_fields(world):
    prepare_grid(world.config, world.layout)
    prepare_state(world.config, world.layout, 2000)
    prepare_forcing(world.config, world.layout, 2000)
    stores = (world.layout.state_store(2000), world.layout.forcing_store(2000))
    return [open_store(path).load() for path in stores]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("lon_from_zero", [False, True])
def test_orientation_and_longitudes_of_the_source_do_not_matter(
    prepared, world, descending, lon_from_zero
):
    options = {"descending": descending, "lon_from_zero": lon_from_zero}
    write_ocean_days(world.root / "ocean", dt.date(2000, 2, 20), 30, **options)
    write_forcing_month(world.root / "forcing", 2000, 2, days=range(20, 30), **options)
    write_forcing_month(world.root / "forcing", 2000, 3, days=range(1, 21), **options)
    check_year(world.config, world.layout, 2000)
    state, forcing = prepared_fields(world)
    expected = open_store(prepared.layout.state_store(2000))
    for name in ("thetao", "so", "uo", "vo", "zos"):
        np.testing.assert_array_equal(state[name], expected[name])
    expected = open_store(prepared.layout.forcing_store(2000))
    for name in ("u10", "v10", "t2m"):
        np.testing.assert_array_equal(forcing[name], expected[name])


def test_classic_names_files_by_variable_and_daily_values_are_read(world):
    shutil.rmtree(world.root / "forcing")
    for month in (2, 3):
        for name, other in (("u10", "u10"), ("v10", "10m_v_component_of_wind"), ("t2m", "t2m")):
            write_forcing_month(
                world.root / "forcing" / name,
                2000,
                month,
                names=[name],
                hours=[12],
                time_name="time",
                rename={name: other},
            )
    check_year(world.config, world.layout, 2000)


def test_a_gap_below_the_surface_is_refused_when_it_is_read(world):
    def spoil(x):
        x = x.copy()
        x[3, 3, 20] = np.nan
        return x

    path = rewrite(world, change={"uo": spoil})
    check_year(world.config, world.layout, 2000)
    prepare_grid(world.config, world.layout)
    with pytest.raises(UserError) as error:
        prepare_state(world.config, world.layout, 2000)
    assert names(str(error.value), path, "uo", DAY, "NaN", "1 cells")
    assert not world.layout.state_store(2000).exists()
    assert not world.layout.state_manifest(2000).exists()
