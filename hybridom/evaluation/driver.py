"""The baseline `driver`: the forecast of the coarser model, interpolated to a region's cells."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, Protocol

import numpy as np

from hybridom.data.driver import Driver
from hybridom.grid import Grid
from hybridom.layout import Layout

HELD = 4  # leads in memory: the one being scored, two read ahead of it, and lead 0
State = Mapping[str, np.ndarray]


class Forecast(Protocol):
    """A forecast of the driver on the cells of the region (`hybridom.data.driver`)."""

    def state(self, day: int) -> State:
        """All variables at a lead, float32 ([nz,] ny, nx), finite."""


class Driven:
    """The driver's forecast; it is read and interpolated once a lead, for all variables.

    Args:
        forecast: The forecast.
    """

    def __init__(self, forecast: Forecast) -> None:
        self._forecast = forecast
        self._held: dict[int, Future[State]] = {}
        self._lock = threading.Lock()

    def field(self, name: str, lead: int, normal: Any) -> np.ndarray:
        """The interpolated field."""
        values = self._state(lead)[name]
        return values if values.ndim == 3 else values[None]

    def prepare(self, lead: int) -> None:
        """Read and interpolate a lead."""
        self._state(lead)

    def _state(self, lead: int) -> State:
        with self._lock:
            found = self._held.get(lead)
            mine: Future[State] = Future()
            if found is None:
                self._held[lead] = mine
                # Leads are asked for in ascending order.
                if len(self._held) > HELD:
                    del self._held[min(self._held)]
        if found is not None:
            return found.result()
        try:
            mine.set_result(self._forecast.state(lead))
        except BaseException as error:
            mine.set_exception(error)
        return mine.result()


def open_driven(config: Any, layout: Layout, grid: Grid, wet: np.ndarray, start: dt.date) -> Driven:
    """Open the driver's forecast from a start date.

    Args:
        config: A `Config` or the `evaluate` stage's part of it.
        layout: Paths.
        grid: The region's grid.
        wet: bool (nz, ny, nx).
        start: Start date.

    Raises:
        UserError: A store of the driver is missing or does not fit, or its forecast ends before
            that of the region.
    """
    forecast = Driver(layout, grid, wet).forecast(start)
    forecast.require_days(config.forecast.days, "forecast.days")
    return Driven(forecast)
