from __future__ import annotations

import datetime as dt
import shutil

import numpy as np
import pytest
import xarray as xr

from hybridom.errors import UserError
from hybridom.evaluation.scores import evaluate_start
from hybridom.evaluation.stores import Climatology, climatology_rows


def rewrite(synthetic, world, change, path=None, manifest=None, grid_hash=None):
    """Write a store (the forecast by default) again after a change."""
    start = world.config.forecast.first
    path = path or world.layout.forecast_store(start)
    manifest = manifest or world.layout.forecast_manifest(start)
    ds = change(xr.open_zarr(path, consolidated=False, decode_timedelta=False).load())
    for x in (*ds.data_vars.values(), *ds.coords.values()):
        x.encoding = {}
    shutil.rmtree(path)
    synthetic.write_store(ds, path, manifest, grid_hash or world.grid.hash)


def truth_paths(world):
    return world.layout.state_store(2004), world.layout.state_manifest(2004)


def refused(world, *words):
    with pytest.raises(UserError) as caught:
        evaluate_start(world.config, world.layout, world.config.forecast.first)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    assert not world.layout.scores(world.config.forecast.first).exists()


def test_a_forecast_shifted_by_a_day_is_refused(synthetic, world):
    rewrite(synthetic, world, lambda ds: ds.assign_coords(time=ds["time"] + np.timedelta64(1, "D")))
    refused(world, "2004-02-26.zarr", "lead 0", "2004-02-27", "expected 2004-02-26")


def test_a_truth_stamped_at_noon_is_refused(synthetic, world):
    paths = truth_paths(world)
    shift = np.timedelta64(12, "h")
    rewrite(synthetic, world, lambda ds: ds.assign_coords(time=ds["time"] + shift), *paths)
    refused(world, "2004.zarr", "2004-02-27 00:00", "12:00")


def test_a_missing_day_of_the_truth_is_refused(synthetic, world):
    rewrite(synthetic, world, lambda ds: ds.isel(time=[0, 1, 3]), *truth_paths(world))
    refused(world, "2004.zarr", "2004-02-28")


def test_a_gap_of_the_truth_is_refused_by_day_and_store(synthetic, world):
    gap = {"gaps": ["2004-02-28"]}
    rewrite(synthetic, world, lambda ds: ds.assign_attrs(gap), *truth_paths(world))
    refused(world, "2004.zarr", "2004-02-28 is a gap", "hybridom prepare state --year 2004")


def test_a_day_twice_in_the_truth_is_refused(synthetic, world):
    rewrite(synthetic, world, lambda ds: ds.isel(time=[0, 1, 1, 2, 3]), *truth_paths(world))
    refused(world, "2004.zarr", "twice")


def test_a_missing_lead_is_refused(synthetic, world):
    rewrite(synthetic, world, lambda ds: ds.isel(lead=[0, 1, 3]))
    refused(world, "lead 2 is missing", "leads 0 to 3")


def test_a_forecast_that_is_too_long_is_refused(synthetic, world):
    def longer(ds):
        last = ds.isel(lead=[-1]).assign_coords(lead=[4])
        return xr.concat([ds, last], "lead")

    rewrite(synthetic, world, longer)
    refused(world, "leads end at 4", "leads 0 to 3")


def test_a_nan_in_the_ocean_of_the_forecast_is_refused_with_variable_and_lead(synthetic, world):
    level, row, column = np.argwhere(world.wet)[-1]

    def hole(ds):
        ds["so"][2, level, row, column] = np.nan
        return ds

    rewrite(synthetic, world, hole)
    refused(world, "so", "lead 2", f"level {level}, row {row}, column {column}", "1 wet cells")


def test_a_nan_in_the_initial_state_is_refused(synthetic, world):
    row, column = np.argwhere(world.wet[0])[0]

    def hole(ds):
        ds["zos"][0, row, column] = np.inf
        return ds

    rewrite(synthetic, world, hole)
    refused(world, "zos", "lead 0")


def test_a_forecast_of_another_grid_is_refused_by_its_manifest(synthetic, world):
    rewrite(synthetic, world, lambda ds: ds, grid_hash="0123456789ab")
    refused(world, "2004-02-26.json", "0123456789ab", world.grid.hash)


@pytest.mark.parametrize("axis", ["latitude", "longitude", "depth"])
def test_shifted_coordinates_are_refused(synthetic, world, axis):
    rewrite(synthetic, world, lambda ds: ds.assign_coords({axis: ds[axis] + 0.25}))
    refused(world, "2004-02-26.zarr", f"{axis}[0]", "grid.nc")


def test_a_store_turned_north_to_south_is_refused(synthetic, world):
    rewrite(synthetic, world, lambda ds: ds.isel(latitude=slice(None, None, -1)))
    refused(world, "latitude[0]")


def test_a_missing_level_is_refused(synthetic, world):
    rewrite(synthetic, world, lambda ds: ds.isel(depth=[0, 1]), *truth_paths(world))
    refused(world, "depth has 2 values, grid.nc has 3")


def test_kelvin_is_refused(synthetic, world):
    def kelvin(ds):
        ds["thetao"].attrs["units"] = "K"
        return ds

    rewrite(synthetic, world, kelvin, *truth_paths(world))
    refused(world, "2004.zarr", "thetao", "'K'", "'degrees_C'")


def test_an_absent_variable_is_refused(synthetic, world):
    rewrite(synthetic, world, lambda ds: ds.drop_vars("vo"))
    refused(world, "variable vo is missing")


def test_a_store_without_manifest_is_refused_because_it_is_not_finished(world):
    world.layout.climatology_manifest.unlink()
    refused(world, "climatology.zarr", "climatology.json", "hybridom prepare climatology")


def test_coordinates_in_single_precision_are_accepted(synthetic, world):
    def single(ds):
        return ds.assign_coords({x: ds[x].astype(np.float32) for x in ("latitude", "longitude")})

    rewrite(synthetic, world, single)
    evaluate_start(world.config, world.layout, world.config.forecast.first)


def test_29_february_is_the_mean_of_its_neighbours_and_later_days_keep_their_row():
    assert climatology_rows(dt.date(2004, 2, 28)) == (58,)
    assert climatology_rows(dt.date(2004, 2, 29)) == (58, 59)
    assert climatology_rows(dt.date(2004, 3, 1)) == (59,) == climatology_rows(dt.date(2003, 3, 1))
    assert (
        climatology_rows(dt.date(2004, 12, 31)) == (364,) == climatology_rows(dt.date(2003, 12, 31))
    )


def test_the_climatology_of_29_february_is_that_mean(shared_world):
    world = shared_world
    found = Climatology(world.layout, world.grid, world.wet).field("thetao", dt.date(2004, 2, 29))
    expected = world.climatology["thetao"][58:60].mean(axis=0)
    np.testing.assert_allclose(found[world.wet], expected[world.wet], rtol=1e-12)


def test_a_climatology_of_366_days_is_refused(synthetic, world):
    paths = world.layout.climatology_store, world.layout.climatology_manifest

    def leap(ds):
        return xr.concat([ds, ds.isel(dayofyear=[-1]).assign_coords(dayofyear=[366])], "dayofyear")

    rewrite(synthetic, world, leap, *paths)
    refused(world, "climatology.zarr", "dayofyear 1 to 365")
