"""Scores of extremes against lead."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from hybridom.figures import style
from hybridom.figures.curves import Panel, panel_figure
from hybridom.figures.inputs import chosen_levels, curve, drawn_systems, level_depths, read_scores
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC, VARIABLES

SCORES_OF_EXTREMES = ("CSI", "SEDI")


def figure(config: Any, layout: Layout) -> Figure:
    """A row a score and percentile, a column a variable, a line a system.

    Of the levels that were scored, the one nearest to the first of `figures.depths` is drawn.

    Args:
        config: A `Config` or the `figures` stage's part of it.
        layout: Paths.
    """
    rows = [
        (score, percentile)
        for percentile in config.extremes.percentiles
        for score in SCORES_OF_EXTREMES
    ]
    metrics = {(s, p): f"{s.lower()}_p{p:g}" for s, p in rows}
    table = read_scores(layout, list(metrics.values()), "extremes")
    variables = [name for name in PROGNOSTIC if name in set(table["variable"])]
    depths = level_depths(table)
    panels = []
    for score, percentile in rows:
        scored = table[table["metric"] == metrics[score, percentile]]
        for name in variables:
            depth, place = np.nan, ""
            if VARIABLES[name].has_depth:
                depth = float(depths[chosen_levels(depths, config.figures.depths)[0]])
                place = f", {depth:.0f} m"
            label = f"{score} above {percentile:g} %"
            panels.append(Panel(style.NAMES[name] + place, label, curve(scored, name, depth)))
    drawn = panel_figure(panels, drawn_systems(table, "climatology"), len(variables))
    return drawn
