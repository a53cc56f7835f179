"""RMSE against lead, of the model and the baselines."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from hybridom.figures.curves import lead_figure
from hybridom.layout import Layout


def figure(config: Any, layout: Layout) -> Figure:
    """Mean RMSE over start dates (`rmse_mean`); see `curves.lead_figure`."""
    drawn = lead_figure(config, layout, "rmse_mean", "RMSE ({unit})", None)
    for axes in drawn.axes:
        axes.set_ylim(bottom=0.0)
    return drawn
