"""Scores of quantities that are made of the state: mixed layer, currents, heat, energy."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from hybridom.constants import EARTH_RADIUS, GRAVITY, OMEGA
from hybridom.evaluation.bootstrap import Means
from hybridom.evaluation.case import Case, Day
from hybridom.evaluation.currents import geostrophic_currents, kinetic_energy
from hybridom.evaluation.families import KEYS
from hybridom.evaluation.heat import heat_content
from hybridom.evaluation.mixed_layer import (
    OCEANBENCH_DEEPEST,
    mixed_layer_depth,
    mixed_layer_depth_oceanbench,
)
from hybridom.metrics import Moments, acc_centred, bias, mae, rmse
from hybridom.quantities import heat_content as heat_content_of

log = logging.getLogger(__name__)

EQUATORIAL_BAND = 5.0  # degrees, where geostrophy is left out, as in OceanBench 0.6
ENERGIES = ("ke", "eke")
# Of the fields themselves: without a climatology `acc_centred` is the correlation of the fields.
METRICS: dict[str, Callable[[Moments], Any]] = {
    "rmse": rmse,
    "bias": bias,
    "mae": mae,
    "correlation": acc_centred,
}
ENERGY_METRICS: dict[str, Callable[[Moments], Any]] = {
    "energy_forecast": lambda m: m.forecast / np.where(m.weight > 0, m.weight, np.nan),
    "energy_truth": lambda m: m.truth / np.where(m.weight > 0, m.weight, np.nan),
}


@dataclass(frozen=True)
class Recipe:
    """How some quantities are made.

    Attributes:
        names: Of the quantities.
        needs: Prognostic variables.
        make: From these (nz or 1, ny, nx), and then from their climatologies where `anomalies`,
            to the quantities in order, float64 (ny, nx) each, NaN where undefined.
        anomalies: Whether the climatologies are needed too.
    """

    names: tuple[str, ...]
    needs: tuple[str, ...]
    make: Callable[..., tuple[np.ndarray, ...]]
    anomalies: bool = False


def recipes(case: Case, settings: Any) -> list[Recipe]:
    """What can be made on a grid from the variables that are there.

    Layers of heat content that reach below the grid are left out, and this is logged.

    Args:
        case: The forecast.
        settings: The `EvaluationConfig`.
    """
    grid, wet = case.grid, case.wet

    def by_threshold(thetao: np.ndarray, so: np.ndarray) -> tuple[np.ndarray, ...]:
        return (mixed_layer_depth(thetao, so, wet, grid),)

    def as_oceanbench(thetao: np.ndarray, so: np.ndarray) -> tuple[np.ndarray, ...]:
        sea = np.where(wet, thetao, np.nan), np.where(wet, so, np.nan)
        return (mixed_layer_depth_oceanbench(*sea, grid.depth, grid.lat, grid.lon),)

    def geostrophic(zos: np.ndarray) -> tuple[np.ndarray, ...]:
        axes = zos[0], grid.lat, grid.lon, wet[0], grid.periodic
        return geostrophic_currents(*axes, GRAVITY, OMEGA, EARTH_RADIUS, EQUATORIAL_BAND)

    def energy(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, ...]:
        return (kinetic_energy(u[0], v[0]),)

    def eddies(*fields: np.ndarray) -> tuple[np.ndarray, ...]:
        u, v, u_normal, v_normal = (x[0].astype(np.float64) for x in fields)
        return (kinetic_energy(u - u_normal, v - v_normal),)

    def heat(layers: list[tuple[float, float]], thetao: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(heat_content(thetao, wet, grid.depth_bounds, layer) for layer in layers)

    layers = heat_layers(case, settings)
    names = tuple(heat_content_of(*layer).name for layer in layers)
    possible = [
        Recipe(("mlotst",), ("thetao", "so"), by_threshold),
        Recipe(("mlotst_oceanbench",), ("thetao", "so"), as_oceanbench),
        Recipe(("ugos", "vgos"), ("zos",), geostrophic),
        Recipe(names, ("thetao",), partial(heat, layers)),
        Recipe(("ke",), ("uo", "vo"), energy),
        Recipe(("eke",), ("uo", "vo"), eddies, anomalies=True),
    ]
    lacking = {"mlotst_oceanbench"} if grid.depth[0] > OCEANBENCH_DEEPEST else set()
    lacking |= {"eke"} if case.climatology is None else set()
    return [
        recipe
        for recipe in possible
        if recipe.names and set(recipe.needs) <= set(case.names) and not set(recipe.names) & lacking
    ]


def heat_layers(case: Case, settings: Any) -> list[tuple[float, float]]:
    """Layers of `evaluation.heat_content` that lie within the grid."""
    lowest = float(case.grid.depth_bounds[-1])
    layers = [(float(top), float(bottom)) for top, bottom in settings.heat_content]
    deep = [f"[{top:g}, {bottom:g}]" for top, bottom in layers if bottom > lowest]
    if deep:
        log.warning(
            "evaluation.heat_content: %s left out, the grid ends at %g m", ", ".join(deep), lowest
        )
    return [layer for layer in layers if layer[1] <= lowest]


class DerivedScores:
    """Scores of the derived quantities of one forecast.

    Args:
        case: The forecast.
        settings: The `EvaluationConfig`.
    """

    def __init__(self, case: Case, settings: Any) -> None:
        self._case = case
        self._recipes = recipes(case, settings)
        self.names = tuple(name for recipe in self._recipes for name in recipe.names)
        self._cells = np.flatnonzero(case.wet[0])
        flat = case.regions.surface_weights.reshape(len(case.regions.names), -1)
        self._weights = np.ascontiguousarray(flat[:, self._cells])
        self._held: dict[tuple[str, tuple[str, ...]], tuple[list[Any], np.ndarray]] = {}
        self._sums: list[np.ndarray] = []

    def add(self, day: Day) -> None:
        """Take in a day."""
        truth = self._quantities("truth", day.truth, day.normal)
        sums = []
        for system in self._case.systems:
            made = self._quantities(f"system {system}", partial(day.forecast, system), day.normal)
            pairs = zip(made, truth, strict=True)
            sums.append([quantity_sums(x, t, self._weights) for x, t in pairs])
        shape = (len(self._case.systems), len(self.names), 9, len(self._weights))
        self._sums.append(np.array(sums, np.float64).reshape(shape))

    def table(self) -> pd.DataFrame:
        """A row a lead, region, quantity, system and metric; `depth` is NaN.

        Metrics are rmse, bias, mae and correlation, and of energies the area means of forecast
        and truth. `value` is NaN where a metric is undefined: where no cell of a region has the
        quantity, and the correlation of a field that is the same everywhere.
        """
        case = self._case
        moments = Moments(*np.moveaxis(np.stack(self._sums), 3, 0))
        energies = np.isin(self.names, ENERGIES)
        parts = []
        for metrics, chosen in (
            (METRICS, np.full(len(self.names), True)),
            (ENERGY_METRICS, energies),
        ):
            values = np.stack([metric(moments) for metric in metrics.values()])
            axes = {
                "metric": list(metrics),
                "lead": range(1, len(self._sums) + 1),
                "system": list(case.systems),
                "variable": [name for name, use in zip(self.names, chosen, strict=True) if use],
                "region": list(case.regions.names),
            }
            index = pd.MultiIndex.from_product(axes.values(), names=axes.keys())
            rows = index.to_frame(index=False)
            parts.append(rows.assign(depth=np.nan, value=values[:, :, :, chosen].ravel()))
        return pd.concat(parts, ignore_index=True)[[*KEYS, "value"]]

    def _quantities(
        self,
        source: str,
        read: Callable[[str], np.ndarray],
        normal: Callable[[str], np.ndarray],
    ) -> np.ndarray:
        """All quantities of one state in the wet columns (quantities, columns)."""
        parts = [np.empty((0, self._cells.size))]
        for recipe in self._recipes:
            inputs = [read(name) for name in recipe.needs]
            if recipe.anomalies:
                inputs += [normal(name) for name in recipe.needs]
            # A state that is held over days, as persistence is, is the same arrays each day.
            before, made = self._held.get((source, recipe.names), ([], None))
            same = [ref() is x for ref, x in zip(before, inputs, strict=False)]
            if made is None or not all(same):
                fields = recipe.make(*inputs)
                made = np.stack([field.ravel()[self._cells] for field in fields])
                self._held[source, recipe.names] = ([weakref.ref(x) for x in inputs], made)
            parts.append(made)
        return np.concatenate(parts)


def quantity_sums(forecast: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sums of `Moments` over the cells where the truth has the quantity.

    Args:
        forecast: (cells,), NaN where undefined.
        truth: Likewise.
        weights: Areas (regions, cells), m2.

    Returns:
        (9, regions) float64; all but the weight NaN for regions in which the forecast lacks a
        cell that the truth has.
    """
    counts = np.isfinite(truth)
    lacking = counts & ~np.isfinite(forecast)
    use = counts & ~lacking
    f, t = np.where(use, forecast, 0.0), np.where(use, truth, 0.0)
    e = f - t
    # in the order of `Moments`
    terms = np.stack([counts.astype(np.float64), e, np.abs(e), e * e, f, t, f * f, t * t, f * t])
    sums = (weights @ terms.T).T
    if lacking.any():
        sums[1:, weights @ lacking.astype(np.float64) > 0] = np.nan
    return sums


def begin(case: Case, settings: Any) -> DerivedScores:
    """Begin the derived quantities of one forecast."""
    return DerivedScores(case, settings)


def finish(means: Means) -> dict[str, np.ndarray]:
    """Both averagings of the RMSE and the ratio of the energies; the rest are means over starts.

    `rmse_mean` is the mean over starts of the RMSE, `rmse_pooled` the root of the mean over
    starts of the squared RMSE. `energy_ratio` is the mean energy of the forecasts over that of
    the truth: below 1 the forecasts are too calm.
    """
    found = {name: mean for name, mean in means.items() if name != "rmse"}
    if "rmse" in means:
        pooled = np.sqrt(means.square("rmse"))
        found = {"rmse_mean": means["rmse"], "rmse_pooled": pooled, **found}
    if "energy_truth" in means:
        truth = found["energy_truth"]
        found["energy_ratio"] = found["energy_forecast"] / np.where(truth > 0, truth, np.nan)
    return found
