"""The figures by name: what each shows, needs and is drawn by.

A new figure is one module of this package with a function `figure(config, layout)` that returns a
matplotlib figure, and one line in `FIGURES`.
"""

from __future__ import annotations

import datetime as dt
import difflib
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hybridom.errors import UserError
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC, VARIABLES

Need = Literal["scores", "fields", "training"]


@dataclass(frozen=True)
class Figure:
    """One entry of the registry.

    Attributes:
        module: Module of this package; its caption is `workflow/report/<module>.rst`.
        title: A few words for a list of figures.
        needs: `scores` (the averaged scores), `fields` (one forecast and its truth) or `training`
            (the record of the losses).
        variable: Passed to the module's function where it draws one variable.
        levels: The fewest levels of a grid on which the figure means something.
    """

    module: str
    title: str
    needs: Need
    variable: str | None = None
    levels: int = 1

    @property
    def caption(self) -> str:
        """Name of the caption's file."""
        return f"{self.module}.rst"


FIGURES: dict[str, Figure] = {
    "rmse_lead": Figure("rmse_lead", "RMSE against lead", "scores"),
    "acc_lead": Figure("acc_lead", "Anomaly correlation against lead", "scores"),
    "bias_lead": Figure("bias_lead", "Bias against lead", "scores"),
    "activity_lead": Figure("activity_lead", "Variance retained against lead", "scores"),
    "scorecard": Figure("scorecard", "Scorecard against the best baseline", "scores"),
    "profiles": Figure("profiles", "Profiles of RMSE and bias", "scores", levels=2),
    "training_curves": Figure("training_curves", "Training curves", "training"),
    **{
        f"maps_{name}": Figure("maps", f"Maps of {VARIABLES[name].long_name}", "fields", name)
        for name in PROGNOSTIC
    },
}


def figure_names(config: Any) -> list[str]:
    """Names of the figures that a configuration gives, in the order of `FIGURES`.

    Args:
        config: A `Config` or the `figures` stage's part of it.
    """
    levels = len(config.grid.depths)
    return [name for name, figure in FIGURES.items() if levels >= figure.levels]


def figure_inputs(name: str, config: Any, layout: Layout) -> list[Path]:
    """Files that a figure is made from; a store is named by its manifest.

    Args:
        name: Name of the figure.
        config: A `Config` or the `figures` stage's part of it.
        layout: Paths.

    Raises:
        UserError: There is no figure of this name.
    """
    needs = _entry(name, config).needs
    if needs == "scores":
        return [layout.scores_parquet]
    if needs == "training":
        return [layout.train_log]
    start = map_start(config)
    years = sorted({(start + dt.timedelta(lead)).year for lead in config.figures.leads})
    truth = [layout.state_manifest(year) for year in years]
    return [layout.grid_file, layout.forecast_manifest(start), *truth]


def figure_outputs(name: str, config: Any, layout: Layout) -> list[Path]:
    """Files that `draw` writes, one a format.

    Args:
        name: Name of the figure.
        config: A `Config` or the `figures` stage's part of it.
        layout: Paths.

    Raises:
        UserError: There is no figure of this name.
    """
    _entry(name, config)
    return [layout.figures_dir / f"{name}.{kind}" for kind in config.figures.formats]


def map_start(config: Any) -> dt.date:
    """Start date of the forecast that is mapped."""
    return config.figures.start or config.forecast.start_dates()[0]


def draw(name: str, config: Any, layout: Layout) -> list[Path]:
    """Draw a figure in every configured format.

    The same inputs give the same bytes.

    Args:
        name: Name of the figure.
        config: A `Config` or the `figures` stage's part of it.
        layout: Paths.

    Returns:
        The files written; each appears complete or not at all.

    Raises:
        UserError: There is no figure of this name, or its inputs are missing or do not fit.
    """
    entry = _entry(name, config)
    outputs = figure_outputs(name, config, layout)
    style = importlib.import_module("hybridom.figures.style")
    module = importlib.import_module(f"hybridom.figures.{entry.module}")
    arguments = () if entry.variable is None else (entry.variable,)
    with style.context():
        style.save(module.figure(config, layout, *arguments), outputs, config.figures.dpi)
    return outputs


def _entry(name: str, config: Any) -> Figure:
    names = figure_names(config)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(names)}"
        raise UserError(f"figure {name!r} is unknown for this configuration; {hint}")
    return FIGURES[name]
