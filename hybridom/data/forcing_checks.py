"""Are the raw files of the atmosphere complete and plausible?"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from hybridom.config import Config, StageConfig
from hybridom.data.problems import Findings, first_day, value_problem
from hybridom.data.raw.axes import SourceAxes
from hybridom.data.raw.forcing import ForcingFiles, ForcingReader, open_source
from hybridom.errors import UserError
from hybridom.layout import Layout
from hybridom.progress import track


def check_forcing(
    config: Config | StageConfig, layout: Layout, days: Sequence[dt.date], found: Findings
) -> None:
    """Look at every day of the atmosphere: files, headers, coverage, and its first sample.

    Args:
        config: With the sections of stage `check`.
        layout: Paths.
        days: Days of one year.
        found: Takes problems, ranges, files, interim days and, if source.gaps is `record`, gaps.
    """
    names = config.raw_forcing_names
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
    gaps = files.missing(days) if config.source.gaps == "record" else []
    found.gaps |= {day: gap_reason(files, day) for day in gaps}
    found.interim.update(files.interim_days(days))
    absent = set(gaps)
    with ForcingReader(files, axes) as reader:
        for day in track(days, label=f"checking atmosphere {days[0].year}"):
            for name in names if day not in absent else ():
                _check_day(files, reader, name, day, found)


def gap_reason(files: ForcingFiles, day: dt.date) -> str:
    """Why a missing day of the atmosphere is missing: the first problem of its variables."""
    return next(p for p in (files.problem(name, day) for name in files.samples) if p)


def _check_day(
    files: ForcingFiles, reader: ForcingReader, name: str, day: dt.date, found: Findings
) -> None:
    if not found.add(files.problem(name, day)):
        return
    samples = files.samples[name][day]
    found.files.update(str(sample.path) for sample in samples)
    try:
        values = reader.sample(name, day, 0)
    except UserError as e:
        found.add(str(e))
        return
    found.add(value_problem(values, None, name, day, samples[0].path))
    found.widen(name, values)


def forcing_axes(config: Config | StageConfig, files: ForcingFiles) -> SourceAxes:
    """Axes of the atmosphere, from the file that holds its earliest day.

    Raises:
        UserError: No file holds the first forcing variable, or that file has no such axes.
    """
    name = config.raw_forcing_names[0]
    if not files.samples[name]:
        raise UserError(str(files.problem(name, first_day(config))))
    earliest = files.samples[name][min(files.samples[name])][0]
    source = open_source(earliest.path)
    try:
        return source.axes
    finally:
        source.close()
