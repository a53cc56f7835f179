"""Errors near the open edges of a region over those inside, against lead."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from hybridom.errors import UserError
from hybridom.figures import style
from hybridom.figures.curves import Panel, panel_figure
from hybridom.figures.inputs import EDGE_RATIO, curve, drawn_systems, read_table
from hybridom.figures.registry import SCORES
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC

LIMIT = 1.2  # of the ratio, up to which the band counts as about as good as the interior
COLUMNS = 3


def figure(config: Any, layout: Layout) -> Figure:
    """The ratio `edge_ratio` of whole variables, a panel a variable, a line a system.

    Lines are means over start dates, bands their intervals; the thin line is `LIMIT`.

    Args:
        config: A `Config` or the `figures` stage's part of it.
        layout: Paths.

    Raises:
        UserError: The table is missing or holds no such ratio.
    """
    table = read_table(layout, SCORES)
    table = table[table["metric"] == EDGE_RATIO]
    if table.empty:
        raise UserError(
            f"{layout.table(SCORES)}: no rows of metric {EDGE_RATIO}, expected those of "
            f"evaluation.edges {config.evaluation.edges}; run `hybridom evaluate start` "
            "for all start dates and `hybridom evaluate aggregate` again"
        )
    panels = [
        Panel(style.title(name), "RMSE, edges / interior", rows, LIMIT)
        for name in PROGNOSTIC
        if not (rows := curve(table, name, float("nan"))).empty
    ]
    return panel_figure(panels, drawn_systems(table), COLUMNS)
