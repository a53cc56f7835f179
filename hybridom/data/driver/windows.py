"""Which of the driver's oceans, analysed or forecast, stands around each window of days."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hybridom.data.day_reader import Fields
from hybridom.data.days import as_date, day_number
from hybridom.data.driver.reading import Driver
from hybridom.errors import UserError

# Keeps the numbers that are drawn here apart from those that order the windows.
STREAM = 1


@dataclass(frozen=True)
class Drive:
    """How the windows of a data set are driven.

    Attributes:
        driver: The driver.
        starts: Start dates of its forecasts that may drive windows, ascending.
        days: Leads of each of them that may.
        part: Part of the windows that forecasts drive; analyses drive the rest.
        seed: Seed and curriculum stage: with the index of a window all that a draw depends on.
    """

    driver: Driver
    starts: tuple[dt.date, ...]
    days: int
    part: float
    seed: tuple[int, int]


class DrivenWindows:
    """The windows of a data set, each with what drives it.

    Args:
        drive: How they are driven.
        first: (n,) first days of the windows, in days since 1970-01-01.
        days: K; a window has K + 1 days.

    Attributes:
        covered: Indices of the windows that at least one forecast covers.

    Raises:
        UserError: Forecasts are to drive windows and cover none, or one of them is missing,
            unfinished or too short.
    """

    def __init__(self, drive: Drive, first: NDArray[np.int64], days: int) -> None:
        self._drive, self._first, self._days = drive, first, days
        begin = np.array([day_number(day) for day in drive.starts], np.int64)
        inside = (begin <= first[:, None]) & (first[:, None] + days <= begin + drive.days)
        self._covers = inside if drive.part > 0 else np.zeros_like(inside)
        self.covered = np.flatnonzero(self._covers.any(axis=1))
        if drive.part == 0 or first.size == 0:
            return
        if self.covered.size == 0:
            raise UserError(
                f"region.forecasts: none of {first.size} windows of {days} days from "
                f"{as_date(int(first[0]))} on lies in one of the driver's {len(drive.starts)} "
                f"forecasts of {drive.days} days; expected at least one: lengthen "
                "region.forecasts.days, lower region.forecasts.every, or set forecasts 0 in "
                "training.curriculum"
            )
        self._require_forecasts()

    def draw(self, index: int) -> tuple[int, dt.date | None]:
        """First day of a window and the start date of the forecast that drives it, if one does.

        Where a forecast is to drive a window that none covers, another window takes its place.
        """
        drive = self._drive
        if drive.part == 0:
            return int(self._first[index]), None
        random = np.random.default_rng([*drive.seed, index, STREAM])
        if random.random() >= drive.part:
            return int(self._first[index]), None
        if not self._covers[index].any():
            index = int(random.choice(self.covered))
        start = int(random.choice(np.flatnonzero(self._covers[index])))
        return int(self._first[index]), drive.starts[start]

    def states(self, first: int, start: dt.date | None) -> Fields:
        """The driver's ocean of the days of a window.

        Args:
            first: First day of the window.
            start: Start date of the forecast that drives it; None: the analyses do.

        Returns:
            Variable -> (K + 1, [nz,] ny, nx).

        Raises:
            UserError: A day is missing.
        """
        driver, numbers = self._drive.driver, range(first, first + self._days + 1)
        if start is None:
            days = [driver.analysis(as_date(number)) for number in numbers]
        else:
            forecast = driver.forecast(start)
            days = [forecast.state(number - day_number(start)) for number in numbers]
        return {name: np.stack([day[name] for day in days]) for name in days[0]}

    def _require_forecasts(self) -> None:
        """Open every forecast that may be drawn, long before it is."""
        for number in np.flatnonzero(self._covers.any(axis=0)):
            start = self._drive.starts[number]
            forecast = self._drive.driver.forecast(start)
            forecast.require_days(self._drive.days, "region.forecasts.days")
