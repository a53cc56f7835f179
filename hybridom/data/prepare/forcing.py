"""The forcing of a year on the model grid."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybridom.data.days import day_number
from hybridom.data.forcing_checks import forcing_axes, gap_reason
from hybridom.data.plans import (
    CELL,
    AnyConfig,
    daily_coordinates,
    daily_mean,
    global_attributes,
    input_key,
    origin,
)
from hybridom.data.prepare.grid import model_grid, year_days
from hybridom.data.prepare.summary import log_summary
from hybridom.data.problems import value_problem
from hybridom.data.published.preparing import prepare_year_published
from hybridom.data.raw.forcing import ForcingFiles, ForcingReader, SeaOnly, read_land_mask
from hybridom.data.regrid import BilinearRegridder, Regridder
from hybridom.data.stores import Slab, StorePlan, open_arrays, require_store, write_store
from hybridom.data.stores.info import read_manifest
from hybridom.errors import UserError
from hybridom.grid import Grid, Mask
from hybridom.layout import Layout

Float64 = NDArray[np.float64]


def forcing_regridder(
    config: AnyConfig, layout: Layout, lat: Float64, lon: Float64, grid: Grid
) -> Callable[[NDArray], Float64]:
    """How daily means (nlat, nlon) come onto the grid (ny, nx).

    Raises:
        UserError: The atmosphere does not cover the grid.
    """
    if config.regrid.forcing == "bilinear":
        try:
            return BilinearRegridder(lat, lon, grid)
        except UserError as e:
            raise UserError(f"{layout.forcing_dir}: {e}") from None
    average = Regridder(lat, lon, grid)
    if not np.all(average.wet_fraction > 0):
        raise UserError(
            f"{layout.forcing_dir}: the atmosphere spans {lat[0]:g} to {lat[-1]:g} N, {lon[0]:g} "
            f"to {lon[-1]:g} E; expected all of grid.lat, grid.lon: fetch a larger box"
        )
    return lambda field: average(field[None])[0]


@dataclass(frozen=True)
class SeaSurface:
    """The analysed sea surface, for bulk formulae.

    Attributes:
        path: State store of the year.
        wet: (ny, nx) ocean cells of the uppermost level.
        digests: ISO day -> digest of its state; days without state are left out.
    """

    path: Path
    wet: Mask
    digests: Mapping[str, str]

    @classmethod
    def open(cls, path: Path, wet: Mask) -> SeaSurface:
        """Look which days a store holds.

        Raises:
            UserError: The store is missing.
        """
        require_store(path)
        return cls(path, wet, read_manifest(path)["slabs"])

    def missing(self, days: Sequence[dt.date]) -> dict[dt.date, str]:
        """Days that the store lacks, and why, in one line."""
        reason = "has no state of this day, which bulk8 needs: run `hybridom prepare state`"
        return {d: f"{self.path}: {reason} ({d})" for d in days if str(d) not in self.digests}

    @cached_property
    def _arrays(self) -> dict[str, Any]:
        return open_arrays(self.path, ["time", "thetao", "uo", "vo"])

    @cached_property
    def _rows(self) -> dict[int, int]:
        return {int(time): row for row, time in enumerate(self._arrays["time"][:])}

    def fluxes(self, day: dt.date, atmosphere: Mapping[str, Float64]) -> dict[str, NDArray]:
        """Fluxes of a day between its mean atmosphere and its sea surface, 0 on land."""
        from hybridom.bulk import bulk_day  # torch takes seconds to import: here if needed at all

        row = self._rows[day_number(day)]
        sst, uo, vo = (np.asarray(self._arrays[name][row, 0]) for name in ("thetao", "uo", "vo"))
        return bulk_day(atmosphere, sst, uo, vo, self.wet)


@dataclass(frozen=True)
class Atmosphere:
    """What one year's forcing is made from.

    Attributes:
        grid: Model grid.
        files: Index of the raw files.
        reader: Of the raw files.
        days: Days of the year that the periods need.
        absent: Position in `days` -> why there is no forcing, in one line.
        regrid: Daily mean (nlat, nlon) -> (ny, nx).
        land: Replaces values over land, or None.
        sea: The sea surface, where fluxes are computed.
        shared_inputs: Files on which all days depend.
    """

    grid: Grid
    files: ForcingFiles
    reader: ForcingReader
    days: list[dt.date]
    absent: dict[int, str]
    regrid: Callable[[NDArray], Float64]
    land: SeaOnly | None
    sea: SeaSurface | None
    shared_inputs: list[Path]

    @property
    def wet(self) -> Mask | None:
        """The mask on which the numbers depend, if they do."""
        return None if self.sea is None else self.sea.wet

    @cached_property
    def inputs(self) -> dict[dt.date, set[Path]]:
        """Files that each day is made from; none for a day that cannot be made."""
        samples = self.files.samples.values()
        return {
            day: set()
            if position in self.absent
            else {s.path for by_day in samples for s in by_day[day]}
            for position, day in enumerate(self.days)
        }

    def key(self, day: dt.date) -> str:
        """Stands for all that a day alone is made from: its files, and its sea surface."""
        files = input_key(self.inputs[day])
        return files if self.sea is None or not files else f"{files} {self.sea.digests[str(day)]}"

    def fields(self, day: dt.date) -> dict[str, NDArray]:
        """Forcing of a day on the model grid: name -> (ny, nx).

        Raises:
            UserError: A sample is unreadable or implausible.
        """
        fields: dict[str, NDArray] = {}
        for name in self.files.samples:
            values: NDArray = self.reader.daily_mean(name, day)
            path = self.files.samples[name][day][0].path
            if problem := value_problem(values, None, name, day, path):
                raise UserError(problem)
            if self.land is not None:
                values = self.land(values)
            fields[name] = self.regrid(values)
        return fields if self.sea is None else fields | self.sea.fluxes(day, fields)


@contextlib.contextmanager
def open_atmosphere(config: AnyConfig, layout: Layout, year: int) -> Iterator[Atmosphere]:
    """Find the files of a year and make the weights.

    Raises:
        UserError: A file is unreadable, the files do not cover the grid, or a day is double.
    """
    grid, wet = model_grid(config, layout)
    files = ForcingFiles.scan(layout.forcing_dir, config.raw_forcing_names)
    if files.unreadable:
        raise UserError(files.unreadable[0])
    axes = forcing_axes(config, files)
    days = year_days(config, year)
    reasons = {day: gap_reason(files, day) for day in files.missing(days)}
    sea = None
    if config.forcing == "bulk8":
        sea = SeaSurface.open(layout.state_store(year), wet[0])
        reasons = sea.missing(days) | reasons
    problems = (files.problem(n, d) for n in files.samples for d in days if d not in reasons)
    if problem := next((p for p in problems if p), None):
        raise UserError(problem)
    mask = None if config.source.land_mask is None else Path(config.source.land_mask)
    with ForcingReader(files, axes) as reader:
        yield Atmosphere(
            grid=grid,
            files=files,
            reader=reader,
            days=days,
            absent={i: reasons[day] for i, day in enumerate(days) if day in reasons},
            regrid=forcing_regridder(config, layout, axes.lat, axes.lon, grid),
            land=read_land_mask(mask, axes),
            sea=sea,
            shared_inputs=[] if mask is None else [mask],
        )


def prepare_forcing(config: AnyConfig, layout: Layout, year: int) -> None:
    """Write the forcing store of a year: daily means on the model grid, over land too.

    Variables (time, latitude, longitude), cell centres, float32. Fluxes of `bulk8` are those of
    open water between the day's mean atmosphere and the state store's sea surface; they are 0 on
    land. A killed call continues where it stopped; days that come or change later are added or
    replaced alone.

    Raises:
        UserError: A day is missing (unless `source.gaps` is `record`), double, incomplete,
            unreadable or implausible, or the files do not cover the grid; the days before it are
            kept.
    """
    if config.source.kind == "published":
        prepare_year_published(config, layout, year, "forcing")
        return
    with open_atmosphere(config, layout, year) as found:
        names, days = config.forcing_names, found.days

        def slabs(positions: Sequence[int]) -> Iterator[Slab]:
            return map(found.fields, map(days.__getitem__, positions))

        source = f"files in {config.source.forcing_dir}"
        attrs = global_attributes(config, "forcing", f"daily mean forcing of {year}", source)
        plan = StorePlan(
            layout.forcing_store(year),
            layout.forcing_manifest(year),
            daily_coordinates(found.grid, days, attrs).drop_dims("depth"),
            {name: (("time", *CELL[1:]), daily_mean(name, "")) for name in names},
            origin(config, "forcing", found.grid, input_key(found.shared_inputs), found.wet),
            keys=tuple(map(found.key, days)),
            keepbits={n: b for n, b in config.stores.keepbits.items() if n in names},
            absent=found.absent,
            gaps_allowed=config.source.gaps == "record",
            extras={
                "inputs": sorted({path.name for paths in found.inputs.values() for path in paths}),
                "interim_days": [str(day) for day in found.files.interim_days(days)],
            },
        )
        write_store(plan, slabs, f"forcing {year}")
    log_summary(plan.path)
