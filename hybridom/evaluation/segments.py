"""Stretches of rows without land, their periodograms, and the wavelengths they are brought to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hybridom.constants import EARTH_RADIUS
from hybridom.errors import UserError
from hybridom.grid import Grid

FEWEST_CELLS = 8  # of a stretch; a shorter one holds too few wavenumbers for a spectrum
BINS_PER_OCTAVE = 8
# Bins reach down to twice the cell width of the equator, and two octaves further for the rows
# towards the poles, where cells are narrower.
FURTHER = 4.0
UNEVEN = 0.01  # part of a column's width by which columns may differ
ROUND_OFF = 1e-9  # part of a bin, below which a row does not cover it


@dataclass(frozen=True)
class Bins:
    """Bins of wavenumber that all rows of a grid are brought to.

    Attributes:
        cells: Cells in a stretch.
        spacing: Width of a cell in each row (ny,), km.
        edges: Edges of the bins (nb+1,), cycles km-1, ascending.
    """

    cells: int
    spacing: np.ndarray
    edges: np.ndarray

    @classmethod
    def of(cls, grid: Grid, segment: float) -> Bins:
        """The bins of a grid.

        In the row nearest the equator, a stretch of `cells` cells holds the wavenumbers
        m / (cells dx), m from 1. Edges lie half-way between those, and as soon as these would give
        more than `BINS_PER_OCTAVE` bins an octave, several wavenumbers share a bin. The last edge
        is 1 / (2 dx) for the narrowest cells of any row, but at most `FURTHER` times that of the
        row nearest the equator.

        Args:
            grid: The grid; its columns are evenly spaced.
            segment: Length of a stretch in degrees; no longer than the grid.

        Raises:
            UserError: Its columns are not.
        """
        widths = np.diff(grid.lon_bounds)
        width = float(widths.mean())
        if np.ptp(widths) > UNEVEN * width:
            raise UserError(
                f"spectra: columns of the grid are {widths.min():g} to {widths.max():g} degrees "
                "wide; expected one width, take spectra out of evaluation.families"
            )
        cells = min(round(segment / width), grid.nx)
        spacing = 1e-3 * EARTH_RADIUS * np.cos(np.deg2rad(grid.lat)) * np.deg2rad(width)
        widest = spacing.max()
        last = 0.5 * cells * min(widest / spacing.min(), FURTHER)
        edges = [0.5]
        ratio = 2.0 ** (1.0 / BINS_PER_OCTAVE)
        while True:
            edge = max(edges[-1] + 1.0, np.ceil(edges[-1] * ratio - 0.5 - ROUND_OFF) + 0.5)
            if edge > last / ratio:
                break
            edges.append(edge)
        return cls(cells, spacing, np.array([*edges, last]) / (cells * widest))

    @property
    def usable(self) -> bool:
        """Whether a stretch holds enough cells."""
        return self.cells >= FEWEST_CELLS

    @property
    def wavelength(self) -> np.ndarray:
        """Wavelengths (nb,) in km at the middle wavenumber of each bin, descending."""
        return np.asarray(2.0 / (self.edges[1:] + self.edges[:-1]))


@dataclass(frozen=True)
class Stretches:
    """Stretches of the rows of one level.

    Attributes:
        bins: Where spectra are taken.
        row: Row of each (n,).
        start: Its first column (n,); columns go on past the last one at the first.
        nx: Columns of the grid.
    """

    bins: Bins
    row: np.ndarray
    start: np.ndarray
    nx: int

    @classmethod
    def of(cls, wet: np.ndarray, bins: Bins, periodic: bool) -> Stretches:
        """All stretches of a level.

        Args:
            wet: bool (ny, nx).
            bins: Those of the grid.
            periodic: Whether the last column neighbours the first.
        """
        starts = [row_starts(row, bins.cells, periodic) for row in wet]
        row = np.repeat(np.arange(len(starts)), [len(found) for found in starts])
        return cls(bins, row, np.concatenate(starts).astype(np.int64), wet.shape[1])

    @property
    def columns(self) -> np.ndarray:
        """Columns of the cells (n, cells)."""
        return np.asarray((self.start[:, None] + np.arange(self.bins.cells)) % self.nx)

    def weights(self, inside: np.ndarray) -> np.ndarray:
        """Lengths in km of the stretches whose centre cell is inside, else 0: (nr, n).

        Args:
            inside: bool (nr, ny, nx). The centre of an even number of cells is the one east of
                the middle.
        """
        centre = (self.start + self.bins.cells // 2) % self.nx
        length = self.bins.cells * self.bins.spacing[self.row]
        return np.asarray(inside[:, self.row, centre] * length)

    def variance(self, field: np.ndarray) -> np.ndarray:
        """Variance of a field (ny, nx) in each bin, of each stretch: (n, nb).

        Each wavenumber's variance is spread evenly over its band, which reaches half-way to its
        neighbours, and falls to the bins by overlap, so that none is lost between bins. That of
        the wavenumber 1 / (2 dx) lies in the half of its band below it.
        """
        power = periodogram(field[self.row[:, None], self.columns])[:, 1:] / self.bins.cells
        total = np.concatenate([np.zeros((len(power), 1)), np.cumsum(power, axis=1)], axis=1)
        below, above, part = self._position
        at_edges = (1.0 - part) * total.ravel()[below] + part * total.ravel()[above]
        return np.diff(at_edges, axis=1)

    @cached_property
    def covered(self) -> np.ndarray:
        """Width of each bin that the bands of a stretch cover (n, nb), cycles km-1."""
        reach = 0.5 / self.bins.spacing[self.row][:, None]
        low = np.maximum(self.bins.edges[:-1], reach / self.bins.cells)
        width = np.minimum(self.bins.edges[1:], reach) - low
        return np.where(width > ROUND_OFF * np.diff(self.bins.edges), width, 0.0)

    @cached_property
    def _position(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where the edges of bins lie among those of bands.

        Flat indices (n, nb+1) of the edges of bands below and above, and the part of the way.
        """
        cells = self.bins.cells
        bands = cells // 2
        harmonic = self.bins.edges * (cells * self.bins.spacing[self.row])[:, None]
        place = np.clip(harmonic - 0.5, 0.0, bands)
        if cells % 2 == 0:
            # The last band is half as wide as the others.
            last = place > bands - 1
            place[last] = np.minimum(2.0 * place[last] - (bands - 1), bands)
        whole = place.astype(np.int64)
        first = np.arange(self.row.size)[:, None] * (bands + 1)
        return first + whole, first + np.minimum(whole + 1, bands), place - whole


def row_starts(wet: np.ndarray, cells: int, periodic: bool) -> np.ndarray:
    """First columns of the stretches of one row, which overlap by half and hold no land.

    In each run of wet cells they begin at its western end. Around a globe without land they are
    spread evenly.

    Args:
        wet: bool (nx,).
        cells: Cells in a stretch.
        periodic: Whether the last column neighbours the first.
    """
    nx, step = wet.size, max(cells // 2, 1)
    if periodic and wet.all():
        number = max(round(nx / step), 1)
        return np.arange(number) * nx // number
    # Seen from behind a land cell, no run goes across the end of the row.
    origin = int(np.argmin(wet)) if periodic else 0
    edges = np.diff(np.concatenate([[False], np.roll(wet, -origin), [False]]).astype(np.int8))
    starts = [
        np.arange(first, end - cells + 1, step)
        for first, end in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True)
    ]
    return (np.concatenate([np.empty(0, np.int64), *starts]) + origin) % nx


def periodogram(values: np.ndarray) -> np.ndarray:
    """One-sided power spectra in units^2 per (cycle per cell).

    The straight line of least squares is taken off and the Hann window put on; the sum over all
    wavenumbers divided by the number of cells is the mean square of the windowed values over that
    of the window. Equal to `scipy.signal.periodogram(values, window="hann", detrend="linear")`.

    Args:
        values: (..., cells), evenly spaced.

    Returns:
        (..., cells // 2 + 1), from wavenumber 0 upwards.
    """
    cells = values.shape[-1]
    place = np.arange(cells) - 0.5 * (cells - 1)
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(cells) / cells)
    mean = values.mean(axis=-1, keepdims=True)
    # Not by BLAS, whose threads cost more than they save on arrays this small.
    slope = np.einsum("...n,n->...", values, place)[..., None] / (place**2).sum()
    spectrum = np.fft.rfft(window * (values - mean - slope * place), axis=-1)
    power = (spectrum.real**2 + spectrum.imag**2) / (window**2).sum()
    power[..., 1 : (cells + 1) // 2] *= 2.0
    return np.asarray(power)
