from __future__ import annotations

import datetime as dt
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import xskillscore as xs

from hybridom.errors import UserError
from hybridom.evaluation import contingency
from hybridom.evaluation.averages import average
from hybridom.evaluation.bootstrap import Means
from hybridom.evaluation.case import open_case
from hybridom.evaluation.contingency import KINDS, LevelCells, forecast_at
from hybridom.evaluation.extremes import begin, finish
from hybridom.evaluation.families import FAMILIES
from hybridom.evaluation.regions import Regions
from hybridom.evaluation.scores import score_case
from hybridom.evaluation.tables import write_parquet
from hybridom.variables import PROGNOSTIC, VARIABLES
from tests.evaluation import synthetic
from tests.evaluation.synthetic import forecast_of, in_region

EXTREMES = {"percentiles": (90.0, 97.5), "depths": (0.0, 95.0)}
LEVELS = (0, 2)
SYSTEMS = ["model", "persistence", "climatology", "damped_persistence"]


def chosen(config):
    """The configuration with this family."""
    settings = config.evaluation.model_copy(update={"families": ("extremes",)})
    return config.model_copy(update={"evaluation": settings})


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A world, and the tables of its starts."""
    world = synthetic.make_world(tmp_path_factory.mktemp("extremes"), days=3, extremes=EXTREMES)
    config = chosen(world.config)
    tables = {}
    for start in config.forecast.start_dates():
        case = open_case(config, world.layout, start)
        tables[start] = score_case(case, config.evaluation)["extremes"]
        write_parquet(tables[start], world.layout.scores(start, "extremes"))
    return SimpleNamespace(world=world, config=config, tables=tables)


def row_of(day):
    if (day.month, day.day) == (2, 29):
        return slice(58, 60)
    first = day.replace(year=2001).timetuple().tm_yday - 1
    return slice(first, first + 1)


def counted(world, start, system, name, level, lead, region, place):
    """Areas of the four kinds by a loop over cells."""
    day = start + dt.timedelta(lead)
    deep = VARIABLES[name].has_depth
    limit = world.thresholds[name][row_of(day), place].astype(float).mean(axis=0)
    limit = limit[LEVELS.index(level)] if deep else limit
    forecast = forecast_of(world, start, system, name, lead)
    truth = world.truth[name][world.on(day)]
    if deep:
        forecast, truth = forecast[level], truth[level]
    found = dict.fromkeys(KINDS, 0.0)
    for j in range(world.grid.ny):
        for i in range(world.grid.nx):
            if not world.wet[level, j, i] or not in_region(world, region, j, i):
                continue
            happens, predicted = truth[j, i] > limit[j, i], forecast[j, i] > limit[j, i]
            if happens:
                kind = "hits" if predicted else "misses"
            else:
                kind = "false_alarms" if predicted else "correct_negatives"
            found[kind] += world.grid.area[j, 0]
    return found


def value(table, **keys):
    depth = keys.pop("depth")
    keep = table["depth"].isna() if depth is None else table["depth"] == depth
    for column, key in keys.items():
        keep &= table[column] == key
    assert keep.sum() == 1, (keys, depth)
    return float(table.loc[keep, "value"].iloc[0])


# areas


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("region", ["global", "tropics", "pacific"])
def test_areas_equal_loops_over_wet_cells(scored, system, region):
    world, start = scored.world, scored.config.forecast.first
    cases = (("thetao", 0, 1), ("thetao", 2, 3), ("uo", 2, 2), ("zos", 0, 3), ("so", 0, 2))
    for name, level, lead in cases:
        depth = world.grid.depth[level] if VARIABLES[name].has_depth else None
        keys = {"lead": lead, "region": region, "variable": name, "depth": depth, "system": system}
        for place, text in enumerate(("p90", "p97.5")):
            wanted = counted(world, start, system, name, level, lead, region, place)
            for kind, area in wanted.items():
                found = value(scored.tables[start], metric=f"{kind}_{text}", **keys)
                assert found == pytest.approx(area, rel=1e-12), (name, kind)


def test_the_table_has_every_combination_once(scored):
    table = scored.tables[scored.config.forecast.first]
    keys = ["lead", "region", "variable", "depth", "system", "metric"]
    assert list(table.columns) == ["start", *keys, "value"]
    assert not table.duplicated(keys).any()
    assert len(table) == 3 * 3 * (4 * 2 + 1) * len(SYSTEMS) * 4 * 2
    assert list(dict.fromkeys(table["variable"])) == list(PROGNOSTIC)
    assert sorted(table["lead"].unique()) == [1, 2, 3]
    assert set(table.loc[table["variable"] == "vo", "depth"]) == {5.0, 100.0}
    assert table["value"].notna().all() and (table["value"] >= 0).all()


def test_a_region_without_wet_cells_at_a_level_has_no_area(scored):
    inside = np.zeros((2, 2, 3), bool)
    inside[0], inside[1, 0] = True, True
    wet = np.array([[[1, 1, 1], [1, 1, 1]], [[0, 0, 0], [1, 0, 1]]], bool)
    area = np.array([[2.0, 2.0, 2.0], [3.0, 3.0, 3.0]])
    regions = Regions(("global", "north"), area, wet, np.ones(2), inside)
    cells = LevelCells(regions, 1)
    found = cells.contingency(np.array([True, False]), np.array([True, True]))
    np.testing.assert_array_equal(found, [[0, np.nan], [3, np.nan], [0, np.nan], [3, np.nan]])
    assert cells.take(np.arange(6).reshape(2, 3)).tolist() == [3, 5]


def test_chosen_levels_of_a_system_are_those_of_its_whole_field(scored):
    case = open_case(scored.config, scored.world.layout, scored.config.forecast.first)
    for lead in (0, 2):
        for system in case.systems:
            found = forecast_at(case.day(lead), system, "so", [2, 0])
            whole = case.day(lead).forecast(system, "so")[[2, 0]]
            np.testing.assert_array_equal(found, whole)


def test_a_case_without_thresholds_is_refused(scored):
    case = SimpleNamespace(thresholds=None, start=dt.date(2004, 1, 1))
    with pytest.raises(UserError, match=r"families: extremes needs thresholds"):
        begin(case, scored.config.evaluation)


def test_a_value_at_the_threshold_is_no_event(tmp_path):
    world = synthetic.make_world(tmp_path, days=2, starts=1, extremes=EXTREMES)
    start = world.config.forecast.first
    day = start + dt.timedelta(1)
    limit = world.thresholds["thetao"][row_of(day), 0, 0].mean(axis=0)
    world.forecasts[start]["thetao"][1, 0] = limit
    world.truth["thetao"][world.on(day), 0] = np.nextafter(limit, np.float32(np.inf))
    synthetic.write_world(world)
    config = chosen(world.config)
    table = score_case(open_case(config, world.layout, start), config.evaluation)["extremes"]
    keys = {"lead": 1, "region": "global", "variable": "thetao", "depth": 5.0, "system": "model"}
    found = {kind: value(table, metric=f"{kind}_p90", **keys) for kind in KINDS}
    everywhere = (world.wet[0] * world.grid.area).sum()
    assert found.pop("misses") == pytest.approx(everywhere)
    assert set(found.values()) == {0.0}


# scores


def scores(hits, misses, false_alarms, correct_negatives):
    table = {
        "hits": np.array([float(hits)]),
        "misses": np.array([float(misses)]),
        "false_alarms": np.array([float(false_alarms)]),
        "correct_negatives": np.array([float(correct_negatives)]),
    }
    names = ("csi", "pod", "far", "pofd", "frequency_bias", "base_rate", "sedi")
    return {name: float(getattr(contingency, name)(table)[0]) for name in names}


def test_a_perfect_forecast_has_the_best_scores():
    found = scores(3.0, 0.0, 0.0, 7.0)
    assert found == {
        **{"csi": 1.0, "pod": 1.0, "far": 0.0, "pofd": 0.0},
        **{"frequency_bias": 1.0, "base_rate": 0.3, "sedi": 1.0},
    }


def test_the_index_of_a_perfect_forecast_is_its_limit():
    nearly = [scores(1.0 - e, e, 9 * e, 9.0 - 9 * e)["sedi"] for e in (1e-3, 1e-6, 1e-12)]
    assert nearly[0] < nearly[1] < nearly[2] < 1.0
    assert nearly[2] == pytest.approx(1.0, abs=1e-12)


def test_a_forecast_that_never_exceeds_has_no_index_and_no_success():
    found = scores(0.0, 3.0, 0.0, 7.0)
    assert (found["csi"], found["pod"], found["frequency_bias"]) == (0.0, 0.0, 0.0)
    assert math.isnan(found["sedi"]) and math.isnan(found["far"])


@pytest.mark.parametrize("table", [(3, 0, 2, 5), (0, 3, 2, 5), (3, 2, 0, 5), (3, 2, 5, 0)])
def test_the_index_is_undefined_where_a_rate_is_0_or_1(table):
    assert math.isnan(scores(*table)["sedi"])


def test_without_events_all_but_false_detection_and_the_base_rate_are_undefined():
    found = scores(0.0, 0.0, 0.0, 7.0)
    assert (found.pop("pofd"), found.pop("base_rate")) == (0.0, 0.0)
    assert all(math.isnan(score) for score in found.values())


def test_the_index_of_chance_is_0_and_of_a_known_table_as_by_hand():
    """H = 0.8 and F = 0.1: (ln .1 - ln .8 - ln .9 + ln .2) / (ln .1 + ln .8 + ln .9 + ln .2)."""
    assert scores(0.02, 0.08, 0.18, 0.72)["sedi"] == pytest.approx(0.0, abs=1e-14)
    assert scores(8, 2, 9, 81)["sedi"] == pytest.approx(3.5835189384561104 / 4.240527072400182)


@pytest.mark.parametrize("seed", range(5))
def test_scores_equal_those_of_xskillscore(seed):
    """Cells of one area; categories no (below 0) and yes."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(-1, 1, 400)
    forecast = 0.5 * truth + rng.normal(-0.5, 1, 400)
    happens, predicted = truth > 0, forecast > 0
    counts = [
        happens & predicted,
        happens & ~predicted,
        ~happens & predicted,
        ~happens & ~predicted,
    ]
    found = scores(*(count.sum() for count in counts))
    edges = np.array([-np.inf, 0.0, np.inf])
    reference = xs.Contingency(
        *(xr.DataArray(x, dims="x") for x in (truth, forecast)), edges, edges, dim="x"
    )
    assert reference.hits() == counts[0].sum()
    wanted = {
        "csi": reference.threat_score(),
        "pod": reference.hit_rate(),
        "far": reference.false_alarm_ratio(),
        "pofd": reference.false_alarm_rate(),
        "frequency_bias": reference.bias_score(),
    }
    for name, score in wanted.items():
        assert found[name] == pytest.approx(float(score), rel=1e-6), name


# over start dates


def test_scores_of_all_starts_are_made_of_their_mean_areas(scored):
    world, starts = scored.world, scored.config.forecast.start_dates()
    paths = [world.layout.scores(start, "extremes") for start in starts]
    table = average(FAMILIES["extremes"], paths, scored.config.evaluation.bootstrap)
    for system in ("model", "damped_persistence"):
        pooled = dict.fromkeys(KINDS, 0.0)
        for start in starts:
            for kind, area in counted(world, start, system, "thetao", 2, 2, "tropics", 1).items():
                pooled[kind] += area
        wanted = scores(*(pooled[kind] for kind in reversed(KINDS)))
        keys = {"lead": 2, "region": "tropics", "variable": "thetao", "depth": 100.0}
        for metric in ("csi", "sedi", "frequency_bias", "base_rate"):
            found = value(table, system=system, metric=f"{metric}_p97.5", **keys)
            assert found == pytest.approx(wanted[metric], rel=1e-12), metric
    metrics = {
        f"{m}_{p}" for m in ("csi", "sedi", "frequency_bias", "base_rate") for p in ("p90", "p97.5")
    }
    assert set(table["metric"]) == metrics
    assert (table["low"] <= table["high"]).sum() > 0


def test_starts_with_many_events_weigh_more():
    values = {"hits": [0.0, 8.0], "misses": [1.0, 1.0], "false_alarms": [1.0, 0.0]}
    values["correct_negatives"] = [8.0, 1.0]
    columns = {f"{kind}_p90": np.array(x)[:, None] for kind, x in values.items()}
    found = finish(Means(columns, np.ones((1, 2))))
    assert float(found["csi_p90"][0, 0]) == pytest.approx(8 / 11)
    assert float(found["base_rate_p90"][0, 0]) == pytest.approx(0.5)
    assert isinstance(pd.Series(found["sedi_p90"][0]).iloc[0], float)
