"""The record of training: losses, validation against persistence, gradient norm."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory

from hybridom.figures import style
from hybridom.figures.inputs import read_training
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC


def figure(config: Any, layout: Layout) -> Figure:
    """Panels loss, loss by variable, validation RMSE over persistence's, gradient norm.

    Faint lines are single steps, full lines running medians, dashed verticals the changes of the
    window's length.

    Args:
        config: A `Config` or the `figures` stage's part of it.
        layout: Paths.
    """
    table = read_training(layout)
    drawn = Figure(figsize=(style.PAGE_WIDTH, 5.4))
    drawn.suptitle(f"Training of {config.experiment}", fontsize=9.5)
    panels = drawn.subplots(2, 2, sharex=True)
    loss, by_variable, validation, gradient = panels.flat
    _steps(loss, table, "loss", "#222222", "Total")
    for name in PROGNOSTIC:
        _steps(by_variable, table, f"loss_{name}", style.VARIABLE_COLOURS[name], style.NAMES[name])
        _validation(validation, table, name)
    _steps(gradient, table, "gradient_norm", "#222222", "Norm")
    validation.axhline(1.0, color="#9A9A9A", linewidth=0.7, zorder=1)
    labels = (
        ("Loss", "Weighted loss", True),
        ("Loss by variable, before weights", "Loss", True),
        ("Validation at the last day of the rollout", "RMSE / RMSE of persistence", False),
        ("Gradient norm before clipping", "Norm", True),
    )
    letters = style.letters()
    for axes, (heading, label, logarithmic) in zip(panels.flat, labels, strict=True):
        style.heading(axes, next(letters), heading)
        axes.set_ylabel(label)
        if logarithmic and len(table):
            axes.set_yscale("log")
        _stages(axes, table)
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


def _validation(axes: Axes, table: pd.DataFrame, name: str) -> None:
    """RMSE of the rollouts over that of persistence, where the model was validated."""
    rows = table.dropna(subset=f"rmse_{name}")
    ratio = rows[f"rmse_{name}"] / rows[f"persistence_{name}"]
    axes.plot(rows["step"], ratio, "o-", markersize=3, color=style.VARIABLE_COLOURS[name])


def _stages(axes: Axes, table: pd.DataFrame) -> None:
    """Mark where the windows of the curriculum become longer."""
    for step in table["step"][table["days"].diff().fillna(0.0) != 0.0]:
        axes.axvline(step, color="#9A9A9A", linewidth=0.7, linestyle="--", zorder=1)


def _stage_names(axes: Axes, table: pd.DataFrame) -> None:
    """Write the length of the windows at the start of every stage."""
    place = blended_transform_factory(axes.transData, axes.transAxes)
    for row in table[table["days"].diff() != 0.0].itertuples():
        text = f" {row.days:.0f} {'day' if row.days == 1 else 'days'}"
        axes.text(row.step, 0.985, text, transform=place, fontsize=6.5, va="top", color="#555555")
