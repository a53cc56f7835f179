"""What a run makes, and what it does not make again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace

import pandas as pd
import pytest

from hybridom.figures import figure_names, figure_outputs
from tests.workflow.conftest import ROOT

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
    train = block(text, "train")
    for resource in ("slurm_partition=gpu", "mem_mb=", "runtime=1440", "gres=gpu:2", "nodes=1"):
        assert resource in train
    assert "mpi=" not in train
    assert "slurm_partition=cpu" in block(text, "prepare_state")
    assert "gres=gpu:1" in block(text, "forecast")


def block(text: str, rule: str) -> str:
    """What a dry run says of the first job of a rule."""
    return next(b for b in text.split("\n\n") if f"rule {rule}:" in b)


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [
        (["gpus_per_node=4"], ["nodes=2", "gres=gpu:4", "tasks=2", "mpi=srun", "threads: 32"]),
        (["gpus_per_node=8", "gpu_type=a100"], ["nodes=1", "gres=gpu:a100:8", "threads: 64"]),
        (["gpus_per_node=8", "cores_per_gpu=2"], ["nodes=1", "threads: 16"]),
        (["gpus_per_node=0"], ["nodes=1"]),
        ([], ["nodes=1", "gpu=8"]),
    ],
)
def test_nodes_and_gpus_follow_ranks_and_the_cluster(fresh, cluster, expected):
    options = ["--default-resources", *cluster] if cluster else []
    done = fresh.succeed("--dry-run", *options, "--cores", "99", overrides=["training.ranks=8"])
    train = block(done, "train")
    assert [x for x in expected if x not in train] == []
    if "gpus_per_node=0" in cluster:
        assert "gres" not in train and "gpu=" not in train


def test_ranks_that_cannot_be_spread_over_nodes_are_refused(fresh):
    options = ["--dry-run", "--default-resources", "gpus_per_node=4"]
    done = fresh.run(*options, overrides=["training.ranks=5"])
    assert done.returncode != 0
    assert "training.ranks: 5 processes cannot be spread evenly over 2 nodes" in done.stdout


def test_a_changed_training_option_trains_again_and_says_why(seen):
    text = seen.succeed("--dry-run", overrides=["training.loss.kind=mae"])
    line = "hybridom: test: changed since train ran: training.loss.kind: mse -> mae"
    assert line in text.splitlines()
    assert seen.jobs(text)["train"] == 1


def test_a_comment_in_the_package_reruns_nothing(seen, tmp_path):
    clone = tmp_path / "clone"
    parts = ("Snakefile", "hybridom", "workflow", "config", "envs", "profiles", "pyproject.toml")
    for part in parts:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, clone / part) if clone.exists() else (
            clone.mkdir(),
            copy(ROOT / part, clone / part),
        )
    for path in ("training/loop.py", "forecast.py", "data/climatology.py", "layout.py"):
        file = clone / "hybridom" / path
        file.write_text(file.read_text() + "\n# a remark\n")
    for path in (clone / "workflow" / "rules").iterdir():
        path.write_text(path.read_text() + "\n# a remark\n")
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--dry-run", *seen.command()],
        cwd=clone,
        env={**os.environ, "PYTHONPATH": str(clone)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert "Nothing to be done" in done.stdout


def test_seeds_and_ablations_share_all_but_training_and_what_follows(fresh):
    base = "config/demo.yaml config/ablations/network_only.yaml"
    several = replace(fresh, base=base, overrides=())
    alone = replace(fresh, base="config/demo.yaml", overrides=()).plan()
    plan = several.plan(nested=["seeds=0 1"])
    experiments = {"train", "forecast", "evaluate_start", "aggregate_scores", "page", "fit_damping"}
    for rule, jobs in alone.items():
        own = rule in experiments or rule.startswith(("figure_", "configure_experiment"))
        assert plan[rule] == jobs * (4 if own else 1), rule
    assert plan["compare"] == 1
    assert set(plan) == {*alone, "compare"}


def test_experiments_that_share_no_data_are_refused(fresh):
    several = replace(fresh, base="config/demo.yaml config/test.yaml", overrides=())
    done = several.run("--dry-run")
    assert done.returncode != 0
    assert "experiments of one run may differ" in done.stdout


def test_several_experiments_end_with_a_comparison(copied, commands):
    small = ("evaluation.families=[]", "figures.dpi=50", "forecast.last=2002-01-18")
    run = replace(copied, overrides=(*copied.overrides, *small), commands=commands)
    plan = run.plan(nested=["seeds=0,1"])
    assert plan["train"] == plan["page"] == 2
    assert not any(rule.startswith("prepare") for rule in plan)
    run.succeed("--until", "compare", nested=["seeds=0,1"])
    table = pd.read_csv(run.directory / "results" / "compare_test_seed0" / "scores.csv")
    assert table[["value_test_seed0", "value_test_seed1"]].notna().any().all()
    assert run.plan("--until", "compare", nested=["seeds=0,1"]) == {}
