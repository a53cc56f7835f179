"""Anomalies by longitude and lead, along a band of latitudes."""

from __future__ import annotations

from typing import Any

import numpy as np
from cartopy.mpl.ticker import LongitudeFormatter
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hybridom.figures import style
from hybridom.figures.basemap import seam_column
from hybridom.figures.inputs import Fields
from hybridom.figures.maps import limits
from hybridom.figures.registry import map_start
from hybridom.grid import Grid
from hybridom.layout import Layout


def figure(config: Any, layout: Layout, variable: str) -> Figure:
    """Columns forecast, truth and their difference; longitude to the right, lead upwards.

    Args:
        config: A `Config` or the `figures` stage's part of it.
        layout: Paths.
        variable: Prognostic variable; of its levels, the first of `figures.depths` is drawn.
    """
    start = map_start(config)
    band = config.figures.hovmoeller.lat
    fields = Fields(config, layout, variable, start)
    grid = fields.grid
    forecast, truth = anomalies(fields, config.forecast.days, band)
    shift = seam_column(grid)
    edges = _edges(grid, shift)
    drawn = Figure(figsize=(style.PAGE_WIDTH, 4.3))
    panels = drawn.subplots(1, 3, sharey=True)
    shared = limits(truth, signed=True)
    apart = limits(forecast - truth, signed=True)
    columns = (
        ("Forecast anomaly", forecast, shared),
        ("Truth anomaly", truth, shared),
        ("Forecast minus truth", forecast - truth, apart),
    )
    letters = style.letters()
    leads = np.arange(config.forecast.days + 2) - 0.5
    for axes, (name, values, norm) in zip(panels, columns, strict=True):
        _draw(axes, edges, leads, np.roll(values, -shift, axis=1), norm)
        style.heading(axes, next(letters), name)
    panels[0].set_ylabel("Lead (days)")
    unit = style.unit(variable)
    for below, norm, label, aspect in (
        (panels[:2], shared, f"{style.title(variable)}, anomaly ({unit})", 40),
        (panels[2:], apart, f"Difference ({unit})", 20),
    ):
        style.colour_bar(
            drawn,
            style.DIFFERENCE,
            norm,
            below,
            label,
            orientation="horizontal",
            aspect=aspect,
            shrink=0.8,
            pad=0.03,
        )
    place = f"{fields.place}{_latitude(band[0])} to {_latitude(band[1])}"
    drawn.suptitle(f"{style.title(variable)}, {place}, forecast from {start}", fontsize=9.5)
    return drawn


def _draw(
    axes: Axes, edges: np.ndarray, leads: np.ndarray, values: np.ndarray, norm: Normalize
) -> None:
    """One panel: cells between edges of columns and of leads."""
    axes.pcolormesh(edges, leads, values, cmap=style.DIFFERENCE, norm=norm, rasterized=True)
    axes.set_facecolor(style.LAND)
    axes.grid(False)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 1.5, 2, 3, 4.5, 5, 6, 9, 10]))
    axes.xaxis.set_major_formatter(LongitudeFormatter())
    axes.set_xlabel("Longitude")


def anomalies(
    fields: Fields, days: int, band: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Departures from the climatology of the valid day, averaged over a band of latitudes.

    Args:
        fields: One variable of one forecast.
        days: The last lead.
        band: Southern and northern edge in degrees.

    Returns:
        Forecast and truth (days + 1, nx) from lead 0; NaN where all of the band is land.
    """
    weights = band_weights(fields.grid, fields.wet, band)
    total = weights.sum(axis=0)
    rows: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for lead in range(days + 1):
        normal = fields.normal(lead)
        for found, field in zip(rows, (fields.forecast(lead), fields.truth(lead)), strict=True):
            weighed = np.where(weights > 0.0, (field - normal) * weights, 0.0).sum(axis=0)
            found.append(np.where(total > 0.0, weighed / np.where(total > 0.0, total, 1.0), np.nan))
    return np.array(rows[0]), np.array(rows[1])


def band_weights(grid: Grid, wet: np.ndarray, band: tuple[float, float]) -> np.ndarray:
    """The area (ny, nx) that each wet cell has within a band, up to a common factor.

    Args:
        grid: The grid.
        wet: bool (ny, nx).
        band: Southern and northern edge in degrees.
    """
    edges = np.clip(grid.lat_bounds, *band)
    return np.where(wet, np.diff(np.sin(np.deg2rad(edges)))[:, None], 0.0)


def _edges(grid: Grid, shift: int) -> np.ndarray:
    """Edges of the columns from west to east without a jump, in degrees."""
    widths = np.roll(np.diff(grid.lon_bounds), -shift)
    return grid.lon_bounds[shift] + np.concatenate([[0.0], np.cumsum(widths)])


def _latitude(degrees: float) -> str:
    side = "°N" if degrees > 0 else "°S" if degrees < 0 else "°"
    return f"{abs(degrees):g}{side}"
