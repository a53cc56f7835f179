"""Zonal spectra of forecast, truth and baselines, and the part of the truth's power they have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from hybridom.figures import style
from hybridom.figures.curves import empty_figure, legend
from hybridom.figures.inputs import MODEL, chosen_levels, curve, drawn_systems, read_scores
from hybridom.figures.registry import chosen_leads
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC

KINETIC_ENERGY = "ke"
THRESHOLD = 0.5  # part of the truth's power at the effective resolution
MARK: dict[str, Any] = {"markersize": 5, "zorder": 3, "clip_on": False}
MANY = 30.0  # range of an axis from which it has two labels a decade and not three
# Where the axis of the ratio may begin and end.
LEAST, MOST = (0.03, 0.4), (1.25, 30.0)


def figure(config: Any, layout: Layout) -> Figure:
    """A column a variable: power by wavelength above, its ratio to that of the truth below.

    The model is drawn at `figures.leads`, the darker the longer; truth and baselines at the last
    of them. Triangles mark the model's effective resolution, where the ratio falls to a half.

    Args:
        config: A `Config` or the `figures` stage's part of it.
        layout: Paths.
    """
    table = read_spectra(config, layout, ["psd", "psd_ratio", "effective_resolution"])
    variables = spectral_variables(table)
    if not variables:
        return empty_figure("No stretch of a row without land is long enough for a spectrum")
    leads = chosen_leads(config)
    drawn = Figure(figsize=(style.PAGE_WIDTH * max(len(variables), 2) / 4, 4.3))
    panels = drawn.subplots(
        2, len(variables), squeeze=False, sharex="col", height_ratios=(1.5, 1.1)
    )
    letters = style.letters()
    for (row, column), axes in np.ndenumerate(panels):
        name = variables[column]
        rows = table[table["variable"] == name]
        for system, lead, look in lines_of(table, leads):
            one = rows[(rows["system"] == system) & (rows["lead"] == lead)]
            shown = one[one["metric"] == ("psd", "psd_ratio")[row]].sort_values("wavelength")
            axes.plot(shown["wavelength"], shown["value"], **look)
            if row and system == MODEL:
                found = one[one["metric"] == "effective_resolution"]["value"]
                axes.plot(found, [THRESHOLD] * len(found), "v", color=look["color"], **MARK)
        style.heading(axes, next(letters), variable_heading(table, name))
        _scales(axes, rows, bool(row))
        axes.set_ylabel("Power / power of truth" if row else f"PSD ({spectral_unit(name)})")
    legend(drawn, list(panels[0]))
    return drawn


def read_spectra(config: Any, layout: Layout, metrics: Sequence[str]) -> pd.DataFrame:
    """Rows of the table of spectra over the whole grid, on one level.

    Args:
        config: A `Config` or the `figures` stage's part of it.
        layout: Paths.
        metrics: Names to keep.

    Returns:
        As `inputs.read_table`; of a variable with levels, the one nearest to the first of
        `figures.depths`.
    """
    table = read_scores(layout, metrics, "spectra")
    parts = []
    for name in table["variable"].unique():
        depths = np.unique(table.loc[table["variable"] == name, "depth"].dropna())
        depth = depths[chosen_levels(depths, config.figures.depths)[0]] if len(depths) else np.nan
        parts.append(curve(table, name, depth))
    return pd.concat(parts) if parts else table


def spectral_variables(table: pd.DataFrame) -> list[str]:
    """Variables of a table of spectra, in the usual order."""
    found = set(table["variable"])
    return [name for name in (*PROGNOSTIC, KINETIC_ENERGY) if name in found]


def variable_heading(table: pd.DataFrame, name: str) -> str:
    """Name of a variable and its level."""
    depth = table.loc[table["variable"] == name, "depth"].iloc[0]
    words = "Kinetic energy" if name == KINETIC_ENERGY else style.NAMES[name]
    return words if np.isnan(depth) else f"{words}, {depth:.0f} m"


def spectral_unit(name: str) -> str:
    """Unit of the power spectral density of a variable."""
    return "m² s⁻² km" if name == KINETIC_ENERGY else f"{style.unit(name)}² km"


def lines_of(table: pd.DataFrame, leads: Sequence[int]) -> list[tuple[str, int, dict[str, Any]]]:
    """Systems, leads and looks of the lines, the model on top.

    Args:
        table: Column system.
        leads: Leads of the model, ascending; the others are drawn at the last one.
    """
    last = leads[-1]
    others = [name for name in drawn_systems(table) if name not in (MODEL, style.TRUTH)]
    names = [name for name in (style.TRUTH, *others) if name in set(table["system"])]
    found = [(name, last, {**style.look(name), "label": style.system_name(name)}) for name in names]
    full = np.array(to_rgb(style.COLOURS[MODEL]))
    for number, lead in enumerate(leads, start=1):
        pale = 0.65 * (1.0 - number / len(leads))
        look = {**style.look(MODEL), "color": tuple(full + pale * (1.0 - full))}
        found.append((MODEL, lead, {**look, "label": f"Model, day {lead}"}))
    return found


def _scales(axes: Axes, rows: pd.DataFrame, ratio: bool) -> None:
    """Long waves on the left; the ratio about one."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    lengths = rows["wavelength"].dropna()
    axes.set_xlim(lengths.max(), lengths.min())
    plain_ticks(axes.xaxis)
    if not ratio:
        return
    for value, line in ((1.0, "-"), (THRESHOLD, ":")):
        axes.axhline(value, color=style.REFERENCE, linewidth=0.8, linestyle=line, zorder=1)
    found = rows.loc[rows["metric"] == "psd_ratio", "value"]
    axes.set_ylim(np.clip(0.9 * found.min(), *LEAST), np.clip(1.1 * found.max(), *MOST))
    plain_ticks(axes.yaxis)
    axes.set_xlabel("Wavelength (km)")


def plain_ticks(axis: Axis) -> None:
    """Values of a logarithmic axis as 0.5, 1, 2 and not as powers of ten."""
    low, high = sorted(axis.get_view_interval())
    steps = (1.0, 2.0, 5.0) if high < MANY * low else (1.0, 3.0)
    axis.set_major_locator(LogLocator(subs=steps))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())
