"""Killing Snakemake in any stage and starting it again changes nothing in the end.

SIGKILL leaves no time to tidy up. torchrun's processes survive even a kill of the whole process
group, and when Snakemake alone is killed its jobs live on: the run that follows has to get along
with both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.slow


def appears(directory: Path, *patterns: str) -> Callable[[], bool]:
    """Whether a file has appeared since now that matches one of the patterns."""
    before = {path for pattern in patterns for path in directory.glob(pattern)}
    return lambda: any(
        path not in before for pattern in patterns for path in directory.glob(pattern)
    )


def test_killed_in_every_stage_the_run_ends_with_the_same_scores(fresh, commands, request):
    fresh = replace(fresh, commands=commands)
    layout = fresh.layout
    root = fresh.directory
    targets = (str(layout.scores_table), str(layout.figures_dir / "rmse_lead.png"))
    moments = {
        "twin": f"{layout.ocean_dir}/**/*.nc",
        "check": "logs/test/check/*.log",
        "prepare": f"{layout.resources_dir}/state/*.partial",
        "climatology": "logs/test/climatology.log",
        "train": f"{layout.checkpoints_dir}/*.pt",
        "forecast": f"{layout.experiment_dir}/forecast/*.partial",
        "evaluate": "logs/test/evaluate/*.log",
        "figures": "logs/test/figures/rmse_lead.log",
    }
    for stage, pattern in moments.items():
        # A forecast left behind by Snakemake alone still writes when the next run begins.
        fresh.kill_when(appears(root, pattern), *targets, group=stage != "forecast")
        assert not fresh.path(Path(targets[1])).exists()
    fresh.succeed(*targets)

    finished = request.getfixturevalue("finished")  # which another worker makes meanwhile
    for path in (layout.scores_table, layout.skill_table):
        expected, found = (pd.read_csv(w.path(path)) for w in (finished, fresh))
        pd.testing.assert_frame_equal(found, expected)
    assert fresh.plan(*targets) == {}
