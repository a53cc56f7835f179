"""The record of training: losses, validation against persistence, gradients and updates."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from matplotlib.transforms import blended_transform_factory

from hybridom.figures import style
from hybridom.figures.inputs import components, read_training, validation_leads
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC

WHOLE = "#222222"
REFERENCE = "#9A9A9A"
COMPONENTS = {"ilap": ("ILAP", "#E69F00"), "state": ("State", "#6A3D9A")}
USUAL_UPDATE = 1e-3  # of the weights' norm in a step; far more is unsteady, far less is slow


def figure(config: Any, layout: Layout) -> Figure:
    """Panels loss, loss by variable, validation RMSE and correlation, gradients and updates.

    In the panels of single steps, faint lines are the steps and full lines running medians. In
    those of validation, full lines are the last lead and faint ones the first. Dashed verticals
    are the changes of the window's length.

    Args:
        config: A `Config` or the `figures` stage's part of it.
        layout: Paths.
    """
    table = read_training(layout)
    drawn = Figure(figsize=(style.PAGE_WIDTH, 4.9))
    drawn.suptitle(f"Training of {config.experiment}", fontsize=9.5)
    panels = drawn.subplots(2, 3, sharex=True)
    loss, by_variable, error, gradient, update, correlation = panels.flat
    _steps(loss, table, "loss", WHOLE, "Total")
    for name in PROGNOSTIC:
        colour = style.VARIABLE_COLOURS[name]
        _steps(by_variable, table, f"loss_{name}", colour, style.NAMES[name])
        _validation(error, correlation, table, name)
    _components(gradient, update, table)
    leads = validation_leads(table)
    at = f"day {leads[-1]}" + (f" (faint: day {leads[0]})" if len(leads) > 1 else "")
    headings = (
        (loss, "Weighted loss", "Loss"),
        (by_variable, "Loss by variable, before weights", "Loss"),
        (error, f"Validation, {at}", "RMSE / RMSE of persistence"),
        (gradient, "Gradient before clipping", "Norm"),
        (update, "Change of the weights in a step", "Norm / norm of weights"),
        (correlation, f"Validation, {at}", "Anomaly correlation"),
    )
    letters = style.letters()
    for axes, heading, label in headings:
        style.heading(axes, next(letters), heading)
        axes.set_ylabel(label)
        if axes is not correlation and axes.lines and len(table):
            axes.set_yscale("log")
        _stages(axes, table)
    _reference(error, 1.0)
    _reference(update, USUAL_UPDATE)
    for axes in (loss, by_variable, error, gradient):
        _plain_ticks(axes)
    for axes in panels[0]:
        _stage_names(axes, table)
    for axes in panels[1]:
        axes.set_xlabel("Optimiser step")
    handles, names = by_variable.get_legend_handles_labels()
    drawn.legend(handles, names, loc="outside lower center", ncols=len(names))
    return drawn


def _steps(axes: Axes, table: pd.DataFrame, column: str, colour: str, label: str) -> None:
    """Every step faintly, and a running median over a fortieth of the run."""
    window = max(len(table) // 40, 1)
    smooth = table[column].rolling(window, center=True, min_periods=1).median()
    axes.plot(table["step"], table[column], color=colour, alpha=0.25, linewidth=0.6)
    axes.plot(table["step"], smooth, color=colour, label=label)


def _validation(error: Axes, correlation: Axes, table: pd.DataFrame, name: str) -> None:
    """Scores of the rollouts at the last lead and, faintly, at the first."""
    leads = validation_leads(table)
    for lead in sorted({leads[0], leads[-1]}):
        rows = table.dropna(subset=f"rmse_{name}_{lead}")
        ratio = rows[f"rmse_{name}_{lead}"] / rows[f"persistence_{name}_{lead}"]
        last = lead == leads[-1]
        look: dict[str, Any] = {
            "color": style.VARIABLE_COLOURS[name],
            "alpha": 1.0 if last else 0.35,
            "linewidth": 1.4 if last else 0.8,
            "markersize": 3 if last else 2,
        }
        error.plot(rows["step"], ratio, "o-", **look)
        correlation.plot(rows["step"], rows[f"acc_{name}_{lead}"], "o-", **look)


def _components(gradient: Axes, update: Axes, table: pd.DataFrame) -> None:
    """Gradients and updates of the parts of the model, with a legend of their own."""
    parts = components(table)
    if len(parts) != 1:
        _steps(gradient, table, "gradient_norm", WHOLE, "All")
    for name in parts:
        label, colour = COMPONENTS.get(name, (name, WHOLE))
        _steps(gradient, table, f"gradient_norm_{name}", colour, label)
        _steps(update, table, f"update_ratio_{name}", colour, label)
    update.legend(*gradient.get_legend_handles_labels(), loc="lower left", fontsize=7)


def _reference(axes: Axes, value: float) -> None:
    axes.axhline(value, color=REFERENCE, linewidth=0.7, zorder=1)


def _plain_ticks(axes: Axes) -> None:
    """Values of a few decades as 0.5, 1, 2 and not as powers of ten."""
    low, high = axes.get_ylim()
    if axes.get_yscale() == "log" and high < 1e3 * low:
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())


def _stages(axes: Axes, table: pd.DataFrame) -> None:
    """Mark where the windows of the curriculum become longer."""
    for step in table["step"][table["days"].diff().fillna(0.0) != 0.0]:
        axes.axvline(step, color=REFERENCE, linewidth=0.7, linestyle="--", zorder=1)


def _stage_names(axes: Axes, table: pd.DataFrame) -> None:
    """Write the length of the windows at the start of every stage."""
    place = blended_transform_factory(axes.transData, axes.transAxes)
    for row in table[table["days"].diff() != 0.0].itertuples():
        text = f" {row.days:.0f} {'day' if row.days == 1 else 'days'}"
        axes.text(row.step, 0.985, text, transform=place, fontsize=6.5, va="top", color="#555555")
