"""Analyses and forecasts of the driver of a region, on the region's cells."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np

from hybridom.config import Period
from hybridom.data.day_reader import DayReader, Fields
from hybridom.data.days import day_number
from hybridom.data.driver.registration import Registration
from hybridom.data.stores import open_arrays, store_gaps, store_grid_hash
from hybridom.data.stores.fetching import rows_of, run
from hybridom.errors import UserError
from hybridom.files import read_json
from hybridom.grid import Grid, Mask, read_grid
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC, VARIABLES

EVER = Period(start=dt.date.min, end=dt.date.max)


class Driver:
    """The coarser model that drives a region: its analyses, and its forecasts.

    Nothing but its grid is opened before the first day is asked for, so that a driver can be sent
    to loader processes.

    Args:
        layout: Paths of the region; `layout.driver` are those of the driver.
        grid: Grid of the region.
        wet: (nz, ny, nx) ocean cells of the region.
        held: Days whose analyses stay in memory once they were read, on the region's cells; None:
            none do.
        threads: Threads that read and decode analyses; None for one a core, 8 at most.

    Attributes:
        registration: From the driver's cells to those of the region.

    Raises:
        UserError: The driver's grid file is missing, or the region does not fit into it.
    """

    def __init__(
        self,
        layout: Layout,
        grid: Grid,
        wet: Mask,
        held: Period | None = None,
        threads: int | None = None,
    ) -> None:
        self.layout = layout.driver
        path = self.layout.grid_file
        if not path.exists():
            raise UserError(
                f"{path}: no grid file of the driver (region.driver.grid); make it with "
                "`hybridom prepare grid` and the driver's configuration, or name another driver"
            )
        self.grid, self.wet = read_grid(path)
        self.registration = Registration(self.grid, self.wet, grid, wet, path, layout.grid_file)
        self._reader = DayReader(self.layout, self.grid, self.wet, (), "none", EVER, threads)
        self._held, self._analyses = held, dict[dt.date, Fields]()
        self._forecasts: dict[dt.date, DriverForecast] = {}
        self._checksums: dict[int, str] = {}

    def analysis(self, day: dt.date) -> Fields:
        """The driver's ocean of a day: variable -> ([nz,] ny, nx), float32, 0 on land.

        Not to be changed by the caller: it may be held for the next one.

        Raises:
            UserError: The store of its year is missing, unfinished or of another grid, or lacks
                the day.
        """
        if day in self._analyses:
            return self._analyses[day]
        self.checksum(day.year)
        found = on_region(self.registration, self._reader.state(day))
        if self._held is not None and self._held.start <= day <= self._held.end:
            self._analyses[day] = found
        return found

    def days_without_analysis(self, period: Period) -> list[int]:
        """Days of a period, as numbers since 1970-01-01, that the driver's stores lack.

        Raises:
            UserError: A store is missing or unfinished.
        """
        lacking: set[int] = set()
        for year in period.years:
            self.checksum(year)
            path = self.layout.state_store(year)
            times = np.asarray(open_arrays(path, ["time"])["time"][:])
            there = {int(t) for t in times} - store_gaps(path)
            lacking |= {day_number(day) for day in period.days(year)} - there
        return sorted(lacking)

    def forecast(self, start: dt.date) -> DriverForecast:
        """The driver's forecast from a start date.

        Raises:
            UserError: It is missing, unfinished or of another grid.
        """
        if start not in self._forecasts:
            self._forecasts[start] = DriverForecast(self, start)
        return self._forecasts[start]

    def checksum(self, year: int) -> str:
        """Checksum of the analyses of a year, from their manifest.

        Raises:
            UserError: Their store is missing, unfinished or of another grid.
        """
        if year not in self._checksums:
            path, command = self.layout.state_store(year), f"hybridom prepare state --year {year}"
            found = require_finished(path, self.layout.state_manifest(year), command)
            require_grid(path, self.grid, self.layout.grid_file)
            self._checksums[year] = str(found["checksum"])
        return self._checksums[year]


class DriverForecast:
    """One forecast of the driver, day by day on the region's cells.

    Args:
        driver: The driver.
        start: Day of lead 0.

    Attributes:
        path: Its store.
        days: Last lead.

    Raises:
        UserError: It is missing, unfinished or of another grid.
    """

    def __init__(self, driver: Driver, start: dt.date) -> None:
        self._driver, self.start = driver, start
        layout = driver.layout
        self.path = layout.forecast_store(start)
        manifest = require_finished(
            self.path, layout.forecast_manifest(start), f"hybridom forecast --start {start}"
        )
        require_grid(self.path, driver.grid, layout.grid_file)
        self.checksum = str(manifest["checksum"])
        leads = np.asarray(open_arrays(self.path, ["lead"])["lead"][:])
        if not np.array_equal(leads, np.arange(leads.size)):
            raise UserError(
                f"{self.path}: its leads are {leads.tolist()[:4]}..., expected 0, 1, 2...: make it "
                f"again with `hybridom forecast --start {start}`"
            )
        self.days = int(leads.size) - 1

    def require_days(self, days: int, key: str) -> None:
        """Make sure that it reaches a lead.

        Args:
            days: The lead.
            key: What asks for it, for the message.

        Raises:
            UserError: It ends earlier.
        """
        if self.days < days:
            raise UserError(
                f"{self.path}: the driver's forecast of {self.start} has {self.days} days, "
                f"expected the {days} of {key}: make a longer one with the driver's configuration "
                f"(`hybridom forecast --start {self.start} --set forecast.days={days}`), or "
                f"shorten {key}"
            )

    def state(self, day: int) -> Fields:
        """The forecast at a lead: variable -> ([nz,] ny, nx), float32, 0 on land.

        Args:
            day: Lead, 0 being the driver's analysis.

        Raises:
            UserError: There is no such lead; a wet cell has no value.
        """
        if not 0 <= day <= self.days:
            raise UserError(
                f"{self.path}: no lead {day} ({self.start + dt.timedelta(day)}), the forecast of "
                f"{self.start} has leads 0 to {self.days}: make a longer forecast of the driver "
                "(its forecast.days, or region.forecasts.days)"
            )
        wet = np.ascontiguousarray(self._driver.wet, np.uint8)
        fields: Fields = {}
        jobs = []
        for name, array in open_arrays(self.path, PROGNOSTIC).items():
            out = np.empty((1, *array.shape[1:]), np.float32)
            cover = wet if VARIABLES[name].has_depth else wet[0]
            jobs += list(rows_of(name, array).jobs(day, out, cover))
            fields[name] = out[0]
        if bad := run(jobs):
            raise UserError(
                f"{self.path}: variable {bad[0][0].name} has wet cells without value at lead "
                f"{day}; expected the mask of {self._driver.layout.grid_file}: make it again with "
                f"`hybridom forecast --start {self.start}`"
            )
        return on_region(self._driver.registration, fields)


def on_region(registration: Registration, fields: Fields) -> Fields:
    """Fields of the driver on the region's cells."""
    return {name: registration(name, field) for name, field in fields.items()}


def require_finished(store: Path, manifest: Path, command: str) -> dict[str, Any]:
    """The manifest of a store of the driver.

    Raises:
        UserError: There is none, so that the store is missing or unfinished.
    """
    found = read_json(manifest)
    if found is None:
        state = "is not finished"
        if not store.exists() and not store.with_name(store.name + ".partial").exists():
            state = "does not exist"
        raise UserError(
            f"{manifest}: no manifest, so the driver's store {store.name} {state}; expected a "
            f"complete one: run `{command}` with the driver's configuration (region.driver.file)"
        )
    return dict(found)


def require_grid(store: Path, grid: Grid, grid_file: Path) -> None:
    """Refuse a store of the driver that was made for another grid.

    Raises:
        UserError: Its hash is another one.
    """
    if (found := store_grid_hash(store)) != grid.hash:
        raise UserError(
            f"{store}: made for grid {found}, expected {grid.hash} of the driver's {grid_file}: "
            "make the driver's stores again, or correct region.driver"
        )
