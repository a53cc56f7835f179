"""The stage: stores in; the scores of each start, their averages and the skill out."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

import numpy as np
import pandas as pd

from hybridom.evaluation.averages import mean_scores
from hybridom.evaluation.regions import Regions, region_weights
from hybridom.evaluation.skill import skill_table
from hybridom.evaluation.stores import Climatology, ForecastStore, Truth
from hybridom.evaluation.summary import summary_page
from hybridom.evaluation.systems import MODEL, systems
from hybridom.evaluation.tables import write_csv, write_parquet, write_text
from hybridom.grid import Grid, read_grid
from hybridom.layout import Layout
from hybridom.metrics import METRICS, Moments, moments
from hybridom.progress import track
from hybridom.variables import PROGNOSTIC, VARIABLES

log = logging.getLogger(__name__)


def evaluate_start(config: Any, layout: Layout, start: dt.date) -> None:
    """Score the forecast from one start date and write `layout.scores(start)`.

    Every lead from 1 to `forecast.days` is scored against the truth of its valid day, for the
    model and the configured baselines (`systems.systems`). Memory holds the initial state and one
    day at a time.

    Columns of the table: start, lead (days), region, variable, depth (m), system, metric, value.
    `depth` is NaN in the rows of a whole variable: that of zos, and for the others all levels
    together weighted by volume. `value` is NaN where a metric is undefined: the anomaly
    correlation of the climatology, and levels without a wet cell in a region.

    Args:
        config: A `Config` or the `evaluate` stage's part of it.
        layout: Paths.
        start: Start date.

    Raises:
        UserError: A store or the damping is missing, incomplete, or not aligned with the others.
    """
    grid, wet = read_grid(layout.grid_file)
    regions = region_weights(grid, wet, config.evaluation.regions)
    days = config.forecast.days
    forecast = ForecastStore(layout, grid, wet, start, days)
    truth, climatology = Truth(layout, grid, wet), Climatology(layout, grid, wet)
    scored = systems(config, layout, grid, forecast, climatology)

    sums: dict[str, list[np.ndarray]] = {name: [] for name in PROGNOSTIC}
    for lead in track(range(1, days + 1), total=days, label=f"scores of {start}"):
        day = start + dt.timedelta(lead)
        for name in PROGNOSTIC:
            normal = climatology.field(name, day)
            fields = [system.field(name, lead, normal) for system in scored.values()]
            sums[name].append(field_sums(fields, truth.field(name, day), normal, regions))

    tables = [
        score_table(name, np.stack(sums[name], axis=1), tuple(scored), regions, grid)
        for name in PROGNOSTIC
    ]
    table = pd.concat(tables, ignore_index=True)
    table.insert(0, "start", pd.Timestamp(start))
    for column in ("region", "variable", "system", "metric"):
        table[column] = table[column].astype("category")
    write_parquet(table, layout.scores(start))
    log.info("%s: %d scores", layout.scores(start), len(table))


def aggregate(config: Any, layout: Layout) -> None:
    """Average over start dates; write the scores, the skill table and its page.

    Writes `layout.scores_parquet` and `layout.scores_table` (`averages.mean_scores`),
    `layout.skill_table` (`skill.skill_table`) and `layout.summary` (`summary.summary_page`).

    Args:
        config: A `Config` or the `evaluate` stage's part of it.
        layout: Paths.

    Raises:
        UserError: The scores of a start date are missing, or were made with other settings.
    """
    starts = config.forecast.start_dates()
    scores = mean_scores(starts, layout, (MODEL, *config.evaluation.baselines))
    skill = skill_table(scores)
    write_parquet(scores, layout.scores_parquet)
    write_csv(scores, layout.scores_table)
    write_csv(skill, layout.skill_table)
    write_text(summary_page(scores, skill, config.experiment, len(starts)), layout.summary)
    log.info("%s: %d scores over %d start dates", layout.scores_table, len(scores), len(starts))


def field_sums(
    forecasts: Sequence[np.ndarray], truth: np.ndarray, climatology: np.ndarray, regions: Regions
) -> np.ndarray:
    """Moments of several forecasts of one field.

    Args:
        forecasts: One field (nz or 1, ny, nx) a system.
        truth: The verifying field.
        climatology: The climatology of the valid day.
        regions: Weights.

    Returns:
        The sums of `Moments` (9, systems, regions, levels).
    """
    weights = regions.weights[:, : len(truth)]
    parts = [astuple(moments(forecast, truth, climatology, weights)) for forecast in forecasts]
    return np.stack([np.stack(part) for part in parts], axis=1)


def score_table(
    name: str, sums: np.ndarray, names: Sequence[str], regions: Regions, grid: Grid
) -> pd.DataFrame:
    """All metrics of one variable.

    Args:
        name: The variable.
        sums: Moments (9, leads, systems, regions, levels), leads from 1.
        names: Names of the systems.
        regions: Names of the regions and layer thicknesses.
        grid: The model grid.

    Returns:
        A row for every lead, system, metric, region, and level; all levels together (depth NaN)
        come before the single ones.
    """
    by_level = Moments(*sums)
    values = _all_metrics(by_level)
    depths = [np.nan]
    if VARIABLES[name].has_depth:
        pooled = _all_metrics(by_level.pool_levels(regions.thickness))
        values = np.concatenate([pooled[..., None], values], axis=-1)
        depths += list(grid.depth)
    axes = {
        "metric": list(METRICS),
        "lead": range(1, values.shape[1] + 1),
        "system": list(names),
        "region": regions.names,
        "depth": depths,
    }
    index = pd.MultiIndex.from_product(axes.values(), names=axes.keys())
    table = index.to_frame(index=False).assign(variable=name, value=values.ravel())
    return table[["lead", "region", "variable", "depth", "system", "metric", "value"]]


def _all_metrics(sums: Moments) -> np.ndarray:
    return np.stack([metric(sums) for metric in METRICS.values()])
