"""Windows of days to train on for a measurement: invented, in memory or in stores, or one's own."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from hybridom.bench.loader import day_bytes, driven_by_analyses
from hybridom.bench.loader_stores import (
    Ocean,
    Variant,
    coarser,
    first_days,
    write_driver,
    write_ocean,
)
from hybridom.bench.ocean import InventedOcean
from hybridom.bench.step import ATMOSPHERE
from hybridom.bench.variants import Case
from hybridom.config import Config, Period
from hybridom.data.datasets import Batch, DayReader, WindowDataset, collate
from hybridom.data.driver import Drive, Driver
from hybridom.data.prepare import model_grid
from hybridom.errors import UserError
from hybridom.grid import Grid, Mask
from hybridom.layout import Layout
from hybridom.normalisation import KINDS, Statistics, read_statistics
from hybridom.training.sampler import StreamSampler
from hybridom.training.windows import draw_windows
from hybridom.variables import PROGNOSTIC, VARIABLES

Source = Literal["synthetic", "stores", "memory"]
SOURCES: tuple[Source, ...] = ("synthetic", "stores", "memory")

MEGABYTE = 1e6
WINDOWS = 8  # of synthetic stores, where they fit
PREFETCH = 2  # batches that each loader process makes in advance, torch's default
ENDLESS = 10**9  # optimiser steps
# Standard deviations about the climatology; those of a day's change are a tenth.
SPREAD = {"thetao": 0.5, "so": 0.1, "uo": 0.1, "vo": 0.1, "zos": 0.05}
CHANGE = 0.1


class Sea(Ocean):
    """The invented ocean of `ocean.InventedOcean` as days to be stored, NaN on land.

    Args:
        config: With the sections grid, forcing and skeleton.
        driver: On cells of twice the size, as what drives the configured region.

    Raises:
        UserError: The configured substeps are too long for any current.
    """

    def __init__(self, config: Config, driver: bool = False) -> None:
        case = Case(config, torch.float32, torch.device("cpu"))
        super().__init__(coarser(case.grid) if driver else case.grid)
        self.wet, state = case.wet, case.state
        if driver:
            ocean = InventedOcean(self.grid)
            self.wet, state = ocean.wet, ocean.state(case.speed).to(torch.float32)
        self._start = {name: x[0].numpy() for name, x in state.items()}

    def _field(self, name: str, day: int) -> NDArray[np.float32]:
        rng = np.random.default_rng([sum(map(ord, name)), day])
        shape = self.grid.shape if VARIABLES[name].has_depth else self.grid.shape[1:]
        noise = rng.standard_normal(shape, np.float32)
        if name not in PROGNOSTIC:
            mean, spread = ATMOSPHERE[name]
            return np.float32(mean) + np.float32(spread) * noise
        # Little: currents as rough as the noise would carry the ocean away within some days.
        field = self._start[name] + np.float32(CHANGE**2 * SPREAD[name]) * noise
        wet = self.wet if VARIABLES[name].has_depth else self.wet[0]
        return np.where(wet, field, np.float32(np.nan))

    def statistics(self, forcing: tuple[str, ...]) -> Statistics:
        """Means of zero, and the deviations of `SPREAD` and `ATMOSPHERE`, (nz,) or scalars."""
        found = {}
        for name in (*PROGNOSTIC, *forcing):
            spread = SPREAD[name] if name in SPREAD else ATMOSPHERE[name][1]
            values = {"mean": 0.0, "tendency_std": CHANGE * spread}
            shape = (self.grid.nz,) if VARIABLES[name].has_depth else ()
            for kind in KINDS:
                found[f"{name}_{kind}"] = torch.full(
                    shape, values.get(kind, spread), dtype=torch.float64
                )
        return found


@dataclass(frozen=True)
class Scene:
    """What there is to train on.

    Attributes:
        grid: The grid.
        wet: Ocean cells (nz, ny, nx).
        statistics: See `normalisation`.
        batches: Endless micro-batches of one process.
        source: Where they come from.
        windows: Number of different windows.
        window_mb: Bytes of one window with its climatologies and, in a region, the driver's
            states, MB.
        lead: Micro-batches that loader processes may have made in advance.
        note: Why there are no stores though they were asked for; None: there are.
    """

    grid: Grid
    wet: Mask
    statistics: Statistics
    batches: Iterator[Batch]
    source: Source
    windows: int
    window_mb: float
    lead: int
    note: str | None = None

    def rate(self, batch: int) -> float | None:
        """Windows per second of the loader with nothing else to do; None without stores."""
        if self.source == "memory":
            return None
        for _ in range(self.lead + 1):
            next(self.batches)
        count = max(3, self.lead)
        begin = time.perf_counter()
        for _ in range(count):
            next(self.batches)
        return count * batch / (time.perf_counter() - begin)


@contextlib.contextmanager
def open_scene(
    config: Config, days: int, source: Source, store_mb: float, folder: Path | None = None
) -> Iterator[Scene]:
    """Make or find the data.

    Args:
        config: The configuration.
        days: Days that are unrolled; a window has one more.
        source: `synthetic`: an invented ocean in temporary stores, read from there, where they
            stay below `store_mb` (and else as `memory`); `stores`: those of the configuration;
            `memory`: one invented batch.
        store_mb: Largest size of synthetic stores before compression, MB.
        folder: Where temporary stores lie; None for the system's folder.

    Raises:
        UserError: The stores of the configuration are missing or hold no window; the configured
            substeps are too long for any current.
    """
    if source == "stores":
        layout = Layout(config)
        grid, wet = model_grid(config, layout)
        scales = read_statistics(layout.statistics_file, config.forcing_names)
        period = config.periods.train
        scene = _stored(config, layout, grid, wet, scales, period, days, source)
        yield from _closed_after(scene)
        return
    sea = Sea(config)
    statistics = sea.statistics(config.forcing_names)
    per_day = _window_mb(config, sea.grid, 1)
    stored = min(days + WINDOWS, int(store_mb / per_day))
    if source == "memory" or stored <= days:
        note = None
        if source == "synthetic":
            least = (days + 1) * per_day
            note = f"stores of a window would take {least:.0f} MB, over --store-mb {store_mb:.0f}"
        batch = itertools.repeat(batch_in_memory(sea, config, days))
        size = _window_mb(config, sea.grid, days + 1)
        yield Scene(sea.grid, sea.wet, statistics, batch, "memory", 1, size, 0, note)
        return
    with tempfile.TemporaryDirectory(dir=folder, prefix="hybridom-bench-") as name:
        paths = config.paths.model_copy(update={"resources": name})
        layout = Layout(config.model_copy(update={"paths": paths}))
        period = first_days(config, stored)
        write_ocean(layout, sea, Variant("lz4"), period, config.forcing_names)
        if config.region is not None:
            write_driver(layout, Sea(config, driver=True), Variant("lz4"), period)
        args = (layout, sea.grid, sea.wet, statistics, period, days, source)
        yield from _closed_after(_stored(config, *args))


def _closed_after(scene: Scene) -> Iterator[Scene]:
    """Hand out a scene, and end its loader processes before their stores go."""
    try:
        yield scene
    finally:
        # Of a loader's iterator, or of the generator around it on a GPU.
        for name in ("_shutdown_workers", "close"):
            if (end := getattr(scene.batches, name, None)) is not None:
                end()


def _stored(
    config: Config,
    layout: Layout,
    grid: Grid,
    wet: Mask,
    statistics: Statistics,
    period: Period,
    days: int,
    source: Source,
) -> Scene:
    """Windows from stores, as training reads them."""
    settings = config.training
    # Synthetic stores hold a few days only of what a cache would want as a whole.
    cache = settings.cache if source == "stores" else "none"
    stride = settings.stride if source == "stores" else 1
    reader = DayReader(layout, grid, wet, config.forcing_names, cache, period)
    drive = (_own_drive if source == "stores" else driven_by_analyses)(config, layout, grid, wet)
    dataset = WindowDataset(reader, period, days, stride, drive)
    if len(dataset) == 0:
        raise UserError(
            f"--days {days}: no window of {days + 1} days in {period.start} to {period.end}; "
            "take fewer"
        )
    sampler = StreamSampler(
        windows=len(dataset),
        batch=settings.batch,
        accumulate=settings.accumulate,
        rank=0,
        ranks=1,
        seed=settings.seed,
        stage=0,
        position=0,
        steps=ENDLESS,
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    batches = draw_windows(dataset, sampler, settings.num_workers, device)
    size = _window_mb(config, grid, days + 1)
    lead = PREFETCH * settings.num_workers
    return Scene(grid, wet, statistics, batches, source, len(dataset), size, lead)


def _own_drive(config: Config, layout: Layout, grid: Grid, wet: Mask) -> Drive | None:
    """How the last stage of the curriculum drives a region's windows; None: it is none."""
    if config.region is None:
        return None
    settings, forecasts = config.training, config.region.forecasts
    part, period = settings.curriculum[-1].forecasts, config.periods.train
    driver = Driver(layout, grid, wet, period if settings.cache == "memory" else None)
    starts = tuple(forecasts.starts(period)) if part > 0 else ()
    return Drive(driver, starts, forecasts.days, part, (settings.seed, 0))


def batch_in_memory(sea: Ocean, config: Config, days: int) -> Batch:
    """A micro-batch of equal windows, 0 on land."""
    window = {
        kind: {
            name: torch.from_numpy(
                np.stack([np.nan_to_num(sea.field(name, day % 2)) for day in range(days + 1)])
            )
            for name in names
        }
        for kind, names in (
            ("state", PROGNOSTIC),
            ("forcing", config.forcing_names),
            ("climatology", PROGNOSTIC),
            ("forcing_climatology", config.forcing_names),
            *(() if config.region is None else (("outer", PROGNOSTIC),)),
        )
    }
    return collate([{**window, "start": 0}] * config.training.batch)


def _window_mb(config: Config, grid: Grid, days: int) -> float:
    """Float32 bytes of so many days with their climatologies and a region's driver, MB."""
    both = 2 * day_bytes(grid, (*PROGNOSTIC, *config.forcing_names))
    driver = 0 if config.region is None else day_bytes(grid, PROGNOSTIC)
    return days * (both + driver) / MEGABYTE
