"""The record of a training run: a row of a CSV file for each step, and a line now and then."""

from __future__ import annotations

import csv
import io
import os
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from hybridom.checkpoint import replace_atomically
from hybridom.errors import UserError
from hybridom.training.distributed import Ranks
from hybridom.training.optimise import StepResult
from hybridom.training.schedule import Stage
from hybridom.variables import PROGNOSTIC

LOG_INTERVAL = 20.0  # s between two progress lines
# `loss` is the weighted mean of `loss_<variable>`; samples are windows over all processes; scores
# are in the units of the variable and stand only in rows of steps that were validated.
COLUMNS = (
    "step",
    "days",
    "loss",
    *(f"loss_{name}" for name in PROGNOSTIC),
    "learning_rate",
    "gradient_norm",
    "samples_per_second",
    *(f"rmse_{name}" for name in PROGNOSTIC),
    *(f"persistence_{name}" for name in PROGNOSTIC),
)
Row = dict[str, float]


class MetricsFile:
    """CSV file with one row a step that survives kills without gaps or repeats.

    Rows after the step of the checkpoint that a run resumes from are dropped when the file is
    opened, because those steps are about to be taken again. Cells without a value are empty.

    Args:
        path: CSV file, created with its folder where it does not exist.
        columns: Names of the columns; the first is `step`.
        step: Number of steps taken so far; rows of later steps are dropped.
        write: Whether this process keeps the record; the others' rows are its own.

    Raises:
        UserError: An existing file has other columns.
    """

    def __init__(self, path: Path, columns: Sequence[str], step: int, write: bool) -> None:
        self.path, self.columns, self._handle = path, list(columns), None
        if not write:
            return
        kept = [row for row in read_rows(path, self.columns) if int(row["step"]) <= step]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.columns)
        writer.writeheader()
        writer.writerows(kept)
        with replace_atomically(path) as handle:
            handle.write(text.getvalue().encode())
        self._handle = path.open("a", newline="")

    def append(self, row: Row) -> None:
        """Add the row of one step; it reaches the operating system at once."""
        if self._handle is not None:
            csv.DictWriter(self._handle, self.columns).writerow(row)
            self._handle.flush()

    def sync(self) -> None:
        """Force the rows to the disk."""
        if self._handle is not None:
            os.fsync(self._handle.fileno())

    def publish(self, target: Path) -> None:
        """Put a copy at `target`, in one move."""
        self.sync()
        with replace_atomically(target) as handle:
            handle.write(self.path.read_bytes())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._handle is not None:
            self._handle.close()


def read_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Complete rows of a metrics file; none where the file does not exist.

    Raises:
        UserError: The file has other columns.
    """
    if not path.exists():
        return []
    with path.open(newline="") as handle:
        reader = csv.DictReader(handle)
        if reader.fieldnames is not None and list(reader.fieldnames) != list(columns):
            raise UserError(
                f"{path}: its columns are not those of this version; move the file away"
            )
        # A kill in the middle of a write leaves a last row with missing cells.
        return [row for row in reader if None not in row.values()]


class ProgressLine:
    """Loss, learning rate, gradient norm, speed and time left, in one line every few seconds.

    Args:
        curriculum: All stages of the run.
        ranks: The processes; the first one speaks.
    """

    def __init__(self, curriculum: Sequence[Stage], ranks: Ranks) -> None:
        self.curriculum, self.ranks = curriculum, ranks
        self.shown = 0.0

    def start(self, stage: Stage, step: int) -> None:
        """Start the clock of `stage`, of which steps up to `step` were taken before."""
        self.stage, self.first, self.began = stage, step, time.monotonic()

    def row(self, step: int, samples: int, result: StepResult) -> Row:
        """Cells of the step that was taken last, with the mean speed of its stage.

        Args:
            step: Steps taken so far.
            samples: Windows in a step.
            result: What the step reported.
        """
        self.seconds = (time.monotonic() - self.began) / (step - self.first)
        return {
            "step": step,
            "days": self.stage.days,
            "loss": result.loss,
            **{f"loss_{name}": x for name, x in result.errors.items()},
            "learning_rate": result.learning_rate,
            "gradient_norm": result.gradient_norm,
            "samples_per_second": samples / self.seconds,
        }

    def show(self, row: Row) -> None:
        """Log the row where enough time has passed, and at the end of a stage."""
        step, now = int(row["step"]), time.monotonic()
        if now - self.shown < LOG_INTERVAL and step < self.stage.last:
            return
        self.shown = now
        left = int(self._seconds_left(step))
        self.ranks.say(
            "step %d/%d, %d days: loss %.4g, learning rate %.2e, gradient norm %.3g, "
            "%.3g samples/s, %d min %d s left",
            step,
            self.curriculum[-1].last,
            self.stage.days,
            row["loss"],
            row["learning_rate"],
            row["gradient_norm"],
            row["samples_per_second"],
            left // 60,
            left % 60,
        )

    def _seconds_left(self, step: int) -> float:
        """A step takes as long as its windows have days."""
        days = sum(s.days * max(s.last - max(s.first, step), 0) for s in self.curriculum)
        return days * self.seconds / self.stage.days
