"""Marine heatwaves of forecasts and of the truth against lead."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from hybridom.figures import style
from hybridom.figures.curves import Panel, panel_figure
from hybridom.figures.inputs import MODEL, drawn_systems, read_scores
from hybridom.layout import Layout

# Heading, label, metric of the forecasts, that of the truth, and the factor of the axis.
PANELS = (
    ("Area", "Part of the ocean (%)", "area_fraction_forecast", "area_fraction_truth", 100.0),
    ("Mean intensity", "Anomaly (°C)", "intensity_forecast", "intensity_truth", 1.0),
    ("Critical success index", "CSI", "csi", None, 1.0),
)


def figure(config: Any, layout: Layout) -> Figure:
    """Panels area, intensity and hits of heatwave days, a line a system and one for the truth.

    Args:
        config: A `Config` or the `figures` stage's part of it.
        layout: Paths.
    """
    metrics = [name for panel in PANELS for name in panel[2:4] if name]
    table = read_scores(layout, metrics, "heatwaves")
    panels = []
    for heading, label, metric, of_truth, factor in PANELS:
        rows = with_truth(table, metric, of_truth)
        if not rows.empty:
            shown = {name: factor * rows[name] for name in ("value", "low", "high")}
            panels.append(Panel(heading, label, rows.assign(**shown)))
    systems = [style.TRUTH, *drawn_systems(table, "climatology")]
    drawn = panel_figure(panels, systems, 3)
    for axes in drawn.axes:
        axes.set_ylim(bottom=0.0)
    return drawn


def with_truth(table: pd.DataFrame, metric: str, of_truth: str | None) -> pd.DataFrame:
    """Rows of a metric, and those of the truth as one more system.

    Args:
        table: Columns system and metric.
        metric: Metric of the forecasts.
        of_truth: That of the truth, which stands beside each system alike, or None.
    """
    truth = table[(table["metric"] == of_truth) & (table["system"] == MODEL)]
    return pd.concat([truth.assign(system=style.TRUTH), table[table["metric"] == metric]])
