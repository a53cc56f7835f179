"""Panels of a score against lead, by variable and level: the frame of several figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hybridom.figures import style
from hybridom.figures.inputs import (
    chosen_levels,
    curve,
    drawn_systems,
    level_depths,
    read_scores,
)
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC, VARIABLES

LAYERED = [name for name in PROGNOSTIC if VARIABLES[name].has_depth]
(FLAT,) = (name for name in PROGNOSTIC if not VARIABLES[name].has_depth)


def lead_figure(
    config: Any,
    layout: Layout,
    metric: str,
    label: str,
    reference: float | None,
    left_out: tuple[str, ...] = (),
) -> Figure:
    """Curves against lead: a column a variable, a row a level.

    Lines are means over start dates, bands their intervals (`evaluation.bootstrap`).

    Args:
        config: A `Config` or the `figures` stage's part of it.
        layout: Paths.
        metric: Metric of the averaged scores.
        label: Its name for the axis; `{unit}` is replaced by the variable's unit.
        reference: Value of a thin horizontal line, or none.
        left_out: Systems that are scored but not drawn.
    """
    table = read_scores(layout, [metric])
    systems = drawn_systems(table, *left_out)
    depths = level_depths(table)
    levels = [float(depths[level]) for level in chosen_levels(depths, config.figures.depths)]
    rows = max(len(levels), 2)
    figure = Figure(figsize=(style.PAGE_WIDTH, 1.72 * rows + 0.35))
    grid = figure.subplots(rows, len(LAYERED) + 1, squeeze=False, sharex=True)
    letters = style.letters()
    for row, column in np.ndindex(grid.shape):
        axes: Any = grid[row, column]
        flat = column == len(LAYERED)
        last = rows - 1 if flat else len(levels) - 1
        if row != last if flat else row > last:
            axes.set_axis_off()
            continue
        variable = FLAT if flat else LAYERED[column]
        depth = np.nan if flat else levels[row]
        draw_panel(axes, table, variable, depth, systems, reference)
        place = "" if flat else f", {depth:.0f} m"
        style.heading(axes, next(letters), style.NAMES[variable] + place)
        axes.set_ylabel(label.format(unit=style.unit(variable)))
        if row == last:
            axes.set_xlabel("Lead (days)")
            axes.tick_params(labelbottom=True)
    # It begins in the gap between the columns, which gives long names their room.
    key = grid[0, 0].get_legend_handles_labels()
    grid[0, -1].legend(*key, loc="upper left", bbox_to_anchor=(-0.4, 1.0))
    return figure


def draw_panel(
    axes: Axes,
    table: pd.DataFrame,
    variable: str,
    depth: float,
    systems: Sequence[str],
    reference: float | None,
) -> None:
    """One variable at one level, a line a system."""
    if reference is not None:
        axes.axhline(reference, color="#9A9A9A", linewidth=0.7, zorder=1)
    for system in systems:
        rows = curve(table, variable, depth, system)
        lead, value, low, high = (
            rows[name].to_numpy() for name in ("lead", "value", "low", "high")
        )
        colour = style.COLOURS[system]
        axes.fill_between(lead, low, high, color=colour, alpha=0.15, lw=0)
        axes.plot(lead, value, style.LINES[system], color=colour, label=style.system_name(system))
    axes.margins(x=0.01)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
