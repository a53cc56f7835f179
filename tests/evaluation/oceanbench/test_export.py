"""Exported stores: on the official grids, accepted by the validator, read back as they were."""

from __future__ import annotations

import datetime as dt
import json
import os
import runpy
import subprocess

import numpy as np
import pytest
import xarray as xr
from scipy.interpolate import RegularGridInterpolator

from hybridom.cli import main
from hybridom.config import Config
from hybridom.errors import UserError
from hybridom.evaluation.oceanbench import conventions, regridding
from hybridom.evaluation.oceanbench.export import Exporter
from hybridom.evaluation.oceanbench.forecasts import open_forecasts
from hybridom.evaluation.oceanbench.validator import validate
from hybridom.grid import Grid, write_grid
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC, VARIABLES

START = dt.date(2024, 1, 2)
SCORED = tuple(conventions.DEPTHS.values())
DEPTHS = (0.494025, 20.0, *SCORED[1:])


def make_forecast(synthetic, folder, depths=DEPTHS, resolution=5.0, starts=1, days=10):
    """Configuration and layout of forecasts on disk, a continent and a shelf in them."""
    end = START + dt.timedelta(7 * (starts - 1))
    forecast = {"days": days, "first": START, "last": end, "every": 7}
    years = {"train": (2001, 2002), "validation": (2003, 2003), "test": (2024, 2024)}
    periods = {
        name: {"start": f"{first}-01-01", "end": f"{last}-12-31"}
        for name, (first, last) in years.items()
    }
    sections = {"forecast": forecast, "periods": periods}
    config = synthetic.make_config(folder, resolution=resolution, depths=depths, **sections)
    layout, grid = Layout(config), Grid.regular(resolution, depths=depths)
    wet = np.ones(grid.shape, bool)
    wet[:, np.abs(grid.lat) < 30, :8] = False
    wet[3:, :, 20:30] = False
    write_grid(layout.grid_file, grid, wet, wet.astype(float), {})
    world = synthetic.World(config, layout, grid, wet, {}, {}, {}, {}, START, {})
    for start in config.forecast.start_dates():
        world.forecasts[start] = make_fields(grid, wet, days + 1)
        synthetic.write_forecast(world, start)
    return world


def make_fields(grid, wet, leads):
    """Fields that are linear in depth and smooth on the sphere; they change with lead."""
    lat, lon = np.deg2rad(grid.lat)[:, None], np.deg2rad(grid.lon)
    wave = np.cos(lat) * np.cos(lon + lat)
    depth = grid.depth[:, None, None]
    lead = np.arange(leads)[:, None, None, None]
    fields = {
        "thetao": 15 + 5 * wave - depth / 100 + 0.1 * lead,
        "so": 35 + wave + depth / 1000 + 0.01 * lead,
        "uo": 0.5 * wave + 0 * depth + 0.01 * lead,
        "vo": 0.3 * wave + 0 * depth - 0.01 * lead,
        "zos": (0.4 * wave + 0.01 * lead)[:, 0],
    }
    return {
        name: np.where(wet if VARIABLES[name].has_depth else wet[0], x, np.nan)
        for name, x in fields.items()
    }


@pytest.fixture(scope="module")
def forecast(synthetic, tmp_path_factory):
    return make_forecast(synthetic, tmp_path_factory.mktemp("forecast"))


@pytest.fixture(scope="module")
def exported(forecast, tmp_path_factory):
    """A folder with one store of 1 degree and challenger.py."""
    folder = tmp_path_factory.mktemp("exported")
    exporter = Exporter(forecast.config, forecast.layout, 1.0, folder)
    assert exporter.write(START)
    exporter.write_challenger()
    return folder


def test_the_store_is_named_by_the_first_forecast_day_and_passes_the_validator(exported):
    assert sorted(path.name for path in exported.iterdir()) == ["20240103.zarr", "challenger.py"]
    found = validate(exported)
    assert found.errors == []
    assert [line.split(":")[1].strip() for line in found.warnings] == [
        "first_day_datetime",
        "missing values",
    ]


def test_the_store_has_the_official_form(exported):
    store = exported / "20240103.zarr"
    assert (store / ".zmetadata").exists()
    data = xr.open_zarr(store, chunks=None)
    grid = conventions.official_grid(1.0)
    np.testing.assert_array_equal(data["latitude"], grid.lat)
    np.testing.assert_array_equal(data["longitude"], grid.lon)
    np.testing.assert_array_equal(data["depth"], SCORED)
    days = np.datetime64("2024-01-03", "ns") + np.arange(10) * np.timedelta64(1, "D")
    np.testing.assert_array_equal(data["time"], days)
    assert data["forecast_reference_time"].values == np.datetime64("2024-01-02")
    for name in PROGNOSTIC:
        assert data[name].dtype == np.float32
        assert data[name].attrs["standard_name"] == VARIABLES[name].standard_name
        assert data[name].attrs["units"] == VARIABLES[name].units
        assert data[name].encoding["chunks"][-2:] == (170, 360)
        assert set(data[name].encoding["chunks"][:-2]) == {1}
    for axis in ("depth", "latitude", "longitude", "time"):
        assert data[axis].attrs["standard_name"] == axis


def test_lead_1_becomes_lead_day_index_0_interpolated_between_centres(forecast, exported):
    data = xr.open_zarr(exported / "20240103.zarr", chunks=None)
    fields, grid = forecast.forecasts[START], forecast.grid
    inner = slice(5, -5)  # rows between centres of the model
    for lead in (1, 10):
        values = fields["zos"][lead]
        # the seam of longitudes: a column more on each side
        wide = np.concatenate([values[:, -1:], values, values[:, :1]], axis=1)
        lon = np.concatenate([[grid.lon[0] - 5], grid.lon, [grid.lon[-1] + 5]])
        points = np.meshgrid(data["latitude"][inner], data["longitude"], indexing="ij")
        expected = RegularGridInterpolator((grid.lat, lon), wide)(tuple(points))
        found = data["zos"].isel(time=lead - 1, latitude=inner).values
        there = np.isfinite(expected)
        assert there.mean() > 0.8
        np.testing.assert_allclose(found[there], expected[there], atol=1e-6)


def test_land_is_missing_where_more_than_half_is_land(forecast, exported):
    data = xr.open_zarr(exported / "20240103.zarr", chunks=None)
    fields = data["thetao"].isel(time=0)
    # the continent reaches from 180 W to 140 W, between 30 S and 30 N
    row = fields.isel(depth=0).sel(latitude=0.5)
    assert not np.isfinite(row.sel(longitude=slice(-179, -141))).any()
    assert np.isfinite(row.sel(longitude=slice(-139, 179))).all()
    deep = fields.isel(depth=-1).sel(latitude=60.5)
    assert not np.isfinite(deep.sel(longitude=slice(-79, -31))).any()
    assert np.isfinite(fields.isel(depth=0).sel(latitude=60.5)).all()


def test_challenger_py_opens_the_stores_from_any_folder(forecast, exported, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = runpy.run_path(str(exported / "challenger.py"))["challenger_dataset"]
    assert data["thetao"].dims == (
        *("first_day_datetime", "lead_day_index", "depth", "latitude", "longitude"),
    )
    assert data["first_day_datetime"].values.astype("datetime64[D]") == [
        np.datetime64("2024-01-03")
    ]
    assert data["lead_day_index"].values.tolist() == list(range(10))
    assert {"time", "forecast_reference_time"}.isdisjoint(data.variables)
    stored = open_forecasts(exported)
    np.testing.assert_array_equal(
        data["uo"][0, 3, 2].values, stored.read("eastward_sea_water_velocity", 0, 3, [2])[0]
    )


READ = """
import runpy, sys
from oceanbench.core.derived_quantities import compute_geostrophic_currents
from oceanbench.core.dataset_utils import Variable
from oceanbench.core.ocean_mask import OCEAN_MASK_DEPTHS
from oceanbench.core.resolution import get_dataset_resolution
from oceanbench.core.rmsd import rmsd
import numpy, xarray
data = runpy.run_path(sys.argv[1])["challenger_dataset"]
axes = {"depth": OCEAN_MASK_DEPTHS, "latitude": data.latitude, "longitude": data.longitude}
shape = tuple(len(values) for values in axes.values())
mask = xarray.DataArray(numpy.ones(shape, bool), axes, tuple(axes))
table = rmsd(data, data, [Variable.SEA_WATER_SALINITY], mask)
currents = compute_geostrophic_currents(data)
print(get_dataset_resolution(data), table.shape, float(numpy.abs(table.values).max()))
"""


@pytest.mark.skipif(
    "HYBRIDOM_OCEANBENCH_PYTHON" not in os.environ,
    reason="HYBRIDOM_OCEANBENCH_PYTHON names no Python with oceanbench 0.6.1",
)
def test_the_package_itself_reads_the_exported_store(exported):
    command = [os.environ["HYBRIDOM_OCEANBENCH_PYTHON"], "-c", READ, exported / "challenger.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["one_degree", "(6,", "11)", "0.0"]


def test_the_same_call_writes_nothing_and_another_one_writes_again(forecast, tmp_path, monkeypatch):
    monkeypatch.setattr("hybridom.evaluation.oceanbench.export.LEADS", 2)
    arguments = forecast.config, forecast.layout, 1.0, tmp_path
    assert Exporter(*arguments).write(START)
    (tmp_path / "20240103.zarr.partial").mkdir()  # of a call that was stopped
    assert not Exporter(*arguments).write(START)
    assert Exporter(*arguments, coast=1).write(START)
    assert [path.name for path in tmp_path.iterdir()] == ["20240103.zarr"]


def test_values_are_continued_at_the_coast_where_the_mask_says_so(forecast, tmp_path, monkeypatch):
    monkeypatch.setattr("hybridom.evaluation.oceanbench.export.LEADS", 1)
    official = conventions.official_grid(1.0)
    coords = {"depth": [*SCORED, 643.6], "latitude": official.lat, "longitude": official.lon}
    ocean = np.ones((7, 170, 360), bool)
    ocean[:, :20] = False
    mask = xr.DataArray(ocean, coords=coords, dims=tuple(coords), name="ocean_mask")
    arguments = forecast.config, forecast.layout, 1.0
    missing = []
    for coast in (0, 2):
        Exporter(*arguments, tmp_path / str(coast), mask, coast=coast).write(START)
        data = xr.open_zarr(tmp_path / str(coast) / "20240103.zarr", chunks=None)
        field = data["so"].values[0]
        assert np.isnan(field[:, :20]).all()
        missing.append(np.isnan(field[:, 20:]).sum())
    assert missing[1] < missing[0]
    assert data.attrs["regridding"].endswith("by 2 cells at the coast; ocean: OceanBench's mask")


def test_a_finer_model_is_averaged_over_areas():
    grid = Grid.regular(0.5, depths=(0.5,))
    wet = np.ones(grid.shape, bool)
    wet[0, 100:102, 200] = False
    onto = regridding.Onto(grid, wet, conventions.official_grid(1.0), None, 0)
    assert onto.method.startswith("mean over the area at sea")
    rng = np.random.default_rng(2)
    field = np.where(wet, rng.normal(size=grid.shape), np.nan)
    found = onto(field)[0]
    # rows of 1 degree begin at 80 S, row 20 of the model
    rows, columns = slice(100, 102), slice(200, 202)
    area = np.where(wet[0], grid.area, 0.0)[rows, columns]
    expected = np.nansum(area * field[0, rows, columns]) / area.sum()
    np.testing.assert_allclose(found[40, 100], expected, rtol=1e-10)
    assert np.isfinite(found).all()


def test_a_grid_without_the_scoring_depths_is_refused_or_interpolated(synthetic, tmp_path):
    world = make_forecast(synthetic, tmp_path, depths=(5.0, 40.0, 100.0, 250.0, 600.0), days=10)
    arguments = world.config, world.layout, 1.0, tmp_path / "out"
    with pytest.raises(UserError, match=r"no level at 0\.494025, 47\.3737, 92\.3261.*541\.089 m"):
        Exporter(*arguments)
    Exporter(*arguments, interpolate_depth=True).write(START)
    data = xr.open_zarr(tmp_path / "out" / "20240103.zarr", chunks=None)
    assert "linear between levels at 0.494025, 47.3737" in data.attrs["vertical"]
    # salinity grows by 1 in 1000 m
    column = data["so"].isel(time=0).sel(latitude=40.5, longitude=100.5).values
    expected = (np.array(SCORED[1:]) - 5.0) / 1000.0
    np.testing.assert_allclose(column[1:] - column[0], expected, atol=1e-5)


def test_levels_rest_on_wet_levels_only():
    depth = np.array([1.0, 10.0, 100.0])
    levels = regridding.Levels(depth, (1.0, 55.0), interpolate=True)
    field = np.array([1.0, 2.0, 4.0]).reshape(3, 1, 1)
    np.testing.assert_allclose(levels(field).ravel(), [1.0, 3.0])
    wet = np.array([True, True, False]).reshape(3, 1, 1)
    assert levels.wet(wet).ravel().tolist() == [True, False]
    with pytest.raises(UserError, match=r"ends at 100 m; OceanBench scores 541 m"):
        regridding.Levels(depth, (541.0,), interpolate=True)


def test_forecasts_that_do_not_fit_are_refused(synthetic, forecast, tmp_path):
    short = make_forecast(synthetic, tmp_path / "short", days=5)
    with pytest.raises(UserError, match=r"forecast\.days is 5; OceanBench scores 10 days"):
        Exporter(short.config, short.layout, 1.0, tmp_path)
    with pytest.raises(UserError, match="--coast -1"):
        Exporter(forecast.config, forecast.layout, 1.0, tmp_path, coast=-1)
    part = Grid.regular(1.0, lat=(0.0, 60.0), depths=(0.5,))
    with pytest.raises(UserError, match=r"spans 0 to 60 N.*export forecasts of a global grid"):
        regridding.Onto(
            part, np.ones(part.shape, bool), conventions.official_grid(1.0), None, coast=0
        )


def test_the_command_exports_all_starts_and_scores_them(synthetic, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("hybridom.evaluation.oceanbench.export.LEADS", 2)
    world = make_forecast(synthetic, tmp_path, starts=2)
    assert isinstance(world.config, Config)
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(world.config.model_dump(mode="json")), encoding="utf-8")
    out = tmp_path / "oceanbench"
    command = ["--config", str(config), "--resolution", "1", "--output", str(out)]
    assert main(["oceanbench", "export", *command]) == 0
    names = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    assert names == {"20240103.zarr", "20240110.zarr", "challenger.py"}
    table = tmp_path / "scores.parquet"
    score = ["--config", str(config), "--no-mask", "--reference", str(out), "--output", str(table)]
    metrics = ["--metrics", "rmsd_of_variables"]
    assert main(["oceanbench", "score", str(out), *score, *metrics]) == 0
    assert capsys.readouterr().out.split() == [str(table), str(table.with_suffix(".csv"))]
    assert main(["oceanbench", "score", str(out), *score, "--metrics", "rmse"]) == 2
    assert "metric 'rmse': expected some of rmsd_of_variables" in capsys.readouterr().err
