"""Resampling of start dates in moving blocks.

Scores of neighbouring start dates are alike, so single dates drawn at random would make intervals
too narrow. Blocks of consecutive dates keep that dependence (Kunsch 1989, Ann. Statist. 17, 1217;
Wilks 2019, Statistical Methods in the Atmospheric Sciences, 5.3.5).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hybridom.config.output import BootstrapConfig


def block_length(starts: int, block: int | None) -> int:
    """Start dates in a block: as given, else the cube root of their number; at most half."""
    wanted = round(starts ** (1 / 3)) if block is None else block
    return max(1, min(wanted, starts // 2))


def resamples(starts: int, settings: BootstrapConfig) -> np.ndarray:
    """How often each start date is drawn in each sample.

    Blocks begin anywhere that leaves room for them; the last one of a sample is cut, so that
    every sample holds as many dates as there are.

    Args:
        starts: Number of start dates, ascending in time.
        settings: samples, block, seed.

    Returns:
        float64 (samples, starts), rows summing to `starts`.
    """
    length = block_length(starts, settings.block)
    blocks = -(-starts // length)
    rng = np.random.default_rng(settings.seed)
    first = rng.integers(0, starts - length + 1, (settings.samples, blocks))
    drawn = (first[:, :, None] + np.arange(length)).reshape(settings.samples, -1)[:, :starts]
    counts = np.zeros((settings.samples, starts))
    np.add.at(counts, (np.arange(settings.samples)[:, None], drawn), 1.0)
    return counts


class Means(Mapping[str, np.ndarray]):
    """Weighted means over start dates by metric; dates without a value are left out.

    Args:
        values: Metric -> (starts, rows), NaN where undefined.
        weights: (samples, starts).
    """

    def __init__(self, values: Mapping[str, np.ndarray], weights: np.ndarray) -> None:
        self._values, self._weights = values, weights

    def __getitem__(self, metric: str) -> np.ndarray:
        """Mean (samples, rows); NaN where no drawn date has a value."""
        return self._mean(self._values[metric])

    def square(self, metric: str) -> np.ndarray:
        """Mean of the squares (samples, rows)."""
        return self._mean(self._values[metric] ** 2)

    def __iter__(self):
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def _mean(self, values: np.ndarray) -> np.ndarray:
        defined = np.isfinite(values)
        weight = self._weights @ defined.astype(np.float64)
        total = self._weights @ np.where(defined, values, 0.0)
        return np.where(weight > 0, total / np.where(weight > 0, weight, 1.0), np.nan)


def interval(samples: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the interval that holds the share `level` of the samples, the same on either side.

    Percentiles interpolate linearly between samples. Samples that are NaN are left out.

    Args:
        samples: (samples, ...).
        level: Between 0 and 1.

    Returns:
        Low and high (...), NaN where all samples are.
    """
    tail = 0.5 * (1.0 - level)
    # Sorting neighbours in memory is three times as fast.
    ordered = np.sort(np.ascontiguousarray(np.moveaxis(samples, 0, -1)), axis=-1)  # NaN last
    last = np.maximum(np.isfinite(ordered).sum(axis=-1) - 1, 0)
    ends = []
    for share in (tail, 1.0 - tail):
        place = share * last
        below = np.floor(place).astype(np.intp)
        above = np.minimum(below + 1, last)
        low, high = (
            np.take_along_axis(ordered, at[..., None], axis=-1)[..., 0] for at in (below, above)
        )
        ends.append(low + (place - below) * (high - low))
    return ends[0], ends[1]
