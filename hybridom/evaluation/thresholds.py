"""Thresholds of extremes by cell and day of the year, read from `layout.percentiles_store`."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np

from hybridom.grid import Grid
from hybridom.layout import Layout


class Thresholds:
    """Thresholds of the configured percentiles, variables and levels."""

    percentiles: tuple[float, ...]
    levels: tuple[int, ...]

    def field(self, name: str, percentile: float, day: dt.date) -> np.ndarray:
        """The threshold of a day, float32 (levels or 1, ny, nx); `levels` are grid indices."""
        raise NotImplementedError


def open_thresholds(config: Any, layout: Layout, grid: Grid, wet: np.ndarray) -> Thresholds:
    """Open the thresholds, or refuse them."""
    raise NotImplementedError
