"""The training loop: curriculum, steps, validation, checkpoints."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader, Subset

from hybridom import checkpoint
from hybridom.config import Config, Period, StageConfig, TrainingConfig, narrow
from hybridom.data.datasets import Batch, DayReader, WindowDataset, collate
from hybridom.data.prepare import model_grid
from hybridom.errors import UserError
from hybridom.layout import Layout
from hybridom.masks import require_columns
from hybridom.normalisation import read_statistics
from hybridom.state import Forcing, OceanState
from hybridom.stepper import HybridOM
from hybridom.training.distributed import Ranks, connect
from hybridom.training.folder import CheckpointFolder, run_hash
from hybridom.training.losses import StateLoss
from hybridom.training.optimise import Optimisation
from hybridom.training.rollout import validate
from hybridom.training.sampler import StreamSampler
from hybridom.training.schedule import Stage, stages
from hybridom.training.stop import EXIT_STOPPED, StopRequest, leave_signals_to_parent
from hybridom.training.tracking import COLUMNS, MetricsFile, ProgressLine

log = logging.getLogger(__name__)


def train(config: Config | StageConfig, layout: Layout) -> None:
    """Train, or go on where training was stopped, and write `layout.checkpoint`.

    Runs as one process, or under torchrun as one of several that share every batch. The record of
    losses (`tracking.COLUMNS`) grows in `layout.checkpoints_dir` and is put at `layout.train_log`
    at the end. Without any network there is nothing to train and the checkpoint is the skeleton.

    Args:
        config: The whole configuration, or the part of the stage `train`.
        layout: Its paths.

    Raises:
        UserError: Input is missing or does not fit; the loss is no longer finite.
        SystemExit: With status 85 after SIGTERM or SIGUSR1, once a checkpoint is written.
    """
    with ExitStack() as stack:
        ranks = stack.enter_context(connect())
        stop = stack.enter_context(StopRequest())
        trainer = Trainer(narrow(config, "train"), layout, ranks)
        trainer.resume()
        metrics = MetricsFile(
            layout.checkpoints_dir / "metrics.csv", COLUMNS, trainer.step, ranks.first
        )
        trainer.metrics = stack.enter_context(metrics)
        finished = trainer.run(stop)
        trainer.save()
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
        metrics: The record of losses, opened once `step` is known.
    """

    metrics: MetricsFile

    def __init__(self, config: StageConfig, layout: Layout, ranks: Ranks) -> None:
        self.config, self.layout, self.ranks = config, layout, ranks
        self.settings: TrainingConfig = config.training
        self.plain: dict[str, Any] = config.as_dict()
        self.grid, self.wet = model_grid(config, layout)
        if config.skeleton.enabled:
            require_columns(self.wet, f"{layout.grid_file}: wet mask")
        statistics = read_statistics(layout.statistics_file, config.forcing_names)
        # All processes draw the same initial weights.
        torch.manual_seed(self.settings.seed)
        self.model = HybridOM(
            self.grid,
            self.wet,
            statistics,
            config.forcing_names,
            config.skeleton,
            config.networks,
        ).to(ranks.device)
        loss = StateLoss(self.grid, self.wet, self.model.normaliser, self.settings.loss)
        self.optimisation = (
            Optimisation(self.model, loss.to(ranks.device), self.settings, ranks)
            if any(True for _ in self.model.parameters())
            else None
        )
        self.stages = stages([(s.days, s.steps) for s in self.settings.curriculum])
        self.folder = CheckpointFolder(layout.checkpoints_dir, self.settings.checkpoint.keep)
        self.step, self.consumed = 0, 0
        self.saved_at = time.monotonic()
        self.saved_step = -1
        self.progress = ProgressLine(self.stages, ranks)
        self.validation = self._validation_windows()

    # resume, save, publish

    def resume(self) -> None:
        """Take up the newest checkpoint of this configuration, where there is one."""
        if self.ranks.size != self.settings.ranks:
            self.ranks.say(
                "training.ranks is %d, but %d run: a step takes %d windows",
                self.settings.ranks,
                self.ranks.size,
                self._global_batch,
            )
        if self.ranks.first:
            self.folder.claim(run_hash(self.model, self.plain))
        self.ranks.wait()
        found = self.folder.newest()
        position = found[1]["progress"] if found else {"step": 0, "consumed": 0}
        self.ranks.require_same(position["step"], self.folder.path)
        if found is None or self.optimisation is None:
            return
        path, contents = found
        self.optimisation.restore(contents, path)
        self.step, self.consumed = position["step"], position["consumed"]
        self.saved_step = self.step
        self.ranks.say("going on after step %d from %s", self.step, path)
        if position["ranks"] != self.ranks.size:
            self.ranks.say(
                "%d processes instead of %d: a step now takes %d windows",
                self.ranks.size,
                position["ranks"],
                self._global_batch,
            )

    def save(self) -> None:
        """Write a resumable checkpoint, unless this step has one.

        Random layers are seeded by seed, step and chunk of the batch, and the order of windows by
        seed and curriculum stage: with the position, no random state is left to be kept.
        """
        self.saved_at = time.monotonic()
        if not self.ranks.first or self.optimisation is None or self.saved_step == self.step:
            return
        # No checkpoint may be ahead of its record.
        self.metrics.sync()
        position = {"step": self.step, "consumed": self.consumed, "ranks": self.ranks.size}
        contents = checkpoint.pack(
            self.model, self.plain, progress=position, **self.optimisation.state()
        )
        path = self.folder.write(self.step, contents)
        self.saved_step = self.step
        log.info("saved %s", path)

    def publish(self) -> None:
        """Write the weights and the record to their final places."""
        if not self.ranks.first:
            return
        self.metrics.publish(self.layout.train_log)
        model = self.model if self.optimisation is None else self.optimisation.best
        checkpoint.save(self.layout.checkpoint, checkpoint.pack(model, self.plain))
        log.info("wrote %s", self.layout.checkpoint)

    # the loop

    def run(self, stop: StopRequest) -> bool:
        """Take the remaining steps; False when asked to stop before the end."""
        if self.optimisation is None:
            self.ranks.say("all networks are switched off: nothing to train")
            return True
        if self.step == self._total:
            return True
        period = self.config.periods.train
        reader = self._reader(period, self.settings.cache)
        state, forcing = (
            {name: torch.as_tensor(x).to(self.ranks.device) for name, x in fields.items()}
            for fields in (reader.state(period.start), reader.forcing(period.start))
        )
        self.model.check_start(OceanState(**state), Forcing(forcing))
        for stage in self.stages:
            if self.step < stage.last and not self._run_stage(
                stage, reader, self.optimisation, stop
            ):
                return False
        return True

    def _run_stage(
        self, stage: Stage, reader: DayReader, optimisation: Optimisation, stop: StopRequest
    ) -> bool:
        if self.step == stage.first:
            self.consumed = 0
        batches = self._batches(stage, reader)
        self.progress.start(stage, self.step)
        while self.step < stage.last:
            result = optimisation.take_step(batches, self.step, stop.pending)
            self.step += 1
            self.consumed += self._global_batch
            row = self.progress.row(self.step, self._global_batch, result)
            if self.step % self.settings.validation.every == 0 or self.step == self._total:
                row |= self._validate(optimisation.best)
            self.metrics.append(row)
            self.progress.show(row)
            if result.stop and self.step < self._total:
                return False
            if time.monotonic() - self.saved_at > 60.0 * self.settings.checkpoint.minutes:
                self.save()
        return True

    @property
    def _total(self) -> int:
        return self.stages[-1].last

    @property
    def _global_batch(self) -> int:
        return self.settings.batch * self.settings.accumulate * self.ranks.size

    # data

    def _reader(self, period: Period, cache: Literal["memory", "none"]) -> DayReader:
        names = self.config.forcing_names
        return DayReader(self.layout, self.grid, self.wet, names, cache, period)

    def _batches(self, stage: Stage, reader: DayReader) -> Iterator[Batch]:
        """This process's micro-batches of the rest of a stage."""
        period, workers = self.config.periods.train, self.settings.num_workers
        dataset = WindowDataset(reader, period, stage.days, self.settings.stride)
        sampler = StreamSampler(
            windows=len(dataset),
            batch=self.settings.batch,
            accumulate=self.settings.accumulate,
            rank=self.ranks.rank,
            ranks=self.ranks.size,
            seed=self.settings.seed,
            stage=stage.index,
            position=self.consumed,
            steps=stage.last - self.step,
        )
        loader = DataLoader(
            dataset,
            batch_sampler=sampler,
            collate_fn=collate,
            num_workers=workers,
            # Zarr reads in threads of its own, which a forked process would inherit dead.
            multiprocessing_context="spawn" if workers else None,
            worker_init_fn=leave_signals_to_parent,
        )
        return iter(loader)

    def _validation_windows(self) -> Subset[dict[str, Any]]:
        """This process's share of starts, spread evenly over the validation period."""
        wanted, period = self.settings.validation, self.config.periods.validation
        dataset = WindowDataset(self._reader(period, "none"), period, wanted.days, 1)
        if len(dataset) == 0:
            raise UserError(
                f"training.validation.days {wanted.days}: does not fit into periods.validation "
                f"({period.start} to {period.end}); shorten it"
            )
        count = min(wanted.starts, len(dataset))
        starts = [i * (len(dataset) - 1) // max(count - 1, 1) for i in range(count)]
        return Subset(dataset, starts[self.ranks.rank :: self.ranks.size])

    def _validate(self, model: HybridOM) -> dict[str, float]:
        """Scores of rollouts on the validation period, logged beside persistence."""
        loader = DataLoader(self.validation, batch_size=1, collate_fn=collate)
        scores = validate(model, loader, self.ranks)
        self.ranks.say(
            "step %d: validation at day %d: %s",
            self.step,
            self.settings.validation.days,
            _skill(scores),
        )
        return scores


def _skill(scores: dict[str, float]) -> str:
    names = [name.removeprefix("rmse_") for name in scores if name.startswith("rmse_")]
    return ", ".join(
        f"{v} {scores[f'rmse_{v}']:.4g} (persistence {scores[f'persistence_{v}']:.4g})"
        for v in names
    )
