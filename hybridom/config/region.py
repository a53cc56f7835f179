"""Section about a region that a coarser model drives."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from pydantic import Field

from hybridom.config.base import Count, Period, Section

# Levels of two grids are the same where they lie this close, as a part of the depth.
LEVEL_TOLERANCE = 0.01


class DriverConfig(Section):
    """The coarser model: its analyses and its forecasts drive the region."""

    file: str | None = Field(
        None,
        description="its configuration, from the working directory or the project; the workflow "
        "then makes its stores, weights and forecasts. null: they are there already",
    )
    experiment: str = Field(
        pattern=r"^[A-Za-z0-9_.-]+$", description="folder under paths.results with its forecasts"
    )
    grid: str = Field(
        pattern=r"^[A-Za-z0-9_.-]+$", description="folder under paths.resources with its stores"
    )


class DriverForecastsConfig(Section):
    """Forecasts of the driver over the training and validation periods."""

    days: Count = Field(60, description="leads of each that drive training and validation")
    every: Count = Field(30, description="days between their start dates")

    def starts(self, period: Period) -> list[dt.date]:
        """Start dates of forecasts of which all `days` lie in `period`, ascending."""
        count = (period.length - 1 - self.days) // self.every + 1
        return [period.start + dt.timedelta(n * self.every) for n in range(max(count, 0))]


class RegionConfig(Section):
    """Refinement of a coarser model's forecast in the box of `grid`."""

    driver: DriverConfig
    forecasts: DriverForecastsConfig = DriverForecastsConfig()


def misfit(
    box: tuple[Sequence[float], Sequence[float], Sequence[float]],
    outer: tuple[Sequence[float], Sequence[float], Sequence[float]],
) -> str | None:
    """Why a region cannot be driven from a grid: it leaves it, or has other levels; None if it can.

    Args:
        box: Southern and northern, western and eastern edge in degrees, level centres in m.
        outer: The same of the driver's grid.
    """
    (south, north), (west, east), depths = box
    (outer_south, outer_north), (outer_west, outer_east), outer_depths = outer
    slack = 1e-6
    if south < outer_south - slack or north > outer_north + slack:
        return (
            f"its rows reach from {south:g} to {north:g} N, those of the driver from "
            f"{outer_south:g} to {outer_north:g} N; move grid.lat inside"
        )
    turned = (west - outer_west + slack) % 360.0 - slack
    around = outer_east - outer_west >= 360.0 - slack
    if not around and turned + (east - west) > outer_east - outer_west + slack:
        return (
            f"its columns reach from {west:g} to {east:g} E, those of the driver from "
            f"{outer_west:g} to {outer_east:g} E; move grid.lon inside"
        )
    for depth in depths:
        nearest = min(outer_depths, key=lambda x: abs(x - depth))
        if abs(nearest - depth) > LEVEL_TOLERANCE * depth:
            return (
                f"its level {depth:g} m is none of the driver's {len(outer_depths)} levels, the "
                f"nearest is {nearest:g} m; take grid.depths from those of the driver"
            )
    return None
