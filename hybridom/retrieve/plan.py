"""What is to be fetched: boxes, months, and the files of a month. Nothing here needs a network."""

from __future__ import annotations

import datetime as dt
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybridom.config import Config, StageConfig
from hybridom.errors import UserError

GLORYS_STEP = 1.0 / 12.0  # degrees
ERA5_STEP = 0.25  # degrees
DAY = dt.timedelta(1)
HIDDEN = ".partial"


@dataclass(frozen=True)
class Box:
    """A box of longitudes and latitudes.

    Attributes:
        south: Degrees north.
        north: Degrees north.
        west: Degrees east, in [-180, 180).
        east: Degrees east, above `west`; over 180 where the box crosses the date line.
    """

    south: float
    north: float
    west: float
    east: float

    @property
    def around(self) -> bool:
        """Whether it goes round the Earth."""
        return self.east - self.west >= 360.0

    def outward(self, step: float) -> Box:
        """The smallest box around this one whose edges are multiples of `step` (degrees)."""
        east = self.east if self.around else math.ceil(self.east / step - 1e-6) * step
        return Box(
            max(-90.0, math.floor(self.south / step + 1e-6) * step),
            min(90.0, math.ceil(self.north / step - 1e-6) * step),
            self.west if self.around else math.floor(self.west / step + 1e-6) * step,
            east,
        )

    def points(self, step: float, southmost: float = -90.0) -> int:
        """Number of points of a global product with nodes every `step` degrees in the box."""
        south = max(self.south, southmost)
        rows = round((self.north - south) / step) + 1
        columns = round(360.0 / step) if self.around else round((self.east - self.west) / step) + 1
        return rows * columns


def fetched_box(config: Config | StageConfig) -> Box:
    """The grid's box with `download.margin` around it."""
    margin = config.download.margin
    (south, north), (west, east) = config.grid.lat, config.grid.lon
    south, north = max(-90.0, south - margin), min(90.0, north + margin)
    if east - west + 2 * margin >= 360.0:
        return Box(south, north, -180.0, 180.0)
    start = (west - margin + 180.0) % 360.0 - 180.0
    return Box(south, north, start, start + east - west + 2 * margin)


@dataclass(frozen=True)
class Piece:
    """One file to fetch.

    Attributes:
        key: Its name within the job.
        dataset: Dataset that it comes from.
        request: All that decides its contents; another request makes it another file.
        variables: Variables that it must hold; names of `hybridom.variables` are also found under
            their aliases.
        times: Time labels that it must hold, and no others, to the precision that they are
            written in: `1993-01-31` or `1993-01-31T07`. Empty: without time.
        box: Box that it must cover; None: not looked at.
        step: Spacing of its points (degrees).
        size: Estimate of its size (bytes).
        transfer: Estimate of what goes over the network for it (bytes).
        interim: Whether its dataset is preliminary.
    """

    key: str
    dataset: str
    request: dict[str, Any]
    variables: tuple[str, ...]
    times: tuple[str, ...]
    box: Box | None
    step: float
    size: float
    transfer: float
    interim: bool = False


@dataclass(frozen=True)
class Job:
    """The files of one month, or the static ones.

    Attributes:
        name: Words for messages, such as `ocean 1993-01`.
        mode: How they are fetched; files of two modes would hold the same days twice.
        folder: Where they go.
        manifest: JSON file that is written last.
        pieces: The files.
        client: Distribution of the client that fetches them.
        exclusive: Whether files of earlier requests that are no longer asked for must go because
            they could hold the same days.
    """

    name: str
    mode: str
    folder: Path
    manifest: Path
    pieces: tuple[Piece, ...]
    client: str
    exclusive: bool = False

    @property
    def partial(self) -> Path:
        """Folder of unfinished files; hidden, because all others are looked at by who reads."""
        return self.folder / HIDDEN / self.manifest.stem

    @property
    def journal(self) -> Path:
        """What has been fetched so far; it outlives the manifest, which a workflow may delete."""
        return self.manifest.with_name(f".{self.manifest.stem}.journal.json")


def month_days(config: Config | StageConfig, month: str) -> list[dt.date]:
    """Days of a month (YYYY-MM) that lie in any period, ascending.

    Raises:
        UserError: It is no month of the periods.
    """
    months = config.periods.months()
    if month not in months:
        raise UserError(
            f"--month {month}: no day of it lies in periods; expected {months[0]} to {months[-1]}"
        )
    return [day for day in config.periods.days(int(month[:4])) if f"{day:%Y-%m}" == month]


def runs(days: Iterable[dt.date], breaks: Sequence[dt.date] = ()) -> list[list[dt.date]]:
    """Split ascending days into runs without gap; a new run begins at each day of `breaks`."""
    found: list[list[dt.date]] = []
    for day in days:
        if not found or day - found[-1][-1] != DAY or day in breaks:
            found.append([])
        found[-1].append(day)
    return found


def listed(days: Iterable[dt.date | str], shown: int = 10) -> str:
    """Days for a message, the first `shown` of them by name."""
    names = [str(day) for day in days]
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(itertools.islice(names, shown)) + more


def human(size: float) -> str:
    """Bytes in words, such as `1.5 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 99.5 else f"{size:.3g} {unit}"
        size /= 1000.0
    return f"{size:.3g} TB"
