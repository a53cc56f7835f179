"""Scores of ensembles: CRPS, spread against skill, and rank histograms.

With members x_1...x_n of one cell, sorted, and its truth y,

    crps = 1/n sum |x_i - y| - 1/n^2 sum (2 i - n - 1) x_i

which is the integral of the squared difference of the two distribution functions (Hersbach 2000,
Weather Forecast. 15, 559). `crps_fair` has n (n - 1) in place of n^2, so that its expectation does
not depend on the number of members (Ferro 2014, Q. J. R. Meteorol. Soc. 140, 1917). The variance is
that about the mean of the members with n - 1 in the denominator; `spread` is the root of its mean
over cells, and `spread_skill` is sqrt((n + 1) / n) spread / RMSE of the mean, 1 for members that
cannot be told from the truth (Fortin et al. 2014, J. Hydrometeorol. 15, 1708).
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hybridom.config.output import EvaluationConfig
from hybridom.errors import UserError
from hybridom.evaluation.averages import average
from hybridom.evaluation.bootstrap import Means
from hybridom.evaluation.external.fields import ForecastFields
from hybridom.evaluation.external.opening import (
    Files,
    Index,
    Opened,
    common_variables,
    describe,
    put_beside,
    starts_and_days,
)
from hybridom.evaluation.external.sources import Source, common_grid, open_sources
from hybridom.evaluation.external.times import Place, forecast_index, member_axis
from hybridom.evaluation.families import Family
from hybridom.evaluation.regions import Regions, region_weights
from hybridom.evaluation.systems import MODEL
from hybridom.evaluation.tables import write_csv, write_parquet
from hybridom.files import write_json
from hybridom.progress import track
from hybridom.variables import VARIABLES

SCORES, RANKS = "ensemble", "rank_histogram"
FAMILIES = {
    SCORES: Family("ensembles", "Ensembles"),
    RANKS: Family("ensembles", "Rank histograms", ("rank",)),
}
SUMS = ("crps", "crps_fair", "variance", "error_squared")
SEED = 0  # of the draws among ties

log = logging.getLogger(__name__)


def evaluate_members(files: Files, folder: Path, settings: EvaluationConfig) -> None:
    """Score an ensemble and write its tables.

    Writes `ensemble.parquet` and `.csv` (metrics crps, crps_fair, spread, rmse_mean, rmse_pooled of
    the ensemble mean, spread_skill, members) and `rank_histogram.parquet` (metric share, of the
    area, by rank 0...n) with intervals over start dates, and a table of each start. Memory holds
    all members of one variable of one day.

    Args:
        files: Members as `forecast`, and the truth.
        folder: Of the tables.
        settings: Regions and the bootstrap.

    Raises:
        UserError: There are fewer than two members, they differ from one another, or files cannot
            be compared.
    """
    opened, members = open_members(files)
    regions = region_weights(opened.grid, opened.wet, settings.regions, settings.named_regions)
    about = {**describe(opened, ()), "members": len(members)}
    paths: dict[str, list[Path]] = {name: [] for name in FAMILIES}
    for start in opened.starts:
        for name, table in score_members(opened, members, regions, start).items():
            paths[name].append(folder / name / f"{start:%Y-%m-%d}.parquet")
            table.attrs = about
            write_parquet(table, paths[name][-1])
    for name, family in FAMILIES.items():
        table = average(family, paths[name], settings.bootstrap)
        table.attrs = about
        write_parquet(table, folder / f"{name}.parquet")
        if name == SCORES:
            write_csv(table, folder / f"{name}.csv")
    write_json(folder / "sources.json", about)
    log.info("%s: %d members, %d start dates", folder, len(members), len(opened.starts))


def open_members(files: Files) -> tuple[Opened, list[Index]]:
    """Open an ensemble beside its truth.

    Files with a member axis (`realization`, `member`, `number`, `ensemble`) hold all members of
    the starts in them; files without one are a member each.

    Returns:
        The files, opened, and of every member where its fields lie.

    Raises:
        UserError: As `evaluate_members`.
    """
    sources, truths = open_sources(files.forecast, "forecast"), open_sources(files.truth, "truth")
    names = common_variables(sources, truths)
    sizes = {source.path: _size(source, names) for source in sources}
    if len(set(sizes.values())) > 1:
        (a, n), (b, m) = [
            next((path, n) for path, n in sizes.items() if n == size)
            for size in sorted(set(sizes.values()))[:2]
        ]
        raise UserError(
            f"{b} has {m} members and {a} has {n}; expected the same number in every file, or one "
            "file a member"
        )
    size = sizes[sources[0].path]
    if size > 1:
        whole = forecast_index(sources, names)
        members: list[Index] = [_member(whole, number) for number in range(size)]
    else:
        members = [forecast_index([source], names) for source in sources]
    if len(members) < 2:
        raise UserError(
            f"{files.forecast[0]}: one member; expected two or more, as an axis realization or "
            "as one store each"
        )
    expected = starts_and_days(members[0])
    for source, index in zip(sources, members, strict=False):
        if starts_and_days(index) != expected:
            raise UserError(
                f"{source.path}: other start dates, variables or leads than in "
                f"{sources[0].path}; expected the same in every member"
            )
    grid = common_grid(sources, names)
    return put_beside(files, truths, grid, members[0], members[1:]), members


def _size(source: Source, names: Sequence[str]) -> int:
    """Members in a file."""
    sizes = []
    for name in names:
        if name in source.variables:
            axis = member_axis(source, name)
            sizes.append(1 if axis is None else int(source.data.sizes[axis]))
    if len(set(sizes)) > 1:
        raise UserError(
            f"{source.path}: {min(sizes)} and {max(sizes)} members; expected as many of every "
            "variable"
        )
    return sizes[0] if sizes else 1


def _member(whole: Index, number: int) -> Index:
    """Where the fields of one member lie in files that hold all of them."""

    def one(name: str, place: Place) -> Place:
        source, at = place
        return source, {**at, str(member_axis(source, name)): number}

    return {
        name: {key: one(name, place) for key, place in places.items()}
        for name, places in whole.items()
    }


def score_members(
    opened: Opened, members: Sequence[Index], regions: Regions, start: dt.date
) -> dict[str, pd.DataFrame]:
    """Tables of one start date.

    Args:
        opened: The files.
        members: Where the fields of each member lie.
        regions: Where scores are taken.
        start: Start date.

    Returns:
        `ensemble` and `rank_histogram`, with the columns of `families.Accumulator.table`.
    """
    systems = [ForecastFields(index, start, opened.grid, opened.wet) for index in members]
    tables: dict[str, list[pd.DataFrame]] = {SCORES: [], RANKS: []}
    leads = range(1, opened.days + 1)
    for lead in track(leads, label=f"ensemble of {start}"):
        for number, name in enumerate(opened.names):
            truth = opened.truth.field(name, start + dt.timedelta(lead))
            fields = [system.field(name, lead, None) for system in systems]
            sums = np.zeros((len(SUMS) + 1, len(regions.names), len(truth)))
            ranks = np.zeros((len(regions.names), len(truth), len(members) + 1))
            for level in range(len(truth)):
                cells = opened.wet[level]
                x = np.stack([field[level][cells] for field in fields]).astype(np.float64)
                y = truth[level][cells].astype(np.float64)
                weights = regions.inside[:, cells] * regions.area[cells]
                sums[:, :, level] = [
                    *(weights @ score for score in cell_scores(x, y)),
                    weights.sum(axis=1),
                ]
                rng = np.random.default_rng([SEED, start.toordinal(), lead, number, level])
                place = cell_ranks(x, y, rng)
                for r, weight in enumerate(weights):
                    ranks[r, level] = np.bincount(place, weight, len(members) + 1)
            keys = {"lead": lead, "variable": name, "system": MODEL}
            depths = list(opened.grid.depth) if VARIABLES[name].has_depth else [np.nan]
            tables[SCORES].append(_score_rows(sums, regions, depths, len(members), keys))
            tables[RANKS].append(_rank_rows(ranks, regions, depths, keys))
    return {
        name: pd.concat(parts, ignore_index=True).assign(start=pd.Timestamp(start))
        for name, parts in tables.items()
    }


def cell_scores(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    """Scores of single cells.

    Args:
        x: Members (n, cells), n at least 2.
        y: Truth (cells,).

    Returns:
        crps, crps_fair, variance of the members, and squared error of their mean, each (cells,).
    """
    n = len(x)
    error = np.abs(x - y).mean(axis=0)
    order = 2.0 * np.arange(1, n + 1) - n - 1
    apart = order @ np.sort(x, axis=0)
    mean = x.mean(axis=0)
    return (
        error - apart / n**2,
        error - apart / (n * (n - 1)),
        x.var(axis=0, ddof=1),
        (mean - y) ** 2,
    )


def cell_ranks(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Number of members below the truth; among members equal to it, one place is drawn.

    Args:
        x: Members (n, cells).
        y: Truth (cells,).
        rng: For the draws.

    Returns:
        int (cells,), 0...n.
    """
    below, equal = (x < y).sum(axis=0), (x == y).sum(axis=0)
    drawn: np.ndarray = below + rng.integers(0, equal + 1)
    return drawn


def finish(means: Means) -> dict[str, np.ndarray]:
    """From means over start dates to the final metrics: squares are averaged, then the root."""
    if "share" in means:
        return {"share": means["share"]}
    spread, pooled = np.sqrt(means.square("spread")), np.sqrt(means.square("rmse"))
    members = means["members"]
    positive = pooled > 0
    ratio = np.sqrt((members + 1) / members) * spread / np.where(positive, pooled, 1.0)
    return {
        **{name: means[name] for name in ("crps", "crps_fair")},
        **{"spread": spread, "rmse_mean": means["rmse"], "rmse_pooled": pooled},
        **{"spread_skill": np.where(positive, ratio, np.nan), "members": members},
    }


def _score_rows(
    sums: np.ndarray,
    regions: Regions,
    depths: Sequence[float],
    members: int,
    keys: Mapping[str, Any],
) -> pd.DataFrame:
    """Rows of one variable and lead; all levels together come first, weighted by volume."""
    if not np.isnan(depths[0]):
        pooled = (sums * regions.thickness).sum(axis=-1, keepdims=True)
        sums, depths = np.concatenate([pooled, sums], axis=-1), [np.nan, *depths]
    weight = sums[-1]
    mean = np.where(weight > 0, sums[:-1] / np.where(weight > 0, weight, 1.0), np.nan)
    crps, fair, variance, square = mean
    metrics = {
        **{"crps": crps, "crps_fair": fair, "spread": np.sqrt(variance), "rmse": np.sqrt(square)},
        "members": np.where(weight > 0, float(members), np.nan),
    }
    return _rows(np.stack(list(metrics.values())), regions, depths, keys, metric=list(metrics))


def _rank_rows(
    ranks: np.ndarray, regions: Regions, depths: Sequence[float], keys: Mapping[str, Any]
) -> pd.DataFrame:
    area = ranks.sum(axis=-1, keepdims=True)
    share = np.where(area > 0, ranks / np.where(area > 0, area, 1.0), np.nan)
    values = np.moveaxis(share, -1, 0)
    table = _rows(values, regions, depths, keys, rank=list(range(len(values))))
    return table.assign(metric="share")


def _rows(
    values: np.ndarray,
    regions: Regions,
    depths: Sequence[float],
    keys: Mapping[str, Any],
    **first: Sequence[Any],
) -> pd.DataFrame:
    axes = {**first, "region": regions.names, "depth": depths}
    index = pd.MultiIndex.from_product(axes.values(), names=axes.keys())
    return index.to_frame(index=False).assign(**keys, value=values.ravel())
