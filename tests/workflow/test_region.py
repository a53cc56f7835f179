"""Regions: the workflows of a driver and of regions beside the main one, in one run."""

from __future__ import annotations

import datetime as dt
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml

from hybridom.config import load
from hybridom.layout import Layout
from tests.workflow.conftest import ROOT, Workflow

REGION, COARSE = (ROOT / "config" / f"test_{name}.yaml" for name in ("region", "coarse"))
IN_TEST = "regions=[config/test_region.yaml]"
LAYOUT = Layout(load(REGION))

pytestmark = pytest.mark.slow


def without(prefix: str, plan: dict[str, int]) -> dict[str, int]:
    """Jobs of the rules whose names begin with a prefix, without it."""
    return {rule.removeprefix(prefix): n for rule, n in plan.items() if rule.startswith(prefix)}


def write(directory: Path, name: str, base: Path, **values: object) -> str:
    """Write a configuration that starts from another one; its name in a run's directory."""
    folder = directory / "config"
    folder.mkdir(exist_ok=True)
    text = yaml.safe_dump({"experiment": name} | values)
    (folder / f"{name}.yaml").write_text(f"base: !include {base}\n{text}")
    return f"config/{name}.yaml"


@pytest.fixture
def region(fresh: Workflow) -> Workflow:
    """A region as the main configuration, in an empty directory."""
    return replace(fresh, base="config/test_region.yaml", overrides=())


@pytest.fixture
def main(fresh: Workflow) -> Workflow:
    """A main configuration, in an empty directory."""
    return replace(fresh, overrides=())


@pytest.fixture(scope="module")
def refined(
    finished: Workflow, commands: Path, tmp_path_factory: pytest.TempPathFactory
) -> Workflow:
    """A finished run and its region. Do not change it."""
    directory = tmp_path_factory.mktemp("refined") / "run"
    # what Snakemake keeps may come and go: another worker may be planning over the finished run
    shutil.copytree(finished.directory, directory, ignore=shutil.ignore_patterns(".snakemake"))
    run = replace(finished, directory=directory, commands=commands)
    run.succeed("region", nested=[IN_TEST])
    return run


def test_a_region_is_made_to_the_end(refined):
    scores = pd.read_csv(refined.path(LAYOUT.scores_table))
    assert {"model", "driver", "persistence"} <= set(scores["system"])
    assert {"edges", "interior", "kuroshio"} <= set(scores["region"])
    assert scores["value"].notna().any()
    for path in (LAYOUT.page, LAYOUT.region_check, LAYOUT.figures_dir / "gate_weights.png"):
        assert refined.path(path).stat().st_size > 0
    # the second run, and the same region as the main configuration, have nothing to do
    assert refined.plan("all", "region", nested=[IN_TEST]) == {}
    assert replace(refined, base="config/test_region.yaml", overrides=()).plan() == {}


def test_a_change_reruns_what_follows_from_it(refined, tmp_path):
    stores = shutil.ignore_patterns("*.zarr", "mercator*.nc", "era5*.nc", "restart")
    directory = tmp_path / "seen"
    shutil.copytree(refined.directory, directory, ignore=stores)
    seen = replace(refined, directory=directory, base="config/test_region.yaml", overrides=())
    assert seen.plan() == {}

    longer = ["training={curriculum: [{days: 1, steps: 9}, {days: 2, steps: 4, forecasts: 0.5}]}"]
    plan = seen.plan(nested=longer)
    assert (plan["train"], plan["forecast"], plan["page"]) == (1, 2, 1)
    assert not without("test_coarse_", plan) and "prepare_state" not in plan

    write(directory, "test_coarse", COARSE, training={"learning_rate": 1e-4})
    plan = seen.plan()
    driver = without("test_coarse_", plan)
    assert (driver["train"], driver["forecast"]) == (1, 6)
    assert (plan["train"], plan["forecast"], plan["page"]) == (1, 2, 1)
    assert not any("prepare" in rule or "check" in rule for rule in plan)


def test_a_region_brings_its_driver(region):
    plan = region.plan()
    driver = without("test_coarse_", plan)
    # starts of the test period, of training and of validation
    assert (plan["forecast"], driver["forecast"]) == (2, 2 + 3 + 1)
    assert driver["train"] == plan["train"] == plan["check_region"] == plan["page"] == 1
    # nobody asked for scores of the driver, and it makes the raw files for both
    assert not driver.keys() & {"evaluate_start", "aggregate_scores", "page", "check_region"}
    assert (driver["twin_year"], driver["configure_twin"]) == (2, 1)
    assert not plan.keys() & {"twin_year", "configure_twin"}
    assert region.plan("region") == plan | {"region": 1}
    scored = region.plan("test_coarse_all")
    assert without("test_coarse_", scored)["page"] == 1 and "train" not in scored


def test_windows_that_analyses_drive_need_no_forecasts_of_the_training_period(region):
    analyses = ["training={curriculum: [{days: 1, steps: 8}]}"]
    assert region.plan(nested=analyses)["test_coarse_forecast"] == 2 + 1


def test_a_main_configuration_makes_its_regions_when_asked(main, region):
    alone = main.plan()
    assert main.plan(nested=[IN_TEST]) == alone
    plan = main.plan("region", nested=[IN_TEST])
    assert plan.pop("region") == 1
    assert (plan.pop("twin_year"), plan.pop("configure_twin")) == (2, 1)
    parts = [without(prefix, plan) for prefix in ("test_region_", "test_coarse_")]
    assert sum(map(len, parts)) == len(plan)
    by_itself = region.plan()
    driver = without("test_coarse_", by_itself)
    raw = {"twin_year": 2, "configure_twin": 1}
    assert parts[1] | raw == driver
    assert parts[0] == {
        rule: n for rule, n in by_itself.items() if not rule.startswith("test_coarse_")
    }
    assert main.plan("all", "region", nested=[IN_TEST]).keys() >= alone.keys() | plan.keys()


def test_there_is_no_region_where_none_is_named(main):
    done = main.run("--dry-run", "region")
    assert done.returncode != 0 and "MissingRuleException" in done.stdout


def test_the_default_has_a_region(main):
    plan = replace(main, base="config/demo.yaml").plan("region")
    assert plan["demo_region_train"] == plan["demo_coarse_train"] == 1
    assert "train" not in plan


def test_experiments_of_a_region_share_its_data_and_end_with_a_comparison(main):
    files = "config/demo_region.yaml config/ablations/region_nested.yaml"
    files += " config/ablations/region_super_resolution.yaml"
    plan = replace(main, base=files).plan("region")
    counts = {"train": 3, "check_region": 1, "prepare_state": 4, "compare": 1}
    assert {rule: plan[rule] for rule in counts} == counts
    assert plan["forecast"] == 3 * 9 and plan["demo_coarse_train"] == 1

    nested = main.plan("region", nested=[f"regions=['{files}']"])
    assert nested["demo_region_compare"] == 1 and nested["demo_region_train"] == 3


def test_one_global_forecast_drives_two_regions(main):
    driver = {"file": "config/test.yaml", "experiment": "test", "grid": "global_12_test"}
    files = [
        write(main.directory, name, REGION, grid={"name": name}, region={"driver": driver})
        for name in ("pacific", "other.one")
    ]
    plan = main.plan("region", nested=[f"regions=[{','.join(files)}]"])
    assert plan["pacific_train"] == plan["other_one_train"] == plan["train"] == 1
    assert plan["forecast"] == 2 + 3 + 1 and plan["prepare_grid"] == 1
    assert not any("coarse" in rule for rule in plan)


def test_overrides_reach_the_main_configuration_alone_but_folders_reach_all(main):
    folders = ["paths.results=outcome", "paths.raw=raw"]
    text = main.succeed(
        *("--dry-run", "--quiet", "progress", "--printshellcmds", "region"),
        overrides=["training.batch=7", *folders],
        nested=[IN_TEST, "forecast={days: 9}", "figures={leads: [1]}"],
    )
    commands = [line for line in text.splitlines() if "hybridom config stage" in line]
    main_only = [line for line in commands if "training.batch=7" in line]
    assert main_only and all("config/test.yaml" in line for line in main_only)
    others = [line for line in commands if line not in main_only]
    assert others and all("--set paths.results=outcome" in line for line in others)
    assert not any("forecast.days" in line for line in others)
    assert "outcome/test_coarse/train/checkpoint.pt" in text and "results/test" not in text


def test_a_profile_s_settings_of_a_rule_hold_for_the_driver_too(region):
    settings = ["train:mem_mb=1234", "test_coarse_forecast:mem_mb=77", "forecast:mem_mb=99"]
    settings += ["--set-threads", "train=3"]
    text = region.succeed("--dry-run", "--set-resources", *settings)
    jobs = {block.split(":")[0]: block for block in text.split("\nrule ")[1:]}
    assert "mem_mb=1234" in jobs["train"] and "mem_mb=1234" in jobs["test_coarse_train"]
    assert "threads: 2" in jobs["test_coarse_train"]  # as many as there are cores
    assert "mem_mb=99" in jobs["forecast"] and "mem_mb=77" in jobs["test_coarse_forecast"]


def test_a_driver_that_does_not_fit_is_refused_in_one_line(region, main):
    def refusal(run: Workflow, *words: str, **given: list[str]) -> str:
        done = run.run("--dry-run", *words, **given)
        assert done.returncode == 2
        (said,) = [line for line in done.stdout.splitlines() if "error" in line.lower()]
        return said

    said = refusal(region, nested=["grid={depths: [9.572997, 50]}"])
    assert said.startswith("hybridom: error: ") and "50 m is none of the driver's 4 levels" in said
    moved = ["twin.start=2001-12-27"]
    assert "twin.start is '2001-12-27'" in refusal(region, overrides=moved)
    # what is wrong with a region stops nothing but the region
    other = ["twin.end=2002-02-02"]
    assert "twin.end" in refusal(main, "region", overrides=other, nested=[IN_TEST])
    assert main.plan(overrides=other, nested=[IN_TEST])["train"] == 1


def test_drivers_whose_files_are_there_are_inputs(region):
    given = ["region.driver.file=null"]
    done = region.run("--dry-run", overrides=given)
    assert done.returncode != 0 and "Missing input files for rule" in done.stdout
    driver = LAYOUT.driver
    needed = [driver.grid_file, *map(driver.state_manifest, (2001, 2002))]
    starts = ("2001-12-28", "2002-01-01", "2002-01-05", "2002-01-13", "2002-01-18", "2002-01-21")
    for path in (*needed, *(driver.forecast_manifest(dt.date.fromisoformat(x)) for x in starts)):
        region.path(path).parent.mkdir(parents=True, exist_ok=True)
        region.path(path).touch()
    plan = region.plan(overrides=given)
    assert plan["train"] == plan["twin_year"] - 1 == 1
    assert not without("test_coarse_", plan)
