"""Reading the atmosphere: daily means, each stored chunk decompressed once.

ERA5 files are chunked over several days as often as by fields. A layer of chunks is therefore read
whole, band by band, and added to the sums of all days that it touches, which wait for their turn:
days read in order cost each chunk once, and memory holds a band and a field for each waiting day.
"""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hybridom.data.raw.axes import SourceAxes
from hybridom.data.raw.forcing_files import ForcingFiles, open_source
from hybridom.data.raw.forcing_samples import day_number
from hybridom.data.raw.forcing_sources import READ_BYTES, ForcingSource
from hybridom.data.raw.netcdf import Float32
from hybridom.data.raw.packed import PackedField
from hybridom.errors import UserError

Float64 = NDArray[np.float64]

OPEN_FILES = 16  # one a variable is the usual split, and two at the turn of a month
DAYS_AHEAD = 16  # days that may wait; layers that span more are read again for the next ones


class _Sum:
    """Part of the sum over a day: the layers of one file that are in it."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.total = np.zeros(shape)
        self.layers: set[int] = set()


class ForcingReader:
    """Reads daily means of the atmosphere; a context manager that keeps a few files open.

    Not to be used by several threads at the same time.

    Args:
        files: The index.
        axes: Axes that all files must have.
    """

    def __init__(self, files: ForcingFiles, axes: SourceAxes) -> None:
        self._files = files
        self._axes = axes
        self._open: OrderedDict[Path, ForcingSource] = OrderedDict()
        self._sums: dict[str, dict[tuple[Path, int], _Sum]] = {}
        self._ahead: dict[str, dict[tuple[Path, int], Float32]] = {}

    def __enter__(self) -> ForcingReader:
        return self

    def __exit__(self, *_: object) -> None:
        while self._open:
            self._open.popitem()[1].close()

    def _source(self, path: Path, name: str, day: dt.date) -> ForcingSource:
        if path not in self._open:
            if len(self._open) == OPEN_FILES:
                self._open.popitem(last=False)[1].close()
            self._open[path] = open_source(path)
            problem = self._open[path].axes_problem(self._axes)
            if problem:
                raise UserError(problem)
        self._open.move_to_end(path)
        if problem := self._open[path].header_problem(name, day):
            raise UserError(problem)
        return self._open[path]

    def sample(self, name: str, day: dt.date, position: int) -> Float32:
        """One sample of a day in order of time, (nlat, nlon).

        Where several days are stored together, theirs are kept for the next calls.

        Raises:
            UserError: It is unreadable or in another unit.
        """
        held = self._files.samples[name][day][position]
        key = (held.path, held.step)
        if key not in self._ahead.get(name, {}):
            self._ahead[name] = self._read_alike(name, day, position)
        return self._ahead[name][key]

    def _read_alike(
        self, name: str, day: dt.date, position: int
    ) -> dict[tuple[Path, int], Float32]:
        """A sample, and those at the same hour of the next days in the same layer."""
        series = self._files.samples[name]
        held = series[day][position]
        source = self._source(held.path, name, day)
        layer = source.layer(name)
        first = held.step // layer * layer
        days = (day_number(day), day_number(day) + DAYS_AHEAD)
        steps, _, seconds = series.within(held.path, first, first + layer, days)
        steps = steps[seconds == seconds[steps == held.step][0]]
        fields = {(held.path, int(s)): np.empty(self._shape, np.float32) for s in steps}
        last = int(min(first + layer, source.size(name)))
        for rows, packed in source.bands(name, day, first, last):
            for (_, step), values in fields.items():
                one = packed._replace(raw=packed.raw[step - first])
                values[rows] = source.orientation.turn(one.unpack())
        return fields

    @property
    def _shape(self) -> tuple[int, int]:
        return self._axes.lat.size, self._axes.lon.size

    def daily_mean(self, name: str, day: dt.date) -> Float64:
        """Mean over a UTC day, (nlat, nlon); NaN where a sample has no value.

        Days are read fastest in order.

        Raises:
            UserError: Samples are missing, double or unreadable.
        """
        problem = self._files.problem(name, day)
        if problem:
            raise UserError(problem)
        samples = self._files.samples[name][day]
        number = day_number(day)
        sums = self._sums.setdefault(name, {})
        for key in [k for k in sums if not number <= k[1] < number + DAYS_AHEAD]:
            del sums[key]
        paths = dict.fromkeys(sample.path for sample in samples)
        for path in paths:
            steps = [sample.step for sample in samples if sample.path == path]
            self._complete(name, day, path, steps)
        total = sum((sums.pop((path, number)).total for path in paths), np.zeros(self._shape))
        return total / len(samples)

    def _complete(self, name: str, day: dt.date, path: Path, steps: Sequence[int]) -> None:
        """Read the layers of a file that a day still lacks."""
        source = self._source(path, name, day)
        layer, size = source.layer(name), source.size(name)
        done = self._sum(name, path, day_number(day)).layers
        lacking = sorted({step // layer for step in steps} - done)
        nlat, nlon = self._shape
        together = max(1, READ_BYTES // (layer * nlat * nlon * 4))
        for first, last in _runs(lacking, together):
            try:
                self._add(source, name, day, (first * layer, min(last * layer, size)))
            except UserError:
                del self._sums[name]  # half added
                raise

    def _sum(self, name: str, path: Path, number: int) -> _Sum:
        return self._sums[name].setdefault((path, number), _Sum(self._shape))

    def _add(self, source: ForcingSource, name: str, day: dt.date, steps: tuple[int, int]) -> None:
        """Add whole layers to the sums of this day and of those after it."""
        layer, number = source.layer(name), day_number(day)
        window = (number, number + DAYS_AHEAD)
        held, days, _ = self._files.samples[name].within(source.path, *steps, window)
        parts = []
        for other in np.unique(days):
            found = self._sum(name, source.path, int(other))
            here = held[(days == other) & ~np.isin(held // layer, list(found.layers))]
            parts.append((found, here))
        for rows, packed in source.bands(name, day, *steps):
            for found, here in parts:
                if here.size:
                    some = packed._replace(raw=_pick(packed.raw, here - steps[0]))
                    found.total[rows] += source.orientation.turn(_total(some))
        for found, here in parts:
            found.layers.update((here // layer).tolist())


def _runs(numbers: Sequence[int], longest: int) -> Iterator[tuple[int, int]]:
    """First and one past the last of each run of ascending neighbours, no longer than `longest`."""
    first = previous = None
    for number in numbers:
        if first is None or previous is None:
            first = number
        elif number != previous + 1 or number - first == longest:
            yield first, previous + 1
            first = number
        previous = number
    if first is not None and previous is not None:
        yield first, previous + 1


def _pick(raw: NDArray, steps: NDArray[np.int64]) -> NDArray:
    """Some steps (n, rows, nlon), without a copy where they are neighbours."""
    if steps[-1] - steps[0] + 1 == steps.size and np.all(np.diff(steps) == 1):
        return raw[steps[0] : steps[-1] + 1]
    return raw[steps]


def _total(packed: PackedField) -> Float64:
    """Sum over steps (rows, nlon), NaN where one of them has no value."""
    exact = np.int64 if packed.raw.dtype.kind in "iu" else np.float64
    total = packed.raw.sum(axis=0, dtype=exact) * packed.scale + len(packed.raw) * packed.offset
    for marker in packed.missing:
        total[(packed.raw == marker).any(axis=0)] = np.nan
    return total
