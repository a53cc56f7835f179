from __future__ import annotations

import datetime as dt
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from hybridom.config import Period
from hybridom.data.days import climatology_rows
from hybridom.data.statistics import Moments, compute_statistics
from hybridom.data.stores import open_store
from hybridom.errors import UserError
from hybridom.grid import Grid
from hybridom.layout import Layout
from hybridom.normalisation import read_statistics
from hybridom.variables import PROGNOSTIC, VARIABLES
from tests.data.yearly import climate_config, write_entries, write_years, year_coordinates

KINDS = ("mean", "std", "anomaly_std", "tendency_std")
FORCING = ("u10", "v10", "t2m")
NAMES = (*PROGNOSTIC, *FORCING)
GRID = Grid.regular(45.0, depths=(10.0, 40.0, 90.0))
WET = np.random.default_rng(1).random(GRID.shape) > 0.3
WEEK = Period(start=dt.date(2005, 1, 1), end=dt.date(2005, 1, 7))


def is_ocean(name):
    return name in PROGNOSTIC


def field_of(name):
    """Noise about a mean that is large beside it, on the model grid."""
    seed = NAMES.index(name)

    def field(day):
        random = np.random.default_rng([seed, day.toordinal()])
        values = 35.0 + seed + 0.2 * random.normal(size=GRID.shape)
        values = np.where(WET, values, np.nan) if is_ocean(name) else values
        return values if VARIABLES[name].has_depth else values[0]

    return field


def world(root, period, gaps=(), **replaced):
    """Stores of a period, and a climatology that lies a little above it, rising day by day."""
    config = climate_config(root, period)
    layout = Layout(config)
    fields = {name: field_of(name) for name in NAMES} | replaced
    level = 4 * GRID.ny * GRID.nx
    write_years(layout, GRID, period, fields, gaps=gaps, chunk_bytes=level)
    normals = {
        name: lambda row, name=name: field_of(name)(dt.date(1990, 1, 1)) + 0.01 * row
        for name in NAMES
    }
    rows = sorted({row for day in period.days() for row in climatology_rows(day)})
    path, coordinates = layout.climatology_store, year_coordinates(GRID)
    write_entries(path, coordinates, "dayofyear", normals, [(row, row) for row in rows], level)
    return SimpleNamespace(config=config, layout=layout, grid=GRID, wet=WET, gaps=set(gaps))


def statistics_of(world):
    return compute_statistics(world.config, world.layout, world.grid, world.wet)


def row_of(day):
    return (day.replace(year=2001) - dt.date(2001, 1, 1)).days


def brute_force(world, name):
    """mean, std, anomaly_std, tendency_std by level, cell by cell and day by day."""
    layout, grid = world.layout, world.grid
    train = [day for day in world.config.periods.train.days() if day not in world.gaps]
    kind = layout.state_store if is_ocean(name) else layout.forcing_store
    stores = [open_store(kind(year))[name] for year in world.config.periods.train.years]
    field = xr.concat(stores, "time").sel(time=[np.datetime64(d) for d in train]).values
    climatology = open_store(layout.climatology_store)[name].values
    field, climatology = (x.astype(np.float64) for x in (field, climatology))
    if field.ndim == 3:
        field, climatology = field[:, None], climatology[:, None]
    found = []
    for k in range(field.shape[1]):
        x, weight, anomaly, change = [], [], [], []
        for j in range(grid.ny):
            for i in range(grid.nx):
                if is_ocean(name) and not world.wet[k, j, i]:
                    continue
                series = field[:, k, j, i]
                normal = [
                    np.float32(climatology[58:60, k, j, i].mean())
                    if (d.month, d.day) == (2, 29)
                    else climatology[row_of(d), k, j, i]
                    for d in train
                ]
                after = [n for n in range(1, len(train)) if (train[n] - train[n - 1]).days == 1]
                x.append(series)
                weight.append(grid.area[j, i])
                anomaly.append(series - normal)
                change.append([series[n] - series[n - 1] for n in after])
        mean = np.average(np.mean(x, axis=1), weights=weight)
        square = [np.mean((np.array(v) - m) ** 2, axis=1) for v, m in ((x, mean), (anomaly, 0))]
        square.append(np.mean(np.array(change) ** 2, axis=1))
        found.append([mean, *(np.sqrt(np.average(s, weights=weight)) for s in square)])
    return np.array(found).T


@pytest.fixture(scope="module")
def winter(tmp_path_factory):
    """December to March, across a New Year and 29 February, with two gaps."""
    period = Period(start=dt.date(2003, 12, 20), end=dt.date(2004, 3, 12))
    gaps = [dt.date(2003, 12, 24), dt.date(2004, 3, 9)]
    found = world(tmp_path_factory.mktemp("winter"), period, gaps)
    found.statistics = statistics_of(found)
    return found


@pytest.mark.parametrize("name", ["thetao", "zos", "t2m"])
def test_no_change_is_taken_across_a_gap_and_every_other_counts(winter, name):
    expected = brute_force(winter, name)
    for row, kind in enumerate(KINDS):
        found = np.atleast_1d(winter.statistics[name][kind])
        np.testing.assert_allclose(found, expected[row], rtol=1e-7, err_msg=kind)


@pytest.mark.parametrize("name", NAMES)
def test_statistics_agree_with_loops_over_cells_and_days(prepared, name):
    prepared.gaps = set()
    found = read_statistics(prepared.layout.statistics_file, FORCING)
    expected = brute_force(prepared, name)
    for row, kind in enumerate(KINDS):
        values = np.atleast_1d(found[f"{name}_{kind}"].numpy())
        np.testing.assert_allclose(values, expected[row], rtol=1e-9, err_msg=kind)


def test_statistics_carry_units_bounds_and_hashes(prepared):
    with xr.open_dataset(prepared.layout.statistics_file) as ds:
        assert ds["thetao_std"].dims == ("depth",)
        assert ds["zos_std"].dims == ()
        assert ds["thetao_std"].attrs["units"] == "degrees_C"
        assert ds["depth"].attrs["bounds"] == "depth_bounds"
        assert ds.attrs["grid_hash"] == prepared.grid.hash
        assert "stores of state and forcing" in ds.attrs["source"]


def moments_of(days, cover):
    moments, before = Moments(GRID, cover), None
    for values in days:
        moments.add(values, before, values)
        before = values
    return moments.result()


def test_a_large_mean_does_not_swallow_a_small_deviation():
    noise = 2.0**-6 * np.random.default_rng(0).integers(-3, 4, size=(50, *GRID.shape))
    days = (101_325.0 + noise).astype(np.float32)
    assert (days == 101_325.0 + noise).all()
    found = moments_of(days, np.ones(GRID.shape, np.uint8))
    weight = np.broadcast_to(GRID.area, (50, GRID.ny, GRID.nx))
    for level in range(GRID.nz):
        mean = np.average(noise[:, level], weights=weight)
        std = np.sqrt(np.average((noise[:, level] - mean) ** 2, weights=weight))
        np.testing.assert_allclose(found["std"][level], std, rtol=1e-9)


def test_a_level_without_sea_has_no_statistics():
    cover = WET.astype(np.uint8)
    cover[2] = 0
    days = np.random.default_rng(0).normal(size=(3, *GRID.shape)).astype(np.float32)
    found = moments_of(days, cover)
    assert all(np.isnan(v[2]) and np.isfinite(v[:2]).all() for v in found.values())


def test_days_that_never_follow_one_another_are_refused():
    moments = Moments(GRID, WET.astype(np.uint8))
    day = np.zeros(GRID.shape, np.float32)
    moments.add(day, None, day)
    moments.add(day, None, day)
    with pytest.raises(UserError, match="no two consecutive days"):
        moments.result()


@pytest.mark.parametrize("kind", ["std", "tendency_std"])
def test_a_zero_deviation_names_variable_and_level(tmp_path, kind):
    def still(day):
        values = field_of("vo")(day)
        values[1] = 0.1 if kind == "std" else np.arange(GRID.nx)
        return np.where(WET, values, np.nan)

    flat = world(tmp_path, WEEK, vo=still)
    with pytest.raises(UserError, match=rf"{kind} of variable vo at 40 m is "):
        statistics_of(flat)


def test_a_climatology_that_lacks_a_wet_cell_is_refused(tmp_path):
    wetter = world(tmp_path, WEEK)
    wetter.wet = np.ones_like(WET)
    with pytest.raises(UserError, match=r"climatology.zarr: variable thetao has no value in"):
        statistics_of(wetter)
