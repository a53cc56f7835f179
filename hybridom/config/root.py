"""The whole configuration of one experiment."""

from __future__ import annotations

import datetime as dt
import math
import os
from typing import Literal

from pydantic import Field, model_validator

from hybridom.config.base import Section
from hybridom.config.data import (
    PUBLISHED_REGIONAL_VARIABLE,
    PUBLISHED_VARIABLES,
    ClimatologyConfig,
    DownloadConfig,
    GridConfig,
    PathsConfig,
    PeriodsConfig,
    RegridConfig,
    SourceConfig,
    StoresConfig,
    TwinConfig,
    is_published_region,
)
from hybridom.config.networks import NONE, NetworksConfig
from hybridom.config.output import (
    EvaluationConfig,
    ExtremesConfig,
    FiguresConfig,
    ForecastConfig,
)
from hybridom.config.region import RegionConfig
from hybridom.config.skeleton import SkeletonConfig
from hybridom.config.training import TrainingConfig
from hybridom.variables import FORCING_SETS, RAW_FORCING


class Config(Section):
    """The whole configuration of one experiment."""

    experiment: str = Field(pattern=r"^[A-Za-z0-9_.-]+$", description="folder under paths.results")
    paths: PathsConfig = PathsConfig()
    source: SourceConfig = SourceConfig()
    twin: TwinConfig = TwinConfig()
    download: DownloadConfig = DownloadConfig()
    grid: GridConfig
    periods: PeriodsConfig
    forcing: Literal["surface3", "surface4", "fluxes8", "bulk8"] = "surface3"
    regrid: RegridConfig = RegridConfig()
    stores: StoresConfig = StoresConfig()
    climatology: ClimatologyConfig = ClimatologyConfig()
    region: RegionConfig | None = Field(
        None, description="a coarser model drives this one; null: nothing does"
    )
    regions: tuple[str, ...] = Field(
        (),
        description="configurations of regions, from the working directory or the project, that "
        "`snakemake region` makes; several in one text are experiments of one run",
    )
    skeleton: SkeletonConfig = SkeletonConfig()
    networks: NetworksConfig = NetworksConfig()
    training: TrainingConfig
    forecast: ForecastConfig
    extremes: ExtremesConfig = ExtremesConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    figures: FiguresConfig = FiguresConfig()

    @model_validator(mode="before")
    @classmethod
    def _folders(cls, data: object) -> object:
        """Name the folders of files that the workflow makes: the twin's, or the downloaded."""
        if not isinstance(data, dict):
            return data
        source = dict(data.get("source") or {})
        raw = (data.get("paths") or {}).get("raw", PathsConfig().raw)
        kind = source.get("kind", "twin")
        if kind == "twin":
            twin = data.get("twin") or {}
            degrees, seed = twin.get("degrees", 4), twin.get("seed", 1)
            source["ocean_dir"] = f"{raw}/twin_{degrees}deg_seed{seed}/ocean"
            source["forcing_dir"] = f"{raw}/twin_{degrees}deg_seed{seed}/forcing"
        elif kind == "download":
            source["ocean_dir"] = source.get("ocean_dir") or f"{raw}/glorys12v1"
            source["forcing_dir"] = source.get("forcing_dir") or f"{raw}/era5"
            source["static_dir"] = source.get("static_dir") or f"{raw}/glorys12v1_static"
        elif kind == "published" and is_published_region(data.get("grid")):
            folder = os.environ.get(PUBLISHED_REGIONAL_VARIABLE)
            if folder and not source.get("ocean_dir"):
                source["ocean_dir"] = folder
        return {**data, "source": source}

    @model_validator(mode="after")
    def _published(self) -> Config:
        if self.source.kind != "published":
            return self
        if self.forcing not in ("surface3", "fluxes8"):
            raise ValueError(
                f"forcing {self.forcing!r}: the published files hold surface3 and fluxes8 only"
            )
        if self.forcing == "fluxes8" and self.source.forcing_dir is None:
            variable = PUBLISHED_VARIABLES["forcing_dir"]
            raise ValueError(f"fluxes8 needs source.forcing_dir or the variable {variable}")
        if self.forcing == "fluxes8" and self.skeleton.enabled and self.skeleton.wind_stress:
            raise ValueError(
                "skeleton.wind_stress: the published fluxes8 are normalised to [0, 1], no stress "
                "can be read from them; set it to false or use forcing surface3"
            )
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        if self.source.kind == "twin":
            first = min(p.start for p in self.periods.all)
            last = max(p.end for p in self.periods.all)
            if first < self.twin.start or last > self.twin.end:
                raise ValueError(
                    f"periods need {first} to {last}, twin simulates {self.twin.start} to "
                    f"{self.twin.end}"
                )
        test = self.periods.test
        last = self.forecast.start_dates()[-1] + dt.timedelta(self.forecast.days)
        if self.forecast.first < test.start or last > test.end:
            raise ValueError(
                f"forecast: starts {self.forecast.first} and runs to {last}, outside periods.test "
                f"{test.start} to {test.end}"
            )
        longest = max(s.days for s in self.training.curriculum) + 1
        if longest > self.periods.train.length:
            raise ValueError(
                f"training.curriculum: a window of {longest} days does not fit into periods.train "
                f"({self.periods.train.length} days)"
            )
        starts = self.forecast.start_dates()
        if self.figures.start is not None and self.figures.start not in starts:
            raise ValueError(f"figures.start {self.figures.start} is no start date of forecast")
        return self

    @model_validator(mode="after")
    def _figures_are_within_reach(self) -> Config:
        beyond = [lead for lead in self.figures.leads or () if lead > self.forecast.days]
        if beyond:
            raise ValueError(
                f"figures.leads: {beyond[0]} lies beyond forecast.days {self.forecast.days}; take "
                "it out"
            )
        zoom, regions = self.figures.zoom, self.evaluation.regions
        if isinstance(zoom, str) and zoom not in regions:
            known = ", ".join(regions) or "none"
            raise ValueError(
                f"figures.zoom: {zoom!r} is no box of evaluation.regions ({known}); name one of "
                "them, or give [south, north, west, east]"
            )
        return self

    @model_validator(mode="after")
    def _sponge_fits(self) -> Config:
        box = self.grid
        height, width = box.lat[1] - box.lat[0], box.lon[1] - box.lon[0]
        rows, columns = (round(x / box.resolution) for x in (height, width))
        self.skeleton.sponge.require_room(rows, columns, box.lat, math.isclose(width, 360.0))
        return self

    @model_validator(mode="after")
    def _driven(self) -> Config:
        """What reads a driver needs one, and a driver that is named is read."""
        uses = {
            "networks.gate": self.networks.gate.name != NONE,
            "networks.driver": self.networks.driver != "none",
            "training.curriculum: forecasts": any(s.forecasts for s in self.training.curriculum),
            "evaluation.baselines: driver": "driver" in self.evaluation.baselines,
            "evaluation.edges": self.evaluation.edges > 0,
        }
        if self.region is None:
            wanted = next((key for key, used in uses.items() if used), None)
            if wanted:
                raise ValueError(f"{wanted}: there is no driver; add section region, or remove it")
            return self
        sponge = self.skeleton.enabled and self.skeleton.sponge.width > 0
        if not (sponge or self.networks.use_driver):
            raise ValueError(
                "region: nothing reads the driver; set skeleton.sponge.width, networks.gate or "
                "networks.driver, or remove the section"
            )
        if self.region.driver.experiment == self.experiment:
            raise ValueError(f"region.driver.experiment: {self.experiment} cannot drive itself")
        if self.networks.gate.name != NONE and not self.skeleton.enabled:
            raise ValueError(
                "networks.gate: it corrects the fluxes of the skeleton; set skeleton.enabled to "
                "true, or gate.name to none"
            )
        if self.networks.driver == "state" and self.skeleton.enabled:
            raise ValueError(
                "networks.driver: state leaves only the network State; set skeleton.enabled to "
                "false"
            )
        longest = max(stage.days for stage in self.training.curriculum)
        if any(s.forecasts for s in self.training.curriculum) and (
            longest > self.region.forecasts.days
        ):
            raise ValueError(
                f"region.forecasts.days {self.region.forecasts.days}: a window of {longest} days "
                "(training.curriculum) is longer"
            )
        return self

    @property
    def forcing_names(self) -> tuple[str, ...]:
        """Names of the forcing variables in the stores."""
        return FORCING_SETS[self.forcing]

    @property
    def raw_forcing_names(self) -> tuple[str, ...]:
        """Names of the forcing variables that the raw files must hold."""
        return RAW_FORCING[self.forcing]
