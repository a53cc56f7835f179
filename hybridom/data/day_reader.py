"""Days of ocean, atmosphere and climatology, read from the prepared stores.

Values are in physical units, at cell centres, float32, with 0 on land.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hybridom.config import Period
from hybridom.data.days import DAYS_IN_YEAR, as_date, climatology_rows, day_number
from hybridom.data.stores import open_arrays, store_gaps, store_grid_hash
from hybridom.data.stores.fetching import Cover, Job, MemoryRows, Rows, rows_of, run
from hybridom.errors import UserError
from hybridom.grid import Grid
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]
Fields = dict[str, Float32]
Day = dt.date | np.datetime64 | int
Kind = Literal["state", "forcing", "climatology", "forcing_climatology"]
Jobs = list[tuple[Path, Job]]

KINDS: tuple[Kind, ...] = ("state", "forcing", "climatology", "forcing_climatology")


class DayReader:
    """Reads state, forcing and climatology, a day or a window of days at a time.

    Nothing is opened before the first day is asked for, so that a reader can be sent to loader
    processes.

    Args:
        layout: Paths.
        grid: Model grid; stores of another grid are refused.
        wet: (nz, ny, nx) wet cells.
        forcing_names: Forcing variables.
        cache: `memory` keeps every year of the period, and the climatology, once it was read;
            `none` reads what is asked for.
        period: Days that may be asked for.
        threads: Threads that read and decode; None for one a core, 8 at most.
    """

    def __init__(
        self,
        layout: Layout,
        grid: Grid,
        wet: Mask,
        forcing_names: Sequence[str],
        cache: Literal["memory", "none"],
        period: Period,
        threads: int | None = None,
    ) -> None:
        self._layout, self._grid = layout, grid
        self._sea = np.ascontiguousarray(wet, np.uint8)
        self._everywhere = np.ones(wet.shape[1:], np.uint8)
        self._forcing_names = tuple(forcing_names)
        self._cache, self._period, self._threads = cache, period, threads
        self._opened: dict[tuple[Kind, Path], dict[str, Rows]] = {}
        self._shapes: dict[tuple[Kind, Path], dict[str, tuple[int, ...]]] = {}
        self._days: dict[Path, dict[int, int]] = {}
        self._gaps: dict[Path, frozenset[int]] = {}

    def state(self, day: Day) -> Fields:
        """Ocean state of a day: variable -> ([nz,] ny, nx).

        Raises:
            UserError: The day lies outside the period, or is a gap, or its store is missing.
        """
        return self._one("state", day)

    def forcing(self, day: Day) -> Fields:
        """Forcing of a day: variable -> (ny, nx). Raises as `state`."""
        return self._one("forcing", day)

    def climatology(self, day: Day) -> Fields:
        """Climatological state of a day: variable -> ([nz,] ny, nx).

        29 February is the mean of 28 February and 1 March.

        Raises:
            UserError: The store is missing.
        """
        return self._one("climatology", day)

    def forcing_climatology(self, day: Day) -> Fields:
        """Climatological forcing of a day: variable -> (ny, nx). As `climatology`."""
        return self._one("forcing_climatology", day)

    def window(self, start: Day, days: int) -> dict[Kind, Fields]:
        """Consecutive days of everything, each day and climatological day being read once.

        Args:
            start: First day.
            days: Their number.

        Returns:
            Kind -> variable -> (days, [nz,] ny, nx), owned by the caller.

        Raises:
            UserError: As `state`.
        """
        first = day_number(as_date(start))
        return self._read(KINDS, range(first, first + days))

    def days_without_data(self, period: Period) -> list[int]:
        """Days of a period, as numbers since 1970-01-01, that state or forcing lack.

        Raises:
            UserError: A store is missing.
        """
        lacking = set()
        for year in period.years:
            numbers = {day_number(day) for day in period.days(year)}
            for path in (self._layout.state_store(year), self._layout.forcing_store(year)):
                lacking |= numbers - (self._days_of(path).keys() - self._gaps[path])
        return sorted(lacking)

    def _one(self, kind: Kind, day: Day) -> Fields:
        number = day_number(as_date(day))
        found = self._read([kind], range(number, number + 1))[kind]
        return {name: values[0] for name, values in found.items()}

    def _read(self, kinds: Sequence[Kind], numbers: range) -> dict[Kind, Fields]:
        found: dict[Kind, Fields] = {}
        jobs: Jobs = []
        means: list[LeapDays] = []
        for kind in kinds:
            if kind in ("state", "forcing"):
                found[kind], work = self._dated(kind, numbers)
            else:
                found[kind], work, mean = self._seasonal(kind, numbers)
                means.append(mean)
            jobs += work
        self._run(jobs)
        for mean in means:
            mean.apply()
        return found

    def _run(self, jobs: Jobs) -> None:
        """Do the jobs; all kinds and variables share the threads.

        Raises:
            UserError: A kept cell has no value; it names store, variable, row and number.
        """
        paths = {id(job): path for path, job in jobs}
        bad = run([job for _, job in jobs], self._threads)
        if not bad:
            return
        job, path = bad[0][0], paths[id(bad[0][0])]
        count = sum(n for x, n in bad if x.name == job.name and paths[id(x)] == path)
        raise UserError(
            f"{path}: variable {job.name} has wet cells without value from entry {job.row} on "
            f"({count} in what was read); expected the mask of {self._layout.grid_file}: prepare "
            "it again"
        )

    def _dated(self, kind: Kind, numbers: range) -> tuple[Fields, Jobs]:
        """Arrays for consecutive days, and the work that fills them."""
        spans = [(self._path(kind, year), span) for year, span in self._by_year(numbers)]
        out = self._empty(kind, spans[0][0], len(numbers))
        jobs: Jobs = []
        for path, span in spans:
            row = self._require(path, span)
            place = slice(span[0] - numbers[0], span[-1] - numbers[0] + 1)
            jobs += self._jobs(kind, path, row, {name: x[place] for name, x in out.items()})
        return out, jobs

    def _by_year(self, numbers: range) -> Iterator[tuple[int, range]]:
        """Consecutive days cut at new years, outside the period refused."""
        first, last = as_date(numbers[0]), as_date(numbers[-1])
        for date in (first, last):
            if not self._period.start <= date <= self._period.end:
                raise UserError(
                    f"day {date} lies outside the period {self._period.start} to "
                    f"{self._period.end} that is read; expected a day inside: change periods in "
                    "the configuration"
                )
        for year in range(first.year, last.year + 1):
            begin = max(numbers[0], day_number(dt.date(year, 1, 1)))
            end = min(numbers[-1], day_number(dt.date(year, 12, 31)))
            yield year, range(begin, end + 1)

    def _require(self, path: Path, span: range) -> int:
        """Row of the first of consecutive days that all have data."""
        rows = self._days_of(path)
        absent = [n for n in span if n not in rows]
        if absent or rows[span[-1]] - rows[span[0]] != len(span) - 1:
            dates = f"{as_date(span[0])} to {as_date(span[-1])}"
            raise UserError(
                f"{path}: not all days from {dates} are in the store; expected all days of the "
                "periods: run the `hybridom prepare` stage again"
            )
        if gaps := sorted(self._gaps[path].intersection(span)):
            raise UserError(
                f"{path}: {as_date(gaps[0])} is a gap, nothing was prepared for it; expected days "
                "with data: take other days, or fetch its raw files and prepare the year again"
            )
        return rows[span[0]]

    def _seasonal(self, kind: Kind, numbers: range) -> tuple[Fields, Jobs, LeapDays]:
        """Arrays for the climatology of consecutive days, and the work that fills them."""
        path = self._layout.climatology_store
        pairs = [climatology_rows(as_date(number)) for number in numbers]
        places: dict[int, int] = {}
        for place, (before, after) in enumerate(pairs):
            if before == after:
                places.setdefault(before, place)
        # 29 February needs its neighbours, which may lie outside the window.
        outside = sorted({row for pair in pairs for row in pair} - places.keys())
        out = self._empty(kind, path, len(pairs))
        extra = self._empty(kind, path, len(outside)) if outside else {}
        jobs: Jobs = []
        for row, run_of in _runs(places):
            part = slice(places[row], places[row] + run_of)
            jobs += self._jobs(kind, path, row, {name: x[part] for name, x in out.items()})
        for place, row in enumerate(outside):
            part = slice(place, place + 1)
            jobs += self._jobs(kind, path, row, {name: x[part] for name, x in extra.items()})
        return out, jobs, LeapDays(pairs, places, outside, out, extra)

    def _jobs(self, kind: Kind, path: Path, row: int, out: Fields) -> Jobs:
        rows = self._rows(kind, path)
        return [
            (path, job)
            for name, x in out.items()
            for job in rows[name].jobs(row, x, self._cover(kind, x.ndim))
        ]

    def _cover(self, kind: Kind, dimensions: int) -> Cover:
        if kind in ("forcing", "forcing_climatology"):
            return self._everywhere
        return self._sea if dimensions == 4 else self._sea[0]

    def _empty(self, kind: Kind, path: Path, count: int) -> Fields:
        # NumPy asks for large pages, PyTorch does not, and filling small ones takes as long as
        # reading.
        self._rows(kind, path)
        shapes = self._shapes[kind, path]
        return {name: np.empty((count, *shape[1:]), np.float32) for name, shape in shapes.items()}

    def _rows(self, kind: Kind, path: Path) -> dict[str, Rows]:
        if (kind, path) not in self._opened:
            names = PROGNOSTIC if kind in ("state", "climatology") else self._forcing_names
            found = store_grid_hash(path)
            if found != self._grid.hash:
                raise UserError(
                    f"{path}: made for grid {found}, expected {self._grid.hash} of "
                    f"{self._layout.grid_file}: run the `hybridom prepare` stages again"
                )
            arrays = open_arrays(path, names)
            self._shapes[kind, path] = {name: tuple(x.shape) for name, x in arrays.items()}
            self._opened[kind, path] = {name: rows_of(name, x) for name, x in arrays.items()}
            if self._cache == "memory":
                self._opened[kind, path] = self._in_memory(kind, path)
        return self._opened[kind, path]

    def _in_memory(self, kind: Kind, path: Path) -> dict[str, Rows]:
        """The rows of a store that the period needs, read now; those of gaps are left unread."""
        if kind in ("climatology", "forcing_climatology"):
            wanted = list(range(DAYS_IN_YEAR))
        else:
            first, last = day_number(self._period.start), day_number(self._period.end)
            days, gaps = self._days_of(path), self._gaps[path]
            wanted = [days[n] for n in sorted(days) if first <= n <= last and n not in gaps]
        shift = wanted[0] if wanted else 0
        held = self._empty(kind, path, wanted[-1] - shift + 1 if wanted else 0)
        jobs: Jobs = []
        for row, count in _runs({row: row for row in wanted}):
            part = slice(row - shift, row - shift + count)
            jobs += self._jobs(kind, path, row, {name: x[part] for name, x in held.items()})
        self._run(jobs)
        return {name: MemoryRows(name, values, shift) for name, values in held.items()}

    def _path(self, kind: Kind, year: int) -> Path:
        return (
            self._layout.state_store(year) if kind == "state" else self._layout.forcing_store(year)
        )

    def _days_of(self, path: Path) -> dict[int, int]:
        """Day -> row of a store of a year, gaps included; they are then in `_gaps`."""
        if path not in self._days:
            times = np.asarray(open_arrays(path, ["time"])["time"][:])
            self._days[path] = {int(t): row for row, t in enumerate(times)}
            self._gaps[path] = store_gaps(path)
        return self._days[path]


class LeapDays:
    """What is left to do once the rows of a climatology lie in a window's arrays.

    Args:
        pairs: For each day of the window the two rows whose mean it is.
        places: Row -> its place in `out`.
        outside: Rows in `extra`.
        out: Variable -> (days, ...).
        extra: Variable -> (len(outside), ...).
    """

    def __init__(
        self,
        pairs: Sequence[tuple[int, int]],
        places: dict[int, int],
        outside: Sequence[int],
        out: Fields,
        extra: Fields,
    ) -> None:
        self._pairs, self._places, self._outside = pairs, places, outside
        self._out, self._extra = out, extra

    def apply(self) -> None:
        """Fill 29 February, and days whose row an earlier day of the window holds."""
        for name, out in self._out.items():

            def held(row: int, name: str = name, out: Float32 = out) -> Float32:
                if row in self._places:
                    return out[self._places[row]]
                return self._extra[name][self._outside.index(row)]

            for place, (before, after) in enumerate(self._pairs):
                if before != after:
                    out[place] = np.float32(0.5) * (held(before) + held(after))
                elif self._places[before] != place:
                    out[place] = held(before)


def _runs(places: dict[int, int]) -> Iterator[tuple[int, int]]:
    """First row and length of stretches whose rows and places both ascend by one."""
    start, count = -1, 0
    for row in sorted(places):
        if count and row == start + count and places[row] == places[start] + count:
            count += 1
            continue
        if count:
            yield start, count
        start, count = row, 1
    if count:
        yield start, count
