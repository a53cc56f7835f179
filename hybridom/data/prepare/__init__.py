"""The stages of preparation: grid, yearly stores of state and forcing, climatology, statistics."""

from __future__ import annotations

from hybridom.config import Config
from hybridom.data.checks import check_year
from hybridom.data.prepare.climate import prepare_climatology, prepare_statistics
from hybridom.data.prepare.forcing import prepare_forcing
from hybridom.data.prepare.grid import model_grid, prepare_grid, target_grid
from hybridom.data.prepare.state import prepare_state
from hybridom.layout import Layout

__all__ = [
    "model_grid",
    "prepare_all",
    "prepare_climatology",
    "prepare_forcing",
    "prepare_grid",
    "prepare_state",
    "prepare_statistics",
    "target_grid",
]


def prepare_all(config: Config, layout: Layout) -> None:
    """All stages of preparation in order, every input being checked first.

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
