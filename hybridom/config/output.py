"""Sections about forecasts, scores and figures."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator, model_validator

from hybridom.config.base import Count, NonNegative, Positive, Section

Baseline = Literal["persistence", "climatology", "damped_persistence", "driver"]
Prognostic = Literal["thetao", "so", "uo", "vo", "zos"]
# Kinds of scores beside the errors of the fields themselves, each a table of its own.
FamilyName = Literal["extremes", "heatwaves", "derived", "budgets", "spectra", "drift"]


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


class ExtremesConfig(Section):
    """Thresholds of extremes: percentiles of the training period, by cell and day of the year."""

    percentiles: tuple[Annotated[float, Field(gt=0, lt=100)], ...] = Field(
        (90.0, 95.0), min_length=1, description="the first one defines marine heatwaves"
    )
    window: Annotated[int, Field(ge=1, le=365)] = Field(
        11, description="days around each day of the year, odd; 365 takes all days alike"
    )
    smoothing: Annotated[int, Field(ge=1, le=365)] = Field(
        31, description="days of the running mean over the thresholds, odd; 1 is off"
    )
    depths: tuple[NonNegative, ...] = Field((0.0,), description="nearest levels (m)")

    @field_validator("percentiles")
    @classmethod
    def _distinct(cls, percentiles: tuple[float, ...]) -> tuple[float, ...]:
        if len({f"{percentile:g}" for percentile in percentiles}) < len(percentiles):
            raise ValueError(f"{list(percentiles)}: give each percentile once, to six digits")
        return percentiles

    @field_validator("window", "smoothing")
    @classmethod
    def _odd(cls, days: int) -> int:
        if days % 2 == 0:
            raise ValueError(f"{days} days have no day in the middle; give an odd number")
        return days


class SpectraConfig(Section):
    """Zonal spectra, of stretches of a row that hold no land."""

    depths: tuple[NonNegative, ...] = Field((0.0,), description="nearest levels (m)")
    segment: Positive = Field(40.0, description="length of a stretch in degrees of longitude")


class DriftConfig(Section):
    """Drift of particles with the currents of the topmost level."""

    particles: Count = Field(10_000, description="drawn over the ocean, by area")
    days: Count = Field(10, description="length of the drift, from the start of the forecast")
    seed: int = Field(123, ge=0)


class BootstrapConfig(Section):
    """Intervals of all averages: moving blocks of start dates (Kunsch 1989)."""

    samples: Count = 1000
    block: Count | None = Field(
        None, description="start dates in a block; null: the cube root of their number"
    )
    level: Annotated[float, Field(gt=0, lt=1)] = Field(0.95, description="of the interval")
    seed: int = Field(0, ge=0)


class EvaluationConfig(Section):
    """Scores. Regions are boxes [south, north, west, east] in degrees; `global` is always there."""

    families: tuple[FamilyName, ...] = Field(
        get_args(FamilyName), description="kinds of scores beside those of the fields"
    )
    regions: dict[str, tuple[float, float, float, float]] = Field(
        default_factory=dict, description="null takes away a region of the base file"
    )
    named_regions: tuple[str, ...] = Field(
        (), description="regions by name, see hybridom/evaluation/regions.py"
    )
    baselines: tuple[Baseline, ...] = Field(
        ("persistence", "climatology", "damped_persistence"),
        min_length=1,
        description="scored beside the model",
    )
    damping_starts: Count = Field(
        24, description="training dates from which the damping of anomalies is fitted"
    )
    heat_content: tuple[tuple[NonNegative, Positive], ...] = Field(
        ((0.0, 300.0), (0.0, 700.0), (0.0, 2000.0)),
        description="layers [top, bottom] in m; those below the grid are left out",
    )
    edges: int = Field(
        0,
        ge=0,
        description="cells of the band along the open edges of a region; the regions `edges` and "
        "`interior` are then scored too; 0 is off",
    )
    gate_leads: tuple[Count, ...] = Field(
        (1, 10, 30, 60),
        min_length=1,
        description="leads at which the weights of a region's gate are kept; later ones than "
        "forecast.days are left out",
    )
    spectra: SpectraConfig = SpectraConfig()
    drift: DriftConfig = DriftConfig()
    bootstrap: BootstrapConfig = BootstrapConfig()

    @property
    def needs_thresholds(self) -> bool:
        """Whether a family compares with the thresholds of extremes."""
        return not {"extremes", "heatwaves"}.isdisjoint(self.families)

    @field_validator("regions", mode="before")
    @classmethod
    def _without_removed(cls, regions: object) -> object:
        if not isinstance(regions, dict):
            return regions
        return {name: box for name, box in regions.items() if box is not None}

    @field_validator("baselines", "families", "named_regions")
    @classmethod
    def _each_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"{twice[0]} is named twice")
        return names

    @field_validator("heat_content")
    @classmethod
    def _downwards(cls, layers: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        for top, bottom in layers:
            if bottom <= top:
                raise ValueError(f"layer [{top:g}, {bottom:g}] does not reach downwards")
        return layers


class HovmoellerConfig(Section):
    """Anomalies of one forecast by longitude and lead, averaged over a band of latitudes."""

    variables: tuple[Prognostic, ...] = Field(("thetao", "zos"), description="a figure each")
    lat: tuple[float, float] = Field((-2.0, 2.0), description="southern and northern edge")

    @field_validator("lat")
    @classmethod
    def _northwards(cls, lat: tuple[float, float]) -> tuple[float, float]:
        if not -90 <= lat[0] < lat[1] <= 90:
            raise ValueError(f"{list(lat)}: expected -90 <= south < north <= 90")
        return lat


class AnimationConfig(Section):
    """Films of one forecast beside its truth."""

    variables: tuple[Prognostic, ...] = Field(("thetao",), description="a film each")
    format: Literal["gif", "mp4"] = Field("gif", description="mp4 needs ffmpeg")
    fps: Annotated[int, Field(ge=1, le=50)] = Field(8, description="frames a second")
    every: Count = Field(1, description="days between frames")


class FiguresConfig(Section):
    """Figures."""

    dpi: Count = 150
    formats: tuple[Literal["png", "pdf", "svg"], ...] = Field(("png", "pdf"), min_length=1)
    start: dt.date | None = Field(None, description="start date of the maps; the first one if null")
    leads: tuple[Count, ...] | None = Field(
        None,
        min_length=1,
        description="leads of maps, profiles and spectra; null: 1, 10, 30, 60 within forecast.days",
    )
    depths: tuple[NonNegative, ...] = Field(
        (0.0, 150.0, 500.0), min_length=1, description="nearest levels (m)"
    )
    zoom: str | tuple[float, float, float, float] | None = Field(
        None,
        description="region seen from near: of evaluation.regions, or a box; null: the first of "
        "those that does not go around the globe",
    )
    hovmoeller: HovmoellerConfig = HovmoellerConfig()
    animation: AnimationConfig = AnimationConfig()

    @field_validator("zoom")
    @classmethod
    def _box(cls, zoom: object) -> object:
        if isinstance(zoom, tuple):
            south, north, west, east = zoom
            if not -90 <= south < north <= 90 or west == east:
                raise ValueError(
                    f"{list(zoom)}: expected [south, north, west, east] in degrees, south < north"
                )
        return zoom
