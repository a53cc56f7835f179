"""Experiments side by side: what is common, what is refused, what is drawn."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import colors
from PIL import Image

from hybridom import cli
from hybridom.compare import drawing
from hybridom.compare.run import compare
from hybridom.compare.sources import open_experiment, open_experiments, require_comparable
from hybridom.compare.tables import compare_tables, row_keys, side_by_side
from hybridom.errors import UserError
from hybridom.evaluation.families import KEYS
from tests.evaluation.synthetic import make_config
from tests.page.browser import console, open_browser, requests, visit

DATES = ("2004-02-26", "2004-02-28", "2004-03-01")
METRICS = ("rmse_mean", "acc_centred", "activity", "bias")
KEY = [name for name in KEYS if name != "system"]


def scores(model=1, leads=range(1, 6), depths=(5.0, 20.0), regions=("global", "tropics")):
    """Averaged scores; those of the baselines depend on the row alone."""
    rows = [
        (lead, region, variable, depth, system, metric)
        for metric in METRICS
        for system in ("model", "persistence", "climatology")
        for region in regions
        for variable in ("thetao", "uo", "zos")
        for depth in ((np.nan,) if variable == "zos" else (np.nan, *depths))
        for lead in leads
    ]
    table = pd.DataFrame(rows, columns=list(KEYS))
    values = []
    for row in rows:
        seed = [model if row[4] == "model" else 0, row[0], *"".join(map(str, row[1:])).encode()]
        values.append(np.random.default_rng(seed).uniform(1.0, 2.0))
    table["value"] = values
    table["low"], table["high"] = table["value"] - 0.2, table["value"] + 0.2
    table["n_starts"] = len(DATES)
    skill = table[(table["metric"] == "rmse_mean") & (table["system"] == "model")]
    return pd.concat([table, skill.assign(metric="skill_persistence")], ignore_index=True)


def write(folder: Path, table: pd.DataFrame, dates=DATES, **families: pd.DataFrame) -> Path:
    """A folder of tables as the averaging writes it."""
    (folder / "scores").mkdir(parents=True)
    for date in dates:
        (folder / "scores" / f"{date}.parquet").write_bytes(b"")
    for name, content in {"scores": table, **families}.items():
        content.to_parquet(folder / f"{name}.parquet", index=False)
    return folder


def run(names, results, output, labels=None, metrics=()):
    """A comparison with few dots."""
    return compare([str(name) for name in names], results, output, labels, metrics, (0.0, 15.0), 60)


@pytest.fixture
def results(tmp_path):
    """Three experiments: `b` has other leads and levels, `c` another family."""
    folder = tmp_path / "results"
    drift = scores(4).assign(metric="separation", variable="drift", depth=np.nan)
    drift = drift.drop_duplicates(list(KEYS))
    write(folder / "a" / "scores", scores(1), drift=drift)
    write(folder / "b" / "scores", scores(2, range(1, 9), (5.0, 50.0)), drift=drift)
    write(folder / "c" / "scores", scores(3, regions=("global", "arctic")))
    return folder


def test_rows_in_common_stand_side_by_side_with_differences_and_overlaps(results, tmp_path):
    run(["a", "b"], results, tmp_path / "out")
    table = pd.read_parquet(tmp_path / "out" / "scores.parquet")
    csv = pd.read_csv(tmp_path / "out" / "scores.csv")
    assert list(csv) == list(table)
    a, b = (
        {tuple(row[:5]): row[5:] for row in rows[rows["system"] == "model"][
            [*KEY, "value", "low", "high"]
        ].fillna(-1).itertuples(index=False)}
        for rows in (scores(1), scores(2, range(1, 9), (5.0, 50.0)))
    )  # fmt: skip
    assert len(table) == len(set(a) & set(b)) > 50
    for row in table.fillna({"depth": -1}).itertuples():
        key = tuple(getattr(row, name) for name in KEY)
        (x, x_low, x_high), (y, y_low, y_high) = a[key], b[key]
        assert (row.value_a, row.value_b) == (x, y)
        assert row.difference_b == y - x
        apart = y_low > x_high or x_low > y_high
        assert row.overlap_b == ("no" if apart else "yes")
    assert set(table["overlap_b"]) == {"yes", "no"}


def test_an_interval_that_is_undefined_gives_no_verdict():
    rows = {name: scores(n).query("system == 'model'") for n, name in enumerate("ab", start=1)}
    rows["b"] = rows["b"].assign(low=np.nan, high=np.nan)
    assert set(side_by_side(rows, KEY)["overlap_b"]) == {""}


def test_intervals_that_touch_overlap():
    one = scores(1).query("system == 'model'")
    other = one.assign(low=one["high"], high=one["high"] + 1)
    assert set(side_by_side({"a": one, "b": other}, KEY)["overlap_b"]) == {"yes"}


def test_what_is_left_out_is_said(results):
    experiments = open_experiments(["a", "b", "c"], None, results)
    found = compare_tables(experiments)
    assert set(found.left_out) == {
        "scores: lead 6 to 8 of b left out",
        "scores: depth 20 of a left out",
        "scores: depth 50 of b left out",
        "scores: depth 20 of c left out",
        "scores: region tropics of a left out",
        "scores: region tropics of b left out",
        "scores: region arctic of c left out",
        "drift: left out, not scored for c",
    }
    assert list(found.tables) == ["scores"] and found.warnings == []


def test_a_hole_inside_the_common_values_is_said_too():
    whole = scores(1).query("system == 'model'")
    holed = whole[~((whole["lead"] == 3) & (whole["variable"] == "uo"))]
    found = [open_experiment_of(label, rows) for label, rows in (("a", whole), ("b", holed))]
    lost = len(whole) - len(holed)
    words = f"scores: {lost} of {len(whole)} rows of a left out"
    assert compare_tables(found).left_out == [words]


def open_experiment_of(label, table):
    """An experiment from memory."""
    from hybridom.compare.sources import Experiment

    return Experiment(label, Path(label), {"scores": table}, DATES)


def test_other_numbers_of_start_dates_are_a_warning(results, caplog, tmp_path):
    table = scores(2)
    table.loc[table["lead"] == 5, "n_starts"] = 2
    write(results / "d" / "scores", table)
    found = run(["a", "d"], results, tmp_path / "out")
    number = (found.tables["scores"]["lead"] == 5).sum()
    (warning,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert f"in {number} of {len(found.tables['scores'])} rows" in warning
    assert warning in (tmp_path / "out" / "page.html").read_text()


def test_other_start_dates_are_refused(results):
    write(results / "d" / "scores", scores(2), (*DATES[:2], "2005-01-01"))
    with pytest.raises(UserError, match="d: 3 start dates, a has 3, and 2004-03-01 is one of a"):
        require_comparable(open_experiments(["a", "d"], None, results))


def test_another_truth_is_refused_by_the_errors_of_the_baselines(results):
    table = scores(2)
    table.loc[table["system"] != "model", "value"] *= 1.01
    write(results / "d" / "scores", table)
    with pytest.raises(UserError, match=r"d: rmse_mean of persistence differs .* 1 %.*the truth"):
        require_comparable(open_experiments(["a", "d"], None, results))


@pytest.mark.parametrize("same", ["persistence", "climatology"])
def test_one_baseline_with_the_same_errors_is_enough(results, same):
    """Another initial state changes persistence, another climatology that one."""
    table = scores(2)
    table.loc[~table["system"].isin(["model", same]), "value"] *= 2.0
    write(results / "d" / "scores", table)
    assert require_comparable(open_experiments(["a", "d"], None, results)) == []


def test_what_cannot_be_checked_is_said(results):
    alone = scores(2).query("system == 'model'")
    write(results / "d" / "scores", alone, dates=())
    first, second = require_comparable(open_experiments(["a", "d"], None, results))
    assert first.startswith("start dates of d are not known")
    assert second.startswith("whether a and d have the same truth and grid is not known")


def test_nothing_in_common_is_refused(results):
    write(results / "d" / "scores", scores(2, leads=range(10, 12)).query("system == 'model'"))
    with pytest.raises(UserError, match="no variable, level, region and lead in common"):
        compare_tables(open_experiments(["a", "d"], None, results))


def test_folders_and_names_may_be_mixed_and_labelled(results, tmp_path):
    outside = write(tmp_path / "outside", scores(5))
    found = open_experiments(["a", str(outside)], None, results)
    assert [one.label for one in found] == ["a", "outside"]
    found = open_experiments(["a", str(outside)], ["x", "y"], results)
    assert [one.label for one in found] == ["x", "y"]
    assert found[0].starts == DATES


@pytest.mark.parametrize(
    ("names", "labels", "words"),
    [
        (["a"], None, "name two experiments at least"),
        (["a", "nothing"], None, "nothing: no scores.parquet in"),
        (["a", "a"], None, "'a' names two experiments; tell them apart with --labels"),
        (["a", "b"], ["x"], "--labels: 1 labels for 2 experiments"),
        (["a", "b"], ["x", "x"], "'x' names two experiments"),
    ],
)
def test_mistakes_are_named(results, names, labels, words):
    with pytest.raises(UserError, match=re.escape(words)):
        open_experiments(names, labels, results)


def test_tables_of_an_older_version_are_refused(tmp_path):
    write(tmp_path / "old", scores(1).drop(columns="low"))
    with pytest.raises(UserError, match=r"scores.parquet: column low is missing; run"):
        open_experiment("old", tmp_path / "old")


def test_figures_and_scorecards_are_drawn(results, tmp_path):
    run(["a", "b", "c"], results, tmp_path / "out")
    figures = tmp_path / "out" / "figures"
    expected = {f"{m}_lead" for m in ("rmse_mean", "acc_centred", "activity", "skill_persistence")}
    expected |= {"scorecard_rmse_mean_2", "scorecard_rmse_mean_3"}
    assert {path.stem for path in figures.iterdir()} == expected
    for path in figures.iterdir():
        with Image.open(path) as image:
            assert np.asarray(image.convert("L")).std() > 10
    text = (tmp_path / "out" / "page.html").read_text()
    assert all(f'id="figure-{name}"' in text for name in expected)


def test_a_variable_without_levels_alone_is_drawn(tmp_path):
    for number, name in enumerate("ab"):
        write(tmp_path / name / "scores", scores(number).query("variable == 'zos'"))
    run(["a", "b"], tmp_path, tmp_path / "out")
    assert (tmp_path / "out" / "figures" / "scorecard_rmse_mean_2.png").is_file()
    table = pd.read_parquet(tmp_path / "out" / "scores.parquet")
    figure = drawing.lead_figure(table, ["a", "b"], "rmse_mean", (0.0, 100.0))
    assert [axes.get_title(loc="left").split("$ ")[1] for axes in figure.axes] == ["Sea level"]


def test_chosen_metrics_alone_are_drawn_and_unknown_ones_refused(results, tmp_path):
    run(["a", "b"], results, tmp_path / "out", metrics=["bias"])
    assert [path.stem for path in (tmp_path / "out" / "figures").iterdir()] == ["bias_lead"]
    with pytest.raises(UserError, match="--metric crps: expected one of rmse_mean"):
        run(["a", "b"], results, tmp_path / "other", metrics=["crps"])


def test_a_line_is_what_the_table_says(results):
    found = compare_tables(open_experiments(["a", "b"], None, results))
    table = found.tables["scores"]
    figure = drawing.lead_figure(table, found.labels, "rmse_mean", (0.0,))
    panel = figure.axes[0]
    rows = table.query("region == 'global' and metric == 'rmse_mean' and variable == 'thetao'")
    rows = rows[rows["depth"] == 5.0].sort_values("lead")
    for line, label in zip(panel.get_lines(), "ab", strict=True):
        np.testing.assert_array_equal(line.get_ydata(), rows[f"value_{label}"])
        assert line.get_label() == label
    assert len(figure.axes) == 3


# Machado, Oliveira and Fernandes (2009), severity 1: what the colour-blind see of linear RGB.
VISION = {
    "normal": np.eye(3),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.01182, 0.04294, 0.968881],
        ]
    ),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
}


def smallest_distance(names, vision):
    """Smallest distance in CIELAB between any two colours."""
    rgb = np.array([colors.to_rgb(name) for name in names])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    xyz = np.clip(linear @ vision.T, 0.0, 1.0) @ to_xyz.T / to_xyz.sum(axis=1)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    lab = np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)
    return (np.linalg.norm(lab[:, None] - lab, axis=-1) + 1e3 * np.eye(len(lab))).min()


@pytest.mark.parametrize("vision", VISION)
def test_colours_are_told_apart_by_the_colour_blind(vision):
    """The usual ten of matplotlib come within 7 of each other, these never within 15."""
    assert smallest_distance(drawing.COLOURS, VISION[vision]) > 15


def test_experiments_are_told_apart_beyond_the_colours():
    assert len({tuple(drawing.look(n).values()) for n in range(28)}) == 28


def test_a_scorecard_holds_the_relative_error_whole_variable_first(results):
    table = compare_tables(open_experiments(["a", "b"], None, results)).tables["scores"]
    rows = table.query("region == 'global' and metric == 'rmse_mean' and variable == 'uo'")
    percent, apart = drawing.card_cells(rows, "a", "b")
    assert np.isnan(percent.index[0]) and percent.index[1] == 5.0
    for row in rows.itertuples():
        at = 0 if np.isnan(row.depth) else 1
        cell = percent.iloc[at][row.lead]
        assert cell == pytest.approx(100 * (row.value_b / row.value_a - 1))
        assert apart[at, list(percent.columns).index(row.lead)] == (row.overlap_b == "no")


def test_the_command_writes_beside_the_experiments(results, tmp_path, capsys):
    path = tmp_path / "config.yaml"
    config = make_config(tmp_path)
    path.write_text(json.dumps(config.model_dump(mode="json")))
    arguments = ["compare", "a", "b", "--config", str(path), "--labels", "hybrid,net work"]
    assert cli.main([*arguments, "--metric", "rmse_mean"]) == 0
    output = results / "compare_hybrid_net-work"
    assert {x.name for x in output.iterdir() if not x.name.startswith(".")} == {
        *("scores.csv", "scores.parquet", "drift.csv", "drift.parquet", "figures", "page.html")
    }
    assert "value_net work" in pd.read_csv(output / "scores.csv")
    assert cli.main(["compare", "a", "none", "--config", str(path)]) == 2
    assert "none: no scores.parquet" in capsys.readouterr().err


def test_tables_alone_are_compared_without_a_configuration(results, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = ["compare", str(results / "a"), str(results / "b"), "--metric", "rmse_mean"]
    assert cli.main(arguments) == 0, capsys.readouterr().err
    assert (tmp_path / "results" / "compare_a_b" / "page.html").is_file()


def test_the_page_of_a_comparison_works_in_a_browser(results, tmp_path):
    found = run(["a", "b"], results, tmp_path / "out")
    page = tmp_path / "out" / "page.html"
    with open_browser(tmp_path / "profile") as browser:
        visit(browser, page)
        assert console(browser) == []
        assert requests(browser, page) == [page.as_uri()]
        status = browser.find_element("css selector", "#table-scores output").text
        assert status.endswith(f"of {len(found.tables['scores'])}")


def test_a_family_without_rows_stays_without():
    columns = [*row_keys("spectra"), "value", "low", "high", "n_starts"]
    empty = pd.DataFrame({name: pd.Series(dtype=object) for name in columns})
    table = side_by_side({"one": empty, "other": empty}, row_keys("spectra"))
    assert table.empty and "overlap_other" in table
