"""The windows of days that one process trains on and validates with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader, Subset

from hybridom.config import Period, StageConfig
from hybridom.data.datasets import Batch, DayReader, WindowDataset, collate
from hybridom.errors import UserError
from hybridom.grid import Grid, Mask
from hybridom.layout import Layout
from hybridom.state import Forcing, OceanState
from hybridom.training.distributed import Ranks
from hybridom.training.sampler import StreamSampler
from hybridom.training.schedule import Stage
from hybridom.training.stop import leave_signals_to_parent


class Windows:
    """Batches of windows of the training period, and the starts of validation.

    Args:
        config: Configuration of the stage `train`.
        layout: Its paths.
        grid: The grid.
        wet: Ocean cells (nz, ny, nx).
        ranks: The processes that share every batch.

    Raises:
        UserError: A store is missing, or no validation rollout fits into its period.
    """

    def __init__(
        self, config: StageConfig, layout: Layout, grid: Grid, wet: Mask, ranks: Ranks
    ) -> None:
        self.config, self.layout, self.ranks = config, layout, ranks
        self.grid, self.wet = grid, wet
        self.starts = self._starts()

    def open(self) -> None:
        """Open the stores of the training period."""
        self.reader = self._reader(self.config.periods.train, self.config.training.cache)

    def first_day(self) -> tuple[OceanState, Forcing]:
        """Ocean and forcing of the first day of the training period, on the device."""
        day = self.config.periods.train.start
        state, forcing = (
            {name: torch.as_tensor(x).to(self.ranks.device) for name, x in fields.items()}
            for fields in (self.reader.state(day), self.reader.forcing(day))
        )
        return OceanState(**state), Forcing(forcing)

    def batches(self, stage: Stage, step: int, consumed: int) -> Iterator[Batch]:
        """This process's micro-batches of the rest of a stage.

        Args:
            stage: The stage of the curriculum.
            step: Optimiser steps taken.
            consumed: Windows that all processes have consumed in this stage.
        """
        settings = self.config.training
        dataset = WindowDataset(self.reader, self.config.periods.train, stage.days, settings.stride)
        sampler = StreamSampler(
            windows=len(dataset),
            batch=settings.batch,
            accumulate=settings.accumulate,
            rank=self.ranks.rank,
            ranks=self.ranks.size,
            seed=settings.seed,
            stage=stage.index,
            position=consumed,
            steps=stage.last - step,
        )
        loader = DataLoader(
            dataset,
            batch_sampler=sampler,
            collate_fn=collate,
            num_workers=settings.num_workers,
            # Zarr reads in threads of its own, which a forked process would inherit dead.
            multiprocessing_context="spawn" if settings.num_workers else None,
            worker_init_fn=leave_signals_to_parent,
        )
        return iter(loader)

    def validation(self) -> DataLoader[Any]:
        """This process's starts of validation, one at a time."""
        return DataLoader(self.starts, batch_size=1, collate_fn=collate)

    def _reader(self, period: Period, cache: Literal["memory", "none"]) -> DayReader:
        names = self.config.forcing_names
        return DayReader(self.layout, self.grid, self.wet, names, cache, period)

    def _starts(self) -> Subset[dict[str, Any]]:
        """This process's share of starts, spread evenly over the validation period."""
        wanted, period = self.config.training.validation, self.config.periods.validation
        dataset = WindowDataset(self._reader(period, "none"), period, wanted.days, 1)
        if len(dataset) == 0:
            raise UserError(
                "training.validation.leads: between days without data, no rollout of "
                f"{wanted.days} days fits into periods.validation ({period.start} to "
                f"{period.end}); shorten the leads or fill the stores"
            )
        count = min(wanted.starts, len(dataset))
        starts = [i * (len(dataset) - 1) // max(count - 1, 1) for i in range(count)]
        return Subset(dataset, starts[self.ranks.rank :: self.ranks.size])
