"""Every command in README.md is run: as it is, as a dry run, or on the tiny configuration."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.warm import SNAKEMAKE, server

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```", TEXT, flags=re.DOTALL | re.MULTILINE)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line.strip()]
# Not run: they change the clone's own hooks and environment.
SHOWN_ONLY = {"pre-commit install", "pip install --editable '.[download]'"}


def execute(command: list[str] | str, directory: Path = ROOT) -> str:
    """Run a command with this Python's commands first on the path; the test fails if it fails."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=directory,
        shell=isinstance(command, str),
        executable="/bin/bash" if isinstance(command, str) else None,
        env={**os.environ, "PATH": path},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def starting_with(*words: str) -> list[str]:
    """Commands of the README whose first word is one of these."""
    return [c for c in COMMANDS if c.split()[0] in words and c not in SHOWN_ONLY]


def test_every_command_is_run_by_a_test_of_this_file():
    known = {*starting_with("make", "snakemake", "hybridom", "torchrun", "source"), *SHOWN_ONLY}
    assert set(COMMANDS) == known
    assert len(COMMANDS) > 20


@pytest.mark.parametrize("command", starting_with("make"))
def test_make_commands_have_a_recipe(command, tmp_path):
    # In a folder of its own: make runs recipes that call make again even in a dry run.
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    assert "pip install" in execute(f"{command} --dry-run", tmp_path)


def test_the_makefile_never_calls_make():
    assert "$(MAKE)" not in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("command", starting_with("source"))
def test_the_environment_is_activated_where_make_puts_it(command):
    makefile = (ROOT / "Makefile").read_text()
    assert command == "source .venv/bin/activate"
    assert re.search(r"^VENV := \.venv$", makefile, flags=re.MULTILINE)


@pytest.mark.parametrize("command", starting_with("snakemake"))
def test_snakemake_commands_plan_the_workflow(command, tmp_path):
    if "--list" in command:
        assert "train" in execute(command)
    elif "--report" not in command:  # a report needs a finished run: see tests/workflow
        options = execute(rf"printf '%s\n' {command}").splitlines()[1:]  # as the shell splits it
        options += ["--dry-run", "--directory", str(tmp_path)]
        plan = server(*SNAKEMAKE).run("snakemake", options)
        assert plan.returncode == 0, plan.stdout
        assert re.search(r"^total +\d+$", plan.stdout, flags=re.MULTILINE)


def test_the_table_of_stages_names_every_command_once():
    table = re.findall(r"^\| .*`(?:hybridom|snakemake)[^|]*\| .*\|$", TEXT, flags=re.MULTILINE)
    named = {name for row in table for name in re.findall(r"`hybridom ([a-z ]+)`", row)}
    steps = ("check", "grid", "state", "forcing", "climatology", "statistics", "percentiles")
    expected = {
        "twin",
        "train",
        "launch train",
        "forecast",
        "evaluate aggregate",
        "figures",
        "page",
    }
    expected |= {"evaluate damping", "evaluate start", "region check", "region gate"}
    expected |= {f"retrieve {what}" for what in ("static", "ocean", "forcing")}
    assert named == expected | {f"prepare {step}" for step in steps}


def test_files_that_are_linked_exist():
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert [x for x in links if "://" not in x and not (ROOT / x).exists()] == []
