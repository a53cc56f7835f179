"""What figures read: scores, fields of one forecast and its truth, the record of training."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from hybridom.data.days import climatology_rows
from hybridom.data.stores import open_store
from hybridom.errors import UserError
from hybridom.figures.registry import SCORES, chosen_leads
from hybridom.grid import Grid, read_grid
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC, VARIABLES

GLOBAL = "global"
EDGE_RATIO = "edge_ratio"
MODEL = "model"
SKILL = "Skill"


def read_scores(layout: Layout, metrics: Sequence[str], family: str = SCORES) -> pd.DataFrame:
    """Averaged scores over the whole grid, as `read_table` gives them."""
    table = read_table(layout, family)
    return table[(table["region"] == GLOBAL) & table["metric"].isin(metrics)]


def read_table(layout: Layout, family: str) -> pd.DataFrame:
    """Averaged scores of one family.

    Args:
        layout: Paths.
        family: Family of scores.

    Returns:
        Columns lead, region, variable, depth (NaN for a whole variable), system, metric, the
        family's own keys, value, low and high, the ends of its interval (NaN for a single start).

    Raises:
        UserError: The table is missing or has no intervals.
    """
    path = layout.table(family)
    if not path.is_file():
        raise UserError(f"{path}: the scores are missing; run `hybridom evaluate aggregate`")
    table = pd.read_parquet(path)
    if not {"value", "low", "high"} <= set(table):
        raise UserError(
            f"{path}: columns value, low and high expected, found {', '.join(table)}; run "
            "`hybridom evaluate aggregate` again"
        )
    return table.astype({"region": str, "variable": str, "system": str, "metric": str})


def read_skill(layout: Layout) -> pd.DataFrame:
    """Skill of the model over the whole grid, the baseline in column system.

    Raises:
        UserError: The table is missing or holds no skill.
    """
    prefix = "skill_"
    table = read_table(layout, SCORES)
    table = table[(table["region"] == GLOBAL) & table["metric"].str.startswith(prefix)]
    if table.empty:
        raise UserError(
            f"{layout.table(SCORES)}: no rows of metric {prefix}<baseline>; run `hybridom "
            "evaluate aggregate` again"
        )
    return table.assign(system=table["metric"].str.removeprefix(prefix))


def drawn_systems(table: pd.DataFrame, *left_out: str) -> list[str]:
    """Systems of a table but some, the model last so that it lies on top."""
    found = [str(name) for name in table["system"].unique() if name not in (MODEL, *left_out)]
    return [*found, MODEL]


def curve(table: pd.DataFrame, variable: str, depth: float) -> pd.DataFrame:
    """Rows of one variable at one level; `depth` NaN is the whole of it."""
    same_depth = table["depth"].isna() if np.isnan(depth) else table["depth"] == depth
    return table[(table["variable"] == variable) & same_depth]


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
    leads = chosen_leads(config)
    fields = Fields(config, layout, variable, start)
    both = [(fields.forecast(lead), fields.truth(lead)) for lead in leads]
    return fields.grid, fields.level, np.array([x for x, _ in both]), np.array([x for _, x in both])


class Fields:
    """One variable of one forecast, its truth and its climatology, on one level.

    Args:
        config: A `Config` or the `figures` stage's part of it.
        layout: Paths.
        variable: Prognostic variable.
        start: Start date.

    Raises:
        UserError: The grid or the forecast is missing.
    """

    def __init__(self, config: Any, layout: Layout, variable: str, start: dt.date) -> None:
        self.grid, wet = read_grid(layout.grid_file)
        self.layered = VARIABLES[variable].has_depth
        self.level = chosen_levels(self.grid.depth, config.figures.depths)[0]
        self.wet = wet[self.level if self.layered else 0]
        self._layout, self._variable, self._start = layout, variable, start
        self._forecast = open_store(layout.forecast_store(start))
        self._truth: dict[int, xr.Dataset] = {}

    @property
    def place(self) -> str:
        """The level for a title, such as `10 m, `; empty for a variable without depth."""
        return f"{self.grid.depth[self.level]:.0f} m, " if self.layered else ""

    def forecast(self, lead: int) -> np.ndarray:
        """The forecast (ny, nx) at a lead in days, NaN on land.

        Raises:
            UserError: The store has no such lead.
        """
        if lead not in self._forecast["lead"].values:
            path = self._layout.forecast_store(self._start)
            made_by = f"hybridom forecast --start {self._start}"
            raise UserError(f"{path}: lead {lead} is missing; run `{made_by}`")
        return self._values(self._forecast, lead=lead)

    def truth(self, lead: int) -> np.ndarray:
        """The truth (ny, nx) of the valid day, NaN on land.

        Raises:
            UserError: Its store or the day is missing.
        """
        day = self._start + dt.timedelta(lead)
        path = self._layout.state_store(day.year)
        if day.year not in self._truth:
            self._truth[day.year] = open_store(path)
        store = self._truth[day.year]
        if (store["time"] == np.datetime64(day, "ns")).sum() != 1:
            made_by = f"hybridom prepare state --year {day.year}"
            raise UserError(f"{path}: no truth of {day}; run `{made_by}`")
        return self._values(store, time=np.datetime64(day, "ns"))

    @cached_property
    def _climatology(self) -> xr.Dataset:
        return open_store(self._layout.climatology_store)

    def normal(self, lead: int) -> np.ndarray:
        """The climatology (ny, nx) of the valid day, NaN on land."""
        first, second = climatology_rows(self._start + dt.timedelta(lead))
        fields = [self._values(self._climatology, dayofyear=row + 1) for row in (first, second)]
        return 0.5 * (fields[0] + fields[1])

    def _values(self, store: xr.Dataset, **where: Any) -> np.ndarray:
        field = store[self._variable].sel(where)
        field = field.isel(depth=self.level) if self.layered else field
        if field.shape != self.wet.shape:
            raise UserError(
                f"{self._layout.grid_file}: its grid has {self.wet.shape} rows and columns, a "
                f"store of {self._variable} has {field.shape}; make the stores again on one grid"
            )
        return np.where(self.wet, field.values.astype(np.float64), np.nan)


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
