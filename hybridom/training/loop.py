"""The training loop: curriculum, steps, validation, checkpoints."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from hybridom import checkpoint
from hybridom.config import Config, StageConfig, TrainingConfig, narrow
from hybridom.data.prepare import model_grid
from hybridom.errors import UserError
from hybridom.layout import Layout
from hybridom.masks import require_columns
from hybridom.normalisation import read_statistics
from hybridom.stepper import HybridOM
from hybridom.training import messages
from hybridom.training.begin import starting_weights
from hybridom.training.best import Best
from hybridom.training.distributed import Ranks, connect
from hybridom.training.divergence import Divergence
from hybridom.training.folder import CheckpointFolder, size_of
from hybridom.training.identity import Identity
from hybridom.training.losses import StateLoss
from hybridom.training.optimise import NotFinite, Optimisation
from hybridom.training.rollout import validate
from hybridom.training.schedule import Stage, stages
from hybridom.training.stop import EXIT_STOPPED, GO_ON, SAVE, STOP, StopRequest
from hybridom.training.tracking import ProgressLine, Record, Row, columns
from hybridom.training.windows import Windows

log = logging.getLogger(__name__)


def train(config: Config | StageConfig, layout: Layout) -> None:
    """Train, or go on where training was stopped, and write `layout.checkpoint`.

    Runs as one process, or under torchrun as one of several that share every batch. The record of
    losses (`tracking.columns`) grows in `layout.checkpoints_dir` and is put at `layout.train_log`
    at the end. Without any network there is nothing to train and the checkpoint is the skeleton.

    A resumable checkpoint that cannot be written is said and costs no step: the next one is tried
    when it is due. Only the one of a stop and the final weights have to be written.

    Args:
        config: The whole configuration, or the part of the stage `train`.
        layout: Its paths.

    Raises:
        UserError: Input is missing or does not fit; the disk is too small; the loss is no longer
            finite or runs away, after a checkpoint.
        SystemExit: With status 85 after SIGTERM or SIGUSR1, once a checkpoint is written.
    """
    with ExitStack() as stack:
        ranks = stack.enter_context(connect())
        stop = stack.enter_context(StopRequest())
        trainer = Trainer(narrow(config, "train"), layout, ranks)
        if trainer.optimisation is not None:
            stack.callback(trainer.optimisation.release)
        trainer.resume()
        trainer.record = stack.enter_context(trainer.open_record())
        finished = trainer.run(stop)
        trainer.save(needed=not finished)
        if not finished:
            ranks.say("stopped on request after step %d; start again to go on", trainer.step)
            raise SystemExit(EXIT_STOPPED)
        trainer.publish()


class Trainer:
    """One training run as one of its processes sees it.

    Args:
        config: Configuration of the stage `train`.
        layout: Its paths.
        ranks: The processes.

    Attributes:
        step: Optimiser steps taken.
        consumed: Windows that all processes have consumed in the current curriculum stage.
        best: The best validation so far.
        record: The record of losses, opened once `step` is known.
    """

    record: Record

    def __init__(self, config: StageConfig, layout: Layout, ranks: Ranks) -> None:
        self.config, self.layout, self.ranks = config, layout, ranks
        self.settings: TrainingConfig = config.training
        self.plain: dict[str, Any] = config.as_dict()
        grid, wet = model_grid(config, layout)
        if config.skeleton.enabled:
            require_columns(wet, f"{layout.grid_file}: wet mask")
        statistics = read_statistics(layout.statistics_file, config.forcing_names)
        # All processes draw the same initial weights.
        torch.manual_seed(self.settings.seed)
        self.model = HybridOM(
            grid, wet, statistics, config.forcing_names, config.skeleton, config.networks
        ).to(ranks.device)
        self.components = tuple(self.model.networks())
        self.size = size_of(self.model, self.settings.ema > 0)
        loss = StateLoss(grid, wet, self.model.normaliser, self.settings.loss).to(ranks.device)
        self.optimisation = (
            Optimisation(self.model, loss, self.settings, ranks) if self.components else None
        )
        self.stages = stages([(s.days, s.steps) for s in self.settings.curriculum])
        self.folder = CheckpointFolder(layout.checkpoints_dir, self.settings.checkpoint)
        self.step, self.consumed = 0, 0
        self.best = Best(self.settings.checkpoint.best, self.plain)
        self.divergence = Divergence(
            self.settings.divergence.factor, self.settings.divergence.steps
        )
        self.saved_at, self.saved_step, self.unrecorded = time.monotonic(), -1, False
        self.progress = ProgressLine(self.stages, ranks)
        self.windows = Windows(config, layout, grid, wet, ranks)
        if self.windows.driver is not None:
            self.plain["driver"] = self.windows.driver_digits()
        self.identity = Identity.of(self.model, self.plain)

    # resume, save, publish

    def resume(self) -> None:
        """Take up the newest checkpoint of this run; else begin, from `start_from` if given."""
        if self.ranks.size != self.settings.ranks:
            self.ranks.say(
                "training.ranks is %d, but %d run: a step takes %d windows",
                self.settings.ranks,
                self.ranks.size,
                self._global_batch,
            )
        if self.ranks.first:
            self.folder.claim(self.identity)
            if self.optimisation is not None:
                self.folder.require_space(self.size, self._total)
        self.ranks.wait()
        found = self.folder.newest()
        self.ranks.require_same(found[1]["progress"]["step"] if found else 0, self.folder.path)
        if self.optimisation is None:
            return
        if found is not None:
            self._go_on(self.optimisation, *found)
        elif self.settings.start_from is not None:
            path = self.settings.start_from
            self.optimisation.start_from(starting_weights(path, self.model, self.ranks), path)
        if self.ranks.first:
            self.folder.link_best(self.best.step)

    def _go_on(self, optimisation: Optimisation, path: Path, contents: dict[str, Any]) -> None:
        optimisation.restore(contents, path)
        position = contents["progress"]
        self.step, self.consumed = position["step"], position["consumed"]
        self.saved_step = self.step
        if "divergence" in contents:
            self.divergence.restore(contents["divergence"])
        if not self.best.restore(contents.get("best")):
            self.ranks.say("validation is another than before: the best step is chosen anew")
        self.ranks.say("going on after step %d from %s", self.step, path)
        if contents.get("stopped") and self.ranks.first:
            log.warning("it was saved when training stopped: %s", contents["stopped"])
        before = contents["config"]["training"]
        windows = before["batch"] * before["accumulate"] * position["ranks"]
        if (position["ranks"], windows) != (self.ranks.size, self._global_batch):
            self.ranks.say(
                messages.on_windows(position, windows, self.ranks.size, self._global_batch)
            )

    def open_record(self) -> Record:
        """The record of losses from the present step on."""
        names = columns(self.settings.validation.leads, self.components)
        return Record(self.layout.checkpoints_dir, names, self.step, self.config, self.ranks.first)

    def save(self, needed: bool = False, stopped: str | None = None) -> None:
        """Write a resumable checkpoint, unless this step has one; all processes take part.

        Random layers are seeded by seed, step and chunk of the batch, and the order of windows by
        seed and curriculum stage: with the position, no random state is left to be kept.

        Args:
            needed: Whether a failure is an error, and not just said.
            stopped: Why the run stops here, for whoever goes on from it.

        Raises:
            UserError: The checkpoint is needed and cannot be written.
        """
        self.saved_at = time.monotonic()
        if self.optimisation is None or (self.saved_step == self.step and stopped is None):
            return
        weights = self.optimisation.weights(averaged=False)
        contents = {
            "progress": {
                "step": self.step,
                "consumed": self.consumed,
                "ranks": self.ranks.size,
            },
            **self.optimisation.state(),
            "divergence": self.divergence.state(),
            "best": self.best.state(),
            "stopped": stopped,
        }
        failure = self._write(weights, contents) if self.ranks.first else ""
        failed = torch.tensor([float(bool(failure))], device=self.ranks.device)
        if self.ranks.add(failed).item() == 0:
            self.saved_step = self.step
            return
        if self.best.step == self.step != self.saved_step:
            self.best.undo()
        if needed:
            raise UserError(failure or f"{self.folder.path}: the checkpoint cannot be written")
        if failure:
            log.warning(
                "%s; training goes on, earlier checkpoints are kept and the next one is tried in "
                "%g minutes",
                failure,
                self.settings.checkpoint.minutes,
            )

    def _write(self, weights: dict[str, torch.Tensor], contents: dict[str, Any]) -> str:
        """Write a checkpoint; what went wrong, or nothing."""
        try:
            # No checkpoint may be ahead of its record.
            self.record.sync()
            packed = checkpoint.pack(self.model, self.plain, weights, **contents)
            log.info("saved %s", self.folder.write(self.step, packed, self.best.step))
        except UserError as error:
            return str(error)
        except OSError as error:
            return f"{self.folder.path}: {error.strerror or error}"
        return ""

    def publish(self) -> None:
        """Write the weights and the record to their final places."""
        weights = None if self.optimisation is None else self.optimisation.weights(averaged=True)
        if not self.ranks.first:
            return
        self.record.publish(self.layout.train_log)
        checkpoint.save(self.layout.checkpoint, checkpoint.pack(self.model, self.plain, weights))
        log.info("wrote %s", self.layout.checkpoint)

    # the loop

    def run(self, stop: StopRequest) -> bool:
        """Take the remaining steps; False when asked to stop before the end."""
        if self.optimisation is None:
            self.ranks.say("all networks are switched off: nothing to train")
            return True
        if self.step == self._total:
            return True
        if reason := self.divergence.reason():
            raise self._stopped_by(messages.on_divergence(self.step, reason))
        self.windows.open()
        self.model.check_start(*self.windows.first_day())
        for stage in self.stages:
            if self.step < stage.last and not self._run_stage(stage, self.optimisation, stop):
                return False
        return True

    def _run_stage(self, stage: Stage, optimisation: Optimisation, stop: StopRequest) -> bool:
        if self.step == stage.first:
            self.consumed = 0
            self.divergence.start_stage()
        batches = self.windows.batches(stage, self.step, self.consumed)
        self.progress.start(stage, self.step)
        while self.step < stage.last:
            try:
                result = optimisation.take_step(batches, self.step, self._asked(stop))
            except NotFinite as error:
                self.save(stopped=str(error))
                raise self._stopped_by(str(error)) from None
            self.step += 1
            self.consumed += self._global_batch
            self.divergence.add(result.loss)
            row = self.progress.row(self.step, self._global_batch, result)
            is_best = False
            if self.step % self.settings.validation.every == 0 or self.step == self._total:
                row |= (scores := self._validate(optimisation))
                is_best = self.best.note(self.step, scores["skill"])
            self._record(row)
            self.progress.show(row)
            if reason := self.divergence.reason():
                reason = messages.on_divergence(self.step, reason)
                self.save(stopped=reason)
                raise self._stopped_by(reason)
            if result.stop == STOP and self.step < self._total:
                return False
            every = self.settings.checkpoint.every
            if result.stop or is_best or (every is not None and self.step % every == 0):
                self.save()
        return True

    def _asked(self, stop: StopRequest) -> int:
        """What this process asks of all: to stop, to save (the first one's clock), or nothing."""
        if stop.pending:
            return STOP
        due = time.monotonic() - self.saved_at > 60.0 * self.settings.checkpoint.minutes
        return SAVE if due and self.ranks.first else GO_ON

    def _stopped_by(self, reason: str) -> UserError:
        path, saved = self.folder.file(self.step), self.saved_step == self.step
        return UserError(messages.on_stop(reason, path, self.step, saved))

    def _record(self, row: Row) -> None:
        """Append to the record; a full disk is said once and costs rows, but no step."""
        try:
            self.record.append(row)
            self.unrecorded = False
        except OSError as error:
            if not self.unrecorded:
                log.warning(
                    "%s: step %d cannot be recorded (%s), rows will be missing; training goes on",
                    self.layout.checkpoints_dir,
                    self.step,
                    error.strerror or error,
                )
            self.unrecorded = True

    @property
    def _total(self) -> int:
        return self.stages[-1].last

    @property
    def _global_batch(self) -> int:
        return self.settings.batch * self.settings.accumulate * self.ranks.size

    # validation

    def _validate(self, optimisation: Optimisation) -> dict[str, float]:
        """Scores of rollouts on the validation period, logged beside persistence."""
        leads = self.settings.validation.leads
        with optimisation.averaged() as model:
            scores = validate(model, self.windows.validation(), leads, self.ranks)
        self.ranks.say(messages.on_validation(self.step, leads[-1], scores))
        return scores
