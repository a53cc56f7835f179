"""Rows that several experiments have in common, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hybridom.compare.references import common_references, reference_rows
from hybridom.compare.sources import ERROR, Experiment
from hybridom.errors import UserError
from hybridom.evaluation.families import FAMILIES, KEYS, SCORES
from hybridom.evaluation.regions import EDGES, GLOBAL, INTERIOR
from hybridom.evaluation.skill import ranges
from hybridom.evaluation.systems import MODEL

LEADS = (1, 10, 30, 60)  # days, of the table for reading
REFERENCE = "reference_"


@dataclass(frozen=True)
class Comparison:
    """What is common to some experiments.

    Attributes:
        labels: Of the experiments; the others are held against the first.
        tables: Family -> rows in common (see `side_by_side`).
        left_out: Sentences on what is not.
        warnings: Sentences on what a reader must know.
        references: Baselines that stand beside the experiments.
    """

    labels: list[str]
    tables: dict[str, pd.DataFrame]
    left_out: list[str]
    warnings: list[str]
    references: list[str]


def compare_tables(experiments: Sequence[Experiment]) -> Comparison:
    """Put the tables of experiments side by side.

    Args:
        experiments: The first is what the others are held against.

    Raises:
        UserError: The scores of the fields have no row in common.
    """
    references, warnings = common_references(experiments)
    tables, left_out = {}, []
    for family in FAMILIES:
        having = [one for one in experiments if family in one.tables]
        if not having:
            continue
        if len(having) < len(experiments):
            lacking = [one.label for one in experiments if one not in having]
            left_out.append(f"{family}: left out, not scored for {', '.join(lacking)}")
            continue
        rows = {one.label: _model_rows(one.tables[family]) for one in experiments}
        keys = row_keys(family)
        beside = reference_rows(experiments[0], family, references)
        table = side_by_side(rows, keys, beside)
        if table.empty and family == SCORES:
            raise UserError(
                f"{', '.join(rows)}: their tables of scores have no variable, level, region and "
                "lead in common; compare forecasts on the same levels, and name regions alike"
            )
        left_out += [f"{family}: {words}" for words in differences(rows, table, keys)]
        differing = _start_counts_differ(table, list(rows))
        if differing:
            warnings.append(
                f"{family}: in {differing} of {len(table)} rows the experiments have values from "
                "different numbers of start dates (columns n_starts)"
            )
        tables[family] = table
    labels = [one.label for one in experiments]
    return Comparison(labels, tables, left_out, warnings, references)


def row_keys(family: str) -> list[str]:
    """Columns that tell the rows of one system apart."""
    return [name for name in (*KEYS, *FAMILIES[family].keys) if name != "system"]


def side_by_side(
    rows: dict[str, pd.DataFrame],
    keys: Sequence[str],
    references: Mapping[str, pd.DataFrame] | None = None,
) -> pd.DataFrame:
    """Rows that all tables have, in the order of the first.

    Args:
        rows: Label -> table of one system; columns keys, value, low, high and n_starts.
        keys: Columns that tell its rows apart.
        references: Baseline -> its table, likewise.

    Returns:
        The keys; `value_<label>` of every experiment; then for every experiment but the first
        `difference_<label>`, its value minus that of the first, and `overlap_<label>`, `yes` or
        `no`, whether both intervals have a point in common (empty where one is undefined); then
        `low_<label>`, `high_<label>` and `n_starts_<label>` of every experiment; and last
        `reference_<baseline>`, the value of each (undefined where it has none).
    """
    labels = list(rows)
    values = ["value", "low", "high", "n_starts"]
    table: pd.DataFrame | None = None
    for label, part in rows.items():
        named = part[[*keys, *values]].rename(columns={name: f"{name}_{label}" for name in values})
        table = named if table is None else table.merge(named, on=list(keys), validate="1:1")
    assert table is not None
    first = labels[0]
    for label in labels[1:]:
        table[f"difference_{label}"] = table[f"value_{label}"] - table[f"value_{first}"]
        table[f"overlap_{label}"] = _overlap(table, first, label)
    columns = [f"value_{label}" for label in labels]
    columns += [f"{name}_{label}" for label in labels[1:] for name in ("difference", "overlap")]
    columns += [f"{name}_{label}" for label in labels for name in values[1:]]
    for name, part in (references or {}).items():
        named = part[[*keys, "value"]].rename(columns={"value": f"{REFERENCE}{name}"})
        table = table.merge(named, on=list(keys), how="left", validate="1:1")
        columns.append(f"{REFERENCE}{name}")
    return table[[*keys, *columns]].reset_index(drop=True)


def errors_at_leads(found: Comparison) -> pd.DataFrame:
    """The error of whole variables at a few leads, for reading rather than counting.

    Args:
        found: What is compared.

    Returns:
        Columns region (`global`, and the band along open edges and the interior where they were
        scored), variable, lead (`LEADS`, or the last one where it comes before them), a column
        an experiment and `reference_<baseline>`; may be without rows.
    """
    table = found.tables[SCORES]
    leads = table["lead"].unique()
    chosen = [lead for lead in LEADS if lead in leads] or [max(leads)]
    rows = table[
        (table["metric"] == ERROR)
        & table["depth"].isna()
        & table["lead"].isin(chosen)
        & table["region"].isin((GLOBAL, EDGES, INTERIOR))
    ]
    names = {f"value_{label}": label for label in found.labels}
    names |= {f"{REFERENCE}{name}": f"{REFERENCE}{name}" for name in found.references}
    place = {name: number for number, name in enumerate((GLOBAL, EDGES, INTERIOR))}
    ordered = rows.assign(place=rows["region"].map(place)).sort_values("place", kind="stable")
    return ordered[["region", "variable", "lead", *names]].rename(columns=names)


def differences(
    rows: dict[str, pd.DataFrame], table: pd.DataFrame, keys: Sequence[str]
) -> list[str]:
    """What some experiments have and the common table has not, in words.

    Args:
        rows: As in `side_by_side`.
        table: What that returned.
        keys: As there.
    """
    words = []
    for key in keys:
        common = set(table[key].dropna())
        for label, part in rows.items():
            alone = [value for value in part[key].dropna().unique() if value not in common]
            if alone:
                words.append(f"{key} {_values(alone)} of {label} left out")
    for label, part in rows.items():
        if len(part) > len(table) and not any(word.endswith(f"{label} left out") for word in words):
            words.append(f"{len(part) - len(table)} of {len(part)} rows of {label} left out")
    return words


def _values(alone: list[object]) -> str:
    if all(isinstance(value, int | np.integer) for value in alone):
        return ranges(sorted(int(str(value)) for value in alone))
    named = [f"{value:g}" if isinstance(value, float) else str(value) for value in alone]
    return ", ".join(named)


def _model_rows(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["system"] == MODEL].drop(columns="system")


def _overlap(table: pd.DataFrame, first: str, other: str) -> np.ndarray:
    a, b, c, d = (
        table[f"{end}_{label}"].to_numpy(dtype=float)  # a family without rows has no type
        for label in (first, other)
        for end in ("low", "high")
    )
    words = np.where((a <= d) & (c <= b), "yes", "no").astype(object)
    words[~np.isfinite(np.stack([a, b, c, d])).all(axis=0)] = ""
    return words


def _start_counts_differ(table: pd.DataFrame, labels: Sequence[str]) -> int:
    """Number of rows whose values come from different numbers of start dates."""
    counts = table[[f"n_starts_{label}" for label in labels]].to_numpy()
    return int((counts != counts[:, :1]).any(axis=1).sum())
