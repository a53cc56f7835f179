"""Sections about forecasts, scores and figures."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from pydantic import Field, field_validator, model_validator

from hybridom.config.base import Count, NonNegative, Section

Baseline = Literal["persistence", "climatology", "damped_persistence"]


class ForecastConfig(Section):
    """Rollouts from analyses."""

    days: Count = 60
    first: dt.date = Field(description="first start date")
    last: dt.date = Field(description="no start after this date")
    every: Count = Field(30, description="days between start dates")

    @model_validator(mode="after")
    def _ordered(self) -> ForecastConfig:
        if self.last < self.first:
            raise ValueError(f"last {self.last} lies before first {self.first}")
        return self

    def start_dates(self) -> list[dt.date]:
        """All start dates, ascending."""
        count = (self.last - self.first).days // self.every + 1
        return [self.first + dt.timedelta(n * self.every) for n in range(count)]


class EvaluationConfig(Section):
    """Scores. Regions are boxes [south, north, west, east] in degrees; `global` is always there."""

    regions: dict[str, tuple[float, float, float, float]] = Field(
        default_factory=dict, description="null takes away a region of the base file"
    )
    baselines: tuple[Baseline, ...] = Field(
        ("persistence", "climatology", "damped_persistence"),
        min_length=1,
        description="scored beside the model",
    )
    damping_starts: Count = Field(
        24, description="training dates from which the damping of anomalies is fitted"
    )

    @field_validator("regions", mode="before")
    @classmethod
    def _without_removed(cls, regions: object) -> object:
        if not isinstance(regions, dict):
            return regions
        return {name: box for name, box in regions.items() if box is not None}

    @field_validator("baselines")
    @classmethod
    def _each_once(cls, baselines: tuple[Baseline, ...]) -> tuple[Baseline, ...]:
        twice = [name for name in baselines if baselines.count(name) > 1]
        if twice:
            raise ValueError(f"{twice[0]} is named twice")
        return baselines


class FiguresConfig(Section):
    """Figures."""

    dpi: Count = 150
    formats: tuple[Literal["png", "pdf", "svg"], ...] = Field(("png", "pdf"), min_length=1)
    start: dt.date | None = Field(None, description="start date of the maps; the first one if null")
    leads: tuple[Count, ...] = Field((1, 10, 30, 60), description="leads of maps and profiles")
    depths: tuple[NonNegative, ...] = Field((0.0, 150.0, 500.0), description="nearest levels (m)")
