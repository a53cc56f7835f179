"""The part of an anomaly that is left after some days, fitted on the training period.

Damped persistence forecasts climatology(valid day) + r a, with a the anomaly of the start date
from its climatology. With a(t) the anomaly on start date t and w the cell area where a cell is wet,

    r(lead) = sum w a(t) a(t + lead) / sum w a(t)^2

over cells and start dates, for each variable and level: of all r it has the smallest mean square
error over those dates. It is not confined to [0, 1]: over a training period of a few times the
lead, whose anomalies sum to nothing, it is negative.
"""

from __future__ import annotations

import datetime as dt
import logging
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr

from hybridom import __version__
from hybridom.config import config_hash, narrow
from hybridom.errors import UserError
from hybridom.evaluation.stores import Climatology, Truth
from hybridom.files import write_netcdf
from hybridom.grid import Grid, read_grid
from hybridom.layout import Layout
from hybridom.progress import track
from hybridom.variables import PROGNOSTIC, VARIABLES

COMMAND = "hybridom evaluate damping"
GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0

log = logging.getLogger(__name__)


def fit_damping(config: Any, layout: Layout) -> None:
    """Fit the damping of every variable, level and lead, and write `layout.damping`.

    From `evaluation.damping_starts` dates of the training period the anomalies are followed over
    `forecast.days` days; no other day is read. Days that are gaps of the stores are left out.

    Memory holds the start and one day of one variable. Each start reads days + 1 days of state
    and as many of climatology: with 24 starts, 60 days and 93 fields of 328 x 720 cells that is
    260 GB in single precision before compression, and about 25 minutes of one core. A stopped fit
    begins again.

    Args:
        config: A `Config` or the `damping` stage's part of it.
        layout: Paths.

    Raises:
        UserError: The training period is shorter than a forecast; a store is missing or does not
            fit; a variable has no anomalies at a level, or no days to be fitted to at a lead.
    """
    dates, days = start_dates(config), config.forecast.days
    grid, wet = read_grid(layout.grid_file)
    truth, climatology = Truth(layout, grid, wet), Climatology(layout, grid, wet)
    starts = [day for day in dates if not truth.is_gap(day)]

    # (product, square) by lead and level
    sums = {
        name: np.zeros((2, days, grid.nz if VARIABLES[name].has_depth else 1))
        for name in PROGNOSTIC
    }
    for start in track(starts, label="damping of anomalies"):
        for name, total in sums.items():
            cells = wet[: total.shape[-1]]
            _add_start(total, _anomalies(truth, climatology, name, start, days, cells), grid.area)
    damping = {name: _quotient(total, name, layout, grid, wet) for name, total in sums.items()}
    write_damping(config, layout, grid, damping, len(starts))
    log.info("%s: %d leads from %d start dates", layout.damping, days, len(starts))


def start_dates(config: Any) -> list[dt.date]:
    """Training dates from which anomalies are followed, ascending.

    The days that leave room for a forecast are cut into `evaluation.damping_starts` equal parts,
    and each part gives one. Where in its part a date lies moves on by the golden ratio, so that
    parts of a whole or a half year still hold all seasons. Where there are fewer such days than
    parts, all are taken.

    Args:
        config: A `Config` or the `damping` stage's part of it.

    Raises:
        UserError: A forecast does not fit into the training period.
    """
    train, days = config.periods.train, config.forecast.days
    room = train.length - days
    if room < 1:
        raise UserError(
            f"forecast.days: {days} days after a start do not fit into periods.train "
            f"({train.length} days), on which damped persistence is fitted; shorten the forecasts, "
            "lengthen the period or take damped_persistence out of evaluation.baselines"
        )
    parts = min(config.evaluation.damping_starts, room)
    places = (int((part + part * GOLDEN % 1.0) * room / parts) for part in range(parts))
    return [train.start + dt.timedelta(place) for place in dict.fromkeys(places)]


def _anomalies(
    truth: Truth, climatology: Climatology, name: str, start: dt.date, days: int, cells: np.ndarray
) -> Iterator[tuple[int, np.ndarray]]:
    """Leads from 0 and anomalies of a variable, 0 outside `cells`; gaps are left out."""
    for lead in range(days + 1):
        day = start + dt.timedelta(lead)
        if not truth.is_gap(day):
            anomaly = truth.field(name, day) - climatology.field(name, day)
            yield lead, np.where(cells, anomaly, 0.0)


def _add_start(
    total: np.ndarray, anomalies: Iterator[tuple[int, np.ndarray]], area: np.ndarray
) -> None:
    """Add the products and squares of one start to `total` (2, leads, levels)."""
    _, first = next(anomalies)
    weighted = area * first
    square = np.einsum("kyx,kyx->k", weighted, first)
    for lead, later in anomalies:
        total[0, lead - 1] += np.einsum("kyx,kyx->k", weighted, later)
        total[1, lead - 1] += square


def _quotient(
    total: np.ndarray, name: str, layout: Layout, grid: Grid, wet: np.ndarray
) -> np.ndarray:
    """Products over squares (leads, levels), NaN in levels without a wet cell."""
    product, square = total
    sea = wet[: square.shape[-1]].any(axis=(1, 2))
    if (missing := np.argwhere((square <= 0.0) & sea)).size:
        lead, level = missing[0]
        at = f" at {grid.depth[level]:g} m" if VARIABLES[name].has_depth else ""
        raise UserError(
            f"{layout.climatology_store}: variable {name}{at} has no anomalies to fit the damping "
            f"of lead {lead + 1} to; expected days of periods.train, {lead + 1} apart and no gaps, "
            "that differ from the climatology"
        )
    return np.where(sea, product / np.where(sea, square, 1.0), np.nan)


def write_damping(
    config: Any, layout: Layout, grid: Grid, damping: dict[str, np.ndarray], starts: int
) -> None:
    """Write `layout.damping`, complete or not at all.

    Args:
        config: A `Config` or the `damping` stage's part of it.
        layout: Paths.
        grid: The model grid.
        damping: Variable -> (leads, nz or 1), leads from 1.
        starts: Number of start dates that it was fitted to.
    """
    days = np.arange(1, config.forecast.days + 1, dtype=np.int32)
    lead = {"standard_name": "forecast_period", "units": "days"}
    data = grid.to_dataset()[["depth_bounds"]].assign_coords(lead=("lead", days, lead))
    for name, values in damping.items():
        has_depth = VARIABLES[name].has_depth
        data[f"{name}_damping"] = (
            ("lead", "depth") if has_depth else ("lead",),
            values if has_depth else values[:, 0],
            {
                "long_name": f"part of the anomaly of {VARIABLES[name].long_name} that is left",
                "units": "1",
                "cell_methods": "area: time: mean (ratio of mean products)",
            },
        )
    train = config.periods.train
    data.attrs = {
        "Conventions": "CF-1.11",
        "title": "damping of anomalies with lead time",
        "source": f"stores of state and climatology, {train.start} to {train.end}",
        "start_dates": starts,
        "hybridom_version": __version__,
        "config_hash": config_hash(narrow(config, "damping")),
        "grid_hash": grid.hash,
    }
    write_netcdf(layout.damping, data)


def read_damping(layout: Layout, grid: Grid, days: int) -> dict[str, np.ndarray]:
    """Read `layout.damping`.

    Args:
        layout: Paths.
        grid: The model grid.
        days: Leads that are needed.

    Returns:
        Variable -> float64 (days, nz or 1), leads from 1; NaN in levels without a wet cell.

    Raises:
        UserError: The file is missing or no such file, of another grid, or has too few leads.
    """
    path = layout.damping
    if not path.is_file():
        raise UserError(
            f"{path}: the damping of anomalies is missing; run `{COMMAND}` or take "
            "damped_persistence out of evaluation.baselines"
        )
    try:
        with xr.open_dataset(path, engine="netcdf4") as data:
            found = data.attrs["grid_hash"]
            leads = [int(lead) for lead in data["lead"].values]
            values = {name: data[f"{name}_damping"].values for name in PROGNOSTIC}
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{path}: not a file of damping ({error}); run `{COMMAND}`") from None
    if found != grid.hash:
        raise UserError(
            f"{path}: grid hash {found} found, that of grid.nc is {grid.hash}; run `{COMMAND}` "
            "again on this grid"
        )
    if leads[:days] != list(range(1, days + 1)):
        raise UserError(
            f"{path}: {len(leads)} leads found, expected 1 to {days} (forecast.days); run "
            f"`{COMMAND}` again"
        )
    return {name: x[:days].reshape(days, -1).astype(np.float64) for name, x in values.items()}
