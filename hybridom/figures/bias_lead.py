"""Bias against lead, of the model and the baselines."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from hybridom.figures.curves import lead_figure
from hybridom.layout import Layout


def figure(config: Any, layout: Layout) -> Figure:
    """Mean bias (forecast minus truth); see `curves.lead_figure`."""
    return lead_figure(config, layout, "bias", "Bias ({unit})", 0.0)
