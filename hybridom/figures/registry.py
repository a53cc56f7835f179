"""The figures by name: what each shows, needs and is drawn by.

A new figure is one module of this package with a function `figure(config, layout)` that returns a
matplotlib figure, a line in `FIGURES`, and a caption. A film's module has a function
`film(config, layout, variable)` that returns its frames.
"""

from __future__ import annotations

import datetime as dt
import difflib
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybridom.errors import UserError
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC, VARIABLES

SCORES = "scores"
# What is no table: the record of training; one forecast and its truth at a few leads, or at all
# of them; that and the climatology; the weights of a region's gate.
TRAINING, FIELDS, ROLLOUT, ANOMALIES = "training", "fields", "rollout", "anomalies"
GATE = "gate"
FEWEST_CELLS = 8  # of a stretch of which a spectrum is taken
USUAL_LEADS = (1, 10, 30, 60)


@dataclass(frozen=True)
class Figure:
    """One entry of the registry.

    Attributes:
        module: Module of this package; its caption is `workflow/report/<module>.rst`.
        title: A few words for a list of figures.
        needs: The family of scores whose table is drawn (`scores`, `extremes`, ...), or else
            `training` (the record of the losses), `fields` (one forecast and its truth at
            `figures.leads`), `rollout` (the same at all leads), `anomalies` (that and the
            climatology) or `gate` (the weights of a region's gate along one forecast).
        variable: Passed to the module's function where it draws one variable.
        levels: The fewest levels of a grid on which the figure means something.
    """

    module: str
    title: str
    needs: str
    variable: str | None = None
    levels: int = 1

    @property
    def caption(self) -> str:
        """Name of the caption's file."""
        return f"{self.module}.rst"

    @property
    def moving(self) -> bool:
        """Whether it is a film."""
        return self.module == "animation"


def _each_variable(module: str, title: str, needs: str) -> dict[str, Figure]:
    """A figure a prognostic variable."""
    return {
        f"{module}_{name}": Figure(module, f"{title} {VARIABLES[name].long_name}", needs, name)
        for name in PROGNOSTIC
    }


FIGURES: dict[str, Figure] = {
    "rmse_lead": Figure("rmse_lead", "RMSE against lead", SCORES),
    "skill_lead": Figure("skill_lead", "Skill over the baselines against lead", SCORES),
    "acc_lead": Figure("acc_lead", "Anomaly correlation against lead", SCORES),
    "bias_lead": Figure("bias_lead", "Bias against lead", SCORES),
    "activity_lead": Figure("activity_lead", "Variance retained against lead", SCORES),
    "edges_lead": Figure("edges_lead", "Errors near open edges over those inside", SCORES),
    "scorecard": Figure("scorecard", "Scorecard against each baseline", SCORES),
    "profiles": Figure("profiles", "Profiles of RMSE and bias", SCORES, levels=2),
    "extremes_lead": Figure("extremes_lead", "Scores of extremes against lead", "extremes"),
    "heatwaves_lead": Figure("heatwaves_lead", "Marine heatwaves against lead", "heatwaves"),
    "derived_lead": Figure("derived_lead", "Errors of derived quantities", "derived"),
    "budgets": Figure("budgets", "Change of the ocean's content", "budgets"),
    "spectra": Figure("spectra", "Spectra by wavelength", "spectra"),
    "effective_resolution_lead": Figure(
        "effective_resolution_lead", "Effective resolution against lead", "spectra"
    ),
    "drift_lead": Figure("drift_lead", "Separation of drifting particles", "drift"),
    "training_curves": Figure("training_curves", "Training curves", TRAINING),
    "efficiency": Figure("efficiency", "Cost of training and what it bought", TRAINING),
    **_each_variable("maps", "Maps of", FIELDS),
    "zoom": Figure("zoom", "Temperature, speed and vorticity of a region", FIELDS),
    "gate_weights": Figure("gate_weights", "Weights of the gate of a region", GATE),
    **_each_variable("hovmoeller", "Longitude against lead of", ANOMALIES),
    **_each_variable("animation", "Film of", ROLLOUT),
}


def figure_names(config: Any) -> list[str]:
    """Names of the figures that a configuration gives, in the order of `FIGURES`.

    Args:
        config: A `Config` or the `figures` stage's part of it.
    """
    return [name for name, figure in FIGURES.items() if _is_drawn(figure, config)]


def _is_drawn(figure: Figure, config: Any) -> bool:
    """Whether the grid, the families of scores and the options give this figure."""
    chosen = config.figures
    if len(config.grid.depths) < figure.levels:
        return False
    if figure.needs not in (
        SCORES,
        *config.evaluation.families,
        TRAINING,
        FIELDS,
        ROLLOUT,
        ANOMALIES,
        GATE,
    ):
        return False
    if figure.needs == GATE:
        return config.region is not None
    if figure.module == "edges_lead":
        return bool(config.evaluation.edges)
    if figure.needs == "spectra":
        return _stretch_cells(config) >= FEWEST_CELLS
    if figure.module == "zoom":
        return zoom_box(config) is not None
    if figure.module == "hovmoeller":
        (south, north), box = chosen.hovmoeller.lat, config.grid.lat
        return figure.variable in chosen.hovmoeller.variables and south < box[1] and north > box[0]
    return not figure.moving or figure.variable in chosen.animation.variables


def _stretch_cells(config: Any) -> int:
    """Cells of a stretch of which spectra are taken."""
    grid = config.grid
    columns = round((grid.lon[1] - grid.lon[0]) / grid.resolution)
    return min(round(config.evaluation.spectra.segment / grid.resolution), columns)


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
    if needs == TRAINING:
        return [layout.train_log]
    start = map_start(config)
    if needs == GATE:
        return [layout.grid_file, layout.gate_weights(start)]
    if needs not in (FIELDS, ROLLOUT, ANOMALIES):
        return [layout.table(needs)]
    leads = chosen_leads(config) if needs == FIELDS else tuple(range(config.forecast.days + 1))
    years = sorted({(start + dt.timedelta(lead)).year for lead in leads})
    found = [layout.grid_file, layout.forecast_manifest(start)]
    found += [layout.state_manifest(year) for year in years]
    return [*found, layout.climatology_manifest] if needs == ANOMALIES else found


def figure_outputs(name: str, config: Any, layout: Layout) -> list[Path]:
    """Files that `draw` writes, one a format; of a film, one.

    Args:
        name: Name of the figure.
        config: A `Config` or the `figures` stage's part of it.
        layout: Paths.

    Raises:
        UserError: There is no figure of this name.
    """
    moving = _entry(name, config).moving
    kinds = (config.figures.animation.format,) if moving else config.figures.formats
    return [layout.figures_dir / f"{name}.{kind}" for kind in kinds]


def map_start(config: Any) -> dt.date:
    """Start date of the forecast that is mapped."""
    return config.figures.start or config.forecast.start_dates()[0]


def chosen_leads(config: Any) -> tuple[int, ...]:
    """Leads of maps, profiles and spectra.

    Raises:
        UserError: One of them lies beyond the forecast.
    """
    days = config.forecast.days
    if config.figures.leads is None:
        return tuple(lead for lead in USUAL_LEADS if lead <= days)
    beyond = [lead for lead in config.figures.leads if lead > days]
    if beyond:
        raise UserError(f"figures.leads: {beyond[0]} lies beyond forecast.days {days}; take it out")
    return tuple(config.figures.leads)


def zoom_box(config: Any) -> tuple[float, float, float, float] | None:
    """The box seen from near: the chosen one, else the first region that is no whole zone.

    Returns:
        South, north, west and east in degrees; None where every region goes around the globe.
    """
    chosen, regions = config.figures.zoom, config.evaluation.regions
    if chosen is not None:
        return regions[chosen] if isinstance(chosen, str) else chosen
    near = [box for box in regions.values() if abs(box[3] - box[2]) < 360.0]
    return near[0] if near else None


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
        if entry.moving:
            film = importlib.import_module("hybridom.figures.film")
            film.save(
                module.film(config, layout, *arguments), outputs[0], config.figures.animation.fps
            )
        else:
            style.save(module.figure(config, layout, *arguments), outputs, config.figures.dpi)
    return outputs


def _entry(name: str, config: Any) -> Figure:
    names = figure_names(config)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(names)}"
        raise UserError(f"figure {name!r} is unknown for this configuration; {hint}")
    return FIGURES[name]
