"""How fast windows of whole days come from a store, on synthetic fields of the configured grid.

The JSON object of `bench_loader` holds
    grid                [levels, rows, columns]
    variables           how many the state and the forcing have
    days, window        days in the store, days in a window
    window_gb           float32 bytes of one window with its climatologies, GB
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
values looked for.
"""

from __future__ import annotations

import functools
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from hybridom.config import Config, Period
from hybridom.data.datasets import DayReader, WindowDataset
from hybridom.data.days import DAYS_IN_YEAR, TIME_UNITS, climatology_rows, day_number
from hybridom.data.stores import Slab, StorePlan, write_store
from hybridom.data.stores.plan import CHUNK_BYTES, COMPRESSOR, chunk_shape
from hybridom.data.stores.threads import usable_cores
from hybridom.errors import UserError
from hybridom.grid import Grid
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC, VARIABLES

if TYPE_CHECKING:
    import datetime as dt

Float32 = NDArray[np.float32]

GIGABYTE = 1e9
LAND = 0.35  # part of the grid
NOISE = 1e-3  # of the fields, small against their waves: what is left after averaging packed data


@dataclass(frozen=True)
class Variant:
    """A way to store values.

    Attributes:
        codec: Words for the table.
        compressor: None for none.
        keepbits: Mantissa bits kept of 23.
        chunk_bytes: Largest chunk before compression.
    """

    codec: str
    compressor: BloscCodec | None = COMPRESSOR
    keepbits: int = 23
    chunk_bytes: int = CHUNK_BYTES


VARIANTS = (
    Variant("lz4"),
    Variant("lz4", chunk_bytes=1),
    Variant("lz4", chunk_bytes=4_500_000),
    Variant("lz4", chunk_bytes=1 << 62),
    Variant("lz4", keepbits=10),
    Variant("zstd", BloscCodec(cname="zstd", clevel=1, shuffle="shuffle")),
    Variant("none", None),
)


class Ocean:
    """Synthetic fields: a few waves under weak noise, about a third of the cells being land.

    Args:
        grid: Their grid.
    """

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        east, north = np.meshgrid(np.deg2rad(grid.lon), np.deg2rad(grid.lat))
        shape = np.sin(3 * east) + np.sin(5 * north + east) + 0.5 * np.sin(9 * east - 7 * north)
        self.land = shape > np.quantile(shape, 1 - LAND)
        self.wet = np.broadcast_to(~self.land, grid.shape).copy()
        self._waves = (10 + shape).astype(np.float32)
        self.field = functools.cache(self._field)

    def slab(self, names: Sequence[str], day: int) -> Slab:
        """Fields of a day; every other day is the same, to have them at hand."""
        return {name: self.field(name, day % 2) for name in names}

    def _field(self, name: str, day: int) -> Float32:
        """([nz,] ny, nx), NaN on land in the ocean."""
        deep = VARIABLES[name].has_depth
        rng = np.random.default_rng([sum(map(ord, name)), day])
        field = NOISE * rng.standard_normal(self.grid.shape[0 if deep else 1 :], np.float32)
        field += self._waves
        if name in PROGNOSTIC:
            field[..., self.land] = np.nan
        return field


def bench_loader(
    config: Config, days: int, window: int, repeats: int, folder: Path | None = None
) -> dict[str, Any]:
    """Measure reading; the head of this file describes what is returned.

    Args:
        config: The configuration, of which the sections grid and forcing count.
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
    fields = [nz if VARIABLES[n].has_depth else 1 for n in (*PROGNOSTIC, *names)]
    size = 2 * window * 4 * sum(fields) * ny * nx
    layouts = []
    with tempfile.TemporaryDirectory(dir=folder) as name:
        plain = plain_rate(Path(name) / "plain", size // (2 * window), window)
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

    def rates(threads: int | None, count: int) -> Iterator[float]:
        names = config.forcing_names
        reader = DayReader(layout, ocean.grid, ocean.wet, names, "none", period, threads)
        windows = WindowDataset(reader, period, window - 1, 1)
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


def rate_of(windows: WindowDataset, index: int) -> float:
    """Bytes of a window's tensors by the time that it takes, GB/s."""
    begin = time.perf_counter()
    item = windows[index]
    seconds = time.perf_counter() - begin
    parts = (part for part in item.values() if isinstance(part, dict))
    return sum(x.nbytes for part in parts for x in part.values()) / seconds / GIGABYTE


def first_days(config: Config, days: int) -> Period:
    """As many days from the beginning of a year as are asked for."""
    start = config.periods.train.start.replace(month=1, day=1)
    day = np.datetime64(start) + np.timedelta64(days - 1, "D")
    return Period(start=start, end=day.astype(object))


def write_ocean(
    layout: Layout, ocean: Ocean, variant: Variant, period: Period, forcing: Sequence[str]
) -> int:
    """Write state, forcing and, for the same days only, climatology; returns their plain bytes."""
    year = period.start.year
    days: list[dt.date] = period.days()
    rows = sorted({row for day in days for row in climatology_rows(day)})
    dates = np.array([day_number(day) for day in days], np.int32)
    season = np.arange(1, DAYS_IN_YEAR + 1, dtype=np.int32)
    every = range(len(days))
    written = 0
    for path, axis, values, held, names in (
        (layout.state_store(year), "time", dates, every, PROGNOSTIC),
        (layout.forcing_store(year), "time", dates, every, tuple(forcing)),
        (layout.climatology_store, "dayofyear", season, rows, (*PROGNOSTIC, *forcing)),
    ):
        plan = plan_of(ocean, variant, path, axis, values, held, names)

        def slabs(indices: Sequence[int], names: Sequence[str] = names) -> Iterator[Slab]:
            return (ocean.slab(names, index) for index in indices)

        write_store(plan, slabs, f"{variant.codec} {path.stem}")
        written += len(held) * sum(4 * int(np.prod(plan.shape(name)[1:])) for name in names)
    return written


def plan_of(
    ocean: Ocean,
    variant: Variant,
    path: Path,
    axis: str,
    values: NDArray[np.int32],
    held: Sequence[int],
    names: Sequence[str],
) -> StorePlan:
    """Plan of one store, of which only some entries are written."""
    cell = ("depth", "latitude", "longitude")
    return StorePlan(
        path,
        path.with_suffix(".json"),
        ocean.grid.to_dataset().assign_coords({axis: (axis, values, {"units": TIME_UNITS})}),
        {n: ((axis, *cell[0 if VARIABLES[n].has_depth else 1 :]), {}) for n in names},
        {"config_hash": "bench", "grid_hash": ocean.grid.hash},
        keepbits={n: variant.keepbits for n in names if variant.keepbits < 23},
        absent={n: "not measured" for n in set(range(len(values))) - set(held)},
        gaps_allowed=True,
        compressor=variant.compressor,
        chunk_bytes=variant.chunk_bytes,
    )


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
        f"window   {result['window']} days with their climatology, {result['window_gb']:.2f} GB",
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
