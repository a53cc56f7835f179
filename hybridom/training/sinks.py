"""Where the record of a run goes besides metrics.csv: TensorBoard, Weights & Biases."""

from __future__ import annotations

import logging
import os
import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import yaml

from hybridom.config import StageConfig
from hybridom.errors import UserError

log = logging.getLogger(__name__)

START_TIMEOUT = 30.0  # s that Weights & Biases may take to open a run,
FINISH_TIMEOUT = 120.0  # and to send what is left at its end
# Columns of the record and their tags, whose first part is the heading they are shown under.
TAGS = (
    (r"loss", "loss/total"),
    (r"loss_(\w+)", r"loss/\1"),
    (r"(rmse|acc|bias|persistence)_(\w+)_(\d+)", r"validation/\1_\2/lead_\3"),
    (r"skill", "validation/skill"),
    (r"(gradient_norm|update_ratio)_(\w+)", r"optimiser/\1/\2"),
    (r"gradient_norm|learning_rate", r"optimiser/\g<0>"),
    (r"samples_per_second|data_wait", r"speed/\g<0>"),
    (r"days", "curriculum/days"),
)


class Sink(Protocol):
    """Takes the rows of the record as they are made.

    Attributes:
        name: What it is called in messages.
    """

    name: str

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Take the values of one step, by tag."""

    def flush(self) -> None:
        """Let what was written outlive a kill of this process."""

    def close(self, failed: bool) -> None:
        """End the record; `failed` says that the run ended with an error."""


def tag(column: str) -> str:
    """Where a column is shown, such as `loss/thetao` for `loss_thetao`."""
    for pattern, shown in TAGS:
        if found := re.fullmatch(pattern, column):
            return found.expand(shown)
    raise ValueError(f"column {column!r} has no tag")


def open_sinks(folder: Path, step: int, known: int, config: StageConfig) -> list[Sink]:
    """Open what `training.tracking` asks for.

    Args:
        folder: Folder of the run.
        step: Number of steps taken so far; those after it are about to be taken (again).
        known: Last step that was recorded before, which may lie after `step`.
        config: Configuration of the run, shown beside its record.

    Raises:
        UserError: Weights & Biases is asked for but not installed, or does not start.
    """
    settings = config.training.tracking
    sinks: list[Sink] = []
    if settings.wandb.mode != "off":
        sinks.append(Wandb(folder, known, config))
    if settings.tensorboard:
        sinks.append(TensorBoard(folder / "tensorboard", step, config))
    return sinks


class TensorBoard:
    """Event files for `tensorboard --logdir`.

    What an earlier process wrote about steps after `step` is hidden, so that a run that goes on
    from a checkpoint shows every step once. The configuration is shown as text.

    Args:
        folder: Folder of the event files.
        step: Number of steps taken so far.
        config: Configuration of the run.
    """

    name = "TensorBoard"

    def __init__(self, folder: Path, step: int, config: StageConfig) -> None:
        # Imported where it is used: it takes a second, and only one process of a run writes.
        from torch.utils.tensorboard import SummaryWriter

        fresh = not any(folder.glob("events.*"))
        self.writer = SummaryWriter(str(folder), purge_step=step + 1)
        if fresh:
            text = yaml.safe_dump(config.as_dict(), sort_keys=False)
            code = "".join(f"    {line}\n" for line in text.splitlines())
            self.writer.add_text("configuration", code, global_step=0)
            self.writer.flush()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Take the values of one step, by tag; they reach the disk within minutes."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, global_step=step)

    def flush(self) -> None:
        """Write to disk what is still in memory."""
        self.writer.flush()

    def close(self, failed: bool) -> None:
        """Close the event file."""
        self.writer.close()


class Wandb:
    """A run of Weights & Biases under `<folder>/wandb`.

    The id of the run is kept in `<folder>/wandb_id`, so that a run that goes on from a checkpoint
    goes on there too; steps that it has already are not sent again. Neither code nor console
    output nor the state of a git repository is sent. Where an online run cannot be opened it is
    kept offline, and said. Killed offline, it loses the rows of its last 32 KiB.

    Args:
        folder: Folder of the run.
        known: Last step that metrics.csv held.
        config: Configuration of the run, with a `training.tracking.wandb.mode` other than `off`.

    Raises:
        UserError: The package is not installed, or does not start even offline.
    """

    name = "Weights & Biases"

    def __init__(self, folder: Path, known: int, config: StageConfig) -> None:
        mode = config.training.tracking.wandb.mode
        try:
            import wandb
        except ImportError as error:
            raise UserError(
                f"training.tracking.wandb.mode {mode}: the package is not installed; install it "
                "with `pip install 'hybridom[wandb]'`, or set the mode to off"
            ) from error
        self.id = _kept_id(folder / "wandb_id")
        # Without it, Weights & Biases reports its own errors to its makers.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        if mode == "online":
            try:
                self.run = self._start(mode, folder, config)
            except Exception as error:
                log.warning(
                    "Weights & Biases: %s; the run is kept offline: check the network and "
                    "`wandb login`",
                    one_line(error),
                )
                # What is left of the failed start would hold on to the id.
                wandb.teardown()
                mode = "offline"
        if mode == "offline":
            try:
                self.run = self._start(mode, folder, config)
            except Exception as error:
                raise UserError(
                    f"training.tracking.wandb: Weights & Biases does not start even offline "
                    f"({one_line(error)}); set training.tracking.wandb.mode to off"
                ) from error
            log.info(
                "Weights & Biases: to send this run, `wandb sync --id %s %s`",
                self.id,
                folder / "wandb" / "offline-run-*",
            )
        # Online, the server knows better than metrics.csv what has reached it.
        self.known = known if mode == "offline" else self.run.step - 1

    def _start(self, mode: str, folder: Path, config: StageConfig) -> Any:
        import wandb

        settings = config.training.tracking.wandb
        wandb.setup(wandb.Settings(silent=True))
        return wandb.init(
            project=settings.project,
            entity=settings.entity,
            name=config.experiment,
            id=self.id,
            # Offline there is nothing to ask: the id alone joins the parts of a run.
            resume="allow" if mode == "online" else None,
            dir=str(folder),
            config=config.as_dict(),
            mode=mode,  # type: ignore[arg-type]
            settings=wandb.Settings(
                console="off",
                disable_code=True,
                disable_git=True,
                init_timeout=START_TIMEOUT,
                finish_timeout=FINISH_TIMEOUT,
                finish_timeout_raises=True,
            ),
        )

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Take the values of one step, by tag."""
        if step > self.known:
            self.run.log(dict(values), step=step)

    def flush(self) -> None:
        """Nothing to do: a process of its own writes."""

    def close(self, failed: bool) -> None:
        """End the run and, online, wait for what is still to be sent."""
        import wandb

        self.run.finish(exit_code=int(failed))
        # The process that writes the files ends only now, and may have kept some rows until then.
        wandb.teardown()


def _kept_id(path: Path) -> str:
    """The id of a run, made where there is none yet."""
    if not path.exists():
        path.write_text(uuid.uuid4().hex[:12])
    return path.read_text().strip()


def one_line(error: Exception) -> str:
    """The first line of what an error says."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
