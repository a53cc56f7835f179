"""How many outputs of each stage are there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hybridom.config import Config
from hybridom.config.chain import training_starts
from hybridom.figures import figure_names, figure_outputs
from hybridom.layout import Layout
from hybridom.operations.status_words import changed, moment


@dataclass(frozen=True)
class Stage:
    """One row of the table.

    Attributes:
        name: As in README.md.
        stage: Whose options it depends on; empty for those of another configuration.
        unit: What is counted.
        outputs: For each of them, the files that it consists of.
    """

    name: str
    stage: str
    unit: str
    outputs: tuple[tuple[Path, ...], ...]

    @property
    def done(self) -> int:
        """How many are complete."""
        return sum(all(path.exists() for path in paths) for paths in self.outputs)

    @property
    def newest(self) -> float:
        """Time of the last change of any, in seconds of the epoch; nan if there is none."""
        times = [changed(path) for paths in self.outputs for path in paths]
        return max((x for x in times if math.isfinite(x)), default=math.nan)


def stages(config: Config, layout: Layout) -> list[Stage]:
    """The stages that a configuration has, in the order in which they run."""
    return [
        *_raw(config, layout),
        *_prepared(config, layout),
        *_driven(config, layout),
        *_results(config, layout),
    ]


def table(found: list[Stage], changes: dict[str, list[str]]) -> list[str]:
    """Rows of text; a stage whose options changed says so."""
    rows = []
    for stage in found:
        newest = moment(stage.newest) if math.isfinite(stage.newest) else ""
        note = "options changed: runs again" if stage.stage in changes and stage.done else ""
        rows.append((stage.name, f"{stage.done}/{len(stage.outputs)} {stage.unit}", newest, note))
    wide = [max(len(row[i]) for row in rows) for i in range(3)]
    return [
        "  ".join(x.ljust(w) for x, w in zip(row, (*wide, 0), strict=True)).rstrip() for row in rows
    ]


def _raw(config: Config, layout: Layout) -> Iterator[Stage]:
    years = config.periods.years
    if config.source.kind == "twin":
        yield _each("embedded ocean", "twin", "years", [layout.twin_manifest(y) for y in years])
    elif config.source.kind == "download":
        months = config.periods.months()
        ocean = [layout.ocean_download(month) for month in months]
        forcing = [layout.forcing_download(month) for month in months]
        yield _each("static files", "download", "set", [layout.static_download])
        yield _each("fetched ocean", "download", "months", ocean)
        yield _each("fetched atmosphere", "download", "months", forcing)


def _prepared(config: Config, layout: Layout) -> Iterator[Stage]:
    years = config.periods.years
    yield _each("check of the raw files", "check", "years", [layout.check_report(y) for y in years])
    yield _each("grid and wet mask", "grid", "file", [layout.grid_file])
    yield _each("ocean state", "state", "years", [layout.state_manifest(y) for y in years])
    yield _each("forcing", "state", "years", [layout.forcing_manifest(y) for y in years])
    yield _each("climatology", "climatology", "store", [layout.climatology_manifest])
    yield _each("statistics", "climatology", "file", [layout.statistics_file])
    if config.evaluation.needs_thresholds:
        manifest = layout.percentiles_manifest
        yield _each("thresholds of extremes", "percentiles", "store", [manifest])


def _driven(config: Config, layout: Layout) -> Iterator[Stage]:
    """What a region takes from its driver, whose other stages are of another configuration."""
    if config.region is None:
        return
    driver, periods = layout.driver, config.periods
    years = sorted({*periods.train.years, *periods.validation.years})
    starts = sorted({*training_starts(config), *config.forecast.start_dates()})
    yield _each("fit into the driver", "region", "report", [layout.region_check])
    yield _each("states of the driver", "", "years", [driver.state_manifest(y) for y in years])
    made = [driver.forecast_manifest(start) for start in starts]
    yield _each("forecasts of the driver", "", "starts", made)


def _results(config: Config, layout: Layout) -> Iterator[Stage]:
    starts = config.forecast.start_dates()
    families = ("scores", *config.evaluation.families)
    yield _each("training", "train", "model", [layout.checkpoint])
    yield _each("forecasts", "forecast", "starts", [layout.forecast_manifest(s) for s in starts])
    if "damped_persistence" in config.evaluation.baselines:
        yield _each("damping of anomalies", "damping", "file", [layout.damping])
    scored = tuple(tuple(layout.scores(s, family) for family in families) for s in starts)
    yield Stage("scores", "evaluate", "starts", scored)
    tables = [layout.table(family).with_suffix(".csv") for family in families]
    yield _each("tables of scores", "evaluate", "tables", [*tables, layout.skill_table])
    drawn = (tuple(figure_outputs(name, config, layout)) for name in figure_names(config))
    yield Stage("figures, films", "figures", "figures", tuple(drawn))
    yield _each("page", "page", "page", [layout.page])


def _each(name: str, stage: str, unit: str, paths: list[Path]) -> Stage:
    """A stage each output of which is one file."""
    return Stage(name, stage, unit, tuple((path,) for path in paths))
