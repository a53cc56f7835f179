"""Compiled loops of the fused regridding: check, unpack, mask and average in one pass.

The wet mask is constant, so it is held as runs of wet cells: loops over a run touch the raw values
and one row of sums, need no mask and no branch, and vectorise. Raw values are summed as float32
differences from a reference half-way between the extremes of the rows in hand. A constant field has
no difference at all and stays constant whatever the weights' round-off, and the error of any other
is that of its variation along a few rows, not that of its distance from zero.

Every function runs on one thread, without Python's global lock.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

BLOCK = 4  # taps that `_over_columns` sums at once


class Runs(NamedTuple):
    """Runs of wet cells, row by row.

    Attributes:
        first: (rows + 1,) index of a row's first run; rows of all levels, level by level.
        start: (runs,) first column of a run.
        stop: (runs,) column after its last.
    """

    first: NDArray[np.int64]
    start: NDArray[np.int32]
    stop: NDArray[np.int32]


class Taps(NamedTuple):
    """Adjoining source rows or columns of every target row or column.

    Attributes:
        start: (n,) first source index.
        number: (n,) how many.
        weight: (taps, n) weights in the order of the source, 0 beyond `number`; `taps` is a
            multiple of `BLOCK`.
    """

    start: NDArray[np.uint64]
    number: NDArray[np.int64]
    weight: NDArray[np.float32]


class Packing(NamedTuple):
    """How raw values are packed; value = raw * scale + offset.

    Attributes:
        markers: (m,) raw values that stand for no value, of raw's type.
        absent: Value of wet cells without one, unpacked; NaN where they are to be left out.
        scale: Factor.
        offset: Offset.
    """

    markers: NDArray
    absent: float
    scale: float
    offset: float


class Survey(NamedTuple):
    """What the wet cells of every source row hold; raw values.

    Attributes:
        low: (rows,) least value, infinite where there is none.
        high: (rows,) greatest value, minus infinite where there is none.
        missing: (rows,) cells without value.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    missing: NDArray[np.int64]


class Sums(NamedTuple):
    """Sums over the source rows of one target row, by source column, and what they are of.

    The source columns are followed by the first ones again, for targets across the end.

    Attributes:
        value: (columns,) weighted differences from the reference.
        kept: (columns,) weights of the cells with a value; made only where some have none.
        present: (columns,) whether the cell of the source row in hand has a value.
    """

    value: NDArray[np.float32]
    kept: NDArray[np.float32]
    present: NDArray[np.bool_]


@njit(nogil=True, cache=True)
def _runs_of(runs, row):
    begin, end = runs.first[row], runs.first[row + 1]
    return runs.start[begin:end], runs.stop[begin:end]


@njit(nogil=True, cache=True)
def _count_nan(values):
    found = 0
    for i in range(values.size):
        found += values[i] != values[i]
    return found


@njit(nogil=True, cache=True)
def _extremes(values, low, high):
    for i in range(values.size):
        low, high = min(low, values[i]), max(high, values[i])
    return low, high


@njit(nogil=True, cache=True)
def _survey_with_gaps(row, start, stop, markers):
    low, high, missing = np.inf, -np.inf, 0
    for n in range(start.size):
        for i in range(start[n], stop[n]):
            gone = row[i] != row[i]
            for marker in markers:
                gone |= row[i] == marker
            if gone:
                missing += 1
            else:
                low, high = min(low, np.float64(row[i])), max(high, np.float64(row[i]))
    return low, high, missing


@njit(nogil=True, cache=True)
def _survey_row(row, start, stop, markers):
    """Extremes of the wet cells of a row that have a value, and how many have none.

    A marker outside the extremes of all values is not among them, so that a row without gaps is
    looked at only once.
    """
    if start.size == 0:
        return np.inf, -np.inf, 0
    low = high = row[start[0]]
    for n in range(start.size):
        part = row[start[n] : stop[n]]
        if _count_nan(part):
            return _survey_with_gaps(row, start, stop, markers)
        low, high = _extremes(part, low, high)
    for marker in markers:
        if low <= marker <= high:
            return _survey_with_gaps(row, start, stop, markers)
    return np.float64(low), np.float64(high), 0


@njit(nogil=True, cache=True)
def _reference(survey, begin, end, packing):
    """A raw value to take differences from, and what it is unpacked.

    Half-way between the extremes of the rows, which leaves the smallest differences; or the value
    of absent cells, so that sums over nothing else are exactly that.
    """
    if not np.isnan(packing.absent):
        return np.float32((packing.absent - packing.offset) / packing.scale), packing.absent
    low, high = survey.low[begin:end].min(), survey.high[begin:end].max()
    reference = np.float32(0.5 * (low + high)) if low <= high else np.float32(0.0)
    return reference, reference * packing.scale + packing.offset


@njit(nogil=True, cache=True, fastmath={"contract"})
def _add_row(value, row, start, stop, weight, reference):
    for n in range(start.size):
        part, sums = row[start[n] : stop[n]], value[start[n] : stop[n]]
        for i in range(part.size):
            sums[i] += weight * (np.float32(part[i]) - reference)


@njit(nogil=True, cache=True, fastmath={"contract"})
def _add_row_with_gaps(sums, row, start, stop, weight, reference, packing):
    """As `_add_row`; a cell without value is the reference where absent cells have a value, and
    else its weight is left out.
    """
    present = sums.present[: row.size]
    for i in range(row.size):
        present[i] = row[i] == row[i]
    for marker in packing.markers:
        for i in range(row.size):
            present[i] &= row[i] != marker
    nothing = np.float32(0.0)
    otherwise = nothing if np.isnan(packing.absent) else weight
    for n in range(start.size):
        part, here = row[start[n] : stop[n]], present[start[n] : stop[n]]
        value, kept = sums.value[start[n] : stop[n]], sums.kept[start[n] : stop[n]]
        for i in range(part.size):
            value[i] += weight * (np.float32(part[i]) - reference) if here[i] else nothing
            kept[i] += weight if here[i] else otherwise


@njit(nogil=True, cache=True, fastmath={"contract", "reassoc"})
def _over_columns(result, columns, sums, begin, end):
    """Weighted sums over the columns of the target columns from `begin` to `end`."""
    one, two, three = np.uint64(1), np.uint64(2), np.uint64(3)
    here, first = result[begin:end], columns.start[begin:end]
    here[:] = 0
    for t in range(0, columns.weight.shape[0], BLOCK):
        w0, w1 = columns.weight[t, begin:end], columns.weight[t + 1, begin:end]
        w2, w3 = columns.weight[t + 2, begin:end], columns.weight[t + 3, begin:end]
        part = sums[t:]
        for i in range(here.size):
            # An index of unsigned type needs no test for being negative.
            c = first[i]
            here[i] += (w0[i] * part[c] + w1[i] * part[c + one]) + (
                w2[i] * part[c + two] + w3[i] * part[c + three]
            )


@njit(nogil=True, cache=True)
def _unpack(out, mean, inverse, base, scale, begin, end):
    """Values from `begin` to `end` of one target row; NaN where the inverse area is 0."""
    values, differences, factors = out[begin:end], mean[begin:end], inverse[begin:end]
    for i in range(values.size):
        value = np.float32(base + differences[i] * factors[i] * scale)
        values[i] = value if factors[i] > 0 else np.float32(np.nan)


@njit(nogil=True, cache=True)
def _sum_rows(level, begin, weights, runs, first_row, survey, packing, reference, sums):
    """Sum the source rows from `begin` on into `sums`; whether any of them has gaps."""
    gaps = survey.missing[begin : begin + weights.size].any()
    sums.value[:] = 0
    sums.kept[:] = 0
    for n in range(weights.size):
        row, w = level[begin + n], weights[n]
        start, stop = _runs_of(runs, first_row + begin + n)
        if gaps:
            _add_row_with_gaps(sums, row, start, stop, w, reference, packing)
        else:
            _add_row(sums.value, row, start, stop, w, reference)
    for i in range(level.shape[1], sums.value.size):
        sums.value[i] = sums.value[i - level.shape[1]]
        sums.kept[i] = sums.kept[i - level.shape[1]]
    return gaps


@njit(nogil=True, cache=True)
def _average_level(level, source, target, k, rows, columns, inverse_area, packing, scratch, out):
    """`average_levels` for level k, into out (ny, nx); the survey in `scratch` is of this level."""
    survey, sums, mean, area = scratch
    survey.low[:], survey.high[:], survey.missing[:] = np.inf, -np.inf, 0
    first_row, surveyed = k * level.shape[0], np.int64(0)
    for r in range(out.shape[0]):
        begin = np.int64(rows.start[r])
        end = begin + rows.number[r]
        # Neighbouring target rows share a source row; it is looked at once.
        for j in range(max(begin, surveyed), end):
            start, stop = _runs_of(source, first_row + j)
            survey.low[j], survey.high[j], survey.missing[j] = _survey_row(
                level[j], start, stop, packing.markers
            )
        surveyed = max(surveyed, end)
        out[r] = np.nan
        start, stop = _runs_of(target, k * out.shape[0] + r)
        if start.size == 0:
            continue
        weights = rows.weight[: end - begin, r]
        reference, base = _reference(survey, begin, end, packing)
        gaps = _sum_rows(level, begin, weights, source, first_row, survey, packing, reference, sums)
        inverse = inverse_area[r]
        if gaps:
            _over_columns(area, columns, sums.kept, 0, area.size)
            inverse = np.where(area > 0, 1 / area, np.float32(0.0))
        for n in range(start.size):
            _over_columns(mean, columns, sums.value, start[n], stop[n])
            _unpack(out[r], mean, inverse, base, packing.scale, start[n], stop[n])


@njit(nogil=True, cache=True)
def average_levels(raw, source, target, rows, columns, inverse_area, packing, out):
    """Average all levels of a field.

    Args:
        raw: (n, ny_s, nx_s) packed values.
        source: Runs of wet source cells of the n levels, `first` being (n * ny_s + 1,).
        target: Runs of target cells with wet area of the n levels, `first` being (n * ny + 1,).
        rows: Source rows of each of the ny target rows.
        columns: Source columns of each of the nx target columns; they may run over the end of a
            row into its beginning.
        inverse_area: (n, ny, nx) float32, inverse sums of the weights over wet cells.
        packing: How raw is packed.
        out: (n, ny, nx) float32, overwritten.

    Returns:
        Wet cells without value, and the least and the greatest raw value of wet cells, infinite
        where there is none.
    """
    n_rows, n_columns = raw.shape[1:]
    # Taps run on with weight 0, where sums must be finite: hence the room of all taps.
    room = n_columns + columns.weight.shape[0]
    survey = Survey(np.empty(n_rows), np.empty(n_rows), np.empty(n_rows, np.int64))
    sums = Sums(np.empty(room, np.float32), np.empty(room, np.float32), np.empty(room, np.bool_))
    mean, area = np.empty(out.shape[2], np.float32), np.empty(out.shape[2], np.float32)
    scratch = (survey, sums, mean, area)
    low, high, missing = np.inf, -np.inf, 0
    for k in range(raw.shape[0]):
        _average_level(
            raw[k], source, target, k, rows, columns, inverse_area[k], packing, scratch, out[k]
        )
        low, high = min(low, survey.low.min()), max(high, survey.high.max())
        missing += survey.missing.sum()
    return missing, low, high
