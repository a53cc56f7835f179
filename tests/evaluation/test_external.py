"""Forecasts of other systems: layouts, axes, refusals, masks, baselines and their tables."""

from __future__ import annotations

import datetime as dt
import json
import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hybridom import cli
from hybridom.config import narrow
from hybridom.config.output import EvaluationConfig
from hybridom.errors import UserError
from hybridom.evaluation.case import open_case
from hybridom.evaluation.external.cases import baselines, make_case
from hybridom.evaluation.external.interpolation import Interpolation, bracket
from hybridom.evaluation.external.opening import Files, open_files
from hybridom.evaluation.external.run import Wanted, evaluate_files
from hybridom.evaluation.scores import score_case
from hybridom.grid import Grid
from hybridom.variables import PROGNOSTIC, VARIABLES, cf_attributes

GRID = Grid.regular(30.0, depths=(0.5, 40.0, 90.0))
START = dt.date(2024, 1, 2)
DAYS = 3
PLAIN = EvaluationConfig(families=(), regions={"tropics": (-40, 40, -180, 180)})


def wet_cells() -> np.ndarray:
    wet = np.random.default_rng(5).random(GRID.shape) > np.array([0.2, 0.3, 0.4])[:, None, None]
    return np.logical_and.accumulate(wet, axis=0)


WET = wet_cells()


def fields(days: int, seed: int = 0, names: tuple[str, ...] = PROGNOSTIC) -> dict[str, np.ndarray]:
    """Noise (days, [nz,] ny, nx), float32, NaN on land."""
    rng = np.random.default_rng(seed)
    made = {}
    for name in PROGNOSTIC:
        wet = WET if VARIABLES[name].has_depth else WET[0]
        values = rng.normal(1.0, 2.0, (days, *wet.shape))
        made[name] = np.where(wet, values, np.nan).astype(np.float32)
    return {name: made[name] for name in names}


def days_from(first: dt.date, count: int, hour: int = 0) -> np.ndarray:
    begin = np.datetime64(first, "ns") + np.timedelta64(hour, "h")
    return begin + np.arange(count) * np.timedelta64(1, "D")


def plain(values: dict[str, np.ndarray], times: np.ndarray, grid: Grid = GRID) -> xr.Dataset:
    """Fields along time, with CF attributes."""
    variables = {
        name: (
            ("time", "depth", "latitude", "longitude")
            if VARIABLES[name].has_depth
            else ("time", "latitude", "longitude"),
            x,
            cf_attributes(name),
        )
        for name, x in values.items()
    }
    coords = {"time": times, "depth": grid.depth, "latitude": grid.lat, "longitude": grid.lon}
    return xr.Dataset(variables, coords=coords)


def write(data: xr.Dataset, path: Path) -> Path:
    if path.suffix == ".zarr":
        data.to_zarr(path, zarr_format=2, consolidated=True, mode="w")
    else:
        data.to_netcdf(path)
    return path


@pytest.fixture(scope="module")
def truth() -> dict[str, np.ndarray]:
    """The start date and the days after it."""
    return fields(DAYS + 3)


@pytest.fixture(scope="module")
def forecast() -> dict[str, np.ndarray]:
    """Leads 1 to DAYS."""
    return fields(DAYS, seed=1)


@pytest.fixture(scope="module")
def truth_file(tmp_path_factory, truth) -> Path:
    folder = tmp_path_factory.mktemp("truth")
    return write(plain(truth, days_from(START, DAYS + 3)), folder / "truth.nc")


def opened(forecast: Path, truth_file: Path, **options):
    return open_files(Files((forecast,), (truth_file,), **options))


def model_field(files, name: str, lead: int) -> np.ndarray:
    found = files.model(files.starts[0]).field(name, lead, None)
    wet = WET if VARIABLES[name].has_depth else WET[:1]
    return np.where(wet, found, np.nan)


def glonet_like(values: dict[str, np.ndarray], first: dt.date = START) -> xr.Dataset:
    """Five dimensions: start, lead, depth, latitude, longitude."""
    data = plain(values, days_from(first, DAYS)).rename(time="lead_day_index")
    data = data.assign_coords(lead_day_index=np.arange(DAYS))
    data = data.expand_dims(first_day_datetime=[np.datetime64(first + dt.timedelta(1), "ns")])
    return data.transpose("first_day_datetime", "lead_day_index", ...).copy(deep=True)


def layouts(values: dict[str, np.ndarray]) -> dict[str, xr.Dataset]:
    """The same forecast as different systems write it."""
    data = plain(values, days_from(START, DAYS))
    start = np.datetime64(START, "ns")
    leads = np.arange(1, DAYS + 1)
    by_lead = data.rename(time="lead").assign_coords(
        lead=("lead", leads, {"units": "days", "standard_name": "forecast_period"})
    )
    hours = data.rename(time="step").assign_coords(step=("step", 24 * leads, {"units": "hours"}))
    deltas = leads * np.timedelta64(24, "h")
    weather = data.rename(time="prediction_timedelta").assign_coords(
        prediction_timedelta=deltas.astype("timedelta64[ns]")
    )
    noon = days_from(START + dt.timedelta(1), DAYS, hour=12)
    own = by_lead.assign_coords(
        start_date=start, time=("lead", days_from(START + dt.timedelta(1), DAYS))
    )
    by_time = data.assign_coords(time=noon)
    return {
        "five dimensions": glonet_like(values),
        "our own": own,
        "time alone": by_time,
        "time and a start": by_time.assign_coords(forecast_reference_time=start),
        "time and an attribute": by_time.assign_attrs(forecast_reference_time=str(START)),
        "a start axis of one": by_time.expand_dims(forecast_reference_time=[start]),
        "start and lead": by_lead.expand_dims(init_time=[start]),
        "start and hours": hours.expand_dims(forecast_reference_time=[start]),
        "time as start": weather.expand_dims(time=[start]),
    }


LAYOUTS = list(layouts(fields(DAYS)))


@pytest.mark.parametrize(
    ("layout", "kind"),
    [*((name, "nc") for name in LAYOUTS), ("five dimensions", "zarr"), ("time as start", "zarr")],
)
def test_every_layout_gives_the_same_fields(layout, kind, tmp_path, truth_file, forecast):
    path = write(layouts(forecast)[layout], tmp_path / f"forecast.{kind}")
    files = opened(path, truth_file)
    assert files.starts == (START,) and files.days == DAYS
    assert files.names == PROGNOSTIC
    np.testing.assert_array_equal(files.wet, WET)
    for name in PROGNOSTIC:
        for lead in range(1, DAYS + 1):
            expected = forecast[name][lead - 1].reshape(-1, GRID.ny, GRID.nx)
            np.testing.assert_array_equal(model_field(files, name, lead), expected)


def test_zarr_3_without_consolidated_metadata_is_read(tmp_path, truth_file, forecast):
    path = tmp_path / "forecast.zarr"
    glonet_like(forecast).to_zarr(path, zarr_format=3, consolidated=False)
    files = opened(path, truth_file)
    np.testing.assert_array_equal(model_field(files, "so", 2), forecast["so"][1])


def test_one_store_of_several_starts_and_one_file_a_start_are_the_same(
    tmp_path, truth_file, forecast
):
    second = {name: x[:DAYS] + 1 for name, x in forecast.items()}
    later = START + dt.timedelta(2)
    parts = glonet_like(forecast), glonet_like(second, later)
    joined = write(xr.concat(parts, "first_day_datetime"), tmp_path / "all.zarr")
    single = [write(part, tmp_path / f"{n}.nc") for n, part in enumerate(parts)]
    one = open_files(Files((joined,), (truth_file,)))
    several = open_files(Files(tuple(single), (truth_file,)))
    for files in (one, several):
        assert files.starts == (START, later)
        found = files.model(later).field("thetao", DAYS, None)
        expected = np.where(WET, second["thetao"][DAYS - 1], 0.0)
        np.testing.assert_array_equal(found, expected)


def test_one_file_a_variable_and_a_day_is_the_same(tmp_path, truth_file, forecast):
    data = layouts(forecast)["time and a start"]
    paths = [
        write(data[[name]].isel(time=[day]), tmp_path / f"{name}_{day}.nc")
        for name in PROGNOSTIC
        for day in range(DAYS)
    ]
    files = open_files(Files(tuple(paths), (truth_file,)))
    np.testing.assert_array_equal(model_field(files, "vo", 3), forecast["vo"][2])


def test_xihe_like_axes_are_reordered_and_never_moved(tmp_path, truth_file, forecast):
    data = layouts(forecast)["time alone"]
    data = data.assign_coords(longitude=data["longitude"] % 360).sortby("longitude")
    data = data.isel(latitude=slice(None, None, -1))
    data = data.rename(latitude="lat", longitude="lon", depth="lev", thetao="votemper", zos="ssh")
    data["votemper"].attrs.pop("standard_name")
    data["votemper"].attrs["units"] = "degC"
    data["ssh"].attrs.pop("standard_name")
    files = opened(write(data, tmp_path / "xihe.nc"), truth_file)
    assert files.grid.periodic
    np.testing.assert_allclose(files.grid.lat_bounds, GRID.lat_bounds, atol=1e-9)
    np.testing.assert_allclose(files.grid.lon_bounds, GRID.lon_bounds, atol=1e-9)
    np.testing.assert_allclose(files.grid.depth_bounds, GRID.depth_bounds, atol=1e-9)
    for name in PROGNOSTIC:
        np.testing.assert_array_equal(
            model_field(files, name, 1), forecast[name][0].reshape(-1, GRID.ny, GRID.nx)
        )


def test_coordinates_may_have_other_names_than_their_dimensions(tmp_path, truth_file, forecast):
    data = layouts(forecast)["time alone"].rename(latitude="y", longitude="x", depth="z")
    data = data.rename(y="nav_lat", x="nav_lon", z="deptht")
    data = data.swap_dims(nav_lat="y", nav_lon="x", deptht="z").reset_coords(
        ["nav_lat", "nav_lon", "deptht"]
    )
    files = opened(write(data, tmp_path / "nemo.nc"), truth_file)
    np.testing.assert_array_equal(model_field(files, "uo", 2), forecast["uo"][1])


def test_a_row_at_the_pole_is_left_out(tmp_path, caplog):
    data = xr.Dataset(
        {"zos": (("time", "lat", "lon"), np.ones((2, 3, GRID.nx), np.float32))},
        coords={"time": days_from(START, 2), "lat": [30.0, 60.0, 90.0], "lon": GRID.lon},
    )
    data["zos"].attrs = cf_attributes("zos")
    path = write(data, tmp_path / "polar.nc")
    files = open_files(Files((path,), (path,)))
    assert "point" in caplog.text
    np.testing.assert_allclose(files.grid.lat, [30.0, 60.0])
    np.testing.assert_allclose(files.grid.lat_bounds, [15.0, 45.0, 75.0])


def test_bounds_of_the_file_are_taken(tmp_path):
    edges = np.array([[-30.0, -5.0], [-5.0, 20.0]])
    data = xr.Dataset(
        {
            "zos": (("time", "lat", "lon"), np.ones((2, 2, 3), np.float32), cf_attributes("zos")),
            "lat_bnds": (("lat", "bnds"), edges),
        },
        coords={
            "time": days_from(START, 2),
            "lat": ("lat", [-20.0, 10.0], {"bounds": "lat_bnds"}),
            "lon": [170.0, 180.0, -170.0],
        },
    )
    path = write(data, tmp_path / "regional.nc")
    grid = open_files(Files((path,), (path,))).grid
    np.testing.assert_allclose(grid.lat_bounds, [-30.0, -5.0, 20.0])
    np.testing.assert_allclose(grid.lon, [170.0, 180.0, 190.0])
    assert not grid.periodic


def zos_on(path: Path, lat: np.ndarray, lon: np.ndarray, **edges: np.ndarray) -> Path:
    data = xr.Dataset(
        {"zos": (("time", "lat", "lon"), np.ones((2, len(lat), len(lon)), np.float32))},
        coords={"time": days_from(START, 2), "lat": lat, "lon": lon},
    )
    data["zos"].attrs = cf_attributes("zos")
    for key, values in edges.items():
        name = key.removesuffix("_edges")
        data[f"{name}_bounds"] = ((name, "bound"), values)
    return write(data, path)


def grid_of(path: Path) -> Grid:
    return open_files(Files((path,), (path,))).grid


def test_bounds_across_the_date_line_are_those_of_their_cells(tmp_path):
    lon = np.array([0.0, 90.0, 180.0, 270.0])
    edges = np.stack([(lon - 45.0 + 180) % 360 - 180, (lon + 45.0 + 180) % 360 - 180], axis=1)
    grid = grid_of(zos_on(tmp_path / "a.nc", np.array([-10.0, 10.0]), lon, lon_edges=edges))
    np.testing.assert_allclose(grid.lon, [-180.0, -90.0, 0.0, 90.0])
    np.testing.assert_allclose(grid.lon_bounds, [-225.0, -135.0, -45.0, 45.0, 135.0])
    assert grid.periodic


def test_bounds_that_are_none_are_refused(tmp_path):
    lat, lon = np.array([-10.0, 10.0]), np.arange(0.0, 360.0, 90.0)
    gaps = np.array([[-20.0, -1.0], [0.0, 20.0]])
    with pytest.raises(UserError, match="lat_bounds are no edges of adjoining cells around lat"):
        grid_of(zos_on(tmp_path / "gaps.nc", lat, lon, lat_edges=gaps))
    with pytest.raises(UserError, match=r"one.nc: lat has one value and no bounds"):
        grid_of(zos_on(tmp_path / "one.nc", lat[:1], lon))


def test_single_precision_does_not_make_cells_uneven(tmp_path):
    lat = np.arange(-80, 80, 1 / 12).astype(np.float32)
    lon = np.arange(100, 110, 1 / 12).astype(np.float32)
    grid = grid_of(zos_on(tmp_path / "a.nc", lat, lon))
    np.testing.assert_allclose(np.diff(grid.lat_bounds), 1 / 12, rtol=1e-6)
    uneven = np.array([-30.0, -10.0, 0.0, 20.0])
    grid = grid_of(zos_on(tmp_path / "b.nc", uneven, lon))
    np.testing.assert_allclose(grid.lat_bounds, [-40.0, -20.0, -5.0, 10.0, 30.0])


def test_a_forecast_equal_to_the_truth_has_no_error(tmp_path, truth, truth_file):
    exact = glonet_like({name: x[1 : DAYS + 1] for name, x in truth.items()})
    path = write(exact, tmp_path / "exact.zarr")
    folder = tmp_path / "scores"
    evaluate_files(Files((path,), (truth_file,)), Wanted("exact", folder, PLAIN))
    table = pd.read_parquet(folder / "scores.parquet")
    model = table[table["system"] == "model"]
    for metric in ("rmse_mean", "rmse_pooled", "mae", "bias"):
        assert (model.loc[model["metric"] == metric, "value"] == 0).all()
    skill = model[model["metric"] == "skill_persistence"]
    assert len(skill) and (skill["value"] == 1).all()
    assert set(table["system"]) == {"model", "persistence"}
    assert json.loads((folder / "sources.json").read_text())["mask"] == "truth"
    assert (folder / "summary.html").is_file() and (folder / "skill.csv").is_file()


def test_scores_are_those_of_a_loop_over_cells(tmp_path, truth, truth_file, forecast):
    path = write(glonet_like(forecast), tmp_path / "glonet.zarr")
    folder = tmp_path / "scores"
    evaluate_files(Files((path,), (truth_file,)), Wanted("glonet", folder, PLAIN))
    table = pd.read_parquet(folder / "scores.parquet")
    assert table.attrs["initial_state"] == "truth"
    for system, field in (
        ("model", lambda name, lead: forecast[name][lead - 1]),
        ("persistence", lambda name, lead: truth[name][0]),
    ):
        for name, lead, level in (("thetao", 1, 2), ("uo", 3, 0), ("zos", 2, None)):
            total = weight = 0.0
            f, t = field(name, lead), truth[name][lead]
            f, t = (f, t) if level is None else (f[level], t[level])
            for j in range(GRID.ny):
                for i in range(GRID.nx):
                    if WET[level or 0, j, i]:
                        total += GRID.area[j, 0] * (float(f[j, i]) - float(t[j, i])) ** 2
                        weight += GRID.area[j, 0]
            depth = np.nan if level is None else GRID.depth[level]
            row = table[
                (table["system"] == system)
                & (table["lead"] == lead)
                & (table["variable"] == name)
                & (table["region"] == "global")
                & (table["metric"] == "rmse_mean")
                & (table["depth"].isna() if level is None else np.isclose(table["depth"], depth))
            ]
            assert row["value"].item() == pytest.approx(np.sqrt(total / weight), rel=1e-6)


EVERY = ("extremes", "heatwaves", "derived", "budgets", "spectra", "drift")


def test_our_own_stores_get_the_scores_that_the_workflow_gives_them(shared_world, tmp_path):
    world, layout = shared_world, shared_world.layout
    starts = world.config.forecast.start_dates()
    config = narrow(world.config, "evaluate")
    drift = config.evaluation.drift.model_copy(update={"particles": 50})
    settings = config.evaluation.model_copy(update={"families": EVERY, "drift": drift})
    files = Files(
        tuple(layout.forecast_store(start) for start in starts),
        (layout.state_store(2004),),
        layout.climatology_store,
        layout.damping,
    )
    folder = tmp_path / "scores"
    given = {"thresholds": layout.percentiles_store, "statistics": layout.statistics_file}
    evaluate_files(files, Wanted("toy", folder, settings, **given))
    for family in ("scores", *EVERY):
        assert (folder / f"{family}.csv").is_file()
    for start in starts:
        with_families = SimpleNamespace(
            evaluation=settings, forecast=config.forecast, extremes=config.extremes
        )
        expected = score_case(open_case(with_families, layout, start), settings)
        for family, table in expected.items():
            found = pd.read_parquet(folder / family / f"{start}.parquet")
            keys = [name for name in table if name != "value"]
            pd.testing.assert_frame_equal(
                found[keys], table[keys], check_categorical=False, check_dtype=False
            )
            # No stretch of a row is long enough for spectra on this grid.
            assert len(table) > 100 or family == "spectra"
            np.testing.assert_allclose(found["value"], table["value"], rtol=1e-5, atol=1e-6)


def test_families_do_without_lead_0_and_climatology_where_they_can(tmp_path, truth_file, forecast):
    path = write(glonet_like(forecast), tmp_path / "glonet.zarr")
    drift = PLAIN.drift.model_copy(update={"particles": 50})
    families = ("derived", "budgets", "spectra", "drift")
    settings = PLAIN.model_copy(update={"families": families, "drift": drift})
    folder = tmp_path / "scores"
    evaluate_files(Files((path,), (truth_file,)), Wanted("glonet", folder, settings))
    for family in ("derived", "budgets", "drift"):
        table = pd.read_parquet(folder / f"{family}.parquet")
        assert set(table["system"]) >= {"model", "persistence"}, family


def test_variables_of_both_are_scored_and_the_others_named(tmp_path, truth_file, forecast, caplog):
    data = glonet_like(forecast)[["thetao", "zos"]]
    with caplog.at_level(logging.WARNING):
        files = opened(write(data, tmp_path / "two.zarr"), truth_file)
    assert files.names == ("thetao", "zos")
    assert "so is not scored: the forecast has none" in caplog.text


def refused(forecast: Path, truth_file: Path, **options) -> str:
    with pytest.raises(UserError) as error:
        opened(forecast, truth_file, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def kelvin(data: xr.Dataset) -> xr.Dataset:
    data["thetao"].attrs["units"] = "K"
    return data


def without_units(data: xr.Dataset) -> xr.Dataset:
    del data["so"].attrs["units"]
    return data


def two_dimensional(data: xr.Dataset) -> xr.Dataset:
    data = data.rename(latitude="y", longitude="x").drop_vars(["y", "x"])
    lat, lon = np.meshgrid(GRID.lat, GRID.lon, indexing="ij")
    return data.assign_coords(nav_lat=(("y", "x"), lat), nav_lon=(("y", "x"), lon))


def ambiguous(data: xr.Dataset) -> xr.Dataset:
    first = data["zos"].rename("a")
    return data.drop_vars("zos").assign(a=first, b=first)


REFUSALS = {
    "Kelvin": (kelvin, "thetao is in units 'K'; expected 'degrees_C', .*subtract 273.15"),
    "no units": (without_units, "so has no units; expected the attribute units = '1e-3'"),
    "2-D axes": (two_dimensional, "nav_lat of thetao has two dimensions"),
    "two of a kind": (ambiguous, "a and b are both sea surface height"),
    "shifted": (
        lambda data: data.assign_coords(latitude=data["latitude"] + 1e-3),
        r"truth.nc: thetao: latitude\[.\] is .*, expected .* as in the forecast",
    ),
    "fewer rows": (lambda data: data.isel(latitude=slice(1, None)), "latitude has 6 values"),
    "other levels": (
        lambda data: data.assign_coords(depth=[0.5, 40.0, 91.0]),
        r"depth\[2\] is 90, expected 91",
    ),
    "fewer levels": (lambda data: data.isel(depth=slice(2)), "depth has 3 values, expected 2"),
    "upwards": (
        lambda data: data.assign_coords(depth=-GRID.depth),
        "depth is not positive and ascending",
    ),
    "a missing lead": (
        lambda data: data.isel(lead_day_index=[0, 2]),
        "forecast from 2024-01-02: thetao has no lead 2",
    ),
    "beyond the truth": (
        lambda data: data.assign_coords(
            first_day_datetime=data["first_day_datetime"] + np.timedelta64(9, "D")
        ),
        "truth.nc: no truth of thetao on 2024-01-12 .days run from 2024-01-02 to 2024-01-07.",
    ),
    "a member axis": (
        lambda data: data.expand_dims(member=2),
        "thetao has 2 members .member.; expected one field as the forecast, .*--members",
    ),
    "an unknown axis": (
        lambda data: data.expand_dims(colour=2),
        "thetao has the axis colour of 2, which is unknown here",
    ),
    "nothing of ours": (
        lambda data: data[["zos"]].rename(zos="height").drop_attrs(),
        "no variable of a forecast found among height",
    ),
    "no depth": (
        lambda data: data.isel(depth=0, drop=True),
        "thetao has no depth axis with values .*expected one named depth or lev",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_does_not_fit_is_refused(case, tmp_path, truth_file, forecast):
    change, message = REFUSALS[case]
    path = write(change(glonet_like(forecast)), tmp_path / "bad.nc")
    with pytest.raises(UserError, match=message) as error:
        opened(path, truth_file)
    assert "\n" not in str(error.value)


def test_files_that_are_none_are_refused(tmp_path, truth_file):
    assert "none.nc: no such file or store" in refused(tmp_path / "none.nc", truth_file)
    broken = tmp_path / "broken.nc"
    broken.write_text("no file of NetCDF")
    assert "broken.nc: cannot be opened" in refused(broken, truth_file)


def test_times_that_contradict_one_another_are_refused(tmp_path, truth_file, forecast):
    data = layouts(forecast)["our own"]
    moved = data.assign_coords(time=data["time"] + np.timedelta64(1, "D"))
    message = refused(write(moved, tmp_path / "moved.nc"), truth_file)
    assert "time says 2024-01-04 where start and lead make 2024-01-03" in message
    unknown = layouts(forecast)["start and lead"].isel(init_time=0, drop=True)
    message = refused(write(unknown, tmp_path / "unknown.nc"), truth_file)
    assert "leads without a start date" in message
    unitless = layouts(forecast)["start and lead"]
    unitless["lead"].attrs.pop("units")
    message = refused(write(unitless, tmp_path / "unitless.nc"), truth_file)
    assert "lead is in units None; expected days or hours" in message


def test_a_day_that_comes_twice_is_refused(tmp_path, truth, truth_file, forecast):
    path = write(glonet_like(forecast), tmp_path / "glonet.nc")
    with pytest.raises(UserError, match="lead 1 from 2024-01-02 appears a second time"):
        open_files(Files((path, path), (truth_file,)))
    with pytest.raises(UserError, match="thetao of 2024-01-02 appears a second time"):
        open_files(Files((path,), (truth_file, truth_file)))


def test_nothing_in_common_is_refused(tmp_path, truth, forecast):
    path = write(glonet_like(forecast)[["thetao"]], tmp_path / "t.nc")
    other = write(plain(truth, days_from(START, DAYS + 3))[["zos"]], tmp_path / "zos.nc")
    assert "nothing in common" in refused(path, other)


def test_missing_cells_are_refused_with_their_share_unless_the_mask_is_common(
    tmp_path, truth_file, forecast
):
    level, row, column = np.argwhere(WET)[20]
    data = glonet_like(forecast)
    data["thetao"][0, :, level, row, column] = np.nan
    path = write(data, tmp_path / "holes.nc")
    files = opened(path, truth_file)
    share = 100 * GRID.area[row, column] / (WET * GRID.area).sum()
    with pytest.raises(UserError, match=r"no value in 1 wet cells \((.*) % of") as error:
        files.model(START).field("thetao", 1, None)
    assert f"({share:.3g} % of the wet area)" in str(error.value)
    assert "--mask common" in str(error.value)

    common = opened(path, truth_file, mask="common")
    expected = WET.copy()
    expected[level:, row, column] = False
    np.testing.assert_array_equal(common.wet, expected)
    area = (WET[level] * GRID.area).sum()
    assert common.missing["thetao"][level] == pytest.approx(GRID.area[row, column] / area)
    assert common.missing["so"].max() == 0
    common.model(START).field("thetao", DAYS, None)


def test_a_cell_that_is_lost_during_a_forecast_is_refused_with_either_mask(
    tmp_path, truth_file, forecast
):
    data = glonet_like(forecast)
    row, column = np.argwhere(WET[0])[3]
    data["zos"][0, 1, row, column] = np.inf
    files = opened(write(data, tmp_path / "lost.nc"), truth_file, mask="common")
    files.model(START).field("zos", 1, None)
    with pytest.raises(UserError, match="lead 2 from 2024-01-02: zos has no value in 1 wet cells"):
        files.model(START).field("zos", 2, None)


def test_truth_that_loses_cells_is_refused(tmp_path, truth, forecast):
    damaged = {name: x.copy() for name, x in truth.items()}
    damaged["so"][2] = np.nan
    path = write(plain(damaged, days_from(START, DAYS + 3)), tmp_path / "truth.nc")
    files = opened(write(glonet_like(forecast), tmp_path / "f.nc"), path)
    with pytest.raises(UserError, match=r"truth.nc, 2024-01-04: so has no value in \d+ wet cells"):
        files.truth.field("so", dt.date(2024, 1, 4))


def test_leads_that_differ_are_scored_to_the_shortest(tmp_path, truth_file, forecast, caplog):
    later = START + dt.timedelta(2)
    first = write(glonet_like(forecast), tmp_path / "a.nc")
    short = glonet_like(forecast, later).isel(lead_day_index=[0, 1])
    files = open_files(Files((first, write(short, tmp_path / "b.nc")), (truth_file,)))
    assert files.days == 2 and "scored to 2" in caplog.text


class TestBaselines:
    def test_the_initial_state_is_lead_0_of_the_forecast_where_it_has_one(
        self, tmp_path, truth, truth_file
    ):
        values = fields(DAYS + 1, seed=4)
        data = plain(values, days_from(START, DAYS + 1)).assign_coords(
            forecast_reference_time=np.datetime64(START, "ns")
        )
        files = opened(write(data, tmp_path / "own.nc"), truth_file)
        assert files.has_lead_0() and files.days == DAYS
        settings = PLAIN.model_copy(update={"baselines": baselines(files, None)})
        case = make_case(files, START, settings)
        found = case.systems["persistence"].field("so", 2, None)
        np.testing.assert_array_equal(np.where(WET, found, np.nan), values["so"][0])
        np.testing.assert_array_equal(case.day(0).forecast("model", "so"), found)

    def test_it_is_the_truth_of_the_start_where_the_forecast_has_none(
        self, tmp_path, truth, truth_file, forecast, caplog
    ):
        files = opened(write(glonet_like(forecast), tmp_path / "f.nc"), truth_file)
        with caplog.at_level(logging.INFO):
            chosen = baselines(files, None)
        assert chosen == ("persistence",)
        assert "initial state of the baselines: the truth on the start date" in caplog.text
        assert "baseline climatology is not scored: no --climatology" in caplog.text
        case = make_case(files, START, PLAIN.model_copy(update={"baselines": chosen}))
        found = case.systems["persistence"].field("uo", 3, None)
        np.testing.assert_array_equal(np.where(WET, found, np.nan), truth["uo"][0])
        with pytest.raises(UserError, match=r"thetao has no lead 0.*the state at the start"):
            case.day(0).forecast("model", "thetao")

    def test_what_is_asked_for_and_impossible_is_refused(self, tmp_path, truth, forecast):
        later = {name: x[1:] for name, x in truth.items()}
        path = write(plain(later, days_from(START + dt.timedelta(1), DAYS + 2)), tmp_path / "t.nc")
        files = opened(write(glonet_like(forecast), tmp_path / "f.nc"), path)
        with pytest.raises(UserError, match="--baselines persistence: no initial state"):
            baselines(files, ["persistence"])
        with pytest.raises(UserError, match="--baselines climatology: no --climatology"):
            baselines(files, ["climatology"])
        with pytest.raises(UserError, match=r"damped_persistence: no initial state.*no --damping"):
            baselines(files, ["damped_persistence"])
        lost = replace(files, files=replace(files.files, damping=tmp_path / "none.nc"))
        with pytest.raises(UserError, match=r"none.nc: no such file; .*--damping"):
            baselines(lost, None)
        assert baselines(files, None) == ()
        folder = tmp_path / "scores"
        evaluate_files(files.files, Wanted("none", folder, PLAIN))
        assert set(pd.read_parquet(folder / "scores.parquet")["system"]) == {"model"}
        assert not (folder / "summary.html").exists()

    def test_a_climatology_without_365_days_is_refused(self, tmp_path, truth_file, forecast):
        path = write(glonet_like(forecast), tmp_path / "f.nc")
        with pytest.raises(UserError, match=r"truth.nc: not a daily climatology"):
            opened(path, truth_file, climatology=truth_file)
        lacking = write(xr.open_dataset(truth_file)[["zos"]], tmp_path / "zos.nc")
        with pytest.raises(UserError, match=r"zos.nc: no climatology of thetao"):
            opened(path, truth_file, climatology=lacking)


class TestInterpolation:
    FINE = Grid.regular(15.0, depths=(0.5, 20.0, 40.0, 60.0, 90.0))

    def linear(self, grid: Grid) -> np.ndarray:
        lat = grid.lat[None, :, None]
        return 0.3 * lat - 0.02 * grid.depth[:, None, None] + np.zeros((1, 1, grid.nx))

    def test_it_is_exact_for_linear_fields(self):
        values = self.linear(self.FINE)
        found = Interpolation(self.FINE, GRID)(values, True)
        np.testing.assert_allclose(found, self.linear(GRID), rtol=1e-12)

    def test_a_wave_round_the_earth_is_that_of_a_loop_over_neighbours(self):
        rng = np.random.default_rng(8)
        values = rng.normal(size=self.FINE.shape)
        target = Grid.regular(10.0, (-60, 60), (-180, 180), depths=(0.5, 30.0))
        found = Interpolation(self.FINE, target)(values, True)
        source = self.FINE
        for k, depth in enumerate(target.depth):
            for j in (0, 5, 11):
                for i in (0, 1, 17, 35):
                    expected = 0.0
                    for a in range(source.nz):
                        for b, y in enumerate(source.lat):
                            for c, x in enumerate(source.lon):
                                away = abs((target.lon[i] - x + 180) % 360 - 180)
                                wx = max(0.0, 1 - away / 15)
                                wy = max(0.0, 1 - abs(target.lat[j] - y) / 15)
                                wz = np.interp(depth, source.depth, np.eye(source.nz)[a])
                                expected += wx * wy * wz * values[a, b, c]
                    assert found[k, j, i] == pytest.approx(expected, rel=1e-9, abs=1e-12)

    def test_nothing_is_made_across_a_coast_or_outside(self):
        values = self.linear(self.FINE)
        values[:, 4, 6] = np.nan
        found = Interpolation(self.FINE, GRID)(values, True)
        beside = np.isnan(found[0])
        assert beside.sum() == 1 and beside[2, 3]
        region = Grid.regular(30.0, (-30, 30), (0, 90), depths=(0.5, 500.0))
        narrow = Grid.regular(15.0, (-30, 0), (0, 90), depths=(0.5, 100.0))
        outside = Interpolation(narrow, region)(np.ones(narrow.shape), True)
        assert np.isnan(outside[1]).all() and np.isnan(outside[0, 1]).all()
        np.testing.assert_array_equal(outside[0, 0], 1.0)

    def test_a_value_at_a_centre_is_kept_though_its_neighbours_are_dry(self):
        found = bracket(np.array([0.0, 1.0, 2.0]), np.array([1.0 + 5e-5, 0.5, 2.5]))
        values = found.apply(np.array([np.nan, 7.0, np.nan]), 0)
        assert values[0] == 7.0 and np.isnan(values[1:]).all()

    def test_a_truth_with_more_levels_and_rows_loses_nothing(self):
        values = np.where(WET, fields(1)["thetao"][0], np.nan)
        part = Grid.regular(30.0, (-60.0, 60.0), (-180.0, 180.0), depths=(0.5, 90.0))
        found = Interpolation(GRID, part)(values, True)
        np.testing.assert_array_equal(found, values[[0, 2], 1:-1])

    def test_it_is_done_on_request_and_recorded(self, tmp_path, forecast):
        wide = {
            name: np.ones(
                (
                    DAYS + 1,
                    *(self.FINE.shape if VARIABLES[name].has_depth else self.FINE.shape[1:]),
                ),
                np.float32,
            )
            for name in PROGNOSTIC
        }
        fine = write(plain(wide, days_from(START, DAYS + 1), self.FINE), tmp_path / "fine.nc")
        # Every cell of the forecast has values, as the truth has.
        full = {name: np.nan_to_num(x) for name, x in forecast.items()}
        path = write(glonet_like(full), tmp_path / "f.nc")
        assert "depth has 5 values, expected 3 as in the forecast" in refused(path, fine)
        folder = tmp_path / "scores"
        files = Files((path,), (fine,), interpolate=True)
        evaluate_files(files, Wanted("f", folder, PLAIN))
        about = json.loads((folder / "sources.json").read_text())
        assert about["interpolated"] == ["truth"]
        assert pd.read_parquet(folder / "scores.parquet").attrs["interpolated"] == ["truth"]
        table = pd.read_parquet(folder / "scores.parquet")
        row = table[
            (table["metric"] == "bias")
            & (table["variable"] == "zos")
            & (table["region"] == "global")
            & (table["lead"] == 1)
            & (table["system"] == "model")
        ]
        expected = np.average(full["zos"][0] - 1.0, weights=GRID.area)
        assert row["value"].item() == pytest.approx(expected, rel=1e-6)


class TestCommand:
    def test_it_writes_the_tables(self, tmp_path, truth_file, forecast, monkeypatch):
        path = write(glonet_like(forecast), tmp_path / "glonet.nc")
        monkeypatch.chdir(tmp_path)
        words = ["evaluate", "--forecast", str(path), "--truth", str(truth_file)]
        words += ["--region", "north=0,90,-180,180", "--named-region", "tropics"]
        assert cli.main(words) == 0
        table = pd.read_csv("results/glonet/scores/scores.csv")
        assert set(table["region"]) == {"global", "north", "tropics"}
        about = json.loads(Path("results/glonet/scores/sources.json").read_text())
        assert about["forecast"] == [str(path)] and about["baselines"] == ["persistence"]

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--families", "colours"], "--families: 'colours' is refused"),
            (["--families", "extremes"], "--families extremes: needs thresholds"),
            (["--named-region", "atlantis"], "named_regions: 'atlantis' is unknown"),
            (["--families", "heatwaves", "--thresholds", "t"], "heatwaves: needs lead 0"),
        ],
    )
    def test_what_it_cannot_do_is_one_line(
        self, words, message, tmp_path, truth_file, forecast, capsys
    ):
        path = write(glonet_like(forecast), tmp_path / "f.nc")
        start = ["evaluate", "--forecast", str(path), "--truth", str(truth_file)]
        assert cli.main([*start, "--output", str(tmp_path / "out"), *words]) == 2
        assert message in capsys.readouterr().err

    def test_scores_of_an_experiment_are_not_overwritten(
        self, tmp_path, truth_file, forecast, capsys
    ):
        path = write(glonet_like(forecast), tmp_path / "f.nc")
        (tmp_path / "scores.parquet").touch()
        words = ["evaluate", "--forecast", str(path), "--truth", str(truth_file)]
        assert cli.main([*words, "--output", str(tmp_path)]) == 2
        assert "holds the scores of an experiment" in capsys.readouterr().err

    def test_a_family_without_its_variables_is_refused(self, tmp_path, truth_file, forecast):
        path = write(glonet_like(forecast)[["thetao"]], tmp_path / "f.nc")
        settings = PLAIN.model_copy(update={"families": ("drift",)})
        with pytest.raises(UserError, match="--families drift: needs uo, vo"):
            evaluate_files(Files((path,), (truth_file,)), Wanted("f", tmp_path / "s", settings))

    def test_options_of_files_go_with_no_command(self, capsys):
        words = ["evaluate", "--truth", "t.nc", "--name", "x", "aggregate"]
        assert cli.main(words) == 2
        assert "--truth stands before the command aggregate" in capsys.readouterr().err
        with pytest.raises(SystemExit):
            cli.main(["evaluate"])
        assert "give a command, or --forecast" in capsys.readouterr().err


def test_normalised_scores_need_every_variable(tmp_path, truth_file, forecast, shared_world):
    path = write(glonet_like(forecast).drop_vars("so"), tmp_path / "glonet.zarr")
    given = Wanted("x", tmp_path / "x", PLAIN, statistics=shared_world.layout.statistics_file)
    with pytest.raises(UserError, match=r"--statistics .*: scores of all variables .* need so in"):
        evaluate_files(Files((path,), (truth_file,)), given)
