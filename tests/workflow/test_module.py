"""The workflow as the catalogue and other workflows use it: its second Snakefile, a module."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from hybridom.config import load
from hybridom.layout import Layout
from tests.workflow.conftest import ROOT, Workflow

BASE = "config/test.yaml"
SAME = ("experiment=test",)  # as in the file
LAYOUT = Layout(load(ROOT / BASE))
GUIDE = (ROOT / "docs/workflow.md").read_text()
# What `snakedeploy deploy-workflow` writes, and a rule that the other workflow adds.
SNAKEFILE = """\
configfile: "config/config.yaml"


module hybridom:
    snakefile:
        {snakefile}
    config:
        config


use rule * from hybridom{names}


rule own:
    input:
        "{needed}",
    output:
        "results/own.txt",
    log:
        "logs/own.log",
    conda:
        "own.yaml"
    shell:
        "cp {{input}} {{output}} 2> {{log}}"
"""

pytestmark = pytest.mark.slow


class Other:
    """Another workflow, with this one as a module."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "config").mkdir(parents=True)
        (directory / "workflow").mkdir()
        (directory / "hybridom").symlink_to(ROOT)

    def write(
        self,
        snakefile: str = '"../hybridom/workflow/Snakefile"',
        names: str = "",
        needed: Path = LAYOUT.skill_table,
        **config: object,
    ) -> None:
        """Write its Snakefile and its configuration (`base` if none is given)."""
        text = SNAKEFILE.format(snakefile=snakefile, names=names, needed=needed)
        (self.directory / "workflow/Snakefile").write_text(text)
        (self.directory / "workflow/own.yaml").write_text("dependencies:\n  - python\n")
        (self.directory / "config/config.yaml").write_text(yaml.safe_dump({"base": BASE} | config))

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run Snakemake in its directory, as its user does; stdout holds both streams."""
        return subprocess.run(
            [sys.executable, "-m", "snakemake", *words],
            cwd=self.directory,
            env=os.environ | {"XDG_CACHE_HOME": str(self.directory / "cache")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def plan(self, *words: str) -> dict[str, int]:
        """Number of jobs by rule that a run would do, without `all`."""
        done = self.run("--cores", "2", "--dry-run", *words)
        assert done.returncode == 0, done.stdout[-6000:]
        assert "localrules directive specifies" not in done.stdout
        return Workflow.jobs(done.stdout)


@pytest.fixture
def other(tmp_path: Path) -> Other:
    return Other(tmp_path / "other")


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """What the workflow itself plans to do, in an empty directory."""
    return Workflow(tmp_path_factory.mktemp("plain"), overrides=SAME).plan()


def test_the_second_snakefile_is_the_same_workflow(tmp_path, jobs):
    second = Workflow(tmp_path, overrides=SAME)
    assert second.plan("--snakefile", "workflow/Snakefile") == jobs


def test_the_workflow_that_a_module_is_in_plans_the_same_jobs(other, jobs):
    other.write()
    assert other.plan() == jobs


def test_a_rule_of_its_own_takes_an_output(other, jobs):
    other.write()
    plan = other.plan("own")
    assert plan.pop("own") == 1
    assert "aggregate_scores" in plan and "page" not in plan
    assert {rule: jobs[rule] for rule in plan if not rule.startswith("configure")} == {
        rule: count for rule, count in plan.items() if not rule.startswith("configure")
    }


def test_jobs_of_a_module_run(other):
    other.write(needed=LAYOUT.stage_config("twin"))
    done = other.run("own", "--cores", "1")
    assert done.returncode == 0, done.stdout[-6000:]
    text = (other.directory / "results/own.txt").read_text()
    assert yaml.safe_load(text)["twin"]["seed"] == load(ROOT / BASE).twin.seed


def test_the_module_follows_its_configuration_and_the_command_line(other, jobs):
    other.write(forecast={"last": "2002-01-18"}, set="figures.dpi=61")
    assert (jobs["forecast"], other.plan()["forecast"]) == (2, 1)
    assert other.plan("--config", "forecast={last: 2002-01-20}", "set=forecast.every=1")[
        "forecast"
    ] == len(range(18, 21))


def test_the_module_runs_several_experiments(other):
    other.write(seeds="0 1")
    plan = other.plan()
    assert (plan["train"], plan["prepare_statistics"]) == (2, 1)


def test_a_mistake_in_the_configuration_is_one_line(other):
    other.write(trainin={"batch": 2})
    done = other.run("--cores", "1", "--dry-run")
    assert done.returncode == 2
    (message,) = [line for line in done.stdout.splitlines() if "error" in line.lower()]
    assert message.startswith("hybridom: error: ") and "training" in message


def test_rules_can_have_other_names(other, jobs):
    other.write(names=" as ocean_*")
    snakefile = other.directory / "workflow/Snakefile"
    snakefile.write_text(snakefile.read_text() + "\nprint('local:', *workflow._localrules)\n")
    local = re.search(r"^local: (.*)$", other.run("--list").stdout, re.MULTILINE)[1].split()
    assert {"ocean_all", "ocean_configure_experiment", "ocean_configure_resources"} <= set(local)
    assert "ocean_configure_twin" in local
    renamed = {f"ocean_{rule}": count for rule, count in jobs.items()}
    assert other.plan() == renamed | {"ocean_all": 1}


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_release_in_a_repository_is_a_module(other, jobs):
    clone = other.directory / "clone"
    clone.mkdir()
    shutil.copy(ROOT / "Snakefile", clone)
    for name in ("workflow", "envs"):
        shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("*.sif"))
    fetched = "cache/snakemake/snakemake/source-cache/snakemake-git-cache/github.com/some/hybridom"
    own = ("-c", "user.name=some", "-c", "user.email=some@example.org")
    for words in (
        ("init", "--quiet", "."),
        ("add", "."),
        (*own, "commit", "--quiet", "--message", "Release"),
        ("tag", "v1.0.0"),
        ("clone", "--quiet", "--bare", ".", f"../{fetched}"),
    ):
        subprocess.run(["git", *words], cwd=clone, check=True)
    other.write(snakefile='github("some/hybridom", path="workflow/Snakefile", tag="v1.0.0")')
    assert other.plan() == jobs


def test_it_is_free_of_lint(other):
    other.write()
    done = other.run("--lint")
    assert done.returncode == 0, done.stdout
    assert "your workflow is in a good condition" in done.stdout


def test_the_catalogue_finds_what_it_asks_for():
    settings = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    deployment = settings["software-stack-deployment"]
    assert deployment == {"conda": True, "apptainer": True, "apptainer+conda": False}
    assert settings["report"] is True
    readme = (ROOT / "README.md").read_text().lower()
    assert "snakemake" in readme and "workflow" in readme
    for name in ("workflow/Snakefile", "config/README.md", "config/config.yaml"):
        assert (ROOT / name).is_file()
    assert {file.suffix for file in (ROOT / "workflow/rules").iterdir()} == {".smk"}


@pytest.fixture(scope="module")
def rule_graph() -> ModuleType:
    """docs/workflow/rule_graph.py as a module."""
    file = ROOT / "docs/workflow/rule_graph.py"
    specification = importlib.util.spec_from_file_location("rule_graph", file)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_graph_in_the_guide_is_that_of_the_rules(rule_graph):
    blocks = re.findall(r"^```mermaid\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
    assert blocks == [rule_graph.current()], "run `python docs/workflow/rule_graph.py`"


def test_arrows_that_a_longer_way_implies_are_left_out(rule_graph):
    names = ("all", "figure_b", "figure_c", "train", "configure_x", "prepare")
    arrows = [(4, 5), (5, 3), (3, 1), (3, 2), (5, 1), (1, 0), (2, 0), (4, 3)]
    drawn = "".join(f"\tid{number}[{name}]\n" for number, name in enumerate(names))
    drawn += "\tstyle id0 fill:#123456\n"
    drawn += "\n".join(f"\tid{start} --> id{end}" for start, end in arrows)
    graph = rule_graph.reduced(rule_graph.folded(rule_graph.parsed(drawn)))
    assert graph == {"prepare": {"train"}, "train": {"figures"}, "figures": set()}
    text = "flowchart TB\n    prepare --> train\n    train --> figures\n"
    assert rule_graph.mermaid(graph) == text


def test_files_that_the_guide_links_exist():
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", GUIDE)
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
