"""Panels of curves against lead: the frame of several figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
MOST_IN_A_ROW = 5  # entries of a legend
ROW_HEIGHT = 1.72  # inches, of panels


@dataclass(frozen=True)
class Panel:
    """What one panel shows.

    Attributes:
        heading: Words above it.
        label: Words beside its vertical axis.
        rows: Columns lead, system, value, low and high.
        reference: Value of a thin horizontal line, or none.
    """

    heading: str
    label: str
    rows: pd.DataFrame
    reference: float | None = None


def lead_figure(
    config: Any,
    layout: Layout,
    metric: str,
    label: str,
    reference: float | None,
    left_out: tuple[str, ...] = (),
) -> Figure:
    """Curves of a score against lead: a column a variable, a row a level, a line a system.

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
    return level_figure(config, table, systems, label, reference)


def level_figure(
    config: Any,
    table: pd.DataFrame,
    systems: Sequence[str],
    label: str,
    reference: float | None,
) -> Figure:
    """Curves against lead: a column a variable, a row a level.

    Lines are means over start dates, bands their intervals (`evaluation.bootstrap`).

    Args:
        config: A `Config` or the `figures` stage's part of it.
        table: Columns lead, variable, depth, system, value, low and high.
        systems: Systems to draw, the last one on top.
        label: Of the vertical axes; `{unit}` is replaced by the variable's unit.
        reference: Value of a thin horizontal line, or none.
    """
    depths = level_depths(table)
    levels = [float(depths[level]) for level in chosen_levels(depths, config.figures.depths)]
    rows = max(len(levels), 2)
    figure = Figure(figsize=(style.PAGE_WIDTH, ROW_HEIGHT * rows + 0.35))
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
        place = "" if flat else f", {depth:.0f} m"
        panel = Panel(
            style.NAMES[variable] + place,
            label.format(unit=style.unit(variable)),
            curve(table, variable, depth),
            reference,
        )
        draw_panel(axes, panel, systems)
        style.heading(axes, next(letters), panel.heading)
        if row == last:
            axes.set_xlabel("Lead (days)")
            axes.tick_params(labelbottom=True)
    # It begins in the gap between the columns, which gives long names their room.
    key = grid[0, 0].get_legend_handles_labels()
    grid[0, -1].legend(*key, loc="upper left", bbox_to_anchor=(-0.4, 1.0))
    return figure


def panel_figure(
    panels: Sequence[Panel], systems: Sequence[str], columns: int, title: str = ""
) -> Figure:
    """Panels row by row, with one legend below.

    Args:
        panels: The panels.
        systems: Systems to draw, the last one on top.
        columns: Panels in a full row.
        title: Words above all of them.
    """
    if not panels:
        return empty_figure("The table holds no defined value")
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    # A lone panel or two keep the shape of the others.
    width = style.PAGE_WIDTH * (columns if columns < 3 else 3) / 3
    height = ROW_HEIGHT * (1.0 if columns > 3 else 1.25)
    figure = Figure(figsize=(width, height * rows + 0.45 + 0.3 * bool(title)))
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
    letters = style.letters()
    for number, axes in enumerate(grid.flat):
        if number >= len(panels):
            axes.set_axis_off()
            continue
        draw_panel(axes, panels[number], systems)
        style.heading(axes, next(letters), panels[number].heading)
        if number + columns >= len(panels):
            axes.set_xlabel("Lead (days)")
            axes.tick_params(labelbottom=True)
    legend(figure, [axes for axes in grid.flat if axes.axison])
    if title:
        figure.suptitle(title, fontsize=9.5)
    return figure


def scaled_panel(
    heading: str, label: str, rows: pd.DataFrame, units: str, reference: float | None = None
) -> Panel:
    """A panel whose values are divided by a power of ten that stands in its label.

    Args:
        heading: Words above it.
        label: Words beside its vertical axis; `{unit}` is replaced.
        rows: Columns lead, system, value, low and high.
        units: CF units of the values.
        reference: Value of a thin horizontal line, or none.
    """
    factor, unit = style.scaled(units, float(rows["value"].abs().max()))
    shown = {name: rows[name] / factor for name in ("value", "low", "high")}
    return Panel(heading, label.format(unit=unit), rows.assign(**shown), reference)


def draw_panel(axes: Axes, panel: Panel, systems: Sequence[str]) -> None:
    """One panel, a line a system."""
    if panel.reference is not None:
        axes.axhline(panel.reference, color=style.REFERENCE, linewidth=0.7, zorder=1)
    for system in systems:
        rows = panel.rows[panel.rows["system"] == system].sort_values("lead")
        if rows.empty:
            continue
        lead, value, low, high = (
            rows[name].to_numpy() for name in ("lead", "value", "low", "high")
        )
        look = style.look(system)
        axes.fill_between(lead, low, high, color=look["color"], alpha=0.15, lw=0)
        axes.plot(lead, value, **look, label=style.system_name(system))
    axes.set_ylabel(panel.label)
    axes.margins(x=0.01)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))


def legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """A legend below a figure of every curve that some panel has."""
    handles = {
        name: handle
        for axes in panels
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    columns = len(handles) if len(handles) <= MOST_IN_A_ROW else -(-len(handles) // 2)
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=columns)


def empty_figure(reason: str) -> Figure:
    """A figure that says why there is nothing to draw."""
    figure = Figure(figsize=(0.5 * style.PAGE_WIDTH, 1.0))
    figure.text(0.5, 0.5, reason, ha="center", va="center", fontsize=8.0)
    return figure
