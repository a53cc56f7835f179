from __future__ import annotations

import re
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from hybridom.config.output import Baseline
from hybridom.evaluation.skill import ranges, skill_table, verdict
from hybridom.evaluation.summary import BASELINES, LETTERS, STYLE, summary_page


def scores(curves, region="global"):
    """A table of mean scores from {(variable, depth): {system: RMSE by lead}}."""
    rows = [
        {
            "lead": lead,
            "region": region,
            "variable": variable,
            "depth": depth,
            "system": system,
            "metric": metric,
            "value": value if metric == "rmse_mean" else -value,
            "low": np.nan,
        }
        for (variable, depth), systems in curves.items()
        for system, values in systems.items()
        for lead, value in enumerate(values, start=1)
        for metric in ("rmse_mean", "bias")
    ]
    skill = [
        {**row, "metric": f"skill_{system}", "value": 1 - row["value"] / values[row["lead"] - 1]}
        for row in rows
        if row["metric"] == "rmse_mean" and row["system"] == "model"
        for system, values in curves[row["variable"], row["depth"]].items()
        if system != "model"
    ]
    for row in skill:
        row["low"] = row["value"] - 0.4
    return pd.DataFrame([*rows, *skill])


CURVES = {
    ("zos", np.nan): {
        "model": [2.0, 1.0, 3.0, 5.0],
        "persistence": [1.0, 2.0, 3.5, 4.0],
        "climatology": [4.0, 4.0, 2.0, 4.5],
        "damped_persistence": [3.0, 0.5, 4.0, 6.0],
    },
    ("so", 10.0): {
        "model": [1.0] * 4,
        "persistence": [2.0] * 4,
        "climatology": [3.0] * 4,
        "damped_persistence": [1.5] * 4,
    },
    ("so", np.nan): {
        "model": [2.0] * 4,
        "persistence": [1.0] * 4,
        "climatology": [2.0] * 4,
        "damped_persistence": [0.5, 4.0, 4.0, 4.0],
    },
}


@pytest.mark.parametrize(
    ("leads", "words"),
    [
        ([], "none"),
        ([3], "3"),
        ([1, 2, 3], "1 to 3"),
        ([1, 3, 4, 5, 9], "1, 3 to 5, 9"),
    ],
)
def test_leads_are_written_as_ranges(leads, words):
    assert ranges(leads) == words


def test_the_skill_table_lists_the_leads_won_against_each_baseline():
    table = skill_table(scores(CURVES)).set_index(["variable", "level"])
    zos = table.loc[("zos", "surface")]
    assert (zos["beats_persistence"], zos["beats_climatology"]) == ("2 to 3", "1 to 2")
    assert zos["beats_damped_persistence"] == "1, 3 to 4"
    assert (zos["beats_every"], zos["beats_no"], zos["leads_every"]) == ("none", "none", 0)
    assert zos["verdict"] == (
        "not better than persistence at days 1, 4; not better than climatology at days 3 to 4; "
        "not better than damped persistence at day 2"
    )


def test_a_win_is_sure_where_the_whole_interval_lies_above_zero():
    """Skills over climatology of 0.5, 0.75, -0.5 and -0.11, with intervals from 0.4 below."""
    zos = skill_table(scores(CURVES)).set_index(["variable", "level"]).loc[("zos", "surface")]
    assert (zos["surely_climatology"], zos["surely_persistence"]) == ("1 to 2", "2")
    assert zos["surely_damped_persistence"] == "none"


def test_the_model_is_best_only_where_it_beats_every_baseline():
    """Without damped persistence, the model is best at day 2."""
    two = {
        key: {name: x for name, x in systems.items() if name != "damped_persistence"}
        for key, systems in CURVES.items()
    }
    table = skill_table(scores(two)).set_index(["variable", "level"])
    zos = table.loc[("zos", "surface")]
    assert "beats_damped_persistence" not in table
    assert (zos["beats_every"], zos["beats_no"], zos["leads_every"]) == ("2", "4", 1)
    assert zos["verdict"] == (
        "better than every baseline at day 2; "
        "not better than persistence at days 1, 4; not better than climatology at days 3 to 4"
    )


def test_a_tie_is_no_win():
    table = skill_table(scores(CURVES)).set_index(["variable", "level"])
    assert table.loc[("so", "all levels"), "beats_climatology"] == "none"
    assert table.loc[("so", "all levels"), "verdict"] == (
        "not better than persistence at any lead; not better than climatology at any lead; "
        "not better than damped persistence at day 1"
    )


def test_whole_variables_come_before_levels():
    assert list(skill_table(scores(CURVES))["level"]) == ["surface", "all levels", "10 m"]


def test_every_baseline_has_its_letter_and_its_words():
    assert set(BASELINES) == set(get_args(Baseline))
    assert set(LETTERS) == {"model", *BASELINES}
    assert len(set(LETTERS.values())) == len(LETTERS)
    assert all(f".best .{letter.lower()} {{" in STYLE for letter in LETTERS.values())


def test_winning_everywhere_is_said_plainly():
    wins = {"persistence": np.ones(3, bool), "climatology": np.ones(3, bool)}
    words = verdict(np.array([1, 2, 3]), wins)
    assert words == "better than every baseline at every lead"


def test_the_summary_shows_the_best_system_of_every_lead_and_needs_no_other_file():
    table = pd.concat([scores(CURVES), scores(CURVES, "tropics")])
    page = summary_page(table, skill_table(table), "a<b", 3)
    cells = re.findall(r'<td class="([mpcd])"[^>]*>([MPCD])</td>', page)
    assert all(kind.upper() == letter for kind, letter in cells)
    # Twice (regions): surface P D C P, whole salinity D P P P, one level M M M M.
    letters = "".join(letter for _, letter in cells)
    assert letters == ("PDCP" + "DPPP" + "MMMM") * 2
    assert "4 of 4" in page and "0 of 4" in page
    assert "a&lt;b" in page and "a<b" not in page
    assert 'day 3: model 3, persistence 3.5, climatology 2, damped persistence 4 m"' in page
    assert not re.search(r"\b(src|href)\s*=|@import|url\(", page)
    assert page.count("<h2>") == 2
    key = re.findall(r'<span class="([mpcd])">([^<]+)</span>', page)
    assert key == [
        ("m", "M model"),
        ("p", "P persistence"),
        ("c", "C climatology"),
        ("d", "D damped persistence"),
    ]
    assert all(f".{kind} {{" in page for kind, _ in key)
