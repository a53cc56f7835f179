"""Atmosphere files: which sample of which day lies where, from the headers alone."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from hybridom.data.raw.folders import find_sources, fingerprint
from hybridom.data.raw.forcing_grib import GribSource
from hybridom.data.raw.forcing_gridded import GriddedSource
from hybridom.data.raw.forcing_samples import HOUR_SECONDS, Sample, Samples
from hybridom.data.raw.forcing_sources import ForcingSource, Timeline
from hybridom.errors import UserError
from hybridom.variables import VARIABLES

GRIB_SUFFIXES = (".grib", ".grb", ".grib2", ".grb2")


def open_source(path: Path) -> ForcingSource:
    """Open a NetCDF file, a Zarr store (a folder) or a GRIB file.

    Raises:
        UserError: It cannot be opened.
    """
    return GribSource(path) if path.suffix in GRIB_SUFFIXES else GriddedSource(path)


@dataclass(frozen=True)
class ForcingFiles:
    """Samples of each variable and day, from the headers alone.

    Attributes:
        folder: Where the files lie, at any depth.
        samples: Variable -> day -> samples in order of time.
        unreadable: One line for each file that could not be opened or understood.
    """

    folder: Path
    samples: dict[str, Samples]
    unreadable: list[str] = field(default_factory=list)

    @classmethod
    def scan(cls, folder: Path, names: Sequence[str]) -> ForcingFiles:
        """Read the headers of all NetCDF files, Zarr stores and GRIB files.

        Args:
            folder: Where they lie, or one Zarr store.
            names: Variables that are wanted.

        Raises:
            UserError: There is no such folder or nothing in it.
        """
        paths = find_sources(folder, (".nc", *GRIB_SUFFIXES))
        if not paths:
            raise UserError(
                f"{folder}: no atmosphere file (*.nc, *.zarr, *.grib); run `hybridom twin` or set "
                "source.forcing_dir"
            )
        held: dict[str, list[tuple[Path, Timeline]]] = {name: [] for name in names}
        unreadable = []
        for path in paths:
            try:
                timelines = _timelines(path, fingerprint(path), tuple(names))
            except UserError as e:
                unreadable.append(str(e))
                continue
            for name, timeline in timelines.items():
                held[name].append((path, timeline))
        samples = {name: Samples(held[name], VARIABLES[name].hour_ending) for name in names}
        return cls(folder, samples, unreadable)

    @property
    def per_day(self) -> dict[str, int]:
        """Variable -> its number of samples a day; 0 where no file holds it."""
        return {name: samples.per_day for name, samples in self.samples.items()}

    def problem(self, name: str, day: dt.date) -> str | None:
        """Why a day of a variable cannot be averaged, in one line."""
        series = self.samples[name]
        if not series:
            return f"{self.folder}: variable {name} is absent from all files on {day}: fetch it"
        held = series.get(day, [])
        return (
            self._incomplete(name, day, held)
            or self._duplicate(name, day, held)
            or self._unlike(name, day, held)
        )

    def missing(self, days: Iterable[dt.date]) -> list[dt.date]:
        """Days that lack samples of a variable which other days have.

        A day without its file takes the last sample of the day before, where a variable is
        labelled at the end of its hours: both are missing then.
        """
        held = [name for name, series in self.samples.items() if series]
        return [
            day
            for day in days
            if any(self._incomplete(n, day, self.samples[n].get(day, [])) for n in held)
        ]

    def interim_days(self, days: Iterable[dt.date]) -> list[dt.date]:
        """Days of which any sample of any variable is preliminary (ERA5T)."""
        return [
            day
            for day in days
            if any(s.interim for series in self.samples.values() for s in series.get(day, []))
        ]

    def _incomplete(self, name: str, day: dt.date, held: list[Sample]) -> str | None:
        series = self.samples[name]
        if not held:
            return (
                f"{self.folder}: no file holds variable {name} on {day}: expected "
                f"{series.per_day} samples, fetch that day"
            )
        labels = {_seconds(sample.time, day) for sample in held}
        absent = [label for label in series.expected if label not in labels]
        if not absent:
            return None
        times = [dt.datetime.combine(day, dt.time()) + dt.timedelta(seconds=s) for s in absent]
        shown = ", ".join(f"{time:%Y-%m-%d %H:%M}" for time in times[:3])
        more = f" and {len(times) - 3} more" if len(times) > 3 else ""
        return (
            f"{held[0].path}: variable {name} on {day} has {len(held)} samples, expected "
            f"{series.per_day} as on the other days: no file holds {shown}{more} UTC, fetch "
            f"{'it' if len(times) == 1 else 'them'}"
        )

    def _duplicate(self, name: str, day: dt.date, held: list[Sample]) -> str | None:
        for a, b in itertools.pairwise(held):
            if a.time == b.time:
                return (
                    f"{b.path}: variable {name} on {day}: duplicate of {a.time:%H:%M} UTC in "
                    f"{a.path}: expected each time once, remove one"
                )
        return None

    def _unlike(self, name: str, day: dt.date, held: list[Sample]) -> str | None:
        """Samples that are whole but of another kind or at other times than can be averaged."""
        series, hours = self.samples[name], self.samples[name].spacing / HOUR_SECONDS
        where = f"{held[0].path}: variable {name} on {day}"
        if not series.daily and not series.expected:
            return (
                f"{where} has samples {hours:g} h apart; expected daily means, or a step that "
                "divides the day: fetch hourly files"
            )
        if len(held) != series.per_day:
            return (
                f"{where} has {len(held)} samples, expected {series.per_day}, {hours:g} h apart, "
                "as on the other days: fetch that day again"
            )
        if hours != 1 and any(s.path in series.accumulated for s in held):
            return (
                f"{where} is accumulated (J m-2) over an unknown time, its samples are {hours:g} h "
                "apart; expected one an hour, accumulated over that hour: fetch hourly files or "
                "convert it to W m-2"
            )
        if series.daily and any(s.path in series.instant for s in held):
            return (
                f"{where} is one value at {held[0].time:%H:%M} UTC (cell_methods: point); expected "
                "daily means or several samples a day: fetch hourly files"
            )
        return None


def _seconds(time: dt.datetime, day: dt.date) -> int:
    return round((time - dt.datetime.combine(day, dt.time())).total_seconds())


@lru_cache(maxsize=65536)
def _timelines(
    path: Path, fingerprint: tuple[int, int], names: tuple[str, ...]
) -> dict[str, Timeline]:
    """Times of the wanted variables that a file holds.

    The fingerprint tells whether the file has changed since it was last read.
    """
    source = open_source(path)
    try:
        return {name: source.timeline(name) for name in names if source.holds(name)}
    finally:
        source.close()
