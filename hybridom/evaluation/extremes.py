"""Extremes: where values lie above a percentile of the training climatology.

An event is a value above the threshold of its cell and of the valid day of the year
(`thresholds`), of truth and forecast alike. The table of a start holds the areas of the four kinds
of the contingency table; the scores are made of their means over starts, so that starts and regions
with few events do not weigh as much as those with many.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from hybridom.errors import UserError
from hybridom.evaluation import contingency
from hybridom.evaluation.bootstrap import Means
from hybridom.evaluation.case import Case, Day
from hybridom.evaluation.contingency import KINDS, LevelCells, forecast_at
from hybridom.evaluation.thresholds import Thresholds
from hybridom.variables import VARIABLES

SCORES = {
    "csi": contingency.csi,
    "sedi": contingency.sedi,
    "frequency_bias": contingency.frequency_bias,
    "base_rate": contingency.base_rate,
}


def required_thresholds(case: Case, family: str) -> Thresholds:
    """The thresholds of a case.

    Raises:
        UserError: It has none.
    """
    if case.thresholds is None:
        raise UserError(
            f"evaluation.families: {family} needs thresholds on the grid of the forecast from "
            f"{case.start}, and none were given; make them with `hybridom prepare percentiles` on "
            f"that grid, or take {family} out"
        )
    return case.thresholds


class ExtremeScores:
    """Areas of hits, misses, false alarms and correct negatives of one forecast.

    Args:
        case: The forecast.

    Raises:
        UserError: The case has no thresholds.
    """

    def __init__(self, case: Case) -> None:
        self._case, self._thresholds = case, required_thresholds(case, "extremes")
        levels = {n for name in case.names for n in self._thresholds.levels_of(name)}
        self._cells = {level: LevelCells(case.regions, level) for level in sorted(levels)}
        # Each (levels, percentiles, systems, kinds, regions), by lead.
        self._areas: dict[str, list[np.ndarray]] = {name: [] for name in case.names}

    def add(self, day: Day) -> None:
        """Take in a day."""
        for name, areas in self._areas.items():
            areas.append(self._day(day, name))

    def _day(self, day: Day, name: str) -> np.ndarray:
        levels = self._thresholds.levels_of(name)
        limits = [
            self._thresholds.field(name, percentile, day.date)
            for percentile in self._thresholds.percentiles
        ]
        truth = day.truth(name)
        forecasts = [forecast_at(day, system, name, levels) for system in self._case.systems]
        found = []
        for place, level in enumerate(levels):
            cells = self._cells[level]
            happens = cells.take(truth[level])
            predicted = [cells.take(forecast[place]) for forecast in forecasts]
            for limit in limits:
                above = cells.take(limit[place])
                found += [cells.contingency(happens > above, x > above) for x in predicted]
        shape = (len(levels), len(limits), len(forecasts))
        return np.stack(found).reshape(*shape, *found[0].shape)

    def table(self) -> pd.DataFrame:
        """A row a lead, region, variable, level, system and metric.

        Metrics are `<kind>_p<percentile>` in m2, such as `hits_p90`; NaN in regions without a wet
        cell at the level. `depth` is NaN in the rows of zos.
        """
        return pd.concat([self._table_of(name) for name in self._areas], ignore_index=True)

    def _table_of(self, name: str) -> pd.DataFrame:
        case, thresholds = self._case, self._thresholds
        depths = [
            float(case.grid.depth[level]) if VARIABLES[name].has_depth else np.nan
            for level in thresholds.levels_of(name)
        ]
        axes = {
            "lead": range(1, len(self._areas[name]) + 1),
            "depth": depths,
            "percentile": [f"p{percentile:g}" for percentile in thresholds.percentiles],
            "system": list(case.systems),
            "kind": list(KINDS),
            "region": list(case.regions.names),
        }
        index = pd.MultiIndex.from_product(axes.values(), names=axes.keys())
        values = np.stack(self._areas[name]).ravel()
        table = index.to_frame(index=False).assign(variable=name, value=values)
        table["metric"] = table["kind"] + "_" + table["percentile"]
        return table[["lead", "region", "variable", "depth", "system", "metric", "value"]]


def begin(case: Case, settings: Any) -> ExtremeScores:
    """Begin the scores of one forecast.

    Raises:
        UserError: The case has no thresholds.
    """
    return ExtremeScores(case)


def finish(means: Means) -> dict[str, np.ndarray]:
    """`csi`, `sedi`, `frequency_bias` and `base_rate` of each percentile, such as `csi_p90`."""
    percentiles = [name.removeprefix("hits_") for name in means if name.startswith("hits_")]
    found: dict[str, np.ndarray] = {}
    for percentile in percentiles:
        table = {kind: means[f"{kind}_{percentile}"] for kind in KINDS}
        found |= {f"{score}_{percentile}": of(table) for score, of in SCORES.items()}
    return found
