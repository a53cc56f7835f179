"""Atmosphere files: which sample of which day lies where, and daily means.

NetCDF files of ERA5 single levels, split in any way by time or variable, with daily or sub-daily
instantaneous values. Latitudes may run either way and longitudes from -180 or from 0; what is read
here is always south to north, and west to east in [-180, 180).
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridom.data.raw.axes import SourceAxes
from hybridom.data.raw.netcdf import Float32, SourceFile
from hybridom.errors import UserError

OPEN_FILES = 4  # one a variable is the usual split


class Sample(NamedTuple):
    """One time step of one variable of the atmosphere."""

    time: dt.datetime
    path: Path
    step: int


@dataclass(frozen=True)
class ForcingFiles:
    """Samples of each variable and day, from the headers alone.

    Attributes:
        folder: Where the files lie, at any depth.
        samples: Variable -> day -> samples in order of time.
        per_day: Variable -> its usual number of samples a day; 0 where no file holds it.
        unreadable: One line for each file that could not be opened.
    """

    folder: Path
    samples: dict[str, dict[dt.date, list[Sample]]]
    per_day: dict[str, int] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)

    @classmethod
    def scan(cls, folder: Path, names: Sequence[str]) -> ForcingFiles:
        """Read the headers of all NetCDF files.

        Raises:
            UserError: There is no such folder or no NetCDF file in it.
        """
        found = cls(folder, {name: {} for name in names})
        paths = sorted(folder.rglob("*.nc"))
        if not paths:
            raise UserError(
                f"{folder}: no atmosphere file (*.nc); run `hybridom twin` or set "
                "source.forcing_dir"
            )
        for path in paths:
            try:
                with SourceFile(path) as file:
                    held = [name for name in names if file.variable(name) is not None]
                    times = file.times if held else []
            except UserError as e:
                found.unreadable.append(str(e))
                continue
            for name in held:
                for step, time in enumerate(times):
                    days = found.samples[name]
                    days.setdefault(time.date(), []).append(Sample(time, path, step))
        for name, days in found.samples.items():
            for samples in days.values():
                samples.sort(key=lambda s: s.time)
            counts = Counter(len({s.time for s in samples}) for samples in days.values())
            found.per_day[name] = counts.most_common(1)[0][0] if counts else 0
        return found

    def problem(self, name: str, day: dt.date) -> str | None:
        """Why a day of a variable cannot be averaged, in one line."""
        if not self.samples[name]:
            return f"{self.folder}: variable {name} is absent from all files on {day}: fetch it"
        samples = self.samples[name].get(day, [])
        if not samples:
            return (
                f"{self.folder}: no file holds variable {name} on {day}: expected "
                f"{self.per_day[name]} samples, fetch that day"
            )
        for a, b in itertools.pairwise(samples):
            if a.time == b.time:
                return (
                    f"{b.path}: variable {name} on {day}: duplicate of {a.time:%H:%M} UTC in "
                    f"{a.path.name}: expected each time once, remove one"
                )
        if len(samples) != self.per_day[name]:
            return (
                f"{samples[0].path}: variable {name} on {day} has {len(samples)} samples, "
                f"expected {self.per_day[name]} as on the other days: fetch that day again"
            )
        return None


class ForcingReader:
    """Reads daily means of the atmosphere; a context manager that keeps a few files open.

    Args:
        files: The index.
        axes: Axes that all files must have.
    """

    def __init__(self, files: ForcingFiles, axes: SourceAxes) -> None:
        self._files = files
        self._axes = axes
        self._open: OrderedDict[Path, SourceFile] = OrderedDict()

    def __enter__(self) -> ForcingReader:
        return self

    def __exit__(self, *_: object) -> None:
        while self._open:
            self._open.popitem()[1].close()

    def _file(self, path: Path) -> SourceFile:
        if path not in self._open:
            if len(self._open) == OPEN_FILES:
                self._open.popitem(last=False)[1].close()
            self._open[path] = SourceFile(path)
            problem = self._open[path].axes_problem(self._axes)
            if problem:
                raise UserError(problem)
        self._open.move_to_end(path)
        return self._open[path]

    def sample(self, name: str, day: dt.date, position: int) -> Float32:
        """One sample of a day, (nlat, nlon)."""
        _, path, step = self._files.samples[name][day][position]
        return self._file(path).read(name, day, (step,))

    def daily_mean(self, name: str, day: dt.date) -> NDArray[np.float64]:
        """Mean over the samples of a UTC day, (nlat, nlon).

        Raises:
            UserError: Samples are missing, double or unreadable.
        """
        problem = self._files.problem(name, day)
        if problem:
            raise UserError(problem)
        total = self.sample(name, day, 0).astype(np.float64)
        count = len(self._files.samples[name][day])
        for position in range(1, count):
            total += self.sample(name, day, position)
        return total / count
