"""Contingency tables of events by area, and the scores made of them.

Every wet cell of a region counts with its area as one of `KINDS`: an event that is forecast and
happens is a hit, one that only happens a miss, one that is only forecast a false alarm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hybridom.evaluation.case import Day
from hybridom.evaluation.regions import Regions
from hybridom.evaluation.systems import Anomalies

KINDS = ("correct_negatives", "false_alarms", "misses", "hits")


class LevelCells:
    """The wet cells of one level, and the regions that each lies in.

    Args:
        regions: Regions, areas and wet cells.
        level: Grid index of the level.
    """

    def __init__(self, regions: Regions, level: int) -> None:
        self.places = np.flatnonzero(regions.wet[level])
        self.area = regions.area.reshape(-1)[self.places].astype(np.float64)
        self._label = regions.labels.reshape(-1)[self.places]
        self._members = regions.members

    def take(self, field: np.ndarray) -> np.ndarray:
        """Values (n,) of the wet cells of a field (ny, nx)."""
        return field.reshape(-1)[self.places]

    def sums(self, weights: np.ndarray, kind: np.ndarray, kinds: int) -> np.ndarray:
        """Sums over the cells of each kind in each region.

        Args:
            weights: Of the cells (n,).
            kind: Number of the kind of each cell (n,), below `kinds`.
            kinds: Number of kinds.

        Returns:
            float64 (kinds, nr); NaN for a region without a wet cell. A kind without cells has a
            sum of exactly 0.
        """
        labels = self._members.shape[1]
        place = kind.astype(np.int64) * labels + self._label
        by_label = np.bincount(place, weights, kinds * labels).reshape(kinds, labels)
        empty = self._members @ np.bincount(self._label, minlength=labels) == 0
        return np.where(empty, np.nan, by_label @ self._members.T)

    def contingency(self, truth: np.ndarray, forecast: np.ndarray) -> np.ndarray:
        """Areas (m2) of `KINDS` in each region, float64 (4, nr).

        Args:
            truth: bool (n,), where the event happens.
            forecast: bool (n,), where it is forecast.
        """
        return self.sums(self.area, 2 * truth.astype(np.int8) + forecast, len(KINDS))


def forecast_at(day: Day, system: str, name: str, levels: Sequence[int]) -> np.ndarray:
    """The forecast of a system at some levels (n, ny, nx), the others not being made."""
    found, some = day.case.systems[system], list(levels)
    if not isinstance(found, Anomalies):
        return day.forecast(system, name)[some]
    normal, scaled = day.normal(name)[some], found.anomaly(name, day.lead)
    if scaled is None:
        return normal
    anomaly = scaled.values[some].astype(np.float64)
    if scaled.reference is not None:
        anomaly -= scaled.reference[some]
    return np.asarray(normal + scaled.factor[some][:, None, None] * anomaly)


# Of each score the arguments are areas or means of areas, of one shape; the value is NaN where the
# score is undefined. Names and formulae: WWRP/WGNE Joint Working Group on Forecast Verification
# Research; Wilks (2019), Statistical Methods in the Atmospheric Sciences, 8.2.


def csi(table: Mapping[str, np.ndarray]) -> np.ndarray:
    """Critical success index (threat score): hits / (hits + misses + false alarms).

    0 without hits, 1 at best; NaN where the event neither happens nor is forecast.
    """
    return ratio(table["hits"], table["hits"] + table["misses"] + table["false_alarms"])


def pod(table: Mapping[str, np.ndarray]) -> np.ndarray:
    """Probability of detection (hit rate): hits / (hits + misses)."""
    return ratio(table["hits"], table["hits"] + table["misses"])


def far(table: Mapping[str, np.ndarray]) -> np.ndarray:
    """False alarm ratio: false alarms / (hits + false alarms); NaN where none is forecast."""
    return ratio(table["false_alarms"], table["hits"] + table["false_alarms"])


def pofd(table: Mapping[str, np.ndarray]) -> np.ndarray:
    """Probability of false detection (false alarm rate): of what does not happen, forecast."""
    return ratio(table["false_alarms"], table["false_alarms"] + table["correct_negatives"])


def frequency_bias(table: Mapping[str, np.ndarray]) -> np.ndarray:
    """Area of forecast events over that of events; above 1 they are forecast too often."""
    return ratio(table["hits"] + table["false_alarms"], table["hits"] + table["misses"])


def base_rate(table: Mapping[str, np.ndarray]) -> np.ndarray:
    """Part of the area where the event happens."""
    return ratio(table["hits"] + table["misses"], total(table))


def total(table: Mapping[str, np.ndarray]) -> np.ndarray:
    """Area of all cells."""
    return np.sum([table[kind] for kind in KINDS], axis=0)


def sedi(table: Mapping[str, np.ndarray]) -> np.ndarray:
    """Symmetric extremal dependence index (Ferro and Stephenson 2011, Wea. Forecasting 26, 699).

    (ln F - ln H - ln(1 - F) + ln(1 - H)) / (ln F + ln H + ln(1 - F) + ln(1 - H)), with H the
    probability of detection and F that of false detection; 0 for chance, 1 at best. Where H or F
    is 0 or 1 it is NaN, but for a forecast without misses or false alarms of events that happen
    somewhere and not everywhere: there it is its limit for H to 1 and F to 0, which is 1.
    """
    hit, false = pod(table), pofd(table)
    inside = (hit > 0) & (hit < 1) & (false > 0) & (false < 1)
    h, f = np.where(inside, hit, 0.5), np.where(inside, false, 0.25)
    misses, rejected = np.log(1.0 - h), np.log(1.0 - f)
    index = (np.log(f) - np.log(h) - rejected + misses) / (
        np.log(f) + np.log(h) + rejected + misses
    )
    perfect = (hit == 1) & (false == 0)
    return np.where(inside, index, np.where(perfect, 1.0, np.nan))


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """The quotient, NaN where the denominator is not positive."""
    defined = denominator > 0
    return np.where(defined, numerator / np.where(defined, denominator, 1.0), np.nan)
