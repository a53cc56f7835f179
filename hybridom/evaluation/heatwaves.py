"""Marine heatwaves by the definition of Hobday et al. (2016, Prog. Oceanogr. 141, 227).

A heatwave is a span of at least `SHORTEST` days in a row on which the temperature of the topmost
level lies above its threshold, the first of `extremes.percentiles`; two of them with at most
`LONGEST_GAP` days between are one, those days included.

Both truth and forecast are followed from lead 0, the initial state, to the last lead, and nothing
before or after is known of either: an event that began earlier or ends later is cut alike in both,
and one of which fewer than five days lie within is none. The intensity is the temperature less the
climatology of the day (Hobday et al. take the mean over their own window instead).

Whether a day belongs to a heatwave is certain `LAG` days later. Memory holds the days until then,
whatever the number of leads.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import pandas as pd

from hybridom.errors import UserError
from hybridom.evaluation import contingency
from hybridom.evaluation.bootstrap import Means
from hybridom.evaluation.case import Case, Day
from hybridom.evaluation.contingency import KINDS, LevelCells, forecast_at
from hybridom.evaluation.extremes import required_thresholds

VARIABLE = "thetao"
SHORTEST = 5  # days
LONGEST_GAP = 2  # days
LAG = SHORTEST + LONGEST_GAP - 1  # an event's fifth day joins it to one that ended so far back
INTENSITIES = ("intensity_sum_truth", "intensity_sum_forecast")


class Events:
    """Heatwave days of one series, each certain `LAG` days after it was added.

    Args:
        cells: Number of cells.
    """

    def __init__(self, cells: int) -> None:
        self._run = np.zeros(cells, np.int32)
        # The last days; one more than can change, at which an earlier event may have ended.
        self._days: deque[np.ndarray] = deque(maxlen=LAG + 2)

    def add(self, above: np.ndarray) -> None:
        """Take in a day.

        Args:
            above: bool (cells,), where the temperature lies above its threshold.
        """
        self._run = np.where(above, self._run + 1, 0)
        self._days.append(self._run >= SHORTEST)
        if len(self._days) < SHORTEST:
            return
        begins = self._run == SHORTEST
        for back in range(1, SHORTEST):
            self._days[-1 - back] |= begins
        for gap in range(1, LONGEST_GAP + 1):
            before = SHORTEST + gap  # days back to where an event before a gap would end
            if before < len(self._days):
                joined = begins & self._days[-1 - before]
                for back in range(SHORTEST, before):
                    self._days[-1 - back] |= joined

    def day(self, back: int) -> np.ndarray:
        """bool (cells,), heatwave days `back` days before the last one that was added."""
        return self._days[-1 - back]


class HeatwaveScores:
    """Areas of heatwaves of one forecast, and their intensity.

    Args:
        case: The forecast.

    Raises:
        UserError: The case has no thresholds, or none at the topmost level.
    """

    def __init__(self, case: Case) -> None:
        self._case, self._thresholds = case, required_thresholds(case, "heatwaves")
        if self._thresholds.levels[0] != 0:
            raise UserError(
                f"{self._thresholds.path}: no thresholds at the topmost level "
                f"({case.grid.depth[0]:g} m), which heatwaves are defined at; expected it among "
                "extremes.depths: add 0 and run `hybridom prepare percentiles` again"
            )
        self._cells = LevelCells(case.regions, 0)
        count = self._cells.places.size
        self._truth = Events(count)
        self._forecasts = {system: Events(count) for system in case.systems}
        self._anomalies: deque[list[np.ndarray]] = deque()
        self._added = 0
        self._sums: list[np.ndarray] = []  # each (systems, metrics, regions), leads from 1

    def add(self, day: Day) -> None:
        """Take in a day; with that of lead 1 the initial state.

        Raises:
            UserError: The initial state of a system is not known.
        """
        if self._added == 0:
            self._follow(self._case.day(0))
        self._follow(day)

    def _follow(self, day: Day) -> None:
        limit = self._cells.take(
            self._thresholds.field(VARIABLE, self._thresholds.percentiles[0], day.date)[0]
        )
        fields = [day.truth(VARIABLE)[:1]]
        fields += [forecast_at(day, system, VARIABLE, [0]) for system in self._forecasts]
        values = [self._cells.take(field[0]) for field in fields]
        for events, value in zip(self._all_events(), values, strict=True):
            events.add(value > limit)
        if self._case.climatology is not None:
            normal = self._cells.take(day.normal(VARIABLE)[0])
            self._anomalies.append([(value - normal).astype(np.float32) for value in values])
        self._added += 1
        if self._added > LAG:
            self._settle(LAG)

    def _all_events(self) -> list[Events]:
        return [self._truth, *self._forecasts.values()]

    def _settle(self, back: int) -> None:
        """Score the day so many days before the last one; lead 0 is not scored."""
        anomalies = self._anomalies.popleft() if self._anomalies else None
        if self._added - 1 == back:
            return
        truth = self._truth.day(back)
        found = []
        for number, events in enumerate(self._forecasts.values(), start=1):
            forecast = events.day(back)
            sums = [self._cells.contingency(truth, forecast)]
            if anomalies is not None:
                sums.append(self._intensity(anomalies[0], truth))
                sums.append(self._intensity(anomalies[number], forecast))
            found.append(np.concatenate(sums))
        self._sums.append(np.stack(found))

    def _intensity(self, anomaly: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Sums of area times anomaly over heatwave days, (1, nr)."""
        return self._cells.sums(self._cells.area * anomaly, inside, 2)[1:]

    def table(self) -> pd.DataFrame:
        """A row a lead, region, system and metric: areas of `KINDS` in m2, and `INTENSITIES`.

        `INTENSITIES` are sums of area times degrees over heatwave days of truth and forecast; a
        case without climatology has no such rows. Values are NaN in regions without a wet cell.
        """
        left = min(LAG, self._added) if len(self._sums) < self._added - 1 else 0
        for back in range(left - 1, -1, -1):
            self._settle(back)
        case = self._case
        metrics = KINDS if case.climatology is None else (*KINDS, *INTENSITIES)
        axes = {
            "lead": range(1, len(self._sums) + 1),
            "system": list(case.systems),
            "metric": list(metrics),
            "region": list(case.regions.names),
        }
        index = pd.MultiIndex.from_product(axes.values(), names=axes.keys())
        table = index.to_frame(index=False).assign(
            variable=VARIABLE, depth=float(case.grid.depth[0]), value=np.stack(self._sums).ravel()
        )
        return table[["lead", "region", "variable", "depth", "system", "metric", "value"]]


def begin(case: Case, settings: Any) -> HeatwaveScores:
    """Begin the scores of one forecast.

    Raises:
        UserError: The case has no thresholds, or none at the topmost level.
    """
    return HeatwaveScores(case)


def finish(means: Means) -> dict[str, np.ndarray]:
    """Scores of heatwave days, parts of the area, and mean intensities in degrees."""
    table = {kind: means[kind] for kind in KINDS}
    hits, misses, false_alarms = (table[kind] for kind in ("hits", "misses", "false_alarms"))
    area = contingency.total(table)
    found = {
        "csi": contingency.csi(table),
        "pod": contingency.pod(table),
        "far": contingency.far(table),
        "area_fraction_forecast": contingency.ratio(hits + false_alarms, area),
        "area_fraction_truth": contingency.ratio(hits + misses, area),
    }
    if INTENSITIES[0] in means:
        found["intensity_forecast"] = contingency.ratio(
            means["intensity_sum_forecast"], hits + false_alarms
        )
        found["intensity_truth"] = contingency.ratio(means["intensity_sum_truth"], hits + misses)
    return found
