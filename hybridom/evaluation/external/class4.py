"""Scores against observations, of our own forecasts and of foreign files."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hybridom.config.output import BootstrapConfig
from hybridom.errors import UserError
from hybridom.evaluation.averages import average
from hybridom.evaluation.case import Case
from hybridom.evaluation.external import names
from hybridom.evaluation.external.axes import first_difference, placement
from hybridom.evaluation.external.sources import Source, open_data
from hybridom.evaluation.matchups import FAMILY, Matchups, sums_table, with_counts
from hybridom.evaluation.observations import SLA, read_observations
from hybridom.evaluation.tables import write_csv, write_parquet
from hybridom.grid import Grid

MDT_NAMES = ("mdt", "mean_dynamic_topography")
MATCHUPS, OBSERVATIONS = "matchups", "observations"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Observed:
    """Observations and how they are compared.

    Attributes:
        files: Tables.
        mean_topography: File of the mean dynamic topography, for `sla`; or None.
        sla_offset: Added to zos less that topography, m.
    """

    files: tuple[Path, ...]
    mean_topography: Path | None = None
    sla_offset: float = 0.0


def evaluate_observations(
    observed: Observed,
    open_start: Callable[[dt.date], Case],
    starts: Sequence[dt.date],
    folder: Path,
    bootstrap: BootstrapConfig,
    about: Mapping[str, Any],
) -> None:
    """Compare forecasts with observations and write the tables.

    Writes in `folder` `matchups/<start>.parquet`, every matchup of a forecast, and
    `observations.parquet` and `.csv`: rmse, bias and mae pooled over all matchups of a lead, by
    variable, depth bin, region and system, with their number (`count`) and intervals from moving
    blocks of start dates. Memory holds the observations and the matchups of one start.

    Args:
        observed: The observations.
        open_start: Gives the forecast of a start date.
        starts: Start dates, ascending.
        folder: Of the tables.
        bootstrap: Of the intervals.
        about: Kept as attributes of the tables.

    Raises:
        UserError: Observations or the topography cannot be used, or no forecast reaches any.
    """
    table = read_observations(observed.files)
    paths, used = [], 0
    topography: np.ndarray | None = None
    for start in starts:
        case = open_start(start)
        if observed.mean_topography is not None and topography is None:
            topography = read_topography(observed.mean_topography, case.grid)
        if start == starts[0]:
            _report(table, starts, case)
        matchups = Matchups(case, table, topography, observed.sla_offset)
        found = pd.concat(matchups.each_lead(), ignore_index=True)
        used += len(found)
        log.info("%s: %d matchups", start, len(found))
        found.attrs = dict(about)
        write_parquet(found, folder / MATCHUPS / f"{start:%Y-%m-%d}.parquet")
        sums = sums_table(found, case, matchups.names)
        paths.append(folder / OBSERVATIONS / f"{start:%Y-%m-%d}.parquet")
        write_parquet(sums, paths[-1])
    if not used:
        first, last = (f"{table['time'].iloc[n]:%Y-%m-%d}" for n in (0, -1))
        raise UserError(
            f"{observed.files[0]}: no observation lies on a day and in the sea of a forecast "
            f"(observations from {first} to {last}, starts from {starts[0]} to {starts[-1]}); "
            "expected observations within the forecasts"
        )
    final = with_counts(average(FAMILY, paths, bootstrap))
    final.attrs = dict(about)
    write_parquet(final, folder / f"{OBSERVATIONS}.parquet")
    write_csv(final, folder / f"{OBSERVATIONS}.csv")


def _report(table: pd.DataFrame, starts: Sequence[dt.date], case: Case) -> None:
    """Say what no forecast reaches."""
    days = table["time"].to_numpy().astype("datetime64[D]")
    reached = np.zeros(len(days), bool)
    for start in starts:
        first, last = (np.datetime64(start + dt.timedelta(n)) for n in (1, case.days))
        reached |= (days >= first) & (days <= last)
    if not reached.all():
        log.warning(
            "%d of %d observations lie on days that no forecast reaches",
            *((~reached).sum(), len(days)),
        )
    held = {*case.names, *([SLA] if "zos" in case.names else [])}
    for name, count in table["variable"].value_counts().items():
        if name not in held:
            log.warning("%d observations of %s: the forecast has none", count, name)


def read_topography(path: Path, grid: Grid) -> np.ndarray:
    """Mean dynamic topography (ny, nx) in m, NaN on land.

    Args:
        path: NetCDF file or Zarr store with a variable mdt or mean_dynamic_topography.
        grid: The grid that it has to lie on.

    Raises:
        UserError: It lies on another grid, is in other units, or is not there.
    """
    data = open_data(path)
    found = [key for key in data.data_vars if str(key).lower() in MDT_NAMES]
    if not found:
        raise UserError(
            f"{path}: no mean dynamic topography among {', '.join(map(str, data.data_vars))}; "
            f"expected a variable {' or '.join(MDT_NAMES)}"
        )
    variable = str(found[0])
    names.check_units(data[variable], "zos", path)
    place = placement(data, variable, "zos", path)
    if difference := first_difference(grid, place, "zos"):
        raise UserError(
            f"{path}: {variable}: {difference} as in the forecast; expected its grid, regrid the "
            "file"
        )
    source = Source(path, data, {"zos": variable}, {"zos": place})
    return source.read("zos", {})[0]
