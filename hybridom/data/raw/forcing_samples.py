"""Which samples make up which day of a variable of the atmosphere.

ERA5's instantaneous values of a day are those labelled 00 to 23 UTC. Mean rates and accumulations
are of the hour that ends at their label, so that a day is labelled 01 to 24 and its last sample
lies at 00:00 of the next day. Daily means belong to the day on which they are stamped.
Source: ERA5 data documentation, section "Mean rates/fluxes and accumulations", ECMWF.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridom.data.raw.forcing_sources import Timeline

DAY_SECONDS = 86400
HOUR_SECONDS = 3600


class Sample(NamedTuple):
    """One time step of one variable of the atmosphere.

    Attributes:
        time: Its label (UTC).
        path: Its file.
        step: Where it lies in the file.
        interim: Whether it is preliminary (ERA5T).
    """

    time: dt.datetime
    path: Path
    step: int
    interim: bool = False


class Samples(Mapping[dt.date, list[Sample]]):
    """Day -> its samples in order of time; arrays inside, for 28 hourly years are a million.

    Args:
        files: Path and times of each file that holds the variable.
        hour_ending: Whether sub-daily samples are means over the time that ends at their label.

    Attributes:
        spacing: Seconds between neighbouring samples; a day or more for daily means.
        expected: Seconds from the start of a day to each label of it; empty where the samples
            do not divide the day evenly.
        accumulated: Files whose values are sums over time.
        instant: Files that say that each value is of one instant.
    """

    def __init__(self, files: Sequence[tuple[Path, Timeline]], hour_ending: bool) -> None:
        self._paths = [path for path, _ in files]
        lines = [timeline for _, timeline in files]
        self.accumulated = {path for path, line in files if line.accumulated}
        self.instant = {path for path, line in files if line.instant}
        times = np.concatenate([np.empty(0, "datetime64[s]"), *(line.times for line in lines)])
        order = np.argsort(times, kind="stable")
        self._times = times[order]
        self._file = np.repeat(np.arange(len(lines)), [line.times.size for line in lines])[order]
        self._step = np.concatenate([np.empty(0, int), *(line.steps for line in lines)])[order]
        self._interim = np.concatenate([np.empty(0, bool), *(x.interim for x in lines)])[order]
        seconds = self._times.astype(np.int64)
        self.spacing = _spacing(seconds)
        ending = hour_ending and not self.daily
        self.expected = self._expected(seconds, ending)
        # A label at midnight ends the day before.
        self._day = (seconds - (1 if ending else 0)) // DAY_SECONDS
        self._days = np.unique(self._day)

    @property
    def daily(self) -> bool:
        """Whether there is one sample a day, its mean."""
        return self.spacing >= DAY_SECONDS

    def _expected(self, seconds: NDArray[np.int64], ending: bool) -> tuple[int, ...]:
        if self.daily or DAY_SECONDS % self.spacing:
            return ()
        phases, counts = np.unique(seconds % self.spacing, return_counts=True)
        phase = int(phases[np.argmax(counts)])
        first = self.spacing if ending and phase == 0 else phase
        return tuple(range(first, first + DAY_SECONDS, self.spacing))

    @property
    def per_day(self) -> int:
        """Samples that make up a day; 0 where no file holds the variable."""
        return (1 if self.daily else len(self.expected)) if self._times.size else 0

    def __getitem__(self, day: dt.date) -> list[Sample]:
        first, last = np.searchsorted(self._day, day_number(day) + np.arange(2))
        if first == last:
            raise KeyError(day)
        return [
            Sample(
                self._times[n].item(),
                self._paths[self._file[n]],
                int(self._step[n]),
                bool(self._interim[n]),
            )
            for n in range(first, last)
        ]

    def __iter__(self) -> Iterator[dt.date]:
        return (dt.date(1970, 1, 1) + dt.timedelta(int(n)) for n in self._days)

    def __len__(self) -> int:
        return self._days.size

    def within(
        self, path: Path, first: int, last: int, days: tuple[int, int]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Samples of a file in a range of steps and of days.

        Args:
            path: The file.
            first: First step.
            last: Step after the last one.
            days: First day since 1970-01-01, and the day after the last one.

        Returns:
            Their steps, days, and seconds since the start of the day.
        """
        near = slice(*np.searchsorted(self._day, days))
        step = self._step[near]
        here = (step >= first) & (step < last) & (self._file[near] == self._paths.index(path))
        day = self._day[near][here]
        seconds = self._times[near][here].astype(np.int64) - day * DAY_SECONDS
        return step[here], day, seconds


def day_number(day: dt.date) -> int:
    """Days since 1970-01-01."""
    return (day - dt.date(1970, 1, 1)).days


def _spacing(seconds: NDArray[np.int64]) -> int:
    """The usual distance of neighbouring times; a day where there is one time alone."""
    steps, counts = np.unique(np.diff(np.unique(seconds)), return_counts=True)
    return int(steps[np.argmax(counts)]) if steps.size else DAY_SECONDS
