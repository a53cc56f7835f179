"""The record of a training run: a row of values for each step, and a line now and then."""

from __future__ import annotations

import csv
import io
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from hybridom.checkpoint import replace_atomically
from hybridom.config import StageConfig
from hybridom.errors import UserError
from hybridom.training.distributed import Ranks
from hybridom.training.optimise import StepResult
from hybridom.training.rollout import score_names
from hybridom.training.schedule import Stage
from hybridom.training.sinks import Sink, one_line, open_sinks, tag
from hybridom.variables import PROGNOSTIC

log = logging.getLogger(__name__)

LOG_INTERVAL = 20.0  # s between two progress lines
Row = dict[str, float]


def columns(leads: Sequence[int], components: Sequence[str]) -> tuple[str, ...]:
    """Columns of the record of a run.

    `loss` is the number that is minimised and `loss_<variable>` the error behind it;
    `samples_per_second` counts the windows of all processes; `data_wait` is the share of the time
    that went by waiting for data. The scores of `rollout.validate` stand only in rows of steps
    that were validated.

    Args:
        leads: Days that validation scores.
        components: Parts of the model whose gradient and updates are watched.
    """
    return (
        "step",
        "days",
        "loss",
        *(f"loss_{name}" for name in PROGNOSTIC),
        "learning_rate",
        "gradient_norm",
        *(f"gradient_norm_{name}" for name in components),
        *(f"update_ratio_{name}" for name in components),
        "samples_per_second",
        "data_wait",
        *score_names(leads),
    )


class Record:
    """The rows of a run in metrics.csv, TensorBoard and Weights & Biases.

    A run that goes on after a checkpoint has every step once in each of them. TensorBoard or
    Weights & Biases that fail on the way are left out from there on, which is said.

    Args:
        folder: Folder of the run; metrics.csv lies in it.
        columns: Names of the columns; the first is `step`.
        step: Number of steps taken so far.
        config: Configuration of the run; `training.tracking` says where the rows go.
        write: Whether this process keeps the record; the others' rows are dropped.

    Raises:
        UserError: metrics.csv is something else; Weights & Biases is asked for but not installed,
            or does not start.
    """

    def __init__(
        self,
        folder: Path,
        columns: Sequence[str],
        step: int,
        config: StageConfig,
        write: bool,
    ) -> None:
        self.file = MetricsFile(folder / "metrics.csv", columns, step, write)
        self.sinks: list[Sink] = []
        if write:
            self.sinks = open_sinks(folder, step, self.file.known, config)

    def append(self, row: Row) -> None:
        """Add the row of one step."""
        self.file.append(row)
        if self.sinks:
            values = {tag(name): x for name, x in row.items() if name != "step"}
            self._all(lambda sink: sink.write(int(row["step"]), values))

    def sync(self) -> None:
        """Force the rows to the disk."""
        self.file.sync()
        self._all(lambda sink: sink.flush())

    def publish(self, target: Path) -> None:
        """Put a copy of metrics.csv at `target`, in one move."""
        self.file.publish(target)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.file.close()
        self._all(lambda sink: sink.close(failed=isinstance(error, Exception)))

    def _all(self, action: Callable[[Sink], None]) -> None:
        """Act on every sink; one that fails is left, for no training may end because of it."""
        for sink in tuple(self.sinks):
            try:
                action(sink)
            except Exception as error:
                self.sinks.remove(sink)
                log.warning(
                    "%s: %s; training goes on without it, metrics.csv holds every step",
                    sink.name,
                    one_line(error),
                )


class MetricsFile:
    """CSV file with one row a step that survives kills without gaps or repeats.

    Rows after the step of the checkpoint that a run resumes from are dropped when the file is
    opened, because those steps are about to be taken again. Cells without a value are empty. A
    file of the same run with other columns, from another version or other leads, keeps its own
    behind the others.

    Args:
        path: CSV file, created with its folder where it does not exist.
        columns: Names of the columns; the first is `step`.
        step: Number of steps taken so far; rows of later steps are dropped.
        write: Whether this process keeps the record.

    Attributes:
        known: Last step that an existing file held.

    Raises:
        UserError: An existing file has no steps.
    """

    def __init__(self, path: Path, columns: Sequence[str], step: int, write: bool) -> None:
        self.path, self.known, self._handle = path, 0, None
        if not write:
            return
        rows = read_rows(path)
        self.known = max((int(row["step"]) for row in rows), default=0)
        self.columns = list(dict.fromkeys([*columns, *(rows[0] if rows else ())]))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.columns)
        writer.writeheader()
        writer.writerows(row for row in rows if int(row["step"]) <= step)
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

    def close(self) -> None:
        """Close the file."""
        if self._handle is not None:
            self._handle.close()


def read_rows(path: Path) -> list[dict[str, str]]:
    """Complete rows of a metrics file; none where the file does not exist.

    Raises:
        UserError: The file has no steps.
    """
    if not path.exists():
        return []
    with path.open(newline="") as handle:
        reader = csv.DictReader(handle)
        if reader.fieldnames is not None and "step" not in reader.fieldnames:
            raise UserError(
                f"{path}: column step is missing, so it is no record of training; move it away"
            )
        # A kill in the middle of a write leaves a last row with missing cells.
        return [row for row in reader if None not in row.values()]


class ProgressLine:
    """Loss, learning rate, gradient norm, speed, wait and time left, in one line now and then.

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
        self.waited = 0.0

    def row(self, step: int, samples: int, result: StepResult) -> Row:
        """Cells of the step that was taken last, with the mean speed and wait of its stage.

        Args:
            step: Steps taken so far.
            samples: Windows in a step.
            result: What the step reported.
        """
        elapsed = time.monotonic() - self.began
        self.seconds = elapsed / (step - self.first)
        self.waited += result.wait
        return {
            "step": step,
            "days": self.stage.days,
            "loss": result.loss,
            **{f"loss_{name}": x for name, x in result.errors.items()},
            "learning_rate": result.learning_rate,
            "gradient_norm": result.gradient_norm,
            **{f"gradient_norm_{name}": x for name, x in result.gradient_norms.items()},
            **{f"update_ratio_{name}": x for name, x in result.update_ratios.items()},
            "samples_per_second": samples / self.seconds,
            "data_wait": self.waited / elapsed,
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
            "%.3g samples/s, %.0f %% waiting for data, %d min %d s left",
            step,
            self.curriculum[-1].last,
            self.stage.days,
            row["loss"],
            row["learning_rate"],
            row["gradient_norm"],
            row["samples_per_second"],
            100 * row["data_wait"],
            left // 60,
            left % 60,
        )

    def _seconds_left(self, step: int) -> float:
        """A step takes as long as its windows have days."""
        days = sum(s.days * max(s.last - max(s.first, step), 0) for s in self.curriculum)
        return days * self.seconds / self.stage.days
