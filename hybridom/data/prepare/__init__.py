"""The stages of preparation.

They make the grid, yearly stores of state and forcing, and from these, of the training period, the
climatology, the statistics and the thresholds of extremes.
"""

from __future__ import annotations

from hybridom.config import Config
from hybridom.data.checks import check_year
from hybridom.data.prepare.climate import prepare_climatology, prepare_statistics
from hybridom.data.prepare.forcing import prepare_forcing
from hybridom.data.prepare.grid import model_grid, prepare_grid, target_grid
from hybridom.data.prepare.percentiles import prepare_percentiles
from hybridom.data.prepare.state import prepare_state
from hybridom.layout import Layout

__all__ = [
    "model_grid",
    "prepare_all",
    "prepare_climatology",
    "prepare_forcing",
    "prepare_grid",
    "prepare_percentiles",
    "prepare_state",
    "prepare_statistics",
    "target_grid",
]


def prepare_all(config: Config, layout: Layout) -> None:
    """All stages of preparation in order, every input being checked first.

    Thresholds of extremes are made where `evaluation.families` asks for them.

    Raises:
        UserError: As the stages.
    """
    years = config.periods.years
    for year in years:
        check_year(config, layout, year)
    prepare_grid(config, layout)
    for year in years:
        prepare_state(config, layout, year)
        prepare_forcing(config, layout, year)
    prepare_climatology(config, layout)
    prepare_statistics(config, layout)
    if config.evaluation.needs_thresholds:
        prepare_percentiles(config, layout)
