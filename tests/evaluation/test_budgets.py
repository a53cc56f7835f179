from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from hybridom.config.output import BootstrapConfig, EvaluationConfig
from hybridom.constants import EARTH_RADIUS
from hybridom.errors import UserError
from hybridom.evaluation import budgets
from hybridom.evaluation.averages import average
from hybridom.evaluation.families import FAMILIES
from hybridom.evaluation.tables import write_parquet
from hybridom.grid import Grid
from hybridom.quantities import BUDGETS
from hybridom.variables import PROGNOSTIC, VARIABLES
from tests.evaluation.in_memory import Held, make_case, scored

SETTINGS = EvaluationConfig()
BOXES = {"north": (10.0, 70.0, -180.0, 180.0), "strait": (-40.0, 40.0, 150.0, -120.0)}
RHO, CP = 1026.0, 3991.86795711963


@pytest.fixture(scope="module")
def world():
    """Grid, mask, truth and two forecasts over two days; values on land too."""
    grid, rng = Grid.regular(15.0, depths=(4.0, 12.0, 30.0, 80.0, 200.0)), np.random.default_rng(2)
    wet = np.arange(grid.nz)[:, None, None] < rng.integers(-1, grid.nz + 3, grid.shape[1:])

    def fields():
        return {
            name: rng.normal(
                {"thetao": 10.0, "so": 34.0}.get(name, 0.0),
                1.0,
                (3, *(grid.shape if VARIABLES[name].has_depth else (1, *grid.shape[1:]))),
            )
            for name in PROGNOSTIC
        }

    return grid, wet, fields(), {"model": fields(), "other": fields()}


def case_of(world, **changes):
    grid, wet, truth, systems = world
    parts = {"wet": wet, "truth": truth, "systems": systems, "first": 0} | changes
    given = parts["wet"], parts["truth"], parts["systems"], BOXES
    return make_case(grid, *given, first=parts["first"])


def value(table, **keys):
    keep = np.logical_and.reduce([table[column] == key for column, key in keys.items()])
    assert keep.sum() == 1, keys
    return float(table.loc[keep, "value"].iloc[0])


def in_region(grid, region, j, i):
    lat, lon = grid.lat[j], grid.lon[i]
    if region == "north":
        return 10 <= lat <= 70
    return region == "global" or (abs(lat) <= 40 and (lon >= 150 or lon <= -120))


def contents(grid, wet, fields, lead, region):
    """All budgets by loops over cells."""
    volume = heat = salt = energy = surface = 0.0
    for k, j, i in np.argwhere(wet):
        if in_region(grid, region, j, i):
            dv = grid.area[j, i] * (grid.depth_bounds[k + 1] - grid.depth_bounds[k])
            volume += dv
            heat += dv * fields["thetao"][lead, k, j, i]
            salt += dv * fields["so"][lead, k, j, i]
            u, v = (fields[name][lead, k, j, i] for name in ("uo", "vo"))
            energy += dv * (u * u + v * v) / 2
            if k == 0:
                surface += grid.area[j, i] * fields["zos"][lead, 0, j, i]
    return {
        "thetao_mean": heat / volume,
        "so_mean": salt / volume,
        "heat_content": RHO * CP * heat,
        "salt_content": RHO * salt / 1000,
        "volume_anomaly": surface,
        "kinetic_energy": RHO * energy,
    }


def test_values_and_changes_equal_loops_over_cells(world):
    grid, wet, truth, systems = world
    table = scored(budgets, case_of(world), SETTINGS)
    for system, fields in {**systems, "truth": truth}.items():
        for region in ("global", *BOXES):
            first = contents(grid, wet, fields, 0, region)
            for lead in (1, 2):
                expected = contents(grid, wet, fields, lead, region)
                for name in BUDGETS:
                    keys = {"lead": lead, "region": region, "variable": name, "system": system}
                    assert value(table, metric="value", **keys) == pytest.approx(
                        expected[name], rel=1e-10
                    )
                    assert value(table, metric="change", **keys) == pytest.approx(
                        expected[name] - first[name], rel=1e-6
                    )


def test_every_combination_stands_in_the_table_once(world):
    table = scored(budgets, case_of(world), SETTINGS)
    keys = ["lead", "region", "variable", "depth", "system", "metric"]
    assert list(table.columns) == [*keys, "value"]
    assert not table.duplicated(keys).any()
    assert len(table) == 2 * 3 * len(BUDGETS) * 3 * 2
    assert list(dict.fromkeys(table["system"])) == ["model", "other", "truth"]
    assert list(dict.fromkeys(table["variable"])) == list(BUDGETS)
    assert table["depth"].isna().all() and table["value"].notna().all()


def test_a_uniform_ocean_of_a_whole_sphere_holds_what_its_volume_says(world):
    grid = world[0]
    wet = np.ones(grid.shape, bool)
    uniform = {"thetao": 5.0, "so": 35.0, "uo": 0.3, "vo": -0.4, "zos": 0.01}
    fields = {name: np.full_like(x, uniform[name]) for name, x in world[2].items()}
    table = scored(budgets, case_of(world, wet=wet, systems={"model": fields}), SETTINGS)
    sphere = 4 * np.pi * EARTH_RADIUS**2
    volume = sphere * grid.depth_bounds[-1]
    expected = {
        "thetao_mean": 5.0,
        "so_mean": 35.0,
        "heat_content": RHO * CP * 5.0 * volume,
        "salt_content": RHO * 0.035 * volume,
        "volume_anomaly": 0.01 * sphere,
        "kinetic_energy": RHO * 0.125 * volume,
    }
    keys = {"lead": 2, "region": "global", "system": "model"}
    for name, total in expected.items():
        assert value(table, variable=name, metric="value", **keys) == pytest.approx(total)
        assert value(table, variable=name, metric="change", **keys) == 0.0


def test_warming_is_a_positive_change_and_persistence_has_none(world):
    truth = world[2]
    held = {name: np.repeat(x[:1], 3, axis=0) for name, x in truth.items()}
    warming = held | {"thetao": held["thetao"] + np.array([0.0, 0.1, 0.2])[:, None, None, None]}
    case = case_of(world, systems={"model": warming, "persistence": held})
    table = scored(budgets, case, SETTINGS)
    keys = {"region": "strait", "variable": "thetao_mean", "metric": "change"}
    for lead in (1, 2):
        assert value(table, lead=lead, system="model", **keys) == pytest.approx(0.1 * lead)
    still = table[(table["system"] == "persistence") & (table["metric"] == "change")]
    assert len(still) and (still["value"] == 0.0).all()


@pytest.mark.parametrize("fill", [np.nan, 1e30])
def test_what_lies_on_land_changes_nothing(world, fill):
    _, wet, truth, systems = world

    def on_land(fields):
        return {
            name: np.where(wet if VARIABLES[name].has_depth else wet[:1], x, fill)
            for name, x in fields.items()
        }

    filled = {name: on_land(fields) for name, fields in systems.items()}
    found = scored(budgets, case_of(world, truth=on_land(truth), systems=filled), SETTINGS)
    expected = scored(budgets, case_of(world), SETTINGS)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_a_smaller_mask_holds_less(world):
    wet = world[1] & (np.arange(world[0].nz) < 2)[:, None, None]
    table = scored(budgets, case_of(world, wet=wet), SETTINGS)
    expected = contents(world[0], wet, world[2], 1, "global")
    keys = {"lead": 1, "region": "global", "system": "truth", "metric": "value"}
    for name in BUDGETS:
        assert value(table, variable=name, **keys) == pytest.approx(expected[name], rel=1e-10)


def test_systems_without_a_lead_0_have_values_and_no_change(world, caplog):
    with caplog.at_level(logging.WARNING):
        table = scored(budgets, case_of(world, first=1), SETTINGS)
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [
        f"budgets: no change since lead 0 for {name}, as lead 0 is missing"
        for name in ("model", "other")
    ]
    undefined = table[table["value"].isna()]
    assert set(undefined["metric"]) == {"change"}
    assert set(undefined["system"]) == {"model", "other"}
    whole = scored(budgets, case_of(world), SETTINGS)
    pd.testing.assert_frame_equal(table.dropna(subset="value"), whole.loc[table["value"].notna()])


def test_a_later_lead_that_is_missing_is_refused(world):
    case = case_of(world)
    late = replace(case, systems={"model": Held(world[3]["model"], first=2)})
    with pytest.raises(UserError, match="lead 1 is missing"):
        scored(budgets, late, SETTINGS)


@pytest.mark.parametrize("lead", [0, 1])
@pytest.mark.parametrize("name", ["so", "vo", "zos"])
def test_a_wet_cell_without_a_value_is_refused_at_lead_0_too(world, lead, name):
    broken = world[2] | {name: world[2][name].copy()}
    broken[name][lead, 0, 6, 6] = np.nan
    wet = world[1].copy()
    wet[0, 6, 6] = True
    with pytest.raises(UserError, match=f"{name} is not finite in wet cells at lead {lead}"):
        scored(budgets, case_of(world, truth=broken, wet=wet), SETTINGS)


def test_only_what_the_variables_allow_is_computed(world):
    less = {name: world[2][name] for name in ("thetao", "so", "zos")}
    table = scored(budgets, case_of(world, truth=less), SETTINGS)
    assert set(BUDGETS) - set(table["variable"]) == {"kinetic_energy"}


def test_the_final_table_has_means_over_starts_of_values_and_changes(world, tmp_path):
    tables = []
    for number in range(2):
        swapped = {"model": world[3]["other" if number else "model"]}
        tables.append(scored(budgets, case_of(world, systems=swapped), SETTINGS))
        write_parquet(tables[-1], tmp_path / f"{number}.parquet")
    paths = [tmp_path / f"{number}.parquet" for number in range(2)]
    final = average(FAMILIES["budgets"], paths, BootstrapConfig(samples=50))
    keys = {"lead": 2, "region": "global", "variable": "heat_content", "system": "model"}
    for metric in ("value", "change"):
        a, b = (value(table, metric=metric, **keys) for table in tables)
        assert value(final, metric=metric, **keys) == pytest.approx((a + b) / 2)
    assert set(final["metric"]) == {"value", "change"}
    assert (final["low"] <= final["high"]).all()
