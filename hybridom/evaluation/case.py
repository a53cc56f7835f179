"""One forecast beside its truth and baselines, day by day: what every family of scores is given."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from hybridom.evaluation.regions import Regions, region_weights
from hybridom.evaluation.stores import Climatology, ForecastStore, Truth
from hybridom.evaluation.systems import System, systems
from hybridom.evaluation.thresholds import Thresholds, open_thresholds
from hybridom.grid import Grid, read_grid
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC


class Daily(Protocol):
    """Fields by calendar day."""

    def field(self, name: str, day: dt.date) -> np.ndarray:
        """A variable on a day (nz or 1, ny, nx), finite in every wet cell."""


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

    def day(self, lead: int) -> Day:
        """The fields of a lead, 0 being the initial state."""
        return Day(self, lead)

    def each_day(self) -> Iterator[Day]:
        """The fields of all leads from 1."""
        return (self.day(lead) for lead in range(1, self.days + 1))


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
            normal = self.normal(name) if self.case.climatology else None
            return self.case.systems[system].field(name, self.lead, normal)

        return self._once(f"system {system}", name, read)

    def _once(self, source: str, name: str, read: Callable[[], np.ndarray]) -> np.ndarray:
        if (source, name) not in self._held:
            self._held[source, name] = read()
        return self._held[source, name]


def open_case(config: Any, layout: Layout, start: dt.date) -> Case:
    """Open the stores of one forecast of the workflow.

    Args:
        config: A `Config` or the `evaluate` stage's part of it.
        layout: Paths.
        start: Start date.

    Raises:
        UserError: A store, the damping or the thresholds are missing, incomplete, or not aligned
            with the others.
    """
    grid, wet = read_grid(layout.grid_file)
    regions = region_weights(grid, wet, config.evaluation.regions)
    days = config.forecast.days
    forecast = ForecastStore(layout, grid, wet, start, days)
    truth, climatology = Truth(layout, grid, wet), Climatology(layout, grid, wet)
    scored = systems(config, layout, grid, forecast, climatology)
    needed = {"extremes", "heatwaves"} & set(config.evaluation.families)
    thresholds = open_thresholds(config, layout, grid, wet) if needed else None
    return Case(
        *(start, days, grid, wet, regions, PROGNOSTIC, truth, climatology, scored, thresholds)
    )
