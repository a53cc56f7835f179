"""Averages of scores over start dates, with intervals and with the skill over each baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hybridom.config.output import BootstrapConfig
from hybridom.errors import UserError
from hybridom.evaluation.bootstrap import Means, interval, resamples
from hybridom.evaluation.edge_ratio import edge_ratios
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
        of the metric `family.skill`, their intervals from the same samples of both; so are rows
        `edge_ratio` (`edge_ratio.edge_ratios`). Metrics that are made of all values along the key
        `family.along` have NaN there. Rows without a defined value are left out.

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

    parts = _blocks(family, rows, values, (metrics, systems), settings)
    if family.along is not None:
        coordinate = rows[family.along].unique()
        parts += _blocks(family, rows, values, (metrics, systems), settings, coordinate)
    by_metric = {name: values[:, m] for m, name in enumerate(metrics)}
    parts += edge_ratios(family, rows, by_metric, systems, settings)
    columns = [*KEYS, *family.keys, "value", "low", "high", "n_starts"]
    if not parts:
        return pd.DataFrame(columns=columns)
    table = pd.concat(parts, ignore_index=True).dropna(subset="value", ignore_index=True)
    for column in ("region", "variable", "system", "metric"):
        table[column] = table[column].astype("category")
    return table[columns]


def _blocks(
    family: Family,
    rows: pd.DataFrame,
    values: np.ndarray,
    names: tuple[list[str], list[str]],
    settings: BootstrapConfig,
    coordinate: np.ndarray | None = None,
) -> list[pd.DataFrame]:
    """Final rows, block by block.

    Args:
        family: The family.
        rows: Keys of the rows.
        values: (starts, metrics, rows, systems).
        names: Of the metrics and of the systems.
        settings: Of the bootstrap.
        coordinate: Values of the key `family.along`, to make one row of all along it, which has
            NaN in their place.
    """
    metrics, systems = names
    size = 1 if coordinate is None else len(coordinate)
    parts = []
    step = max(BLOCK // max(size, 1), 1) * size
    for begin in range(0, len(rows), step or 1):
        held = values[:, :, begin : begin + step]
        block = {name: held[:, m] for m, name in enumerate(metrics)}
        found = estimates(family, block, systems, settings, coordinate)
        defined = np.isfinite(held).any(axis=1)
        count = defined.reshape(len(defined), -1, size, len(systems)).any(axis=2).sum(axis=0)
        keys = rows[begin : begin + step : size]
        if coordinate is not None:
            keys = keys.assign(**{str(family.along): np.nan})
        parts += [
            keys.assign(
                **{"system": systems[s], "metric": metric, "value": x[0][:, s]},
                **{"low": x[1][:, s], "high": x[2][:, s], "n_starts": count[:, s]},
            )
            for metric, x in found.items()
            for s in range(len(systems))
        ]
    return parts


def estimates(
    family: Family,
    values: Mapping[str, np.ndarray],
    systems: Sequence[str],
    settings: BootstrapConfig,
    coordinate: np.ndarray | None = None,
) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Final metrics of some rows, and the ends of their intervals.

    Args:
        family: The family.
        values: Metric -> (starts, rows, systems), NaN where undefined.
        systems: Names of the systems.
        settings: Of the bootstrap.
        coordinate: Values of the key `family.along` (n,), for the metrics that are made of all
            values along it.

    Returns:
        Final metric -> value, low and high, each (rows, systems), or (rows / n, systems) where
        `coordinate` is given.
    """
    starts = len(next(iter(values.values())))
    flat = {name: x.reshape(starts, -1) for name, x in values.items()}
    shape = next(iter(values.values())).shape[1:]

    def finished(weights: np.ndarray) -> dict[str, np.ndarray]:
        means = Means(flat, weights)
        if coordinate is not None:
            along = (-1, shape[0] // len(coordinate), len(coordinate), shape[1])
            by_name = {name: x.reshape(along) for name, x in means.items()}
            return family.finish_along(by_name, coordinate)
        found = {name: x.reshape(-1, *shape) for name, x in family.finish(means).items()}
        return found | _skill(family, found, systems)

    point = {name: x[0] for name, x in finished(np.ones((1, starts))).items()}
    if starts == 1:
        return {name: (x, *(np.full_like(x, np.nan),) * 2) for name, x in point.items()}
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
