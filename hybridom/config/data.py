"""Sections about sources, grid, periods and climatology."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Literal

from pydantic import Field, model_validator

from hybridom.config.base import Fraction, Period, Positive, Section


class PathsConfig(Section):
    """Where files live, relative to the working directory."""

    raw: str = Field("resources/raw", description="downloaded or simulated source files")
    resources: str = Field("resources", description="regridded stores, shared by experiments")
    results: str = Field("results", description="one folder an experiment")


class SourceConfig(Section):
    """Where the daily ocean and atmosphere files come from."""

    kind: Literal["twin", "files"] = Field(
        "twin", description="`twin` simulates the embedded ocean; `files` reads existing folders"
    )
    ocean_dir: str | None = Field(None, description="folder of GLORYS12V1-like daily NetCDF files")
    forcing_dir: str | None = Field(None, description="folder of ERA5-like NetCDF files")

    @model_validator(mode="after")
    def _folders(self) -> SourceConfig:
        if self.kind == "files" and not (self.ocean_dir and self.forcing_dir):
            raise ValueError("kind 'files' needs ocean_dir and forcing_dir")
        return self


class TwinConfig(Section):
    """The embedded ocean, simulated by Veros (independent of the model's own core)."""

    degrees: Literal[2, 4] = Field(4, description="horizontal resolution of the simulation")
    start: dt.date = dt.date(2001, 1, 1)
    end: dt.date = dt.date(2004, 12, 31)
    seed: int = Field(1, description="seed of the day-to-day weather")
    dt_tracer: Positive = Field(14400.0, description="tracer step and model clock (s)")
    dt_momentum: Positive = Field(3600.0, description="momentum step (s); above 3600 unstable")
    product_degrees: Positive = Field(2.0, description="grid step of the ocean product")
    forcing_degrees: Positive = Field(2.0, description="grid step of the atmosphere product")

    @model_validator(mode="after")
    def _calendar(self) -> TwinConfig:
        if self.end < self.start:
            raise ValueError(f"end {self.end} lies before start {self.start}")
        if 86400 % self.dt_tracer:
            raise ValueError(f"dt_tracer {self.dt_tracer:g} s does not divide a day (86400 s)")
        return self

    @property
    def years(self) -> list[int]:
        """Calendar years simulated."""
        return list(range(self.start.year, self.end.year + 1))


class GridConfig(Section):
    """The model grid: a regular box of cells, global or regional."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$", description="folder under `paths.resources`")
    resolution: Positive = Field(description="cell size (degrees)")
    lat: tuple[float, float] = Field((-90.0, 90.0), description="southern and northern edge")
    lon: tuple[float, float] = Field(
        (-180.0, 180.0), description="western and eastern edge; east of 180 to cross the date line"
    )
    depths: tuple[Positive, ...] = Field(description="level centres of the source to keep (m)")
    wet_threshold: Fraction = Field(
        0.5, description="smallest wet part of a cell's area that makes it an ocean cell"
    )

    @model_validator(mode="after")
    def _box(self) -> GridConfig:
        south, north = self.lat
        west, east = self.lon
        if not -90 <= south < north <= 90:
            raise ValueError(f"lat {self.lat}: expected -90 <= south < north <= 90")
        if not (west < east <= west + 360):
            raise ValueError(f"lon {self.lon}: expected west < east <= west + 360")
        for name, span in (("lat", north - south), ("lon", east - west)):
            if abs(span / self.resolution - round(span / self.resolution)) > 1e-9:
                raise ValueError(
                    f"{name} {span:g} is no multiple of resolution {self.resolution:g}"
                )
        if list(self.depths) != sorted(set(self.depths)):
            raise ValueError("depths must increase downwards")
        return self


class PeriodsConfig(Section):
    """Disjoint periods: statistics and climatology come from `train` alone."""

    train: Period
    validation: Period
    test: Period

    @model_validator(mode="after")
    def _disjoint(self) -> PeriodsConfig:
        ordered = sorted(self.all, key=lambda p: p.start)
        for a, b in itertools.pairwise(ordered):
            if b.start <= a.end:
                raise ValueError(f"periods overlap: one ends {a.end}, another starts {b.start}")
        return self

    @property
    def all(self) -> tuple[Period, Period, Period]:
        """The three periods."""
        return self.train, self.validation, self.test

    @property
    def years(self) -> list[int]:
        """Calendar years of which any day is needed."""
        return sorted({y for p in self.all for y in p.years})

    def days(self, year: int) -> list[dt.date]:
        """Days of `year` that lie in any period, ascending."""
        return sorted(d for p in self.all for d in p.days(year))


class ClimatologyConfig(Section):
    """Daily climatology of the training period."""

    harmonics: int = Field(
        4, ge=0, le=20, description="annual harmonics in the fit; 0 is the time mean"
    )
