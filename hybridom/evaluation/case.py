"""One forecast beside its truth and baselines, day by day: what every family of scores is given."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn, Protocol, runtime_checkable

import numpy as np

from hybridom.errors import UserError
from hybridom.evaluation.normalised import Scales, read_scales
from hybridom.evaluation.reading import BUFFERS, Take
from hybridom.evaluation.regions import Regions, region_weights
from hybridom.evaluation.stores import Climatology, ForecastStore, Truth
from hybridom.evaluation.stream import read_ahead
from hybridom.evaluation.systems import MODEL, Prepared, System, systems
from hybridom.evaluation.thresholds import Thresholds, open_thresholds
from hybridom.grid import Grid, read_grid
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC

AHEAD = 2  # days; one being read and one ready keep all threads busy


class Daily(Protocol):
    """Fields by calendar day."""

    def field(self, name: str, day: dt.date) -> np.ndarray:
        """A variable on a day (nz or 1, ny, nx), finite in every wet cell."""


@runtime_checkable
class Checked(Protocol):
    """A source whose fields are looked at when scores turn out not to be finite."""

    def check(self, name: str, when: Any) -> None:
        """Refuse a day, or a lead of a model, that lacks a value in a wet cell.

        Raises:
            UserError: It does.
        """


class Stored:
    """Truth or climatology as it is stored, not looked at: the scores tell what is not finite.

    Args:
        source: The store.
        take: Gives memory for a field.
    """

    def __init__(self, source: Truth | Climatology, take: Take) -> None:
        self._source, self._take = source, take

    def field(self, name: str, day: dt.date) -> np.ndarray:
        """A variable on a day (nz or 1, ny, nx)."""
        return self._source.stored(name, day, self._take)

    def check(self, name: str, day: dt.date) -> None:
        """Refuse a day that lacks a value in a wet cell."""
        self._source.field(name, day)


@dataclass(frozen=True)
class Case:
    """One forecast, its truth and its baselines on one grid.

    Attributes:
        start: Date of the initial state, lead 0.
        days: The last lead.
        grid: Their grid.
        wet: bool (nz, ny, nx).
        regions: Where scores are taken.
        names: Prognostic variables that are scored.
        truth: The verifying analysis.
        climatology: The climatology of a day, or None.
        systems: What is scored: the model first, then the baselines.
        thresholds: Thresholds of extremes, or None.
        scales: Standard deviation of each variable by level, or None.
        ahead: Days that `each_day` reads before they are asked for, in threads; 0 where truth,
            climatology or model may not be read from several threads.
        threads: Threads that read and score; None for one a core, 8 at most.
    """

    start: dt.date
    days: int
    grid: Grid
    wet: np.ndarray
    regions: Regions
    names: tuple[str, ...]
    truth: Daily
    climatology: Daily | None
    systems: Mapping[str, System]
    thresholds: Thresholds | None = None
    scales: Scales | None = None
    ahead: int = 0
    threads: int | None = None

    def day(self, lead: int) -> Day:
        """The fields of a lead, 0 being the initial state."""
        return Day(self, lead)

    def each_day(self) -> Iterator[Day]:
        """The fields of all leads from 1; `ahead` days are read before they are asked for."""
        days = (self.day(lead) for lead in range(1, self.days + 1))
        return read_ahead(days, self.ahead, self.threads) if self.ahead else days


class Day:
    """The fields of one lead; each is read once and kept as long as the day is.

    Args:
        case: The forecast.
        lead: Lead in days.
    """

    def __init__(self, case: Case, lead: int) -> None:
        self.case, self.lead = case, lead
        self.date = case.start + dt.timedelta(lead)
        self._held: dict[tuple[str, str], np.ndarray] = {}

    def truth(self, name: str) -> np.ndarray:
        """The verifying field (nz or 1, ny, nx); on land it may hold anything."""
        return self._once("truth", name, lambda: self.case.truth.field(name, self.date))

    def normal(self, name: str) -> np.ndarray:
        """The climatology of the day, of the same shape.

        Raises:
            LookupError: The case has no climatology.
        """
        climatology = self.case.climatology
        if climatology is None:
            raise LookupError("no climatology")
        return self._once("normal", name, lambda: climatology.field(name, self.date))

    def forecast(self, system: str, name: str) -> np.ndarray:
        """The forecast of a system, of the same shape."""

        def read() -> np.ndarray:
            # The model's is stored: it can be read while the climatology is.
            needs_normal = system != MODEL and self.case.climatology is not None
            normal = self.normal(name) if needs_normal else None
            return self.case.systems[system].field(name, self.lead, normal)

        return self._once(f"system {system}", name, read)

    def reads(self) -> list[Callable[[], np.ndarray]]:
        """What there is to be read of the day: truth, climatology and model of every variable."""
        kinds: list[Callable[[str], np.ndarray]] = [self.truth, partial(self.forecast, MODEL)]
        if self.case.climatology is not None:
            kinds.append(self.normal)
        return [partial(kind, name) for name in self.case.names for kind in kinds]

    def prepare(self) -> None:
        """Make what systems make as a whole."""
        for system in self.case.systems.values():
            if isinstance(system, Prepared):
                system.prepare(self.lead)

    def refuse(self, name: str) -> NoReturn:
        """Say which field of a variable lacks a value in a wet cell.

        Raises:
            UserError: Always.
        """
        case = self.case
        sources = (case.truth, self.date), (case.climatology, self.date)
        for source, when in (*sources, (case.systems[MODEL], self.lead)):
            if isinstance(source, Checked):
                source.check(name, when)
        raise UserError(
            f"forecast from {case.start}: {name} is not finite in wet cells at lead {self.lead}, "
            "in the truth, the climatology, the initial state or a forecast; expected a number in "
            "every wet cell"
        )

    def _once(self, source: str, name: str, read: Callable[[], np.ndarray]) -> np.ndarray:
        if (source, name) not in self._held:
            self._held[source, name] = read()
        return self._held[source, name]


def open_case(config: Any, layout: Layout, start: dt.date, threads: int | None = None) -> Case:
    """Open the stores of one forecast of the workflow.

    Fields are float32 as stored, those of the climatology of 29 February float64. Their wet cells
    are looked at by the scores of the fields, the first of all families.

    Args:
        config: A `Config` or the `evaluate` stage's part of it.
        layout: Paths.
        start: Start date.
        threads: Threads that read and score; None for one a core, 8 at most.

    Raises:
        UserError: A store, the damping, the statistics or the thresholds are missing, incomplete,
            or not aligned with the others; a region is unknown or holds no water.
    """
    grid, wet = read_grid(layout.grid_file)
    chosen = config.evaluation
    regions = region_weights(grid, wet, chosen.regions, chosen.named_regions, chosen.edges)
    days = config.forecast.days
    take = BUFFERS.take
    forecast = ForecastStore(layout, grid, wet, start, days)
    truth, climatology = Truth(layout, grid, wet), Climatology(layout, grid, wet)
    scored = systems(config, layout, grid, wet, forecast, climatology, take, threads)
    needed = config.evaluation.needs_thresholds
    thresholds = open_thresholds(config, layout, grid, wet) if needed else None
    scales = read_scales(layout.statistics_file, grid)
    return Case(
        *(start, days, grid, wet, regions, PROGNOSTIC, Stored(truth, take)),
        *(Stored(climatology, take), scored, thresholds, scales, AHEAD, threads),
    )
