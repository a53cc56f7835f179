"""What is scored: the model and the baselines, each a field by variable and lead.

A new baseline is one class with the method of `System`, its entry in `systems`, its name in
`hybridom.config.output.Baseline`, its words and letter in `summary` and its look in
`hybridom.figures.style`. How systems are scored lies in `hybridom.metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from hybridom.data.stores.threads import shared_pool
from hybridom.evaluation.damping import read_damping
from hybridom.evaluation.driver import open_driven
from hybridom.evaluation.reading import Take, fresh
from hybridom.evaluation.stores import Climatology, ForecastStore
from hybridom.grid import Grid
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC

MODEL = "model"
Fields = Mapping[str, np.ndarray]


class System(Protocol):
    """Forecasts of one system from one start date."""

    def field(self, name: str, lead: int, normal: Any) -> np.ndarray:
        """The forecast of a variable (nz or 1, ny, nx).

        Args:
            name: Prognostic variable.
            lead: Lead in days; 0 is the initial state.
            normal: Climatology of the variable on the valid day, of the same shape; None where
                there is none, which only some systems allow.
        """


@dataclass(frozen=True)
class Scaled:
    """An anomaly that is `factor * (values - reference)`.

    Attributes:
        values: (nz or 1, ny, nx).
        reference: (nz or 1, ny, nx), or None for 0.
        factor: (nz or 1,).
    """

    values: np.ndarray
    reference: np.ndarray | None
    factor: np.ndarray


@runtime_checkable
class Anomalies(Protocol):
    """A system whose anomalies are known without its field, which saves making that."""

    def anomaly(self, name: str, lead: int) -> Scaled | None:
        """The forecast less the climatology of the valid day; None where it is 0 everywhere."""


@runtime_checkable
class Prepared(Protocol):
    """A system that makes all fields of a lead together, which may be done ahead."""

    def prepare(self, lead: int) -> None:
        """Make them, so that `field` finds them; it may use the shared threads, in none of them."""


class Model:
    """The forecast that was stored.

    Args:
        forecast: Its store.
        take: Gives memory for a field.
    """

    def __init__(self, forecast: ForecastStore, take: Take = fresh) -> None:
        self._forecast, self._take = forecast, take

    def field(self, name: str, lead: int, normal: Any) -> np.ndarray:
        """The stored field."""
        return self._forecast.stored(name, lead, self._take)

    def check(self, name: str, lead: int) -> None:
        """Refuse a lead that lacks a value in a wet cell."""
        self._forecast.field(name, lead)


class Persistence:
    """The initial state, held."""

    def __init__(self, initial: Fields) -> None:
        self._initial = initial

    def field(self, name: str, lead: int, normal: Any) -> np.ndarray:
        """The initial field."""
        return self._initial[name]


class ClimatologyOfTheDay:
    """The climatology of the valid day."""

    def field(self, name: str, lead: int, normal: Any) -> np.ndarray:
        """The climatology itself."""
        return np.asarray(normal)

    def anomaly(self, name: str, lead: int) -> None:
        """None."""
        return None


class DampedPersistence:
    """The climatology of the valid day and what is left of the initial anomaly.

    Args:
        initial: Initial state.
        damping: Part that is left of its anomaly, (leads, nz or 1), leads from 1;
            `damping.read_damping`.
        normal: Climatology of the start date; None where `initial` is the anomaly already.
    """

    def __init__(self, initial: Fields, damping: Fields, normal: Fields | None = None) -> None:
        self._initial, self._damping, self._normal = initial, damping, normal

    def field(self, name: str, lead: int, normal: Any) -> np.ndarray:
        """Climatology + r(lead) * anomaly, r by level, and 1 at lead 0."""
        scaled = self.anomaly(name, lead)
        anomaly = scaled.values.astype(np.float64)
        if scaled.reference is not None:
            anomaly -= scaled.reference
        return np.asarray(normal + scaled.factor[:, None, None] * anomaly)

    def anomaly(self, name: str, lead: int) -> Scaled:
        """The initial anomaly and what is left of it."""
        values = self._initial[name]
        left = self._damping[name][lead - 1] if lead else np.ones(len(values))
        return Scaled(values, None if self._normal is None else self._normal[name], left)


def systems(
    config: Any,
    layout: Layout,
    grid: Grid,
    wet: np.ndarray,
    forecast: ForecastStore,
    climatology: Climatology,
    take: Take = fresh,
    threads: int | None = None,
) -> dict[str, System]:
    """The model and the configured baselines by name, the model first.

    All baselines but the driver start from the forecast's own initial state (lead 0).

    Args:
        config: A `Config` or the `evaluate` stage's part of it.
        layout: Paths.
        grid: The model grid.
        wet: bool (nz, ny, nx).
        forecast: The model's forecast.
        climatology: The daily climatology.
        take: Gives memory for the fields.
        threads: Threads that read; None for one a core, 8 at most.

    Raises:
        UserError: The damping is needed and missing, or does not fit; the initial state or the
            climatology of its date lacks values; the driver's forecast is missing or too short.
    """

    def every(read: Callable[[str], np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(PROGNOSTIC, shared_pool(threads).map(read, PROGNOSTIC), strict=True))

    initial = every(lambda name: forecast.whole(name, 0, take))
    found: dict[str, System] = {MODEL: Model(forecast, take)}
    for baseline in config.evaluation.baselines:
        if baseline == "persistence":
            found[baseline] = Persistence(initial)
        elif baseline == "climatology":
            found[baseline] = ClimatologyOfTheDay()
        elif baseline == "driver":
            found[baseline] = open_driven(config, layout, grid, wet, forecast.start)
        else:
            damping = read_damping(layout, grid, config.forecast.days)
            normal = every(lambda name: climatology.whole(name, forecast.start, take))
            found[baseline] = DampedPersistence(initial, damping, normal)
    return found
