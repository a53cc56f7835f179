"""Drift of particles: how far the currents of a forecast carry them from where the truth's do."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hybridom.errors import UserError
from hybridom.evaluation.bootstrap import Means
from hybridom.evaluation.case import Case, Day
from hybridom.evaluation.particles import Currents, Domain, advect, distance, seed_particles

log = logging.getLogger(__name__)

TRUTH = "truth"
METRICS = ("separation", "separation_median", "path_length", "path_length_truth", "left")


@dataclass
class Track:
    """Where the particles of one system are: degrees, and km since they were released.

    A particle that has left the grid is NaN in all three.
    """

    lon: np.ndarray
    lat: np.ndarray
    path: np.ndarray

    def move(self, first: Currents, last: Currents, domain: Domain) -> None:
        """Carry the particles from one day to the next."""
        self.lon, self.lat, length = advect(self.lon, self.lat, first, last, domain)
        self.path = self.path + length


class Drift:
    """Particles in the daily mean currents of the topmost level, in the truth and in all systems.

    A daily mean stands for the currents at its stamp, 00:00; between two stamps they change
    linearly. Particles are released at the stamp of lead 0 and have drifted for n days at lead n.
    Where the truth or a system has no currents at lead 0, all are released at the stamp of lead 1
    instead: the rows of lead 1 are NaN, and at lead n particles have drifted for n - 1 days.

    Args:
        case: The forecast.
        settings: The `EvaluationConfig`.
    """

    def __init__(self, case: Case, settings: Any) -> None:
        self._case = case
        drift = settings.drift
        has_currents = {"uo", "vo"} <= set(case.names)
        self._leads = min(drift.days, case.days) if has_currents else 0
        self._rows: list[np.ndarray] = []
        if not self._leads:
            return
        lon, lat, cell = seed_particles(case.grid, case.wet[0], drift.particles, drift.seed)
        self._domain = Domain.of(case.grid)
        self._members = case.regions.inside.reshape(len(case.regions.names), -1)[:, cell]
        self._tracks = {
            name: Track(lon, lat, np.zeros(lon.size)) for name in (TRUTH, *case.systems)
        }
        self._before = self._initial()

    def add(self, day: Day) -> None:
        """Take in a day; those after the drift has ended are left unread."""
        if len(self._rows) == self._leads:
            return
        after = self._currents(day)
        if self._before is None:
            self._rows.append(np.full((len(METRICS), len(self._members), len(after) - 1), np.nan))
        else:
            for name, track in self._tracks.items():
                track.move(self._before[name], after[name], self._domain)
            truth = self._tracks[TRUTH]
            found = [
                [_statistics(self._tracks[name], truth, members) for name in self._case.systems]
                for members in self._members
            ]
            self._rows.append(np.moveaxis(np.array(found), -1, 0))
        self._before = after

    def table(self) -> pd.DataFrame:
        """A row a lead up to the end of the drift, region, system and metric of `METRICS`."""
        axes = {
            "lead": range(1, len(self._rows) + 1),
            "metric": METRICS,
            "region": self._case.regions.names,
            "system": list(self._case.systems),
        }
        table = pd.MultiIndex.from_product(axes.values(), names=axes.keys()).to_frame(index=False)
        values = np.stack(self._rows).ravel() if self._rows else np.empty(0)
        table = table.assign(variable="drift", depth=np.nan, value=values)
        return table[["lead", "region", "variable", "depth", "system", "metric", "value"]]

    def _initial(self) -> dict[str, Currents] | None:
        try:
            return self._currents(self._case.day(0))
        except UserError as e:
            log.warning("drift from %s begins at lead 1: %s", self._case.start, e)
            return None

    def _currents(self, day: Day) -> dict[str, Currents]:
        wet = self._case.wet[0]
        found = {TRUTH: Currents.at_sea(day.truth("uo")[0], day.truth("vo")[0], wet)}
        for name in self._case.systems:
            u, v = day.forecast(name, "uo")[0], day.forecast(name, "vo")[0]
            found[name] = Currents.at_sea(u, v, wet)
        return found


def begin(case: Case, settings: Any) -> Drift:
    """Begin the drift of one forecast."""
    return Drift(case, settings)


def finish(means: Means) -> dict[str, np.ndarray]:
    """Means over starts; `path_length_ratio` is the ratio of the mean lengths."""
    truth = means["path_length_truth"]
    kept = {name: means[name] for name in METRICS if name != "path_length_truth"}
    return {**kept, "path_length_ratio": kept["path_length"] / np.where(truth > 0, truth, np.nan)}


def _statistics(track: Track, truth: Track, members: np.ndarray) -> list[float]:
    """The values of `METRICS` over the particles of a region that neither track has lost.

    Args:
        track: Of a system.
        truth: Of the truth.
        members: bool (particles,), those released in the region.
    """
    kept = members & np.isfinite(track.path) & np.isfinite(truth.path)
    left = kept.sum() / members.sum() if members.any() else np.nan
    if not kept.any():
        return [np.nan, np.nan, np.nan, np.nan, left]
    apart = distance(truth.lon[kept], truth.lat[kept], track.lon[kept], track.lat[kept])
    paths = [track.path[kept].mean(), truth.path[kept].mean()]
    return [apart.mean(), float(np.median(apart)), *paths, left]
