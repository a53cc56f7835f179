"""How fast a forecast is scored, beside how fast its stores can be read.

The JSON object of `bench_evaluate` holds
    device, cores, threads      the machine, and threads that read and score
    grid                        [levels, rows, columns]
    systems, regions            numbers of both
    starts, days                forecasts scored, and their last lead
    gb_per_start                float32 bytes read for one forecast, GB: the forecast, the truth of
                                its valid days, the climatology of these and of its start date
    stored_gb_per_start         the same as compressed files
    read_gb_per_s               reading the files and decompressing them into the arrays of two
                                days, which are used again and again, nothing else
    score_gb_per_s              scoring, from opening the stores to the table of scores
    ratio                       score_gb_per_s / read_gb_per_s
    ratios                      the same of every start
    read_cpu_s, score_cpu_s     processor time of all threads for all starts, s: their quotient is
                                the ratio where the machine does nothing else
    peak_memory_mb              largest memory of the process while it read and scored
    memory_before_mb            its memory when it began
Both read the same files with the same threads, one start after the other in turn, so that what
else the machine does slows both. Rates are those of all starts together.
"""

from __future__ import annotations

import datetime as dt
import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numcodecs.blosc
import numpy as np
import torch

from hybridom.bench.bandwidth import device_name
from hybridom.bench.evaluate_stores import write_stores
from hybridom.bench.memory import forget_peak, peak_memory, resident_memory
from hybridom.config import StageConfig
from hybridom.data.days import climatology_rows
from hybridom.data.stores.threads import shared_pool
from hybridom.errors import UserError
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC

GIGABYTE = 1e9
YEAR = 2001  # without 29 February
FIELDS = 2 * 3 * len(PROGNOSTIC)  # of two days: forecast, truth and climatology
Score = Callable[[StageConfig, Layout, dt.date, int], object]

_buffers = threading.local()


def bench_evaluate(
    config: StageConfig, score: Score, starts: int, days: int, folder: Path | None, threads: int
) -> dict[str, Any]:
    """Measure; the head of this file describes what is returned.

    Args:
        config: The `evaluate` stage's part of a configuration, of which grid and evaluation count.
        score: Scores the fields of the forecast from one start date with so many threads.
        starts: Forecasts, spread over a year.
        days: Their last lead.
        folder: Where the stores are written for now; None for the system's folder.
        threads: Threads that read and score.

    Raises:
        UserError: So many forecasts do not begin on different days of one year and end in it.
    """
    if starts + days > 365:
        raise UserError(
            f"--starts {starts}, --days {days}: expected forecasts that begin on different days of "
            "one year and end in it, at most 365 together"
        )
    with tempfile.TemporaryDirectory(prefix="hybridom-bench-", dir=folder) as name:
        _compile(config, score, Path(name) / "small", threads)
        settings = _settings(config, Path(name), starts, days, config.grid.depths)
        layout = Layout(settings)
        grid = write_stores(settings, layout, threads)
        files = {start: _files(layout, start, days) for start in settings.forecast.start_dates()}
        first = next(iter(files.values()))
        size, stored = (sum(map(kind, first)) / GIGABYTE for kind in (_size, _stored))
        arrays = [np.empty(max(map(_size, first)), np.uint8) for _ in range(FIELDS)]
        _read(first, arrays, threads)  # also into the memory of the system
        forget_peak()
        before = resident_memory()
        seconds = [
            (
                *_timed(partial(_read, chunks, arrays, threads)),
                *_timed(partial(score, settings, layout, start, threads)),
            )
            for start, chunks in files.items()
        ]
        peak = peak_memory()
    return {
        "device": device_name(torch.device("cpu")),
        "cores": os.cpu_count(),
        "threads": threads,
        "grid": list(grid.shape),
        "systems": 1 + len(config.evaluation.baselines),
        "regions": 1 + len(config.evaluation.regions) + len(config.evaluation.named_regions),
        "starts": starts,
        "days": days,
        "gb_per_start": size,
        "stored_gb_per_start": stored,
        **_rates(size * starts, seconds),
        "peak_memory_mb": peak,
        "memory_before_mb": before,
    }


def _rates(total: float, seconds: Sequence[tuple[float, ...]]) -> dict[str, Any]:
    """Rates of reading and scoring `total` GB, by their seconds at every start."""
    read, read_cpu, scored, score_cpu = (sum(x) for x in zip(*seconds, strict=True))
    return {
        "read_gb_per_s": total / read,
        "score_gb_per_s": total / scored,
        "ratio": read / scored,
        "ratios": [x[0] / x[2] for x in seconds],
        "read_cpu_s": read_cpu,
        "score_cpu_s": score_cpu,
    }


def table(result: Mapping[str, Any]) -> str:
    """The result of `bench_evaluate` as text."""
    nz, ny, nx = result["grid"]
    low, high = min(result["ratios"]), max(result["ratios"])
    return "\n".join(
        [
            f"grid     {nz} x {ny} x {nx} cells, {result['systems']} systems, "
            f"{result['regions']} regions",
            f"starts   {result['starts']} of {result['days']} days, each "
            f"{result['gb_per_start']:.2f} GB, {result['stored_gb_per_start']:.2f} GB compressed",
            f"threads  {result['threads']} of {result['cores']} cores, {result['device']}",
            f"read     {result['read_gb_per_s']:.2f} GB/s",
            f"score    {result['score_gb_per_s']:.2f} GB/s, {result['ratio']:.0%} of it "
            f"({low:.0%} to {high:.0%} by start)",
            f"cpu      {result['read_cpu_s']:.1f} s to read, {result['score_cpu_s']:.1f} s to "
            f"score, {result['read_cpu_s'] / result['score_cpu_s']:.0%}",
            f"memory   {result['peak_memory_mb']:.0f} MB at most, "
            f"{result['memory_before_mb']:.0f} MB before",
        ]
    )


def _settings(
    config: StageConfig,
    folder: Path,
    starts: int,
    days: int,
    depths: Sequence[float],
) -> StageConfig:
    """The configuration with start dates in one year, the fields' scores alone, and its paths."""
    first = dt.date(YEAR, 1, 1)
    every = max(1, (364 - days) // max(1, starts - 1))
    folders = {"resources": str(folder / "resources"), "results": str(folder / "results")}
    dates = {"first": first, "last": first + dt.timedelta(every * (starts - 1)), "every": every}
    changed = {
        "paths": config.paths.model_copy(update=folders),
        "grid": config.grid.model_copy(update={"depths": tuple(depths)}),
        "forecast": config.forecast.model_copy(update={"days": days, **dates}),
        "evaluation": config.evaluation.model_copy(update={"families": ()}),
    }
    return StageConfig(
        "evaluate", {name: changed.get(name, getattr(config, name)) for name in config.as_dict()}
    )


def _compile(config: StageConfig, score: Score, folder: Path, threads: int) -> None:
    """Score a day of one level, which compiles what is compiled on the first call."""
    settings = _settings(config, folder, 1, 1, config.grid.depths[:1])
    layout = Layout(settings)
    write_stores(settings, layout, threads)
    score(settings, layout, settings.forecast.first, threads)


def _files(layout: Layout, start: dt.date, days: int) -> list[Path]:
    """Chunks that scores of one forecast are made from."""
    wanted = []
    for lead in range(days + 1):
        day = start + dt.timedelta(lead)
        wanted.append((layout.forecast_store(start), lead))
        wanted.append((layout.climatology_store, climatology_rows(day)[0]))
        if lead > 0:
            wanted.append((layout.state_store(YEAR), day.timetuple().tm_yday - 1))
    return [
        file
        for store, index in wanted
        for name in PROGNOSTIC
        for file in sorted((store / name / "c" / str(index)).rglob("*"))
        if file.is_file()
    ]


def _size(path: Path) -> int:
    """Bytes that a chunk has when it is decompressed, as its header says."""
    with path.open("rb") as file:
        return int(np.frombuffer(file.read(16), "<u4")[1])


def _stored(path: Path) -> int:
    """Bytes of a chunk as it is stored."""
    return path.stat().st_size


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the clock and of all threads."""
    begin, begin_cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - begin, time.process_time() - begin_cpu


def _read(files: Sequence[Path], arrays: Sequence[np.ndarray], threads: int) -> None:
    """Read and decompress files into arrays, taken in turn.

    Values that stay in a processor's cache would not have been read into memory.
    """
    for _ in shared_pool(threads).map(_decompress, files, cycle(arrays)):
        pass


def _decompress(path: Path, values: np.ndarray) -> None:
    with path.open("rb", buffering=0) as file:
        length = os.fstat(file.fileno()).st_size
        raw = _compressed(length)
        file.readinto(raw.data)
    size = int(raw[4:8].view("<u4")[0])
    numcodecs.blosc.decompress(raw, values[:size])


def _compressed(size: int) -> np.ndarray:
    """Memory of this thread."""
    held: np.ndarray | None = getattr(_buffers, "held", None)
    if held is None or held.size < size:
        held = _buffers.held = np.empty(size, np.uint8)
    return held[:size]
