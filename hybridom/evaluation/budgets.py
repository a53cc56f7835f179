"""What the ocean holds, of truth and forecasts: heat, salt, volume and kinetic energy."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from hybridom.constants import CP_SEAWATER, RHO_0
from hybridom.errors import UserError
from hybridom.evaluation.bootstrap import Means
from hybridom.evaluation.case import Case, Day
from hybridom.evaluation.currents import kinetic_energy
from hybridom.evaluation.families import KEYS
from hybridom.evaluation.heat import column_integral

log = logging.getLogger(__name__)

TRUTH = "truth"
SALT_PER_VOLUME = 1e-3 * RHO_0  # kg m-3 of salt for each unit of salinity
# Budget -> prognostic variables that it is made of.
NEEDS = {
    "thetao_mean": ("thetao",),
    "so_mean": ("so",),
    "heat_content": ("thetao",),
    "salt_content": ("so",),
    "volume_anomaly": ("zos",),
    "kinetic_energy": ("uo", "vo"),
}


class Budgets:
    """Contents of every region, for each system and the truth of one forecast.

    Args:
        case: The forecast.
    """

    def __init__(self, case: Case) -> None:
        self._case = case
        self.names = tuple(name for name, needs in NEEDS.items() if set(needs) <= set(case.names))
        self._cells = np.flatnonzero(case.wet.any(axis=0))
        inside = case.regions.inside.reshape(len(case.regions.names), -1)
        self._areas = inside[:, self._cells] * case.grid.area.ravel()[self._cells]
        ones = np.ones(case.wet.shape)
        self._volume = self._over_regions(column_integral(ones, case.wet, case.grid.dz))[0]
        self._initial: np.ndarray | None = None
        self._days: list[np.ndarray] = []

    def add(self, day: Day) -> None:
        """Take in a day; with the first one the initial state is read too.

        Raises:
            UserError: A field lacks a value in a wet cell.
        """
        if self._initial is None:
            self._initial = self._all(self._case.day(0), required=False)
        self._days.append(self._all(day, required=True))

    def table(self) -> pd.DataFrame:
        """A row a lead, region, budget, system (the truth is one) and metric; `depth` is NaN.

        Metrics are `value`, and `change`, which is the value less that of the same system at
        lead 0, NaN where a system has no lead 0. Both are NaN in regions without water.
        """
        values = np.stack(self._days)
        changes = values - self._initial
        axes = {
            "metric": ["value", "change"],
            "lead": range(1, len(values) + 1),
            "system": [*self._case.systems, TRUTH],
            "variable": list(self.names),
            "region": list(self._case.regions.names),
        }
        index = pd.MultiIndex.from_product(axes.values(), names=axes.keys())
        table = index.to_frame(index=False)
        table = table.assign(depth=np.nan, value=np.stack([values, changes]).ravel())
        return table[[*KEYS, "value"]]

    def _all(self, day: Day, required: bool) -> np.ndarray:
        """Contents (systems and truth, budgets, regions) on a day.

        Where `required` is false, what has no fields of that day is NaN, and this is logged.
        """
        sources: Mapping[str, Callable[[str], np.ndarray]] = {
            **{name: partial(day.forecast, name) for name in self._case.systems},
            TRUTH: day.truth,
        }
        found = []
        for name, read in sources.items():
            try:
                contents = self._contents(read)
            except UserError as e:
                if required:
                    raise
                log.warning("budgets: no change since lead 0 for %s, as %s", name, e)
                contents = np.full((len(self.names), len(self._volume)), np.nan)
            else:
                if not np.isfinite(contents[:, self._volume > 0]).all():
                    self._refuse(day, read)
            found.append(contents)
        return np.stack(found)

    def _refuse(self, day: Day, read: Callable[[str], np.ndarray]) -> None:
        """Say which field is not finite."""
        for name in self._case.names:
            field = read(name)
            if not np.isfinite(field[self._case.wet[: len(field)]]).all():
                day.refuse(name)

    def _contents(self, read: Callable[[str], np.ndarray]) -> np.ndarray:
        """Contents (budgets, regions) of one state."""
        wet, dz = self._case.wet, self._case.grid.dz
        columns: dict[str, np.ndarray] = {
            name: column_integral(read(name), wet, dz)
            for name in ("thetao", "so")
            if name in self._case.names
        }
        if "volume_anomaly" in self.names:
            columns["zos"] = np.where(wet[0], read("zos")[0], 0.0)
        if "kinetic_energy" in self.names:
            # level by level, which bounds the memory
            pairs = zip(wet, read("uo"), read("vo"), dz, strict=True)
            columns["energy"] = sum(
                thickness * np.where(sea, kinetic_energy(u, v), 0.0)
                for sea, u, v, thickness in pairs
            )
        total = dict(zip(columns, self._over_regions(*columns.values()), strict=True))
        volume = np.where(self._volume > 0, self._volume, np.nan)
        contents = {
            "thetao_mean": lambda: total["thetao"] / volume,
            "so_mean": lambda: total["so"] / volume,
            "heat_content": lambda: RHO_0 * CP_SEAWATER * total["thetao"],
            "salt_content": lambda: SALT_PER_VOLUME * total["so"],
            "volume_anomaly": lambda: total["zos"],
            "kinetic_energy": lambda: RHO_0 * total["energy"],
        }
        return np.stack([np.where(self._volume > 0, contents[n](), np.nan) for n in self.names])

    def _over_regions(self, *columns: np.ndarray) -> np.ndarray:
        """Area integrals (fields, regions) of fields (ny, nx)."""
        fields = np.stack([column.ravel()[self._cells] for column in columns])
        return (self._areas @ fields.T).T


def begin(case: Case, settings: Any) -> Budgets:
    """Begin the budgets of one forecast."""
    return Budgets(case)


def finish(means: Means) -> dict[str, np.ndarray]:
    """Means over starts of both metrics."""
    return dict(means.items())
