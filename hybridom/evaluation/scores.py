"""The stage: stores in; the scores of each start, their averages and the skill out."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from hybridom.errors import UserError
from hybridom.evaluation.averages import average, read_start
from hybridom.evaluation.case import Case, open_case
from hybridom.evaluation.families import FAMILIES, SCORES
from hybridom.evaluation.skill import skill_table
from hybridom.evaluation.summary import summary_page
from hybridom.evaluation.systems import MODEL
from hybridom.evaluation.tables import write_csv, write_parquet, write_text
from hybridom.layout import Layout
from hybridom.progress import track

log = logging.getLogger(__name__)


def evaluate_start(config: Any, layout: Layout, start: dt.date) -> None:
    """Score the forecast from one start date and write `layout.scores(start, family)` of all.

    Every lead from 1 to `forecast.days` is scored against the truth of its valid day, for the
    model and the configured baselines (`systems.systems`). Memory holds the initial state and one
    day at a time.

    Args:
        config: A `Config` or the `evaluate` stage's part of it.
        layout: Paths.
        start: Start date.

    Raises:
        UserError: A store, the damping or the thresholds are missing, incomplete, or not aligned
            with the others.
    """
    tables = score_case(open_case(config, layout, start), config.evaluation)
    for family, table in tables.items():
        write_parquet(table, layout.scores(start, family))
        log.info("%s: %d scores", layout.scores(start, family), len(table))


def score_case(case: Case, settings: Any) -> dict[str, pd.DataFrame]:
    """All scores of one forecast.

    Args:
        case: The forecast.
        settings: The `EvaluationConfig`.

    Returns:
        Family -> the start date and the columns of its table (`families.Accumulator.table`).
    """
    accumulators = {name: FAMILIES[name].begin(case, settings) for name in families(settings)}
    for day in track(case.each_day(), total=case.days, label=f"scores of {case.start}"):
        for accumulator in accumulators.values():
            accumulator.add(day)
    tables = {}
    for name, accumulator in accumulators.items():
        table = accumulator.table()
        table.insert(0, "start", pd.Timestamp(case.start))
        for column in ("region", "variable", "system", "metric"):
            table[column] = table[column].astype("category")
        tables[name] = table
    return tables


def families(settings: Any) -> tuple[str, ...]:
    """Families that are scored, that of the fields first.

    Args:
        settings: The `EvaluationConfig`.
    """
    return (SCORES, *settings.families)


def aggregate(config: Any, layout: Layout) -> None:
    """Average over start dates; write the tables, the skill table and its page.

    Writes `layout.table(family)` and a CSV beside it for every family, `layout.skill_table`
    (`skill.skill_table`) and `layout.summary` (`summary.summary_page`).

    Args:
        config: A `Config` or the `evaluate` stage's part of it.
        layout: Paths.

    Raises:
        UserError: The scores of a start date are missing, or were made with other settings.
    """
    starts = config.forecast.start_dates()
    _require_systems(config, layout, starts[0])
    write_averages(config.experiment, layout, config.evaluation, starts)


def write_averages(
    name: str,
    layout: Layout,
    settings: Any,
    starts: Sequence[dt.date],
    about: Mapping[str, object] | None = None,
) -> None:
    """Write the tables over all start dates, and with baselines the skill table and its page.

    Args:
        name: Of what was scored, for the page.
        layout: Paths.
        settings: The `EvaluationConfig`.
        starts: Start dates, ascending.
        about: Attributes of the Parquet tables.

    Raises:
        UserError: The scores of a start date are missing, or have other rows than the first.
    """
    tables = {}
    for family in families(settings):
        paths = [layout.scores(start, family) for start in starts]
        table = tables[family] = average(FAMILIES[family], paths, settings.bootstrap)
        table.attrs = dict(about or {})
        write_parquet(table, layout.table(family))
        write_csv(table, layout.table(family).with_suffix(".csv"))
        log.info("%s: %d scores over %d start dates", layout.table(family), len(table), len(starts))
    if not settings.baselines:
        log.warning("no baseline: neither %s nor a page is written", layout.skill_table.name)
        return
    skill = skill_table(tables[SCORES])
    write_csv(skill, layout.skill_table)
    write_text(summary_page(tables[SCORES], skill, name, len(starts)), layout.summary)


def _require_systems(config: Any, layout: Layout, start: dt.date) -> None:
    """Refuse scores of other systems than the configured ones."""
    path = layout.scores(start)
    found = list(read_start(path)["system"].unique())
    expected = [MODEL, *config.evaluation.baselines]
    if found != expected:
        raise UserError(
            f"{path}: scores of {', '.join(found)} found, expected those of "
            f"{', '.join(expected)} (evaluation.baselines); run `hybridom evaluate start` for all"
        )
