"""Are the raw ocean files of a year complete and plausible?"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from hybridom.config import Config, StageConfig
from hybridom.data.problems import (
    Findings,
    Mask,
    first_day,
    mask_problem,
    range_problem,
)
from hybridom.data.raw.netcdf import SourceFile
from hybridom.data.raw.ocean import OceanFiles, OceanReader, Record
from hybridom.data.stores.threads import shared_pool
from hybridom.errors import UserError
from hybridom.layout import Layout
from hybridom.progress import track
from hybridom.variables import ICE, PROGNOSTIC


@dataclass(frozen=True)
class OceanReference:
    """The first day of the ocean, to which all others are compared.

    Attributes:
        reader: Of the uppermost level that is used.
        masks: Variable -> (nlat, nlon) cells with a value in that level.
    """

    reader: OceanReader
    masks: dict[str, Mask]


def check_ocean(
    config: Config | StageConfig, layout: Layout, days: Sequence[dt.date], found: Findings
) -> None:
    """Look at every day of the ocean: files, headers, and values of the uppermost level.

    Args:
        config: With the sections of stage `check`.
        layout: Paths.
        days: Days of one year.
        found: Takes problems, ranges, files, interim days and, if source.gaps is `record`, gaps.
    """
    names = (*PROGNOSTIC, *(ICE if config.source.sea_ice else ()))
    try:
        files = OceanFiles.scan(layout.ocean_dir, names)
    except UserError as e:
        found.add(str(e))
        return
    for refused in files.refused:
        found.add(refused)
    gaps = files.missing(days) if config.source.gaps == "record" else []
    found.gaps |= {day: str(files.problem(day)) for day in gaps}
    held = [day for day in days if day not in gaps and found.add(files.problem(day))]
    found.interim.update(files.interim_days(held))
    try:
        reference = _reference(config, files)
    except UserError as e:
        found.add(str(e))
        return
    for day in track(held, label=f"checking ocean {days[0].year}"):
        record = files.record(day)
        found.files.update(map(str, record.paths))
        looked_at = shared_pool().map(partial(_look, record, day, reference), names)
        for name, (surface, problem) in zip(names, looked_at, strict=True):
            found.add(problem)
            if surface is not None:
                found.extend(name, surface.low, surface.high)


def reference_day(config: Config | StageConfig, files: OceanFiles) -> dt.date:
    """The day whose files define the source's axes and mask.

    It is the first of all periods or, where source.gaps is `record`, the first that is there.
    """
    first = first_day(config)
    if config.source.gaps == "refuse":
        return first
    every = sorted(day for period in config.periods.all for day in period.days())
    absent = set(files.missing(every))
    return next((day for day in every if day not in absent), first)


def _reference(config: Config | StageConfig, files: OceanFiles) -> OceanReference:
    day = reference_day(config, files)
    record = files.record(day)
    with SourceFile(record.path, day) as file:
        axes = file.axes
    levels = axes.levels(config.grid.depths, record.path)
    reference = OceanReference(OceanReader(axes, levels[:1]), {})
    for name in PROGNOSTIC:
        reference.masks[name] = _surface(record, day, name, reference.reader).found
    for name, mask in reference.masks.items():
        gaps = int((reference.masks["thetao"] & ~mask).sum())
        if gaps:
            raise UserError(
                f"{record.of(name, day).path}: variable {name} on {day} holds no value (NaN) in "
                f"{gaps} cells where thetao does; expected one ocean for all variables: fetch it "
                "again"
            )
    return reference


class Surface(NamedTuple):
    """One variable in the uppermost level.

    Attributes:
        found: (nlat, nlon) cells with a value.
        low: Lowest value; NaN where there is none.
        high: Highest value.
    """

    found: Mask
    low: float
    high: float


def _surface(record: Record, day: dt.date, name: str, reader: OceanReader) -> Surface:
    (block,) = reader.blocks(record, day, [name])
    packed = block.load()
    # On the stored values: unpacking all of them would take longer than reading them.
    found = packed.present()[0]
    values = packed.raw[0][found]
    if not values.size:
        return Surface(found, np.nan, np.nan)
    ends = sorted(float(end) * packed.scale + packed.offset for end in (values.min(), values.max()))
    return Surface(found, ends[0], ends[1])


def _look(
    record: Record, day: dt.date, reference: OceanReference, name: str
) -> tuple[Surface | None, str | None]:
    """A variable of a day in the uppermost level, and what is wrong with it, in one line."""
    try:
        surface = _surface(record, day, name, reference.reader)
    except UserError as e:
        return None, str(e)
    path = record.of(name, day).path
    expected = reference.masks.get(name)  # none for sea ice: open water holds no value
    problem = None if expected is None else mask_problem(surface.found, expected, name, day, path)
    return surface, problem or range_problem(surface.low, surface.high, name, day, path)
