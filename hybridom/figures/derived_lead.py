"""Errors of quantities made of the state, and the energy that forecasts keep, against lead."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from hybridom.figures import style
from hybridom.figures.curves import Panel, panel_figure, scaled_panel
from hybridom.figures.inputs import drawn_systems, read_scores
from hybridom.layout import Layout
from hybridom.quantities import quantity

RATIO = "energy_ratio"
LEFT_OUT = ("mlotst_oceanbench",)  # the mixed layer once more, to compare with published tables


def figure(config: Any, layout: Layout) -> Figure:
    """Panels `rmse_mean` of every quantity, then `energy_ratio` of the energies; a line a system.

    Args:
        config: A `Config` or the `figures` stage's part of it.
        layout: Paths.
    """
    table = read_scores(layout, ["rmse_mean", RATIO], "derived")
    table = table[~table["variable"].isin(LEFT_OUT)]
    panels = []
    for metric in ("rmse_mean", RATIO):
        scored = table[table["metric"] == metric]
        for name in scored["variable"].unique():
            rows = scored[scored["variable"] == name]
            words = style.sentence(quantity(name).long_name)
            if metric == RATIO:
                panels.append(Panel(words, "Energy / energy of truth", rows, 1.0))
            else:
                panels.append(scaled_panel(words, "RMSE ({unit})", rows, quantity(name).units))
    drawn = panel_figure(panels, drawn_systems(table), 3)
    for axes, panel in zip(drawn.axes, panels, strict=False):
        if panel.reference is None:
            axes.set_ylim(bottom=0.0)
    return drawn
