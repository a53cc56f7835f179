"""Scores of whole cases whose errors are known in closed form."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pandas as pd
import pytest

from hybridom.errors import UserError
from hybridom.evaluation.case import Case, Day, open_case
from hybridom.evaluation.fields import OF_ERRORS, FieldScores, finish
from hybridom.evaluation.regions import region_weights
from hybridom.evaluation.stream import read_ahead
from hybridom.evaluation.systems import ClimatologyOfTheDay
from hybridom.grid import Grid

GRID = Grid.regular(5.0, lat=(-60.0, 60.0), depths=(5.0, 50.0))
LAND = np.zeros(GRID.shape, bool)
LAND[:, :2] = True  # whole rows: waves along a row stay whole
WAVES = 3
AMPLITUDE = 2.0
NORMAL = 10.0


def wave(shift=0.0, amplitude=AMPLITUDE):
    """A wave along each row about the climatology, moved eastwards by `shift` degrees."""
    along = amplitude * np.cos(WAVES * np.deg2rad(GRID.lon - shift))
    return np.where(LAND, np.nan, NORMAL + along * np.ones((GRID.nz, GRID.ny, 1)))


class Always:
    """One field for all days, as truth, climatology and system."""

    def __init__(self, values):
        self.values = values

    def field(self, name, *when):
        return self.values


def case_of(forecast, truth=None, climatology=NORMAL, **systems):
    normal = None if climatology is None else Always(np.full(GRID.shape, climatology))
    return Case(
        start=dt.date(2001, 1, 1),
        days=1,
        grid=GRID,
        wet=~LAND,
        regions=region_weights(GRID, ~LAND, {"tropics": (-20, 20, -180, 180)}),
        names=("thetao",),
        truth=Always(wave() if truth is None else truth),
        climatology=normal,
        systems={"model": Always(forecast), **systems},
    )


def scores_of(case):
    scores = FieldScores(case)
    for day in case.each_day():
        scores.add(day)
    return scores.table()


def metrics_of(case, system="model"):
    """Metric -> values of all regions, levels and the whole variable."""
    table = scores_of(case)
    table = table[table["system"] == system]
    return {name: part["value"].to_numpy() for name, part in table.groupby("metric")}


def test_a_perfect_forecast_has_no_error_and_all_correlation_and_activity():
    found = metrics_of(case_of(wave()))
    for name in ("rmse", "bias", "mae"):
        np.testing.assert_array_equal(found[name], 0.0)
    for name in ("acc_centred", "acc_uncentred", "activity"):
        np.testing.assert_allclose(found[name], 1.0, rtol=1e-12)


@pytest.mark.parametrize("shift", [5.0, 15.0, 30.0, 60.0])
def test_a_wave_that_has_moved_scores_as_its_phase(shift):
    phase = math.radians(WAVES * shift)
    found = metrics_of(case_of(wave(shift)))
    # cos(x - p) - cos(x) = 2 sin(p/2) sin(x - p/2), of mean square 2 sin^2(p/2)
    np.testing.assert_allclose(
        found["rmse"], AMPLITUDE * math.sqrt(2.0) * abs(math.sin(phase / 2)), rtol=1e-12
    )
    np.testing.assert_allclose(found["bias"], 0.0, atol=1e-12)
    for name in ("acc_centred", "acc_uncentred"):
        np.testing.assert_allclose(found[name], math.cos(phase), atol=1e-12)
    np.testing.assert_allclose(found["activity"], 1.0, rtol=1e-12)


@pytest.mark.parametrize("width", [3, 5, 9])
def test_a_running_mean_scores_as_its_response(width):
    truth, half = wave(), width // 2
    blurred = sum(np.roll(truth, n, axis=-1) for n in range(-half, half + 1)) / width
    step = math.radians(WAVES * 5.0)
    response = math.sin(width * step / 2) / (width * math.sin(step / 2))
    found = metrics_of(case_of(blurred))
    np.testing.assert_allclose(
        found["rmse"], AMPLITUDE / math.sqrt(2.0) * (1.0 - response), rtol=1e-12
    )
    np.testing.assert_allclose(found["activity"], response**2, rtol=1e-12)
    np.testing.assert_allclose(found["acc_centred"], math.copysign(1.0, response), rtol=1e-12)


def test_a_forecast_that_is_too_warm_has_that_bias_and_mean_absolute_error():
    found = metrics_of(case_of(wave() + 0.75))
    for name in ("rmse", "bias", "mae"):
        np.testing.assert_allclose(found[name], 0.75, rtol=1e-12)
    np.testing.assert_allclose(found["acc_centred"], 1.0, rtol=1e-12)
    # (A^2/2) / sqrt(A^2/2 (A^2/2 + b^2))
    variance = AMPLITUDE**2 / 2
    expected = math.sqrt(variance / (variance + 0.75**2))
    np.testing.assert_allclose(found["acc_uncentred"], expected, rtol=1e-12)


def test_the_mean_absolute_error_of_a_wave_is_that_of_its_samples():
    found = metrics_of(case_of(np.full(GRID.shape, NORMAL)))
    expected = AMPLITUDE * np.abs(np.cos(WAVES * np.deg2rad(GRID.lon))).mean()
    np.testing.assert_allclose(found["mae"], expected, rtol=1e-12)


def test_the_climatology_scores_without_a_field_as_with_one():
    case = case_of(np.full(GRID.shape, NORMAL), climatology_of_the_day=ClimatologyOfTheDay())
    with_field, without = (metrics_of(case, x) for x in ("model", "climatology_of_the_day"))
    for name in with_field:
        np.testing.assert_allclose(without[name], with_field[name], rtol=1e-12)
    np.testing.assert_allclose(without["rmse"], AMPLITUDE / math.sqrt(2.0), rtol=1e-12)
    assert np.isnan(without["acc_centred"]).all() and np.isnan(without["acc_uncentred"]).all()
    np.testing.assert_array_equal(without["activity"], 0.0)


def test_without_a_climatology_there_are_errors_and_no_anomalies():
    table = scores_of(case_of(wave(15.0), climatology=None))
    assert list(dict.fromkeys(table["metric"])) == list(OF_ERRORS)
    expected = scores_of(case_of(wave(15.0)))
    expected = expected[expected["metric"].isin(OF_ERRORS)]
    np.testing.assert_allclose(table["value"], expected["value"], rtol=1e-12, atol=1e-12)
    columns = ["lead", "region", "variable", "depth", "system", "metric"]
    pd.testing.assert_frame_equal(
        table[columns], expected[columns].reset_index(drop=True), check_categorical=False
    )


def test_averages_of_starts_need_no_climatology_either():
    means = {"rmse": np.array([[1.5]]), "bias": np.array([[0.1]]), "mae": np.array([[1.0]])}

    class Given(dict):
        def square(self, name):
            return self[name] ** 2

    assert set(finish(Given(means))) == {"rmse_mean", "rmse_pooled", "bias", "mae"}


def test_a_hole_in_a_field_that_nobody_checked_is_refused_with_variable_and_lead():
    holed = wave()
    holed[0, 10, 10] = np.nan
    with pytest.raises(UserError, match="thetao is not finite in wet cells at lead 1") as caught:
        scores_of(case_of(holed))
    assert "\n" not in str(caught.value)


class Counted:
    """Days that say how many of them are read and not yet given out."""

    def __init__(self):
        self.read, self.given, self.most = 0, 0, 0
        self.prepared = set()

    def day(self, number):
        counted = self

        class OneDay:
            lead = number

            def prepare(self):
                counted.prepared.add(number)

            def reads(self):
                assert number in counted.prepared
                return [counted.note] * 2

        return OneDay()

    def note(self):
        self.read += 1
        self.most = max(self.most, self.read / 2 - self.given)


@pytest.mark.parametrize("ahead", [1, 2, 4])
def test_days_come_in_order_and_no_more_are_held_than_was_said(ahead):
    counted, leads = Counted(), []
    for day in read_ahead((counted.day(n) for n in range(20)), ahead, threads=1):
        leads.append(day.lead)
        assert counted.read >= 2 * len(leads), "a day is given out before it is read"
        counted.given += 1
    assert leads == list(range(20))
    assert counted.read == 40
    assert counted.most <= ahead + 2


def test_an_error_of_a_read_comes_with_its_day():
    class Broken:
        def __init__(self, lead):
            self.lead = lead

        def prepare(self):
            pass

        def reads(self):
            if self.lead < 3:
                return []
            return [self.fail]

        def fail(self):
            raise UserError(f"day {self.lead}")

    seen = []
    with pytest.raises(UserError, match="day 3"):
        for day in read_ahead((Broken(n) for n in range(6)), 2, threads=2):
            seen.append(day.lead)
    assert seen == [0, 1, 2]


def test_reading_ahead_gives_the_bytes_of_reading_when_asked(shared_world):
    case = open_case(shared_world.config, shared_world.layout, shared_world.config.forecast.first)
    assert case.ahead > 0
    for lead, day in enumerate(case.each_day(), start=1):
        alone = Day(case, lead)
        for name in case.names:
            for kind in (Day.truth, Day.normal, lambda d, n: d.forecast("model", n)):
                assert kind(day, name).tobytes() == kind(alone, name).tobytes()
