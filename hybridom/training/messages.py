"""What a run says about itself, in one line each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hybridom.variables import PROGNOSTIC


def on_windows(position: Mapping[str, Any], before: int, ranks: int, now: int) -> str:
    """What a step takes, after the number of processes or its windows have changed.

    Args:
        position: Entry `progress` of the checkpoint.
        before: Windows of a step when it was written.
        ranks: Processes that go on.
        now: Windows of a step from now on.
    """
    return (
        f"{ranks} processes instead of {position['ranks']}: a step takes {now} windows, "
        f"before {before}"
    )


def on_validation(step: int, lead: int, scores: Mapping[str, float]) -> str:
    """Skill, and the RMSE of each variable beside that of persistence, at the last lead."""
    errors = ", ".join(
        f"{v} {scores[f'rmse_{v}_{lead}']:.4g} "
        f"(persistence {scores[f'persistence_{v}_{lead}']:.4g})"
        for v in PROGNOSTIC
    )
    return f"step {step}: validation at day {lead}: skill {scores['skill']:.4g}; {errors}"


def on_divergence(step: int, reason: str) -> str:
    """What went wrong at a step, as `Divergence.reason` says, and what to do."""
    return (
        f"training step {step}: {reason}; lower training.learning_rate, or raise "
        "training.divergence.factor to go on regardless"
    )


def on_stop(reason: str, path: Path, step: int, saved: bool) -> str:
    """The line with which a run ends that went wrong.

    Args:
        reason: What went wrong, and what to do.
        path: Its latest checkpoint, after `step` steps.
        step: Steps taken.
        saved: Whether that could be written.
    """
    if not saved:
        return f"{reason}; earlier checkpoints are in {path.parent}"
    return (
        f"{reason}; {path} holds the run after step {step}: start again to go on from it, or begin "
        f"another run from its weights with training.start_from={path}"
    )
