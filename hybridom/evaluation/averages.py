"""Averages of scores over start dates."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import numpy as np
import pandas as pd

from hybridom.errors import UserError
from hybridom.layout import Layout

KEYS = ["lead", "region", "variable", "depth", "system", "metric"]


class Running:
    """Mean and variance over start dates, one start at a time (Welford 1962); NaN is left out.

    Args:
        rows: Number of values a start.
    """

    def __init__(self, rows: int) -> None:
        self.count = np.zeros(rows, int)
        self._mean = np.zeros(rows)
        self._squares = np.zeros(rows)

    def add(self, values: np.ndarray) -> None:
        """Take in the values (rows,) of one start."""
        defined = np.isfinite(values)
        self.count += defined
        delta = np.where(defined, values - self._mean, 0.0)
        self._mean += delta / np.maximum(self.count, 1)
        self._squares += np.where(defined, delta * (values - self._mean), 0.0)

    @property
    def mean(self) -> np.ndarray:
        """Mean over starts; NaN where no start has a value."""
        return np.where(self.count > 0, self._mean, np.nan)

    @property
    def standard_error(self) -> np.ndarray:
        """Standard deviation of the sample over the root of its size; NaN below two starts."""
        several = self.count > 1
        variance = self._squares / np.where(several, self.count - 1, 1)
        return np.where(several, np.sqrt(variance / np.maximum(self.count, 1)), np.nan)


def mean_scores(starts: Sequence[dt.date], layout: Layout, systems: Sequence[str]) -> pd.DataFrame:
    """Mean scores over start dates, with both averagings of the RMSE.

    `rmse_mean` is the mean over starts of the RMSE; `rmse_pooled` is the root of the mean over
    starts of the squared RMSE. Every other metric keeps its name and is a mean over starts.

    Args:
        starts: Start dates; every one must have been scored.
        layout: Paths.
        systems: Systems that must have been scored, in order.

    Returns:
        Columns lead, region, variable, depth, system, metric, value, standard_error, n_starts.
        The standard error treats start dates as independent and is NaN for one start; that of
        `rmse_pooled` is the mean square's, divided by twice the root. Rows without a defined
        value are left out.

    Raises:
        UserError: The scores of a start date are missing, of other systems, or have other rows
            than the first.
    """
    first = _read(layout, starts[0])
    found = list(first["system"].unique())
    if found != list(systems):
        raise UserError(
            f"{layout.scores(starts[0])}: scores of {', '.join(found)} found, expected those of "
            f"{', '.join(systems)} (evaluation.baselines); run `hybridom evaluate start` for all"
        )
    is_rmse = (first["metric"] == "rmse").to_numpy()
    plain, squared = Running(len(first)), Running(int(is_rmse.sum()))
    for start in starts:
        table = _read(layout, start)
        if not table[KEYS].equals(first[KEYS]):
            raise UserError(
                f"{layout.scores(start)}: its rows differ from those of {layout.scores(starts[0])}"
                " (other leads, regions or levels); run `hybridom evaluate start` for all"
            )
        values = table["value"].to_numpy()
        plain.add(values)
        squared.add(values[is_rmse] ** 2)

    metric = first["metric"].astype(str).where(~is_rmse, "rmse_mean")
    means = first[KEYS].assign(
        metric=metric, value=plain.mean, standard_error=plain.standard_error, n_starts=plain.count
    )
    root = np.sqrt(squared.mean)
    error = squared.standard_error / np.where(root > 0, 2 * root, np.nan)
    pooled = first.loc[is_rmse, KEYS].assign(
        metric="rmse_pooled", value=root, standard_error=error, n_starts=squared.count
    )
    scores = pd.concat([means, pooled], ignore_index=True).dropna(subset="value")
    scores["metric"] = scores["metric"].astype("category")
    return scores.reset_index(drop=True)


def _read(layout: Layout, start: dt.date) -> pd.DataFrame:
    path = layout.scores(start)
    if not path.is_file():
        raise UserError(
            f"{path}: the scores are missing; run `hybridom evaluate start --start {start}`"
        )
    return pd.read_parquet(path)
