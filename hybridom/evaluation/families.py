"""The families of scores by name, and what a family is.

A family is one module of this package with

- `begin(case, settings)`, an `Accumulator` for one forecast;
- `finish(means)`, from the means over start dates of the metrics in the tables of the starts
  (`bootstrap.Means`) to the metrics of the final table, arrays of the same shape by name;
- where the family has a key `along`, `finish_along(means, coordinate)`.

All accumulators of a forecast are fed together, so that every field is read once. A new family is
such a module, a line in `FAMILIES`, and its name in `hybridom.config.output.FamilyName`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from hybridom.evaluation.bootstrap import Means
from hybridom.evaluation.case import Case, Day

# Columns of every table of scores, before `value`.
KEYS = ("lead", "region", "variable", "depth", "system", "metric")


class Accumulator(Protocol):
    """Scores of one forecast, gathered lead by lead."""

    def add(self, day: Day) -> None:
        """Take in a day; days come by ascending lead from 1."""

    def table(self) -> pd.DataFrame:
        """Columns `KEYS`, the family's own keys, and value; a row each, NaN where undefined.

        `depth` is NaN in rows of a whole variable. The rows depend on the case's settings alone,
        never on its values; there may be none.
        """


@dataclass(frozen=True)
class Family:
    """One entry of the registry.

    Attributes:
        module: Module of this package.
        title: A few words for a list of tables.
        keys: Key columns besides `KEYS`.
        skill: Final metric of which the improvement over each baseline is given.
        along: One of `keys`, the innermost one of the rows, along which the module's
            `finish_along` makes one value of many.
    """

    module: str
    title: str
    keys: tuple[str, ...] = ()
    skill: str | None = None
    along: str | None = None

    def begin(self, case: Case, settings: Any) -> Accumulator:
        """The accumulator for one forecast; `settings` is the `EvaluationConfig`."""
        accumulator: Accumulator = self._module.begin(case, settings)
        return accumulator

    def finish(self, means: Means) -> dict[str, np.ndarray]:
        """From means over start dates to metrics."""
        finished: dict[str, np.ndarray] = self._module.finish(means)
        return finished

    def finish_along(
        self, means: Mapping[str, np.ndarray], coordinate: np.ndarray
    ) -> dict[str, np.ndarray]:
        """From means over start dates along a coordinate to metrics that have none.

        Args:
            means: Metric -> (samples, rows, n, systems).
            coordinate: Values of the key `along` (n,).

        Returns:
            Metric -> (samples, rows, systems).
        """
        finished: dict[str, np.ndarray] = self._module.finish_along(means, coordinate)
        return finished

    @property
    def _module(self) -> Any:
        return importlib.import_module(f"hybridom.evaluation.{self.module}")


SCORES = "scores"
FAMILIES: dict[str, Family] = {
    SCORES: Family("fields", "Scores of the fields", skill="rmse_mean"),
    "extremes": Family("extremes", "Extremes"),
    "heatwaves": Family("heatwaves", "Marine heatwaves"),
    "derived": Family("derived", "Mixed layer, currents, heat content, energy", skill="rmse_mean"),
    "budgets": Family("budgets", "Budgets of heat, salt and volume"),
    "spectra": Family("spectra", "Spectra", ("wavelength",), along="wavelength"),
    "drift": Family("drift", "Drift of particles"),
}
