"""Skill over each baseline against lead."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from hybridom.figures.curves import level_figure
from hybridom.figures.inputs import SKILL, read_skill
from hybridom.layout import Layout

LOWEST = -1.0  # skill that is shown: twice the baseline's error


def figure(config: Any, layout: Layout) -> Figure:
    """One minus the model's `rmse_mean` over a baseline's, a line a baseline.

    Above zero the model is better. See `curves.level_figure`.

    Args:
        config: A `Config` or the `figures` stage's part of it.
        layout: Paths.
    """
    table = read_skill(layout)
    drawn = level_figure(config, table, list(table["system"].unique()), SKILL, 0.0)
    for axes in drawn.axes:
        # A baseline that is hardly ever wrong on the first days would hide all else.
        axes.set_ylim(bottom=max(axes.get_ylim()[0], LOWEST))
    return drawn
