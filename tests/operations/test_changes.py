"""Options that differ from those that each stage ran with last."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybridom.config import STAGES, Config, load, write_stage
from hybridom.layout import Layout
from hybridom.operations.changes import changed_options

TEST = Path(__file__).parents[2] / "config" / "test.yaml"


@pytest.fixture
def ran(tmp_path, monkeypatch) -> Config:
    """A configuration all stages of which have run in the working directory."""
    monkeypatch.chdir(tmp_path)
    config = load(TEST)
    for stage in STAGES:
        write_stage(config, stage, Layout(config).stage_config(stage))
    return config


def test_same_options_change_nothing(ran):
    assert changed_options(ran) == {}
    assert changed_options(load(TEST)) == {}


def test_each_option_is_named_for_the_stages_that_use_it(ran):
    now = load(TEST, ["training.loss.kind=mae", "figures.dpi=70", "figures.leads=[1, 5]"])
    assert changed_options(now) == {
        "train": ["training.loss.kind: mse -> mae"],
        "figures": ["figures.dpi: 60 -> 70", "figures.leads: [1, 5, 9] -> [1, 5]"],
        "page": ["figures.dpi: 60 -> 70", "figures.leads: [1, 5, 9] -> [1, 5]"],
    }


def test_dates_numbers_and_nulls_are_compared_by_value(ran):
    now = load(TEST, ["periods.train.end=2002-01-11", "training.learning_rate=0.002"])
    changed = changed_options(now)
    assert changed["train"] == ["periods.train.end: 2002-01-12 -> 2002-01-11"]
    assert changed["climatology"] == changed["train"]
    assert "forecast" not in changed and "evaluate" not in changed
    now = load(TEST, ["training.checkpoint.every=5", "skeleton.planetary=true"])
    assert changed_options(now) == {
        "train": ["skeleton.planetary: false -> true", "training.checkpoint.every: null -> 5"]
    }
    now = load(TEST, ["training.curriculum=[{days: 1, steps: 9}]"])
    assert changed_options(now)["train"] == [
        "training.curriculum: [{days: 1, steps: 12, forecasts: 0.0}, {days: 2, steps: 6, "
        "forecasts: 0.0}] -> [{days: 1, steps: 9, forecasts: 0.0}]"
    ]


def test_option_that_only_one_version_knows_is_shown_as_absent(ran):
    file = Layout(ran).stage_config("forecast")
    file.write_text(file.read_text().replace("  days: 10\n", "  length: 10\n"))
    assert changed_options(ran) == {
        "forecast": ["forecast.days: absent -> 10", "forecast.length: 10 -> absent"]
    }


def test_stage_that_never_ran_or_whose_copy_is_damaged_is_left_out(ran):
    now = load(TEST, ["training.loss.kind=mae", "figures.dpi=70"])
    layout = Layout(ran)
    layout.stage_config("train").unlink()
    for damaged in ("", "figures: {dpi: [", "- a list\n"):
        layout.stage_config("figures").write_text(damaged)
        assert list(changed_options(now)) == ["page"]
    layout.stage_config("figures").write_bytes(b"\xff\xfe\x00")
    assert list(changed_options(now)) == ["page"]


def test_stage_of_another_kind_of_source_is_left_out(ran):
    file = Layout(ran).stage_config("download")
    file.write_text(file.read_text().replace("surface3", "fluxes8"))
    assert changed_options(ran) == {}
