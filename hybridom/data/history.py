"""The days of a period as the yearly stores hold them, read by blocks of levels.

A block is what lies in one chunk of a store. Whoever goes through all days of one block, then of
the next, reads every chunk once and holds a few megabytes, whatever the grid and the number of
years; several threads can each take a block.
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hybridom.config import Period
from hybridom.data.days import day_number, day_of_year
from hybridom.data.stores import Slab, open_arrays, store_gaps
from hybridom.data.stores.fetching import ChunkRows, read_chunk, rows_of
from hybridom.data.stores.threads import MOST, usable_cores
from hybridom.errors import UserError
from hybridom.layout import Layout
from hybridom.variables import VARIABLES

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]
Cover = NDArray[np.uint8]
Item = TypeVar("Item")
Result = TypeVar("Result")

WORKING_BYTES = 2_400_000_000  # of all threads together, whatever they sum


@dataclass(frozen=True)
class Block:
    """Some levels of a variable.

    Attributes:
        name: Variable.
        first: Its first level; 0 for a variable without depth.
        stop: The level after its last; 1 for a variable without depth.
    """

    name: str
    first: int
    stop: int

    @property
    def levels(self) -> slice:
        """Its levels."""
        return slice(self.first, self.stop)

    def __str__(self) -> str:
        """Name of files that belong to the block."""
        return f"{self.name}.{self.first:03d}"


class BlockRows:
    """Rows of one array, read by blocks of levels.

    Args:
        name: Variable.
        array: (rows, [nz,] ny, nx), of a store or array-like.
    """

    def __init__(self, name: str, array: Any) -> None:
        self._name, self._array = name, array
        rows = rows_of(name, array)
        self._chunks = rows if isinstance(rows, ChunkRows) else None
        self._deep = len(array.shape) == 4

    def blocks(self) -> list[Block]:
        """Blocks that are read at once, from the surface down."""
        if not self._deep:
            return [Block(self._name, 0, 1)]
        levels = self._array.shape[1]
        step = self._chunks.chunks[1] if self._chunks else levels
        return [
            Block(self._name, first, min(first + step, levels)) for first in range(0, levels, step)
        ]

    def read(self, row: int, block: Block, cover: Cover, out: Float32) -> int:
        """Read a row.

        Args:
            row: Which.
            block: Which levels.
            cover: (n, ny, nx); where it is 0, `out` becomes 0.
            out: (n, ny, nx), contiguous.

        Returns:
            Number of covered values that are not finite.

        Raises:
            UserError: The chunk is damaged.
        """
        stored = self._chunks
        if stored is not None and not self._deep:
            path = stored.folder.joinpath("c", str(row), "0", "0")
            return read_chunk(path, stored.chunks[1:], out[0], cover[0])
        if stored is not None and block in self.blocks():
            place = str(block.first // stored.chunks[1])
            path = stored.folder.joinpath("c", str(row), place, "0", "0")
            return read_chunk(path, stored.chunks[1:], out, cover)
        values = np.asarray(self._array[row])
        out[...] = np.where(cover, values[block.levels] if self._deep else values, np.float32(0.0))
        return int(np.count_nonzero(~np.isfinite(out)))


class History:
    """Days of a period in the stores of state and forcing, without the gaps.

    Args:
        layout: Paths.
        names: Variables.
        period: Days.
        wet: (nz, ny, nx) ocean cells; forcing is read over land too.

    Raises:
        UserError: A store is missing, or lacks a day that it does not list as a gap, or a variable
            has no day at all.
    """

    def __init__(self, layout: Layout, names: Sequence[str], period: Period, wet: Mask) -> None:
        self.names = tuple(names)
        self._sea = np.ascontiguousarray(wet, np.uint8)
        self._everywhere = np.ones((1, *wet.shape[1:]), np.uint8)
        self._stores: dict[tuple[str, Path], BlockRows] = {}
        self._places: dict[str, dict[dt.date, tuple[Path, int]]] = {n: {} for n in self.names}
        for year in period.years:
            paths = {name: store_of(layout, name, year) for name in self.names}
            for path in dict.fromkeys(paths.values()):
                held = [name for name in self.names if paths[name] == path]
                self._open(path, held, period.days(year))
        for name, places in self._places.items():
            if not places:
                raise UserError(
                    f"periods.train ({period.start} to {period.end}): all days of variable {name} "
                    "are gaps; expected some with values: fetch them or change periods"
                )

    def _open(self, path: Path, names: Sequence[str], days: Sequence[dt.date]) -> None:
        arrays = open_arrays(path, [*names, "time"])
        gaps = store_gaps(path)
        rows = {int(t): row for row, t in enumerate(np.asarray(arrays["time"][:]))}
        held = [day for day in days if day_number(day) not in gaps]
        missing = [day for day in held if day_number(day) not in rows]
        if missing:
            raise UserError(
                f"{path}: variable {names[0]} lacks {missing[0]}, expected all days of the periods "
                "but those that the store lists as gaps: make the store again"
            )
        for name in names:
            self._stores[name, path] = BlockRows(name, arrays[name])
            self._places[name] |= {day: (path, rows[day_number(day)]) for day in held}

    def days(self, name: str) -> list[dt.date]:
        """Days that hold the variable, ascending."""
        return list(self._places[name])

    def positions(self, name: str) -> dict[float, list[dt.date]]:
        """Days that hold the variable by `day_of_year` (59.5 is 29 February), both ascending."""
        found: dict[float, list[dt.date]] = {}
        for day in self._places[name]:
            found.setdefault(day_of_year(day), []).append(day)
        return dict(sorted(found.items()))

    def blocks(self, name: str) -> list[Block]:
        """Blocks of a variable, from the surface down."""
        path, _ = next(iter(self._places[name].values()))
        return self._stores[name, path].blocks()

    def cover(self, block: Block) -> Cover:
        """(n, ny, nx) 1 in cells that count, 0 on the ocean's land."""
        if VARIABLES[block.name].role == "forcing":
            return self._everywhere
        return self._sea[block.levels]

    def shape(self, block: Block) -> tuple[int, int, int]:
        """(n, ny, nx)."""
        levels, ny, nx = self.cover(block).shape
        return levels, ny, nx

    def empty(self, name: str) -> Float32:
        """Unset values (nz, ny, nx) of all levels of a variable; nz is 1 without depth."""
        last = self.blocks(name)[-1]
        return np.empty((last.stop, *self.shape(last)[1:]), np.float32)

    def read(self, block: Block, day: dt.date, out: Float32) -> None:
        """Read a day.

        Args:
            block: Which variable and levels.
            day: One of `days`.
            out: (n, ny, nx), contiguous; 0 on land afterwards.

        Raises:
            UserError: A cell that counts has no value, or the chunk is damaged.
        """
        path, row = self._places[block.name][day]
        bad = self._stores[block.name, path].read(row, block, self.cover(block), out)
        if bad:
            raise UserError(
                f"{path}: variable {block.name} on {day} has no value in {bad} cells from level "
                f"{block.first} on that grid.nc calls wet; expected one in each: look with "
                "`hybridom store check` or make the store again"
            )


def store_of(layout: Layout, name: str, year: int) -> Path:
    """The year's store that holds a variable."""
    forcing = VARIABLES[name].role == "forcing"
    return layout.forcing_store(year) if forcing else layout.state_store(year)


def as_slab(fields: Mapping[str, Float32]) -> Slab:
    """Fields (nz, ny, nx) as stores take them: (ny, nx) for variables without depth."""
    return {n: x if VARIABLES[n].has_depth else x[0] for n, x in fields.items()}


def threads_for(largest: int) -> int:
    """Threads that may each hold `largest` bytes: one a core, fewer where memory would not do."""
    cores = min(MOST, usable_cores())
    return max(1, min(cores, WORKING_BYTES // max(largest, 1)))


class Workers:
    """Threads that are kept from call to call.

    Args:
        threads: Their number.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="climate")

    def __call__(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Results of `work` in the order of the items, a few being made ahead.

        Raises:
            Exception: The first of `work`; no item after it is begun.
        """
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(self._pool.submit(work, item))
                if len(waiting) > 2 * self._threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
            wait(waiting)
