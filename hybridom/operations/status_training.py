"""Where training stands, from its record and its folder of checkpoints."""

from __future__ import annotations

import csv
import io
import math
import time
from pathlib import Path

from hybridom.config import Config
from hybridom.layout import Layout
from hybridom.operations.status_words import age, duration

# Bytes of the record's end that are read: the last validation lies in them.
TAIL = 2_000_000
MEAN_STEPS = 20
# Seconds without a row after which training counts as not running, or as many steps.
SILENT, SILENT_STEPS = 120.0, 5


def lines(config: Config, layout: Layout, changed: bool) -> list[str]:
    """What is known of training; nothing before its first step.

    Args:
        config: The configuration now.
        layout: Its paths.
        changed: Whether its options are others than those of the run that is looked at.
    """
    record = layout.checkpoints_dir / "metrics.csv"
    if not record.exists():
        record = layout.train_log
    rows = last_rows(record)
    if not rows:
        return []
    total = sum(stage.steps for stage in config.training.curriculum)
    step = int(rows[-1]["step"])
    said = [f"step {step} of {total}, {_loss(rows)}{_skill(rows)}"]
    seconds = _step_seconds(rows[-1], config)
    left = duration(_seconds_left(config, step, seconds))
    silent = time.time() - record.stat().st_mtime
    if changed:
        said.append(f"last step {age(record)}, with other options than now (see above)")
    elif layout.checkpoint.exists() and step >= total:
        said.append(f"finished {age(layout.checkpoint)}: {layout.checkpoint}")
    elif silent < max(SILENT, SILENT_STEPS * seconds):
        said.append(f"running, last step {age(record)}: {seconds:.3g} s a step, {left} left")
    else:
        said.append(f"not running, last step {age(record)}: the same command goes on, {left} left")
    return said + _checkpoints(layout.checkpoints_dir)


def last_rows(path: Path) -> list[dict[str, str]]:
    """Rows at the end of a record, without one that is being written; none if it is not there."""
    try:
        with path.open("rb") as handle:
            header = handle.readline()
            begin = handle.tell()
            size = handle.seek(0, io.SEEK_END)
            handle.seek(max(begin, size - TAIL))
            if handle.tell() > begin:
                handle.readline()
            text = handle.read()
    except OSError:
        return []
    whole = text[: text.rfind(b"\n") + 1].decode(errors="replace")
    names = header.decode(errors="replace").strip().split(",")
    rows = csv.DictReader(io.StringIO(whole), names)
    return [row for row in rows if None not in row.values() and (row.get("step") or "").isdigit()]


def _loss(rows: list[dict[str, str]]) -> str:
    losses = [_number(row.get("loss")) for row in rows[-MEAN_STEPS:]]
    return f"loss {losses[-1]:.4g} (mean of the last {len(losses)}: {_mean(losses):.4g})"


def _skill(rows: list[dict[str, str]]) -> str:
    """The score of the last validation, 1 being perfect and 0 as good as persistence."""
    for row in reversed(rows):
        if row.get("skill"):
            return f", skill {_number(row['skill']):.4g} at step {row['step']}"
    return ""


def _step_seconds(row: dict[str, str], config: Config) -> float:
    """Seconds of a step, as the mean of its curriculum stage."""
    training = config.training
    rate = _number(row.get("samples_per_second"))
    windows = training.batch * training.accumulate * training.ranks
    return windows / rate if rate > 0 else math.nan


def _seconds_left(config: Config, step: int, seconds: float) -> float:
    """A step takes as long as its windows have days."""
    first, days, present = 0, 0, None
    for stage in config.training.curriculum:
        last = first + stage.steps
        if present is None and step <= last:
            present = stage.days
        days += stage.days * max(last - max(first, step), 0)
        first = last
    return days * seconds / (present or 1)


def _checkpoints(folder: Path) -> list[str]:
    found = sorted(folder.glob("step_*.pt"))
    if not found:
        return []
    said = f"newest checkpoint {found[-1]}, {age(found[-1])}"
    best = folder / "best.pt"
    if best.is_symlink():
        step = best.readlink().stem.removeprefix("step_").lstrip("0")
        said += f"; best: step {step}"
    return [said]


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)
