"""Effective resolution against lead."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from hybridom.figures.curves import Panel, panel_figure
from hybridom.figures.inputs import drawn_systems
from hybridom.figures.spectra import plain_ticks, read_spectra, spectral_variables, variable_heading
from hybridom.layout import Layout

WIDE = 4.0  # range of an axis from which it is logarithmic


def figure(config: Any, layout: Layout) -> Figure:
    """The wavelength below which a system has too little power, a panel a variable.

    Args:
        config: A `Config` or the `figures` stage's part of it.
        layout: Paths.
    """
    table = read_spectra(config, layout, ["effective_resolution"])
    panels = [
        Panel(variable_heading(table, name), "Wavelength (km)", table[table["variable"] == name])
        for name in spectral_variables(table)
    ]
    drawn = panel_figure(panels, drawn_systems(table, "climatology"), 4)
    for axes in drawn.axes:
        low, high = axes.get_ylim()
        if 0.0 < low < high / WIDE:
            axes.set_yscale("log")
            plain_ticks(axes.yaxis)
    return drawn
