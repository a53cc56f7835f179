"""Daily climatology as running means over a window of days around each day of the year.

First come the means over the years, row by row of the 365-day year; 29 February counts half in the
row of 28 February and half in that of 1 March, so that the days of leap years keep their place in
the seasons. Then the rows of a window, which runs around the year, are averaged; a row for which
the training period holds no day is left out of them.

The rows around the one that is due are kept as files: each day of the stores is read once, and
memory holds one running sum for each variable. The sums are of whole numbers, see `add_whole`: a
row has the same bytes wherever a resumed run begins.
"""

from __future__ import annotations

import datetime as dt
import itertools
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hybridom.data.days import DAYS_IN_YEAR, climatology_rows
from hybridom.data.history import Block, Float32, History, Workers, as_slab, threads_for
from hybridom.data.stores import Slab
from hybridom.data.sums import add, add_whole, covered
from hybridom.errors import UserError
from hybridom.progress import track
from hybridom.variables import VARIABLES

Float64 = NDArray[np.float64]

# Means are summed in units of the variable's largest plausible value times 2^-STEPS: far finer than
# float32, and the sum of 181 values is an exact float64 even for values 100 times as large.
STEPS = 36


def samples(days: Sequence[dt.date]) -> list[dict[dt.date, float]]:
    """Days that enter each row's mean over the years, with their weights.

    Args:
        days: Days, ascending.

    Returns:
        365 dictionaries; 29 February has weight 1/2 in two of them, all other days 1 in one.
    """
    found: list[dict[dt.date, float]] = [{} for _ in range(DAYS_IN_YEAR)]
    for day in days:
        rows = set(climatology_rows(day))
        for row in rows:
            found[row][day] = 1.0 / len(rows)
    return found


def window_rows(row: int, window: int) -> list[int]:
    """Rows of the window around a row, the year being a circle."""
    half = window // 2
    return [(row + n) % DAYS_IN_YEAR for n in range(-half, half + 1)]


def require_samples(days: Sequence[dt.date], window: int, name: str) -> None:
    """Refuse days that leave a window empty.

    Raises:
        UserError: A window holds no day at all.
    """
    held = {row for row, entering in enumerate(samples(days)) if entering}
    for row in range(DAYS_IN_YEAR):
        if held.isdisjoint(window_rows(row, window)):
            day = dt.date(2001, 1, 1) + dt.timedelta(row)
            raise UserError(
                f"climatology.window is {window}, but for variable {name} periods.train, without "
                f"gaps, holds no day within {window // 2} days of {day:%d %B}; expected at least "
                "one: use a wider window, or climatology.harmonics 0 for the time mean"
            )


class WindowRows:
    """Rows of the climatology, with the means over the years kept in files while they are needed.

    Args:
        history: Days of the training period.
        window: Days, odd.
        folder: Takes one file for each row of means; those that are there are used.

    Raises:
        UserError: A window holds no day.
    """

    def __init__(self, history: History, window: int, folder: Path) -> None:
        self._history, self._window, self._folder = history, window, folder
        self._samples = {name: samples(history.days(name)) for name in history.names}
        for name in history.names:
            require_samples(history.days(name), window, name)
        self._blocks = [block for name in history.names for block in history.blocks(name)]
        sizes = [4 * math.prod(history.shape(block)) for block in self._blocks]
        self._offsets = dict(zip(self._blocks, itertools.accumulate([0, *sizes]), strict=False))
        self._workers = Workers(threads_for(6 * max(sizes)))

    def slabs(self, indices: Sequence[int]) -> Iterator[Slab]:
        """Rows (0...364) of all variables, float32, NaN on land.

        Raises:
            UserError: A day lacks values.
        """
        if not indices:
            return iter(())
        self._folder.mkdir(parents=True, exist_ok=True)
        first = window_rows(indices[0], self._window)
        for row in track(first, label="climatology: first window"):
            self._average(row)
        return self._rows(indices)

    def _rows(self, indices: Sequence[int]) -> Iterator[Slab]:
        last_use = {
            row: place
            for place, index in enumerate(indices)
            for row in window_rows(index, self._window)
        }
        totals = {n: np.zeros(self._history.empty(n).shape) for n in self._history.names}
        inside: set[int] = set()
        for place, index in enumerate(indices):
            wanted = set(window_rows(index, self._window))
            for row in sorted(wanted - inside):
                self._average(row)
                self._add(row, 1.0, totals)
            for row in sorted(inside - wanted):
                self._add(row, -1.0, totals)
                if last_use[row] < place:
                    self._file(row).unlink()
            inside = wanted
            yield self._slab(sorted(wanted), totals)

    def _file(self, row: int) -> Path:
        return self._folder / f"{row:03d}.float32"

    def _average(self, row: int) -> None:
        """Write the means over the years of a row, block after block, unless they are there."""
        if self._file(row).exists():
            return

        def mean(block: Block) -> Float32:
            weights = self._samples[block.name][row]
            values = np.zeros(self._history.shape(block), np.float32)
            total = np.zeros(values.size)
            for day, weight in weights.items():
                self._history.read(block, day, values)
                add(values.reshape(-1), weight / sum(weights.values()), total)
            return total.astype(np.float32)

        temporary = self._folder / "row.partial"
        with temporary.open("wb") as file:
            for means in self._workers(mean, self._blocks):
                means.tofile(file)
        os.replace(temporary, self._file(row))

    def _add(self, row: int, sign: float, totals: dict[str, Float64]) -> None:
        def change(block: Block) -> None:
            total = totals[block.name][block.levels].reshape(-1)
            values = np.fromfile(
                self._file(row), np.float32, count=total.size, offset=self._offsets[block]
            )
            add_whole(values, 1.0 / unit(block.name), sign, total)

        due = [block for block in self._blocks if self._samples[block.name][row]]
        for _ in self._workers(change, due):
            pass

    def _slab(self, rows: Sequence[int], totals: dict[str, Float64]) -> Slab:
        fields = {name: self._history.empty(name) for name in self._history.names}

        def mean(block: Block) -> None:
            count = sum(1 for row in rows if self._samples[block.name][row])
            total = totals[block.name][block.levels].reshape(-1)
            cover = self._history.cover(block).reshape(-1)
            out = fields[block.name][block.levels].reshape(-1)
            covered(total, unit(block.name) / count, cover, out)

        for _ in self._workers(mean, self._blocks):
            pass
        return as_slab(fields)


def unit(name: str) -> float:
    """Power of two that means of a variable are whole multiples of when they are summed."""
    variable = VARIABLES[name]
    largest = max(abs(variable.valid_min), abs(variable.valid_max))
    return float(2.0 ** (math.ceil(math.log2(largest)) - STEPS))
