"""The baseline `driver`: the coarser model's forecast on the cells of the region."""

from __future__ import annotations

import math
import threading

import numpy as np
import pandas as pd
import pytest

from hybridom.config import narrow
from hybridom.errors import UserError
from hybridom.evaluation.case import AHEAD, open_case
from hybridom.evaluation.driver import HELD, Driven
from hybridom.evaluation.external.cases import baselines
from hybridom.evaluation.scores import aggregate, evaluate_start
from hybridom.variables import PROGNOSTIC, VARIABLES
from tests.evaluation.regional import driver_field, make_region, write_driver_forecast


@pytest.fixture(scope="module")
def region(tmp_path_factory):
    return make_region(tmp_path_factory.mktemp("driver"))


class Counting:
    """A forecast whose fields tell their lead, and that counts how often each lead is made."""

    def __init__(self, days=12, shape=(2, 3, 4)):
        self.days, self.made, self.shape = days, [], shape
        self.lock = threading.Lock()

    def state(self, day):
        with self.lock:
            self.made.append(day)
        return {
            name: np.full(self.shape if VARIABLES[name].has_depth else self.shape[1:], 10.0 * day)
            for name in PROGNOSTIC
        }


def test_rmse_of_the_driver_equals_loops_over_wet_cells(region):
    """The driver's fields are planes, which interpolation keeps."""
    config, start = narrow(region.config, "evaluate"), region.config.forecast.start_dates()[1]
    evaluate_start(config, region.layout, start)
    table = pd.read_parquet(region.layout.scores(start))
    table = table[(table["system"] == "driver") & (table["region"] == "west")]
    for name, lead, level in (("thetao", 1, 0), ("so", 3, 2), ("vo", 5, 1), ("zos", 4, 0)):
        field = driver_field(region, name, lead)
        truth = region.truth[name][region.on(start) + lead]
        truth = truth if VARIABLES[name].has_depth else truth[None]
        total = error = square = 0.0
        for j in range(region.grid.ny):
            for i in range(region.grid.nx):
                if region.wet[level, j, i] and 120 <= region.grid.lon[i] % 360 <= 180:
                    area = region.grid.area[j, 0]
                    e = field[level, j, i] - truth[level, j, i]
                    total, error, square = total + area, error + area * e, square + area * e * e
        depth = region.grid.depth[level]
        place = table["depth"] == depth if VARIABLES[name].has_depth else table["depth"].isna()
        rows = table[place & (table["variable"] == name) & (table["lead"] == lead)]
        found = rows.set_index("metric")["value"]
        assert found["rmse"] == pytest.approx(math.sqrt(square / total), rel=1e-4)
        assert found["bias"] == pytest.approx(error / total, rel=1e-4, abs=1e-5)


def test_skill_over_the_driver_is_in_the_tables_and_on_the_page(region):
    config = narrow(region.config, "evaluate")
    for start in config.forecast.start_dates():
        evaluate_start(config, region.layout, start)
    aggregate(config, region.layout)
    assert "skill_driver" in set(pd.read_parquet(region.layout.scores_parquet)["metric"])
    assert {"beats_driver", "surely_driver"} <= set(pd.read_csv(region.layout.skill_table))
    assert "interpolated to the region's cells" in region.layout.summary.read_text()


def test_the_driver_begins_from_its_own_state(region):
    """Its lead 0 is its own analysis, not the region's."""
    case = open_case(narrow(region.config, "evaluate"), region.layout, region.config.forecast.first)
    initial = case.day(0).forecast("driver", "so")
    wet = region.wet
    np.testing.assert_allclose(initial[wet], driver_field(region, "so", 0)[wet], atol=1e-6)
    assert initial.shape == wet.shape and case.day(0).forecast("driver", "zos").shape[0] == 1


@pytest.mark.parametrize("threads", [1, 4])
def test_every_lead_is_made_once_however_often_it_is_asked_for(region, threads, monkeypatch):
    config, start = narrow(region.config, "evaluate"), region.config.forecast.first
    case = open_case(config, region.layout, start, threads)
    counting = Counting(days=5, shape=region.grid.shape)
    case = type(case)(**{**vars(case), "systems": {**case.systems, "driver": Driven(counting)}})
    for day in case.each_day():
        if day.lead == 1:
            for _ in range(3):  # as several families do
                assert (case.day(0).forecast("driver", "uo") == 0.0).all()
        for name in PROGNOSTIC:
            assert (day.forecast("driver", name) == 10.0 * day.lead).all()
    assert sorted(counting.made) == [0, 1, 2, 3, 4, 5]


def test_leads_that_several_threads_ask_for_at_once_are_made_once():
    counting = Counting()
    driven, barrier, found = Driven(counting), threading.Barrier(8), []

    def ask(name):
        barrier.wait()
        found.append(driven.field(name, 7, None)[0, 0, 0])

    threads = [threading.Thread(target=ask, args=(PROGNOSTIC[n % 5],)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counting.made == [7] and found == [70.0] * 8


def test_few_leads_are_held_and_the_lowest_go_first():
    counting = Counting()
    driven = Driven(counting)
    for lead in range(10):
        driven.prepare(lead)
    for lead in range(9, 9 - HELD, -1):
        driven.prepare(lead)
    assert counting.made == list(range(10))
    driven.prepare(9 - HELD)
    assert counting.made[-1] == 9 - HELD
    assert HELD >= AHEAD + 2


def test_an_error_of_the_driver_comes_with_its_lead(region):
    class Broken(Counting):
        def state(self, day):
            if day == 3:
                raise UserError("lead 3 is damaged")
            return super().state(day)

    config, start = narrow(region.config, "evaluate"), region.config.forecast.first
    case = open_case(config, region.layout, start)
    broken = Driven(Broken(days=5, shape=region.grid.shape))
    case = type(case)(**{**vars(case), "systems": {**case.systems, "driver": broken}})
    seen = []
    with pytest.raises(UserError, match="lead 3 is damaged"):
        for day in case.each_day():
            seen.append(day.lead)
    assert seen == [1, 2]


def test_a_driver_forecast_that_is_too_short_is_refused_with_the_numbers(tmp_path):
    region = make_region(tmp_path, starts=1)
    start = region.config.forecast.first
    write_driver_forecast(region.layout, start, 4)
    with pytest.raises(UserError, match=r"has 4 days, expected the 5 of forecast\.days"):
        open_case(narrow(region.config, "evaluate"), region.layout, start)
    write_driver_forecast(region.layout, start, 5)
    open_case(narrow(region.config, "evaluate"), region.layout, start)


def test_a_driver_without_a_forecast_is_refused(tmp_path):
    region = make_region(tmp_path, starts=1)
    start = region.config.forecast.first
    region.layout.driver.forecast_manifest(start).unlink()
    with pytest.raises(UserError, match=f"forecast --start {start}"):
        open_case(narrow(region.config, "evaluate"), region.layout, start)


def test_a_driver_is_no_baseline_of_files():
    class Files:
        damping = None

    class Opened:
        files, climatology = Files, None

        @staticmethod
        def initial_state():
            return None

    with pytest.raises(UserError, match=r"--baselines driver: .*region's own experiment only"):
        baselines(Opened, ("driver",))
