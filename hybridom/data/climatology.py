"""Daily climatology: annual harmonics fitted to the training period by least squares.

For day of year t and K harmonics, every cell's value is

    y(t) = a_0 + sum_k [a_k cos(2 pi k t / 365) + b_k sin(2 pi k t / 365)],   k = 1...K

with the coefficients of the normal equations (X^T X) c = X^T y, which are summed over blocks of
days, so that memory does not grow with the number of years.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

from hybridom.config import Config, Period, StageConfig
from hybridom.data.days import DAYS_IN_YEAR, climatology_rows, day_number, day_of_year
from hybridom.data.stores import open_arrays
from hybridom.errors import UserError
from hybridom.layout import Layout
from hybridom.variables import VARIABLES

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

BLOCK = 16  # days read at a time


def harmonic_basis(days_of_year: Float64, harmonics: int) -> Float64:
    """Columns 1, cos(2 pi k t / 365), sin(2 pi k t / 365) for k = 1...K.

    Args:
        days_of_year: (n,) days of a 365-day year.
        harmonics: K.

    Returns:
        (n, 2 K + 1).
    """
    angle = 2.0 * np.pi * np.asarray(days_of_year)[:, None] / DAYS_IN_YEAR
    angle = angle * np.arange(1, harmonics + 1)
    return np.concatenate([np.ones((len(angle), 1)), np.cos(angle), np.sin(angle)], axis=1)


def store_of(layout: Layout, name: str, year: int) -> Path:
    """The year's store that holds a variable."""
    prognostic = VARIABLES[name].role == "prognostic"
    return layout.state_store(year) if prognostic else layout.forcing_store(year)


def blocks(layout: Layout, name: str, period: Period) -> Iterator[tuple[list[dt.date], Float32]]:
    """Read a variable block by block; no block crosses a new year.

    Args:
        layout: Paths.
        name: Variable.
        period: Days to read.

    Yields:
        Days, and their values (n, [depth,] lat, lon), NaN on land.

    Raises:
        UserError: A store is missing or lacks a day.
    """
    for year in period.years:
        path = store_of(layout, name, year)
        arrays = open_arrays(path, [name, "time"])
        rows = {int(t): row for row, t in enumerate(np.asarray(arrays["time"][:]))}
        days = period.days(year)
        numbers = [day_number(d) for d in days]
        missing = [d for d, n in zip(days, numbers, strict=True) if n not in rows]
        if missing:
            raise UserError(
                f"{path}: variable {name} lacks {missing[0]}, expected all days of the periods: "
                "make the store again"
            )
        for first in range(0, len(days), BLOCK):
            start = rows[numbers[first]]
            count = len(days[first : first + BLOCK])
            yield days[first : first + BLOCK], np.asarray(arrays[name][start : start + count])


def require_whole_year(period: Period, harmonics: int) -> None:
    """Refuse a fit of harmonics to a period that leaves out part of the year.

    Raises:
        UserError: Some day of the year is absent and `harmonics` is not 0.
    """
    if harmonics == 0:
        return
    covered = {row for day in period.days() for row in climatology_rows(day)}
    missing = sorted(set(range(DAYS_IN_YEAR)) - covered)
    if missing:
        day = dt.date(2001, 1, 1) + dt.timedelta(missing[0])
        raise UserError(
            f"climatology.harmonics is {harmonics}, but periods.train ({period.start} to "
            f"{period.end}) holds no {day:%d %B} nor {len(missing) - 1} other days of the year; "
            "expected every day of the year: use harmonics 0 or a longer period"
        )


def fit_harmonics(layout: Layout, name: str, period: Period, harmonics: int) -> Float32:
    """Coefficients of one variable.

    Args:
        layout: Paths.
        name: Variable.
        period: Training period.
        harmonics: K; 0 is the time mean.

    Returns:
        (2 K + 1, [depth,] lat, lon), in the variable's unit; NaN on land.

    Raises:
        UserError: A store is missing or incomplete.
    """
    gram = np.zeros((2 * harmonics + 1,) * 2)
    moment: Float64 = np.zeros(())
    shape: tuple[int, ...] = ()
    for days, values in blocks(layout, name, period):
        basis = harmonic_basis(np.array([day_of_year(d) for d in days]), harmonics)
        shape = values.shape[1:]
        part = basis.T @ values.reshape(len(days), -1).astype(np.float64)
        gram += basis.T @ basis
        moment = moment + part
    coefficients = np.linalg.solve(gram, moment)
    return coefficients.reshape(-1, *shape).astype(np.float32)


def fit_climatology(
    config: Config | StageConfig, layout: Layout, names: Sequence[str]
) -> dict[str, Float32]:
    """Coefficients of all variables, as `fit_harmonics`."""
    period, harmonics = config.periods.train, config.climatology.harmonics
    require_whole_year(period, harmonics)
    return {name: fit_harmonics(layout, name, period, harmonics) for name in names}


def evaluate(coefficients: Float32, row: int) -> Float32:
    """Climatology of a row (0...364): ([depth,] lat, lon)."""
    harmonics = (len(coefficients) - 1) // 2
    basis = harmonic_basis(np.array([row + 1.0]), harmonics)[0]
    return np.tensordot(basis, coefficients, axes=1).astype(np.float32)


def read_climatology(array: zarr.Array, days: Sequence[dt.date]) -> Float32:
    """Climatology of consecutive days of one calendar year.

    Args:
        array: Variable of climatology.zarr, (365, ...).
        days: Days; 29 February takes the mean of its neighbours.

    Returns:
        (n, ...).
    """
    rows = np.array([climatology_rows(day) for day in days])
    first = int(rows.min())
    held = np.asarray(array[first : int(rows.max()) + 1])
    before, after = held[rows[:, 0] - first], held[rows[:, 1] - first]
    return np.float32(0.5) * (before + after)
