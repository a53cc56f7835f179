"""Metrics of one forecast field against the truth, weighted by area.

Every metric is a function of `Moments`: sums over cells, each multiplied by a weight. Moments add,
so that a field may be scored block by block, and levels may be pooled afterwards. Signs and names
follow WMO-No. 485, appendix 2.2.34: an error is forecast minus truth; anomalies are departures
from the climatology of the valid day.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import xarray as xr

# numpy.ndarray, dask.array.Array or xarray.DataArray; a result is of the kind that went in.
Array = Any

# Below this share of the mean square a variance is round-off of its own computation.
ROUND_OFF = 1e-12


@dataclass(frozen=True)
class Moments:
    """Weighted sums over cells; all attributes have the same shape.

    Attributes:
        weight: Sum of the weights w.
        error: Sum of w e, with e = forecast - truth (units of the field).
        error_absolute: Sum of w |e|.
        error_squared: Sum of w e^2.
        forecast: Sum of w f', with f' = forecast - climatology.
        truth: Sum of w t', with t' = truth - climatology.
        forecast_squared: Sum of w f'^2.
        truth_squared: Sum of w t'^2.
        product: Sum of w f' t'.
    """

    weight: Array
    error: Array
    error_absolute: Array
    error_squared: Array
    forecast: Array
    truth: Array
    forecast_squared: Array
    truth_squared: Array
    product: Array

    def map(self, function: Callable[[Array], Array]) -> Moments:
        """Apply `function` to every sum."""
        return Moments(*(function(getattr(self, field.name)) for field in fields(self)))

    def __add__(self, other: Moments) -> Moments:
        """Moments of the two sets of cells together."""
        names = [field.name for field in fields(self)]
        return Moments(*(getattr(self, name) + getattr(other, name) for name in names))

    def pool_levels(self, thickness: np.ndarray) -> Moments:
        """Moments of all levels together, weighted by volume.

        Args:
            thickness: Layer thickness (nz,) in m; the last axis of the sums is the level.
        """
        return self.map(lambda total: (total * thickness).sum(axis=-1))


def moments(forecast: Array, truth: Array, climatology: Array, weights: Array) -> Moments:
    """Weighted sums over the two horizontal axes.

    Args:
        forecast: (..., lat, lon), numpy, dask or xarray (dimensions `latitude`, `longitude`).
        truth: The same field of the verifying analysis.
        climatology: The climatology of the valid day.
        weights: (..., lat, lon), cell area where a cell counts and 0 elsewhere; it may have axes
            in front of those of the fields (regions). Where all weights of a cell are 0 the
            fields may hold anything, NaN included; a NaN in a cell that counts gives NaN.

    Returns:
        Moments over the broadcast leading axes, in float64.
    """
    if isinstance(forecast, xr.DataArray):
        horizontal = ["latitude", "longitude"]
        sums = xr.apply_ufunc(
            _sums,
            *(forecast, truth, climatology, weights),
            input_core_dims=[horizontal] * 4,
            output_core_dims=[[]] * len(fields(Moments)),
            dask="allowed",
        )
        return Moments(*sums)
    return Moments(*_sums(forecast, truth, climatology, weights))


def _sums(forecast: Array, truth: Array, climatology: Array, weights: Array) -> tuple[Array, ...]:
    """The sums of `Moments` in the order of its attributes."""
    counts = weights > 0
    in_front = weights.ndim - forecast.ndim
    if in_front > 0:
        counts = counts.any(axis=tuple(range(in_front)))
    fields_64 = (array.astype(np.float64) for array in (forecast, truth, climatology))
    f, t, clim = (np.where(counts, array, 0.0) for array in fields_64)
    f, t = f - clim, t - clim
    error = f - t
    terms = (error, np.abs(error), error * error, f, t, f * f, t * t, f * t)
    sums = [np.einsum("...yx,...yx->...", weights, term) for term in terms]
    weight = np.broadcast_to(weights.sum(axis=(-2, -1)), sums[0].shape)
    return (weight, *sums)


def _ratio(numerator: Array, denominator: Array) -> Array:
    """The quotient, and NaN where the denominator is not positive."""
    defined = denominator > 0
    return _where(defined, numerator / _where(defined, denominator, 1.0), np.nan)


def _variance(total: Array, total_squared: Array, weight: Array) -> Array:
    """Weighted variance from a sum and a sum of squares; 0 where it is only round-off."""
    mean_square = _ratio(total_squared, weight)
    variance = mean_square - _ratio(total, weight) ** 2
    return _where(variance > ROUND_OFF * mean_square, variance, 0.0 * variance)


def _where(condition: Array, values: Array, others: Array) -> Array:
    """`numpy.where` for any kind of array."""
    # For small arrays xarray's takes ten times as long.
    where = np.where if isinstance(condition, np.ndarray) else xr.where
    return where(condition, values, others)


def bias(m: Moments) -> Array:
    """Mean error, forecast minus truth, in units of the field."""
    return _ratio(m.error, m.weight)


def mae(m: Moments) -> Array:
    """Mean absolute error, in units of the field."""
    return _ratio(m.error_absolute, m.weight)


def rmse(m: Moments) -> Array:
    """Root mean square error of one forecast, in units of the field."""
    return np.sqrt(_ratio(m.error_squared, m.weight))


def acc_uncentred(m: Moments) -> Array:
    """Anomaly correlation without removal of the mean anomaly (WMO-No. 485), in [-1, 1].

    NaN where either anomaly is zero everywhere, as that of the climatology is.
    """
    return _ratio(m.product, np.sqrt(m.forecast_squared * m.truth_squared))


def acc_centred(m: Moments) -> Array:
    """Anomaly correlation with the weighted mean anomalies removed (WMO-No. 485), in [-1, 1].

    NaN where either anomaly is the same everywhere.
    """
    covariance = _ratio(m.product, m.weight) - _ratio(m.forecast * m.truth, m.weight**2)
    variances = _variance(m.forecast, m.forecast_squared, m.weight) * _variance(
        m.truth, m.truth_squared, m.weight
    )
    return _ratio(covariance, np.sqrt(variances))


def activity(m: Moments) -> Array:
    """Variance of the forecast's anomalies over that of the truth's: below 1 it is too smooth.

    The variance is that over cells about the weighted mean anomaly; NaN where the truth's is 0.
    """
    return _ratio(
        _variance(m.forecast, m.forecast_squared, m.weight),
        _variance(m.truth, m.truth_squared, m.weight),
    )


METRICS: dict[str, Callable[[Moments], Array]] = {
    "rmse": rmse,
    "bias": bias,
    "mae": mae,
    "acc_centred": acc_centred,
    "acc_uncentred": acc_uncentred,
    "activity": activity,
}
