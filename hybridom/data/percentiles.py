"""Thresholds of extremes: percentiles of the training period, by cell and day of the year.

The threshold of a day of the year is a percentile of all values of the training period within a
window of days around it, smoothed by a running mean over the days of the year (Hobday et al. 2016,
Prog. Oceanogr. 141, 227, who take 11 and 31 days). 29 February lies half-way between its
neighbours, see `ranks.in_window`.

A percentile needs all values of a cell, the stores hold all cells of a day. So the days of one
level are first copied, each read once, to files that hold its wet cells only; then bands of cells
are read from these, all days together. Memory holds a few days and a few bands, whatever the grid
and the number of years; the disk holds one chunk's chosen levels of the training period at a time
(9861 days of 155 000 wet cells: 6 GB a level). What is finished is kept in a folder beside the
store until that is complete, so that a killed run continues and ends with the same bytes.
"""

from __future__ import annotations

import datetime as dt
import itertools
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hybridom.config import Config, StageConfig
from hybridom.config.output import ExtremesConfig
from hybridom.data.climatology import parts_folder
from hybridom.data.days import DAYS_IN_YEAR
from hybridom.data.history import Block, Float32, History, Workers, threads_for
from hybridom.data.ranks import changes, in_window, moving_percentiles
from hybridom.data.stores import Slab, StorePlan, write_store
from hybridom.errors import UserError
from hybridom.files import read_json, write_json
from hybridom.layout import Layout
from hybridom.progress import track
from hybridom.variables import VARIABLES

Mask = NDArray[np.bool_]

BAND_BYTES = 200_000_000  # of the values of all days of a band of cells


def write_percentiles(
    config: Config | StageConfig,
    layout: Layout,
    plan: StorePlan,
    wet: Mask,
    levels: Sequence[int],
) -> None:
    """Write percentiles.zarr, or what is missing of it.

    Args:
        config: With periods and extremes.
        layout: Paths.
        plan: Of the store; its variables (dayofyear, percentile, [depth,] latitude, longitude) are
            computed.
        wet: (nz, ny, nx) ocean cells; values are NaN elsewhere.
        levels: Grid indices of the levels of the store, ascending.

    Raises:
        UserError: A store of a training year is missing, incomplete or damaged, or a window holds
            no day of the training period.
    """
    history = History(layout, tuple(plan.variables), config.periods.train, wet)
    folder = parts_folder(plan)
    rows = PercentileRows(history, levels, config.extremes, folder)
    if read_json(folder / "origin.json") != dict(plan.origin):
        shutil.rmtree(folder, ignore_errors=True)
        write_json(folder / "origin.json", plan.origin)
    write_store(plan, rows.slabs, "percentiles")
    shutil.rmtree(folder)


def require_days(dates: Sequence[float], window: int, name: str) -> None:
    """Refuse days that leave a window empty.

    Args:
        dates: Days of the year that the training period holds, `days.day_of_year`.
        window: Days, odd.
        name: Variable, for the message.

    Raises:
        UserError: A window holds no day at all.
    """
    empty = np.flatnonzero(~in_window(np.array(dates), window).any(axis=1))
    if empty.size:
        day = dt.date(2001, 1, 1) + dt.timedelta(int(empty[0]))
        raise UserError(
            f"extremes.window is {window}, but for variable {name} periods.train, without gaps, "
            f"holds no day within {window // 2} days of {empty.size} of {DAYS_IN_YEAR} days of the "
            f"year, first {day:%d %B}; expected at least one for each: lengthen the period, use a "
            "wider window, or extremes.window=365, which takes all days alike"
        )


@dataclass(frozen=True)
class Series:
    """One level of a variable.

    Attributes:
        block: What is read to have it.
        level: Its grid index; 0 for a variable without depth.
    """

    block: Block
    level: int

    def __str__(self) -> str:
        """Name of files that belong to it."""
        return f"{self.block.name}.{self.level:03d}"


class PercentileRows:
    """Rows of the store, from percentiles that are kept in files until it is complete.

    Args:
        history: Days of the training period.
        levels: Grid indices of the levels, ascending.
        settings: percentiles, window, smoothing.
        folder: Takes the copied days of a level, a file a year, and its percentiles, a file a band;
            those that are there are used.

    Raises:
        UserError: A window holds no day.
    """

    def __init__(
        self, history: History, levels: Sequence[int], settings: ExtremesConfig, folder: Path
    ) -> None:
        for name in history.names:
            require_days(list(history.positions(name)), settings.window, name)
        self._history, self._settings, self._folder = history, settings, folder
        self._groups = [
            (block, [Series(block, level) for level in chosen])
            for name in history.names
            for block in history.blocks(name)
            if (chosen := [n for n in levels_of(name, levels) if block.first <= n < block.stop])
        ]
        self._levels = levels

    def slabs(self, indices: Sequence[int]) -> Iterator[Slab]:
        """Rows (0...364) of all variables, float32, NaN on land; first ranks what is not ranked.

        Each variable is (p, levels, ny, nx), or (p, ny, nx) without depth.

        Raises:
            UserError: A day lacks values.
        """
        if not indices:
            return iter(())
        self._folder.mkdir(parents=True, exist_ok=True)
        for block, series in self._groups:
            todo = [one for one in series if not all(map(Path.exists, self._ranked(one)))]
            if todo:
                self._copy(block, todo)
            for one in todo:
                self._rank(one)
            for left in (self._folder.glob(f"{one}.days.*") for one in series):
                for file in left:
                    file.unlink()
        return self._rows(indices)

    # copying

    def _years(self, name: str) -> dict[int, list[dt.date]]:
        days = itertools.groupby(self._history.days(name), lambda day: day.year)
        return {year: list(of_year) for year, of_year in days}

    def _copied(self, series: Series, year: int) -> Path:
        return self._folder / f"{series}.days.{year}.float32"

    def _cells(self, series: Series) -> NDArray[np.intp]:
        """Wet cells of a level, as places in a field of (ny, nx)."""
        cover = self._history.cover(series.block)[series.level - series.block.first]
        return np.flatnonzero(cover)

    def _copy(self, block: Block, series: Sequence[Series]) -> None:
        """Copy the wet cells of some levels of a block, year by year."""
        cells = [self._cells(one) for one in series]
        size = 4 * int(np.prod(self._history.shape(block)))
        workers = Workers(threads_for(6 * size))

        def read(day: dt.date) -> list[Float32]:
            fields = np.empty(self._history.shape(block), np.float32)
            self._history.read(block, day, fields)
            flat = fields.reshape(len(fields), -1)
            return [
                flat[one.level - block.first, wet] for one, wet in zip(series, cells, strict=True)
            ]

        years = self._years(block.name)
        for year in track(years, label=f"percentiles: reading {block}"):
            paths = [self._copied(one, year) for one in series]
            if all(path.exists() for path in paths):
                continue
            partial = [path.with_suffix(".partial") for path in paths]
            files = [path.open("wb") for path in partial]
            try:
                for values in workers(read, years[year]):
                    for file, part in zip(files, values, strict=True):
                        part.tofile(file)
            finally:
                for file in files:
                    file.close()
            for source, path in zip(partial, paths, strict=True):
                os.replace(source, path)

    # ranking

    def _bands(self, series: Series) -> list[tuple[int, int]]:
        """First and last + 1 of the wet cells that are ranked together."""
        days, cells = len(self._history.days(series.block.name)), self._cells(series).size
        step = max(1, BAND_BYTES // (4 * days))
        return [(first, min(first + step, cells)) for first in range(0, cells, step)]

    def _band_file(self, series: Series, band: tuple[int, int]) -> Path:
        return self._folder / f"{series}.ranks.{band[0]:08d}.float32"

    def _ranked(self, series: Series) -> list[Path]:
        return [self._band_file(series, band) for band in self._bands(series)]

    def _rank(self, series: Series) -> None:
        """Write the percentiles of each band of cells, (365, p, cells)."""
        name, total = series.block.name, self._cells(series).size
        positions = self._history.positions(name)
        starts = np.cumsum([0, *map(len, positions.values())])
        order = {day: n for n, day in enumerate(itertools.chain(*positions.values()))}
        steps = changes(in_window(np.array(list(positions)), self._settings.window))
        percents = np.array(self._settings.percentiles)
        years = self._years(name)

        def rank(band: tuple[int, int]) -> None:
            file = self._band_file(series, band)
            if file.exists():
                return
            first, stop = band
            values = np.empty((len(order), stop - first), np.float32)
            for year, days in years.items():
                with self._copied(series, year).open("rb") as copied:
                    for row, day in enumerate(days):
                        copied.seek(4 * (row * total + first))
                        copied.readinto(values[order[day]].data)
            out = np.empty((DAYS_IN_YEAR, percents.size, stop - first), np.float32)
            moving_percentiles(values, starts, steps, percents, self._settings.smoothing, out)
            temporary = file.with_suffix(".partial")
            out.tofile(temporary)
            os.replace(temporary, file)

        bands = self._bands(series)
        workers = Workers(threads_for(2 * BAND_BYTES))
        for _ in track(workers(rank, bands), len(bands), f"percentiles: ranking {series}"):
            pass

    # rows

    def _rows(self, indices: Sequence[int]) -> Iterator[Slab]:
        count = len(self._settings.percentiles)
        ny, nx = self._history.shape(self._groups[0][0])[1:]
        for index in indices:
            slab = {}
            for name in self._history.names:
                levels = levels_of(name, self._levels)
                fields = np.full((count, len(levels), ny * nx), np.nan, np.float32)
                for series in (s for _, group in self._groups for s in group):
                    if series.block.name == name:
                        self._fill(series, index, fields[:, levels.index(series.level)])
                shape = (count, len(levels), ny, nx) if VARIABLES[name].has_depth else None
                slab[name] = fields.reshape(shape or (count, ny, nx))
            yield slab

    def _fill(self, series: Series, index: int, field: Float32) -> None:
        """Set the wet cells of `field` (p, cells) to the percentiles of a day of the year."""
        cells, count = self._cells(series), len(field)
        for band in self._bands(series):
            size = count * (band[1] - band[0])
            values = np.fromfile(
                self._band_file(series, band), np.float32, count=size, offset=4 * index * size
            )
            field[:, cells[slice(*band)]] = values.reshape(count, -1)


def levels_of(name: str, levels: Sequence[int]) -> list[int]:
    """The chosen levels that a variable has: the topmost one alone without depth."""
    return list(levels) if VARIABLES[name].has_depth else [0]
