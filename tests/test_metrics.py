from __future__ import annotations

import math

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from hybridom.metrics import METRICS, Moments, moments

SHAPE = (3, 5, 7)


@pytest.fixture
def sample():
    """Forecast, truth, climatology and weights (levels, lat, lon); a fifth of the cells is land."""
    rng = np.random.default_rng(0)
    forecast, truth, climatology = rng.normal(1.0, 2.0, (3, *SHAPE))
    weights = rng.uniform(0.2, 2.0, SHAPE) * (rng.random(SHAPE) > 0.2)
    return forecast, truth, climatology, weights


def brute_force(forecast, truth, climatology, weights):
    """Every metric of one level by loops over cells, from the textbook definitions."""
    cells = [
        (f, t, f - c, t - c, w)
        for f, t, c, w in zip(
            *(x.ravel().tolist() for x in (forecast, truth, climatology, weights)), strict=True
        )
        if w > 0
    ]
    total = sum(w for *_, w in cells)

    def mean(values):
        return sum(w * v for v, (*_, w) in zip(values, cells, strict=True)) / total

    errors = [f - t for f, t, *_ in cells]
    fa, ta = [c[2] for c in cells], [c[3] for c in cells]
    mf, mt = mean(fa), mean(ta)
    cov = mean([(a - mf) * (b - mt) for a, b in zip(fa, ta, strict=True)])
    var_f, var_t = mean([(a - mf) ** 2 for a in fa]), mean([(b - mt) ** 2 for b in ta])
    product = mean([a * b for a, b in zip(fa, ta, strict=True)])
    norm = math.sqrt(mean([a * a for a in fa]) * mean([b * b for b in ta]))
    return {
        "rmse": math.sqrt(mean([e * e for e in errors])),
        "bias": mean(errors),
        "mae": mean([abs(e) for e in errors]),
        "acc_centred": cov / math.sqrt(var_f * var_t),
        "acc_uncentred": product / norm,
        "activity": var_f / var_t,
    }


@pytest.mark.parametrize("name", METRICS)
def test_each_metric_equals_loops_over_cells(sample, name):
    found = METRICS[name](moments(*sample))
    expected = [brute_force(*(x[k] for x in sample))[name] for k in range(SHAPE[0])]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_centred_acc_with_equal_weights_is_numpys_correlation(sample):
    forecast, truth, climatology, _ = sample
    found = METRICS["acc_centred"](moments(forecast, truth, climatology, np.ones(SHAPE)))
    expected = [
        np.corrcoef((forecast - climatology)[k].ravel(), (truth - climatology)[k].ravel())[0, 1]
        for k in range(SHAPE[0])
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_perfect_forecast_scores_zero_errors_and_correlation_and_activity_one(sample):
    _, truth, climatology, weights = sample
    sums = moments(truth, truth, climatology, weights)
    for name in ("rmse", "bias", "mae"):
        np.testing.assert_array_equal(METRICS[name](sums), 0.0)
    for name in ("acc_centred", "acc_uncentred", "activity"):
        np.testing.assert_allclose(METRICS[name](sums), 1.0, rtol=1e-14)


def test_a_shifted_forecast_has_exactly_that_bias_and_keeps_its_centred_correlation(sample):
    _, truth, climatology, weights = sample
    truth = np.round(truth * 8) / 8  # sums of eighths are exact
    sums = moments(truth - 0.5, truth, climatology, weights)
    np.testing.assert_allclose(METRICS["bias"](sums), -0.5, rtol=1e-15)
    np.testing.assert_allclose(METRICS["rmse"](sums), 0.5, rtol=1e-15)
    np.testing.assert_allclose(METRICS["acc_centred"](sums), 1.0, rtol=1e-12)
    assert (METRICS["acc_uncentred"](sums) < 0.999).all()


def test_a_blurred_forecast_keeps_its_correlation_and_loses_activity(sample):
    _, truth, climatology, weights = sample
    blurred = climatology + 0.5 * (truth - climatology)
    sums = moments(blurred, truth, climatology, weights)
    np.testing.assert_allclose(METRICS["acc_uncentred"](sums), 1.0, rtol=1e-12)
    np.testing.assert_allclose(METRICS["activity"](sums), 0.25, rtol=1e-12)


def test_the_climatology_as_forecast_has_no_correlation_and_no_activity(sample):
    _, truth, climatology, weights = sample
    sums = moments(climatology, truth, climatology, weights)
    assert np.isnan(METRICS["acc_centred"](sums)).all()
    assert np.isnan(METRICS["acc_uncentred"](sums)).all()
    np.testing.assert_array_equal(METRICS["activity"](sums), 0.0)


def test_a_uniform_anomaly_has_no_centred_correlation(sample):
    _, truth, climatology, weights = sample
    sums = moments(climatology + 0.1, truth, climatology, weights)
    assert np.isnan(METRICS["acc_centred"](sums)).all()
    assert np.isfinite(METRICS["acc_uncentred"](sums)).all()


def test_area_weights_matter():
    error = np.array([[1.0, 3.0]])
    zero = np.zeros_like(error)
    even = moments(error, zero, zero, np.array([[1.0, 1.0]]))
    uneven = moments(error, zero, zero, np.array([[3.0, 1.0]]))
    assert METRICS["bias"](even) == 2.0
    assert METRICS["bias"](uneven) == 1.5
    assert METRICS["rmse"](uneven) == pytest.approx(math.sqrt(3.0))


@pytest.mark.parametrize("fill", [np.nan, np.inf, 1e6, 0.0])
def test_land_values_do_not_matter(sample, fill):
    *fields, weights = sample
    land = weights == 0
    filled = [np.where(land, fill, x) for x in fields]
    for name, metric in METRICS.items():
        np.testing.assert_array_equal(
            metric(moments(*filled, weights)), metric(moments(*sample)), err_msg=name
        )


def test_a_nan_in_a_cell_that_counts_is_not_hidden(sample):
    forecast, truth, climatology, weights = sample
    forecast = forecast.copy()
    forecast[0].flat[int(np.argmax(weights[0]))] = np.nan
    found = METRICS["rmse"](moments(forecast, truth, climatology, weights))
    assert np.isnan(found[0])
    assert np.isfinite(found[1:]).all()


def test_no_cell_at_all_gives_nan(sample):
    *fields, weights = sample
    sums = moments(*fields, 0.0 * weights)
    assert all(np.isnan(metric(sums)).all() for metric in METRICS.values())


def test_moments_of_two_halves_add_up_to_those_of_the_whole(sample):
    west, east = ([x[..., cut] for x in sample] for cut in (slice(0, 3), slice(3, None)))
    both = moments(*west) + moments(*east)
    whole = moments(*sample)
    for name, metric in METRICS.items():
        np.testing.assert_allclose(metric(both), metric(whole), rtol=1e-12, err_msg=name)


def test_pooled_levels_weigh_by_volume(sample):
    thickness = np.array([10.0, 30.0, 100.0])
    pooled = moments(*sample).pool_levels(thickness)
    volume = sample[3] * thickness[:, None, None]
    expected = brute_force(*sample[:3], volume)
    for name, metric in METRICS.items():
        np.testing.assert_allclose(metric(pooled), expected[name], rtol=1e-12, err_msg=name)


def test_regions_in_front_of_the_weights_equal_one_call_a_region(sample):
    *fields, weights = sample
    boxes = np.stack([np.ones(SHAPE[1:]), np.arange(35).reshape(SHAPE[1:]) % 2])
    together = moments(*fields, boxes[:, None] * weights)
    for region, box in enumerate(boxes):
        alone = moments(*fields, box * weights)
        for metric in METRICS.values():
            np.testing.assert_allclose(metric(together)[region], metric(alone), rtol=1e-12)


def test_single_precision_fields_are_summed_in_double():
    ones = np.full((1, 1000, 1000), 1.0, np.float32)
    sums = moments(ones + np.float32(1e-3), ones, ones, np.ones((1, 1000, 1000)))
    error = float(np.float32(1.0) + np.float32(1e-3)) - 1.0
    assert METRICS["bias"](sums)[0] == pytest.approx(error, rel=1e-12)


@pytest.mark.parametrize("kind", ["dask", "xarray", "xarray of dask"])
def test_dask_and_xarray_give_numpys_numbers_and_stay_what_they_are(sample, kind):
    expected = moments(*sample)
    arrays = [da.from_array(x, chunks=(1, 2, 7)) for x in sample] if "dask" in kind else sample
    if "xarray" in kind:
        arrays = [xr.DataArray(x, dims=("depth", "latitude", "longitude")) for x in arrays]
    found = moments(*arrays)
    assert isinstance(found, Moments)
    for name, metric in METRICS.items():
        value = metric(found)
        assert isinstance(value, xr.DataArray if "xarray" in kind else da.Array)
        if "dask" in kind:
            assert value.chunks is not None, "computed too early"
        np.testing.assert_allclose(np.asarray(value), metric(expected), rtol=1e-12, err_msg=name)
