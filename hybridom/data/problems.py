"""What can be wrong with raw values, in one line each, and what a check has found so far."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hybridom.config import Config, StageConfig
from hybridom.variables import VARIABLES

Mask = NDArray[np.bool_]


def gap_problem(
    gaps: int, name: str, when: dt.date, path: Path, needed: int | None = None
) -> str | None:
    """What to say of cells without value, in one line.

    Args:
        gaps: Cells that need a value and have none.
        name: Variable.
        when: Day.
        path: File.
        needed: Cells that need one, where known.
    """
    if not gaps:
        return None
    of = "" if needed is None else f" of {needed}"
    return (
        f"{path}: variable {name} on {when} holds no value (NaN) in {gaps}{of} cells that need "
        "one; expected values wherever the first file has them: fetch or make the file again"
    )


def range_problem(low: float, high: float, name: str, when: dt.date, path: Path) -> str | None:
    """Whether values lie outside of what is plausible, for example in another unit, in one line.

    Args:
        low: Lowest value; NaN where there is none, which is no problem.
        high: Highest value.
        name: Variable.
        when: Day.
        path: File.
    """
    variable = VARIABLES[name]
    if not (low < variable.valid_min or high > variable.valid_max):
        return None
    return (
        f"{path}: variable {name} on {when} runs from {low:g} to {high:g}; expected "
        f"{variable.valid_min:g} to {variable.valid_max:g} {variable.units}: it may be in "
        "another unit (Kelvin for Celsius?), convert it"
    )


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
    needed = gaps.size if wet is None else int(np.broadcast_to(wet, gaps.shape).sum())
    problem = gap_problem(int(gaps.sum()), name, when, path, needed)
    return problem or range_problem(*span(values), name, when, path)


def span(values: NDArray[np.floating]) -> tuple[float, float]:
    """Lowest and highest value; NaN where there is none."""
    return float(np.fmin.reduce(values, axis=None)), float(np.fmax.reduce(values, axis=None))


def mask_problem(found: Mask, expected: Mask, name: str, when: dt.date, path: Path) -> str | None:
    """Whether a surface field covers other cells than in the first file, in one line.

    Args:
        found: (nlat, nlon) cells with a value.
        expected: (nlat, nlon) the same of the first file.
        name: Variable.
        when: Day.
        path: File.
    """
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
        interim: Days from an interim dataset.
        gaps: Days that are missing and may be, with the reason.
    """

    problems: list[str] = field(default_factory=list)
    ranges: dict[str, list[float]] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)
    interim: set[dt.date] = field(default_factory=set)
    gaps: dict[dt.date, str] = field(default_factory=dict)

    def add(self, problem: str | None) -> bool:
        """Note a problem, if there is one; tells whether there was none."""
        if problem is not None and problem not in self.problems:
            self.problems.append(problem)
        return problem is None

    def widen(self, name: str, values: NDArray[np.floating]) -> None:
        """Extend the range of a variable by values; NaN extends nothing."""
        self.extend(name, *span(values))

    def extend(self, name: str, low: float, high: float) -> None:
        """Extend the range of a variable by its lowest and highest value."""
        old = self.ranges.get(name, [low, high])
        self.ranges[name] = [float(np.fmin(old[0], low)), float(np.fmax(old[1], high))]


def first_day(config: Config | StageConfig) -> dt.date:
    """First day of all periods; its files define the source's axes and mask."""
    return min(period.start for period in config.periods.all)
