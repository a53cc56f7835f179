"""Errors in the band along open edges over those of the interior (`evaluation.edges`).

A region's forecast that keeps what its driver brings, and lets out what leaves, is hardly worse
near its edges than inside. What the ocean itself does there enters too, so that the ratio of a
baseline belongs beside that of the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from hybridom.config.output import BootstrapConfig
from hybridom.evaluation.bootstrap import Means, interval, resamples
from hybridom.evaluation.families import Family
from hybridom.evaluation.regions import EDGES, INTERIOR

EDGE_RATIO = "edge_ratio"
LIMIT = 1.2  # of the ratio, up to which the band counts as about as good as the interior
BLOCK = 1024  # rows averaged together, which bounds the memory of the samples


def edge_ratios(
    family: Family,
    rows: pd.DataFrame,
    values: Mapping[str, np.ndarray],
    systems: Sequence[str],
    settings: BootstrapConfig,
) -> list[pd.DataFrame]:
    """Rows of the metric `edge_ratio`, one a row of region `edges` and system.

    The ratio is that of the metric `family.skill` after averaging over start dates; its interval
    comes from the same samples of both regions.

    Args:
        family: The family.
        rows: Keys of the rows, region among them.
        values: Metric -> (starts, rows, systems), NaN where undefined.
        systems: Names of the systems.
        settings: Of the bootstrap.

    Returns:
        Tables with the keys, system, metric, value, low, high and n_starts; none where the regions
        or the metric are not there.
    """
    if family.skill is None or not {EDGES, INTERIOR} <= set(rows["region"]):
        return []
    keys = [name for name in rows if name != "region"]
    numbered = rows.assign(row=np.arange(len(rows)))
    band, inner = (numbered[rows["region"] == region] for region in (EDGES, INTERIOR))
    pairs = band[[*keys, "row"]].merge(inner[[*keys, "row"]], on=keys, suffixes=("", "_inner"))
    parts = []
    for first in range(0, len(pairs), BLOCK):
        chosen = pairs.iloc[first : first + BLOCK]
        at, opposite = chosen["row"].to_numpy(), chosen["row_inner"].to_numpy()
        both = {name: np.stack([x[:, at], x[:, opposite]], axis=1) for name, x in values.items()}
        value, low, high = _ratio(family, both, settings)
        defined = np.logical_or.reduce([np.isfinite(x).all(axis=1) for x in both.values()])
        parts += [
            rows.iloc[at].assign(
                **{"system": system, "metric": EDGE_RATIO, "value": value[:, s]},
                **{"low": low[:, s], "high": high[:, s], "n_starts": defined.sum(axis=0)[:, s]},
            )
            for s, system in enumerate(systems)
        ]
    return parts


def _ratio(
    family: Family, both: Mapping[str, np.ndarray], settings: BootstrapConfig
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ratio and the ends of its interval (rows, systems).

    Args:
        family: The family.
        both: Metric -> (starts, 2, rows, systems), the band before the interior.
        settings: Of the bootstrap.
    """
    shape = next(iter(both.values())).shape
    flat = {name: x.reshape(shape[0], -1) for name, x in both.items()}

    def ratio(weights: np.ndarray) -> np.ndarray:
        errors = family.finish(Means(flat, weights))[str(family.skill)].reshape(-1, *shape[1:])
        return errors[:, 0] / np.where(errors[:, 1] > 0, errors[:, 1], np.nan)

    point = ratio(np.ones((1, shape[0])))[0]
    if shape[0] == 1:
        nothing = np.full_like(point, np.nan)
        return point, nothing, nothing
    return (point, *interval(ratio(resamples(shape[0], settings)), settings.level))
