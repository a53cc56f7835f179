"""RMSE and bias against depth at several leads."""

from __future__ import annotations

from typing import Any

import cmocean
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from hybridom.figures import style
from hybridom.figures.curves import LAYERED
from hybridom.figures.inputs import MODEL, drawn_systems, level_depths, read_scores
from hybridom.figures.registry import chosen_leads
from hybridom.layout import Layout

ROWS = (("rmse_mean", "RMSE", 4), ("bias", "Bias", 3))  # metric, name, ticks


def figure(config: Any, layout: Layout) -> Figure:
    """Rows RMSE and bias, a column a variable; lines coloured by lead.

    The model's lines are the wide ones. The climatology is not drawn: its errors hardly depend
    on the lead.

    Args:
        config: A `Config` or the `figures` stage's part of it.
        layout: Paths.
    """
    leads = chosen_leads(config)
    colours = cmocean.cm.haline(np.linspace(0.05, 0.85, len(leads)))
    table = read_scores(layout, [metric for metric, _, _ in ROWS])
    systems = drawn_systems(table, "climatology")
    depths = level_depths(table)
    drawn = Figure(figsize=(style.PAGE_WIDTH, 5.6))
    panels = drawn.subplots(len(ROWS), len(LAYERED), sharey=True)
    letters = style.letters()
    for row, (metric, label, ticks) in enumerate(ROWS):
        for column, variable in enumerate(LAYERED):
            axes = panels[row, column]
            one = table[(table["metric"] == metric) & (table["variable"] == variable)]
            for system in systems:
                for lead, colour in zip(leads, colours, strict=True):
                    rows = one[(one["lead"] == lead) & (one["system"] == system)]
                    rows = rows.dropna(subset="depth").sort_values("depth")
                    look = {"linestyle": style.LINES[system], "color": colour}
                    (line,) = axes.plot(rows["value"], rows["depth"], **look)
                    if system != MODEL:
                        line.set_linewidth(0.9)
            axes.xaxis.set_major_locator(MaxNLocator(ticks))
            if metric == "bias":
                axes.axvline(0.0, color="#9A9A9A", linewidth=0.7, zorder=1)
            else:
                axes.set_xlim(left=0.0)
            style.heading(axes, next(letters), style.title(variable))
            axes.set_xlabel(f"{label} ({style.unit(variable)})")
        _depth_axis(panels[row, 0], depths)
    names = [f"Day {lead}" for lead in leads] + [style.system_name(s) for s in systems]
    lines = [Line2D([], [], color=colour) for colour in colours]
    lines += [Line2D([], [], color="#222222", linestyle=style.LINES[s]) for s in systems]
    drawn.legend(lines, names, loc="outside lower center", ncols=len(names))
    return drawn


def _depth_axis(axes: Axes, depths: np.ndarray) -> None:
    """Depth downwards on a logarithmic axis, which gives the upper ocean its room."""
    axes.set_yscale("log")
    axes.set_ylim(1.15 * depths[-1], depths[0] / 1.15)
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel("Depth (m)")
