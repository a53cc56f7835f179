"""The whole configuration of one experiment."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from pydantic import Field, model_validator

from hybridom.config.base import Section
from hybridom.config.data import (
    ClimatologyConfig,
    GridConfig,
    PathsConfig,
    PeriodsConfig,
    SourceConfig,
    TwinConfig,
)
from hybridom.config.model import NetworksConfig, SkeletonConfig, TrainingConfig
from hybridom.config.output import EvaluationConfig, FiguresConfig, ForecastConfig
from hybridom.variables import FORCING_SETS


class Config(Section):
    """The whole configuration of one experiment."""

    experiment: str = Field(pattern=r"^[A-Za-z0-9_.-]+$", description="folder under paths.results")
    paths: PathsConfig = PathsConfig()
    source: SourceConfig = SourceConfig()
    twin: TwinConfig = TwinConfig()
    grid: GridConfig
    periods: PeriodsConfig
    forcing: Literal["surface3", "surface4"] = "surface3"
    climatology: ClimatologyConfig = ClimatologyConfig()
    skeleton: SkeletonConfig = SkeletonConfig()
    networks: NetworksConfig = NetworksConfig()
    training: TrainingConfig
    forecast: ForecastConfig
    evaluation: EvaluationConfig = EvaluationConfig()
    figures: FiguresConfig = FiguresConfig()

    @model_validator(mode="before")
    @classmethod
    def _twin_folders(cls, data: object) -> object:
        """Point the source at the twin's folders, which its resolution and seed name."""
        if not isinstance(data, dict):
            return data
        source = dict(data.get("source") or {})
        if source.get("kind", "twin") == "twin":
            twin = data.get("twin") or {}
            raw = (data.get("paths") or {}).get("raw", PathsConfig().raw)
            degrees, seed = twin.get("degrees", 4), twin.get("seed", 1)
            source["ocean_dir"] = f"{raw}/twin_{degrees}deg_seed{seed}/ocean"
            source["forcing_dir"] = f"{raw}/twin_{degrees}deg_seed{seed}/forcing"
            data = {**data, "source": source}
        return data

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

    @property
    def forcing_names(self) -> tuple[str, ...]:
        """Names of the forcing variables."""
        return FORCING_SETS[self.forcing]
