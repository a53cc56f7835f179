"""How fast raw days become model days, beside what the hardware and common practice allow."""

from __future__ import annotations

import datetime as dt
import multiprocessing
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import xarray as xr

from hybridom.bench.memory import peak_memory
from hybridom.bench.synthetic import write_ocean
from hybridom.config import Period, PeriodsConfig, StageConfig
from hybridom.data.prepare.grid import prepare_grid, target_grid
from hybridom.data.prepare.state import StateYear, open_year, prepare_state
from hybridom.data.raw.ocean import Block
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC

FIRST = dt.date(2001, 1, 1)
GLORYS_STEP = 1 / 12
ROUNDS = 3  # medians are reported
FEW = 3  # days of the shorter of two runs, whose difference is the time of the days between


def bench_prepare(
    config: StageConfig, folder: Path | None, days: int, threads: int, step: float = GLORYS_STEP
) -> dict[str, Any]:
    """Time the parts of `hybridom prepare state`, and the common way, on synthetic files.

    Args:
        config: With the sections of stage `state`; its grid and levels are used.
        folder: Where the files go, and stay; None: a temporary folder.
        days: Daily files, more than 3; all alike but for their dates.
        threads: Of decompression and of the stage.
        step: Grid step of the synthetic product, degrees.

    Returns:
        Seconds a day of `decompress` (all blocks, `threads` threads), `regrid_one_core` (packed
        blocks to model fields), `stage` (files to store, checksums included) and `common` (xarray:
        open, decode, coarsen); the ratios between them; the stage's peak memory.
    """
    with tempfile.TemporaryDirectory(prefix="hybridom-bench-") as temporary:
        root = folder or Path(temporary)
        settings = _settings(config, root, days)
        ocean = Path(settings.source.ocean_dir)
        if not ocean.exists():
            write_ocean(ocean, FIRST, days, config.grid.depths, step)
        layout = Layout(settings)
        prepare_grid(settings, layout)
        year = open_year(settings, layout, FIRST.year)
        seconds = {"regrid_one_core": _time_regridding(year)}
        runs = [_one_round(settings, root, year, threads) for _ in range(ROUNDS)]
        seconds |= {name: statistics.median(r[name] for r in runs) for name in runs[0]}
        path = year.records[FIRST].path
        seconds["common"] = _time_common(path, round(config.grid.resolution / step))
    peak = seconds.pop("peak_memory_mb")
    return {
        "device": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": threads,
        "grid": [len(config.grid.depths), *_shape(config)],
        "days": days,
        "seconds_per_day": seconds,
        "decompression_speed_reached": seconds["decompress"] / seconds["stage"],
        "times_faster_than_common": seconds["common"] / seconds["stage"],
        "peak_memory_mb": peak,
    }


def table(result: Mapping[str, Any]) -> str:
    """The result as aligned text."""
    nz, ny, nx = result["grid"]
    head = f"{nz} x {ny} x {nx}, {result['threads']} threads of {result['cores']} cores"
    rows = [f"{name:24s}{value:8.3f} s a day" for name, value in result["seconds_per_day"].items()]
    return "\n".join(
        [
            head,
            *rows,
            f"stage at {result['decompression_speed_reached']:.0%} of decompression's speed, "
            f"{result['times_faster_than_common']:.1f} times as fast as the common way, "
            f"peak {result['peak_memory_mb']:.0f} MB",
        ]
    )


def _shape(config: StageConfig) -> tuple[int, int]:
    grid = target_grid(config)
    return grid.ny, grid.nx


def _settings(config: StageConfig, root: Path, days: int) -> StageConfig:
    """The configuration of the first `days` synthetic days in `root`."""
    ends = [FIRST + dt.timedelta(n) for n in (0, days - 3, days - 2, days - 1)]
    periods = PeriodsConfig(
        train=Period(start=ends[0], end=ends[1]),
        validation=Period(start=ends[2], end=ends[2]),
        test=Period(start=ends[3], end=ends[3]),
    )
    folders = {"kind": "files", "ocean_dir": str(root / "ocean"), "static_dir": None}
    changed = {
        "source": config.source.model_copy(update=folders),
        "paths": config.paths.model_copy(update={"resources": str(root / f"{days}_days")}),
        "periods": periods,
    }
    return StageConfig("state", {n: changed.get(n, getattr(config, n)) for n in config.as_dict()})


def _one_round(config: StageConfig, root: Path, year: StateYear, threads: int) -> dict[str, float]:
    """Decompression and stage, one after the other: the machine's mood changes both alike."""
    days = len(year.days)
    decompress = _time_decompression(year, threads)
    few, _ = _run_stage(_settings(config, root, FEW), threads)
    many, peak = _run_stage(config, threads)
    # What is done once, before the first day, is in both.
    stage = (many - few) / (days - FEW)
    return {"decompress": decompress, "stage": stage, "peak_memory_mb": peak}


def _time_regridding(year: StateYear) -> float:
    """Seconds a day of the kernel alone, on one core."""
    pipeline, regrid = year.pipeline, 0.0
    blocks = pipeline.reader.blocks(year.records[FIRST], FIRST, PROGNOSTIC)
    pipeline.regrid(blocks[0].load(), blocks[0].levels)  # compiles
    for block in blocks:
        packed = block.load()
        begin = time.perf_counter()
        pipeline.regrid(packed, block.levels)
        regrid += time.perf_counter() - begin
    return regrid


def _time_decompression(year: StateYear, threads: int) -> float:
    """Seconds a day to decompress all blocks of all days, and nothing else."""

    def load(block: Block) -> None:
        block.load()  # nothing is kept: fresh memory for a whole day would be timed too

    blocks = [
        block
        for day, record in year.records.items()
        for block in year.pipeline.reader.blocks(record, day, PROGNOSTIC)
    ]
    begin = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(load, blocks))
    return (time.perf_counter() - begin) / len(year.records)


def _time_common(path: Path, factor: int) -> float:
    """Seconds to open, decode and block-average one file as is commonly done."""
    begin = time.perf_counter()
    with xr.open_dataset(path) as ds:
        windows = {"latitude": factor, "longitude": factor}
        for name in PROGNOSTIC:
            ds[name].coarsen(windows, boundary="trim").mean().load()
    return time.perf_counter() - begin


def _run_stage(config: StageConfig, threads: int) -> tuple[float, float]:
    """Seconds and peak memory (MB) of the stage, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_stage, config, threads).result()


def _stage(config: StageConfig, threads: int) -> tuple[float, float]:
    layout = Layout(config)
    shutil.rmtree(layout.resources_dir, ignore_errors=True)  # what is complete takes no time
    prepare_grid(config, layout)
    begin = time.perf_counter()
    prepare_state(config, layout, FIRST.year, threads)
    seconds = time.perf_counter() - begin
    return seconds, peak_memory()
