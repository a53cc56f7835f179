"""Maps of forecast, truth and difference at several leads of one forecast."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from hybridom.figures import style
from hybridom.figures.basemap import draw_field, label_edges, projection
from hybridom.figures.inputs import map_fields
from hybridom.figures.registry import chosen_leads, map_start
from hybridom.layout import Layout
from hybridom.variables import VARIABLES

PERCENTILES = (1.0, 99.0)  # of the values shown; the rest takes the end colours


def figure(config: Any, layout: Layout, variable: str) -> Figure:
    """A row a lead; columns forecast, truth, forecast minus truth.

    The first of `figures.depths` is drawn.

    Args:
        config: A `Config` or the `figures` stage's part of it.
        layout: Paths.
        variable: Prognostic variable.
    """
    start = map_start(config)
    grid, level, forecast, truth = map_fields(config, layout, variable, start)
    leads = chosen_leads(config)
    view = projection(grid)
    height = panel_height(grid.periodic, np.ptp(grid.lat_bounds) / np.ptp(grid.lon_bounds))
    drawn = Figure(figsize=(style.PAGE_WIDTH, height * len(leads) + 0.95))
    panels = drawn.subplots(len(leads), 3, squeeze=False, subplot_kw={"projection": view})

    shared = limits(truth, variable in style.SIGNED)
    apart = limits(forecast - truth, True)
    letters = style.letters()
    for row, lead in enumerate(leads):
        day = start + dt.timedelta(int(lead))
        columns = (
            ("Forecast", forecast[row], style.MAPS[variable], shared),
            ("Truth", truth[row], style.MAPS[variable], shared),
            ("Forecast minus truth", forecast[row] - truth[row], style.DIFFERENCE, apart),
        )
        for axes, (name, field, colours, norm) in zip(panels[row], columns, strict=True):
            draw_field(axes, grid, field, colours, norm)
            style.heading(axes, next(letters), f"{name}, day {lead}, {day}")
            if not grid.periodic:
                label_edges(axes, grid, axes is panels[row, 0], row == len(leads) - 1)

    name = f"{style.title(variable)} ({style.unit(variable)})"
    bars = (
        (panels[-1, :2], style.MAPS[variable], shared, name),
        (panels[-1, 2], style.DIFFERENCE, apart, f"Difference ({style.unit(variable)})"),
    )
    for below, colours, norm, label in bars:
        wide = np.ndim(below) > 0
        style.colour_bar(
            drawn,
            colours,
            norm,
            below,
            label,
            orientation="horizontal",
            shrink=0.55 if wide else 0.9,
            aspect=34 if wide else 28,
            pad=0.04,
        )
    place = f"{grid.depth[level]:.0f} m, " if VARIABLES[variable].has_depth else ""
    drawn.suptitle(f"{style.title(variable)}, {place}forecast from {start}", fontsize=9.5)
    return drawn


def limits(values: np.ndarray, signed: bool) -> Normalize:
    """Colour limits that leave out the outermost values.

    Args:
        values: Fields with NaN on land; nothing but NaN is drawn in any colours.
        signed: Whether the limits are symmetric about zero.
    """
    if not np.isfinite(values).any():
        return Normalize(-1.0, 1.0)
    if signed:
        top = float(np.nanpercentile(np.abs(values), PERCENTILES[1]))
        return Normalize(-top, top) if top > 0 else Normalize(-1.0, 1.0)
    low, high = np.nanpercentile(values, PERCENTILES)
    return Normalize(float(low), float(high))


def panel_height(globe: bool, ratio: float) -> float:
    """Height in inches of a row of three panels, title included."""
    # Robinson's projection is 0.507 as high as wide.
    return 0.25 + style.PAGE_WIDTH / 3.1 * (0.507 if globe else float(ratio))
