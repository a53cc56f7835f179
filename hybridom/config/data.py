"""Sections about sources, grid, periods and climatology."""

from __future__ import annotations

import datetime as dt
import itertools
import os
from typing import Annotated, Literal

from pydantic import Field, model_validator

from hybridom.config.base import Fraction, NonNegative, Period, Positive, Section
from hybridom.variables import VARIABLES

# Key of `source` -> variable that the published release reads.
PUBLISHED_VARIABLES = {
    "ocean_dir": "HOM_GLORYS_05_H5_DIR",
    "forcing_dir": "HOM_ERA5_MEAN_SURFACE_DIR",
    "climatology": "HOM_CLIMATE_MEAN_NPY",
}
# The same for `ocean_dir` where the grid is a region at 0.25 degree.
PUBLISHED_REGIONAL_VARIABLE = "HOM_GLORYS_REGIONAL_025_H5_DIR"
# Folder of the global forecasts that drive the published regional model.
PUBLISHED_MERGED_VARIABLE = "HOM_REGIONAL_MERGED_RESULTS_DIR"


class PathsConfig(Section):
    """Where files live, relative to the working directory."""

    raw: str = Field("resources/raw", description="downloaded or simulated source files")
    resources: str = Field("resources", description="regridded stores, shared by experiments")
    results: str = Field("results", description="one folder an experiment")


class SourceConfig(Section):
    """Where the daily ocean and atmosphere files come from."""

    kind: Literal["twin", "files", "download", "published"] = Field(
        "twin",
        description="`twin` simulates the embedded ocean, `files` reads existing folders, "
        "`download` fetches them first (section `download`), `published` reads the yearly HDF5 "
        "files of the published release",
    )
    ocean_dir: str | None = Field(
        None,
        description="folder of GLORYS12V1 files (originals, the toolbox's subsets or Zarr), or of "
        "GLORYS_05_<YEAR>.h5 (default then: $HOM_GLORYS_05_H5_DIR, or for a region at 0.25 degree "
        "$HOM_GLORYS_REGIONAL_025_H5_DIR)",
    )
    forcing_dir: str | None = Field(
        None,
        description="folder of ERA5 files (NetCDF, Zarr, GRIB), or of WenHai_forcing_05_<YEAR>.h5 "
        "(default then: $HOM_ERA5_MEAN_SURFACE_DIR)",
    )
    static_dir: str | None = Field(
        None, description="folder of the product's static files; their e3t gives layer thickness"
    )
    land_mask: str | None = Field(
        None,
        description="file of the atmosphere's land-sea mask (lsm); forcing over land then "
        "continues that over the sea nearby",
    )
    climatology: str | None = Field(
        None,
        description="climate_mean_s_t_ssh.npy of the published release "
        "(default: $HOM_CLIMATE_MEAN_NPY)",
    )
    mask: str | None = Field(None, description="mask_05.npy of the published release")
    sea_ice: bool = Field(False, description="keep siconc, sithick, usi, vsi beside the state")
    gaps: Literal["refuse", "record"] = Field(
        "refuse",
        description="days without file: `refuse` stops, `record` leaves them out and lists them",
    )

    @model_validator(mode="before")
    @classmethod
    def _environment(cls, data: object) -> object:
        """Take the folders of the published layout from the release's own variables."""
        if not isinstance(data, dict) or data.get("kind") != "published":
            return data
        found = {key: os.environ.get(name) for key, name in PUBLISHED_VARIABLES.items()}
        return {**{key: value for key, value in found.items() if value}, **data}

    @model_validator(mode="after")
    def _folders(self) -> SourceConfig:
        if self.kind == "files" and not (self.ocean_dir and self.forcing_dir):
            raise ValueError("kind 'files' needs ocean_dir and forcing_dir")
        if self.kind == "published":
            for key in ("ocean_dir", "climatology", "mask"):
                if getattr(self, key) is None:
                    variable = PUBLISHED_VARIABLES.get(key)
                    where = f" or the variable {variable}" if variable else ""
                    raise ValueError(f"kind 'published' needs source.{key}{where}")
        return self


class DownloadConfig(Section):
    """What `source.kind: download` fetches; the box, levels and days follow `grid`, `periods`."""

    ocean: Literal["original", "subset"] = Field(
        "original",
        description="`original` daily files of the whole globe, or a `subset` of box and levels",
    )
    ocean_dataset: str = Field(
        "cmems_mod_glo_phy_my_0.083deg_P1D-m", description="Copernicus Marine dataset"
    )
    interim_dataset: str = Field(
        "cmems_mod_glo_phy_myint_0.083deg_P1D-m", description="dataset of the days after it"
    )
    interim_from: dt.date = Field(
        dt.date(2021, 7, 1), description="first day that is fetched from the interim dataset"
    )
    static_dataset: str = Field(
        "cmems_mod_glo_phy_my_0.083deg_static", description="dataset of the static files"
    )
    atmosphere: Literal["cds", "arco"] = Field(
        "arco",
        description="`cds`: hourly files by the Climate Data Store's client; `arco`: daily means "
        "made while reading the public Zarr",
    )
    arco_url: str = Field(
        "gs://gcp-public-data-arco-era5/ar/full_37-1h-0p25deg-chunk-1.zarr-v3",
        description="the public Zarr of ERA5, or a copy of it",
    )
    margin: NonNegative = Field(1.0, description="degrees fetched beyond the grid on each side")


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


def is_published_region(grid: object) -> bool:
    """Whether plain values of section `grid` ask for a region at 0.25 degree."""
    try:
        west, east = grid.get("lon", (-180.0, 180.0))  # type: ignore[attr-defined]
        return float(grid["resolution"]) == 0.25 and east - west < 360  # type: ignore[index]
    except (AttributeError, KeyError, TypeError, ValueError):
        return False  # what is wrong is told when the section is validated


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

    def months(self, year: int | None = None) -> list[str]:
        """Months (YYYY-MM) of which any day is needed, of all years or of one, ascending."""
        return sorted({f"{d:%Y-%m}" for p in self.all for d in p.days(year)})


class RegridConfig(Section):
    """How fields come onto the grid; the ocean is always averaged conservatively."""

    forcing: Literal["bilinear", "conservative"] = Field(
        "bilinear",
        description="`conservative` averages, better where the atmosphere's grid is the finer one",
    )
    coastal_fill: int = Field(
        0, ge=0, description="cells by which ocean values are continued onto land"
    )


class StoresConfig(Section):
    """How stores are written."""

    keepbits: dict[str, Annotated[int, Field(ge=1, le=23)]] = Field(
        default_factory=dict,
        description="variable -> mantissa bits kept of 23; the others are exact",
    )

    @model_validator(mode="after")
    def _known(self) -> StoresConfig:
        if unknown := sorted(set(self.keepbits) - set(VARIABLES)):
            raise ValueError(f"keepbits: unknown variable {unknown[0]!r}")
        return self


class ClimatologyConfig(Section):
    """Daily climatology of the training period."""

    method: Literal["harmonics", "window"] = Field(
        "harmonics", description="`harmonics` of the year, or running means over a `window`"
    )
    harmonics: int = Field(
        4, ge=0, le=20, description="annual harmonics in the fit; 0 is the time mean"
    )
    window: int = Field(
        31, ge=1, le=181, description="days of the running mean around each day of the year; odd"
    )

    @model_validator(mode="after")
    def _odd(self) -> ClimatologyConfig:
        if self.window % 2 == 0:
            raise ValueError(f"window {self.window} is even; expected an odd number of days")
        return self
