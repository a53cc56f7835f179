"""Anomaly correlation against lead, with persistence."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from hybridom.figures.curves import lead_figure
from hybridom.layout import Layout


def figure(config: Any, layout: Layout) -> Figure:
    """Mean centred anomaly correlation (`acc_centred`); see `curves.lead_figure`.

    The climatology has no anomalies, so that its correlation is undefined.
    """
    systems = ("persistence", "model")
    drawn = lead_figure(config, layout, "acc_centred", "ACC", systems, 0.0)
    for axes in drawn.axes:
        axes.set_ylim(top=1.0)
    return drawn
