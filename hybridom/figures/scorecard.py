"""The model's RMSE against the best baseline, by variable, level and lead."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hybridom.figures import style
from hybridom.figures.curves import FLAT, LAYERED
from hybridom.figures.inputs import MODEL, read_scores
from hybridom.layout import Layout

LIMIT = 50.0  # per cent, either way


def figure(config: Any, layout: Layout) -> Figure:
    """A panel a variable, a row a level, a column a lead; blue where the model is better.

    Colours show the model's `rmse_mean` over the smallest of the baselines', less one, in per cent.
    The top row of a layered variable is the whole of it.

    Args:
        config: A `Config` or the `figures` stage's part of it.
        layout: Paths.
    """
    table = read_scores(layout, ["rmse_mean"])
    norm = Normalize(-LIMIT, LIMIT)
    levels = table["depth"].nunique()
    tall = 0.13 * (levels + 1)
    drawn = Figure(figsize=(style.PAGE_WIDTH, 2 * tall + 2.2))
    mosaic = [LAYERED[:2], LAYERED[2:], [FLAT, "key"]]
    panels = drawn.subplot_mosaic(mosaic, height_ratios=[tall, tall, 0.26])  # type: ignore[arg-type]
    key = panels.pop("key")
    letters = style.letters()
    for variable, axes in panels.items():
        percent = relative_rmse(table[table["variable"] == variable])
        draw_card(axes, percent, norm)
        style.heading(axes, next(letters), style.title(str(variable)))
    bar = drawn.colorbar(
        ScalarMappable(norm, style.DIFFERENCE), cax=key, orientation="horizontal", extend="both"
    )
    bar.set_label("RMSE of the model over that of the best baseline, minus one (%)")
    bar.outline.set_linewidth(0.5)
    return drawn


def relative_rmse(table: pd.DataFrame) -> pd.DataFrame:
    """RMSE of the model over the best baseline's, minus one, in per cent.

    Args:
        table: `rmse_mean` of one variable, columns lead, depth, system, value.

    Returns:
        A row a level (index depth, NaN for the whole variable, first), a column a lead.
    """
    depth = table["depth"].fillna(-1.0)
    wide = table.assign(depth=depth).pivot(
        index=["depth", "lead"], columns="system", values="value"
    )
    best = wide.drop(columns=MODEL).min(axis=1)
    percent = (100.0 * (wide[MODEL] / best - 1.0)).unstack("lead").sort_index()
    percent.index = percent.index.where(percent.index >= 0.0, np.nan)
    return percent


def draw_card(axes: Axes, percent: pd.DataFrame, norm: Normalize) -> None:
    """Cells of one variable, the shallowest on top."""
    leads = percent.columns.to_numpy()
    rows = np.arange(len(percent) + 1)
    edges = np.concatenate([leads - 0.5, [leads[-1] + 0.5]])
    axes.pcolormesh(
        edges, rows, percent.to_numpy(), cmap=style.DIFFERENCE, norm=norm, rasterized=True
    )
    axes.invert_yaxis()
    axes.grid(False)
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    axes.set_xlabel("Lead (days)")
    if len(percent) == 1:
        axes.set_yticks([])
        return
    names = ["all" if np.isnan(depth) else f"{depth:.0f}" for depth in percent.index]
    axes.set_yticks(rows[:-1] + 0.5, names, fontsize=6.0)
    axes.tick_params(axis="y", length=0)
    axes.axhline(1.0, color="white", linewidth=2.0)
    axes.set_ylabel("Depth (m)")
