"""How far particles drift from where the truth's currents take them."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from hybridom.figures.curves import Panel, panel_figure
from hybridom.figures.inputs import drawn_systems, read_table
from hybridom.layout import Layout

MOST_COLUMNS = 4


def figure(config: Any, layout: Layout) -> Figure:
    """Mean separation of pairs of particles against lead, a panel a region, a line a system.

    Args:
        config: A `Config` or the `figures` stage's part of it.
        layout: Paths.
    """
    table = read_table(layout, "drift")
    table = table[table["metric"] == "separation"]
    panels = [
        Panel(region_name(name), "Separation (km)", table[table["region"] == name])
        for name in table["region"].unique()
    ]
    drawn = panel_figure(panels, drawn_systems(table), MOST_COLUMNS)
    for axes in drawn.axes:
        axes.set_ylim(bottom=0.0)
    return drawn


def region_name(region: str) -> str:
    """Name of a region for a heading."""
    return region.replace("_", " ").title()
