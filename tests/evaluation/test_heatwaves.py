from __future__ import annotations

import datetime as dt
from types import SimpleNamespace

import numpy as np
import pytest

from hybridom.errors import UserError
from hybridom.evaluation.averages import average
from hybridom.evaluation.bootstrap import Means
from hybridom.evaluation.case import open_case
from hybridom.evaluation.contingency import KINDS
from hybridom.evaluation.families import FAMILIES
from hybridom.evaluation.heatwaves import INTENSITIES, LAG, Events, begin, finish
from hybridom.evaluation.scores import score_case
from hybridom.evaluation.tables import write_parquet
from tests.evaluation import synthetic
from tests.evaluation.synthetic import in_region

DAYS = 16


def chosen(config):
    """The configuration with this family."""
    settings = config.evaluation.model_copy(update={"families": ("heatwaves",)})
    return config.model_copy(update={"evaluation": settings})


def heatwave_days(above):
    """The definition as a loop over the runs of one series: days above, days of heatwaves."""
    runs, begin_of = [], None
    for day, high in enumerate([*above, False]):
        if high and begin_of is None:
            begin_of = day
        if not high and begin_of is not None:
            runs.append((begin_of, day - 1))
            begin_of = None
    events = [run for run in runs if run[1] - run[0] + 1 >= 5]
    joined = []
    for first, last in events:
        if joined and first - joined[-1][1] - 1 <= 2:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    found = np.zeros(len(above), bool)
    for first, last in joined:
        found[first : last + 1] = True
    return found


def streamed(above):
    """Heatwave days as `Events` tells them, each when it is certain; above is (days, cells)."""
    events, found = Events(above.shape[1]), []
    for number, day in enumerate(above):
        events.add(day)
        if number >= LAG:
            found.append(events.day(LAG).copy())
    found += [events.day(back).copy() for back in range(min(LAG, len(above)) - 1, -1, -1)]
    return np.stack(found)


def series(text):
    """Of a text such as `11111..1`."""
    return np.array([letter == "1" for letter in text])


# the definition


@pytest.mark.parametrize(
    ("above", "events"),
    [
        (".1111..........", "..............."),  # four days
        (".11111.........", ".11111........."),  # exactly five
        ("11111..11111...", "111111111111..."),  # two days between
        ("11111.11111....", "11111111111...."),  # one day between
        ("11111...11111..", "11111...11111.."),  # three days between
        ("11111..1111....", "11111.........."),  # the second is too short
        ("1111..11111....", "......11111...."),  # the first is too short
        ("11111..11111.11111.11111", "111111111111111111111111"),  # one after another
        ("11111..1..11111.", "11111.....11111."),  # five days between, one of them above
        (".....11111", ".....11111"),  # up to the last day
        ("..........1111", ".............."),  # cut at the end
        ("11111", "11111"),
        ("1111", "...."),
    ],
)
def test_events_of_five_days_are_found_and_joined_over_two(above, events):
    wanted = series(events)
    np.testing.assert_array_equal(heatwave_days(series(above)), wanted)
    np.testing.assert_array_equal(streamed(series(above)[:, None])[:, 0], wanted)


@pytest.mark.parametrize("days", [1, 4, 5, 6, 7, 8, 61])
def test_streamed_days_equal_those_of_whole_series(days):
    rng = np.random.default_rng(days)
    above = rng.random((days, 3000)) < np.linspace(0.5, 0.98, 3000)
    found = streamed(above)
    for cell in range(above.shape[1]):
        np.testing.assert_array_equal(found[:, cell], heatwave_days(above[:, cell]))


def test_every_series_of_thirteen_days_is_right():
    above = (np.arange(2**13)[None, :] >> np.arange(13)[:, None]) % 2 == 1
    found = streamed(above)
    wanted = np.stack([heatwave_days(column) for column in above.T], axis=1)
    np.testing.assert_array_equal(found, wanted)


# areas and intensities


def warm(world):
    """Heat the topmost level so that days above the threshold come in runs of many lengths."""
    rng = np.random.default_rng(11)
    shape = world.wet[0].shape

    def spells(days):
        """bool (days, ny, nx), each cell warm nine tenths of the time."""
        return rng.random((days, *shape)) < 0.9

    limit = np.stack(
        [
            threshold_of(world, world.first_day + dt.timedelta(n))
            for n in range(len(world.truth["zos"]))
        ]
    )
    high = spells(len(limit))
    world.truth["thetao"][:, 0] = limit + np.where(high, 1.0, -0.5) * rng.uniform(
        0.1, 2, limit.shape
    )
    for start, fields in world.forecasts.items():
        span = slice(world.on(start), world.on(start) + DAYS + 1)
        agree = rng.random(high[span].shape) < 0.9
        warm_days = np.where(agree, high[span], ~high[span])
        fields["thetao"][:, 0] = limit[span] + np.where(warm_days, 1.0, -0.5) * rng.uniform(
            0.1, 2, limit[span].shape
        )
    for fields in (world.truth, *world.forecasts.values()):
        fields["thetao"] = fields["thetao"].astype(np.float32).astype(float)
    synthetic.write_world(world)


def rows_of(day):
    if (day.month, day.day) == (2, 29):
        return [58, 59]
    return [day.replace(year=2001).timetuple().tm_yday - 1]


def threshold_of(world, day):
    return world.thresholds["thetao"][rows_of(day), 0, 0].astype(float).mean(axis=0)


def normal_of(world, day):
    return world.climatology["thetao"][rows_of(day), 0].mean(axis=0)


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A warm world, and the tables of its starts."""
    world = synthetic.make_world(tmp_path_factory.mktemp("heatwaves"), days=DAYS, resolution=20.0)
    warm(world)
    config = chosen(world.config)
    tables = {}
    for start in config.forecast.start_dates():
        case = open_case(config, world.layout, start)
        tables[start] = score_case(case, config.evaluation)["heatwaves"]
        write_parquet(tables[start], world.layout.scores(start, "heatwaves"))
    return SimpleNamespace(world=world, config=config, tables=tables)


def forecast_of(world, start, system):
    """Leads 0 to the last of the topmost temperature."""
    stored = world.forecasts[start]["thetao"][:, 0]
    if system == "model":
        return stored
    if system == "persistence":
        return np.broadcast_to(stored[0], stored.shape)
    days = [start + dt.timedelta(lead) for lead in range(DAYS + 1)]
    normals = np.stack([normal_of(world, day) for day in days])
    if system == "climatology":
        return normals
    left = np.array([1.0, *world.damping["thetao"][:, 0]])[:, None, None]
    return normals + left * (stored[0] - normals[0])


def counted(world, start, system, region):
    """Metric -> (leads from 1,) by loops over cells and runs."""
    grid, span = world.grid, slice(world.on(start), world.on(start) + DAYS + 1)
    days = [start + dt.timedelta(lead) for lead in range(DAYS + 1)]
    truth, forecast = world.truth["thetao"][span, 0], forecast_of(world, start, system)
    limits = np.stack([threshold_of(world, day) for day in days])
    normals = np.stack([normal_of(world, day) for day in days])
    found = {name: np.zeros(DAYS + 1) for name in (*KINDS, *INTENSITIES)}
    for j in range(grid.ny):
        for i in range(grid.nx):
            if not world.wet[0, j, i] or not in_region(world, region, j, i):
                continue
            area = grid.area[j, 0]
            happens = heatwave_days(truth[:, j, i] > limits[:, j, i])
            predicted = heatwave_days(forecast[:, j, i] > limits[:, j, i])
            found["hits"] += area * (happens & predicted)
            found["misses"] += area * (happens & ~predicted)
            found["false_alarms"] += area * (~happens & predicted)
            found["correct_negatives"] += area * (~happens & ~predicted)
            anomaly = truth[:, j, i] - normals[:, j, i]
            found["intensity_sum_truth"] += area * np.where(happens, anomaly, 0.0)
            anomaly = forecast[:, j, i] - normals[:, j, i]
            found["intensity_sum_forecast"] += area * np.where(predicted, anomaly, 0.0)
    return {name: sums[1:] for name, sums in found.items()}


@pytest.mark.parametrize("system", ["model", "persistence", "climatology", "damped_persistence"])
@pytest.mark.parametrize("region", ["global", "tropics", "pacific"])
def test_areas_and_intensities_equal_loops_over_cells_and_runs(scored, system, region):
    for start, table in scored.tables.items():
        for metric, wanted in counted(scored.world, start, system, region).items():
            rows = table[
                (table["system"] == system)
                & (table["region"] == region)
                & (table["metric"] == metric)
            ].sort_values("lead")
            assert rows["lead"].tolist() == list(range(1, DAYS + 1))
            scale = scored.world.grid.area.max()
            np.testing.assert_allclose(rows["value"], wanted, rtol=2e-6, atol=1e-6 * scale)


def test_heatwaves_begin_and_end_and_agree_in_part(scored):
    """The comparison above would not mean much otherwise."""
    sums = counted(scored.world, scored.config.forecast.first, "model", "global")
    for kind in KINDS:
        assert (sums[kind] > 0).sum() > 5, kind


def test_the_table_has_every_combination_once(scored):
    table = scored.tables[scored.config.forecast.first]
    keys = ["lead", "region", "variable", "depth", "system", "metric"]
    assert list(table.columns) == ["start", *keys, "value"]
    assert not table.duplicated(keys).any()
    assert len(table) == DAYS * 3 * 4 * (len(KINDS) + len(INTENSITIES))
    assert set(table["variable"]) == {"thetao"} and set(table["depth"]) == {5.0}


def test_scores_of_all_starts_are_made_of_their_mean_areas(scored):
    world, starts = scored.world, scored.config.forecast.start_dates()
    paths = [world.layout.scores(start, "heatwaves") for start in starts]
    table = average(FAMILIES["heatwaves"], paths, scored.config.evaluation.bootstrap)
    both = [counted(world, start, "model", "tropics") for start in starts]
    lead = 9
    mean = {name: np.mean([sums[name][lead - 1] for sums in both]) for name in both[0]}
    hits, misses, false = (mean[kind] for kind in ("hits", "misses", "false_alarms"))
    everywhere = sum(mean[kind] for kind in KINDS)
    wanted = {
        "csi": hits / (hits + misses + false),
        "pod": hits / (hits + misses),
        "far": false / (hits + false),
        "area_fraction_forecast": (hits + false) / everywhere,
        "area_fraction_truth": (hits + misses) / everywhere,
        "intensity_forecast": mean["intensity_sum_forecast"] / (hits + false),
        "intensity_truth": mean["intensity_sum_truth"] / (hits + misses),
    }
    rows = table[
        (table["lead"] == lead) & (table["region"] == "tropics") & (table["system"] == "model")
    ]
    found = dict(zip(rows["metric"], rows["value"], strict=True))
    assert found == pytest.approx(wanted, rel=1e-5)


def perfect(world):
    for start, fields in world.forecasts.items():
        span = slice(world.on(start), world.on(start) + DAYS + 1)
        fields["thetao"] = world.truth["thetao"][span]
        synthetic.write_forecast(world, start)


def test_a_perfect_forecast_finds_all_and_the_climatology_none(scored, tmp_path):
    world = synthetic.make_world(tmp_path, days=DAYS, starts=1)
    world.climatology["thetao"] = np.minimum(
        world.climatology["thetao"], np.nanmin(world.thresholds["thetao"]) - 1.0
    )
    warm(world)
    perfect(world)
    config = chosen(world.config)
    start = config.forecast.first
    table = score_case(open_case(config, world.layout, start), config.evaluation)["heatwaves"]
    table = table[(table["region"] == "global") & (table["lead"] == 8)]
    found = {}
    for system in ("model", "climatology"):
        rows = table[table["system"] == system]
        sums = {m: np.array([[v]]) for m, v in zip(rows["metric"], rows["value"], strict=True)}
        scores = finish(Means(sums, np.ones((1, 1))))
        found[system] = {name: float(score[0, 0]) for name, score in scores.items()}
    model, climatology = found["model"], found["climatology"]
    assert (model["csi"], model["pod"], model["far"]) == (1.0, 1.0, 0.0)
    assert model["intensity_forecast"] == model["intensity_truth"] > 0
    assert model["area_fraction_forecast"] == model["area_fraction_truth"] > 0
    assert (climatology["csi"], climatology["pod"]) == (0.0, 0.0)
    assert climatology["area_fraction_forecast"] == 0.0
    assert np.isnan(climatology["far"]) and np.isnan(climatology["intensity_forecast"])


def test_the_series_begins_with_the_initial_state(tmp_path):
    """Leads 0 to 4 above the threshold are an event, leads 1 to 4 are none; at it is not above."""
    world = synthetic.make_world(tmp_path, days=DAYS, starts=1)
    start = world.config.forecast.first
    days = [start + dt.timedelta(lead) for lead in range(DAYS + 1)]
    limits = np.stack([threshold_of(world, day) for day in days])
    for first, wanted in ((0, [1, 2, 3, 4]), (1, [])):
        high = (np.arange(DAYS + 1) >= first) & (np.arange(DAYS + 1) <= 4)
        fields = limits + np.where(high, 0.5, 0.0)[:, None, None]
        world.truth["thetao"][: DAYS + 1, 0] = fields
        world.forecasts[start]["thetao"][:, 0] = fields
        synthetic.write_world(world)
        config = chosen(world.config)
        table = score_case(open_case(config, world.layout, start), config.evaluation)["heatwaves"]
        rows = table[(table["system"] == "model") & (table["metric"] == "hits")]
        rows = rows[(rows["region"] == "global") & (rows["value"] > 0)]
        assert rows["lead"].tolist() == wanted


def test_without_climatology_there_are_no_intensities(scored):
    case = open_case(scored.config, scored.world.layout, scored.config.forecast.first)
    systems = {name: case.systems[name] for name in ("model", "persistence")}
    bare = type(case)(**{**vars(case), "climatology": None, "systems": systems})
    accumulator = begin(bare, scored.config.evaluation)
    for day in bare.each_day():
        accumulator.add(day)
    table = accumulator.table()
    assert set(table["metric"]) == set(KINDS)
    whole = scored.tables[scored.config.forecast.first]
    kept = whole["system"].isin(["model", "persistence"]) & whole["metric"].isin(KINDS)
    np.testing.assert_array_equal(table["value"], whole.loc[kept, "value"])
    assert accumulator.table().equals(table)
    assert "intensity_truth" not in finish(
        Means({k: np.ones((1, 1)) for k in KINDS}, np.ones((1, 1)))
    )


def test_thresholds_below_the_topmost_level_are_refused(tmp_path):
    extremes = {"depths": (95.0,)}
    world = synthetic.make_world(tmp_path, days=2, starts=1, extremes=extremes)
    config = chosen(world.config)
    case = open_case(config, world.layout, config.forecast.first)
    with pytest.raises(UserError, match=r"no thresholds at the topmost level \(5 m\)"):
        begin(case, config.evaluation)
    with pytest.raises(UserError, match="heatwaves needs thresholds"):
        begin(SimpleNamespace(thresholds=None, start=case.start), config.evaluation)
