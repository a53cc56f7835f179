from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import xskillscore as xs

from hybridom.config import narrow
from hybridom.config.output import BootstrapConfig, EvaluationConfig
from hybridom.constants import CP_SEAWATER, EARTH_RADIUS, GRAVITY, OMEGA, RHO_0
from hybridom.evaluation import derived
from hybridom.evaluation.averages import average
from hybridom.evaluation.currents import geostrophic_currents
from hybridom.evaluation.families import FAMILIES
from hybridom.evaluation.heat import heat_content
from hybridom.evaluation.mixed_layer import mixed_layer_depth, mixed_layer_depth_oceanbench
from hybridom.evaluation.scores import aggregate, evaluate_start
from hybridom.evaluation.systems import Persistence
from hybridom.evaluation.tables import write_parquet
from hybridom.grid import Grid
from hybridom.variables import PROGNOSTIC, VARIABLES
from tests.evaluation.in_memory import Held, make_case, scored

DEPTHS = (4.0, 12.0, 30.0, 80.0, 200.0)
SETTINGS = EvaluationConfig(heat_content=((0.0, 100.0), (50.0, 150.0)))
NAMES = ("mlotst", "mlotst_oceanbench", "ugos", "vgos", "ohc_0_100", "ohc_50_150", "ke", "eke")
BOXES = {"north": (10.0, 70.0, -180.0, 180.0), "strait": (-40.0, 40.0, 150.0, -120.0)}
METRICS = ("rmse", "bias", "mae", "correlation")


def noise(rng, grid, leads):
    """A stratified ocean, another one each day."""
    column = grid.depth[:, None, None]
    means = {"thetao": 15.0 - 0.01 * column, "so": 34.0 + 0.002 * column}
    spread = {"thetao": 0.1, "so": 0.02, "uo": 0.2, "vo": 0.2, "zos": 0.3}
    fields = {}
    for name in PROGNOSTIC:
        shape = grid.shape if VARIABLES[name].has_depth else (1, *grid.shape[1:])
        fields[name] = means.get(name, 0.0) + spread[name] * rng.normal(size=(leads, *shape))
    return fields


@pytest.fixture(scope="module")
def world():
    """Grid, mask, truth, climatology and two forecasts over two days; values on land too."""
    grid, rng = Grid.regular(15.0, depths=DEPTHS), np.random.default_rng(5)
    wet = np.arange(grid.nz)[:, None, None] < rng.integers(-1, grid.nz + 3, grid.shape[1:])
    truth, normal, other = (noise(rng, grid, 3) for _ in range(3))
    near = {name: x + 0.3 * (other[name] - x.mean()) for name, x in truth.items()}
    return grid, wet, truth, normal, {"model": near, "other": other}


def case_of(world, **changes):
    """The case of a world, some parts of it replaced."""
    grid, wet, truth, normal, systems = world
    parts = {"wet": wet, "truth": truth, "systems": systems, "boxes": BOXES} | changes
    case = make_case(grid, parts["wet"], parts["truth"], parts["systems"], parts["boxes"])
    return replace(case, climatology=Held(normal))


def value(table, **keys):
    keep = np.logical_and.reduce([table[column] == key for column, key in keys.items()])
    assert keep.sum() == 1, keys
    return float(table.loc[keep, "value"].iloc[0])


@pytest.fixture(scope="module")
def table(world):
    return scored(derived, case_of(world), SETTINGS)


def quantity_field(world, fields, lead, name):
    """A quantity of one day (ny, nx), by the functions that make it."""
    grid, wet, _, normal, _ = world
    day = {key: x[lead] for key, x in fields.items()}
    if name == "mlotst":
        return mixed_layer_depth(day["thetao"], day["so"], wet, grid)
    if name == "mlotst_oceanbench":
        sea = (np.where(wet, day[key], np.nan) for key in ("thetao", "so"))
        return mixed_layer_depth_oceanbench(*sea, grid.depth, grid.lat, grid.lon)
    if name in ("ugos", "vgos"):
        given = day["zos"][0], grid.lat, grid.lon, wet[0], True
        pair = geostrophic_currents(*given, GRAVITY, OMEGA, EARTH_RADIUS, 5.0)
        return pair[("ugos", "vgos").index(name)]
    if name.startswith("ohc"):
        layer = tuple(float(part) for part in name.split("_")[1:])
        return heat_content(day["thetao"], wet, grid.depth_bounds, layer)
    u, v = (day[key][0] for key in ("uo", "vo"))
    if name == "eke":
        u, v = u - normal["uo"][lead][0], v - normal["vo"][lead][0]
    return np.where(wet[0], 0.5 * (u**2 + v**2), np.nan)


def in_region(grid, region):
    lat, lon = grid.lat[:, None], grid.lon[None, :]
    boxes = {
        "global": (lat > -91) & (lon < 400),
        "north": (lat >= 10) & (lat <= 70) & (lon < 400),
        "strait": (abs(lat) <= 40) & ((lon >= 150) | (lon <= -120)),
    }
    return boxes[region]


@pytest.mark.parametrize("name", NAMES)
def test_scores_equal_those_of_xskillscore_where_the_truth_has_the_quantity(world, table, name):
    grid, wet, truth, _, systems = world
    functions = {
        "rmse": xs.rmse,
        "bias": xs.me,
        "mae": xs.mae,
        "correlation": xs.pearson_r,
    }
    for region in ("global", *BOXES):
        for lead in (1, 2):
            t = quantity_field(world, truth, lead, name)
            cells = np.isfinite(t) & wet[0] & in_region(grid, region)
            assert cells.sum() > 5
            weights = xr.DataArray(np.broadcast_to(grid.area, t.shape)[cells], dims="cell")
            for system, fields in systems.items():
                f = quantity_field(world, fields, lead, name)
                pair = (xr.DataArray(x[cells], dims="cell") for x in (f, t))
                f, t_cells = pair
                keys = {"lead": lead, "region": region, "variable": name, "system": system}
                for metric, function in functions.items():
                    expected = float(function(f, t_cells, dim="cell", weights=weights))
                    found = value(table, metric=metric, **keys)
                    assert found == pytest.approx(expected, rel=1e-6, abs=1e-12), (keys, metric)


def test_every_combination_stands_in_the_table_once(table):
    keys = ["lead", "region", "variable", "system", "metric"]
    assert list(table.columns) == [*keys[:3], "depth", *keys[3:], "value"]
    assert not table.duplicated(keys).any()
    assert table["depth"].isna().all()
    fields = table[table["metric"].isin(METRICS)]
    assert len(fields) == 2 * 3 * len(NAMES) * 2 * len(METRICS)
    energies = table[~table["metric"].isin(METRICS)]
    assert set(energies["variable"]) == {"ke", "eke"}
    assert set(energies["metric"]) == {"energy_forecast", "energy_truth"}
    assert len(energies) == 2 * 3 * 2 * 2 * 2
    assert list(dict.fromkeys(table["variable"])) == list(NAMES)


def averaged(table, folder):
    path = folder / "2004-02-26.parquet"
    write_parquet(table, path)
    return average(FAMILIES["derived"], [path], BootstrapConfig())


def test_a_perfect_forecast_has_no_error_full_correlation_and_all_energy(world, tmp_path):
    truth = world[2]
    table = scored(derived, case_of(world, systems={"model": truth}), SETTINGS)
    final = averaged(table, tmp_path)
    for metric in ("rmse_mean", "rmse_pooled", "bias", "mae"):
        found = final[final["metric"] == metric]
        assert len(found) == 2 * 3 * len(NAMES)
        assert (found["value"] == 0.0).all()
    correlation = final[final["metric"] == "correlation"]["value"]
    assert len(correlation) == 2 * 3 * len(NAMES)
    np.testing.assert_allclose(correlation, 1.0, rtol=1e-9)
    ratio = final[final["metric"] == "energy_ratio"]
    assert len(ratio) == 2 * 3 * 2 and (ratio["value"] == 1.0).all()


def test_a_warmer_forecast_has_more_heat_by_rho_cp_times_the_thickness(world):
    _, _, truth, _, _ = world
    full = np.ones(world[1].shape, bool)
    warmer = truth | {"thetao": truth["thetao"] + 0.5}
    table = scored(derived, case_of(world, wet=full, systems={"model": warmer}), SETTINGS)
    keys = {"lead": 1, "region": "global", "variable": "ohc_50_150", "system": "model"}
    for metric in ("bias", "rmse", "mae"):
        expected = 0.5 * RHO_0 * CP_SEAWATER * 100.0
        assert value(table, metric=metric, **keys) == pytest.approx(expected, rel=1e-9)
    assert value(table, metric="correlation", **keys) == pytest.approx(1.0)


def test_a_raised_sea_level_changes_no_current(world):
    truth = world[2]
    raised = truth | {"zos": truth["zos"] + 0.7}
    table = scored(derived, case_of(world, systems={"model": raised}), SETTINGS)
    errors = table[table["variable"].isin(["ugos", "vgos"]) & (table["metric"] == "rmse")]
    assert len(errors) == 12 and (errors["value"] < 1e-12).all()


def test_the_energy_of_damped_eddies_is_the_square_of_what_is_left(world, tmp_path):
    grid, wet, truth, normal, _ = world
    calm = truth | {
        name: normal[name] + 0.6 * (truth[name] - normal[name]) for name in ("uo", "vo")
    }
    table = scored(derived, case_of(world, systems={"model": calm}), SETTINGS)
    final = averaged(table, tmp_path)
    ratios = final[(final["metric"] == "energy_ratio") & (final["variable"] == "eke")]
    np.testing.assert_allclose(ratios["value"], 0.36, rtol=1e-9)
    speeds = [truth[name][2][0] - normal[name][2][0] for name in ("uo", "vo")]
    eke = 0.5 * (speeds[0] ** 2 + speeds[1] ** 2)
    area = np.broadcast_to(grid.area, eke.shape)[wet[0]]
    keys = {"lead": 2, "region": "global", "variable": "eke", "system": "model"}
    expected = (area * eke[wet[0]]).sum() / area.sum()
    assert value(table, metric="energy_truth", **keys) == pytest.approx(expected)
    assert value(table, metric="energy_forecast", **keys) == pytest.approx(0.36 * expected)
    assert value(table, metric="bias", **keys) == pytest.approx(-0.64 * expected)


def test_the_energy_ratio_is_that_of_the_means_over_starts(world, tmp_path):
    tables = []
    truth = world[2]
    for number, scale in enumerate((0.5, 1.0)):
        calm = truth | {name: scale * truth[name] for name in ("uo", "vo")}
        louder = truth if number == 0 else truth | {n: 3.0 * truth[n] for n in ("uo", "vo")}
        case = case_of(world, truth=louder, systems={"model": calm})
        tables.append(scored(derived, case, SETTINGS))
        write_parquet(tables[-1], tmp_path / f"{number}.parquet")
    paths = [tmp_path / f"{number}.parquet" for number in range(2)]
    final = average(FAMILIES["derived"], paths, BootstrapConfig(samples=50))
    keys = {"lead": 1, "region": "north", "variable": "ke", "system": "model"}
    (f1, t1), (f2, t2) = (
        [value(t, metric=m, **keys) for m in ("energy_forecast", "energy_truth")] for t in tables
    )
    found = value(final, metric="energy_ratio", **keys)
    assert found == pytest.approx((f1 + f2) / (t1 + t2))
    assert found != pytest.approx((f1 / t1 + f2 / t2) / 2, rel=1e-2)


@pytest.mark.parametrize("fill", [np.nan, 1e30])
def test_what_lies_on_land_changes_nothing(world, table, fill):
    grid, wet, truth, normal, systems = world

    def on_land(fields):
        return {
            name: np.where(wet if VARIABLES[name].has_depth else wet[:1], x, fill)
            for name, x in fields.items()
        }

    filled = {name: on_land(fields) for name, fields in systems.items()}
    other = grid, wet, on_land(truth), on_land(normal), filled
    again = scored(derived, case_of(other), SETTINGS)
    pd.testing.assert_frame_equal(again, table, check_exact=True)


def test_cells_that_are_not_wet_are_not_scored(world, table):
    grid, wet, truth, normal, systems = world
    fewer = wet & (grid.lat[:, None] < 40.0)
    less = grid, fewer, truth, normal, systems
    again = scored(derived, case_of(less), SETTINGS)
    keys = {"lead": 1, "region": "global", "system": "model", "metric": "rmse"}
    for name in ("mlotst", "ugos", "ke"):
        t, f = (quantity_field(less, x, 1, name) for x in (truth, systems["model"]))
        cells = np.isfinite(t) & fewer[0]
        area = np.broadcast_to(grid.area, t.shape)[cells]
        expected = np.sqrt((area * (f - t)[cells] ** 2).sum() / area.sum())
        found = value(again, variable=name, **keys)
        assert found == pytest.approx(expected)
        assert found != pytest.approx(value(table, variable=name, **keys), rel=1e-3)


def test_a_forecast_that_lacks_a_cell_has_no_score_in_the_regions_of_that_cell(world):
    grid, wet, _, _, systems = world
    broken = {name: x.copy() for name, x in systems["model"].items()}
    j, i = next(
        (j, i) for j, i in np.argwhere(wet[0]) if grid.lat[j] > 10 and abs(grid.lon[i]) < 90
    )
    broken["uo"][1, 0, j, i] = np.nan
    table = scored(derived, case_of(world, systems={"model": broken}), SETTINGS)
    whole = scored(derived, case_of(world, systems={"model": systems["model"]}), SETTINGS)
    hit = (
        table["variable"].isin(["ke", "eke"])
        & (table["lead"] == 1)
        & table["region"].isin(["global", "north"])
    )
    assert hit.any() and table.loc[hit, "value"].isna().all()
    np.testing.assert_allclose(table.loc[~hit, "value"], whole.loc[~hit, "value"], rtol=1e-12)


def test_without_a_climatology_there_is_no_eddy_energy(world, table):
    case = replace(case_of(world), climatology=None)
    found = scored(derived, case, SETTINGS)
    assert set(NAMES) - set(found["variable"]) == {"eke"}
    rest = table[table["variable"] != "eke"].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, rest, check_exact=True)


def test_quantities_of_variables_that_are_missing_are_left_out(world):
    truth, systems = world[2], world[4]
    only = {"thetao": truth["thetao"]}
    case = case_of(world, truth=only, systems={"model": {"thetao": systems["model"]["thetao"]}})
    assert set(scored(derived, case, SETTINGS)["variable"]) == {"ohc_0_100", "ohc_50_150"}
    nothing = scored(derived, case, SETTINGS.model_copy(update={"heat_content": ()}))
    assert nothing.empty and "value" in nothing


def test_layers_below_the_grid_are_left_out_and_named(world, caplog):
    settings = EvaluationConfig(heat_content=((0.0, 100.0), (0.0, 700.0), (100.0, 2000.0)))
    with caplog.at_level(logging.WARNING):
        found = scored(derived, case_of(world), settings)
    assert {x for x in found["variable"] if x.startswith("ohc")} == {"ohc_0_100"}
    assert [record.getMessage() for record in caplog.records] == [
        "evaluation.heat_content: [0, 700], [100, 2000] left out, the grid ends at 260 m"
    ]


def test_a_held_state_is_computed_once_and_scored_the_same(world, monkeypatch):
    other = world[4]["other"]
    days = {name: np.repeat(x[:1], 3, axis=0) for name, x in other.items()}
    counts = []
    counted = derived.mixed_layer_depth
    monkeypatch.setattr(
        derived, "mixed_layer_depth", lambda *given: (counts.append(1), counted(*given))[1]
    )
    persistence = Persistence({name: x[0] for name, x in other.items()})
    case = replace(case_of(world), systems={"persistence": persistence})
    held = scored(derived, case, SETTINGS)
    assert len(counts) == 2 + 1  # the truth of two days, and persistence
    anew = scored(derived, case_of(world, systems={"persistence": days}), SETTINGS)
    pd.testing.assert_frame_equal(held, anew, check_exact=True)


def test_the_stage_writes_quantities_and_budgets_with_intervals_and_skill(synthetic, tmp_path):
    families = ("derived", "budgets")
    evaluation = {
        "families": families,
        "heat_content": [(0, 100)],
        "bootstrap": {"samples": 20},
        "regions": {"tropics": (-40, 40, -180, 180)},
    }
    world = synthetic.make_world(tmp_path, days=2, evaluation=evaluation)
    config = narrow(world.config, "evaluate")
    for start in config.forecast.start_dates():
        evaluate_start(config, world.layout, start)
    aggregate(config, world.layout)
    final = pd.read_parquet(world.layout.table("derived"))
    assert (final["n_starts"] == 2).all()
    assert {"skill_persistence", "skill_climatology", "energy_ratio"} <= set(final["metric"])
    quantities = set(NAMES) - {"ohc_50_150"}
    assert set(final["variable"]) == quantities
    keys = {"lead": 2, "region": "tropics", "variable": "eke"}
    energy = value(final, system="climatology", metric="energy_ratio", **keys)
    assert energy == 0.0
    model = value(final, system="model", metric="rmse_mean", **keys)
    other = value(final, system="persistence", metric="rmse_mean", **keys)
    skill = value(final, system="model", metric="skill_persistence", **keys)
    assert skill == pytest.approx(1 - model / other)
    contents = pd.read_parquet(world.layout.table("budgets"))
    assert list(dict.fromkeys(contents["system"])) == [
        *("model", "persistence", "climatology", "damped_persistence", "truth")
    ]
    held = contents[(contents["system"] == "persistence") & (contents["metric"] == "change")]
    assert len(held) and (held["value"] == 0.0).all()
