"""Are the raw files of a year complete and plausible? Asked before any long work starts."""

from __future__ import annotations

import logging

from hybridom import __version__
from hybridom.config import Config, StageConfig
from hybridom.data.forcing_checks import check_forcing, forcing_axes
from hybridom.data.ocean_checks import check_ocean
from hybridom.data.problems import (
    Findings,
    first_day,
    gap_problem,
    mask_problem,
    range_problem,
    value_problem,
)
from hybridom.data.published.preparing import check_year_published
from hybridom.data.stores import write_json
from hybridom.errors import UserError
from hybridom.layout import Layout

__all__ = [
    "Findings",
    "check_year",
    "first_day",
    "forcing_axes",
    "gap_problem",
    "mask_problem",
    "range_problem",
    "value_problem",
]

log = logging.getLogger(__name__)

SHOWN = 10  # problems printed; the rest is counted


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
    if config.source.kind == "published":
        check_year_published(config, layout, year)
        return
    days = config.periods.days(year)
    if not days:
        raise UserError(
            f"year {year}: no day of it lies in periods; expected {config.periods.years}"
        )
    sides = {"ocean": Findings(), "atmosphere": Findings()}
    check_ocean(config, layout, days, sides["ocean"])
    check_forcing(config, layout, days, sides["atmosphere"])
    problems = [problem for found in sides.values() for problem in found.problems]
    if problems:
        lines = problems[:SHOWN]
        if len(problems) > SHOWN:
            lines = [*lines, f"and {len(problems) - SHOWN} more problems in {year}"]
        raise UserError("\n".join(lines))
    ranges = {name: ends for found in sides.values() for name, ends in found.ranges.items()}
    files = sum(len(found.files) for found in sides.values())
    report = {
        "year": year,
        "days": len(days),
        "first_day": str(days[0]),
        "last_day": str(days[-1]),
        "files": files,
        "interim_days": {
            side: [str(day) for day in sorted(found.interim)] for side, found in sides.items()
        },
        "gaps": {
            side: {str(day): found.gaps[day] for day in sorted(found.gaps)}
            for side, found in sides.items()
        },
        "surface_ranges": {name: ranges[name] for name in sorted(ranges)},
        "version": __version__,
    }
    write_json(layout.check_report(year), report)
    log.info("year %d: %d days in %d files are fit for use", year, len(days), files)
