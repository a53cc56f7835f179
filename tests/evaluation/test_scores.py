from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from hybridom.config import narrow
from hybridom.errors import UserError
from hybridom.evaluation.averages import average
from hybridom.evaluation.families import FAMILIES
from hybridom.evaluation.normalised import ALL
from hybridom.evaluation.scores import aggregate, evaluate_start
from hybridom.variables import PROGNOSTIC, VARIABLES
from tests.evaluation.synthetic import forecast_of, in_region

COLUMNS = ["start", "lead", "region", "variable", "depth", "system", "metric", "value"]
SYSTEMS = ["model", "persistence", "climatology", "damped_persistence"]


@pytest.fixture(scope="module")
def scored(shared_world):
    """The shared world with all its forecasts scored, through the stage's own configuration."""
    config = narrow(shared_world.config, "evaluate")
    for start in config.forecast.start_dates():
        evaluate_start(config, shared_world.layout, start)
    aggregate(config, shared_world.layout)
    return shared_world


@pytest.fixture
def table(scored):
    return pd.read_parquet(scored.layout.scores(scored.config.forecast.first))


def value(table, **keys):
    """The one value of these keys; depth None is the whole variable."""
    depth = keys.pop("depth")
    keep = table["depth"].isna() if depth is None else table["depth"] == depth
    for column, key in keys.items():
        keep &= table[column] == key
    assert keep.sum() == 1, (keys, depth)
    return float(table.loc[keep, "value"].iloc[0])


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("region", ["global", "tropics", "pacific"])
def test_rmse_and_bias_equal_loops_over_wet_cells(scored, table, system, region):
    world, start = scored, scored.config.forecast.first
    for name, lead, level in (("thetao", 1, 0), ("so", 3, 2), ("vo", 5, 1), ("zos", 3, 0)):
        x = np.atleast_3d(forecast_of(world, start, system, name, lead))
        t = np.atleast_3d(world.truth[name][world.on(start) + lead])
        if not VARIABLES[name].has_depth:
            x, t = x[None, ..., 0], t[None, ..., 0]
        total = error = square = 0.0
        for j in range(world.grid.ny):
            for i in range(world.grid.nx):
                if world.wet[level, j, i] and in_region(world, region, j, i):
                    area = world.grid.area[j, 0]
                    e = x[level, j, i] - t[level, j, i]
                    total, error, square = total + area, error + area * e, square + area * e * e
        depth = world.grid.depth[level] if VARIABLES[name].has_depth else None
        keys = {"lead": lead, "region": region, "variable": name, "depth": depth, "system": system}
        assert value(table, metric="rmse", **keys) == pytest.approx(math.sqrt(square / total))
        assert value(table, metric="bias", **keys) == pytest.approx(error / total, abs=1e-12)


def test_a_whole_variable_is_weighted_by_volume(scored, table):
    world, start = scored, scored.config.forecast.first
    error = world.forecasts[start]["uo"][2] - world.truth["uo"][world.on(start) + 2]
    volume = (world.wet * world.grid.area * world.grid.dz[:, None, None])[world.wet]
    expected = math.sqrt((volume * error[world.wet] ** 2).sum() / volume.sum())
    keys = {"lead": 2, "region": "global", "variable": "uo", "system": "model", "metric": "rmse"}
    assert value(table, depth=None, **keys) == pytest.approx(expected)


def test_the_table_has_every_combination_once_and_no_lead_zero(scored, table):
    assert list(table.columns) == COLUMNS
    keys = COLUMNS[:-1]
    assert not table.duplicated(keys).any()
    assert sorted(table["lead"].unique()) == [1, 2, 3, 4, 5]
    assert list(dict.fromkeys(table["variable"])) == [*PROGNOSTIC, ALL]
    table = table[table["variable"] != ALL]
    levels = 4 * (scored.grid.nz + 1) + 1
    assert list(dict.fromkeys(table["system"])) == SYSTEMS
    assert len(table) == 5 * 3 * levels * len(SYSTEMS) * 6
    assert (table["start"] == pd.Timestamp(scored.config.forecast.first)).all()


def test_only_the_correlation_of_the_climatology_is_undefined(table):
    undefined = table[table["value"].isna()]
    assert set(undefined["system"]) == {"climatology"}
    assert set(undefined["metric"]) == {"acc_centred", "acc_uncentred"}


def test_persistence_starts_from_the_forecasts_own_initial_state(synthetic, world):
    start = world.config.forecast.first
    world.forecasts[start]["zos"][0] += 0.25
    world.forecasts[start]["zos"][1:] = world.truth["zos"][1:4]
    synthetic.write_forecast(world, start)
    evaluate_start(world.config, world.layout, start)
    table = pd.read_parquet(world.layout.scores(start))
    keys = {"lead": 1, "region": "global", "variable": "zos", "depth": None}
    assert value(table, system="model", metric="rmse", **keys) == 0.0
    wet = world.wet[0]
    area = np.broadcast_to(world.grid.area, wet.shape)[wet]
    error = (world.forecasts[start]["zos"][0].astype(np.float32) - world.truth["zos"][1])[wet]
    expected = (area * error).sum() / area.sum()
    assert value(table, system="persistence", metric="bias", **keys) == pytest.approx(expected)


def test_scoring_twice_gives_the_same_bytes(scored):
    path = scored.layout.scores(scored.config.forecast.first)
    before = path.read_bytes()
    evaluate_start(scored.config, scored.layout, scored.config.forecast.first)
    assert path.read_bytes() == before


def test_rmse_mean_is_a_mean_of_roots_and_rmse_pooled_the_root_of_a_mean(scored):
    starts = scored.config.forecast.start_dates()
    single = [pd.read_parquet(scored.layout.scores(start)) for start in starts]
    mean = pd.read_parquet(scored.layout.scores_parquet)
    keys = {"lead": 4, "region": "pacific", "variable": "so", "depth": 20.0, "system": "model"}
    a, b = (value(t, metric="rmse", **keys) for t in single)
    assert a != b
    assert value(mean, metric="rmse_mean", **keys) == pytest.approx((a + b) / 2)
    assert value(mean, metric="rmse_pooled", **keys) == pytest.approx(math.sqrt((a**2 + b**2) / 2))
    assert "rmse" not in set(mean["metric"])


def test_csv_and_parquet_hold_the_same_scores(scored):
    parquet = pd.read_parquet(scored.layout.scores_parquet)
    csv = pd.read_csv(scored.layout.scores_table)
    assert list(csv.columns) == list(parquet.columns)
    np.testing.assert_allclose(csv["value"], parquet["value"], rtol=1e-5)
    assert parquet["value"].notna().all()


def test_scores_that_are_missing_are_asked_for_by_date(world):
    with pytest.raises(UserError, match=r"2004-02-26\.parquet: .*--start 2004-02-26"):
        aggregate(world.config, world.layout)


def test_scores_made_with_other_leads_are_refused(scored, tmp_path):
    starts = scored.config.forecast.start_dates()
    path = scored.layout.scores(starts[1])
    before = path.read_bytes()
    try:
        table = pd.read_parquet(path)
        table[table["lead"] < 5].to_parquet(path, index=False)
        with pytest.raises(UserError, match=r"2004-02-28\.parquet: its rows differ"):
            average(
                FAMILIES["scores"],
                [scored.layout.scores(start) for start in starts],
                scored.config.evaluation.bootstrap,
            )
    finally:
        path.write_bytes(before)


def with_baselines(world, *names):
    """The world's configuration with these baselines."""
    evaluation = world.config.evaluation.model_copy(update={"baselines": names})
    return world.config.model_copy(update={"evaluation": evaluation})


def test_only_the_configured_baselines_are_scored_and_no_damping_is_asked_for(world):
    world.layout.damping.unlink()
    config, start = with_baselines(world, "climatology"), world.config.forecast.first
    evaluate_start(config, world.layout, start)
    aggregate(config, world.layout)
    for path in (world.layout.scores(start), world.layout.scores_parquet):
        assert set(pd.read_parquet(path)["system"]) == {"model", "climatology"}
    skill = pd.read_csv(world.layout.skill_table)
    assert {x for x in skill if x.startswith("beats_")} == {
        "beats_climatology",
        "beats_every",
        "beats_no",
    }
    assert "Persistence" not in world.layout.summary.read_text()


def test_scores_of_other_baselines_are_refused(world):
    evaluate_start(with_baselines(world, "climatology"), world.layout, world.config.forecast.first)
    with pytest.raises(UserError, match=r"scores of model, climatology found, .*baselines"):
        aggregate(world.config, world.layout)


def test_evaluation_knows_no_model():
    code = (
        "import sys, hybridom.evaluation.scores;"
        "bad = [m for m in sys.modules if m == 'torch' or m.startswith('hybridom.')"
        " and m.split('.')[1] not in {'config', 'constants', 'data', 'errors', 'evaluation',"
        " 'files', 'grid', 'layout', 'masks', 'metrics', 'progress', 'quantities', 'variables'}];"
        " assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
