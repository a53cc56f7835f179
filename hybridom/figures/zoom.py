"""A region seen from near: temperature, speed and vorticity of one forecast and its truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cmocean
import numpy as np
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure

from hybridom.errors import UserError
from hybridom.figures import style
from hybridom.figures.basemap import draw_field, label_edges, projection
from hybridom.figures.inputs import Fields
from hybridom.figures.maps import limits
from hybridom.figures.registry import chosen_leads, map_start, zoom_box
from hybridom.figures.vorticity import rossby_number
from hybridom.grid import Grid
from hybridom.layout import Layout

Pair = tuple[np.ndarray, np.ndarray]  # forecast and truth (leads, ny, nx)
# Name, its bar's label, colours.
QUANTITIES: tuple[tuple[str, str, Colormap], ...] = (
    ("temperature", "Temperature (°C)", style.MAPS["thetao"]),
    ("speed", "Speed (m s⁻¹)", cmocean.cm.speed),
    ("rossby", "Vorticity, ζ / f", style.DIFFERENCE),
)


def figure(config: Any, layout: Layout) -> Figure:
    """A column a lead; rows temperature, speed and vorticity, forecast above truth.

    The first of `figures.depths` is drawn, of the region `registry.zoom_box`.

    Args:
        config: A `Config` or the `figures` stage's part of it.
        layout: Paths.
    """
    start, leads = map_start(config), chosen_leads(config)
    fields = {name: Fields(config, layout, name, start) for name in ("thetao", "uo", "vo")}
    whole = fields["thetao"].grid
    near, rows, columns = crop(whole, zoom_box(config) or ())
    found = {
        name: tuple(x[:, rows][:, :, columns] for x in pair)
        for name, pair in quantities(whole, fields, leads).items()
    }
    shape = np.ptp(near.lat_bounds) / np.ptp(near.lon_bounds)
    width = (style.PAGE_WIDTH - 1.9) / max(len(leads), 2)
    tall = min(0.28 + width * float(shape), 1.8)
    drawn = Figure(figsize=(style.PAGE_WIDTH, 2 * len(QUANTITIES) * tall + 0.8))
    panels = drawn.subplots(
        *(2 * len(QUANTITIES), len(leads)),
        squeeze=False,
        subplot_kw={"projection": projection(near)},
    )
    letters = style.letters()
    for number, (name, label, colours) in enumerate(QUANTITIES):
        norm = _norm(name, found[name][1])
        pair = panels[2 * number : 2 * number + 2]
        for row, system in enumerate(("Forecast", "Truth")):
            for column, lead in enumerate(leads):
                axes: Any = pair[row, column]
                draw_field(axes, near, found[name][row][column], colours, norm)
                style.heading(axes, next(letters), f"{system}, day {lead}")
                label_edges(axes, near, column == 0, axes in panels[-1])
        style.colour_bar(
            drawn,
            colours,
            norm,
            pair,
            label,
            extend="max" if name == "speed" else "both",
            shrink=0.8,
            aspect=22,
            pad=0.01,
        )
    depth = fields["thetao"].place.removesuffix(", ")
    drawn.suptitle(f"At {depth}, forecast from {start}", fontsize=9.5)
    return drawn


def quantities(grid: Grid, fields: dict[str, Fields], leads: Sequence[int]) -> dict[str, Pair]:
    """Temperature, speed and vorticity over f on the whole grid, forecast and truth.

    Args:
        grid: The grid.
        fields: Temperature and both velocities.
        leads: Leads in days.
    """
    shape = (len(leads), grid.ny, grid.nx)
    found: dict[str, Pair] = {name: (np.empty(shape), np.empty(shape)) for name, _, _ in QUANTITIES}
    for number, lead in enumerate(leads):
        for source, read in enumerate((Fields.forecast, Fields.truth)):
            temperature, u, v = (read(fields[name], lead) for name in ("thetao", "uo", "vo"))
            found["temperature"][source][number] = temperature
            found["speed"][source][number] = np.hypot(u, v)
            found["rossby"][source][number] = rossby_number(grid, u, v)
    return found


def crop(grid: Grid, box: Sequence[float]) -> tuple[Grid, np.ndarray, np.ndarray]:
    """The cells of a grid whose centres lie in a box.

    Args:
        grid: The grid.
        box: South, north, west and east in degrees, eastwards from west to east.

    Returns:
        Their grid, and the indices of its rows and columns.

    Raises:
        UserError: There are fewer than two rows or columns, or the columns are in two pieces.
    """
    south, north, west, east = box
    rows = np.flatnonzero((grid.lat >= south) & (grid.lat <= north))
    offset = (grid.lon - west) % 360.0
    width = 360.0 if east - west >= 360.0 else (east - west) % 360.0
    columns = np.flatnonzero(offset <= width)
    lon = grid.lon[columns]
    if grid.periodic:
        columns = columns[np.argsort(offset[columns])]
        lon = west + offset[columns]
    if min(len(rows), len(columns)) < 2:
        raise UserError(
            f"figures.zoom: {len(rows)} x {len(columns)} cells of the grid lie in {list(box)} "
            "[south, north, west, east]; expected 2 x 2 at least, choose a larger box"
        )
    if not grid.periodic and columns[-1] - columns[0] >= len(columns):
        raise UserError(
            f"figures.zoom: {list(box)} [south, north, west, east] holds the western and the "
            "eastern end of the grid and not its middle; choose a box in one piece"
        )
    widths = np.diff(grid.lon_bounds)[columns]
    to_edge = (grid.lon - grid.lon_bounds[:-1])[columns]
    near = Grid(
        lat=grid.lat[rows],
        lon=lon,
        lat_bounds=grid.lat_bounds[rows[0] : rows[-1] + 2],
        lon_bounds=np.append(lon - to_edge, lon[-1] - to_edge[-1] + widths[-1]),
        depth=grid.depth,
        depth_bounds=grid.depth_bounds,
        periodic=False,
    )
    return near, rows, columns


def _norm(name: str, truth: np.ndarray) -> Normalize:
    """Colours that fit the truth; speeds begin at zero."""
    norm = limits(truth, signed=name == "rossby")
    return Normalize(0.0, norm.vmax) if name == "speed" else norm
