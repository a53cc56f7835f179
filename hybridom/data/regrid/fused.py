"""Conservative regridding of packed fields in one pass over the raw values.

The result is that of `hybridom.data.regrid.conservative.Regridder` on the unpacked field, to the
round-off of float32, at a small part of the time: no float copy of the raw field is made, land is
never read, and the checks of the ocean's values come with the same pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hybridom.data.raw.packed import PackedField
from hybridom.data.regrid.conservative import Array, Mask, Regridder
from hybridom.data.regrid.kernels import BLOCK, Packing, Runs, Taps, average_levels
from hybridom.data.regrid.separable import Float64
from hybridom.grid import Grid


class Regridded(NamedTuple):
    """A regridded field, and what its source held in the wet cells under the target grid.

    Attributes:
        values: (n, ny, nx) float32, NaN where a target cell holds no wet source area.
        missing: Wet source cells without value; the averages leave them out.
        low: Least value, in the variable's unit; NaN where no wet cell has one.
        high: Greatest value, likewise.
    """

    values: NDArray[np.float32]
    missing: int
    low: float
    high: float


class FusedRegridder:
    """Weights from one node-centred source grid to the cells of a target grid, made once.

    Calls share nothing that they change and hold no global lock, so that threads can regrid one
    block of levels each.

    Attributes:
        wet_area: (nz, ny, nx) wet source area inside each target cell, in units of the squared
            radius.
    """

    def __init__(self, source_lat: Array, source_lon: Array, grid: Grid, source_wet: Mask) -> None:
        """Build the weights.

        Args:
            source_lat: (ny_s,) ascending nodes, degrees north.
            source_lon: (nx_s,) ascending nodes in [-180, 180), degrees east.
            grid: Target grid.
            source_wet: (nz, ny_s, nx_s) True where the source has values.
        """
        exact = Regridder(source_lat, source_lon, grid, source_wet)
        self._exact = exact
        self.wet_area = exact.wet_area
        self._rows, self._columns = taps(exact.weights.y), taps(exact.weights.x)
        self._source_shape = source_wet.shape[1:]
        used_rows = np.diff(exact.weights.y.tocsc().indptr) > 0
        used_columns = np.diff(exact.weights.x.tocsc().indptr) > 0
        used = used_rows[:, None] & used_columns
        self._source_runs = runs_of(level & used for level in source_wet)
        self._target_runs = runs_of(level > 0 for level in self.wet_area)
        self._inverse_area = np.zeros(self.wet_area.shape, np.float32)
        np.divide(
            1.0,
            self.wet_area,
            out=self._inverse_area,
            where=self.wet_area > 0,
            casting="same_kind",
        )

    @property
    def wet_fraction(self) -> Float64:
        """(nz, ny, nx) wet part of each target cell's area, 0...1."""
        return self._exact.wet_fraction

    def keep_only(self, wet: Mask) -> None:
        """Give values to some target cells only; the others become NaN and cost nothing.

        Args:
            wet: (nz, ny, nx) cells to keep; those without wet source area stay NaN.
        """
        both = (self.wet_area > 0) & wet
        self._target_runs = runs_of(iter(both))

    def __call__(
        self, packed: PackedField, levels: slice, absent: float | None = None
    ) -> Regridded:
        """Average a packed field over the wet part of each target cell.

        Args:
            packed: (n, ny_s, nx_s) int16 or float32; quickest where C-contiguous, else copied.
            levels: The n adjoining levels of the mask that the field lies on.
            absent: Value of wet cells without one, in the variable's unit: 0 for the sea ice of
                products that leave open water missing. None: such cells are counted and left out
                of the averages, which renormalises these by the area that has values.
        """
        wanted = range(len(self.wet_area))[levels]
        if wanted.step != 1 or packed.raw.shape != (len(wanted), *self._source_shape):
            raise ValueError(f"field of shape {packed.raw.shape} for levels {levels}")
        raw = np.ascontiguousarray(packed.raw, packed.raw.dtype.newbyteorder("="))
        values = np.empty((len(wanted), *self.wet_area.shape[1:]), np.float32)
        missing, low, high = average_levels(
            raw,
            _levels_of(self._source_runs, wanted, self._source_shape[0]),
            _levels_of(self._target_runs, wanted, values.shape[1]),
            self._rows,
            self._columns,
            self._inverse_area[wanted.start : wanted.stop],
            _packing(packed, absent),
            values,
        )
        found = (low, high) if low <= high else ()
        extremes = [x * packed.scale + packed.offset for x in found]
        if absent is not None and missing:
            extremes.append(absent)
            missing = 0
        return Regridded(
            values, missing, min(extremes, default=np.nan), max(extremes, default=np.nan)
        )


def _packing(packed: PackedField, absent: float | None) -> Packing:
    """The field's packing, with the markers that raw's type can hold; NaN is always one."""
    dtype = packed.raw.dtype.newbyteorder("=")
    markers = [m for m in packed.missing if not np.isnan(m)]
    if dtype.kind != "f":
        limits = np.iinfo(dtype)
        markers = [m for m in markers if limits.min <= m <= limits.max and m == int(m)]
    return Packing(
        np.array(markers, dtype),
        np.nan if absent is None else float(absent),
        float(packed.scale),
        float(packed.offset),
    )


def _levels_of(runs: Runs, levels: range, rows: int) -> Runs:
    return runs._replace(first=runs.first[levels.start * rows : levels.stop * rows + 1])


def taps(weights: sparse.csr_matrix) -> Taps:
    """Weights of which every row's columns adjoin, perhaps around the end, as contiguous ranges.

    Args:
        weights: (n, m) sparse, for instance the overlaps of two axes.
    """
    n, m = weights.shape
    count = np.diff(weights.indptr).astype(np.int64)
    start = np.zeros(n, np.uint64)
    weight = np.zeros((-(-int(count.max()) // BLOCK) * BLOCK, n), np.float32)
    for i in np.flatnonzero(count):
        part = slice(weights.indptr[i], weights.indptr[i + 1])
        order = np.argsort(weights.indices[part])
        columns = weights.indices[part][order]
        # The range starts after the widest gap: inside it for a range that runs around the end.
        gaps = np.diff(columns, append=columns[0] + m)
        first = (int(np.argmax(gaps)) + 1) % columns.size if gaps.max() > 1 else 0
        start[i] = columns[first]
        weight[: columns.size, i] = np.roll(weights.data[part][order], -first)
    return Taps(start, count, weight)


def runs_of(masks: Iterable[Mask]) -> Runs:
    """Runs of True of the rows of all levels.

    Args:
        masks: (rows, columns) of each level.
    """
    counts, starts, stops = [], [], []
    for mask in masks:
        padded = np.zeros((mask.shape[0], mask.shape[1] + 2), np.int8)
        padded[:, 1:-1] = mask
        steps = np.diff(padded, axis=1)
        row, start = np.nonzero(steps == 1)
        counts.append(np.bincount(row, minlength=len(mask)))
        starts.append(start.astype(np.int32))
        stops.append(np.nonzero(steps == -1)[1].astype(np.int32))
    first = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
    return Runs(first, np.concatenate(starts), np.concatenate(stops))
