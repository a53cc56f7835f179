"""Zonal spectra by wavelength, and the wavelength down to which a forecast has enough power.

Effective resolution is where the power of the forecast falls to half of the truth's: no estimate
of noise enters, unlike in the altimetry that the term comes from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hybridom.evaluation.bootstrap import Means
from hybridom.evaluation.case import Case, Day
from hybridom.evaluation.segments import Bins, Stretches
from hybridom.variables import VARIABLES

TRUTH = "truth"
KINETIC_ENERGY = "ke"
SPECTRAL = ("thetao", "so", "zos")
CURRENTS = ("uo", "vo")
THRESHOLD = 0.5  # part of the truth's power at the effective resolution


@dataclass(frozen=True)
class Level:
    """The stretches of one level, and what they count for.

    Attributes:
        stretches: Those without land.
        weights: Of stretches in regions (nr, n), km.
        covered: What they cover of each bin in each region (nr, nb), cycles.
    """

    stretches: Stretches
    weights: np.ndarray
    covered: np.ndarray

    @classmethod
    def of(cls, case: Case, bins: Bins, index: int) -> Level:
        """A level of a case."""
        stretches = Stretches.of(case.wet[index], bins, case.grid.periodic)
        weights = stretches.weights(case.regions.inside)
        return cls(stretches, weights, _sums(weights, stretches.covered))

    def density(self, field: np.ndarray) -> np.ndarray:
        """Mean power spectral density (nr, nb) of a field (ny, nx), units^2 km.

        Over the stretches of a region that cover a bin, weighted by their length and by what they
        cover; NaN where none does.
        """
        total = _sums(self.weights, self.stretches.variance(field))
        defined = self.covered > 0
        return np.where(defined, total / np.where(defined, self.covered, 1.0), np.nan)


class Spectra:
    """Zonal spectra of one forecast and of its truth.

    Args:
        case: The forecast.
        settings: The `EvaluationConfig`.

    Raises:
        UserError: The columns of the grid are not evenly spaced.
    """

    def __init__(self, case: Case, settings: Any) -> None:
        self._case = case
        self._names = (TRUTH, *case.systems)
        self._found: list[list[np.ndarray]] = []
        self._bins = Bins.of(case.grid, settings.spectra.segment)
        if not self._bins.usable:
            self._pairs: list[tuple[str, int | None]] = []
            return
        depths = settings.spectra.depths
        nearest = {int(np.abs(case.grid.depth - depth).argmin()) for depth in depths}
        self._pairs = _pairs(case.names, sorted(nearest))
        self._levels = {
            index: Level.of(case, self._bins, index)
            for index in {level or 0 for _, level in self._pairs}
        }

    def add(self, day: Day) -> None:
        """Take in a day."""
        self._found.append([self._densities(day, *pair) for pair in self._pairs])

    def table(self) -> pd.DataFrame:
        """A row a lead, region, variable, level, system, metric and wavelength.

        `psd` is the power spectral density of a system or of the truth; `psd_truth` is the latter
        once more, beside each system.
        """
        case, wavelength = self._case, self._bins.wavelength
        tables = []
        for number, (name, level) in enumerate(self._pairs):
            axes = {
                "lead": range(1, len(self._found) + 1),
                "metric": ("psd", "psd_truth"),
                "system": self._names,
                "region": case.regions.names,
                "wavelength": wavelength,
            }
            psd = np.stack([found[number] for found in self._found])
            beside = np.repeat(psd[:, :1], len(self._names), axis=1)
            beside[:, 0] = np.nan
            table = pd.MultiIndex.from_product(axes.values(), names=axes.keys())
            depth = np.nan if level is None else float(case.grid.depth[level])
            values = np.stack([psd, beside], axis=1).ravel()
            tables.append(
                table.to_frame(index=False).assign(variable=name, depth=depth, value=values)
            )
        columns = ["lead", "region", "variable", "depth", "system", "metric", "wavelength", "value"]
        if not tables:
            return pd.DataFrame({name: [] for name in columns})
        return pd.concat(tables, ignore_index=True)[columns]

    def _densities(self, day: Day, name: str, level: int | None) -> np.ndarray:
        """Power spectral densities (systems, regions, wavelengths), the truth's first."""
        index = level or 0
        parts = CURRENTS if name == KINETIC_ENERGY else (name,)
        factor = 0.5 if name == KINETIC_ENERGY else 1.0
        fields = [[day.truth(part)[index] for part in parts]]
        fields += [
            [day.forecast(system, part)[index] for part in parts] for system in self._names[1:]
        ]
        density = self._levels[index].density
        return np.stack([factor * sum(density(field) for field in pair) for pair in fields])


def begin(case: Case, settings: Any) -> Spectra:
    """Begin the spectra of one forecast."""
    return Spectra(case, settings)


def finish(means: Means) -> dict[str, np.ndarray]:
    """Mean densities over starts, and their ratio to the truth's, `psd_ratio`."""
    psd, truth = means["psd"], means["psd_truth"]
    return {"psd": psd, "psd_ratio": psd / np.where(truth > 0, truth, np.nan)}


def finish_along(means: Mapping[str, np.ndarray], coordinate: np.ndarray) -> dict[str, np.ndarray]:
    """`effective_resolution` in km from mean densities (samples, rows, n, systems).

    Args:
        means: `psd` and `psd_truth`.
        coordinate: Wavelengths (n,), descending.
    """
    truth = means["psd_truth"]
    ratio = means["psd"] / np.where(truth > 0, truth, np.nan)
    return {"effective_resolution": effective_resolution(ratio, coordinate)}


def effective_resolution(ratio: np.ndarray, wavelength: np.ndarray) -> np.ndarray:
    """Wavelength at which the power falls below half of the truth's, from long ones to short ones.

    Between the last wavelength above and the first one below, the ratio is linear in the logarithm
    of the wavelength. A forecast that has half the power at all wavelengths gets the shortest one
    that is defined, and one that lacks it at the longest gets that.

    Args:
        ratio: Power of the forecast over that of the truth (..., n, systems), NaN where undefined.
        wavelength: (n,), descending.

    Returns:
        (..., systems), in the units of `wavelength`; NaN where no ratio is defined.
    """
    ratio = np.moveaxis(ratio, -2, -1)
    place = np.arange(wavelength.size)
    defined = np.isfinite(ratio)
    # The last defined place up to each one, and the first place below the threshold.
    last = np.maximum.accumulate(np.where(defined, place, -1), axis=-1)
    low = defined & (np.nan_to_num(ratio, nan=np.inf) < THRESHOLD)
    falls = low.any(axis=-1)
    after = np.where(falls, low.argmax(axis=-1), last[..., -1])
    before = np.take_along_axis(last, np.maximum(after - 1, 0)[..., None], axis=-1)[..., 0]
    before = np.where(falls & (after > 0) & (before >= 0), before, after)
    after, before = np.maximum(after, 0), np.maximum(before, 0)
    log = np.log(wavelength)
    above, below = (
        np.take_along_axis(ratio, at[..., None], axis=-1)[..., 0] for at in (before, after)
    )
    inside = before < after
    part = np.where(inside, (above - THRESHOLD) / np.where(inside, above - below, 1.0), 0.0)
    found = np.exp(log[before] + part * (log[after] - log[before]))
    return np.where(defined.any(axis=-1), found, np.nan)


def _sums(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sums over stretches (nr, nb) of values (n, nb), without BLAS as in `periodogram`."""
    return np.einsum("rn,nb->rb", weights, values)


def _pairs(names: Sequence[str], levels: Sequence[int]) -> list[tuple[str, int | None]]:
    """Variables and levels whose spectra are taken; None for a variable without depth."""
    variables = [name for name in SPECTRAL if name in names]
    if set(CURRENTS) <= set(names):
        variables.append(KINETIC_ENERGY)
    return [
        (name, level)
        for name in variables
        for level in (levels if name == KINETIC_ENERGY or VARIABLES[name].has_depth else (None,))
    ]
