"""The model's skill over each baseline, by variable, level and lead."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hybridom.figures import style
from hybridom.figures.curves import LAYERED
from hybridom.figures.inputs import level_depths, read_skill
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC

LIMIT = 50.0  # per cent, either way
COLOURS: Colormap = style.DIFFERENCE.reversed()  # blue where the model is better
HATCH = "//////"
MOST_LABELS = 12  # of levels in a panel


def figure(config: Any, layout: Layout) -> Figure:
    """A column a baseline, a row of panels a variable; in them a row a level, a column a lead.

    Colours show one minus the model's `rmse_mean` over the baseline's, in per cent; cells whose
    interval holds zero are hatched. The top row of a layered variable is the whole of it.

    Args:
        config: A `Config` or the `figures` stage's part of it.
        layout: Paths.
    """
    table = read_skill(layout)
    baselines = list(table["system"].unique())
    norm = Normalize(-LIMIT, LIMIT)
    tall = float(np.clip(0.115 * (len(level_depths(table)) + 1), 0.5, 1.9))
    heights = [tall if name in LAYERED else 0.2 for name in PROGNOSTIC]
    width = style.PAGE_WIDTH * max(len(baselines), 2) / 3
    drawn = Figure(figsize=(width, sum(heights) + 0.38 * len(heights) + 0.85))
    panels = drawn.subplots(
        len(heights), len(baselines), squeeze=False, sharex=True, height_ratios=heights
    )
    letters = style.letters()
    for (row, column), axes in np.ndenumerate(panels):
        variable, baseline = PROGNOSTIC[row], baselines[column]
        rows = table[(table["variable"] == variable) & (table["system"] == baseline)]
        draw_card(axes, *skill_cells(rows), norm, labelled=column == 0)
        name = style.system_name(baseline).lower()
        style.heading(axes, next(letters), f"{style.NAMES[variable]} vs. {name}")
    for axes in panels[-1]:
        axes.set_xlabel("Lead (days)")
    style.colour_bar(
        drawn,
        COLOURS,
        norm,
        panels,
        "Skill of the model (%); hatched: not told apart from none",
        orientation="horizontal",
        aspect=50,
        shrink=0.6,
        pad=0.01,
    )
    return drawn


def skill_cells(rows: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """Skill of one variable over one baseline, and where its interval holds zero.

    Args:
        rows: Columns lead, depth, value, low and high; values as a fraction of one.

    Returns:
        Per cent, a row a level (index depth, NaN for the whole variable, first), a column a lead;
        and bool of the same shape, False where there is no interval.
    """
    depth = rows["depth"].fillna(-1.0)
    wide = rows.assign(depth=depth).pivot(
        index="depth", columns="lead", values=["value", "low", "high"]
    )
    wide = wide.sort_index()
    unsure = (wide["low"] <= 0.0).to_numpy() & (wide["high"] >= 0.0).to_numpy()
    percent = 100.0 * wide["value"]
    percent.index = percent.index.where(percent.index >= 0.0, np.nan)
    return percent, unsure


def draw_card(
    axes: Axes, percent: pd.DataFrame, unsure: np.ndarray, norm: Normalize, labelled: bool
) -> None:
    """Cells of one variable, the shallowest on top."""
    leads = percent.columns.to_numpy()
    rows = np.arange(len(percent) + 1)
    edges = np.concatenate([leads - 0.5, [leads[-1] + 0.5]])
    axes.pcolormesh(edges, rows, percent.to_numpy(), cmap=COLOURS, norm=norm, rasterized=True)
    axes.add_collection(
        PolyCollection(
            _runs(unsure, edges),
            hatch=HATCH,
            facecolor="none",
            edgecolor="none",
            hatchcolor="#4A4A4A",
            linewidth=0.0,
        )
    )
    axes.invert_yaxis()
    axes.grid(False)
    axes.set_facecolor(style.LAND)
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    axes.tick_params(axis="y", length=0)
    axes.set_yticks([])
    if len(percent) == 1:
        return
    axes.axhline(1.0, color="white", linewidth=2.0)
    if labelled:
        names = ["all" if np.isnan(depth) else f"{depth:.0f}" for depth in percent.index]
        every = -(-len(names) // MOST_LABELS)
        shown = [0, *range(1 if every == 1 else every, len(names), every)]
        axes.set_yticks([row + 0.5 for row in shown], [names[n] for n in shown], fontsize=5.5)
        axes.set_ylabel("Depth (m)")


def _runs(cells: np.ndarray, edges: np.ndarray) -> list[list[tuple[float, float]]]:
    """Corners of the stretches of neighbouring cells in each row; far fewer than the cells.

    Args:
        cells: bool (rows, columns).
        edges: Of the columns (columns + 1,).
    """
    padded = np.pad(cells, ((0, 0), (1, 1))).astype(np.int8)
    rows, places = np.nonzero(np.diff(padded, axis=1))
    found = []
    for row, first, last in zip(rows[::2], places[::2], places[1::2], strict=True):
        west, east = float(edges[first]), float(edges[last])
        found.append([(west, row), (east, row), (east, row + 1.0), (west, row + 1.0)])
    return found
