"""The windows of days that one process trains on and validates with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from hybridom.config import Period, StageConfig
from hybridom.data.datasets import Batch, DayReader, WindowDataset, collate
from hybridom.data.driver import Drive, Driver
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
        self.driver = self._driver()
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
        period = self.config.periods.train
        part = settings.curriculum[stage.index].forecasts
        drive = self._drive(period, part, stage.index)
        dataset = WindowDataset(self.reader, period, stage.days, settings.stride, drive)
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
        return draw_windows(dataset, sampler, settings.num_workers, self.ranks.device)

    def validation(self) -> DataLoader[Any]:
        """This process's starts of validation, one at a time."""
        return DataLoader(self.starts, batch_size=1, collate_fn=collate)

    def driver_digits(self) -> dict[str, str]:
        """Digits that change with the grid, analyses and forecasts that drive training."""
        assert self.driver is not None
        period, region = self.config.periods.train, self.config.region
        drawn = any(stage.forecasts for stage in self.config.training.curriculum)
        starts = region.forecasts.starts(period) if drawn else ()
        sums = {
            "analyses": [self.driver.checksum(year) for year in period.years],
            "forecasts": [self.driver.forecast(start).checksum for start in starts],
        }
        digits = {kind: hashlib.sha256("".join(x).encode()).hexdigest() for kind, x in sums.items()}
        return {"grid": self.driver.grid.hash, **{kind: x[:12] for kind, x in digits.items()}}

    def _reader(self, period: Period, cache: Literal["memory", "none"]) -> DayReader:
        names = self.config.forcing_names
        return DayReader(self.layout, self.grid, self.wet, names, cache, period)

    def _driver(self) -> Driver | None:
        """What drives a region."""
        if self.config.region is None:
            return None
        held = self.config.periods.train if self.config.training.cache == "memory" else None
        return Driver(self.layout, self.grid, self.wet, held)

    def _drive(self, period: Period, part: float, stage: int) -> Drive | None:
        """How windows of a period are driven, `part` of them by forecasts."""
        if self.driver is None:
            return None
        forecasts = self.config.region.forecasts
        starts = tuple(forecasts.starts(period)) if part > 0 else ()
        seed = self.config.training.seed, stage
        return Drive(self.driver, starts, forecasts.days, part, seed)

    def _starts(self) -> Subset[dict[str, Any]]:
        """This process's share of starts, spread evenly over the validation period."""
        wanted, period = self.config.training.validation, self.config.periods.validation
        drive = self._validation_drive(period, wanted.days)
        dataset = WindowDataset(self._reader(period, "none"), period, wanted.days, 1, drive)
        if len(dataset) == 0:
            raise UserError(
                "training.validation.leads: between days without data, no rollout of "
                f"{wanted.days} days fits into periods.validation ({period.start} to "
                f"{period.end}); shorten the leads or fill the stores"
            )
        candidates = list(range(len(dataset)))
        if dataset.driven is not None and drive is not None and drive.part > 0:
            candidates = dataset.driven.covered.tolist()
        count = min(wanted.starts, len(candidates))
        starts = [candidates[i * (len(candidates) - 1) // max(count - 1, 1)] for i in range(count)]
        return Subset(dataset, starts[self.ranks.rank :: self.ranks.size])

    def _validation_drive(self, period: Period, days: int) -> Drive | None:
        """Forecasts drive the rollouts of validation where the period holds a whole one."""
        if self.driver is None:
            return None
        forecasts = self.config.region.forecasts
        whole = bool(forecasts.starts(period))
        if whole and days > forecasts.days:
            raise UserError(
                f"training.validation.leads: rollouts of {days} days, but the driver's forecasts "
                f"have {forecasts.days} (region.forecasts.days); shorten the leads or lengthen them"
            )
        if not whole:
            self.ranks.say(
                "periods.validation (%s to %s, %d days) holds no whole forecast of the driver "
                "(region.forecasts.days %d): its analyses drive validation",
                period.start,
                period.end,
                period.length,
                forecasts.days,
            )
        return self._drive(period, float(whole), len(self.config.training.curriculum))


def draw_windows(
    dataset: WindowDataset, sampler: StreamSampler, num_workers: int, device: torch.device
) -> Iterator[Batch]:
    """Batches in the order of the sampler, on the device.

    Args:
        dataset: The windows.
        sampler: Which of them make each batch.
        num_workers: Loader processes; with none, this process reads.
        device: Where the batches are wanted.
    """
    loader = DataLoader(
        dataset,
        batch_sampler=sampler,
        collate_fn=collate,
        num_workers=num_workers,
        # Zarr reads in threads of its own, which a forked process would inherit dead.
        multiprocessing_context="spawn" if num_workers else None,
        worker_init_fn=leave_signals_to_parent,
        pin_memory=device.type == "cuda",
    )
    return copied_ahead(iter(loader), device) if device.type == "cuda" else iter(loader)


def copied_ahead(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """Batches on a GPU, each on its way there while the one before it is computed with.

    A 5-day window at 0.5 degree is 1.1 GB, the copy of which would otherwise stand still in front
    of every step.

    Args:
        batches: Batches in pinned memory.
        device: The GPU.
    """
    stream = torch.cuda.Stream(device)

    def send() -> Batch | None:
        batch = next(batches, None)
        if batch is None:
            return None
        with torch.cuda.stream(stream):
            return batch.to(device, non_blocking=True)

    coming = send()
    while coming is not None:
        compute = torch.cuda.current_stream(device)
        compute.wait_stream(stream)
        batch = coming.map(partial(_in_use_by, compute))
        coming = send()
        yield batch


def _in_use_by(stream: torch.cuda.Stream, field: Tensor) -> Tensor:
    """The field; its memory takes no other before `stream` is done with it."""
    field.record_stream(stream)
    return field
