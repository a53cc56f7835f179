"""Maps of the weights that the gate of a region gives to its own fluxes and to the driver's."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.colors import BoundaryNorm, Colormap
from matplotlib.figure import Figure

from hybridom.errors import UserError
from hybridom.figures import style
from hybridom.figures.basemap import draw_field, label_edges, projection
from hybridom.figures.inputs import chosen_levels
from hybridom.figures.maps import panel_height
from hybridom.figures.registry import map_start
from hybridom.grid import Grid, read_grid
from hybridom.layout import Layout

DIMENSIONS = ("lead", "source", "tracer", "direction", "level", "latitude", "longitude")
TRACERS = ("thetao", "so")
SOURCES = 3  # own flux, the driver's on the day of the state, the driver's on the next day
COLOURS: Colormap = mpl.colormaps["viridis"]
STEPS = np.linspace(0.0, 1.0, 11)


def figure(config: Any, layout: Layout) -> Figure:
    """A row a lead and tracer, a column a flux; the three weights of a row sum to one.

    The first of `figures.depths` is drawn where weights differ by level, and the mean of both
    directions where they differ by direction.

    Args:
        config: A `Config` or the `figures` stage's part of it.
        layout: Paths.

    Raises:
        UserError: The weights are missing or are not those of the grid.
    """
    start = map_start(config)
    grid, _ = read_grid(layout.grid_file)
    path = layout.gate_weights(start)
    leads, weights = read_weights(path, grid, start)
    layered = weights.shape[4] > 1
    level = chosen_levels(grid.depth, config.figures.depths)[0] if layered else 0
    shown = weights[:, :, :, :, level].mean(axis=3)  # (leads, sources, tracers, ny, nx)

    rows = [(lead, tracer) for lead in range(len(leads)) for tracer in range(len(TRACERS))]
    height = panel_height(grid.periodic, np.ptp(grid.lat_bounds) / np.ptp(grid.lon_bounds))
    drawn = Figure(figsize=(style.PAGE_WIDTH, height * len(rows) + 1.0))
    view = projection(grid)
    panels = drawn.subplots(len(rows), SOURCES, squeeze=False, subplot_kw={"projection": view})
    norm, letters = BoundaryNorm(STEPS, COLOURS.N), style.letters()
    for row, (number, tracer) in enumerate(rows):
        lead = leads[number]
        sources = "own flux", f"driver, day {lead - 1}", f"driver, day {lead}"
        for column, words in enumerate(sources):
            axes = panels[row, column]
            draw_field(axes, grid, shown[number, column, tracer], COLOURS, norm)
            name = style.NAMES[TRACERS[tracer]]
            style.heading(axes, next(letters), f"{name}, day {lead}: {words}")
            if not grid.periodic:
                label_edges(axes, grid, column == 0, row == len(rows) - 1)
    look = {"orientation": "horizontal", "shrink": 0.55, "aspect": 40, "pad": 0.02}
    bar = {"extend": "neither", "ticks": STEPS[::2], **look}
    style.colour_bar(drawn, COLOURS, norm, panels[-1], "Weight of a flux", **bar)
    place = f"{grid.depth[level]:.0f} m, " if layered else ""
    both = "mean of both directions, " if weights.shape[3] > 1 else ""
    drawn.suptitle(f"Weights of the gate, {place}{both}forecast from {start}", fontsize=9.5)
    return drawn


def read_weights(path: Path, grid: Grid, start: dt.date) -> tuple[list[int], np.ndarray]:
    """The weights of a gate along one forecast.

    Args:
        path: File.
        grid: The grid.
        start: Start date, for messages.

    Returns:
        Leads in days, and weights `DIMENSIONS` with 3 sources, 2 tracers, 1 or 2 directions and 1
        or nz levels; NaN on land.

    Raises:
        UserError: The file is missing, or holds other dimensions.
    """
    command = f"hybridom region gate --start {start}"
    if not path.is_file():
        raise UserError(f"{path}: the weights of the gate are missing; run `{command}`")
    with xr.open_dataset(path) as data:
        found = data.get("weight")
        if found is None or set(found.dims) != set(DIMENSIONS):
            held = "none" if found is None else f"({', '.join(map(str, found.dims))})"
            raise UserError(
                f"{path}: variable weight has dimensions {held}; expected "
                f"({', '.join(DIMENSIONS)}), run `{command}` again"
            )
        weights = found.transpose(*DIMENSIONS).values
        leads = [int(lead) for lead in data["lead"].values]
    fixed, levels = (*weights.shape[1:3], *weights.shape[5:]), weights.shape[4]
    if fixed != (SOURCES, len(TRACERS), *grid.shape[1:]) or levels not in (1, grid.nz):
        raise UserError(
            f"{path}: weights of shape {weights.shape} {DIMENSIONS} found; expected {SOURCES} "
            f"sources, {len(TRACERS)} tracers, 1 or {grid.nz} levels, {grid.ny} rows and {grid.nx} "
            f"columns, run `{command}` again"
        )
    return leads, weights
