"""Truth taken to the grid of a forecast, on request alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hybridom.evaluation.external.axes import AXIS_TOLERANCE
from hybridom.grid import Grid


@dataclass(frozen=True)
class Bracket:
    """For every target the two neighbours on an axis.

    Attributes:
        lower: Index of the one below.
        upper: Index of the one above.
        weight: Of the one above, in [0, 1); NaN where the target lies outside.
    """

    lower: np.ndarray
    upper: np.ndarray
    weight: np.ndarray

    def apply(self, values: np.ndarray, axis: int) -> np.ndarray:
        """Linear between neighbours; a neighbour of no weight may be NaN, the other may not."""
        a, b = (np.take(values, at, axis).astype(np.float64) for at in (self.lower, self.upper))
        shape = [1] * values.ndim
        shape[axis] = -1
        weight = self.weight.reshape(shape)
        return np.where(weight == 0.0, a, a + weight * (b - a))


def bracket(centres: np.ndarray, targets: np.ndarray, period: float | None = None) -> Bracket:
    """Neighbours of targets on an ascending axis.

    Targets within 1e-4 (degrees or m) of a centre take it alone.

    Args:
        centres: (n,) ascending.
        targets: (m,).
        period: Length of an axis that closes on itself.
    """
    n = centres.size
    if period is not None:
        targets = (targets - centres[0] + AXIS_TOLERANCE) % period + centres[0] - AXIS_TOLERANCE
        centres = np.append(centres, centres[0] + period)
    last = centres.size - 1
    lower = np.clip(np.searchsorted(centres, targets, side="right") - 1, 0, last)
    upper = np.minimum(lower + 1, last)
    lower = np.where(np.abs(centres[upper] - targets) <= AXIS_TOLERANCE, upper, lower)
    upper = np.minimum(lower + 1, last)
    exact = np.abs(centres[lower] - targets) <= AXIS_TOLERANCE
    step = np.where(upper > lower, centres[upper] - centres[lower], 1.0)
    weight = np.where(exact, 0.0, (targets - centres[lower]) / step)
    outside = ~exact & ((targets < centres[0]) | (targets > centres[-1]))
    return Bracket(lower % n, upper % n, np.where(outside, np.nan, weight))


class Interpolation:
    """From one grid to another: bilinear in the horizontal, linear in depth.

    A target has a value where every neighbour of weight above zero has one: nothing is made across
    a coast or below the bottom. Above the topmost centre the topmost level is taken, below the
    lowest one there is nothing.

    Args:
        source: Grid of the values.
        target: Grid wanted.
    """

    def __init__(self, source: Grid, target: Grid) -> None:
        self._rows = bracket(source.lat, target.lat)
        lon = target.lon
        if not source.periodic:
            middle = 0.5 * (source.lon[0] + source.lon[-1])
            lon = (lon - middle + 180.0) % 360.0 + middle - 180.0
        self._columns = bracket(source.lon, lon, 360.0 if source.periodic else None)
        self._levels = bracket(source.depth, np.maximum(target.depth, source.depth[0]))

    def __call__(self, values: np.ndarray, deep: bool) -> np.ndarray:
        """Values on the target grid, float64, NaN where there is none.

        Args:
            values: (nz or 1, ny, nx) on the source grid.
            deep: Whether the first axis is that of the levels.
        """
        if not deep:
            return self._across(values)
        levels = zip(self._levels.lower, self._levels.upper, self._levels.weight, strict=True)
        # Level by level, so that no field of the source is held a second time.
        return np.concatenate(
            [
                self._across(Bracket(*(np.array([x]) for x in level)).apply(values, 0))
                for level in levels
            ]
        )

    def _across(self, values: np.ndarray) -> np.ndarray:
        return self._columns.apply(self._rows.apply(values.astype(np.float64), -2), -1)
