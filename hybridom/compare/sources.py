"""Tables of scores of several experiments, and whether they may be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hybridom.errors import UserError
from hybridom.evaluation.families import FAMILIES, KEYS, SCORES

COLUMNS = {*KEYS, "value", "low", "high", "n_starts"}
# Baselines that depend on nothing but truth, grid and start dates (and the climatology).
WITNESSES = ("persistence", "climatology")
ERROR = "rmse_mean"
TOLERANCE = 1e-4  # relative; the scores of the same fields agree to single precision


@dataclass(frozen=True)
class Experiment:
    """Tables of one experiment.

    Attributes:
        label: Its name in tables, legends and messages.
        folder: Folder of the tables.
        tables: Family -> averaged scores; `scores` first.
        starts: Start dates (YYYY-MM-DD) of the tables by start, ascending; empty where these were
            deleted or are of another number than the averages.
    """

    label: str
    folder: Path
    tables: dict[str, pd.DataFrame]
    starts: tuple[str, ...]


def open_experiments(
    names: Sequence[str], labels: Sequence[str] | None, results: Path
) -> list[Experiment]:
    """Read the tables of experiments.

    Args:
        names: Folders of tables, or names of experiments, folders in `results`.
        labels: A label each, or None for the names.
        results: Folder of experiments.

    Raises:
        UserError: Fewer than two are named, labels are missing or alike, or a table is missing or
            has other columns than those of `hybridom evaluate aggregate`.
    """
    if len(names) < 2:
        raise UserError("hybridom compare: name two experiments at least")
    if labels is not None and len(labels) != len(names):
        raise UserError(
            f"--labels: {len(labels)} labels for {len(names)} experiments; give one each, "
            "separated by commas"
        )
    folders = [scores_folder(name, results) for name in names]
    chosen = list(labels) if labels is not None else [own_label(folder) for folder in folders]
    twice = [label for label in chosen if chosen.count(label) > 1]
    if twice:
        raise UserError(f"{twice[0]!r} names two experiments; tell them apart with --labels")
    return [open_experiment(label, folder) for label, folder in zip(chosen, folders, strict=True)]


def scores_folder(name: str, results: Path) -> Path:
    """The folder of the tables of an experiment that is named or itself a folder.

    Raises:
        UserError: There is none.
    """
    places = [results / name / "scores", Path(name), Path(name) / "scores"]
    for place in places:
        if (place / f"{SCORES}.parquet").is_file():
            return place
    raise UserError(
        f"{name}: no {SCORES}.parquet in {', '.join(str(place) for place in places)}; name an "
        "experiment or a folder of tables, and run `hybridom evaluate aggregate` for it"
    )


def own_label(folder: Path) -> str:
    """Name of a folder of tables: its own, or that of the experiment that it lies in."""
    whole = folder.resolve()
    return whole.parent.name if whole.name == "scores" else whole.name


def open_experiment(label: str, folder: Path) -> Experiment:
    """Read the tables of one experiment.

    Raises:
        UserError: A table lacks columns.
    """
    tables = {}
    for family in FAMILIES:
        path = folder / f"{family}.parquet"
        if not path.is_file():
            continue
        table = pd.read_parquet(path)
        lacking = {*COLUMNS, *FAMILIES[family].keys} - set(table)
        if lacking:
            raise UserError(
                f"{path}: column {min(lacking)} is missing; run `hybridom evaluate aggregate` again"
            )
        words = {name: str for name in ("region", "variable", "system", "metric")}
        tables[family] = table.astype(words)
    starts = tuple(sorted(path.stem for path in (folder / SCORES).glob("*.parquet")))
    if len(starts) != tables[SCORES]["n_starts"].max():
        starts = ()
    return Experiment(label, folder, tables, starts)


def require_comparable(experiments: Sequence[Experiment]) -> list[str]:
    """Refuse experiments whose scores mean different things.

    Start dates are those of the tables by start. Truth and grid are the same where a baseline that
    all were scored beside has the same errors: those of persistence depend on nothing but truth,
    grid and start dates, those of the climatology on it besides.

    Args:
        experiments: The first is what the others are held against.

    Returns:
        Sentences on what could not be checked.

    Raises:
        UserError: Start dates, or the errors of every common baseline, differ.
    """
    notes = []
    first = experiments[0]
    for other in experiments[1:]:
        if first.starts and other.starts:
            _require_same_starts(first, other)
        else:
            unknown = other if first.starts else first
            notes.append(
                f"start dates of {unknown.label} are not known: {unknown.folder / SCORES} does not "
                "hold a table for each of them"
            )
        notes += _require_same_truth(first, other)
    return list(dict.fromkeys(notes))


def _require_same_starts(first: Experiment, other: Experiment) -> None:
    if first.starts == other.starts:
        return
    alone = sorted(set(first.starts) ^ set(other.starts))
    owner = first if alone[0] in first.starts else other
    raise UserError(
        f"{other.label}: {len(other.starts)} start dates, {first.label} has {len(first.starts)}, "
        f"and {alone[0]} is one of {owner.label} alone; compare forecasts from the same start dates"
    )


def _require_same_truth(first: Experiment, other: Experiment) -> list[str]:
    """Sentences on what could not be checked; see `require_comparable`."""
    found = {system: error_apart(system, first, other) for system in WITNESSES}
    apart = {system: x for system, x in found.items() if x is not None}
    if not apart:
        return [
            f"whether {first.label} and {other.label} have the same truth and grid is not known: "
            f"no common scores of {' or '.join(WITNESSES)}"
        ]
    if min(apart.values()) > TOLERANCE:
        name = min(apart, key=lambda system: apart[system])
        raise UserError(
            f"{other.label}: {ERROR} of {name} differs from that of {first.label} by up to "
            f"{100 * apart[name]:.2g} %, expected the same; the truth, the grid, the mask or the "
            "start dates differ, compare forecasts that were scored against the same"
        )
    return []


def error_apart(system: str, first: Experiment, other: Experiment) -> float | None:
    """Largest relative difference of the errors of a system that both were scored beside.

    Args:
        system: Its name.
        first: An experiment.
        other: Another one.

    Returns:
        The difference over the error in `first`; None where they have no row in common.
    """
    keys = [name for name in KEYS if name not in ("system", "metric")]
    errors = [
        table[(table["system"] == system) & (table["metric"] == ERROR)][[*keys, "value"]]
        for table in (first.tables[SCORES], other.tables[SCORES])
    ]
    both = errors[0].merge(errors[1], on=keys, suffixes=("", "_other"))
    if both.empty:
        return None
    scale = both["value"].abs().clip(lower=np.finfo(np.float32).tiny)
    return float(((both["value_other"] - both["value"]).abs() / scale).max())
