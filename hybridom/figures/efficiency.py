"""What training cost, and what it bought."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hybridom.errors import UserError
from hybridom.figures import style
from hybridom.figures.inputs import read_training, validation_leads
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC

CURVE = "#222222"


def figure(config: Any, layout: Layout) -> Figure:
    """Panels time of a window, simulated days a second, share of waiting, and error against time.

    Args:
        config: A `Config` or the `figures` stage's part of it.
        layout: Paths.

    Raises:
        UserError: The record of training has no speed.
    """
    table = read_training(layout)
    for name in ("samples_per_second", "data_wait"):
        if name not in table:
            raise UserError(
                f"{layout.train_log}: column {name} is missing; run `hybridom train` again"
            )
    drawn = Figure(figsize=(style.PAGE_WIDTH, 4.9))
    drawn.suptitle(f"Cost of training {config.experiment}", fontsize=9.5)
    (window, speed), (wait, error) = drawn.subplots(2, 2)
    rate, wait_share = table["samples_per_second"], table["data_wait"]
    for axes, values, heading, label in (
        (window, 1.0 / rate, "Time of a window", "Seconds"),
        (speed, rate * table["days"], "Simulated time", "Days a second"),
        (wait, 100.0 * wait_share, "Waiting for data", "Part of the time (%)"),
    ):
        axes.plot(table["step"], values, color=CURVE)
        axes.set_ylim(bottom=0.0)
        axes.set_xlabel("Optimiser step")
        _name(axes, heading, label)
    _errors(error, table, elapsed(table))
    letters = style.letters()
    for axes in (window, speed, wait, error):
        style.heading(axes, next(letters), axes.get_title())
        axes.set_title("")
    drawn.legend(
        *error.get_legend_handles_labels(), loc="outside lower center", ncols=len(PROGNOSTIC)
    )
    return drawn


def elapsed(table: pd.DataFrame) -> np.ndarray:
    """Part of the training time that had gone by at each row.

    `samples_per_second` is the mean since its stage began, validation included, so that the
    stage's time is known at each of its steps, but for the number of windows in a step. Of a
    stage that was stopped and went on, it is the mean since then, which is taken for all of it.

    Args:
        table: The record of training.

    Returns:
        (steps,), ascending to 1.
    """
    stage = (table["days"].diff().fillna(0.0) != 0.0).cumsum()
    time = (table.groupby(stage).cumcount() + 1) / table["samples_per_second"]
    before = time.groupby(stage).last().cumsum().shift(fill_value=0.0)
    total = np.maximum.accumulate((time + stage.map(before)).to_numpy(np.float64))
    return total / total[-1] if len(total) else total


def _errors(axes: Axes, table: pd.DataFrame, time: np.ndarray) -> None:
    """RMSE of validation over that of persistence at the last lead, against time."""
    lead = validation_leads(table)[-1]
    for name in PROGNOSTIC:
        ratio = table[f"rmse_{name}_{lead}"] / table[f"persistence_{name}_{lead}"]
        shown = ratio.notna().to_numpy()
        axes.plot(
            100.0 * time[shown],
            ratio[shown],
            "o-",
            color=style.VARIABLE_COLOURS[name],
            label=style.NAMES[name],
            markersize=3,
        )
    axes.axhline(1.0, color=style.REFERENCE, linewidth=0.7, zorder=1)
    axes.set_xlim(0.0, 102.0)
    axes.set_xlabel("Training time (%)")
    _name(axes, f"Validation, day {lead}", "RMSE / RMSE of persistence")


def _name(axes: Axes, heading: str, label: str) -> None:
    axes.set_title(heading)
    axes.set_ylabel(label)
