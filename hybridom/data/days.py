"""Days and their place in the 365-day year of the climatology."""

from __future__ import annotations

import datetime as dt

import numpy as np

DAYS_IN_YEAR = 365
EPOCH = dt.date(1970, 1, 1)
TIME_UNITS = "days since 1970-01-01"


def day_number(day: dt.date) -> int:
    """Days since 1970-01-01."""
    return (day - EPOCH).days


def climatology_rows(day: dt.date) -> tuple[int, int]:
    """Two rows (0...364) of the climatology whose mean is that of a day.

    They are the same row except on 29 February, which lies between 28 February and 1 March.
    """
    row = dt.date(2001, 3, 1) if (day.month, day.day) == (2, 29) else day.replace(year=2001)
    last = row.timetuple().tm_yday - 1
    return (last - 1, last) if (day.month, day.day) == (2, 29) else (last, last)


def day_of_year(day: dt.date) -> float:
    """Day of a 365-day year, 1...365; 59.5 on 29 February."""
    first, last = climatology_rows(day)
    return 0.5 * (first + last) + 1.0


def as_date(day: dt.date | np.datetime64 | int) -> dt.date:
    """A date from a date, a numpy datetime, or a number of days since 1970-01-01."""
    if isinstance(day, dt.datetime):
        return day.date()
    if isinstance(day, dt.date):
        return day
    number = day.astype("datetime64[D]").astype(int) if isinstance(day, np.datetime64) else day
    return EPOCH + dt.timedelta(int(number))
