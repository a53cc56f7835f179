"""What a run makes, and what it does not make again."""

from __future__ import annotations

import pandas as pd
import pytest

from hybridom.figures import figure_names, figure_outputs

pytestmark = pytest.mark.slow

FIGURE_RULES = "figure_"
CONFIGURE_RULES = "configure_"


def stages(plan: dict[str, int]) -> set[str]:
    """Rules of a plan but those that write configurations, figures as one."""
    return {
        "figures" if rule.startswith(FIGURE_RULES) else rule
        for rule in plan
        if not rule.startswith(CONFIGURE_RULES)
    }


def test_the_whole_workflow_writes_every_output(finished):
    config, layout = finished.config, finished.layout
    expected = [layout.scores_table, layout.scores_parquet, layout.skill_table, layout.summary]
    expected += [layout.page]
    expected += [layout.checkpoint, layout.train_log, layout.statistics_file, layout.grid_file]
    for name in figure_names(config):
        expected += figure_outputs(name, config, layout)
    assert [path for path in expected if not finished.path(path).stat().st_size] == []


def test_the_scores_hold_every_system_lead_and_variable(finished):
    scores = pd.read_csv(finished.path(finished.layout.scores_table))
    baselines = {"persistence", "climatology", "damped_persistence"}
    assert set(scores["system"]) == {"model"} | baselines
    assert set(scores["variable"]) == {"thetao", "so", "uo", "vo", "zos", "all_normalised"}
    assert set(scores["lead"]) >= set(range(1, finished.config.forecast.days + 1))
    assert set(scores["region"]) >= {"global", "tropics"}


def test_nothing_is_left_half_written(finished):
    left = [p for p in finished.directory.rglob("*.partial") if ".snakemake" not in p.parts]
    assert left == []


def test_a_second_run_does_nothing(finished):
    assert "Nothing to be done" in finished.succeed()


def test_a_deleted_figure_alone_is_drawn_again(seen):
    figures = seen.path(seen.layout.figures_dir)
    image = figures / "rmse_lead.png"
    before = {path: path.stat().st_mtime_ns for path in figures.glob("*.p*")}
    content = image.read_bytes()
    image.unlink()
    assert seen.plan() == {"figure_rmse_lead": 1, "page": 1}
    seen.succeed()
    assert image.read_bytes() == content
    after = {path: path.stat().st_mtime_ns for path in figures.glob("*.p*")}
    assert {path.stem for path in before if after[path] != before[path]} == {"rmse_lead"}


@pytest.mark.parametrize(
    ("override", "first"),
    [
        ("figures.dpi=61", "figures"),
        ("evaluation.regions.arctic=[60,90,-180,180]", "fit_damping"),
        ("forecast.days=9", "forecast"),
        ("training.loss.kind=mae", "train"),
        ("climatology.harmonics=1", "prepare_climatology"),
        ("twin.seed=7", "twin_year"),
    ],
)
def test_a_changed_value_reruns_its_stage_and_what_follows(finished, override, first):
    order = [
        "twin_year",
        "check_year",
        "prepare_state",
        "prepare_climatology",
        "prepare_statistics",
        "train",
        "forecast",
        "fit_damping",
        "evaluate_start",
        "aggregate_scores",
        "figures",
        "page",
    ]
    expected = set(order[order.index(first) :])
    if first == "train":
        expected.remove("fit_damping")  # it knows no model
    if first == "twin_year":
        expected.add("prepare_percentiles")  # of the states alone
    plan = stages(finished.plan(overrides=[override]))
    assert plan - {"prepare_grid", "prepare_forcing"} == expected


def test_damping_is_fitted_where_damped_persistence_is_scored(fresh):
    assert fresh.plan()["fit_damping"] == 1
    without = fresh.plan(overrides=["evaluation.baselines=[persistence,climatology]"])
    assert "fit_damping" not in without
    assert without["evaluate_start"] == len(fresh.config.forecast.start_dates())


def test_a_value_that_stays_the_same_reruns_nothing(finished):
    dpi = finished.config.figures.dpi
    assert finished.plan(overrides=[f"figures.dpi={dpi}"]) == {}


def test_new_raw_files_of_one_year_spare_the_other_years_stores(seen):
    year = seen.config.periods.years[-1]
    report = seen.path(seen.layout.check_report(year))
    report.write_text(report.read_text() + "\n")
    plan = seen.plan()
    assert plan["prepare_state"] == plan["prepare_forcing"] == 1
    assert "prepare_grid" not in plan


def test_the_report_holds_the_summary_and_the_figures(finished):
    report = finished.directory / "report.html"
    finished.succeed("--report", str(report))
    text = report.read_text(encoding="utf-8")
    for name in ("summary.html", "rmse_lead.png", "maps_thetao.png"):
        assert name in text


def test_the_slurm_profile_plans_the_same_jobs_with_resources(fresh):
    text = fresh.succeed("--profile", "slurm", "--dry-run", "all")
    assert fresh.jobs(text) == fresh.plan()
    train = next(b for b in text.split("\n\n") if "rule train:" in b)
    for resource in ("slurm_partition=gpu", "mem_mb=", "runtime=", "gpu=2", "nodes=1"):
        assert resource in train
    state = next(b for b in text.split("\n\n") if "rule prepare_state:" in b)
    assert "slurm_partition=cpu" in state
