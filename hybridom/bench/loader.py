"""How fast windows of whole days come from a store, on synthetic fields of the configured grid.

The JSON object of `bench_loader` holds
    grid                [levels, rows, columns]
    variables           how many the state and the forcing have
    days, window        days in the store, days in a window
    driver              whether the windows are those of a region, with what drives it
    window_gb           float32 bytes of one window with its climatologies and, in a region, the
                        driver's states, GB
    copy_gb_per_s       the same bytes copied in memory, by one thread
    plain_gb_per_s      the same bytes read from uncompressed files into memory, by one thread
    layouts             for each codec and chunking
        codec, keepbits     compression (`none` is read through Zarr), mantissa bits kept of 23
        levels              levels in a chunk
        ratio               plain bytes over bytes on disk
        write_gb_per_s      compressing, writing and hashing
        first_gb_per_s      first window after the files were dropped from memory, where the
                            system does that when asked
        warm_gb_per_s       number of threads -> median over later windows
Rates are float32 bytes of the tensors that a window holds, by second, land set to zero and missing
values looked for. A region's driver is read as its analyses are, on cells of twice the size, and
brought to the region's cells.
"""

from __future__ import annotations

import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from zarr.codecs import BloscCodec

from hybridom.bench.loader_stores import (
    Ocean,
    Variant,
    coarser,
    first_days,
    write_driver,
    write_ocean,
)
from hybridom.config import Config
from hybridom.data.datasets import DayReader, WindowDataset
from hybridom.data.driver import Drive, Driver
from hybridom.data.stores.plan import chunk_shape
from hybridom.data.stores.threads import usable_cores
from hybridom.errors import UserError
from hybridom.grid import Grid, Mask
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC, VARIABLES

GIGABYTE = 1e9

VARIANTS = (
    Variant("lz4"),
    Variant("lz4", chunk_bytes=1),
    Variant("lz4", chunk_bytes=4_500_000),
    Variant("lz4", chunk_bytes=1 << 62),
    Variant("lz4", keepbits=10),
    Variant("zstd", BloscCodec(cname="zstd", clevel=1, shuffle="shuffle")),
    Variant("none", None),
)


def bench_loader(
    config: Config, days: int, window: int, repeats: int, folder: Path | None = None
) -> dict[str, Any]:
    """Measure reading; the head of this file describes what is returned.

    Args:
        config: The configuration, of which the sections grid, forcing and region count.
        days: Days in the store.
        window: Days in a window.
        repeats: Windows read for each number of threads.
        folder: Where the temporary stores lie; None for the system's folder.

    Raises:
        UserError: `window` is longer than `days`.
    """
    if not 1 < window <= days:
        raise UserError(f"--window {window}: expected 2 to {days} days, the number in the store")
    box = config.grid
    ocean = Ocean(Grid.regular(box.resolution, box.lat, box.lon, box.depths))
    names = config.forcing_names
    nz, ny, nx = ocean.grid.shape
    plain_day = day_bytes(ocean.grid, (*PROGNOSTIC, *names))
    driver_day = 0 if config.region is None else day_bytes(ocean.grid, PROGNOSTIC)
    size = window * (2 * plain_day + driver_day)
    layouts = []
    with tempfile.TemporaryDirectory(dir=folder) as name:
        plain = plain_rate(Path(name) / "plain", plain_day, window)
        seen = set()
        for variant in VARIANTS:
            levels = chunk_shape((days, nz, ny, nx), variant.chunk_bytes)[1]
            key = (variant.codec, variant.keepbits, levels)
            if key not in seen:
                seen.add(key)
                with tempfile.TemporaryDirectory(dir=name) as root:
                    rates = layout_rates(config, ocean, variant, Path(root), days, window, repeats)
                layouts.append(dict(zip(("codec", "keepbits", "levels"), key, strict=True)) | rates)
    return {
        "grid": [nz, ny, nx],
        "variables": [len(PROGNOSTIC), len(names)],
        "days": days,
        "window": window,
        "driver": config.region is not None,
        "window_gb": size / GIGABYTE,
        "copy_gb_per_s": copy_rate(size),
        "plain_gb_per_s": plain,
        "layouts": layouts,
    }


def layout_rates(
    config: Config,
    ocean: Ocean,
    variant: Variant,
    root: Path,
    days: int,
    window: int,
    repeats: int,
) -> dict[str, Any]:
    """Write the stores in one layout and read windows from them."""
    paths = config.paths.model_copy(update={"resources": str(root)})
    layout = Layout(config.model_copy(update={"paths": paths}))
    period = first_days(config, days)
    begin = time.perf_counter()
    written = write_ocean(layout, ocean, variant, period, config.forcing_names)
    seconds = time.perf_counter() - begin
    size = sum(p.stat().st_size for p in root.rglob("*") if p.is_file())

    if config.region is not None:
        write_driver(layout, Ocean(coarser(ocean.grid)), variant, period)

    def rates(threads: int | None, count: int) -> Iterator[float]:
        names = config.forcing_names
        reader = DayReader(layout, ocean.grid, ocean.wet, names, "none", period, threads)
        drive = driven_by_analyses(config, layout, ocean.grid, ocean.wet, threads)
        windows = WindowDataset(reader, period, window - 1, 1, drive)
        for n in range(count):
            yield rate_of(windows, n % len(windows))

    list(rates(1, 1))  # compiles what is compiled on the first call
    drop_from_memory(root)
    first = next(rates(None, 1))
    threads = sorted({1, 2, 4, usable_cores()} & set(range(1, usable_cores() + 1)))
    return {
        "ratio": written / size,
        "write_gb_per_s": written / seconds / GIGABYTE,
        "first_gb_per_s": first,
        "warm_gb_per_s": {
            str(n): statistics.median(itertools.islice(rates(n, repeats + 1), 1, None))
            for n in threads
        },
    }


def driven_by_analyses(
    config: Config, layout: Layout, grid: Grid, wet: Mask, threads: int | None = None
) -> Drive | None:
    """Let the analyses of `write_driver` drive every window of a region; None: it is none."""
    if config.region is None:
        return None
    driver = Driver(layout, grid, wet, threads=threads)
    return Drive(driver, (), config.region.forecasts.days, 0.0, (config.training.seed, 0))


def day_bytes(grid: Grid, names: Iterable[str]) -> int:
    """Float32 bytes of a day of some variables."""
    fields = sum(grid.nz if VARIABLES[name].has_depth else 1 for name in names)
    return 4 * fields * grid.ny * grid.nx


def rate_of(windows: WindowDataset, index: int) -> float:
    """Bytes of a window's tensors by the time that it takes, GB/s."""
    begin = time.perf_counter()
    item = windows[index]
    seconds = time.perf_counter() - begin
    parts = (part for part in item.values() if isinstance(part, dict))
    return sum(x.nbytes for part in parts for x in part.values()) / seconds / GIGABYTE


def drop_from_memory(root: Path) -> None:
    """Ask the system to forget the contents of files; some do not, in containers for example."""
    if not hasattr(os, "posix_fadvise"):
        return
    for path in root.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def copy_rate(size: int) -> float:
    """Bytes copied in memory by one thread, GB/s."""
    source = np.ones(size // 4, np.float32)
    target = np.empty_like(source)
    return best_rate(lambda: np.copyto(target, source), size)


def plain_rate(folder: Path, size: int, files: int) -> float:
    """Bytes read from uncompressed files that lie in memory, by one thread, GB/s."""
    folder.mkdir()
    paths = [folder / str(n) for n in range(files)]
    target = np.ones(size // 4, np.float32)
    for path in paths:
        target.tofile(path)

    def read() -> None:
        for path in paths:
            with path.open("rb", buffering=0) as file:
                file.readinto(target.data)

    rate = best_rate(read, size * files)
    for path in paths:
        path.unlink()
    return rate


def best_rate(work: Any, size: int) -> float:
    """GB/s of the fastest of four calls."""
    seconds = []
    for _ in range(4):
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    return size / min(seconds) / GIGABYTE


def table(result: dict[str, Any]) -> str:
    """The result of `bench_loader` as text."""
    nz, ny, nx = result["grid"]
    threads = list(result["layouts"][0]["warm_gb_per_s"])
    lines = [
        f"grid     {nz} x {ny} x {nx} cells, {result['variables'][0]} + {result['variables'][1]} "
        f"variables, {result['days']} days in the store",
        f"window   {result['window']} days with their climatology"
        f"{' and driver' if result['driver'] else ''}, {result['window_gb']:.2f} GB",
        f"floors   copy in memory {result['copy_gb_per_s']:.2f} GB/s, uncompressed files "
        f"{result['plain_gb_per_s']:.2f} GB/s, one thread",
        "",
        f"{'codec':7}{'bits':>5}{'levels':>8}{'ratio':>7}{'write':>8}{'first':>8}"
        + "".join(f"{'warm, ' + n:>9}" for n in threads)
        + "   GB/s; warm by threads",
    ]
    for row in result["layouts"]:
        lines.append(
            f"{row['codec']:7}{row['keepbits']:5}{row['levels']:8}{row['ratio']:7.2f}"
            f"{row['write_gb_per_s']:8.2f}{row['first_gb_per_s']:8.2f}"
            + "".join(f"{row['warm_gb_per_s'][n]:9.2f}" for n in threads)
        )
    return "\n".join(lines)
