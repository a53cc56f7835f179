"""Are the raw files of a year complete and plausible? Asked before any long work starts."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hybridom import __version__
from hybridom.config import Config, StageConfig
from hybridom.data.raw.axes import SourceAxes
from hybridom.data.raw.forcing import ForcingFiles, ForcingReader
from hybridom.data.raw.netcdf import Float32, SourceFile
from hybridom.data.raw.ocean import OceanFiles, day_problem
from hybridom.data.stores import write_json
from hybridom.errors import UserError
from hybridom.layout import Layout
from hybridom.progress import track
from hybridom.variables import PROGNOSTIC, VARIABLES

log = logging.getLogger(__name__)

Mask = NDArray[np.bool_]

SHOWN = 10  # problems printed; the rest is counted


def value_problem(
    values: NDArray[np.floating], wet: Mask | None, name: str, when: dt.date, path: Path
) -> str | None:
    """What is wrong with values, in one line: gaps in the ocean, or a range of another unit.

    Args:
        values: (..., nlat, nlon), NaN where missing.
        wet: Same shape or broadcastable, True where a value is needed; None: everywhere.
        name: Variable.
        when: Day.
        path: File.
    """
    gaps = ~np.isfinite(values)
    if wet is not None:
        gaps &= wet
    if gaps.any():
        needed = gaps.size if wet is None else int(np.broadcast_to(wet, gaps.shape).sum())
        return (
            f"{path}: variable {name} on {when} holds no value (NaN) in {int(gaps.sum())} of "
            f"{needed} cells that need one; expected values wherever the first file has them: "
            "fetch or make the file again"
        )
    variable = VARIABLES[name]
    low, high = float(np.fmin.reduce(values, axis=None)), float(np.fmax.reduce(values, axis=None))
    if low < variable.valid_min or high > variable.valid_max:
        return (
            f"{path}: variable {name} on {when} runs from {low:g} to {high:g}; expected "
            f"{variable.valid_min:g} to {variable.valid_max:g} {variable.units}: it may be in "
            "another unit (Kelvin for Celsius?), convert it"
        )
    return None


def mask_problem(values: Float32, mask: Mask, name: str, when: dt.date, path: Path) -> str | None:
    """Whether a surface field covers other cells than in the first file, in one line."""
    found, expected = np.isfinite(values), mask
    fewer, more = int((expected & ~found).sum()), int((found & ~expected).sum())
    if not fewer and not more:
        return None
    return (
        f"{path}: variable {name} on {when} has {fewer} ocean cells without value (NaN) and {more} "
        f"land cells with one at the surface; expected the first file's mask of "
        f"{int(expected.sum())} cells: fetch or make the file again"
    )


@dataclass
class Findings:
    """What the check of a year has found so far.

    Attributes:
        problems: One line each.
        ranges: Variable -> lowest and highest surface value.
        files: Files looked into.
    """

    problems: list[str] = field(default_factory=list)
    ranges: dict[str, list[float]] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)

    def add(self, problem: str | None) -> bool:
        """Note a problem, if there is one; tells whether there was none."""
        if problem is not None and problem not in self.problems:
            self.problems.append(problem)
        return problem is None

    def widen(self, name: str, values: NDArray[np.floating]) -> None:
        """Extend the range of a variable."""
        low = float(np.fmin.reduce(values, axis=None))
        high = float(np.fmax.reduce(values, axis=None))
        old = self.ranges.get(name, [low, high])
        self.ranges[name] = [min(old[0], low), max(old[1], high)]


@dataclass(frozen=True)
class OceanReference:
    """The first ocean file, to which all others are compared.

    Attributes:
        axes: Its axes.
        masks: Variable -> (nlat, nlon) cells with a value in the uppermost level that is used.
        level: Index of that level.
    """

    axes: SourceAxes
    masks: dict[str, Mask]
    level: int


def check_year(config: Config | StageConfig, layout: Layout, year: int) -> None:
    """Check the raw files of all configured days of a year and write a report.

    Looked at: every day once; every file opens; variables, dimensions, units, axes and depths;
    values and gaps at the surface (the first sample of a day for the atmosphere). Deeper levels and
    the other samples are looked at when they are read.

    Args:
        config: With the sections of stage `check`.
        layout: Paths.
        year: Calendar year.

    Raises:
        UserError: One line a problem, ten at most, each with file, variable, day, what was
            expected and what to do.
    """
    days = config.periods.days(year)
    if not days:
        raise UserError(
            f"year {year}: no day of it lies in periods; expected {config.periods.years}"
        )
    found = Findings()
    _check_ocean(config, layout, days, found)
    _check_forcing(config, layout, days, found)
    if found.problems:
        lines = found.problems[:SHOWN]
        if len(found.problems) > SHOWN:
            lines = [*lines, f"and {len(found.problems) - SHOWN} more problems in {year}"]
        raise UserError("\n".join(lines))
    report = {
        "year": year,
        "days": len(days),
        "first_day": str(days[0]),
        "last_day": str(days[-1]),
        "files": len(found.files),
        "surface_ranges": {name: found.ranges[name] for name in sorted(found.ranges)},
        "version": __version__,
    }
    write_json(layout.check_report(year), report)
    log.info("year %d: %d days in %d files are fit for use", year, len(days), len(found.files))


def first_day(config: Config | StageConfig) -> dt.date:
    """First day of all periods; its files define the source's axes and mask."""
    return min(period.start for period in config.periods.all)


def _check_ocean(
    config: Config | StageConfig, layout: Layout, days: list[dt.date], found: Findings
) -> None:
    try:
        files = OceanFiles.scan(layout.ocean_dir)
    except UserError as e:
        found.add(str(e))
        return
    for day in days:
        found.add(files.problem(day))
    try:
        reference = _ocean_reference(config, files)
    except UserError as e:
        found.add(str(e))
        return
    for day in track(days, label=f"checking ocean {days[0].year}"):
        if files.problem(day):
            continue
        path = files.path(day)
        found.files.add(str(path))
        try:
            with SourceFile(path, day) as file:
                for problem in _ocean_file_problems(file, day, reference, found):
                    found.add(problem)
        except UserError as e:
            found.add(str(e))


def _ocean_reference(config: Config | StageConfig, files: OceanFiles) -> OceanReference:
    day = first_day(config)
    with SourceFile(files.path(day), day) as file:
        level = int(file.axes.levels(config.grid.depths, file.path)[0])
        masks = {name: np.isfinite(_surface(file, name, day, level)) for name in PROGNOSTIC}
        for name, mask in masks.items():
            gaps = int((masks["thetao"] & ~mask).sum())
            if gaps:
                raise UserError(
                    f"{file.path}: variable {name} on {day} holds no value (NaN) in {gaps} cells "
                    "where thetao does; expected one ocean for all variables: fetch it again"
                )
        return OceanReference(file.axes, masks, level)


def _surface(file: SourceFile, name: str, day: dt.date, level: int) -> Float32:
    return file.read(name, day, (0, level) if VARIABLES[name].has_depth else (0,))


def _ocean_file_problems(
    file: SourceFile, day: dt.date, reference: OceanReference, found: Findings
) -> Iterator[str | None]:
    problem = file.axes_problem(reference.axes) or day_problem(file, day)
    if problem:
        yield problem
        return
    for name in PROGNOSTIC:
        if problem := file.header_problem(name, day):
            yield problem
            continue
        values = _surface(file, name, day, reference.level)
        problem = mask_problem(values, reference.masks[name], name, day, file.path)
        yield problem or value_problem(values, reference.masks[name], name, day, file.path)
        found.widen(name, values)


def _check_forcing(
    config: Config | StageConfig, layout: Layout, days: list[dt.date], found: Findings
) -> None:
    names = config.forcing_names
    try:
        files = ForcingFiles.scan(layout.forcing_dir, names)
        if files.unreadable:
            # What they hold is unknown, so that days would be called missing that are not.
            raise UserError("\n".join(files.unreadable))
        axes = forcing_axes(config, files)
    except UserError as e:
        for problem in str(e).splitlines():
            found.add(problem)
        return
    with ForcingReader(files, axes) as reader:
        for day in track(days, label=f"checking atmosphere {days[0].year}"):
            for name in names:
                if not found.add(files.problem(name, day)):
                    continue
                path = files.samples[name][day][0].path
                found.files.add(str(path))
                try:
                    values = reader.sample(name, day, 0)
                except UserError as e:
                    found.add(str(e))
                    continue
                found.add(value_problem(values, None, name, day, path))
                found.widen(name, values)


def forcing_axes(config: Config | StageConfig, files: ForcingFiles) -> SourceAxes:
    """Axes of the atmosphere, from the file that holds its earliest day.

    Raises:
        UserError: No file holds the first forcing variable, or that file has no such axes.
    """
    name = config.forcing_names[0]
    if not files.samples[name]:
        raise UserError(str(files.problem(name, first_day(config))))
    earliest = files.samples[name][min(files.samples[name])][0]
    with SourceFile(earliest.path) as file:
        return file.axes
