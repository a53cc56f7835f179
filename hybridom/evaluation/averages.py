"""Averages of scores over start dates, with intervals and with the skill over each baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hybridom.config.output import BootstrapConfig
from hybridom.errors import UserError
from hybridom.evaluation.bootstrap import Means, interval, resamples
from hybridom.evaluation.families import KEYS, Family
from hybridom.evaluation.systems import MODEL

BLOCK = 2048  # rows averaged together, which bounds the memory of the samples
COMMAND = "hybridom evaluate start"


def average(family: Family, paths: Sequence[Path], settings: BootstrapConfig) -> pd.DataFrame:
    """Mean scores of one family over start dates.

    Args:
        family: The family.
        paths: Tables of the starts, by ascending date.
        settings: Of the bootstrap.

    Returns:
        Columns `KEYS`, the family's own keys, value, low, high and n_starts. `low` and `high` are
        the ends of the interval at `settings.level`, NaN for one start; `n_starts` counts the
        starts that have a value. Rows `skill_<baseline>`, of the model, are 1 - model / baseline
        of the metric `family.skill`, their intervals from the same samples of both. Rows without
        a defined value are left out.

    Raises:
        UserError: A table is missing, or has other rows than the first.
    """
    first = read_start(paths[0])
    keys = [name for name in (*KEYS, *family.keys) if name not in ("metric", "system")]
    rows = first[keys].drop_duplicates(ignore_index=True)
    systems, metrics = (list(first[name].unique()) for name in ("system", "metric"))
    place = _places(first, keys, systems, metrics)
    values = np.full((len(paths), len(metrics), len(rows), len(systems)), np.nan)
    for held, path in zip(values, paths, strict=True):
        table = first if path == paths[0] else _same_rows(path, first, paths[0], keys)
        held[place] = table["value"].to_numpy()

    parts = []
    for begin in range(0, len(rows), BLOCK):
        span = slice(begin, begin + BLOCK)
        block = {name: values[:, m, span] for m, name in enumerate(metrics)}
        found = estimates(family, block, systems, settings)
        count = np.isfinite(values[:, :, span]).any(axis=1).sum(axis=0)
        parts += [
            rows[span].assign(
                **{"system": systems[s], "metric": metric, "value": x[0][:, s]},
                **{"low": x[1][:, s], "high": x[2][:, s], "n_starts": count[:, s]},
            )
            for metric, x in found.items()
            for s in range(len(systems))
        ]
    columns = [*KEYS, *family.keys, "value", "low", "high", "n_starts"]
    if not parts:
        return pd.DataFrame(columns=columns)
    table = pd.concat(parts, ignore_index=True).dropna(subset="value", ignore_index=True)
    for column in ("region", "variable", "system", "metric"):
        table[column] = table[column].astype("category")
    return table[columns]


def estimates(
    family: Family,
    values: Mapping[str, np.ndarray],
    systems: Sequence[str],
    settings: BootstrapConfig,
) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Final metrics of some rows, and the ends of their intervals.

    Args:
        family: The family.
        values: Metric -> (starts, rows, systems), NaN where undefined.
        systems: Names of the systems.
        settings: Of the bootstrap.

    Returns:
        Final metric -> value, low and high, each (rows, systems).
    """
    starts = len(next(iter(values.values())))
    flat = {name: x.reshape(starts, -1) for name, x in values.items()}
    shape = next(iter(values.values())).shape[1:]

    def finished(weights: np.ndarray) -> dict[str, np.ndarray]:
        found = {
            name: x.reshape(-1, *shape) for name, x in family.finish(Means(flat, weights)).items()
        }
        return found | _skill(family, found, systems)

    point = {name: x[0] for name, x in finished(np.ones((1, starts))).items()}
    nothing = np.full(shape, np.nan)
    if starts == 1:
        return {name: (x, nothing, nothing) for name, x in point.items()}
    samples = finished(resamples(starts, settings))
    ends = {name: interval(x, settings.level) for name, x in samples.items()}
    return {name: (x, *ends[name]) for name, x in point.items()}


def _skill(
    family: Family, found: Mapping[str, np.ndarray], systems: Sequence[str]
) -> dict[str, np.ndarray]:
    """1 - model / baseline of the family's metric, in the place of the model."""
    if family.skill is None or MODEL not in systems:
        return {}
    errors = found[family.skill]
    model = systems.index(MODEL)
    skill = {}
    for number, name in enumerate(systems):
        if number == model:
            continue
        baseline = errors[..., number]
        ratio = errors[..., model] / np.where(baseline > 0, baseline, np.nan)
        values = np.full_like(errors, np.nan)
        values[..., model] = 1.0 - ratio
        skill[f"skill_{name}"] = values
    return skill


def read_start(path: Path) -> pd.DataFrame:
    """The table of one start.

    Raises:
        UserError: It is missing.
    """
    if not path.is_file():
        raise UserError(f"{path}: the scores are missing; run `{COMMAND} --start {path.stem}`")
    return pd.read_parquet(path)


def _same_rows(path: Path, first: pd.DataFrame, like: Path, keys: list[str]) -> pd.DataFrame:
    """The table of a further start."""
    table, columns = read_start(path), [*keys, "system", "metric"]
    if not set(columns) <= set(table) or not table[columns].equals(first[columns]):
        raise UserError(
            f"{path}: its rows differ from those of {like} (other leads, regions, levels or "
            f"systems); run `{COMMAND}` for all"
        )
    return table


def _places(
    table: pd.DataFrame, keys: list[str], systems: list[str], metrics: list[str]
) -> tuple[np.ndarray, ...]:
    """Where each row of a table lies on the axes metric, row and system."""
    number = table.groupby(keys, sort=False, dropna=False, observed=True).ngroup().to_numpy()
    metric, system = (
        pd.Categorical(table[name], categories=names).codes
        for name, names in (("metric", metrics), ("system", systems))
    )
    return metric, number, system
