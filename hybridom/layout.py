"""Where every file of every stage lives. The workflow and the commands both ask here."""

from __future__ import annotations

import datetime as dt
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any


class Layout:
    """Paths of one configuration, relative to the working directory.

    Args:
        config: A `Config`, or the `StageConfig` of a stage; a path that needs a section which the
            stage is not given raises `AttributeError`.
    """

    def __init__(self, config: Any) -> None:
        self._config = config

    # sources

    @cached_property
    def ocean_dir(self) -> Path:
        """Folder of the daily ocean files."""
        return Path(self._config.source.ocean_dir)

    @cached_property
    def forcing_dir(self) -> Path:
        """Folder of the atmosphere files."""
        return Path(self._config.source.forcing_dir)

    @cached_property
    def static_dir(self) -> Path:
        """Folder of the fetched static files."""
        return Path(self._config.source.static_dir)

    @cached_property
    def twin_dir(self) -> Path:
        """Folder of the embedded ocean: product, forcing, restarts, manifests."""
        return self.ocean_dir.parent

    def twin_manifest(self, year: int) -> Path:
        """Manifest of one simulated year."""
        return self.twin_dir / f"{year}.json"

    def ocean_download(self, month: str) -> Path:
        """Manifest of one fetched month (YYYY-MM) of the ocean."""
        return self.ocean_dir / "manifests" / f"{month}.json"

    def forcing_download(self, month: str) -> Path:
        """Manifest of one fetched month (YYYY-MM) of the atmosphere."""
        return self.forcing_dir / "manifests" / f"{month}.json"

    @cached_property
    def static_download(self) -> Path:
        """Manifest of the fetched static files."""
        return self.static_dir / "manifests" / "static.json"

    # resources, shared by experiments on the same grid

    @cached_property
    def resources_dir(self) -> Path:
        """Folder of everything on the model grid."""
        return Path(self._config.paths.resources) / self._config.grid.name

    @cached_property
    def grid_file(self) -> Path:
        """Grid, wet mask and wet fraction."""
        return self.resources_dir / "grid.nc"

    def check_report(self, year: int) -> Path:
        """Report of the input check of one year."""
        return self.resources_dir / "checks" / f"{year}.json"

    def state_store(self, year: int) -> Path:
        """Zarr store of the ocean state of one year."""
        return self.resources_dir / "state" / f"{year}.zarr"

    def state_manifest(self, year: int) -> Path:
        """Manifest of `state_store`."""
        return self.resources_dir / "state" / f"{year}.json"

    def forcing_store(self, year: int) -> Path:
        """Zarr store of the forcing of one year."""
        return self.resources_dir / "forcing" / f"{year}.zarr"

    def forcing_manifest(self, year: int) -> Path:
        """Manifest of `forcing_store`."""
        return self.resources_dir / "forcing" / f"{year}.json"

    @cached_property
    def climatology_store(self) -> Path:
        """Zarr store of the daily climatology."""
        return self.resources_dir / "climatology.zarr"

    @cached_property
    def climatology_manifest(self) -> Path:
        """Manifest of `climatology_store`."""
        return self.resources_dir / "climatology.json"

    @cached_property
    def statistics_file(self) -> Path:
        """Statistics of the training period."""
        return self.resources_dir / "statistics.nc"

    @cached_property
    def percentiles_store(self) -> Path:
        """Zarr store of the thresholds of extremes."""
        return self.resources_dir / "percentiles.zarr"

    @cached_property
    def percentiles_manifest(self) -> Path:
        """Manifest of `percentiles_store`."""
        return self.resources_dir / "percentiles.json"

    # what drives a region

    @cached_property
    def driver(self) -> Layout:
        """Paths of the coarser model that drives this region: its grid, stores and forecasts."""
        driver = self._config.region.driver
        return Layout(
            SimpleNamespace(
                paths=self._config.paths,
                grid=SimpleNamespace(name=driver.grid),
                experiment=driver.experiment,
            )
        )

    @cached_property
    def region_check(self) -> Path:
        """Report on how the region fits into the grid of its driver."""
        return self.resources_dir / f"region_in_{self._config.region.driver.grid}.json"

    def gate_weights(self, start: dt.date) -> Path:
        """Weights that the gate of a region gave to the fluxes along one forecast."""
        return self.experiment_dir / "gate" / f"{start:%Y-%m-%d}.nc"

    # results of one experiment

    @cached_property
    def experiment_dir(self) -> Path:
        """Folder of the experiment."""
        return Path(self._config.paths.results) / self._config.experiment

    @cached_property
    def train_dir(self) -> Path:
        """Folder of training."""
        return self.experiment_dir / "train"

    @cached_property
    def checkpoint(self) -> Path:
        """Weights of the finished training, with all that a forecast needs."""
        return self.train_dir / "checkpoint.pt"

    @cached_property
    def train_log(self) -> Path:
        """Losses and validation scores by step."""
        return self.train_dir / "metrics.csv"

    @cached_property
    def checkpoints_dir(self) -> Path:
        """Resumable checkpoints of a running training."""
        return self.train_dir / "checkpoints"

    def forecast_store(self, start: dt.date) -> Path:
        """Zarr store of one forecast."""
        return self.experiment_dir / "forecast" / f"{start:%Y-%m-%d}.zarr"

    def forecast_manifest(self, start: dt.date) -> Path:
        """Manifest of `forecast_store`."""
        return self.experiment_dir / "forecast" / f"{start:%Y-%m-%d}.json"

    @cached_property
    def damping(self) -> Path:
        """Part of an anomaly that is left at each lead, for damped persistence."""
        return self.experiment_dir / "scores" / "damping.nc"

    def scores(self, start: dt.date, family: str = "scores") -> Path:
        """Scores of one forecast: of the fields, or of another family."""
        return self.experiment_dir / "scores" / family / f"{start:%Y-%m-%d}.parquet"

    def table(self, family: str) -> Path:
        """Scores of one family over all start dates, as Parquet; a CSV of this name beside it."""
        return self.experiment_dir / "scores" / f"{family}.parquet"

    @cached_property
    def scores_table(self) -> Path:
        """Scores of the fields over all start dates, as CSV."""
        return self.table("scores").with_suffix(".csv")

    @cached_property
    def scores_parquet(self) -> Path:
        """Scores of the fields over all start dates, as Parquet."""
        return self.table("scores")

    @cached_property
    def skill_table(self) -> Path:
        """Leads at which the model beats the baselines, by variable and level."""
        return self.experiment_dir / "scores" / "skill.csv"

    @cached_property
    def summary(self) -> Path:
        """The skill table as a page."""
        return self.experiment_dir / "scores" / "summary.html"

    @cached_property
    def figures_dir(self) -> Path:
        """Folder of the figures and animations."""
        return self.experiment_dir / "figures"

    @cached_property
    def page(self) -> Path:
        """All tables and figures as one page that needs no other file."""
        return self.experiment_dir / "page.html"

    # configuration copies

    def stage_config(self, stage: str) -> Path:
        """Resolved configuration of one stage, beside its outputs."""
        if stage == "twin":
            return self.twin_dir / "config.yaml"
        if stage in ("download", "check", "grid", "state", "climatology", "percentiles", "region"):
            return self.resources_dir / "config" / f"{stage}.yaml"
        return self.experiment_dir / "config" / f"{stage}.yaml"
