"""What one job of the embedded ocean simulates, and what it starts from."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from hybridom.config import TwinConfig
from hybridom.errors import UserError
from hybridom.layout import Layout
from hybridom.twin.states import packaged_state, similar_state

SIMULATION = 1  # raised when the simulation or its products change for the same configuration


@dataclass(frozen=True)
class Start:
    """Where a simulation begins: a state, a restart, or rest.

    Attributes:
        day: First day to simulate.
        origin: Words that identify the start, kept in every product.
        state: Rounded state to start from.
        restart: Full restart to continue from.
        rest_day: Day on which the ocean was at rest, from which the winds rise.
        warning: What the user should know about this start.
    """

    day: dt.date
    origin: str
    state: Path | None = None
    restart: Path | None = None
    rest_day: dt.date | None = None
    warning: str = ""


@dataclass(frozen=True)
class YearPlan:
    """One job.

    Attributes:
        last: Last day to simulate.
        start: Where it begins.
        key: Digits that change with everything that its files depend on.
    """

    last: dt.date
    start: Start
    key: str

    @property
    def days(self) -> list[dt.date]:
        """All days of the job."""
        count = (self.last - self.start.day).days + 1
        return [self.start.day + dt.timedelta(n) for n in range(count)]


def plan_year(config: TwinConfig, layout: Layout, year: int) -> YearPlan:
    """The job of a calendar year.

    Raises:
        UserError: The year lies outside the simulation, or the year before is needed and missing.
    """
    if year not in config.years:
        raise UserError(f"year {year} is not simulated: twin covers {config.start} to {config.end}")
    first = max(config.start, dt.date(year, 1, 1))
    return calendar_year(config, find_start(config, layout, first), config.end)


def calendar_year(config: TwinConfig, start: Start, end: dt.date = dt.date.max) -> YearPlan:
    """The job from `start` to the end of its calendar year, or to `end` if that is earlier."""
    last = min(end, dt.date(start.day.year, 12, 31))
    parts = {
        "simulation": SIMULATION,
        "config": config.model_dump(mode="json", exclude={"start", "end"}),
        "days": [str(start.day), str(last)],
        "start": [start.origin, str(start.rest_day)],
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return YearPlan(last, start, digest[:12])


def find_start(config: TwinConfig, layout: Layout, first: dt.date) -> Start:
    """Choose a start: the package's state of that day, the year before, a similar state, rest."""
    state = packaged_state(config, first.year)
    if state is not None:
        return Start(first, f"{state.name} {digest_of(state)}", state=state)
    if first > config.start:
        return end_of_year(config, layout, first.year - 1)
    similar = similar_state(config)
    if similar is not None:
        return Start(
            first,
            f"{similar.name} {digest_of(similar)}",
            state=similar,
            warning=f"no state of {first} for these settings; starts from {similar.name} instead",
        )
    return Start(
        first,
        f"rest on {first}",
        rest_day=first,
        warning=f"no state at {config.degrees} degrees; starts from rest, and the upper ocean "
        "takes years to settle: make states with `hybridom twin states`",
    )


def end_of_year(config: TwinConfig, layout: Layout, year: int) -> Start:
    """The start of the year after `year`, which must have been simulated as configured."""
    manifest = layout.twin_manifest(year)
    first = dt.date(year + 1, 1, 1)
    if not manifest.exists():
        raise UserError(
            f"{manifest}: {year} is not simulated, and the package has no state of {first}; "
            f"simulate {year} first"
        )
    record = json.loads(manifest.read_text(encoding="utf-8"))
    if record["key"] != plan_year(config, layout, year).key:
        raise UserError(
            f"{manifest}: {year} was simulated with other settings; simulate {year} again first"
        )
    restart = restart_dir(layout) / f"{first:%Y%m%d}.h5"
    if not restart.exists():
        raise UserError(
            f"{restart}: restart not found; delete {manifest} and simulate {year} again"
        )
    rest = record["rest_day"]
    return Start(
        first,
        f"end of {year} {record['key']}",
        restart=restart,
        rest_day=dt.date.fromisoformat(rest) if rest else None,
    )


def restart_dir(layout: Layout) -> Path:
    """Folder of the restarts, named by the day that they continue with."""
    return layout.twin_dir / "restart"


def digest_of(path: Path) -> str:
    """First digits of the SHA-256 sum of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
