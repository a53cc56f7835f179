"""The look of all figures: fonts, colours, labels, and how a figure is saved."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from itertools import count
from pathlib import Path
from string import ascii_lowercase
from typing import Any, Literal

import cmocean
import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure

from hybridom.variables import VARIABLES

PAGE_WIDTH = 9.0  # inches, of every figure

# Okabe and Ito (2008): told apart by all common forms of colour vision.
COLOURS = {
    "model": "#0072B2",
    "persistence": "#D55E00",
    "climatology": "#7A7A7A",
    "damped_persistence": "#E69F00",
    "driver": "#56B4E9",
}
LINES: dict[str, Literal["-", "--", ":", "-."] | tuple[float, tuple[float, ...]]] = {
    "model": "-",
    "persistence": "--",
    "climatology": ":",
    "damped_persistence": "-.",
    "driver": (0.0, (6.0, 1.5, 1.0, 1.5, 1.0, 1.5)),
}
TRUTH = "truth"  # a system of some tables, drawn beneath the others
TRUTH_COLOUR = "#222222"
REFERENCE = "#9A9A9A"  # thin lines at a value that means something
VARIABLE_COLOURS = {
    "thetao": "#D55E00",
    "so": "#009E73",
    "uo": "#0072B2",
    "vo": "#56B4E9",
    "zos": "#CC79A7",
}
LAND = "#C9C9C9"
COAST = "#3C3C3C"

# Short enough for five panels in a row.
NAMES = {
    "thetao": "Temperature",
    "so": "Salinity",
    "uo": "Eastward vel.",
    "vo": "Northward vel.",
    "zos": "Sea level",
}
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
UNITS = {"degrees_C": "°C", "1e-3": "psu", "m s-1": "m s⁻¹", "m": "m"}

MAPS = {
    "thetao": cmocean.cm.thermal,
    "so": cmocean.cm.haline,
    "uo": cmocean.cm.delta,
    "vo": cmocean.cm.delta,
    "zos": cmocean.cm.delta,
}
SIGNED = frozenset({"uo", "vo", "zos"})  # fields whose colours are symmetric about zero
# The ends of the full map are too dark to tell red from blue.
DIFFERENCE: Colormap = cmocean.tools.crop_by_percent(cmocean.cm.balance, 14, which="both")

_SETTINGS = {
    "font.family": "DejaVu Sans",
    "font.size": 8.0,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 8.0,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "lines.linewidth": 1.4,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.w_pad": 0.06,
    "pdf.fonttype": 42,
    "svg.hashsalt": "hybridom",
}

# Without dates, and without the version of the library, equal figures have equal bytes.
_METADATA: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    "svg": {"Date": None, "Creator": None},
}


def context() -> AbstractContextManager[None]:
    """The settings of matplotlib in which a figure is made and saved."""
    return mpl.rc_context(_SETTINGS)  # type: ignore[arg-type]


def save(figure: Figure, paths: Iterable[Path], dpi: int) -> None:
    """Write a figure to files whose suffix gives the format.

    Args:
        figure: The figure.
        paths: Files; each appears complete or not at all.
        dpi: Dots per inch, also of rasterised parts of vector files.
    """
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = path.suffix.removeprefix(".")
        temporary = path.with_name(path.name + ".partial")
        figure.savefig(temporary, format=kind, dpi=dpi, metadata=_METADATA[kind])
        os.replace(temporary, path)


def colour_bar(
    figure: Figure, colours: Colormap, norm: Normalize, axes: Any, label: str, **look: Any
) -> None:
    """A bar of the colours of some panels.

    Args:
        figure: The figure.
        colours: Colour map.
        norm: Its limits.
        axes: Panels from which it takes its room.
        label: Words beside it.
        look: Further keywords of `Figure.colorbar`; both ends are open unless `extend` is given.
    """
    bar = figure.colorbar(ScalarMappable(norm, colours), ax=axes, **{"extend": "both", **look})
    bar.set_label(label)
    bar.outline.set_linewidth(0.5)


def title(variable: str) -> str:
    """Name of a variable for a heading."""
    return VARIABLES[variable].long_name.capitalize()


def system_name(system: str) -> str:
    """Name of a system for a legend."""
    return system.replace("_", " ").capitalize()


def look(system: str) -> dict[str, Any]:
    """Colour, line and order of a system's curve, as keywords of `Axes.plot`."""
    if system == TRUTH:
        return {"color": TRUTH_COLOUR, "linestyle": "-", "linewidth": 2.4, "zorder": 1.8}
    return {"color": COLOURS[system], "linestyle": LINES[system], "zorder": 2.0}


def unit(variable: str) -> str:
    """Unit of a variable for a label."""
    return UNITS[VARIABLES[variable].units]


def scaled(units: str, largest: float) -> tuple[float, str]:
    """A power of ten by which values are divided for an axis, and the unit that results.

    Args:
        units: CF units of the values.
        largest: The largest of their magnitudes.

    Returns:
        1 and the unit itself where plain numbers are short, else a power of a thousand.
    """
    unit = UNITS.get(units) or re.sub(
        r"([A-Za-z])(-?\d+)", lambda found: found[1] + found[2].translate(SUPERSCRIPT), units
    )
    if not largest > 0.0 or 0.01 <= largest < 1e4:
        return 1.0, unit
    power = 3 * math.floor(math.log10(largest) / 3)
    return 10.0**power, f"10{str(power).translate(SUPERSCRIPT)} {unit}"


def sentence(words: str) -> str:
    """Words with a capital at the beginning."""
    return words[:1].upper() + words[1:]


def letters() -> Iterator[str]:
    """(a), (b), ... (z), (aa), ..."""
    return (f"({letter_name(number)})" for number in count())


def letter_name(number: int) -> str:
    """a, b, ..., z, aa, ab, ... from 0."""
    high, low = divmod(number, len(ascii_lowercase))
    return (letter_name(high - 1) if high else "") + ascii_lowercase[low]


def heading(axes: Axes, letter: str, text: str) -> None:
    """A panel's letter and title, left above it."""
    axes.set_title(f"$\\bf{{{letter}}}$ {text}", loc="left")
