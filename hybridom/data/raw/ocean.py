"""Ocean files: which file holds which day, and reading one day.

One daily mean a file, named and packed as GLORYS12V1 (doi 10.48670/moi-00021). What is read here is
always south to north, and west to east in [-180, 180).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hybridom.data.raw.axes import SourceAxes
from hybridom.data.raw.netcdf import Float32, SourceFile
from hybridom.errors import UserError
from hybridom.variables import VARIABLES

OCEAN_FILE = re.compile(r"mercatorglorys12v1_gl12_mean_(\d{8})_R\d{8}\.nc")


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
