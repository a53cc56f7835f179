"""Scores of the fields themselves: RMSE, bias, MAE, anomaly correlations and activity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from hybridom.data.stores.threads import shared_pool
from hybridom.evaluation.bootstrap import Means
from hybridom.evaluation.case import Case, Day
from hybridom.evaluation.normalised import ALL, all_normalised
from hybridom.evaluation.regions import Regions
from hybridom.evaluation.sums import FieldSums
from hybridom.evaluation.systems import Anomalies
from hybridom.grid import Grid
from hybridom.metrics import METRICS, Moments
from hybridom.variables import PROGNOSTIC, VARIABLES

# What needs no climatology.
OF_ERRORS = ("rmse", "bias", "mae")


class FieldScores:
    """Scores of the prognostic variables of one forecast.

    Args:
        case: The forecast.
    """

    def __init__(self, case: Case) -> None:
        self._case = case
        self._sums: dict[str, list[np.ndarray]] = {name: [] for name in case.names}
        # Asking for a protocol takes long.
        self._anomalies = {
            key: system if isinstance(system, Anomalies) else None
            for key, system in case.systems.items()
        }

    def add(self, day: Day) -> None:
        """Take in a day.

        Raises:
            UserError: A field lacks a value in a wet cell.
        """
        parts = {name: self._part(day, name) for name in self._sums}
        tasks = [task for part in parts.values() for task in part.tasks()]
        for _ in shared_pool(self._case.threads).map(lambda task: task(), tasks):
            pass
        for name, part in parts.items():
            if not part.finite:
                day.refuse(name)
            self._sums[name].append(part.moments())

    def _part(self, day: Day, name: str) -> FieldSums:
        case, truth = self._case, day.truth(name)
        forecasts = [
            day.forecast(key, name) if system is None else system.anomaly(name, day.lead)
            for key, system in self._anomalies.items()
        ]
        # Without a climatology no metric of anomalies is made, and any field will do.
        normal = truth if case.climatology is None else day.normal(name)
        return FieldSums(forecasts, truth, normal, case.regions)

    def table(self) -> pd.DataFrame:
        """A row a lead, region, variable, level, system and metric.

        `depth` is NaN in the rows of a whole variable: that of zos, and for the others all levels
        together weighted by volume. `value` is NaN where a metric is undefined: the anomaly
        correlation of the climatology, and levels without a wet cell in a region. Without a
        climatology there are only the metrics `OF_ERRORS`. With scales, rows of all variables
        together follow (`normalised`).
        """
        case = self._case
        metrics = OF_ERRORS if case.climatology is None else tuple(METRICS)
        shared = tuple(case.systems), case.regions, case.grid, metrics
        tables = [
            score_table(name, np.stack(sums, axis=1), *shared) for name, sums in self._sums.items()
        ]
        if case.scales is not None:
            together = pd.concat(tables, ignore_index=True)
            tables.append(all_normalised(together, case.scales, case.grid.depth))
        return pd.concat(tables, ignore_index=True)


def begin(case: Case, settings: Any) -> FieldScores:
    """Begin the scores of one forecast."""
    return FieldScores(case)


def finish(means: Means) -> dict[str, np.ndarray]:
    """Both averagings of the RMSE; every other metric is a mean over starts.

    `rmse_mean` is the mean over starts of the RMSE; `rmse_pooled` is the root of the mean over
    starts of the squared RMSE.
    """
    pooled = np.sqrt(means.square("rmse"))
    rest = {name: mean for name, mean in means.items() if name != "rmse"}
    return {"rmse_mean": means["rmse"], "rmse_pooled": pooled, **rest}


def field_sums(
    forecasts: Sequence[np.ndarray], truth: np.ndarray, climatology: np.ndarray, regions: Regions
) -> np.ndarray:
    """Moments of several forecasts of one field.

    Args:
        forecasts: One field (nz or 1, ny, nx) a system.
        truth: The verifying field.
        climatology: The climatology of the valid day.
        regions: Where scores are taken.

    Returns:
        The sums of `Moments` (9, systems, regions, levels).
    """
    sums = FieldSums(forecasts, truth, climatology, regions)
    for task in sums.tasks():
        task()
    return sums.moments()


def score_table(
    name: str,
    sums: np.ndarray,
    names: Sequence[str],
    regions: Regions,
    grid: Grid,
    metrics: Sequence[str] = tuple(METRICS),
) -> pd.DataFrame:
    """Metrics of one variable.

    Args:
        name: The variable.
        sums: Moments (9, leads, systems, regions, levels), leads from 1.
        names: Names of the systems.
        regions: Names of the regions and layer thicknesses.
        grid: The model grid.
        metrics: Names of `METRICS`.

    Returns:
        A row for every lead, system, metric, region, and level; all levels together (depth NaN)
        come before the single ones.
    """
    by_level = Moments(*sums)
    values = _metrics(by_level, metrics)
    depths = [np.nan]
    if VARIABLES[name].has_depth:
        pooled = _metrics(by_level.pool_levels(regions.thickness), metrics)
        values = np.concatenate([pooled[..., None], values], axis=-1)
        depths += list(grid.depth)
    axes = {
        "metric": list(metrics),
        "lead": range(1, values.shape[1] + 1),
        "system": list(names),
        "region": regions.names,
        "depth": depths,
    }
    places = np.unravel_index(np.arange(values.size), [len(axis) for axis in axes.values()])
    codes = dict(zip(axes, places, strict=True))
    variables = (*PROGNOSTIC, ALL)
    # Texts of a million rows take longer to make than their scores.
    words = {
        key: pd.Categorical.from_codes(codes[key], list(axes[key]))
        for key in ("region", "system", "metric")
    }
    words["variable"] = pd.Categorical.from_codes(
        np.full(values.size, variables.index(name)), variables
    )
    numbers = {key: np.asarray(axes[key])[codes[key]] for key in ("lead", "depth")}
    table = pd.DataFrame({**words, **numbers, "value": values.ravel()}, copy=False)
    return table[["lead", "region", "variable", "depth", "system", "metric", "value"]]


def _metrics(sums: Moments, names: Sequence[str]) -> np.ndarray:
    return np.stack([METRICS[name](sums) for name in names])
