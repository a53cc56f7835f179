"""Variance retained against lead: a forecast that is too smooth falls below one."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from hybridom.figures.curves import lead_figure
from hybridom.layout import Layout


def figure(config: Any, layout: Layout) -> Figure:
    """Variance of the forecast's anomalies over the truth's; see `curves.lead_figure`.

    The climatology has no anomalies, and a variance of 0.
    """
    return lead_figure(config, layout, "activity", "Activity", 1.0, ("climatology",))
