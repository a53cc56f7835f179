"""Films of one forecast beside its truth."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.text import Text

from hybridom.figures import style
from hybridom.figures.basemap import arranged, draw_field, projection
from hybridom.figures.inputs import Fields
from hybridom.figures.maps import limits, panel_height
from hybridom.figures.registry import map_start
from hybridom.layout import Layout

DPI = 100


def film(config: Any, layout: Layout, variable: str) -> Iterator[np.ndarray]:
    """Frames forecast, truth and their difference, from lead 0 on; colours stay the same.

    The first of `figures.depths` is drawn. One day is held at a time: colours fit the truth and
    the difference of the first and the last frame.

    Args:
        config: A `Config` or the `figures` stage's part of it.
        layout: Paths.
        variable: Prognostic variable.

    Yields:
        uint8 (height, width, 3).
    """
    start, days = map_start(config), config.forecast.days
    fields = Fields(config, layout, variable, start)
    leads = range(0, days + 1, config.figures.animation.every)
    ends = [np.stack([fields.forecast(lead), fields.truth(lead)]) for lead in (0, leads[-1])]
    truth = np.stack([end[1] for end in ends])
    norms = (
        limits(truth, variable in style.SIGNED),
        limits(truth, variable in style.SIGNED),
        limits(ends[1][0] - ends[1][1], True),
    )
    drawn, meshes, title = _stage(fields, variable, norms)
    canvas = FigureCanvasAgg(drawn)
    for number, lead in enumerate(leads):
        forecast, truth = fields.forecast(lead), fields.truth(lead)
        for mesh, field in zip(meshes, (forecast, truth, forecast - truth), strict=True):
            mesh.set_array(np.ma.masked_invalid(arranged(fields.grid, field)))
        day = start + dt.timedelta(lead)
        title.set_text(f"{style.title(variable)}, {fields.place}day {lead}, {day}")
        canvas.draw()
        if number == 0:
            # The places stay what they are, and frames take half the time.
            drawn.set_layout_engine("none")
        yield np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _stage(
    fields: Fields, variable: str, norms: tuple[Normalize, Normalize, Normalize]
) -> tuple[Figure, list[QuadMesh], Text]:
    """The figure without values, its three meshes and its title."""
    grid = fields.grid
    height = panel_height(grid.periodic, np.ptp(grid.lat_bounds) / np.ptp(grid.lon_bounds))
    drawn = Figure(figsize=(style.PAGE_WIDTH, height + 0.95), dpi=DPI)
    panels = drawn.subplots(1, 3, subplot_kw={"projection": projection(grid)})
    unit = style.unit(variable)
    columns = (
        ("Forecast", style.MAPS[variable], f"{style.NAMES[variable]} ({unit})"),
        ("Truth", style.MAPS[variable], f"{style.NAMES[variable]} ({unit})"),
        ("Forecast minus truth", style.DIFFERENCE, f"Difference ({unit})"),
    )
    meshes = []
    for axes, (name, colours, label), norm in zip(panels, columns, norms, strict=True):
        meshes.append(draw_field(axes, grid, np.zeros((grid.ny, grid.nx)), colours, norm))
        axes.set_title(name)
        style.colour_bar(
            drawn,
            colours,
            norm,
            axes,
            label,
            orientation="horizontal",
            shrink=0.9,
            aspect=28,
            pad=0.04,
        )
    return drawn, meshes, drawn.suptitle(" ", fontsize=9.5)
