"""The ocean state of a year on the model grid."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hybridom.data.plans import (
    CELL,
    AnyConfig,
    daily_coordinates,
    daily_mean,
    global_attributes,
    input_key,
    origin,
)
from hybridom.data.prepare.grid import (
    OceanSource,
    model_grid,
    ocean_names,
    wet_cells,
    year_days,
)
from hybridom.data.prepare.pipeline import OceanPipeline, RawDay
from hybridom.data.prepare.summary import log_summary
from hybridom.data.published.preparing import prepare_year_published
from hybridom.data.raw.ocean import Record
from hybridom.data.regrid import FusedRegridder
from hybridom.data.stores import Slab, StorePlan, write_store
from hybridom.errors import UserError
from hybridom.grid import Grid
from hybridom.layout import Layout
from hybridom.variables import VARIABLES


@dataclass(frozen=True)
class StateYear:
    """What one year's state is made from.

    Attributes:
        grid: Model grid.
        pipeline: From raw days to fields.
        days: Days of the year that the periods need.
        records: Where each of them lies.
        absent: Position in `days` -> why there is none, in one line.
        interim: Days of interim data, ISO dates.
    """

    grid: Grid
    pipeline: OceanPipeline
    days: list[dt.date]
    records: dict[dt.date, Record]
    absent: dict[int, str]
    interim: list[str]


def open_year(config: AnyConfig, layout: Layout, year: int) -> StateYear:
    """Find the files of a year and make the weights.

    Raises:
        UserError: The first file is unfit, the mask of grid.nc is another's, or a day is double.
    """
    grid, wet = model_grid(config, layout)
    source = OceanSource.open(config, layout)
    regrid = FusedRegridder(source.axes.lat, source.axes.lon, grid, source.wet)
    if not np.array_equal(wet, wet_cells(config, regrid.wet_fraction)):
        raise UserError(
            f"{layout.grid_file}: its wet mask is not that of thetao in {source.first} on "
            f"{source.day}; expected the same: run `hybridom prepare grid` again"
        )
    regrid.keep_only(wet)
    days = year_days(config, year)
    missing = set(source.files.missing(days))
    pipeline = OceanPipeline(source.reader, regrid, wet, config.regrid.coastal_fill, grid.periodic)
    return StateYear(
        grid=grid,
        pipeline=pipeline,
        days=days,
        records={d: source.files.record(d) for d in days if d not in missing},
        absent={i: str(source.files.problem(d)) for i, d in enumerate(days) if d in missing},
        interim=[str(day) for day in source.files.interim_days(days)],
    )


def prepare_state(config: AnyConfig, layout: Layout, year: int, threads: int = 1) -> None:
    """Write the ocean state store of a year: daily means on the model grid.

    Variables (time, depth, latitude, longitude), zos and sea ice without depth; cell centres;
    float32, NaN on land, sea ice 0 where the product has none. A killed call continues where it
    stopped; days that come or change later are added or replaced alone.

    Args:
        config: With the sections of stage `state`.
        layout: Paths.
        year: Calendar year.
        threads: Blocks that are read and regridded at a time.

    Raises:
        UserError: A day is missing (unless `source.gaps` is `record`), double, unreadable or
            implausible; the days before it are kept.
    """
    if config.source.kind == "published":
        prepare_year_published(config, layout, year, "state")
        return
    found = open_year(config, layout, year)
    names = ocean_names(config)
    files = {day: record.paths for day, record in found.records.items()}

    def slabs(positions: Sequence[int]) -> Iterator[Slab]:
        wanted = [RawDay(day, found.records[day]) for day in map(found.days.__getitem__, positions)]
        return found.pipeline.fields(wanted, names, threads)

    dims = {name: CELL if VARIABLES[name].has_depth else CELL[1:] for name in names}
    source = f"daily means in {config.source.ocean_dir}"
    attrs = global_attributes(config, "state", f"daily mean ocean state of {year}", source)
    plan = StorePlan(
        layout.state_store(year),
        layout.state_manifest(year),
        daily_coordinates(found.grid, found.days, attrs),
        {name: (("time", *dims[name]), daily_mean(name, "sea")) for name in names},
        origin(config, "state", found.grid, wet=found.pipeline.wet),
        keys=tuple(input_key(files.get(day, ())) for day in found.days),
        keepbits={n: b for n, b in config.stores.keepbits.items() if n in names},
        absent=found.absent,
        gaps_allowed=config.source.gaps == "record",
        extras={
            "inputs": sorted({path.name for paths in files.values() for path in paths}),
            "interim_days": found.interim,
        },
    )
    write_store(plan, slabs, f"state {year}")
    log_summary(plan.path)
