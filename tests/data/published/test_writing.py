"""Files that are written, against the description of the layout and the stores they come from."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr
import zarr

from hybridom import cli
from hybridom.data.published import writing
from hybridom.data.published.frame import Frame
from hybridom.data.published.layout import forcing_file, state_channels, state_file
from hybridom.errors import UserError
from hybridom.grid import Grid, write_grid
from hybridom.layout import Layout
from hybridom.variables import FLUXES8, ICE
from tests.data.published.world import DAYS, NX, NZ, YEARS, make_config, make_stores

ROOT = Path(__file__).parents[3]
NORTHERN = slice(1, 8)  # rows of the file that the grid has


def zarr_of(path):
    return xr.open_zarr(path, consolidated=False, chunks=None, decode_times=False)


def published(path):
    with h5py.File(path, "r") as file:
        return file["data"][:]


@pytest.mark.parametrize("year", YEARS)
def test_state_files_have_the_documented_channels(stores, exported, year):
    data = published(exported / f"GLORYS_20_{year}.h5")
    assert data.shape == (DAYS[year], 4 * NZ + 8, 9, NX)
    assert data.dtype == np.float32
    state = zarr_of(stores.layout.state_store(year))
    forcing = zarr_of(stores.layout.forcing_store(year))
    cut = data[:, :, NORTHERN]
    np.testing.assert_array_equal(cut[:, 0:4], state["uo"])
    np.testing.assert_array_equal(cut[:, 4:8], state["vo"])
    for channel, name in enumerate(ICE):
        np.testing.assert_array_equal(cut[:, 17 + channel], state[name])
    for channel, name in enumerate(("u10", "v10", "t2m")):
        np.testing.assert_array_equal(cut[:, 21 + channel], forcing[name])


@pytest.mark.parametrize("year", YEARS)
def test_anomalies_and_the_climatology_as_the_release_reads_it_give_the_fields(
    stores, exported, year
):
    data = published(exported / f"GLORYS_20_{year}.h5")
    raw = np.load(exported / "climate_mean_s_t_ssh.npy")
    assert raw.shape == (365, 4 * NZ + 1, 10, NX)
    means = {
        # from the last row, the southernmost, to the second
        "so": raw[:, 0:NZ, :0:-1],
        "thetao": raw[:, 3 * NZ : 4 * NZ, :0:-1],
        "zos": raw[:, 4 * NZ, :0:-1],
    }
    channels = {"zos": 8, "thetao": slice(9, 13), "so": slice(13, 17)}
    state = zarr_of(stores.layout.state_store(year))
    for name, mean in means.items():
        if DAYS[year] == 366:  # 29 February between its neighbours
            leap = 0.5 * (mean[58] + mean[59])
            mean = np.concatenate([mean[:59], leap[None], mean[59:]])
        full = data[:, channels[name]] + mean
        np.testing.assert_allclose(full[..., NORTHERN, :], state[name], rtol=3e-7, atol=4e-6)


def test_land_and_rows_beyond_the_grid_are_nan_in_years_and_zero_in_the_climatology(
    stores, exported
):
    data = published(exported / "GLORYS_20_2001.h5")
    assert np.isnan(data[:, :, [0, 8]]).all()
    np.testing.assert_array_equal(np.isnan(data[5, 9:13, NORTHERN]), ~stores.wet)
    assert np.isfinite(data[:, 21:, NORTHERN]).all()
    raw = np.load(exported / "climate_mean_s_t_ssh.npy")
    assert np.isfinite(raw).all()
    assert not raw[:, :, [0, 1, -1]].any()
    assert not raw[:, :, 2:9][:, 0:NZ, ::-1][:, ~stores.wet].any()


def test_channels_between_salinity_and_temperature_hold_the_mean_velocities(stores, exported):
    raw = np.load(exported / "climate_mean_s_t_ssh.npy")[:, :, 1:][:, :, ::-1][:, :, NORTHERN]
    climatology = zarr_of(stores.layout.climatology_store)
    for first, name in ((NZ, "uo"), (2 * NZ, "vo")):
        np.testing.assert_array_equal(
            np.where(stores.wet, raw[:, first : first + NZ], np.nan), climatology[name]
        )


def test_masks_are_one_in_the_ocean(stores, exported):
    for name in ("mask_20.npy", "mask_20_ori.npy"):
        mask = np.load(exported / name)
        assert mask.shape == (NZ, 9, NX)
        np.testing.assert_array_equal(mask[:, NORTHERN], stores.wet)
        assert not mask[:, [0, 8]].any()


def test_fluxes_are_normalised_by_extremes_of_the_training_period_and_can_be_undone(
    stores, exported
):
    train = zarr_of(stores.layout.forcing_store(2000))
    names = ["ssr" if name == "msnswrf" else name for name in FLUXES8]
    for year in YEARS:
        forcing = zarr_of(stores.layout.forcing_store(year))
        with h5py.File(exported / f"WenHai_forcing_20_{year}.h5", "r") as file:
            data = file["data"][:, :, NORTHERN]
            low, high = file["data"].attrs["minimum"], file["data"].attrs["maximum"]
        assert data.shape[:2] == (DAYS[year], 8)
        for channel, name in enumerate(names):
            assert low[channel] == train[name].values.min()
            assert high[channel] == train[name].values.max()
            undone = low[channel] + data[:, channel] * (high[channel] - low[channel])
            span = high[channel] - low[channel]
            np.testing.assert_allclose(undone, forcing[name], rtol=0, atol=1.2e-7 * span)
        if year == 2000:
            assert (data.min(), data.max()) == (0, 1)


def test_files_say_what_they_hold(stores, exported):
    with h5py.File(exported / "GLORYS_20_2000.h5", "r") as file:
        assert file["data"].chunks is None
        assert file["data"].id.get_offset() > 0
        np.testing.assert_allclose(file["latitude"], np.arange(-80, 81, 20))
        np.testing.assert_allclose(file["longitude"], np.arange(-170, 171, 20))
        np.testing.assert_allclose(file["depth"], stores.grid.depth)
        assert file["time"][0] == 10957
        names, units = file["data"].attrs["channels"], file["data"].attrs["units"]
        assert list(names[[0, 8, 10, 23]]) == ["uo_0.494", "zos", "thetao_55.76", "t2m"]
        assert list(units[[0, 8, 10, 23]]) == ["m s-1", "m", "degrees_C", "K"]
        assert len(file.attrs["config_hash"]) == 12
        assert file.attrs["grid_hash"] == stores.grid.hash
    manifest = json.loads((exported / "GLORYS_20_2000.h5.json").read_text())
    assert manifest["bytes"] == (exported / "GLORYS_20_2000.h5").stat().st_size
    assert manifest["shape"] == [366, 24, 9, 18]


@pytest.mark.usefixtures("quick_reads")
def test_an_export_is_repeated_only_for_other_stores(stores, exported, tmp_path, caplog):
    writing.export_year(stores.config, stores.layout, 2001, exported)
    before = (exported / "GLORYS_20_2001.h5").stat().st_mtime_ns
    copy = shutil.copytree(exported, tmp_path / "copy")
    path = copy / "climate_mean_s_t_ssh.npy.json"
    manifest = json.loads(path.read_text())
    manifest["origin"]["inputs"] = {}
    path.write_text(json.dumps(manifest))
    with caplog.at_level("INFO"):
        writing.export_climatology(stores.config, stores.layout, copy)
        writing.export_year(stores.config, stores.layout, 2001, copy)
    assert json.loads(path.read_text())["origin"]["inputs"]
    assert (copy / "GLORYS_20_2001.h5").stat().st_mtime_ns == before
    assert "GLORYS_20_2001.h5: complete already" in caplog.text


@pytest.mark.usefixtures("quick_reads")
def test_one_command_writes_everything(stores, exported, tmp_path):
    config = tmp_path / "config.json"  # JSON is YAML
    config.write_text(stores.config.model_dump_json())
    output = tmp_path / "out"
    words = ["export", "published", "--config", str(config), "--output", str(output)]
    assert cli.main([*words, "--year", "2001"]) == 0
    written = {path.name for path in output.glob("*.[hn]*")}
    assert {name for name in written if not name.endswith(".json")} == {
        "GLORYS_20_2001.h5",
        "WenHai_forcing_20_2001.h5",
    }
    assert cli.main(words) == 0
    for path in exported.glob("*.[hn]*"):
        assert (output / path.name).read_bytes() == path.read_bytes(), path.name


KILLED = """
import os, signal, sys
from hybridom import cli
from hybridom.data.published import rows
real = rows.write_json
def write_json(path, content):
    real(path, content)
    if content.get("rows") == 7:
        os.kill(os.getpid(), signal.SIGKILL)
rows.write_json = write_json
cli.main(sys.argv[1:])
"""


def test_a_killed_command_continues_and_ends_with_the_same_bytes(stores, exported, tmp_path):
    config = tmp_path / "config.json"
    config.write_text(stores.config.model_dump_json())
    output = tmp_path / "out"
    words = ["export", "climatology", "--config", str(config), "--output", str(output)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", KILLED, *words], cwd=ROOT, env=environment)
    assert done.returncode == -signal.SIGKILL
    path = output / "climate_mean_s_t_ssh.npy"
    assert not path.exists()
    assert cli.main(words) == 0
    assert path.read_bytes() == (exported / path.name).read_bytes()
    assert not list(output.glob("*partial*"))


def test_a_region_keeps_its_box_and_is_named_so(tmp_path):
    box = {"resolution": 20.0, "lat": (-70.0, 70.0), "lon": (20.0, 220.0), "depths": (0.494025,)}
    config = make_config(tmp_path, grid={"name": "region", **box})
    layout, grid = Layout(config), Grid.regular(**box)
    wet = np.ones(grid.shape, bool)
    write_grid(layout.grid_file, grid, wet, wet.astype(float), {})
    writing.export_mask(config, layout, tmp_path)
    assert np.load(tmp_path / "mask_pc_20.npy").shape == (1, 7, 10)


def test_published_resolutions_have_the_published_names_and_shapes():
    assert state_file(Path("d"), 0.5, False, 1993) == Path("d/GLORYS_05_1993.h5")
    assert state_file(Path("d"), 0.25, True, 1993) == Path("d/GLORYS_pc_025_1993.h5")
    assert forcing_file(Path("d"), 0.5, False, 1993) == Path("d/WenHai_forcing_05_1993.h5")
    frame = Frame.around(Grid.regular(0.5, (-80.0, 84.0)), 0.5)
    assert (frame.shape, frame.rows, frame.west) == ((360, 720), slice(20, 348), 0)
    frame = Frame.around(Grid.regular(0.25, (15.0, 60.0), (120.0, 210.0)), 0.25)
    assert (frame.shape, frame.rows, frame.west) == ((180, 360), slice(0, 180), 0)
    table = state_channels(23)
    assert {name: (c.start, c.stop) for name, c in table.items()} == {
        "uo": (0, 23),
        "vo": (23, 46),
        "zos": (46, 47),
        "thetao": (47, 70),
        "so": (70, 93),
        "siconc": (93, 94),
        "sithick": (94, 95),
        "usi": (95, 96),
        "vsi": (96, 97),
        "u10": (97, 98),
        "v10": (98, 99),
        "t2m": (99, 100),
    }


def test_global_columns_begin_at_180_west_wherever_the_grid_does():
    grid = Grid.regular(20.0, (-70.0, 70.0), (0.0, 360.0))
    frame = Frame.around(grid, 20.0)
    out = np.full(frame.shape, np.nan)
    frame.place(out, np.broadcast_to(grid.lon, (7, 18)))
    np.testing.assert_allclose((out[3] + 180) % 360 - 180, frame.lon)
    with pytest.raises(UserError, match=r"-90 N, -180 E: change grid.lat"):
        Frame.around(Grid.regular(20.0, (-65.0, 75.0)), 20.0)


@pytest.fixture
def spoiled(tmp_path):
    """Stores that a test may alter."""
    return make_stores(make_config(tmp_path))


def test_what_is_missing_is_named(spoiled, tmp_path):
    layout, config = spoiled.layout, spoiled.config
    state = layout.state_store(2001)

    def refused(match):
        with pytest.raises(UserError, match=match) as error:
            writing.export_year(config, layout, 2001, tmp_path / "out")
        assert "\n" not in str(error.value)

    group = zarr.open_group(state, mode="r+")
    kept = group["uo"][40]
    group["uo"][40, 0, 3, 9] = np.nan
    refused(r"uo on 2001-02-10 holds no value \(NaN\) in 1 cells")
    group["uo"][40] = kept
    times = group["time"][:]
    group["time"][:] = times + 1
    refused(r"2001.zarr: holds 365 days from 2001-01-02 to 2002-01-01; .*widen periods")
    group["time"][:] = times
    shutil.rmtree(state / "vsi")
    refused(r"sea ice .* is absent.*set source.sea_ice to true")
    layout.climatology_manifest.unlink()
    refused(r"climatology.json: no manifest.*hybridom prepare climatology")
