"""Daily climatology as annual harmonics, fitted to the training period by least squares.

For day of year t and K harmonics, every cell's value is

    y(t) = a_0 + sum_k [a_k cos(2 pi k t / 365) + b_k sin(2 pi k t / 365)],   k = 1...K

with the coefficients of the normal equations (X^T X) c = X^T y. All years' days of one date share
their row of X, so the years are summed first: time and memory hardly grow with K or the years. 29
February has a row of its own, half-way between its neighbours.
"""

from __future__ import annotations

import datetime as dt
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hybridom.data.days import DAYS_IN_YEAR, climatology_rows
from hybridom.data.history import Block, Float32, History, Workers, as_slab, threads_for
from hybridom.data.stores import Slab
from hybridom.data.sums import add, combine, covered, project
from hybridom.errors import UserError
from hybridom.progress import track

Float64 = NDArray[np.float64]

BATCH = 8  # dates summed over the years before they are projected
ROWS_BYTES = 1_000_000_000  # of the rows of the climatology that are evaluated together


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


def require_whole_year(days: Sequence[dt.date], harmonics: int, name: str) -> None:
    """Refuse a fit of harmonics to days that leave out part of the year.

    Args:
        days: Days of the training period that hold the variable.
        harmonics: K.
        name: Variable, for the message.

    Raises:
        UserError: Some day of the year is absent and `harmonics` is not 0.
    """
    if harmonics == 0:
        return
    held = {row for day in days for row in climatology_rows(day)}
    missing = sorted(set(range(DAYS_IN_YEAR)) - held)
    if missing:
        day = dt.date(2001, 1, 1) + dt.timedelta(missing[0])
        raise UserError(
            f"climatology.harmonics is {harmonics}, but for variable {name} periods.train, without "
            f"gaps, holds no {day:%d %B} nor {len(missing) - 1} other days of the year; expected "
            "every day of the year: use climatology.method window, harmonics 0 or a longer period"
        )


def fit_block(history: History, block: Block, harmonics: int) -> Float32:
    """Coefficients of some levels of a variable.

    Args:
        history: Days of the training period.
        block: Variable and levels.
        harmonics: K; 0 is the time mean.

    Returns:
        (2 K + 1, n, ny, nx), in the variable's unit; 0 on land.

    Raises:
        UserError: A day lacks values.
    """
    positions = history.positions(block.name)
    dates = list(positions.values())
    basis = harmonic_basis(np.array(list(positions)), harmonics)
    counts = np.array([len(days) for days in dates])
    shape = history.shape(block)
    values = np.empty(shape, np.float32)
    sums = np.empty((BATCH, values.size))
    moment = np.zeros((basis.shape[1], values.size))
    for first in range(0, len(dates), BATCH):
        together = dates[first : first + BATCH]
        for total, days in zip(sums, together, strict=False):
            total[:] = 0.0
            for day in days:
                history.read(block, day, values)
                add(values.reshape(-1), 1.0, total)
        project(basis[first : first + BATCH], sums[: len(together)], moment)
    gram = (basis * counts[:, None]).T @ basis
    coefficients = np.empty(moment.shape, np.float32)
    combine(np.linalg.inv(gram), moment, coefficients)
    return coefficients.reshape(-1, *shape)


class HarmonicRows:
    """Rows of the climatology from coefficients that are kept in files until the store is complete.

    Args:
        history: Days of the training period.
        harmonics: K.
        folder: Takes one file of coefficients for each block; those that are there are used.

    Raises:
        UserError: The training period leaves out part of the year.
    """

    def __init__(self, history: History, harmonics: int, folder: Path) -> None:
        for name in history.names:
            require_whole_year(history.days(name), harmonics, name)
        self._history, self._harmonics, self._folder = history, harmonics, folder
        self._blocks = [block for name in history.names for block in history.blocks(name)]
        cells = max(math.prod(history.shape(block)) for block in self._blocks)
        functions = 2 * harmonics + 1
        # float64 moments and sums, float32 coefficients, values and what reading needs
        self._workers = Workers(threads_for(cells * (12 * functions + 8 * BATCH + 12)))

    def slabs(self, indices: Sequence[int]) -> Iterator[Slab]:
        """Rows (0...364) of all variables, float32, NaN on land; fits first what is not yet fitted.

        Raises:
            UserError: A day lacks values.
        """
        todo = [block for block in self._blocks if not self._file(block).exists()]
        self._folder.mkdir(parents=True, exist_ok=True)
        fits = self._workers(self._fit, todo)
        for _ in track(fits, len(todo), "climatology: fitting levels"):
            pass
        return self._rows(indices)

    def _file(self, block: Block) -> Path:
        return self._folder / f"{block}.npy"

    def _fit(self, block: Block) -> None:
        coefficients = fit_block(self._history, block, self._harmonics)
        temporary = self._folder / f"{block}.partial.npy"
        np.save(temporary, coefficients)
        os.replace(temporary, self._file(block))

    def _rows(self, indices: Sequence[int]) -> Iterator[Slab]:
        """The coefficients are read once for as many rows as fit in memory."""
        size = sum(4 * math.prod(self._history.shape(block)) for block in self._blocks)
        together = max(1, min(16, ROWS_BYTES // size))
        for first in range(0, len(indices), together):
            rows = indices[first : first + together]
            slabs = [
                {name: self._history.empty(name) for name in self._history.names} for _ in rows
            ]
            basis = harmonic_basis(np.array(rows) + 1.0, self._harmonics)

            def evaluate(
                block: Block, basis: Float64 = basis, slabs: list[dict[str, Float32]] = slabs
            ) -> None:
                fields = np.load(self._file(block))
                cover = self._history.cover(block).reshape(-1)
                out = np.empty((1, cover.size), np.float32)
                for line, slab in zip(basis, slabs, strict=True):
                    combine(line[None], fields.reshape(len(fields), -1), out)
                    covered(out[0], 1.0, cover, slab[block.name][block.levels].reshape(-1))

            for _ in self._workers(evaluate, self._blocks):
                pass
            while slabs:  # so that none is held once it is written
                yield as_slab(slabs.pop(0))
