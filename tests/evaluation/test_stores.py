from __future__ import annotations

import datetime as dt
import shutil

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

from hybridom.data.stores.fetching import ChunkRows, PlainRows, rows_of
from hybridom.data.stores.plan import COMPRESSOR
from hybridom.errors import UserError
from hybridom.evaluation.reading import Buffers, read_row
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


@pytest.mark.parametrize("source", ["truth", "climatology"])
def test_a_mask_with_less_ocean_than_the_grids_is_refused_with_the_count(synthetic, world, source):
    layout = world.layout
    climatology = layout.climatology_store, layout.climatology_manifest
    paths = truth_paths(world) if source == "truth" else climatology
    row = int(np.argmax(world.wet[1].sum(axis=1)))

    def drier(ds):
        ds["uo"][:, 1, row] = np.nan
        return ds

    rewrite(synthetic, world, drier, *paths)
    words = {"truth": "2004-02-27", "climatology": "day 58 of the year"}
    if source == "climatology":
        words["climatology"] = "day 57 of the year"  # that of the start, which is looked at first
    count = int(world.wet[1, row].sum())
    refused(world, paths[0].name, "uo", f"{count} wet cells", words[source], f"row {row}")


def test_values_on_land_change_no_score(synthetic, world):
    start = world.config.forecast.first
    evaluate_start(world.config, world.layout, start)
    before = pd.read_parquet(world.layout.scores(start))

    def filled(ds):
        return ds.fillna(-999.0)

    rewrite(synthetic, world, filled)
    rewrite(synthetic, world, filled, *truth_paths(world))
    evaluate_start(world.config, world.layout, start)
    pd.testing.assert_frame_equal(pd.read_parquet(world.layout.scores(start)), before)


@pytest.mark.parametrize("encoding", [{"dtype": "f8"}, {"dtype": "i2", "scale_factor": 0.001}])
def test_values_that_are_stored_otherwise_are_refused(synthetic, world, encoding):
    start = world.config.forecast.first
    path = world.layout.forecast_store(start)
    ds = xr.open_zarr(path, consolidated=False, decode_timedelta=False).load()
    for x in (*ds.data_vars.values(), *ds.coords.values()):
        x.encoding = {}
    fill = {"_FillValue": -32767} if encoding["dtype"] == "i2" else {}
    shutil.rmtree(path)
    ds.to_zarr(path, encoding={"so": encoding | fill}, zarr_format=3, consolidated=False)
    refused(world, "2004-02-26.zarr", "so is stored as", "expected plain float32")


@pytest.fixture(params=[(3, 2), (4, 2), (5, 5), (1, 1)], ids="{0[0]} levels by {0[1]}".format)
def chunked(request, tmp_path):
    """A variable in chunks of whole levels, as the workflow writes it, and its values."""
    levels, chunk = request.param
    values = np.random.default_rng(0).normal(size=(4, levels, 6, 50)).astype(np.float32)
    values[:, :, 2, 3] = np.nan
    array = zarr.create_array(
        tmp_path / "x.zarr",
        name="x",
        shape=values.shape,
        chunks=(1, chunk, 6, 50),
        dtype="f4",
        compressors=[COMPRESSOR],
        fill_value=np.nan,
    )
    array[:] = values
    return zarr.open_group(tmp_path / "x.zarr", mode="r")["x"], values


def test_chunks_are_read_to_the_bit_as_zarr_reads_them(chunked):
    array, values = chunked
    rows, take = rows_of("x", array), Buffers().take
    assert isinstance(rows, ChunkRows)
    for row in (2, 0, 3):
        found = read_row(rows, row, values.shape[1:], take)
        assert found.tobytes() == values[row].tobytes() == array[row].tobytes()
        plain = read_row(PlainRows("x", array), row, values.shape[1:])
        assert plain.tobytes() == values[row].tobytes()


def test_a_variable_without_depth_has_one_level(tmp_path):
    values = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)
    settings = {"chunks": (1, 3, 4), "dtype": "f4", "compressors": [COMPRESSOR]}
    zarr.create_array(tmp_path / "x.zarr", name="x", shape=(2, 3, 4), **settings)[:] = values
    rows = rows_of("x", zarr.open_group(tmp_path / "x.zarr", mode="r")["x"])
    np.testing.assert_array_equal(read_row(rows, 1, (3, 4)), values[1:])


def test_a_chunk_that_is_absent_is_missing_and_a_damaged_one_is_refused(chunked):
    array, values = chunked
    rows = rows_of("x", array)
    first = rows.folder / "c" / "1" / "0" / "0" / "0"
    raw = first.read_bytes()
    first.unlink()
    assert np.isnan(read_row(rows, 1, values.shape[1:])[: array.chunks[1]]).all()
    for damaged in (raw[: len(raw) // 2], raw[:10], b"", raw + b"0", bytes(len(raw))):
        first.write_bytes(damaged)
        with pytest.raises(UserError, match=r"c/1/0/0/0: the chunk is damaged"):
            read_row(rows, 1, values.shape[1:])


def test_memory_is_given_out_again_only_when_nobody_holds_a_part_of_it():
    take = Buffers().take
    held = take((3, 4))
    held[:] = 1.0
    part = held[1:, 2]
    del held
    other = take((3, 4))
    other[:] = 2.0
    np.testing.assert_array_equal(part, 1.0)
    place = other.ctypes.data
    del other
    assert take((3, 4)).ctypes.data == place
    assert take((4, 3)).shape == (4, 3)
