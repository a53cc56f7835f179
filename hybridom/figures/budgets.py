"""What the ocean gains and loses in forecasts and in the truth."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from hybridom.figures import style
from hybridom.figures.curves import panel_figure, scaled_panel
from hybridom.figures.inputs import MODEL, read_scores
from hybridom.layout import Layout
from hybridom.quantities import quantity

CONTENTS = ("heat_content", "salt_content", "volume_anomaly", "kinetic_energy")


def figure(config: Any, layout: Layout) -> Figure:
    """Change since the initial state of heat, salt, volume and kinetic energy: model and truth.

    Args:
        config: A `Config` or the `figures` stage's part of it.
        layout: Paths.
    """
    table = read_scores(layout, ["change"], "budgets")
    systems = [style.TRUTH, MODEL]
    table = table[table["system"].isin(systems)]
    panels = [
        scaled_panel(
            style.sentence(quantity(name).long_name),
            "Change ({unit})",
            table[table["variable"] == name],
            quantity(name).units,
            reference=0.0,
        )
        for name in CONTENTS
        if name in set(table["variable"])
    ]
    return panel_figure(panels, systems, 2)
