"""Scores of the fields themselves: RMSE, bias, MAE, anomaly correlations and activity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

import numpy as np
import pandas as pd

from hybridom.evaluation.bootstrap import Means
from hybridom.evaluation.case import Case, Day
from hybridom.evaluation.regions import Regions
from hybridom.grid import Grid
from hybridom.metrics import METRICS, Moments, moments
from hybridom.variables import VARIABLES


class FieldScores:
    """Scores of the prognostic variables of one forecast.

    Args:
        case: The forecast.
    """

    def __init__(self, case: Case) -> None:
        self._case = case
        self._sums: dict[str, list[np.ndarray]] = {name: [] for name in case.names}

    def add(self, day: Day) -> None:
        """Take in a day."""
        for name, sums in self._sums.items():
            fields = [day.forecast(system, name) for system in self._case.systems]
            sums.append(field_sums(fields, day.truth(name), day.normal(name), self._case.regions))

    def table(self) -> pd.DataFrame:
        """A row a lead, region, variable, level, system and metric.

        `depth` is NaN in the rows of a whole variable: that of zos, and for the others all levels
        together weighted by volume. `value` is NaN where a metric is undefined: the anomaly
        correlation of the climatology, and levels without a wet cell in a region.
        """
        case = self._case
        tables = [
            score_table(name, np.stack(sums, axis=1), tuple(case.systems), case.regions, case.grid)
            for name, sums in self._sums.items()
        ]
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
        regions: Weights.

    Returns:
        The sums of `Moments` (9, systems, regions, levels).
    """
    weights = regions.weights[:, : len(truth)]
    parts = [astuple(moments(forecast, truth, climatology, weights)) for forecast in forecasts]
    return np.stack([np.stack(part) for part in parts], axis=1)


def score_table(
    name: str, sums: np.ndarray, names: Sequence[str], regions: Regions, grid: Grid
) -> pd.DataFrame:
    """All metrics of one variable.

    Args:
        name: The variable.
        sums: Moments (9, leads, systems, regions, levels), leads from 1.
        names: Names of the systems.
        regions: Names of the regions and layer thicknesses.
        grid: The model grid.

    Returns:
        A row for every lead, system, metric, region, and level; all levels together (depth NaN)
        come before the single ones.
    """
    by_level = Moments(*sums)
    values = _all_metrics(by_level)
    depths = [np.nan]
    if VARIABLES[name].has_depth:
        pooled = _all_metrics(by_level.pool_levels(regions.thickness))
        values = np.concatenate([pooled[..., None], values], axis=-1)
        depths += list(grid.depth)
    axes = {
        "metric": list(METRICS),
        "lead": range(1, values.shape[1] + 1),
        "system": list(names),
        "region": regions.names,
        "depth": depths,
    }
    index = pd.MultiIndex.from_product(axes.values(), names=axes.keys())
    table = index.to_frame(index=False).assign(variable=name, value=values.ravel())
    return table[["lead", "region", "variable", "depth", "system", "metric", "value"]]


def _all_metrics(sums: Moments) -> np.ndarray:
    return np.stack([metric(sums) for metric in METRICS.values()])
