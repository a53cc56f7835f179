"""The compiled sums against the plain form, and all metrics against independent libraries."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import xarray as xr
import xskillscore
from scipy import stats

from hybridom.evaluation.fields import field_sums
from hybridom.evaluation.kernels import runs_of
from hybridom.evaluation.regions import region_weights
from hybridom.evaluation.sums import LEVELS, FieldSums
from hybridom.evaluation.systems import Scaled
from hybridom.grid import Grid
from hybridom.metrics import METRICS, Moments, moments

GRID = Grid.regular(10.0, depths=(5.0, 20.0, 60.0, 150.0, 400.0, 900.0))
BOXES = {"tropics": (-20, 20, -180, 180), "pacific": (-60, 60, 140, -100), "corner": (5, 6, 5, 6)}


@pytest.fixture(scope="module")
def regions():
    """Land that differs by level; regions that overlap, and one of a single cell."""
    rng = np.random.default_rng(1)
    wet = rng.random(GRID.shape) > np.linspace(0.1, 0.6, GRID.nz)[:, None, None]
    wet[:, 9, 18] = True
    wet[5, 3] = False
    return region_weights(GRID, wet, BOXES)


@pytest.fixture(scope="module")
def fields(regions):
    """Two forecasts, truth and climatology, float32, NaN on land."""
    rng = np.random.default_rng(2)
    drawn = rng.normal(12.0, 3.0, (4, *GRID.shape)).astype(np.float32)
    return np.where(regions.wet, drawn, np.float32(np.nan))


def plain(forecast, truth, climatology, regions):
    """Moments by the plain form (9, regions, levels)."""
    found = moments(forecast, truth, climatology, regions.weights[:, : len(truth)])
    return np.stack(dataclasses.astuple(found))


def assert_same(found, expected):
    """Equal but for round-off of the sums, each measured by the largest of its kind."""
    scale = np.maximum(np.abs(expected).max(axis=(-2, -1), keepdims=True), 1.0)
    np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=1e-12)


@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_compiled_sums_equal_the_plain_form_in_every_region(fields, regions, precision):
    *forecasts, truth, climatology = fields.astype(precision)
    found = field_sums(forecasts, truth, climatology, regions)
    for s, forecast in enumerate(forecasts):
        assert_same(found[:, s], plain(forecast, truth, climatology, regions))


def test_a_variable_without_depth_uses_the_topmost_level(fields, regions):
    forecast, _, truth, climatology = fields[:, :1]
    found = field_sums([forecast], truth, climatology, regions)
    assert found.shape == (9, 1, 4, 1)
    assert_same(found[:, 0], plain(forecast, truth, climatology, regions))


def sums_of(forecasts, truth, climatology, regions):
    sums = FieldSums(forecasts, truth, climatology, regions)
    for task in sums.tasks():
        task()
    return sums


@pytest.mark.parametrize("kind", ["difference", "anomaly", "none"])
def test_anomalies_that_make_no_field_score_as_the_field_would(fields, regions, kind):
    initial, normal, truth, climatology = fields
    factor = np.linspace(0.9, -0.1, GRID.nz)
    anomaly = initial.astype(np.float64) - normal
    given = {
        "difference": Scaled(initial, normal, factor),
        "anomaly": Scaled(anomaly, None, factor),
        "none": None,
    }[kind]
    field = climatology + (0.0 if kind == "none" else factor[:, None, None] * anomaly)
    found = sums_of([initial, given, truth], truth, climatology, regions).moments()
    assert_same(found[:, 1], plain(field, truth, climatology, regions))
    assert_same(found[:, 0], plain(initial, truth, climatology, regions))
    np.testing.assert_array_equal(found[1:4, 2], 0.0)


def test_the_bytes_do_not_depend_on_the_number_of_threads_or_the_order(fields, regions):
    initial, forecast, truth, climatology = fields
    expected = field_sums([initial, forecast], truth, climatology, regions)
    assert GRID.nz > LEVELS, "one task alone shows nothing"
    for threads in (1, 2, 5):
        sums = FieldSums([initial, forecast], truth, climatology, regions)
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda task: task(), reversed(sums.tasks())))
        assert sums.moments().tobytes() == expected.tobytes()


@pytest.mark.parametrize("fill", [np.nan, np.inf, 1e30, 0.0])
def test_land_changes_no_byte(fields, regions, fill):
    filled = np.where(regions.wet, fields, np.float32(fill))
    before, after = (field_sums(x[:2], x[2], x[3], regions) for x in (fields, filled))
    assert before.tobytes() == after.tobytes()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("which", range(4))
def test_one_wet_cell_without_a_value_is_seen_in_any_field(fields, regions, which, value):
    assert sums_of([fields[0], fields[1]], fields[2], fields[3], regions).finite
    holed = fields.copy()
    holed[which][tuple(np.argwhere(regions.wet)[-1])] = value
    assert not sums_of([holed[0], holed[1]], holed[2], holed[3], regions).finite


def test_cells_of_uneven_width_weigh_by_their_own_area():
    edges = np.array([-30.0, -20.0, -5.0, 0.0, 30.0])
    rows = np.array([-40.0, 0.0, 20.0])
    grid = Grid(
        lat=0.5 * (rows[1:] + rows[:-1]),
        lon=0.5 * (edges[1:] + edges[:-1]),
        lat_bounds=rows,
        lon_bounds=edges,
        depth=np.array([5.0]),
        depth_bounds=np.array([0.0, 10.0]),
        periodic=False,
    )
    uneven = region_weights(grid, np.ones(grid.shape, bool), {})
    rng = np.random.default_rng(3)
    forecast, truth, climatology = rng.normal(size=(3, *grid.shape))
    found = field_sums([forecast], truth, climatology, uneven)
    total = sum(grid.area[j, i] * (forecast - truth)[0, j, i] for j in range(2) for i in range(4))
    assert found[1, 0, 0, 0] == pytest.approx(total, rel=1e-12)


def test_runs_cover_every_wet_cell_once_with_its_label():
    rng = np.random.default_rng(4)
    wet, labels = rng.random((3, 4, 9)) > 0.4, rng.integers(0, 3, (4, 9))
    wet[1], wet[2, 1] = False, True
    runs, found = runs_of(wet, labels), np.full(wet.shape, -1)
    for row in range(12):
        for n in range(runs.first[row], runs.first[row + 1]):
            part = found.reshape(12, 9)[row, runs.start[n] : runs.stop[n]]
            assert part.size > 0 and (part == -1).all()
            part[:] = runs.label[n]
    np.testing.assert_array_equal(found, np.where(wet, labels, -1))


@pytest.mark.parametrize("region", [0, 1, 2])
@pytest.mark.parametrize("level", [0, 5])
def test_metrics_are_those_of_xskillscore(fields, regions, region, level):
    forecast, _, truth, climatology = fields.astype(np.float64)
    sums = Moments(*field_sums([forecast], truth, climatology, regions)[:, 0, region, level])
    weights = xr.DataArray(regions.weights[region, level], dims=("y", "x"))
    x, t, c = (xr.DataArray(f[level], dims=("y", "x")) for f in (forecast, truth, climatology))
    settings = {"dim": ["y", "x"], "weights": weights, "skipna": True}
    expected = {
        "rmse": xskillscore.rmse(x, t, **settings),
        "mae": xskillscore.mae(x, t, **settings),
        "bias": xskillscore.me(x, t, **settings),
        "acc_centred": xskillscore.pearson_r(x - c, t - c, **settings),
    }
    for name, value in expected.items():
        assert METRICS[name](sums) == pytest.approx(float(value), rel=1e-6), name


def test_metrics_with_equal_weights_are_those_of_scipy():
    grid = Grid.regular(10.0, lat=(0.0, 10.0))
    single = region_weights(grid, np.ones(grid.shape, bool), {})
    rng = np.random.default_rng(5)
    forecast, truth, climatology = rng.normal(size=(3, *grid.shape))
    sums = Moments(*field_sums([forecast], truth, climatology, single)[:, 0, 0, 0])
    f, t = ((x - climatology).ravel() for x in (forecast, truth))
    assert METRICS["acc_centred"](sums) == pytest.approx(stats.pearsonr(f, t)[0], rel=1e-6)
    assert METRICS["activity"](sums) == pytest.approx(
        stats.describe(f).variance / stats.describe(t).variance, rel=1e-6
    )
    assert METRICS["mae"](sums) == pytest.approx(
        stats.wasserstein_distance(np.abs(f - t), np.zeros(f.size)), rel=1e-6
    )
    assert METRICS["rmse"](sums) == pytest.approx(
        stats.moment(np.concatenate([f - t, t - f]), 2) ** 0.5, rel=1e-6
    )
