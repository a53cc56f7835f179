"""Averages over start dates, their intervals and the skill, against closed forms and loops."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from hybridom.config.output import BootstrapConfig
from hybridom.evaluation.averages import average, estimates
from hybridom.evaluation.bootstrap import Means, block_length, resamples
from hybridom.evaluation.families import FAMILIES

SCORES = FAMILIES["scores"]
SYSTEMS = ["model", "persistence", "climatology"]


def settings(**changes):
    return BootstrapConfig(**{"samples": 200, "seed": 7, **changes})


@pytest.fixture
def values():
    """Metric -> (starts, rows, systems), with a few starts that have no value."""
    rng = np.random.default_rng(0)
    rmse = rng.uniform(0.5, 2.0, (11, 3, 3))
    bias = rng.normal(0.0, 1.0, (11, 3, 3))
    rmse[4, 1, 0] = bias[4, 1, 0] = rmse[9, 2, 2] = np.nan
    bias[:, 2, 1] = np.nan
    return {"rmse": rmse, "bias": bias}


@pytest.mark.parametrize(
    ("starts", "block", "length"),
    [(1, None, 1), (2, None, 1), (8, None, 2), (27, None, 3), (52, None, 4), (1000, None, 10),
     (52, 6, 6), (10, 8, 5), (3, 7, 1)],
)  # fmt: skip
def test_a_block_is_the_cube_root_of_the_starts_or_as_given_and_at_most_half(starts, block, length):
    assert block_length(starts, block) == length


@pytest.mark.parametrize(("starts", "block"), [(2, 1), (7, 3), (12, 4), (52, None)])
def test_every_sample_holds_as_many_starts_as_there_are(starts, block):
    drawn = resamples(starts, settings(block=block))
    assert drawn.shape == (200, starts)
    np.testing.assert_array_equal(drawn.sum(axis=1), starts)
    assert (drawn >= 0).all() and (drawn == np.round(drawn)).all()
    assert drawn.std(axis=0).min() > 0, "a start is drawn equally often in all samples"


def test_samples_are_made_of_whole_blocks_of_neighbours():
    length, starts = 4, 12
    begins = range(starts - length + 1)
    possible = set()
    for chosen in itertools.product(begins, repeat=starts // length):
        counts = np.zeros(starts, int)
        for begin in chosen:
            counts[begin : begin + length] += 1
        possible.add(tuple(counts))
    drawn = {tuple(row.astype(int)) for row in resamples(starts, settings(block=length))}
    assert drawn <= possible
    assert len(drawn) > 50


def test_the_same_seed_draws_the_same_and_another_one_does_not():
    first, again = resamples(20, settings()), resamples(20, settings())
    np.testing.assert_array_equal(first, again)
    assert (first != resamples(20, settings(seed=8))).any()


def test_the_spread_of_single_draws_is_the_standard_error_of_a_mean():
    x = np.random.default_rng(1).normal(size=40)
    drawn = resamples(40, settings(block=1, samples=20_000))
    means = Means({"x": x[:, None]}, drawn)["x"][:, 0]
    assert means.mean() == pytest.approx(x.mean(), abs=0.01)
    # sqrt of the variance over n, with the denominator n of the resampled population
    assert means.std() == pytest.approx(x.std() / math.sqrt(40), rel=0.02)


def test_blocks_widen_the_interval_of_a_series_that_remembers():
    rng = np.random.default_rng(2)
    x = np.zeros(400)
    for n in range(1, 400):
        x[n] = 0.9 * x[n - 1] + rng.normal()
    width = {}
    for block in (1, 20):
        means = Means({"x": x[:, None]}, resamples(400, settings(block=block, samples=2000)))["x"]
        width[block] = means.std()
    # An autoregression of 0.9 has 19 times the variance of its mean that white noise would have,
    # and blocks of 20 keep most of it.
    assert 2.5 < width[20] / width[1] < 4.5


def test_means_leave_out_starts_without_a_value_whatever_their_weight():
    values = np.array([[1.0], [np.nan], [4.0]])
    weights = np.array([[1.0, 1.0, 1.0], [0.0, 2.0, 1.0], [0.0, 3.0, 0.0]])
    means = Means({"x": values}, weights)
    np.testing.assert_array_equal(means["x"][:, 0], [2.5, 4.0, np.nan])
    np.testing.assert_array_equal(means.square("x")[:, 0], [8.5, 16.0, np.nan])


def by_loops(values, weights):
    """Final metrics of one sample of the scores' family: name -> (rows, systems)."""
    starts, rows, systems = values["rmse"].shape
    found = {
        name: np.full((rows, systems), np.nan)
        for name in ("rmse_mean", "rmse_pooled", "bias", "skill_persistence", "skill_climatology")
    }
    for row in range(rows):
        for system in range(systems):
            for name in ("rmse", "bias"):
                total = square = weight = 0.0
                for start in range(starts):
                    x = values[name][start, row, system]
                    if not math.isnan(x):
                        total += weights[start] * x
                        square += weights[start] * x * x
                        weight += weights[start]
                if weight == 0.0:
                    continue
                if name == "rmse":
                    found["rmse_mean"][row, system] = total / weight
                    found["rmse_pooled"][row, system] = math.sqrt(square / weight)
                else:
                    found["bias"][row, system] = total / weight
        for system, name in ((1, "skill_persistence"), (2, "skill_climatology")):
            model, baseline = found["rmse_mean"][row, 0], found["rmse_mean"][row, system]
            found[name][row, 0] = 1.0 - model / baseline
    return found


def test_values_and_intervals_equal_loops_over_the_same_samples(values):
    chosen = settings(samples=150, level=0.9)
    found = estimates(SCORES, values, SYSTEMS, chosen)
    point = by_loops(values, np.ones(11))
    samples = [by_loops(values, weights) for weights in resamples(11, chosen)]
    assert set(found) == set(point)
    for name, (value, low, high) in found.items():
        np.testing.assert_allclose(value, point[name], rtol=1e-12, err_msg=name)
        for row, system in np.ndindex(value.shape):
            drawn = sorted(x[name][row, system] for x in samples)
            drawn = [x for x in drawn if not math.isnan(x)]
            if not drawn:
                assert math.isnan(low[row, system]) and math.isnan(high[row, system])
                continue
            for end, level in ((low, 0.05), (high, 0.95)):
                place = level * (len(drawn) - 1)
                before = int(place)
                after = min(before + 1, len(drawn) - 1)
                expected = drawn[before] + (place - before) * (drawn[after] - drawn[before])
                assert end[row, system] == pytest.approx(expected, rel=1e-12), name


def test_intervals_hold_the_value_and_grow_with_their_level(values):
    narrow, wide = (estimates(SCORES, values, SYSTEMS, settings(level=x)) for x in (0.5, 0.99))
    for name in ("rmse_mean", "rmse_pooled"):
        value, low, high = wide[name]
        assert (low < value).all() and (value < high).all()
        assert (low < narrow[name][1]).all() and (narrow[name][2] < high).all()


def test_starts_that_are_all_alike_have_intervals_of_no_width(values):
    alike = {name: np.repeat(x[:1], 11, axis=0) for name, x in values.items()}
    for name, (value, low, high) in estimates(SCORES, alike, SYSTEMS, settings()).items():
        np.testing.assert_allclose(low, value, rtol=1e-12, err_msg=name)
        np.testing.assert_allclose(high, value, rtol=1e-12, err_msg=name)


def test_a_single_start_has_a_value_and_no_interval(values):
    single = {name: x[:1] for name, x in values.items()}
    value, low, high = estimates(SCORES, single, SYSTEMS, settings())["rmse_mean"]
    np.testing.assert_array_equal(value, values["rmse"][0])
    assert np.isnan(low).all() and np.isnan(high).all()


def test_the_mean_of_roots_is_below_the_root_of_the_mean_and_equal_without_spread(values):
    found = estimates(SCORES, values, SYSTEMS, settings())
    assert (found["rmse_mean"][0] < found["rmse_pooled"][0]).all()
    alike = {name: np.repeat(x[:1], 3, axis=0) for name, x in values.items()}
    found = estimates(SCORES, alike, SYSTEMS, settings())
    np.testing.assert_allclose(found["rmse_mean"][0], found["rmse_pooled"][0], rtol=1e-14)


def test_skill_over_a_perfect_baseline_is_undefined():
    values = {"rmse": np.zeros((4, 1, 3)), "bias": np.zeros((4, 1, 3))}
    values["rmse"][:, :, 2] = 2.0
    found = estimates(SCORES, values, SYSTEMS, settings())
    assert np.isnan(found["skill_persistence"][0]).all()
    assert found["skill_climatology"][0][0, 0] == 1.0
    assert np.isnan(found["skill_climatology"][0][0, 1:]).all()


def write_starts(folder, values):
    """Tables of starts as the scores' family writes them, a row of the values being a lead."""
    paths = []
    for start in range(len(values["rmse"])):
        rows = [
            (lead + 1, "global", "zos", np.nan, system, name, x[start, lead, s])
            for name, x in values.items()
            for lead in range(x.shape[1])
            for s, system in enumerate(SYSTEMS)
        ]
        columns = ["lead", "region", "variable", "depth", "system", "metric", "value"]
        paths.append(folder / f"2001-01-{start + 1:02}.parquet")
        pd.DataFrame(rows, columns=columns).to_parquet(paths[-1])
    return paths


def test_the_table_of_averages_holds_the_estimates_and_counts_starts(values, tmp_path):
    table = average(SCORES, write_starts(tmp_path, values), settings())
    expected = estimates(SCORES, values, SYSTEMS, settings())
    keyed = table.set_index(["metric", "lead", "system"])
    for (metric, lead, system), row in keyed.iterrows():
        place = lead - 1, SYSTEMS.index(system)
        value, low, high = (x[place] for x in expected[metric])
        np.testing.assert_allclose(row[["value", "low", "high"]].astype(float), [value, low, high])
    defined = sum(int(np.isfinite(value).sum()) for value, _, _ in expected.values())
    assert len(table) == defined and table["value"].notna().all()
    assert keyed.loc[("rmse_mean", 1, "model"), "n_starts"] == 11
    assert keyed.loc[("rmse_mean", 2, "model"), "n_starts"] == 10
    assert ("bias", 3, "persistence") not in keyed.index
