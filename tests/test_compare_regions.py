"""Variants of a region side by side, beside its driver and persistence."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hybridom.compare import drawing
from hybridom.compare.references import REFERENCES, common_references
from hybridom.compare.run import compare
from hybridom.compare.sources import open_experiments
from hybridom.compare.tables import compare_tables, errors_at_leads
from hybridom.evaluation.families import KEYS
from hybridom.evaluation.systems import MODEL
from tests.test_compare import write

REGIONS = ("global", "edges", "interior", "kuroshio")
SYSTEMS = ("model", "driver", "persistence", "climatology")
VARIANTS = ("gated", "nested", "super_resolution")
VARIABLES = {"thetao": (np.nan, 5.0, 20.0), "zos": (np.nan,)}


def scores(variant: int, leads=range(1, 41), regions=REGIONS) -> pd.DataFrame:
    """Averaged scores of one variant; those of the baselines are the same for all."""
    rows = []
    for region in regions:
        metrics = ["rmse_mean", "bias", *(["edge_ratio"] if region == "edges" else [])]
        for number, system in enumerate(SYSTEMS):
            own = variant if system == MODEL else 0
            for metric in metrics:
                for variable, depths in VARIABLES.items():
                    for depth in depths:
                        for lead in leads:
                            size = 1.0 + number + 0.1 * own + 0.01 * lead
                            size += 0.5 * (region == "edges") + 0.001 * np.nan_to_num(depth)
                            keys = (lead, region, variable, depth, system, metric)
                            rows.append((*keys, size))
    table = pd.DataFrame(rows, columns=[*KEYS, "value"])
    skill = table[(table["metric"] == "rmse_mean") & (table["system"] == MODEL)]
    table = pd.concat([table, skill.assign(metric="skill_driver")], ignore_index=True)
    return table.assign(low=table["value"] - 0.1, high=table["value"] + 0.1, n_starts=3)


@pytest.fixture
def results(tmp_path):
    for number, name in enumerate(VARIANTS, start=1):
        write(tmp_path / name / "scores", scores(number))
    return tmp_path


@pytest.fixture
def found(results):
    return compare_tables(open_experiments(VARIANTS, None, results))


def test_driver_and_persistence_stand_beside_the_experiments(found):
    assert found.references == ["driver", "persistence"] == list(REFERENCES)
    table = found.tables["scores"]
    assert list(table)[-2:] == ["reference_driver", "reference_persistence"]
    alone = scores(1)
    for name in found.references:
        theirs = alone[alone["system"] == name].drop(columns=["system", "low", "high"])
        keys = [key for key in KEYS if key != "system"]
        both = table.merge(theirs, on=keys)
        np.testing.assert_array_equal(both[f"reference_{name}"], both["value"])
        assert len(both) == len(theirs)
    skill = table[table["metric"] == "skill_driver"]
    assert len(skill) and skill["reference_driver"].isna().all()


def test_a_baseline_that_one_experiment_lacks_is_none(results):
    table = scores(2)
    write(results / "bare" / "scores", table[table["system"] != "driver"])
    names, notes = common_references(open_experiments(["gated", "bare"], None, results))
    assert (names, notes) == (["persistence"], [])


def test_another_driver_is_none_and_this_is_said(results):
    table = scores(2)
    table.loc[table["system"] == "driver", "value"] *= 1.02
    write(results / "other" / "scores", table)
    found = compare_tables(open_experiments(["gated", "nested", "other"], None, results))
    assert found.references == ["persistence"]
    (words,) = found.warnings
    assert words.startswith("driver is not shown") and "in other differ" in words and "2 %" in words
    assert not any(name.endswith("driver") for name in found.tables["scores"])


def test_the_first_table_holds_a_few_leads_of_edges_and_interior(found):
    table = errors_at_leads(found)
    assert list(table) == [
        *("region", "variable", "lead", *VARIANTS, "reference_driver", "reference_persistence"),
    ]
    assert list(dict.fromkeys(table["region"])) == ["global", "edges", "interior"]
    assert set(table["lead"]) == {1, 10, 30}
    assert len(table) == 3 * 2 * 3
    row = table.query("region == 'edges' and variable == 'zos' and lead == 30").iloc[0]
    assert row["nested"] == pytest.approx(1.0 + 0.2 + 0.3 + 0.5)
    assert row["reference_driver"] == pytest.approx(2.0 + 0.3 + 0.5)
    assert row["reference_persistence"] == pytest.approx(3.0 + 0.3 + 0.5)


def test_without_the_usual_leads_the_last_one_is_taken(tmp_path):
    for number, name in enumerate("ab"):
        write(tmp_path / name / "scores", scores(number, range(2, 6), ("global",)))
    table = errors_at_leads(compare_tables(open_experiments("ab", None, tmp_path)))
    assert set(table["lead"]) == {5} and set(table["region"]) == {"global"}


def curves(axes):
    return {line.get_label(): line.get_ydata() for line in axes.get_lines()}


def test_lines_of_a_region_are_those_of_the_table(found):
    table = found.tables["scores"]
    drawn = drawing.lead_figure(
        table, found.labels, "rmse_mean", (5.0,), found.references, "interior"
    )
    rows = table.query("region == 'interior' and metric == 'rmse_mean' and variable == 'thetao'")
    rows = rows[rows["depth"] == 5.0].sort_values("lead")
    lines = curves(drawn.axes[0])
    assert list(lines) == [*VARIANTS, "Driver (baseline)", "Persistence (baseline)"]
    np.testing.assert_array_equal(lines["nested"], rows["value_nested"])
    np.testing.assert_array_equal(lines["Driver (baseline)"], rows["reference_driver"])
    np.testing.assert_array_equal(lines["Persistence (baseline)"], rows["reference_persistence"])
    legend = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert legend == list(lines)


def test_the_ratio_has_its_limit_and_a_skill_has_no_baseline(found):
    table = found.tables["scores"]
    shared = (5.0,), found.references
    ratio = drawing.lead_figure(table, found.labels, "edge_ratio", *shared, "edges")
    assert 1.2 in [line.get_ydata()[0] for line in ratio.axes[0].get_lines()]
    assert ratio.axes[0].get_ylabel() == "RMSE, edges / interior"
    skill = drawing.lead_figure(table, found.labels, "skill_driver", *shared)
    assert list(curves(skill.axes[0])) == list(VARIANTS)


def test_figures_and_page_of_a_comparison_of_regions(results, tmp_path):
    out = tmp_path / "out"
    compare(VARIANTS, results, out, None, (), (0.0,), 60)
    figures = {path.stem for path in (out / "figures").iterdir()}
    edges = {"rmse_mean_lead_edges", "rmse_mean_lead_interior", "edge_ratio_lead"}
    assert edges | {"rmse_mean_lead", "skill_driver_lead"} <= figures
    page = (out / "page.html").read_text()
    assert all(f'id="figure-{name}"' in page for name in figures)
    assert 'data-table="errors"' in page and "scored beside (driver, persistence)" in page
    assert "reference_driver" in pd.read_csv(out / "scores.csv")
    with Image.open(out / "figures" / "edge_ratio_lead.png") as image:
        assert np.asarray(image.convert("L")).std() > 10


def test_other_metrics_alone_bring_no_figure_of_edges(results, tmp_path):
    compare(VARIANTS, results, tmp_path / "out", None, ("bias",), (0.0,), 60)
    assert {x.stem for x in (tmp_path / "out" / "figures").iterdir()} == {"bias_lead"}


def test_baselines_have_looks_that_no_experiment_has():
    looks = [drawing.REFERENCE_LOOKS[name] for name in REFERENCES]
    assert not {look["color"] for look in looks} & set(drawing.COLOURS)
    assert len({look["linestyle"] for look in looks}) == len(looks)
