"""Figures of experiments side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hybridom.evaluation.edge_ratio import EDGE_RATIO
from hybridom.evaluation.edge_ratio import LIMIT as EDGE_LIMIT
from hybridom.figures import style
from hybridom.figures.inputs import GLOBAL, chosen_levels
from hybridom.variables import PROGNOSTIC

# Okabe and Ito (2008): told apart by all common forms of colour vision; black last.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", "-.", ":")
# Of baselines: grey, so that they are none of the experiments.
REFERENCE_LOOKS: dict[str, dict[str, Any]] = {
    "driver": {"color": "#6E6E6E", "linestyle": (0.0, (1.0, 1.0)), "linewidth": 1.6},
    "persistence": {"color": "#A8A8A8", "linestyle": (0.0, (5.0, 2.0)), "linewidth": 1.0},
}
LIMIT = 50.0  # per cent, of a scorecard
NAMES = {
    "rmse_mean": "RMSE",
    "rmse_pooled": "RMSE, pooled",
    "mae": "MAE",
    "bias": "Bias",
    "acc_centred": "ACC",
    "acc_uncentred": "ACC, uncentred",
    "activity": "Activity",
    EDGE_RATIO: "RMSE, edges / interior",
}
WITH_UNIT = ("rmse_mean", "rmse_pooled", "mae", "bias")


def look(number: int) -> dict[str, Any]:
    """Colour and line of an experiment by its place, as keywords of `Axes.plot`."""
    turn, colour = divmod(number, len(COLOURS))
    return {"color": COLOURS[colour], "linestyle": LINES[turn % len(LINES)]}


def lead_figure(
    table: pd.DataFrame,
    labels: Sequence[str],
    metric: str,
    depths: Sequence[float],
    references: Sequence[str] = (),
    region: str = GLOBAL,
) -> Figure:
    """One metric against lead in one region: a column a variable, a row a level.

    Lines are means over start dates, bands their intervals; baselines are grey and have none.
    Variables without rows are left out.

    Args:
        table: As `tables.side_by_side` makes it of the scores of the fields.
        labels: Of the experiments.
        metric: Metric of the table.
        depths: Wanted depths in m; the nearest levels are drawn.
        references: Baselines of the table, drawn where they have the metric.
        region: Region of the table.
    """
    table = table[(table["region"] == region) & (table["metric"] == metric)]
    names = [name for name in PROGNOSTIC if (table["variable"] == name).any()]
    found = np.unique(table["depth"].dropna())
    levels = [float(found[n]) for n in chosen_levels(found, depths)] if found.size else []
    panels = {name: _levels_of(table[table["variable"] == name], levels) for name in names}
    rows = max(len(places) for places in panels.values())
    width = style.PAGE_WIDTH * max(len(names), 2) / 5
    figure = Figure(figsize=(width, 1.75 * rows + 0.6))
    grid = figure.subplots(rows, len(names), squeeze=False, sharex=True)
    letters = style.letters()
    for row, column in np.ndindex(grid.shape):
        axes: Any = grid[row, column]
        name = names[column]
        if row >= len(panels[name]):
            axes.set_axis_off()
            continue
        depth = panels[name][row]
        place = "" if np.isnan(depth) else f", {depth:.0f} m"
        if metric == EDGE_RATIO:
            axes.axhline(EDGE_LIMIT, color=style.REFERENCE, linewidth=0.7, zorder=1)
        draw_curves(axes, _curve(table, name, depth), labels, references)
        style.heading(axes, next(letters), style.NAMES[name] + place)
        axes.set_ylabel(axis_label(metric, name))
        if row == len(panels[name]) - 1:
            axes.set_xlabel("Lead (days)")
            axes.tick_params(labelbottom=True)
    handles = grid[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=min(len(handles[0]), 5))
    return figure


def _levels_of(rows: pd.DataFrame, levels: Sequence[float]) -> list[float]:
    """Levels to draw of one variable; NaN alone where it has none of its own."""
    places = [depth for depth in levels if (rows["depth"] == depth).any()]
    return places or [np.nan]


def _curve(table: pd.DataFrame, variable: str, depth: float) -> pd.DataFrame:
    same = table["depth"].isna() if np.isnan(depth) else table["depth"] == depth
    return table[(table["variable"] == variable) & same].sort_values("lead")


def metric_name(metric: str) -> str:
    """A metric in words."""
    if metric.startswith("skill_"):
        return f"Skill over {metric.removeprefix('skill_').replace('_', ' ')}"
    return NAMES.get(metric, metric.replace("_", " "))


def axis_label(metric: str, variable: str) -> str:
    """Words beside an axis."""
    unit = f" ({style.unit(variable)})" if metric in WITH_UNIT else ""
    return "Skill" if metric.startswith("skill_") else metric_name(metric) + unit


def draw_curves(
    axes: Axes, rows: pd.DataFrame, labels: Sequence[str], references: Sequence[str] = ()
) -> None:
    """One panel, a line and a band an experiment, a grey line a baseline."""
    lead = rows["lead"].to_numpy()
    for number, label in enumerate(labels):
        value, low, high = (rows[f"{x}_{label}"].to_numpy() for x in ("value", "low", "high"))
        drawn = look(number)
        axes.fill_between(lead, low, high, color=drawn["color"], alpha=0.15, lw=0)
        axes.plot(lead, value, **drawn, label=label)
    for name in references:
        values = rows[f"reference_{name}"]
        if values.notna().any():
            words = f"{style.system_name(name)} (baseline)"
            axes.plot(lead, values, **REFERENCE_LOOKS[name], label=words, zorder=1.5)
    axes.margins(x=0.01)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))


def scorecard(table: pd.DataFrame, first: str, other: str, metric: str) -> Figure:
    """An error of one experiment over that of the first, less one, by variable, level and lead.

    Blue where the error of `other` is the smaller; a dot where the intervals do not overlap. The
    top row of a layered variable is the whole of it.

    Args:
        table: As `tables.side_by_side` makes it of the scores of the fields.
        first: Label of what it is held against.
        other: Label.
        metric: Metric that is smaller where a forecast is better, and positive.
    """
    table = table[(table["region"] == GLOBAL) & (table["metric"] == metric)]
    names = [name for name in PROGNOSTIC if (table["variable"] == name).any()]
    counts = [table.loc[table["variable"] == name, "depth"].nunique(dropna=False) for name in names]
    heights = [0.13 * max(count, 2) for count in counts]
    figure = Figure(figsize=(style.PAGE_WIDTH, sum(heights) + 0.5 * len(names) + 0.7))
    panels = figure.subplots(len(names), 1, squeeze=False, height_ratios=heights, sharex=True)[:, 0]
    norm, letters = Normalize(-LIMIT, LIMIT), style.letters()
    for name, axes in zip(names, panels, strict=True):
        draw_card(axes, table[table["variable"] == name], first, other, norm)
        style.heading(axes, next(letters), style.title(name))
    panels[-1].set_xlabel("Lead (days)")
    bar = figure.colorbar(
        ScalarMappable(norm, style.DIFFERENCE), ax=panels, extend="both", shrink=0.7, aspect=40
    )
    bar.set_label(f"{metric_name(metric)} of {other} over that of {first}, minus one (%)")
    bar.outline.set_linewidth(0.5)
    return figure


def draw_card(axes: Axes, rows: pd.DataFrame, first: str, other: str, norm: Normalize) -> None:
    """Cells of one variable, the shallowest on top."""
    percent, apart = card_cells(rows, first, other)
    leads, places = percent.columns.to_numpy(), np.arange(len(percent) + 1)
    edges = np.concatenate([leads - 0.5, [leads[-1] + 0.5]])
    cells = percent.to_numpy()
    axes.pcolormesh(edges, places, cells, cmap=style.DIFFERENCE, norm=norm, rasterized=True)
    row, column = np.nonzero(apart)
    axes.plot(leads[column], row + 0.5, ".", color="black", markersize=1.6)
    axes.invert_yaxis()
    axes.grid(False)
    axes.set_facecolor(style.LAND)
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    names = ["all" if np.isnan(depth) else f"{depth:.0f}" for depth in percent.index]
    axes.set_yticks(places[:-1] + 0.5, names if len(names) > 1 else [""], fontsize=6.0)
    axes.tick_params(axis="y", length=0)
    if len(names) > 1:
        axes.set_ylabel("Depth (m)")


def card_cells(rows: pd.DataFrame, first: str, other: str) -> tuple[pd.DataFrame, np.ndarray]:
    """An error over that of the first, less one, and where the intervals lie apart.

    Args:
        rows: Of one variable and metric; see `tables.side_by_side`.
        first: Label of what it is held against.
        other: Label.

    Returns:
        Per cent, a row a level (index depth, NaN for the whole variable, first), a column a lead;
        and bool of the same shape.
    """
    base = rows[f"value_{first}"].where(rows[f"value_{first}"] > 0)
    table = pd.DataFrame(
        {
            "depth": rows["depth"].fillna(-1.0),
            "lead": rows["lead"],
            "percent": 100.0 * (rows[f"value_{other}"] / base - 1.0),
            "apart": rows[f"overlap_{other}"] == "no",
        }
    )
    wide = table.pivot(index="depth", columns="lead", values="percent").sort_index()
    apart = table[table["apart"]].pivot(index="depth", columns="lead", values="apart")
    marked = apart.reindex(index=wide.index, columns=wide.columns).notna().to_numpy()
    wide.index = wide.index.where(wide.index >= 0.0, np.nan)
    return wide, marked
