"""What figures read: scores, fields of one forecast and its truth, the record of training."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from hybridom.data.stores import open_store
from hybridom.errors import UserError
from hybridom.grid import Grid, read_grid
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC, VARIABLES

GLOBAL = "global"
MODEL = "model"


def read_scores(layout: Layout, metrics: Sequence[str]) -> pd.DataFrame:
    """Averaged scores over the whole grid.

    Args:
        layout: Paths.
        metrics: Names to keep.

    Returns:
        Columns lead, variable, depth (NaN for a whole variable), system, metric, value, low
        and high, the ends of its interval (NaN for a single start).

    Raises:
        UserError: The table is missing.
    """
    path = layout.scores_parquet
    if not path.is_file():
        raise UserError(f"{path}: the scores are missing; run `hybridom evaluate aggregate`")
    table = pd.read_parquet(path)
    table = table[(table["region"] == GLOBAL) & table["metric"].isin(metrics)]
    columns = ["lead", "variable", "depth", "system", "metric", "value", "low", "high"]
    return table[columns].astype({"variable": str, "system": str, "metric": str})


def drawn_systems(table: pd.DataFrame, *left_out: str) -> list[str]:
    """Systems of a table but some, the model last so that it lies on top."""
    found = [str(name) for name in table["system"].unique() if name not in (MODEL, *left_out)]
    return [*found, MODEL]


def curve(table: pd.DataFrame, variable: str, depth: float, system: str) -> pd.DataFrame:
    """Rows of one variable, level and system by ascending lead; `depth` NaN is the whole."""
    same_depth = table["depth"].isna() if np.isnan(depth) else table["depth"] == depth
    keep = (table["variable"] == variable) & (table["system"] == system) & same_depth
    return table[keep].sort_values("lead")


def level_depths(table: pd.DataFrame) -> np.ndarray:
    """Level centres that were scored, ascending, in m."""
    return np.unique(table["depth"].dropna())


def chosen_levels(depths: np.ndarray, wanted: Sequence[float]) -> list[int]:
    """Indices of the levels nearest to the wanted depths, each once."""
    return list(dict.fromkeys(int(np.abs(depths - depth).argmin()) for depth in wanted))


def map_fields(
    config: Any, layout: Layout, variable: str, start: dt.date
) -> tuple[Grid, int, np.ndarray, np.ndarray]:
    """One forecast and its truth at the configured leads, on one level.

    Args:
        config: A `Config` or the `figures` stage's part of it.
        layout: Paths.
        variable: Prognostic variable.
        start: Start date.

    Returns:
        The grid, the index of the level, forecast and truth (leads, ny, nx), NaN on land.

    Raises:
        UserError: A store or a day is missing, or a lead lies beyond the forecast.
    """
    check_leads(config)
    grid, _ = read_grid(layout.grid_file)
    level = chosen_levels(grid.depth, config.figures.depths)[0]
    forecast = open_store(layout.forecast_store(start))
    fields = []
    for lead in config.figures.leads:
        day = start + dt.timedelta(lead)
        made_by = f"hybridom prepare state --year {day.year}"
        truth = open_store(layout.state_store(day.year))
        times = truth["time"].values.astype("datetime64[ns]")
        at = np.flatnonzero(times == np.datetime64(day, "ns"))
        if len(at) != 1:
            raise UserError(f"{layout.state_store(day.year)}: no truth of {day}; run `{made_by}`")
        pair = forecast[variable].sel(lead=lead), truth[variable].isel(time=at[0])
        if VARIABLES[variable].has_depth:
            pair = pair[0].isel(depth=level), pair[1].isel(depth=level)
        fields.append([x.values.astype(np.float64) for x in pair])
    both = np.array(fields)
    return grid, level, both[:, 0], both[:, 1]


def check_leads(config: Any) -> None:
    """Refuse leads beyond the forecast."""
    beyond = [lead for lead in config.figures.leads if lead > config.forecast.days]
    if beyond:
        raise UserError(
            f"figures.leads: {beyond[0]} lies beyond forecast.days {config.forecast.days}; "
            "take it out"
        )


def read_training(layout: Layout) -> pd.DataFrame:
    """The record of training, one row a step.

    Raises:
        UserError: It is missing, lacks a column or has no scores of validation by lead.
    """
    path = layout.train_log
    if not path.is_file():
        raise UserError(f"{path}: the record of training is missing; run `hybridom train`")
    table = pd.read_csv(path)
    scores = [
        f"{score}_{name}_{lead}"
        for score in ("rmse", "persistence", "acc")
        for name in PROGNOSTIC
        for lead in validation_leads(table) or ("<lead>",)
    ]
    by_component = [f"update_ratio_{name}" for name in components(table)]
    losses = ["loss", *(f"loss_{name}" for name in PROGNOSTIC)]
    for name in ["step", "days", *losses, "gradient_norm", *by_component, *scores]:
        if name not in table:
            raise UserError(f"{path}: column {name} is missing; run `hybridom train` again")
    return table


def validation_leads(table: pd.DataFrame) -> list[int]:
    """Leads that validation scored in a record of training, ascending."""
    pattern = re.compile(rf"rmse_{PROGNOSTIC[0]}_(\d+)")
    return sorted(int(found[1]) for name in table if (found := pattern.fullmatch(name)))


def components(table: pd.DataFrame) -> list[str]:
    """Parts of the model whose gradients a record of training holds."""
    prefix = "gradient_norm_"
    return [name.removeprefix(prefix) for name in table if name.startswith(prefix)]
