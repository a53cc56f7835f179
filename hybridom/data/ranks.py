"""Percentiles within a window of days that moves around the year, cell by cell.

Days are grouped by date: 365 dates, and 29 February half-way between its neighbours. As the window
moves on by a day, the dates that leave it are taken out of a sorted list and those that enter are
merged in, so that a window costs one pass over its values instead of a sort.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hybridom.data.days import DAYS_IN_YEAR

Mask = NDArray[np.bool_]


def in_window(dates: NDArray[np.float64], window: int) -> Mask:
    """Which dates lie in the window around each day of the year.

    Args:
        dates: (n,) days of a 365-day year, `days.day_of_year`.
        window: Days, odd; the year being a circle, a date is inside where it is at most
            (window - 1) / 2 days away. 365 takes all dates into every window.

    Returns:
        bool (365, n).
    """
    apart = np.abs(dates[None, :] - np.arange(1, DAYS_IN_YEAR + 1)[:, None])
    apart = np.minimum(apart, DAYS_IN_YEAR - apart)
    return (apart <= window // 2) | (window == DAYS_IN_YEAR)


def changes(inside: Mask) -> NDArray[np.int64]:
    """What leaves and enters the window from each day of the year to the next.

    Args:
        inside: bool (365, n), as `in_window`.

    Returns:
        (m, 3) day of the year from 0, date, and 1 where it enters or -1 where it leaves; by day,
        those that leave first. All dates of the first window enter on day 0.
    """
    before = np.concatenate([np.zeros_like(inside[:1]), inside[:-1]]).astype(np.int64)
    step = inside - before
    rows, dates = np.nonzero(step)
    found = np.stack([rows, dates, step[rows, dates]], axis=1)
    return found[np.lexsort((found[:, 1], found[:, 2], found[:, 0]))]


@njit(nogil=True, cache=True)
def take_out(held, size, part):
    """Take the sorted values `part`, all of which are there, out of the sorted `held[:size]`.

    Returns:
        The number of values that are left.
    """
    kept, taken = 0, 0
    for i in range(size):
        if taken < part.size and held[i] == part[taken]:
            taken += 1
        else:
            held[kept] = held[i]
            kept += 1
    return kept


@njit(nogil=True, cache=True)
def put_in(held, size, part):
    """Merge the sorted values `part` into the sorted `held[:size]`; return the new size."""
    i, j = size - 1, part.size - 1
    for place in range(size + part.size - 1, -1, -1):
        if j < 0:
            break
        if i >= 0 and held[i] > part[j]:
            held[place] = held[i]
            i -= 1
        else:
            held[place] = part[j]
            j -= 1
    return size + part.size


@njit(nogil=True, cache=True)
def percentile(held, size, percent):
    """Percentile of the sorted `held[:size]`, float64, as `numpy.percentile` interpolates.

    Definition 7 of Hyndman and Fan (1996): linear between the order statistics at
    (size - 1) percent / 100, counted from 0.
    """
    place = (size - 1) * (percent / 100.0)
    below = int(place)
    if below >= size - 1:
        return np.float64(held[size - 1])
    low, high, part = np.float64(held[below]), np.float64(held[below + 1]), place - below
    return low + (high - low) * part if part < 0.5 else high - (high - low) * (1.0 - part)


@njit(nogil=True, cache=True)
def running_mean(values, half, out):
    """Set `out` (n,) to the mean of `values` (n,) over 2 half + 1 neighbours on a circle."""
    count = values.size
    for row in range(count):
        total = 0.0
        for step in range(-half, half + 1):
            total += values[(row + step) % count]
        out[row] = total / (2 * half + 1)


@njit(nogil=True, cache=True)
def moving_percentiles(values, starts, steps, percents, smoothing, out):
    """Percentiles of every window of the year, smoothed along it.

    Args:
        values: (days, cells) float32 without NaN, days by date.
        starts: (dates + 1,) where the days of each date begin.
        steps: (m, 3), as `changes`.
        percents: (p,) percentiles.
        smoothing: Days of the running mean over the days of the year, odd.
        out: (365, p, cells) float32, changed.
    """
    days, cells = values.shape
    rows = out.shape[0]
    column, held = np.empty(days, np.float32), np.empty(days, np.float32)
    found, smooth = np.empty((percents.size, rows)), np.empty(rows)
    first = 0  # steps of day 0, which are many: sorting them together is quicker than merging
    while first < len(steps) and steps[first, 0] == 0:
        first += 1
    for cell in range(cells):
        for day in range(days):
            column[day] = values[day, cell]
        size = 0
        for step in range(first):
            date = steps[step, 1]
            for day in range(starts[date], starts[date + 1]):
                held[size] = column[day]
                size += 1
        held[:size].sort()
        if first < len(steps):
            for date in range(starts.size - 1):
                column[starts[date] : starts[date + 1]].sort()
        step = first
        for row in range(rows):
            moved = row == 0
            while step < len(steps) and steps[step, 0] == row:
                date = steps[step, 1]
                part = column[starts[date] : starts[date + 1]]
                if steps[step, 2] > 0:
                    size = put_in(held, size, part)
                else:
                    size = take_out(held, size, part)
                step += 1
                moved = True
            for p in range(percents.size):
                found[p, row] = percentile(held, size, percents[p]) if moved else found[p, row - 1]
        for p in range(percents.size):
            running_mean(found[p], smoothing // 2, smooth)
            for row in range(rows):
                out[row, p, cell] = smooth[row]
