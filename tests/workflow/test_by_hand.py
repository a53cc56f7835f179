"""The stage commands of README.md, run by hand over a finished run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from hybridom.config import load

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
DEMO_START = str(load(ROOT / "config/demo.yaml").forecast.start_dates()[0])
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^(?:hybridom|torchrun) .*$", README, flags=re.MULTILINE)


def test_stage_commands_end_with_the_scores_of_the_workflow(copied, commands):
    scores = copied.path(copied.layout.scores_table)
    expected = pd.read_csv(scores)
    scores.unlink()
    for command in COMMANDS:
        run_by_hand(command, copied, commands)
    pd.testing.assert_frame_equal(pd.read_csv(scores), expected)
    assert (copied.directory / "step.json").exists()
    assert len(COMMANDS) > 8


def run_by_hand(command: str, workflow, folder: Path) -> None:
    """Run a command of the README with the tiny configuration and its first start date.

    Args:
        command: As the README has it.
        workflow: Where, and with which configuration.
        folder: Of programs that are found first.
    """
    command = command.replace(DEMO_START, str(workflow.config.forecast.start_dates()[0]))
    words = command.replace("results/demo", str(workflow.layout.experiment_dir)).split()
    if words[1] != "model":  # a checkpoint carries its own configuration
        words += ["--config", str(ROOT / workflow.base)]
        words += [w for text in workflow.overrides for w in ("--set", text)]
    path = os.pathsep.join((str(folder), str(Path(sys.executable).parent), os.environ["PATH"]))
    done = subprocess.run(
        words,
        cwd=workflow.directory,
        env={**os.environ, "PATH": path},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}"
