from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy.interpolate import RegularGridInterpolator

from hybridom.config.data import RegridConfig
from hybridom.data.prepare import (
    model_grid,
    prepare_climatology,
    prepare_forcing,
    prepare_grid,
    prepare_state,
    prepare_statistics,
)
from hybridom.data.regrid import Regridder
from hybridom.data.stores import checksum, open_store
from hybridom.errors import UserError
from tests.data import raw, raw_fields
from tests.data.preparing import contents

ROOT = Path(__file__).parents[2]
LEVELS = [1, 3, 4]  # of raw.DEPTHS, as raw.USED_DEPTHS


def test_a_cell_is_wet_where_half_of_its_area_is(prepared):
    with xr.open_dataset(prepared.layout.grid_file) as ds:
        np.testing.assert_array_equal(prepared.wet, ds["wet_fraction"].values >= 0.5)
        assert (ds["wet_fraction"].values.min(), ds["wet_fraction"].values.max()) == (0, 1)
        assert "mercatorglorys12v1_gl12_mean_20000220" in ds.attrs["source"]
        assert len(ds.attrs["config_hash"]) == 12
    assert prepared.grid.shape == prepared.wet.shape == (3, 9, 18)


def test_a_threshold_of_zero_still_leaves_cells_without_sea_dry(world):
    grid = world.config.grid.model_copy(update={"wet_threshold": 0.0})
    config = world.config.model_copy(update={"grid": grid})
    prepare_grid(config, world.layout)
    _, wet = model_grid(config, world.layout)
    with xr.open_dataset(world.layout.grid_file) as ds:
        np.testing.assert_array_equal(wet, ds["wet_fraction"].values > 0)
        assert not wet.all()


def test_a_box_without_sea_is_refused(world):
    box = {"resolution": 10.0, "lat": (-30.0, 30.0), "lon": (-90.0, -80.0)}
    config = world.config.model_copy(update={"grid": world.config.grid.model_copy(update=box)})
    with pytest.raises(UserError, match=r"no cell of the grid is wet on 2000-02-20 .*thetao"):
        prepare_grid(config, world.layout)


def test_the_state_is_the_wet_area_average_of_the_source(prepared):
    day = dt.date(2000, 3, 5)
    wet = raw.ocean_wet()[LEVELS]
    regrid = Regridder(raw.LAT, raw.LON, prepared.grid, wet)
    state = open_store(prepared.layout.state_store(2000)).sel(time=str(day))
    for name, field in raw.ocean_fields(day).items():
        field = field[LEVELS] if field.ndim == 3 else field[None]
        expected = np.where(prepared.wet[: len(field)], regrid(field), np.nan)
        quantum = raw.PACKING[name][0]
        np.testing.assert_allclose(np.atleast_3d(state[name].values.T).T, expected, atol=quantum)


def mean_over(day):
    """Forcing -> (lat, lon) mean of a day's samples."""
    samples = [raw.forcing_fields(day, hour) for hour in (0, 6, 12, 18)]
    return {name: np.mean([x[name] for x in samples], axis=0) for name in ("u10", "v10", "t2m")}


def test_the_forcing_is_the_mean_over_the_day_between_the_nodes(prepared):
    day = dt.date(2000, 2, 29)
    forcing = open_store(prepared.layout.forcing_store(2000)).sel(time=str(day))
    turn = np.append(raw.LON, raw.LON[0] + 360)
    points = np.stack(np.meshgrid(prepared.grid.lat, prepared.grid.lon, indexing="ij"), -1)
    points[..., 1] = (points[..., 1] + 180) % 360 - 180
    for name, field in mean_over(day).items():
        around = np.concatenate([field, field[:, :1]], axis=1)
        expected = RegularGridInterpolator((raw.FORCING_LAT, turn), around)(points)
        np.testing.assert_allclose(forcing[name], expected, rtol=1e-6, atol=1e-5)


def test_the_forcing_is_averaged_over_cells_on_request(world):
    day = dt.date(2000, 2, 29)
    config = world.config.model_copy(update={"regrid": RegridConfig(forcing="conservative")})
    prepare_grid(config, world.layout)
    prepare_forcing(config, world.layout, 2000)
    grid, _ = model_grid(config, world.layout)
    regrid = Regridder(raw.FORCING_LAT, raw.LON, grid)
    forcing = open_store(world.layout.forcing_store(2000)).sel(time=str(day))
    for name, field in mean_over(day).items():
        np.testing.assert_allclose(forcing[name], regrid(field[None])[0], rtol=1e-6, atol=1e-5)


def test_stores_hold_the_days_of_all_periods_and_cf_attributes(prepared):
    state = open_store(prepared.layout.state_store(2000))
    days = [str(d)[:10] for d in state["time"].values]
    assert (days[0], days[-1], len(days)) == ("2000-02-20", "2000-03-20", 30)
    assert state["thetao"].dims == ("time", "depth", "latitude", "longitude")
    assert state["zos"].dims == ("time", "latitude", "longitude")
    assert state["thetao"].dtype == np.float32
    assert state["thetao"].attrs["standard_name"] == "sea_water_potential_temperature"
    assert state["thetao"].encoding["chunks"] == (1, 3, 9, 18)
    assert state["thetao"].attrs["cell_methods"] == "time: mean area: mean where sea"
    assert state.attrs["grid_hash"] == prepared.grid.hash
    np.testing.assert_array_equal(np.isnan(state["thetao"][0]), ~prepared.wet)
    assert np.isfinite(open_store(prepared.layout.forcing_store(2000))["t2m"]).all()


def test_the_manifest_describes_the_store(prepared):
    manifest = json.loads(prepared.layout.state_manifest(2000).read_text())
    assert manifest["shapes"]["thetao"] == [30, 3, 9, 18]
    assert manifest["time_range"] == ["2000-02-20", "2000-03-20"]
    assert manifest["days"] == 30
    assert manifest["grid_hash"] == prepared.grid.hash
    assert manifest["checksum"] == checksum(prepared.layout.state_store(2000))


def test_a_missing_store_names_the_command_that_makes_it(world):
    for path, command in (
        (world.layout.state_store(2000), "hybridom prepare state"),
        (world.layout.forcing_store(2000), "hybridom prepare forcing"),
        (world.layout.climatology_store, "hybridom prepare climatology"),
    ):
        with pytest.raises(UserError, match=command):
            open_store(path)


def test_a_grid_of_other_settings_is_refused(world):
    prepare_grid(world.config, world.layout)
    grid = world.config.grid.model_copy(update={"resolution": 30.0})
    config = world.config.model_copy(update={"grid": grid})
    with pytest.raises(UserError, match="hybridom prepare grid"):
        prepare_state(config, world.layout, 2000)


def test_a_mask_of_another_first_file_is_refused(world):
    prepare_grid(world.config, world.layout)
    drier = {"thetao": lambda x: np.where(raw.LON < 0, x, np.nan)}
    raw.write_ocean_days(world.root / "ocean", dt.date(2000, 2, 20), 1, change=drier)
    with pytest.raises(UserError, match=r"grid.nc: its wet mask .*hybridom prepare grid"):
        prepare_state(world.config, world.layout, 2000)


@pytest.mark.parametrize("method", ["bilinear", "conservative"])
def test_forcing_that_does_not_cover_the_grid_is_refused(world, monkeypatch, method):
    for module in (raw, raw_fields):
        monkeypatch.setattr(module, "FORCING_LAT", np.arange(-50.0, 50.1, 10.0))
    shutil.rmtree(world.root / "forcing")
    for month in (2, 3):
        raw.write_forcing_month(world.root / "forcing", 2000, month)
    config = world.config.model_copy(update={"regrid": RegridConfig(forcing=method)})
    prepare_grid(config, world.layout)
    with pytest.raises(UserError, match=r"/forcing: .* spans -50 to 50 N.*larger box"):
        prepare_forcing(config, world.layout, 2000)


INTERRUPTED = """
import sys, time
from pathlib import Path
from hybridom.data.prepare import prepare_state
from hybridom.data.regrid import FusedRegridder
from hybridom.layout import Layout
from tests.data.conftest import TEST, TRAIN, VALIDATION
from tests.data.raw import raw_config

average = FusedRegridder.__call__
def slowly(*args):
    time.sleep(0.01)
    return average(*args)
FusedRegridder.__call__ = slowly
config = raw_config(Path(sys.argv[1]), TRAIN, VALIDATION, TEST)
prepare_state(config, Layout(config), 2000)
"""


def kill_once_it_has_written(world, day):
    """Start a preparation and kill it as soon as a day's chunk is there."""
    store = world.layout.state_store(2000)
    partial = store.with_name(store.name + ".partial")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    job = subprocess.Popen([sys.executable, "-c", INTERRUPTED, str(world.root)], env=environment)
    limit = time.monotonic() + 60
    while not (partial / "so" / "c" / str(day)).exists():
        assert job.poll() is None and time.monotonic() < limit
        time.sleep(0.002)
    job.send_signal(signal.SIGKILL)
    job.wait()
    assert not store.exists() and not world.layout.state_manifest(2000).exists()


@pytest.mark.slow
def test_a_killed_preparation_continues_and_gives_identical_bytes(world, caplog):
    folder = world.layout.resources_dir / "state"
    prepare_grid(world.config, world.layout)
    prepare_state(world.config, world.layout, 2000)
    expected = contents(folder)
    shutil.rmtree(folder)
    kill_once_it_has_written(world, 11)
    with caplog.at_level("INFO"):
        prepare_state(world.config, world.layout, 2000)
    assert "of 30 slabs are kept" in caplog.text
    assert contents(folder) == expected


def test_leftovers_of_a_kill_and_a_cut_off_last_chunk_are_mended(world):
    folder = world.layout.resources_dir / "state"
    prepare_grid(world.config, world.layout)
    prepare_state(world.config, world.layout, 2000)
    expected = contents(folder)
    store, manifest = world.layout.state_store(2000), world.layout.state_manifest(2000)
    partial = store.rename(store.with_name(store.name + ".partial"))
    manifest.unlink()
    for day in range(20, 30):
        shutil.rmtree(partial / "vo" / "c" / str(day))
    (partial / "vo" / "c" / "19" / "0" / "0" / "0").write_bytes(b"cut")
    (partial / "vo" / "c" / "19" / "0" / "0" / "0.1234.partial").write_bytes(b"left")
    prepare_state(world.config, world.layout, 2000)
    assert contents(folder) == expected


def test_a_finished_store_is_kept_when_only_its_manifest_is_gone(world):
    prepare_grid(world.config, world.layout)
    prepare_state(world.config, world.layout, 2000)
    store, manifest = world.layout.state_store(2000), world.layout.state_manifest(2000)
    before, text = os.stat(store).st_mtime_ns, manifest.read_text()
    manifest.unlink()
    prepare_state(world.config, world.layout, 2000)
    assert os.stat(store).st_mtime_ns == before
    assert manifest.read_text() == text


def test_a_store_is_made_again_when_a_raw_file_or_a_chunk_has_changed(world):
    prepare_grid(world.config, world.layout)
    prepare_state(world.config, world.layout, 2000)
    store = world.layout.state_store(2000)
    first = checksum(store)
    chunk = store / "zos" / "c" / "3" / "0" / "0"
    chunk.write_bytes(b"spoilt")
    prepare_state(world.config, world.layout, 2000)
    assert checksum(store) == first
    raw.write_ocean_days(world.root / "ocean", dt.date(2000, 3, 1), 1, seed=5)
    prepare_state(world.config, world.layout, 2000)
    assert checksum(store) != first


@pytest.mark.slow  # two climatologies of a year of days
def test_climatology_and_statistics_do_not_see_validation_and_test_days(prepared, world):
    raw.write_ocean_days(world.root / "ocean", dt.date(2000, 3, 8), 13, seed=9)
    raw.write_forcing_month(world.root / "forcing", 2000, 3, days=range(1, 21))
    with_others = world.root / "forcing" / "era5_u10_v10_t2m_200003.nc"
    with_others.unlink()
    raw.write_forcing_month(world.root / "forcing" / "a", 2000, 3, days=range(1, 8))
    raw.write_forcing_month(world.root / "forcing" / "b", 2000, 3, days=range(8, 21), seed=9)
    prepare_grid(world.config, world.layout)
    prepare_state(world.config, world.layout, 2000)
    prepare_forcing(world.config, world.layout, 2000)
    prepare_climatology(world.config, world.layout)
    prepare_statistics(world.config, world.layout)
    ours, theirs = (w.layout.climatology_store for w in (world, prepared))
    assert checksum(ours) == checksum(theirs)
    stores = [open_store(w.layout.state_store(2000)) for w in (world, prepared)]
    assert not np.array_equal(*(s["thetao"].values[-1] for s in stores), equal_nan=True)
    with (
        xr.open_dataset(world.layout.statistics_file) as a,
        xr.open_dataset(prepared.layout.statistics_file) as b,
    ):
        xr.testing.assert_equal(a, b)
