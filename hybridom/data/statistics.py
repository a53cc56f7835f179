"""Statistics of the training period, per variable and level, over wet cells and by area.

With <> the mean over days and over wet cells weighted by their wet area, x a value, c its daily
climatology and x' the value a day later:

    mean = <x>    std = <(x - mean)^2>^(1/2)    anomaly_std = <(x - c)^2>^(1/2)
    tendency_std = <(x' - x)^2>^(1/2)

The last two are taken about zero, because what they scale is added without an offset.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

from hybridom.config import Config, Period, StageConfig
from hybridom.data.climatology import blocks, read_climatology
from hybridom.data.stores import open_arrays
from hybridom.errors import UserError
from hybridom.grid import Grid
from hybridom.layout import Layout
from hybridom.progress import track
from hybridom.variables import PROGNOSTIC, VARIABLES, cf_attributes

Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

ROUND_OFF = 1e-12  # relative, of float64 sums

MEANINGS = {
    "mean": "mean",
    "std": "standard deviation about the mean",
    "anomaly_std": "root mean square anomaly from the daily climatology",
    "tendency_std": "root mean square change in one day",
}


class Moments:
    """Sums of one variable over days, cell by cell.

    Args:
        weights: (nz, ny, nx) area of wet cells as a fraction of their level's; 0 on land.
    """

    def __init__(self, weights: Float64) -> None:
        self._weights = weights
        self._days = 0
        # Deviations are from each cell's first day, lest a large mean swallow digits.
        self._first = self._last = np.zeros(weights.shape)
        self._deviation, self._square, self._anomaly, self._change = np.zeros((4, *weights.shape))

    def add(self, values: NDArray, climatology: NDArray) -> None:
        """Add consecutive days.

        Args:
            values: (n, nz, ny, nx), anything on land.
            climatology: (n, nz, ny, nx).
        """
        x = values.astype(np.float64)
        if not self._days:
            self._first = self._last = x[0]
        deviation = x - self._first
        self._deviation += deviation.sum(axis=0)
        self._square += _square_sum(deviation)
        self._anomaly += _square_sum(x - climatology)
        self._change += _square_sum(np.diff(x, axis=0, prepend=self._last[None]))
        self._last = x[-1]
        self._days += len(x)

    def result(self) -> dict[str, Float64]:
        """`mean`, `std`, `anomaly_std`, `tendency_std`, each (nz,); NaN in levels without sea."""
        if self._days < 2:
            raise UserError(
                "periods.train holds fewer than 2 days, statistics need changes in time"
            )
        deviation = self._deviation / self._days
        cell_mean = self._first + deviation
        mean = self._level_mean(cell_mean)
        within = np.maximum(self._square / self._days - deviation**2, 0.0)
        between = (cell_mean - mean[:, None, None]) ** 2
        found = {
            "mean": mean,
            "std": np.sqrt(self._level_mean(within + between)),
            "anomaly_std": np.sqrt(self._level_mean(self._anomaly / self._days)),
            "tendency_std": np.sqrt(self._level_mean(self._change / (self._days - 1))),
        }
        sea = (self._weights > 0).any(axis=(1, 2))
        return {kind: np.where(sea, values, np.nan) for kind, values in found.items()}

    def _level_mean(self, field: Float64) -> Float64:
        return np.sum(self._weights * np.where(self._weights > 0, field, 0.0), axis=(1, 2))


def _square_sum(days: Float64) -> Float64:
    return np.einsum("n...,n...->...", days, days)


def wet_weights(grid: Grid, wet: Mask | None) -> Float64:
    """Areas as fractions of their level's wet area, 0 on land.

    Args:
        grid: Model grid.
        wet: (nz, ny, nx); None: one level, everywhere.

    Returns:
        (nz, ny, nx) float64.
    """
    area = grid.area[None] * (np.ones((1, grid.ny, grid.nx)) if wet is None else wet)
    total = area.sum(axis=(1, 2), keepdims=True)
    return np.divide(area, total, out=np.zeros_like(area), where=total > 0)


def compute_statistics(
    config: Config | StageConfig, layout: Layout, grid: Grid, wet: Mask
) -> dict[str, dict[str, Float64]]:
    """Statistics of all variables over the training period.

    Returns:
        Variable -> kind -> (nz,), or () for variables without depth.

    Raises:
        UserError: A store is missing, or a deviation is zero in a level with sea.
    """
    names = (*PROGNOSTIC, *config.forcing_names)
    climatology = open_arrays(layout.climatology_store, names)
    train = config.periods.train
    found = {}
    for name in track(names, label="statistics"):
        deep, ocean = VARIABLES[name].has_depth, VARIABLES[name].role == "prognostic"
        cover = (wet if deep else wet[:1]) if ocean else None
        found[name] = _one_variable(
            train, layout, name, wet_weights(grid, cover), climatology[name]
        )
        _refuse_zero(layout.statistics_file, grid, name, found[name])
    return found


def _one_variable(
    period: Period, layout: Layout, name: str, weights: Float64, climatology: zarr.Array
) -> dict[str, Float64]:
    deep = VARIABLES[name].has_depth
    moments = Moments(weights)
    for days, values in blocks(layout, name, period):
        mean = read_climatology(climatology, days)
        if deep:
            moments.add(values, mean)
        else:
            moments.add(values[:, None], mean[:, None])
    result = moments.result()
    return result if deep else {kind: values[0] for kind, values in result.items()}


def _refuse_zero(path: Path, grid: Grid, name: str, found: Mapping[str, Float64]) -> None:
    mean = np.atleast_1d(found["mean"])
    for kind in ("std", "anomaly_std", "tendency_std"):
        for level, value in enumerate(np.atleast_1d(found[kind])):
            # The mean of equal values differs from them by round-off.
            if value > ROUND_OFF * abs(mean[level]) or np.isnan(mean[level]):
                continue
            at = f" at {grid.depth[level]:g} m" if mean.size > 1 else ""
            raise UserError(
                f"{path}: {kind} of variable {name}{at} is {value:.3g} over periods.train; "
                "expected values that differ in space and time: look at the raw files or leave "
                "the level out"
            )


def write_statistics(
    path: Path, grid: Grid, found: Mapping[str, Mapping[str, Float64]], attrs: Mapping[str, str]
) -> None:
    """Write statistics.nc, complete or not at all.

    Args:
        path: NetCDF file.
        grid: Model grid, for the depth axis.
        found: As `compute_statistics` returns it.
        attrs: Global attributes.
    """
    dataset = grid.to_dataset()[["depth_bounds"]]
    for name, kinds in found.items():
        cf = cf_attributes(name)
        for kind, values in kinds.items():
            dims = ("depth",) if np.ndim(values) else ()
            dataset[f"{name}_{kind}"] = (
                dims,
                values,
                {
                    "long_name": f"{MEANINGS[kind]} of {cf['long_name']}",
                    "units": cf["units"],
                    "cell_methods": "area: mean where sea time: mean"
                    if kind == "mean"
                    else "area: time: standard_deviation",
                },
            )
    dataset.attrs = {"Conventions": "CF-1.11", **attrs}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".partial")
    dataset.to_netcdf(temporary)
    os.replace(temporary, path)
