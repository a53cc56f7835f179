"""Which ocean file holds which day: originals by their names, all other files by their headers."""

from __future__ import annotations

import datetime as dt
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from hybridom.data.raw.folders import find_sources, fingerprint
from hybridom.data.raw.netcdf import SourceFile
from hybridom.errors import UserError
from hybridom.files import read_json
from hybridom.variables import ICE, PROGNOSTIC

# GLORYS12V1's own daily files; the second date is that of production.
OCEAN_FILE = re.compile(r"mercatorglorys12v1_gl12_mean_(\d{4})(\d{2})(\d{2})_R\d{8}\.nc")
MONTHLY_FILE = re.compile(r"mercatorglorys12v1_gl12_mean_\d{4}_?\d{2}\.nc|.*P1M-m.*")
INTERIM = "myint"  # in the name of the product's interim datasets
OCEAN_NAMES = frozenset((*PROGNOSTIC, *ICE))
MONTH = dt.timedelta(days=27)  # no two monthly means lie closer


@dataclass(frozen=True)
class Record:
    """A day in a file, and in the others over which its variables are split.

    Attributes:
        path: NetCDF file or Zarr store; of several, the one with the temperature.
        step: Index of the day on its time axis.
        interim: Whether any of the files is known to be of an interim dataset.
        names: Variables in this file; an original is taken to hold all.
        others: Records of the same day with other variables.
    """

    path: Path
    step: int
    interim: bool
    names: frozenset[str] = OCEAN_NAMES
    others: tuple[Record, ...] = ()

    @property
    def parts(self) -> tuple[Record, ...]:
        """This record and the others."""
        return (self, *self.others)

    @property
    def paths(self) -> list[Path]:
        """All files of the day."""
        return [part.path for part in self.parts]

    def of(self, name: str, day: dt.date) -> Record:
        """The part that holds a variable.

        Args:
            name: Variable.
            day: Day, for the message.

        Raises:
            UserError: No part holds it.
        """
        for part in self.parts:
            if name in part.names:
                return part
        raise UserError(absence(self.path, name, day, frozenset().union(*map(_names, self.parts))))


def _names(record: Record) -> frozenset[str]:
    return record.names


def absence(path: Path, name: str, day: dt.date, held: frozenset[str]) -> str:
    """What to say of a variable that the files of a day do not hold, in one line."""
    return (
        f"{path}: variable {name} is absent on {day}, the files of that day hold "
        f"{', '.join(sorted(held))}; expected {name}: fetch the files with it"
    )


@dataclass(frozen=True)
class OceanFiles:
    """Days and their files.

    Attributes:
        folder: Where the files lie, at any depth.
        by_day: Records of each day; more than one that hold the same variable are an error once
            that day is needed.
        names: Variables that every day needs.
        refused: One line for each file that cannot be of use: unreadable, another calendar, or
            no daily means.
    """

    folder: Path
    by_day: dict[dt.date, list[Record]]
    names: tuple[str, ...] = PROGNOSTIC
    refused: list[str] = field(default_factory=list)

    @classmethod
    def scan(cls, folder: Path, names: Sequence[str] = PROGNOSTIC) -> OceanFiles:
        """Find the files. Those without any ocean variable (static files) do not count.

        Args:
            folder: Where they lie, at any depth.
            names: Variables that every day needs.

        Raises:
            UserError: There is no such folder or no such file in it.
        """
        found = cls(folder, {}, tuple(names))
        interim = _fetched_as_interim(folder)
        for path in find_sources(folder):
            try:
                records = list(_records(path, folder, interim))
            except UserError as e:
                found.refused.append(str(e))
                continue
            for day, record in records:
                found.by_day.setdefault(day, []).append(record)
        if not found.by_day and not found.refused:
            raise UserError(
                f"{folder}: no ocean file; expected names such as "
                "mercatorglorys12v1_gl12_mean_20010101_R20010103.nc, or the toolbox's subsets as "
                "NetCDF or Zarr: run `hybridom twin` or set source.ocean_dir"
            )
        return found

    def missing(self, days: Sequence[dt.date]) -> list[dt.date]:
        """Days of which no file holds a needed variable."""
        return [day for day in days if not self._held(day).issuperset(self.names)]

    def _held(self, day: dt.date) -> frozenset[str]:
        return frozenset().union(*map(_names, self.by_day.get(day, [])))

    def problem(self, day: dt.date) -> str | None:
        """Why a day cannot be read, in one line: it is missing, or held twice."""
        records = self.by_day.get(day, [])
        if not records:
            refused = f" ({len(self.refused)} files refused)" if self.refused else ""
            return (
                f"{self.folder}: no file mercatorglorys12v1_gl12_mean_{day:%Y%m%d}_R*.nc nor any "
                f"other with that day{refused}, all ocean variables are missing on {day}: expected "
                "one daily mean, fetch or make it"
            )
        for a, b in itertools.combinations(records, 2):
            if shared := a.names & b.names & set(self.names):
                what = (
                    "all ocean variables"
                    if shared == set(self.names)
                    else ", ".join(sorted(shared))
                )
                return (
                    f"{b.path}: duplicate of {a.path}, both hold {what} on {day}: expected one "
                    "file a day, remove one"
                )
        held = self._held(day)
        lacking = [name for name in self.names if name not in held]
        return absence(records[0].path, lacking[0], day, held) if lacking else None

    def record(self, day: dt.date) -> Record:
        """Where a day lies.

        Raises:
            UserError: It is missing, or held twice.
        """
        problem = self.problem(day)
        if problem:
            raise UserError(problem)
        records = self.by_day[day]
        if len(records) == 1:
            return records[0]
        first = next((r for r in records if PROGNOSTIC[0] in r.names), records[0])
        return replace(
            first,
            interim=any(r.interim for r in records),
            others=tuple(r for r in records if r is not first and r.names & OCEAN_NAMES),
        )

    def path(self, day: dt.date) -> Path:
        """The file of a day that holds the temperature.

        Raises:
            UserError: The day is missing, or held twice.
        """
        return self.record(day).path

    def interim_days(self, days: Sequence[dt.date]) -> list[dt.date]:
        """Those of `days` that are known to be from an interim dataset.

        Originals carry the same names and attributes in both datasets. Interim ones are known by
        what `hybridom retrieve` has noted, or by the dataset's name in a folder on their way, which
        the toolbox makes unless asked not to; without either they count as final.
        """
        return [day for day in days if any(r.interim for r in self.by_day.get(day, []))]


def _fetched_as_interim(folder: Path) -> frozenset[dt.date]:
    """Days that the manifests of downloads call interim."""
    manifests = (read_json(path) for path in sorted((folder / "manifests").glob("*.json")))
    days = (day for manifest in manifests if manifest for day in manifest.get("interim_days", ()))
    return frozenset(map(dt.date.fromisoformat, days))


def _records(
    path: Path, folder: Path, interim_days: frozenset[dt.date]
) -> Iterator[tuple[dt.date, Record]]:
    """Days of a file.

    Raises:
        UserError: The file is of no use.
    """
    interim = INTERIM in str(path.relative_to(folder.parent)).lower()
    if match := OCEAN_FILE.fullmatch(path.name):
        try:
            day = dt.date(*map(int, match.groups()))
        except ValueError:
            raise UserError(
                f"{path}: its name holds no date of a day for all variables; expected "
                "mercatorglorys12v1_gl12_mean_YYYYMMDD_RYYYYMMDD.nc: fetch it again"
            ) from None
        yield day, Record(path, 0, interim or day in interim_days)
        return
    header = _header(path, fingerprint(path))
    for step, day in enumerate(header.days):
        known = interim or header.interim or day in interim_days
        yield day, Record(path, step, known, header.names)


@dataclass(frozen=True)
class _Header:
    names: frozenset[str]
    days: tuple[dt.date, ...]
    interim: bool


@lru_cache(maxsize=65536)
def _header(path: Path, fingerprint: tuple[int, int]) -> _Header:
    """Header of a file; the fingerprint tells whether it has changed since it was last read."""
    with SourceFile(path) as file:
        names = frozenset(name for name in OCEAN_NAMES if file.variable(name) is not None)
        if not names:
            return _Header(names, (), False)
        _refuse_other_means(path, names, file.times)
        days = tuple(time.date() for time in file.times)
        return _Header(names, days, is_interim(file.attributes))


def is_interim(attributes: Mapping[str, Any]) -> bool:
    """Whether global attributes name an interim dataset."""
    return any(INTERIM in str(value).lower() for value in attributes.values())


def _refuse_other_means(path: Path, names: frozenset[str], times: list[dt.datetime]) -> None:
    """Refuse monthly means and more than one time a day."""
    held = ", ".join(sorted(names))
    steps = [b - a for a, b in itertools.pairwise(times)]
    if MONTHLY_FILE.fullmatch(path.name) or (steps and min(steps) >= MONTH):
        first = f"{times[0]:%Y-%m-%d}" if times else "no day"
        raise UserError(
            f"{path}: holds monthly means of {held}, the first stamped {first}; expected daily "
            "means (dataset ...P1D-m): remove it and fetch those"
        )
    counts = Counter(time.date() for time in times).most_common(1)
    if counts and counts[0][1] > 1:
        raise UserError(
            f"{path}: the time axis of {held} holds {counts[0][1]} times on {counts[0][0]}; "
            "expected one daily mean a day (dataset ...P1D-m): remove it and fetch those"
        )
