"""What is scored: the model and the baselines, each a field by variable and lead.

A new baseline is one class with the method of `System`, its entry in `systems`, its name in
`hybridom.config.output.Baseline`, its words in `summary` and its look in `hybridom.figures.style`.
How systems are scored lies in `hybridom.metrics`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from hybridom.evaluation.damping import read_damping
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


class Model:
    """The forecast that was stored."""

    def __init__(self, forecast: ForecastStore) -> None:
        self._forecast = forecast

    def field(self, name: str, lead: int, normal: Any) -> np.ndarray:
        """The stored field."""
        return self._forecast.field(name, lead)


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


class DampedPersistence:
    """The climatology of the valid day and what is left of the initial anomaly.

    Args:
        anomaly: Initial state less the climatology of the start date.
        damping: Part that is left of it, (leads, nz or 1), leads from 1; `damping.read_damping`.
    """

    def __init__(self, anomaly: Fields, damping: Fields) -> None:
        self._anomaly, self._damping = anomaly, damping

    def field(self, name: str, lead: int, normal: Any) -> np.ndarray:
        """Climatology + r(lead) * anomaly, r by level, and 1 at lead 0."""
        if lead == 0:
            return np.asarray(normal + self._anomaly[name])
        return np.asarray(
            normal + self._damping[name][lead - 1][:, None, None] * self._anomaly[name]
        )


def systems(
    config: Any, layout: Layout, grid: Grid, forecast: ForecastStore, climatology: Climatology
) -> dict[str, System]:
    """The model and the configured baselines by name, the model first.

    All baselines start from the forecast's own initial state (lead 0).

    Args:
        config: A `Config` or the `evaluate` stage's part of it.
        layout: Paths.
        grid: The model grid.
        forecast: The model's forecast.
        climatology: The daily climatology.

    Raises:
        UserError: The damping is needed and missing, or does not fit.
    """
    initial = {name: forecast.field(name, 0) for name in PROGNOSTIC}
    found: dict[str, System] = {MODEL: Model(forecast)}
    for baseline in config.evaluation.baselines:
        if baseline == "persistence":
            found[baseline] = Persistence(initial)
        elif baseline == "climatology":
            found[baseline] = ClimatologyOfTheDay()
        else:
            damping = read_damping(layout, grid, config.forecast.days)
            anomaly = {
                name: field - climatology.field(name, forecast.start)
                for name, field in initial.items()
            }
            found[baseline] = DampedPersistence(anomaly, damping)
    return found
