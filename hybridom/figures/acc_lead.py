"""Anomaly correlation against lead, of the model and the baselines."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from hybridom.figures.curves import lead_figure
from hybridom.layout import Layout


def figure(config: Any, layout: Layout) -> Figure:
    """Mean centred anomaly correlation (`acc_centred`); see `curves.lead_figure`.

    The climatology has no anomalies, so that its correlation is undefined.
    """
    drawn = lead_figure(config, layout, "acc_centred", "ACC", 0.0, ("climatology",))
    for axes in drawn.axes:
        axes.set_ylim(top=1.0)
    return drawn
