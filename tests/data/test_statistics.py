from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
import xarray as xr

from hybridom.data import statistics
from hybridom.data.statistics import Moments, compute_statistics, wet_weights
from hybridom.data.stores import open_store
from hybridom.errors import UserError
from hybridom.normalisation import read_statistics
from hybridom.variables import PROGNOSTIC

FORCING = ("u10", "v10", "t2m")


def brute_force(world, name):
    """mean, std, anomaly_std, tendency_std by level, cell by cell and day by day."""
    layout, grid = world.layout, world.grid
    ocean = name in PROGNOSTIC
    store = layout.state_store(2000) if ocean else layout.forcing_store(2000)
    train = world.config.periods.train.days()
    field = open_store(store)[name].sel(time=[np.datetime64(d) for d in train]).values
    climatology = open_store(layout.climatology_store)[name].values
    field, climatology = (x.astype(np.float64) for x in (field, climatology))
    if field.ndim == 3:
        field, climatology = field[:, None], climatology[:, None]
    found = []
    for k in range(field.shape[1]):
        x, weight, anomaly, change = [], [], [], []
        for j in range(grid.ny):
            for i in range(grid.nx):
                if ocean and not world.wet[k, j, i]:
                    continue
                series = field[:, k, j, i]
                normal = [
                    climatology[58:60, k, j, i].mean()
                    if d == dt.date(2000, 2, 29)
                    else climatology[(d.replace(year=2001) - dt.date(2001, 1, 1)).days, k, j, i]
                    for d in train
                ]
                x.append(series)
                weight.append(grid.area[j, i])
                anomaly.append(series - normal)
                change.append(np.diff(series))
        mean = np.average(np.mean(x, axis=1), weights=weight)
        square = [np.mean((np.array(v) - m) ** 2, axis=1) for v, m in ((x, mean), (anomaly, 0))]
        square.append(np.mean(np.array(change) ** 2, axis=1))
        found.append([mean, *(np.sqrt(np.average(s, weights=weight)) for s in square)])
    return np.array(found).T


@pytest.mark.parametrize("name", [*PROGNOSTIC, *FORCING])
def test_statistics_agree_with_loops_over_cells_and_days(prepared, name):
    found = read_statistics(prepared.layout.statistics_file, FORCING)
    expected = brute_force(prepared, name)
    for row, kind in enumerate(("mean", "std", "anomaly_std", "tendency_std")):
        values = np.atleast_1d(found[f"{name}_{kind}"].numpy())
        np.testing.assert_allclose(values, expected[row], rtol=1e-9, err_msg=kind)


def test_statistics_carry_units_bounds_and_hashes(prepared):
    with xr.open_dataset(prepared.layout.statistics_file) as ds:
        assert ds["thetao_std"].dims == ("depth",)
        assert ds["zos_std"].dims == ()
        assert ds["thetao_std"].attrs["units"] == "degrees_C"
        assert ds["depth"].attrs["bounds"] == "depth_bounds"
        assert ds.attrs["grid_hash"] == prepared.grid.hash
        assert "climatology.json" in ds.attrs["source"]


def test_a_large_mean_does_not_swallow_a_small_deviation():
    rng = np.random.default_rng(0)
    values = (35.0 + 1e-5 * rng.normal(size=(50, 1, 4, 5))).astype(np.float64)
    moments = Moments(np.full((1, 4, 5), 1 / 20))
    for block in np.split(values, 10):
        moments.add(block, block)
    np.testing.assert_allclose(moments.result()["std"], values.std(), rtol=1e-6)


def test_a_level_without_sea_has_no_statistics(prepared):
    wet = prepared.wet.copy()
    wet[2] = False
    weights = wet_weights(prepared.grid, wet)
    assert weights[2].max() == 0
    np.testing.assert_allclose(weights[:2].sum(axis=(1, 2)), 1.0)
    moments = Moments(weights)
    values = np.random.default_rng(0).normal(size=(3, *wet.shape))
    moments.add(values, values)
    assert all(np.isnan(v[2]) and np.isfinite(v[:2]).all() for v in moments.result().values())


@pytest.mark.parametrize("kind", ["std", "tendency_std"])
def test_a_zero_deviation_names_variable_and_level(prepared, monkeypatch, kind):
    def still(layout, name, period):
        for days, values in blocks(layout, name, period):
            if name == "vo":
                values[:, 1] = 0.1 if kind == "std" else np.arange(values.shape[-1])
            yield days, values

    blocks = statistics.blocks
    monkeypatch.setattr(statistics, "blocks", still)
    with pytest.raises(UserError, match=rf"{kind} of variable vo at 155.851 m is "):
        compute_statistics(prepared.config, prepared.layout, prepared.grid, prepared.wet)
