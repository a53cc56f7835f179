"""Compiled sums of the errors and anomalies of several forecasts of one field, in one pass.

Cells that belong to the same regions, in columns of the same width, carry the same label. Wet
cells are held as runs of one label along a row, so that the loops touch no land, have no branch,
vectorise, and cost the same for any number of regions; sums over labels become sums over regions
afterwards. Fields keep the precision in which they are stored, sums are float64.

A forecast is given by its anomaly, `factor * (values - reference)`. A model's field has the
climatology of the day as reference and factor 1; damped persistence has the initial state, the
climatology of its date and the part of their difference that is left, and makes no field.

Every function runs on one thread without Python's global lock. Levels do not share a sum, so the
bytes of the result do not depend on how levels are dealt to threads.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

OF_TRUTH = 3  # sums: t', |t'|, t'^2
OF_SYSTEM = 6  # sums: e, |e|, e^2, f', f'^2, f't'


class Runs(NamedTuple):
    """Runs of wet cells of one label, level by level and row by row.

    Attributes:
        first: (nz * ny + 1,) index of a row's first run.
        start: (runs,) first column of a run.
        stop: (runs,) column after its last.
        label: (runs,) label of its cells.
    """

    first: NDArray[np.int64]
    start: NDArray[np.int32]
    stop: NDArray[np.int32]
    label: NDArray[np.int32]


def runs_of(wet: NDArray[np.bool_], labels: NDArray[np.integer]) -> Runs:
    """Runs of wet cells of one label.

    Args:
        wet: (nz, ny, nx).
        labels: (ny, nx), not negative.
    """
    counts: list[NDArray[np.int64]] = [np.zeros(1, np.int64)]
    starts, stops, found = [], [], []
    for level in wet:
        # A border of dry cells ends the runs of every row.
        marked = np.zeros((level.shape[0], level.shape[1] + 2), np.int32)
        marked[:, 1:-1] = np.where(level, labels + 1, 0)
        changes = marked[:, 1:] != marked[:, :-1]
        row, start = np.nonzero(changes & (marked[:, 1:] > 0))
        counts.append(np.bincount(row, minlength=len(level)))
        starts.append(start.astype(np.int32))
        stops.append(np.nonzero(changes & (marked[:, :-1] > 0))[1].astype(np.int32))
        found.append(marked[row, start + 1] - np.int32(1))
    first = np.cumsum(np.concatenate(counts))
    return Runs(first, np.concatenate(starts), np.concatenate(stops), np.concatenate(found))


# Sums over a run may be reordered, otherwise they could not be vectorised. Indices are unsigned:
# whether a signed one counts from the end would be asked for every value.
@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
def _truth_sums(truth, normal, first, size, anomaly):
    total, absolute, squared = 0.0, 0.0, 0.0
    for i in range(size):
        t = np.float64(truth[first + i]) - np.float64(normal[first + i])
        anomaly[i] = t
        total += t
        absolute += abs(t)
        squared += t * t
    return total, absolute, squared


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
def _system_sums(values, reference, factor, first, size, of_truth):
    first_taken = first if reference.size == values.size else np.uint64(0)
    error, absolute, squared = 0.0, 0.0, 0.0
    anomaly, anomaly_squared, product = 0.0, 0.0, 0.0
    for i in range(size):
        f = factor * (np.float64(values[first + i]) - np.float64(reference[first_taken + i]))
        t = of_truth[i]
        e = f - t
        error += e
        absolute += abs(e)
        squared += e * e
        anomaly += f
        anomaly_squared += f * f
        product += f * t
    return error, absolute, squared, anomaly, anomaly_squared, product


@njit(nogil=True, cache=True)
def add_levels(arrays, nx, values, reference, factor, band, runs, levels, sums):
    """Add the sums of some levels.

    Args:
        arrays: Fields (nz or 1, ny, nx) of one type, each in one dimension: the truth, its
            climatology, and others; slices in the loop would cost a fifth of the time. A reference
            that is the same everywhere may be a single row.
        nx: Columns.
        values: (systems,) index into `arrays` of each system's field.
        reference: (systems,) index of what is taken from it.
        factor: (systems, nz or 1) factor of the difference.
        band: (ny,) weight of a row's cells.
        runs: Of the wet cells.
        levels: (first, end) levels.
        sums: (nz or 1, labels, OF_TRUTH + OF_SYSTEM * systems), changed.
    """
    ny = band.size
    anomaly = np.empty(nx)
    for k in range(levels[0], levels[1]):
        for row in range(k * ny, (k + 1) * ny):
            weight = band[row - k * ny]
            for n in range(runs.first[row], runs.first[row + 1]):
                label = runs.label[n]
                first = np.uint64(row * nx + runs.start[n])
                size = np.uint64(runs.stop[n] - runs.start[n])
                of_truth = _truth_sums(arrays[0], arrays[1], first, size, anomaly)
                for q in range(OF_TRUTH):
                    sums[k, label, q] += weight * of_truth[q]
                for s in range(values.size):
                    field, taken = arrays[values[s]], arrays[reference[s]]
                    found = _system_sums(field, taken, factor[s, k], first, size, anomaly)
                    place = OF_TRUTH + OF_SYSTEM * s
                    for q in range(OF_SYSTEM):
                        sums[k, label, place + q] += weight * found[q]
