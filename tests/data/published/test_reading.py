"""Published files as a source: what readers get, and what is refused."""

from __future__ import annotations

import datetime as dt
import gc
import json
import multiprocessing
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
import xarray as xr

from hybridom.config import Config
from hybridom.data import published
from hybridom.data.published import preparing
from hybridom.data.published.layout import PUBLISHED_DEPTHS, Box, FileAxes
from hybridom.data.published.merged import read_merged
from hybridom.errors import UserError
from hybridom.grid import Grid, read_grid
from hybridom.layout import Layout
from hybridom.variables import FLUXES8, ICE, PROGNOSTIC
from tests.data.published.world import (
    DEPTHS,
    ONE_YEAR,
    YEARS,
    entry_of,
    make_config,
    published_config,
)

OCEAN = (*PROGNOSTIC, *ICE)


def zarr_of(path):
    return xr.open_zarr(path, consolidated=False, chunks=None, decode_times=False)


@pytest.mark.parametrize("year", YEARS)
def test_full_fields_come_back_as_they_were_in_the_stores(stores, prepared_files, year):
    entry = entry_of(prepared_files["surface3"], year, "state")
    state = zarr_of(stores.layout.state_store(year))
    arrays = published.open_arrays(entry, [*OCEAN, "time"])
    np.testing.assert_array_equal(arrays["time"][:], state["time"])
    for name in OCEAN:
        assert arrays[name].shape == state[name].shape
        values = arrays[name][:]
        assert values.dtype == np.float32
        quantum = {"thetao": 4e-6, "so": 4e-6, "zos": 3e-7}.get(name, 0)
        np.testing.assert_allclose(values, state[name], rtol=0, atol=quantum)


def test_the_forcing_comes_back(stores, prepared_files):
    entry = entry_of(prepared_files["surface3"], 2001, "forcing")
    forcing = zarr_of(stores.layout.forcing_store(2001))
    for name, array in published.open_arrays(entry, ("u10", "v10", "t2m")).items():
        np.testing.assert_array_equal(array[:], forcing[name])
    entry = entry_of(prepared_files["fluxes8"], 2001, "forcing")
    train = zarr_of(stores.layout.forcing_store(2000))
    for name, array in published.open_arrays(entry, FLUXES8).items():
        stored = "ssr" if name == "msnswrf" else name
        low, high = train[stored].values.min(), train[stored].values.max()
        expected = (forcing[stored].values.astype(float) - low) / (high - low)
        np.testing.assert_allclose(array[:], expected, rtol=0, atol=1e-6)


def test_any_days_can_be_asked_for(prepared_files):
    entry = entry_of(prepared_files["surface3"], 2000, "state")
    for name in ("thetao", "zos", "uo"):
        array = published.open_arrays(entry, [name])[name]
        whole = array[:]
        assert len(array) == 366
        np.testing.assert_array_equal(array[59], whole[59])
        np.testing.assert_array_equal(array[-1], whole[365])
        np.testing.assert_array_equal(array[55:63], whole[55:63])
        np.testing.assert_array_equal(array[0:30:7], whole[0:30:7])
        np.testing.assert_array_equal(array[9:9], whole[9:9])
        np.testing.assert_array_equal(array[58:60, ..., 2:4], whole[58:60, ..., 2:4])
        np.testing.assert_array_equal(array[3, ..., 5], whole[3, ..., 5])
        with pytest.raises(IndexError):
            array[366]


def test_arrays_serve_threads_and_other_processes(prepared_files):
    entry = entry_of(prepared_files["surface3"], 2000, "state")
    array = published.open_arrays(entry, ["so"])["so"]
    whole = array[:]
    with ThreadPoolExecutor(4) as pool:
        for day, values in enumerate(pool.map(array.__getitem__, range(366))):
            np.testing.assert_array_equal(values, whole[day])
    sent = pickle.dumps(array)
    assert len(sent) < 1_000_000
    np.testing.assert_array_equal(pickle.loads(sent)[7], whole[7])
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for day, values in enumerate(pool.map(array.__getitem__, range(8))):
            np.testing.assert_array_equal(values, whole[day])


def test_a_dataset_is_like_that_of_a_store(stores, prepared_files):
    entry = entry_of(prepared_files["surface3"], 2001, "state")
    found = published.open_dataset(entry)
    assert found["thetao"].dims == ("time", "depth", "latitude", "longitude")
    assert found["zos"].dims == ("time", "latitude", "longitude")
    assert found["thetao"].attrs["standard_name"] == "sea_water_potential_temperature"
    np.testing.assert_allclose(found["latitude"], stores.grid.lat)
    state = zarr_of(stores.layout.state_store(2001))
    np.testing.assert_allclose(found["so"][17].values, state["so"][17].values, atol=4e-6)
    fluxes = published.open_dataset(entry_of(prepared_files["fluxes8"], 2001, "forcing"))
    assert {fluxes[name].attrs["units"] for name in FLUXES8} == {"1"}


def test_the_grid_is_that_of_the_mask(stores, prepared_files):
    config = prepared_files["surface3"]
    grid, wet = read_grid(Layout(config).grid_file)
    assert grid.hash == stores.grid.hash
    np.testing.assert_array_equal(wet, stores.wet)
    entry = entry_of(config, 2000, "state")
    assert published.grid_hash(entry) == grid.hash
    assert published.gaps(entry) == frozenset()


def test_the_manifest_says_what_was_looked_at(prepared_files):
    config = prepared_files["surface3"]
    manifest = json.loads(Layout(config).state_manifest(2000).read_text())
    assert manifest["store"] == "GLORYS_20_2000.h5"
    assert manifest["shapes"]["thetao"] == [366, 4, 7, 18]
    assert manifest["time_range"] == ["2000-01-01", "2000-12-31"]
    assert (manifest["days"], manifest["gaps"]) == (366, [])
    low, high = manifest["ranges"]["thetao"]
    assert -1 <= low < 0 < 24 < high <= 25.001
    assert manifest["checksum"].startswith("stamps:")


def test_a_box_with_some_levels_is_cut_out_across_the_date_line(stores, exported, tmp_path):
    box = {"resolution": 20.0, "lat": (-30.0, 50.0), "lon": (120.0, 240.0)}
    grid = {"name": "box", **box, "depths": (DEPTHS[0], DEPTHS[2])}
    config = published_config(tmp_path, exported, grid=grid)
    layout = Layout(config)
    preparing.prepare_grid_published(config, layout)
    preparing.prepare_year_published(config, layout, 2000, "state")
    preparing.prepare_year_published(config, layout, 2000, "forcing")
    columns = [15, 16, 17, 0, 1, 2]
    _, wet = read_grid(layout.grid_file)
    np.testing.assert_array_equal(wet, stores.wet[[0, 2], 2:6][..., columns])
    state = zarr_of(stores.layout.state_store(2000))
    arrays = published.open_arrays(entry_of(config, 2000, "state"), PROGNOSTIC)
    for name in ("thetao", "uo"):
        expected = state[name].values[:, [0, 2], 2:6][..., columns]
        np.testing.assert_allclose(arrays[name][:], expected, atol=4e-6)
    expected = state["zos"].values[:, 2:6][..., columns]
    np.testing.assert_allclose(arrays["zos"][:], expected, atol=1e-6)


def test_files_without_axes_are_those_of_the_release(tmp_path):
    for name, shape, box, columns in (
        ("GLORYS_05_2001.h5", (365, 100, 360, 720), ((-80, 84), (-180, 180), 0.5), (0, 719)),
        ("GLORYS_pc_025_2001.h5", (365, 100, 180, 360), ((15, 60), (120, 210), 0.25), (0, 359)),
        ("GLORYS_05_2000.h5", (366, 100, 360, 720), ((15, 60), (120, 210), 0.5), (600, 59)),
    ):
        path = tmp_path / name
        with h5py.File(path, "w") as file:  # no space is taken before values are written
            file.create_dataset("data", shape, np.float32)
        axes = FileAxes.read(path, shape[0])
        lat, lon, step = box
        every_second = PUBLISHED_DEPTHS[0:23:2]
        found = Box.find(Grid.regular(step, lat, lon, every_second), axes, path)
        assert (found.columns[0], found.columns[-1]) == columns
        assert axes.lat[found.rows.start] == lat[0] + step / 2
        np.testing.assert_array_equal(found.levels, range(0, 23, 2))


def test_the_regional_box_is_where_it_is_documented():
    rows, columns = np.arange(420, 600), np.r_[1200:1440, 0:120]
    lat = -90 + 0.25 * (rows + 0.5)
    lon = -180 + 0.25 * (columns + 0.5)
    axes = FileAxes(lat, np.where(lon < 0, lon + 360, lon), np.array(PUBLISHED_DEPTHS))
    grid = Grid.regular(0.25, (15, 60), (120, 210), PUBLISHED_DEPTHS)
    found = Box.find(grid, axes, None)
    assert (found.rows, found.columns[0]) == (slice(0, 180), 0)


def copied(exported, tmp_path, *names):
    """A folder with copies of some exported files, for a test to spoil."""
    folder = tmp_path / "files"
    folder.mkdir()
    for name in ("GLORYS_20_2001.h5", "climate_mean_s_t_ssh.npy", "mask_20.npy", *names):
        shutil.copyfile(exported / name, folder / name)
    return folder


def refused(action, match):
    with pytest.raises(UserError, match=match) as error:
        action()
    assert "\n" not in str(error.value)


def test_missing_and_unfit_files_are_named(exported, tmp_path):
    folder = copied(exported, tmp_path)
    config = published_config(tmp_path, folder, periods=ONE_YEAR)
    layout = Layout(config)

    def check(year=2001):
        preparing.check_year_published(config, layout, year)

    check()
    report = json.loads(layout.check_report(2001).read_text())
    assert (report["days"], report["files"]) == (365, 1)
    refused(lambda: check(2000), r"year 2000: no day of it lies in periods")
    both = published_config(tmp_path, folder)
    refused(
        lambda: preparing.check_year_published(both, layout, 2000),
        r"GLORYS_20_2000.h5: no such file, .*HOM_GLORYS_05_H5_DIR",
    )
    path = folder / "GLORYS_20_2001.h5"
    shutil.copyfile(exported / "GLORYS_20_2000.h5", path)
    refused(check, r"shape \(366, 24, 9, 18\), expected \(365, 24, 9, 18\)")
    with h5py.File(path, "w") as file:
        file["values"] = np.zeros(3)
    refused(check, r"GLORYS_20_2001.h5: no key 'data', it holds values")
    with h5py.File(path, "w") as file:
        file.create_dataset("data", (365, 24, 9, 18), np.float32)
    refused(check, "neither a published file of 23 levels nor one with its own latitude")
    path.write_bytes(b"no such thing")
    refused(check, "not a readable HDF5 file")
    shutil.copyfile(exported / "GLORYS_20_2001.h5", path)
    np.save(folder / "mask_20.npy", np.ones((4, 9, 17)))
    refused(check, r"mask_20.npy: shape \(4, 9, 17\), expected \(4, 9, 18\)")
    shutil.copyfile(exported / "mask_20.npy", folder / "mask_20.npy")
    np.save(folder / "climate_mean_s_t_ssh.npy", np.ones((365, 17, 9, 18), np.float32))
    refused(check, r"shape \(365, 17, 9, 18\), expected \(365, 17, 10, 18\)")
    (folder / "climate_mean_s_t_ssh.npy").unlink()
    refused(check, "climate_mean_s_t_ssh.npy: no readable .npy file .*source.climatology")
    grid = {"name": "g", "resolution": 20.0, "lat": (-70, 70), "depths": (0.494025, 60.0)}
    config = published_config(tmp_path, exported, grid=grid)
    refused(check, "no level at 60 m as grid.depths wants, the nearest is 55.7643 m")
    config = published_config(tmp_path, exported, grid={**grid, "lat": (-80, 80)})
    refused(check, "9 points of lat from -80 to 80; expected among them the grid's 8 from -70")


def test_values_that_are_missing_or_implausible_are_named(exported, tmp_path):
    folder = copied(exported, tmp_path)
    config = published_config(tmp_path, folder, periods=ONE_YEAR)
    layout = Layout(config)
    preparing.prepare_grid_published(config, layout)

    def spoil(index, value):
        gc.collect()  # an error that was caught may still hold the file open
        with h5py.File(folder / "GLORYS_20_2001.h5", "r+") as file:
            kept = file["data"][index]
            file["data"][index] = value
        return kept

    def prepare(kind="state"):
        preparing.prepare_year_published(config, layout, 2001, kind)

    index = (40, 9, 4, 8)
    kept = spoil(index, np.nan)
    refused(prepare, r"thetao on 2001-02-10 holds no value \(NaN\) in 1 of \d+ cells")
    spoil(index, 300.0)
    refused(prepare, r"thetao on 2001-02-10 runs from .* to 3\d\d.* \(with the climatology added\)")
    assert not layout.state_manifest(2001).exists()
    spoil(index, kept)
    prepare()
    entry = entry_of(config, 2001, "state")
    spoil((41, 22, 4, 8), np.nan)
    refused(lambda: prepare("forcing"), r"v10 on 2001-02-11 holds no value")
    refused(
        lambda: published.open_arrays(entry, ["uo"]),
        r"GLORYS_20_2001.h5: missing or changed since it was checked for 2001.*prepare state",
    )


def test_days_without_any_value_are_gaps_where_they_are_recorded(exported, tmp_path):
    folder = copied(exported, tmp_path)
    with h5py.File(folder / "GLORYS_20_2001.h5", "r+") as file:
        file["data"][100] = np.nan
    config = published_config(tmp_path, folder, periods=ONE_YEAR)
    layout = Layout(config)
    preparing.prepare_grid_published(config, layout)
    with pytest.raises(UserError, match="2001-04-11 holds no value"):
        preparing.prepare_year_published(config, layout, 2001, "state")
    source = config.source.model_copy(update={"gaps": "record"})
    config = config.model_copy(update={"source": source})
    for kind in ("state", "forcing"):
        preparing.prepare_year_published(config, layout, 2001, kind)
        day = (dt.date(2001, 4, 11) - dt.date(1970, 1, 1)).days
        assert published.gaps(entry_of(config, 2001, kind)) == {day}


def test_winds_without_value_over_land_take_the_mean_of_the_day(stores, exported, tmp_path):
    folder = copied(exported, tmp_path)
    dry = ~stores.wet[0]
    with h5py.File(folder / "GLORYS_20_2001.h5", "r+") as file:
        for day in range(365):
            winds = file["data"][day, 21:24]
            winds[:, 1:8][:, dry] = np.nan
            file["data"][day, 21:24] = winds
    config = published_config(tmp_path, folder, periods=ONE_YEAR)
    layout = Layout(config)
    preparing.prepare_grid_published(config, layout)
    preparing.prepare_year_published(config, layout, 2001, "forcing")
    forcing = zarr_of(stores.layout.forcing_store(2001))["t2m"].values
    found = published.open_arrays(entry_of(config, 2001, "forcing"), ["t2m"])["t2m"][30:33]
    np.testing.assert_array_equal(found[:, ~dry], forcing[30:33][:, ~dry])
    expected = forcing[30:33][:, ~dry].mean(axis=1, dtype=float)
    np.testing.assert_allclose(found[:, dry], expected[:, None] * np.ones(dry.sum()), rtol=1e-6)


def test_the_variables_of_the_release_are_honoured(monkeypatch, tmp_path):
    for name in ("GLORYS_05_H5_DIR", "ERA5_MEAN_SURFACE_DIR", "CLIMATE_MEAN_NPY"):
        monkeypatch.setenv(f"HOM_{name}", f"/data/{name}")
    source = {"kind": "published", "mask": "mask_05.npy"}
    found = make_config(tmp_path, source=source, forcing="surface3").source
    assert found.ocean_dir == "/data/GLORYS_05_H5_DIR"
    assert found.forcing_dir == "/data/ERA5_MEAN_SURFACE_DIR"
    assert found.climatology == "/data/CLIMATE_MEAN_NPY"
    region = {
        "name": "r",
        "resolution": 0.25,
        "lat": (15, 60),
        "lon": (120, 210),
        "depths": PUBLISHED_DEPTHS[::2],
    }
    config = make_config(tmp_path, source=source, forcing="surface3", grid=region)
    assert config.source.ocean_dir == "/data/GLORYS_05_H5_DIR"
    monkeypatch.setenv("HOM_GLORYS_REGIONAL_025_H5_DIR", "/data/region")
    config = make_config(tmp_path, source=source, forcing="surface3", grid=region)
    assert config.source.ocean_dir == "/data/region"
    refused(
        lambda: preparing.prepare_grid_published(config, Layout(config)),
        r"/data/region/GLORYS_pc_025_2000.h5: no such file.*HOM_GLORYS_REGIONAL_025_H5_DIR",
    )
    own = make_config(tmp_path, source={**source, "ocean_dir": "own"}, forcing="surface3")
    assert own.source.ocean_dir == "own"
    monkeypatch.delenv("HOM_CLIMATE_MEAN_NPY")
    with pytest.raises(ValueError, match="HOM_CLIMATE_MEAN_NPY"):
        make_config(tmp_path, source=source, forcing="surface3")


def test_no_stress_is_taken_from_normalised_fluxes(exported, tmp_path):
    with pytest.raises(ValueError, match=r"skeleton\.wind_stress: .*set it to false"):
        config = published_config(tmp_path, exported, "fluxes8").model_dump(mode="json")
        Config.model_validate({**config, "skeleton": {"wind_stress": True}})


def test_coarse_forecasts_are_read_by_start_day(monkeypatch, tmp_path):
    values = np.random.default_rng(0).normal(size=(70, 3, 49, 4, 5)).astype(np.float32)
    with h5py.File(tmp_path / "GLORYS_regional_2000_v2_merged.h5", "w") as file:
        file["data"] = values
    start = dt.date(2000, 2, 29)
    refused(lambda: read_merged(start, 2), "HOM_REGIONAL_MERGED_RESULTS_DIR is not set")
    monkeypatch.setenv("HOM_REGIONAL_MERGED_RESULTS_DIR", str(tmp_path))
    found = read_merged(start, 2)
    order = np.concatenate([found[n] for n in ("thetao", "so", "uo", "vo")], axis=1)
    np.testing.assert_array_equal(order, values[59, :2, :48])
    np.testing.assert_array_equal(found["zos"], values[59, :2, 48])
    refused(lambda: read_merged(dt.date(2000, 3, 11), 2), "70 start days of 3 days each")
    refused(lambda: read_merged(start, 4), "expected 4 days from 2000-02-29")
    refused(lambda: read_merged(dt.date(2001, 1, 1), 1), r"GLORYS_regional_2001\*merged.h5, found")
    with h5py.File(tmp_path / "GLORYS_regional_2001_merged.h5", "w") as file:
        file["data"] = values[:, :, :48]
    refused(lambda: read_merged(dt.date(2001, 1, 1), 1), r"expected \(start days, leads, 49")
