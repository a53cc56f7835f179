"""Moments of several forecasts of one field in all regions, by the compiled loops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from hybridom.evaluation.kernels import OF_SYSTEM, OF_TRUTH, add_levels
from hybridom.evaluation.regions import Regions
from hybridom.evaluation.systems import Scaled

LEVELS = 4  # summed by one task
NORMAL = 1  # place of the climatology, which follows the truth


class FieldSums:
    """Sums over the cells of every region for one field of one day.

    Args:
        forecasts: A system each: its field (nz or 1, ny, nx); or its anomaly where that is known
            without the field, None being 0 everywhere (`systems.Anomalies`).
        truth: The verifying field.
        climatology: The climatology of the valid day.
        regions: Where scores are taken.
    """

    def __init__(
        self,
        forecasts: Sequence[np.ndarray | Scaled | None],
        truth: np.ndarray,
        climatology: np.ndarray,
        regions: Regions,
    ) -> None:
        self._regions, self._levels = regions, len(truth)
        self._known = [forecast is not None for forecast in forecasts]
        arrays, values, reference, factor = [truth, climatology], [], [], []
        nothing = np.zeros(truth.shape[-1], np.float32)
        for forecast in forecasts:
            if forecast is None:
                continue
            if isinstance(forecast, Scaled):
                values.append(_place(arrays, forecast.values))
                taken = nothing if forecast.reference is None else forecast.reference
                reference.append(_place(arrays, taken))
                factor.append(forecast.factor)
            else:
                values.append(_place(arrays, forecast))
                reference.append(NORMAL)
                factor.append(np.ones(self._levels))
        precision = np.result_type(*arrays)
        self._arrays = tuple(np.ascontiguousarray(x, precision).reshape(-1) for x in arrays)
        self._values, self._reference = np.array(values, np.int64), np.array(reference, np.int64)
        self._factor = np.array(factor, np.float64).reshape(-1, self._levels)
        labels, sums = regions.members.shape[1], OF_TRUTH + OF_SYSTEM * len(values)
        self._sums = np.zeros((self._levels, labels, sums))

    def tasks(self) -> list[Callable[[], None]]:
        """What there is to do, in any order and by any thread."""
        regions = self._regions
        nx = regions.wet.shape[-1]
        given = (self._arrays, nx, self._values, self._reference, self._factor)
        cells = (regions.band, regions.runs)
        return [
            partial(add_levels, *given, *cells, (k, min(k + LEVELS, self._levels)), self._sums)
            for k in range(0, self._levels, LEVELS)
        ]

    @property
    def finite(self) -> bool:
        """Whether, once all tasks are done, every wet cell turned out to have a finite value."""
        return bool(np.isfinite(self._sums).all())

    def moments(self) -> np.ndarray:
        """The sums of `Moments` (9, systems, regions, levels), once all tasks are done."""
        by_region = np.einsum("rl,zlq->qrz", self._regions.members, self._sums)
        truth, truth_absolute, truth_squared = by_region[:OF_TRUTH]
        weight, zero = self._regions.total[:, : self._levels], np.zeros_like(truth)
        computed = iter(np.split(by_region[OF_TRUTH:], max(1, len(self._values))))
        parts = []
        for known in self._known:
            if known:
                error, absolute, squared, forecast, forecast_squared, product = next(computed)
            else:
                error, absolute, squared = -truth, truth_absolute, truth_squared
                forecast = forecast_squared = product = zero
            first = (weight, error, absolute, squared, forecast, truth)
            parts.append(np.stack([*first, forecast_squared, truth_squared, product]))
        return np.stack(parts, axis=1)


def _place(arrays: list[np.ndarray], wanted: np.ndarray) -> int:
    """Where an array is in the list, to which it is added if need be."""
    for place, array in enumerate(arrays):
        if array is wanted:
            return place
    arrays.append(wanted)
    return len(arrays) - 1
