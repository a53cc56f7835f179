"""Raw daily files: which file holds which day, and reading one day.

Two kinds of source are known. Ocean: one daily mean a file, named and packed as GLORYS12V1
(doi 10.48670/moi-00021). Atmosphere: NetCDF files of ERA5 single levels, split in any way by time
or variable, with daily or sub-daily instantaneous values. Latitudes may run either way and
longitudes from -180 or from 0; what is read here is always south to north, and west to east in
[-180, 180).
"""

from __future__ import annotations

import datetime as dt
import itertools
import re
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridom.data.axes import SourceAxes
from hybridom.data.netcdf import Float32, SourceFile
from hybridom.errors import UserError
from hybridom.variables import VARIABLES

OCEAN_FILE = re.compile(r"mercatorglorys12v1_gl12_mean_(\d{8})_R\d{8}\.nc")
OPEN_FILES = 4  # of the atmosphere: one a variable is the usual split


@dataclass(frozen=True)
class OceanFiles:
    """Days and their files, from the names alone.

    Attributes:
        folder: Where the files lie, at any depth.
        by_day: Files of each day; more than one is an error once that day is needed.
    """

    folder: Path
    by_day: dict[dt.date, list[Path]]

    @classmethod
    def scan(cls, folder: Path) -> OceanFiles:
        """Find the files.

        Raises:
            UserError: There is no such folder or no such file in it.
        """
        by_day: dict[dt.date, list[Path]] = {}
        for path in sorted(folder.rglob("*.nc")):
            if match := OCEAN_FILE.fullmatch(path.name):
                day = dt.datetime.strptime(match[1], "%Y%m%d").date()
                by_day.setdefault(day, []).append(path)
        if not by_day:
            raise UserError(
                f"{folder}: no ocean file; expected names such as "
                "mercatorglorys12v1_gl12_mean_20010101_R20010103.nc: run `hybridom twin` or set "
                "source.ocean_dir"
            )
        return cls(folder, by_day)

    def problem(self, day: dt.date) -> str | None:
        """Why a day cannot be read, in one line: its file is missing or there are several."""
        paths = self.by_day.get(day, [])
        if not paths:
            return (
                f"{self.folder}: no file mercatorglorys12v1_gl12_mean_{day:%Y%m%d}_R*.nc, all "
                f"ocean variables are missing on {day}: expected one file a day, fetch or make it"
            )
        if len(paths) > 1:
            return (
                f"{paths[1]}: duplicate of {paths[0].name}, both hold all ocean variables on "
                f"{day}: expected one file a day, remove one"
            )
        return None

    def path(self, day: dt.date) -> Path:
        """The file of a day.

        Raises:
            UserError: It is missing, or there are several.
        """
        problem = self.problem(day)
        if problem:
            raise UserError(problem)
        return self.by_day[day][0]


def read_ocean(
    path: Path, day: dt.date, names: Sequence[str], axes: SourceAxes, levels: NDArray[np.intp]
) -> dict[str, Float32]:
    """Read one daily file.

    Args:
        path: The file.
        day: Its day.
        names: Variables to read.
        axes: Axes that the file must have.
        levels: Indices on the depth axis, ascending.

    Returns:
        Name -> (levels, nlat, nlon), one level for variables without depth; NaN where missing.

    Raises:
        UserError: The file, a variable in it, its axes or its day are not as expected.
    """
    with SourceFile(path, day) as file:
        problem = file.axes_problem(axes) or day_problem(file, day)
        if problem:
            raise UserError(problem)
        # One contiguous range: separate levels would unpack a chunk of several levels repeatedly.
        deepest = slice(int(levels[0]), int(levels[-1]) + 1)
        fields = {}
        for name in names:
            if not VARIABLES[name].has_depth:
                fields[name] = file.read(name, day, (slice(0, 1),))
                continue
            slab = file.read(name, day, (0, deepest))
            fields[name] = slab if len(slab) == len(levels) else slab[levels - levels[0]]
    return fields


def day_problem(file: SourceFile, day: dt.date) -> str | None:
    """Whether a daily ocean file holds another day than its name says, in one line."""
    try:
        days = [time.date() for time in file.times]
    except UserError as e:
        return str(e)
    if days == [day]:
        return None
    return (
        f"{file.path}: the time axis of all variables holds {', '.join(map(str, days)) or 'none'}; "
        f"expected one daily mean of {day}: fetch or make the file again"
    )


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
