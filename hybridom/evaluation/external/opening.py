"""Foreign files opened together: what is common to them, or why they cannot be compared."""

from __future__ import annotations

import datetime as dt
import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hybridom import __version__
from hybridom.errors import UserError
from hybridom.evaluation.external.axes import first_difference
from hybridom.evaluation.external.fields import (
    ClimatologyFields,
    DailyFields,
    ForecastFields,
    Regrid,
)
from hybridom.evaluation.external.interpolation import Interpolation
from hybridom.evaluation.external.sources import Source, common_grid, open_sources
from hybridom.evaluation.external.times import (
    Key,
    Place,
    day_index,
    forecast_index,
    refuse_members,
)
from hybridom.grid import Grid
from hybridom.masks import require_ocean, without_overhangs
from hybridom.variables import PROGNOSTIC, VARIABLES

log = logging.getLogger(__name__)
Index = Mapping[str, Mapping[Key, Place]]  # variable -> (start, lead) -> place


@dataclass(frozen=True)
class Files:
    """What is compared.

    Attributes:
        forecast: Forecasts, any number of files.
        truth: The verifying analysis, any number of files; none for scores against observations.
        climatology: A daily climatology of 365 rows, or None.
        damping: A file of `hybridom evaluate damping`, or None.
        mask: `truth`: the cells in which the truth has values; `common`: those of them in which
            the first lead of every forecast has values too.
        interpolate: Whether truth and climatology may be taken to the forecast's grid.
    """

    forecast: tuple[Path, ...]
    truth: tuple[Path, ...]
    climatology: Path | None = None
    damping: Path | None = None
    mask: Literal["truth", "common"] = "truth"
    interpolate: bool = False


@dataclass(frozen=True)
class Opened:
    """Files that can be compared.

    Attributes:
        files: What they were opened from.
        names: Variables in all of them.
        grid: The forecast's grid.
        wet: bool (nz, ny, nx).
        starts: Start dates, ascending.
        days: The last lead that all of them have.
        truth: The verifying analysis.
        climatology: The climatology, or None.
        missing: Variable -> share (nz or 1,) of the area with truth in which the forecast has no
            values and which is not scored.
        interpolated: What was taken to the forecast's grid (`truth`, `climatology`).
    """

    files: Files
    names: tuple[str, ...]
    grid: Grid
    wet: np.ndarray
    starts: tuple[dt.date, ...]
    days: int
    truth: DailyFields
    climatology: ClimatologyFields | None
    missing: Mapping[str, np.ndarray]
    interpolated: tuple[str, ...]
    _index: Index = field(repr=False)

    def model(self, start: dt.date) -> ForecastFields:
        """The forecast from a start date."""
        return ForecastFields(self._index, start, self.grid, self.wet)

    def has_lead_0(self) -> bool:
        """Whether every forecast holds the state that it starts from."""
        return all((s, 0) in self._index[name] for name in self.names for s in self.starts)

    def initial_state(self) -> Literal["forecast", "truth"] | None:
        """Where baselines start from: lead 0, or the truth on the start date, or nowhere."""
        if self.has_lead_0():
            return "forecast"
        held = all(self.truth.holds(name, s) for name in self.names for s in self.starts)
        return "truth" if held else None


def open_files(files: Files) -> Opened:
    """Open forecasts and truth, find what they have in common, and the cells that are scored.

    Without any truth, which scores against observations do not need, the cells are those in which
    the first lead of every forecast has values.

    Raises:
        UserError: Files cannot be read, differ in grid, units or days, or lack values.
    """
    forecasts, truths = open_sources(files.forecast, "forecast"), open_sources(files.truth, "truth")
    names = common_variables(forecasts, truths) if truths else _held(forecasts)
    refuse_members(forecasts, names, "the forecast")
    return put_beside(
        files, truths, common_grid(forecasts, names), forecast_index(forecasts, names)
    )


def put_beside(
    files: Files,
    truths: Sequence[Source],
    grid: Grid,
    index: Index,
    others: Sequence[Index] = (),
) -> Opened:
    """Put truth and climatology beside forecasts that have been found.

    Args:
        files: What is compared.
        truths: The truth, opened.
        grid: The forecasts' grid.
        index: Variable -> (start, lead) -> place of the forecasts.
        others: The same of further members of an ensemble, whose cells count in a common mask.

    Raises:
        UserError: They differ in grid, units or days, or lack values.
    """
    names = tuple(index)
    refuse_members(truths, names, "the truth")
    starts, days = starts_and_days(index)
    regrid = align(truths, names, grid, files.interpolate, "truth")
    days_of_truth = day_index(truths, names)
    truth = DailyFields(days_of_truth, grid, np.zeros(grid.shape, bool), regrid)
    wet = np.ones(grid.shape, bool)
    if truths:
        first = starts[0] + dt.timedelta(1)
        wet = finite_everywhere({name: truth.raw(name, first) for name in names}, grid)
    wet, missing = _mask(files, grid, wet, [index, *others], starts)
    climatology = None
    if files.climatology is not None:
        climatology = open_climatology(files.climatology, names, grid, wet, files.interpolate)
    moved = {"truth": regrid, "climatology": climatology and climatology.regrid}
    log.info(
        "%d start dates from %s to %s, %d leads, %s, %d x %d x %d cells",
        *(len(starts), starts[0], starts[-1], days, ", ".join(names), *grid.shape),
    )
    return Opened(
        *(files, names, grid, wet, starts, days),
        *(DailyFields(days_of_truth, grid, wet, regrid), climatology, missing),
        *(tuple(what for what, used in moved.items() if used), index),
    )


def common_variables(forecasts: Sequence[Source], truths: Sequence[Source]) -> tuple[str, ...]:
    """Variables of both, in our order; the others are named in the log.

    Raises:
        UserError: There is none.
    """
    held, known = _held(forecasts), _held(truths)
    common = tuple(name for name in held if name in known)
    if not common:
        raise UserError(
            f"{forecasts[0].path} holds {', '.join(held)} and {truths[0].path} holds "
            f"{', '.join(known)}: nothing in common; expected at least one variable in both"
        )
    for name in PROGNOSTIC:
        if name not in common:
            lacking = [
                what
                for what, names in (("the forecast", held), ("the truth", known))
                if name not in names
            ]
            log.warning("%s is not scored: %s has none", name, " and ".join(lacking))
    return common


def _held(sources: Sequence[Source]) -> tuple[str, ...]:
    """Variables of the sources, in our order."""
    return tuple(name for name in PROGNOSTIC if any(name in source.variables for source in sources))


def starts_and_days(index: Index) -> tuple[tuple[dt.date, ...], int]:
    """Start dates of all variables, and the last lead that every one of them has.

    Raises:
        UserError: A start or a lead is missing in a variable.
    """
    last: dict[dt.date, int] = {}
    starts = sorted({start for places in index.values() for start, _ in places})
    for name, places in index.items():
        for start in starts:
            leads = sorted(lead for begin, lead in places if begin == start and lead > 0)
            if not leads or leads != list(range(1, leads[-1] + 1)):
                missing = min(set(range(1, (leads or [1])[-1] + 1)) - set(leads))
                raise UserError(
                    f"forecast from {start}: {name} has no lead {missing}; expected every day from "
                    "lead 1 in the files given as --forecast"
                )
            last[start] = min(last.get(start, leads[-1]), leads[-1])
    days = min(last.values())
    if max(last.values()) > days:
        log.warning("forecasts end at leads %d to %d: scored to %d", days, max(last.values()), days)
    return tuple(starts), days


def align(
    sources: Sequence[Source], names: Sequence[str], grid: Grid, interpolate: bool, role: str
) -> Regrid | None:
    """How to take fields to the grid: not at all where they lie on it.

    Raises:
        UserError: They lie on another one, and interpolation was not asked for.
    """
    places = [(s, name) for s in sources for name in names if name in s.places]
    for source, name in places:
        difference = first_difference(grid, source.places[name], name)
        if difference is None:
            continue
        if not interpolate:
            raise UserError(
                f"{source.path}: {source.variables[name]}: {difference} as in the forecast; "
                f"expected the {role} on the forecast's grid, regrid it or give --interpolate-truth"
            )
        log.warning(
            "%s: %s; the %s is interpolated to the forecast's grid", source.path, difference, role
        )
        return Interpolation(common_grid(sources, names), grid)
    return None


def open_climatology(
    path: Path, names: Sequence[str], grid: Grid, wet: np.ndarray, interpolate: bool
) -> ClimatologyFields:
    """Open a climatology on the grid.

    Raises:
        UserError: It lacks a variable, is no daily climatology, or lies on another grid.
    """
    source = open_sources([path], "climatology")[0]
    lacking = [name for name in names if name not in source.variables]
    if lacking:
        raise UserError(
            f"{path}: no climatology of {lacking[0]}; expected {', '.join(names)}, or leave out "
            "--climatology"
        )
    regrid = align([source], names, grid, interpolate, "climatology")
    return ClimatologyFields(source, grid, wet, regrid)


def finite_everywhere(fields: Mapping[str, np.ndarray], grid: Grid) -> np.ndarray:
    """Cells in which all variables have values, without those below a dry one.

    Args:
        fields: Variable -> (nz or 1, ny, nx).
        grid: The grid.

    Returns:
        bool (nz, ny, nx).
    """
    wet = np.ones(grid.shape, bool)
    for name, values in fields.items():
        cells = wet if VARIABLES[name].has_depth else wet[:1]
        cells &= np.isfinite(values)
    kept = without_overhangs(wet)
    if (lost := int(wet.sum() - kept.sum())) > 0:
        log.warning("%d cells below a dry cell are left out", lost)
    return kept


def _mask(
    files: Files,
    grid: Grid,
    wet: np.ndarray,
    indices: Sequence[Index],
    starts: Sequence[dt.date],
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Cells that are scored, and what is missing of those that have truth."""
    if files.truth:
        require_ocean(wet, grid.shape, f"{files.truth[0]}: cells with values")
    names = tuple(indices[0])
    levels = {name: grid.nz if VARIABLES[name].has_depth else 1 for name in names}
    if files.mask == "truth":
        return wet, {name: np.zeros(n) for name, n in levels.items()}
    held = wet.copy()
    missing = {name: np.zeros(n) for name, n in levels.items()}
    area = (wet * grid.area).sum(axis=(1, 2))
    for index, start in itertools.product(indices, starts):
        fields = {}
        for name in names:
            source, at = index[name][start, 1]
            fields[name] = source.read(name, at)
            lacking = wet[: levels[name]] & ~np.isfinite(fields[name])
            share = (lacking * grid.area).sum(axis=(1, 2)) / np.maximum(area[: levels[name]], 1.0)
            missing[name] = np.maximum(missing[name], share)
        held &= finite_everywhere(fields, grid)
    require_ocean(held, grid.shape, f"{files.forecast[0]}: cells with values")
    for name, share in missing.items():
        log.info("%s: missing_fraction up to %.3g %%", name, 100 * share.max())
    return held, missing


def describe(opened: Opened, chosen: Sequence[str]) -> dict[str, Any]:
    """What scores of foreign files were made from, as JSON can hold it."""
    files = opened.files
    return {
        "forecast": [str(path) for path in files.forecast],
        "truth": [str(path) for path in files.truth],
        "climatology": None if files.climatology is None else str(files.climatology),
        "variables": list(opened.names),
        "baselines": list(chosen),
        "initial_state": opened.initial_state(),
        "mask": files.mask,
        "missing_fraction": {name: share.tolist() for name, share in opened.missing.items()},
        "interpolated": list(opened.interpolated),
        "hybridom_version": __version__,
    }
