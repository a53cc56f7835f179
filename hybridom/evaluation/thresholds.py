"""Thresholds of extremes by cell and day of the year, as `hybridom prepare percentiles` makes them.

A store of thresholds holds every prognostic variable at some levels of its grid, for some
percentiles of a training period and 365 days of the year (`hybridom.data.percentiles`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hybridom.data.days import DAYS_IN_YEAR, climatology_rows
from hybridom.data.stores import open_arrays, open_store
from hybridom.data.stores.reading import command_for, manifest_file
from hybridom.errors import UserError
from hybridom.files import read_json
from hybridom.grid import Grid
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC, UNIT_SPELLINGS, VARIABLES

AXIS_TOLERANCE = 1e-4  # degrees or metres
COMMAND = "hybridom prepare percentiles"


@dataclass(frozen=True)
class Thresholds:
    """Thresholds of some percentiles, of all prognostic variables at some levels.

    Attributes:
        path: The store.
        percentiles: In its order.
        levels: Grid indices of its levels, ascending; variables without depth have level 0 alone.
        depths: Depths (m) of the levels.
        arrays: Variable -> (365, p, [levels,] ny, nx).
        wet: bool (levels, ny, nx), and of the topmost level of the grid (1, ny, nx).
    """

    path: Path
    percentiles: tuple[float, ...]
    levels: tuple[int, ...]
    depths: tuple[float, ...]
    arrays: Mapping[str, Any]
    wet: tuple[np.ndarray, np.ndarray]

    def levels_of(self, name: str) -> tuple[int, ...]:
        """Grid indices of the levels of a variable: the topmost one alone without depth."""
        return self.levels if VARIABLES[name].has_depth else (0,)

    def field(self, name: str, percentile: float, day: dt.date) -> np.ndarray:
        """The threshold of a day; on 29 February the mean of 28 February and 1 March.

        Args:
            name: Prognostic variable.
            percentile: One of `percentiles`.
            day: Any day.

        Returns:
            float32 (levels or 1, ny, nx), in the variable's unit; NaN on land.

        Raises:
            UserError: A wet cell has no threshold.
        """
        place = self.percentiles.index(percentile)
        first, last = (np.asarray(self.arrays[name][row, place]) for row in climatology_rows(day))
        values = np.float32(0.5) * (first + last)
        deep = VARIABLES[name].has_depth
        values = values if deep else values[None]
        bad = self.wet[0 if deep else 1] & ~np.isfinite(values)
        if bad.any():
            raise UserError(
                f"{self.path}: {name} has no threshold of percentile {percentile:g} on {day} in "
                f"{bad.sum()} wet cells; expected one in each, run `{COMMAND}` again"
            )
        return values


def open_thresholds(config: Any, layout: Layout, grid: Grid, wet: np.ndarray) -> Thresholds:
    """Open the thresholds of the workflow, `layout.percentiles_store`.

    Args:
        config: A `Config` or the `evaluate` stage's part of it.
        layout: Paths.
        grid: The model grid.
        wet: bool (nz, ny, nx).

    Raises:
        UserError: The store is missing or unfinished, of another grid, or made with other
            percentiles, levels, window or smoothing than those of section extremes.
    """
    path, settings = layout.percentiles_store, config.extremes
    found = open_thresholds_file(path, grid, wet)
    held_hash = (read_json(layout.percentiles_manifest) or {}).get("grid_hash")
    if held_hash != grid.hash:
        raise UserError(
            f"{layout.percentiles_manifest}: grid hash {held_hash} found, that of grid.nc is "
            f"{grid.hash}; run `{COMMAND}` again on this grid"
        )
    attributes = open_store(path).attrs
    levels = sorted({int(np.abs(grid.depth - depth).argmin()) for depth in settings.depths})
    for key, held, wanted in (
        ("percentiles", found.percentiles, settings.percentiles),
        ("depths", found.depths, tuple(float(grid.depth[level]) for level in levels)),
        ("window", int(attributes["window"]), settings.window),
        ("smoothing", int(attributes["smoothing"]), settings.smoothing),
    ):
        if held != wanted:
            raise UserError(
                f"{path}: made with extremes.{key} {_text(held)}, expected {_text(wanted)}; run "
                f"`{COMMAND}` again or set extremes.{key} as it was"
            )
    return found


def open_thresholds_file(path: Path, grid: Grid, wet: np.ndarray) -> Thresholds:
    """Open any store of thresholds on a grid, whatever it was made with.

    Args:
        path: The store, its manifest beside it.
        grid: The grid of the forecasts; all levels of the store must be among its own.
        wet: bool (nz, ny, nx).

    Raises:
        UserError: The store is missing or unfinished, of another grid, or no store of thresholds.
    """
    manifest = manifest_file(path)
    if not manifest.is_file():
        raise UserError(
            f"{path}: the store of thresholds or its manifest {manifest.name} is missing; run "
            f"`{command_for(path) or COMMAND}`"
        )
    store = open_store(path)
    levels = _check_axes(path, store, grid)
    for name in PROGNOSTIC:
        _check_variable(path, store, name)
    return Thresholds(
        path,
        tuple(float(percentile) for percentile in store["percentile"].values),
        levels,
        tuple(float(grid.depth[level]) for level in levels),
        open_arrays(path, PROGNOSTIC),
        (wet[list(levels)], wet[:1]),
    )


def _check_axes(path: Path, store: Any, grid: Grid) -> tuple[int, ...]:
    """Grid indices of the store's levels; any other grid is refused."""
    missing = [
        axis
        for axis in ("dayofyear", "percentile", "depth", "latitude", "longitude")
        if axis not in store.coords
    ]
    if missing:
        raise UserError(
            f"{path}: coordinate {missing[0]} is missing; expected a store of thresholds, run "
            f"`{COMMAND}`"
        )
    if not np.array_equal(store["dayofyear"].values, np.arange(1, DAYS_IN_YEAR + 1)):
        raise UserError(f"{path}: expected dayofyear 1 to {DAYS_IN_YEAR}; run `{COMMAND}` again")
    for axis, wanted in (("latitude", grid.lat), ("longitude", grid.lon)):
        held = store[axis].values
        if held.shape != wanted.shape or np.abs(held - wanted).max() > AXIS_TOLERANCE:
            raise UserError(
                f"{path}: its {axis} is not that of the forecasts' grid ({held.size} values from "
                f"{held[0]:g}, expected {wanted.size} from {wanted[0]:g}); run `{COMMAND}` on this "
                "grid"
            )
    apart = np.abs(grid.depth[None, :] - store["depth"].values[:, None])
    if (apart.min(axis=1) > AXIS_TOLERANCE).any():
        worst = store["depth"].values[apart.min(axis=1).argmax()]
        raise UserError(
            f"{path}: its level of {worst:g} m is none of the grid's ({_text(grid.depth)} m); run "
            f"`{COMMAND}` on this grid"
        )
    return tuple(int(level) for level in apart.argmin(axis=1))


def _check_variable(path: Path, store: Any, name: str) -> None:
    if name not in store:
        raise UserError(
            f"{path}: variable {name} is missing; expected {', '.join(PROGNOSTIC)}, run "
            f"`{COMMAND}` again"
        )
    expected, found = VARIABLES[name].units, store[name].attrs.get("units")
    if found not in UNIT_SPELLINGS[expected]:
        raise UserError(
            f"{path}: {name} is in units {found!r}; expected {expected!r}, run `{COMMAND}` again"
        )


def _text(value: float | Sequence[float] | np.ndarray) -> str:
    """A number, or several, as a user writes them."""
    if isinstance(value, (int, float)):
        return f"{value:g}"
    return ", ".join(f"{one:g}" for one in value)
