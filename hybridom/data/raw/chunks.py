"""Compressed chunks of HDF5 files read past the library, by several threads at once.

The HDF5 library serves one thread at a time and undoes its byte shuffling byte by byte. Here it is
asked only where the chunks lie: their bytes are read, inflated and joined straight into the levels
that are wanted, without Python's lock.

Format: HDF5 File Format Specification 3.0, section IV.A.2.l (filter pipeline). Shuffling stores
the first bytes of all elements, then all second ones, and so on; deflate is a zlib stream, which
ends in a checksum of the inflated bytes; Fletcher-32 appends four bytes of checksum.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numba
import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from hybridom.data.raw.axes import Orientation
from hybridom.data.raw.netcdf import LIBRARY

DEFLATE = h5py.h5z.FILTER_DEFLATE
SHUFFLE = h5py.h5z.FILTER_SHUFFLE
FLETCHER32 = h5py.h5z.FILTER_FLETCHER32
CHECKSUM_BYTES = 4
ABSENT = -1  # offset of a chunk that was never written


class DamagedChunk(ValueError):
    """A chunk does not hold what the file says that it holds."""


@dataclass(frozen=True, eq=False)
class ChunkedVariable:
    """Where the chunks of a variable (time, [depth,] nlat, nlon) lie; read-only, so thread-safe.

    Attributes:
        path: The file.
        dtype: Of the stored elements, int16 or float32 of either byte order.
        shape: Of the variable.
        chunk: Shape of a chunk; chunks at the upper edges overhang.
        filters: HDF5's filter codes in the order of writing; deflate is not before shuffling.
        fill: Value of chunks that were never written.
        offsets: First byte of each chunk in the file, shaped as the grid of chunks.
        sizes: Stored bytes of each.
        skipped: Bit n is set where filter n was not applied.
    """

    path: Path
    dtype: np.dtype
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    filters: tuple[int, ...]
    fill: Any
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    skipped: NDArray[np.uint32]

    def read(self, step: int, levels: NDArray[np.intp], orientation: Orientation) -> NDArray:
        """Stored values of some levels of a time step.

        Args:
            step: Index of time.
            levels: (n,) ascending indices of depth; [0] for a variable without depth.
            orientation: How the horizontal axes are to be turned.

        Returns:
            (n, nlat, nlon) in the machine's byte order, turned.

        Raises:
            DamagedChunk: A chunk is cut off or does not decompress.
            OSError: The file cannot be read.
        """
        out = np.empty((len(levels), *self.shape[-2:]), self.dtype.newbyteorder("="))
        depth = math.prod(self.chunk[1:-2])
        columns = _columns(orientation, self.shape[-1])
        file = os.open(self.path, os.O_RDONLY)
        try:
            for part in layers(levels, depth):
                layer, inside = int(levels[part][0]) // depth, levels[part] % depth
                above = (step // self.chunk[0], layer)[: len(self.shape) - 2]
                within = (step % self.chunk[0]) * depth + inside
                for j, i in np.ndindex(self.offsets.shape[-2:]):
                    self._place(file, (*above, j, i), within, out[part], orientation.flip, columns)
        finally:
            os.close(file)
        return out

    def _place(
        self,
        file: int,
        index: tuple[int, ...],
        within: NDArray[np.intp],
        out: NDArray,
        flip: bool,
        columns: NDArray[np.intp] | None,
    ) -> None:
        """Put the planes `within` a chunk into `out`, (n, nlat, nlon)."""
        (height, width), (nlat, nlon) = self.chunk[-2:], self.shape[-2:]
        top, left = index[-2] * height, index[-1] * width
        rows, runs = min(height, nlat - top), _runs(columns, left, min(width, nlon - left))
        target = (out[:, ::-1] if flip else out)[:, top : top + rows]
        if self.offsets[index] == ABSENT:
            for _, column, length in runs:
                target[:, :, column : column + length] = self.fill
            return
        stored, shuffled = self._decode(file, index)
        if not shuffled:
            values = stored.view(self.dtype).reshape(-1, height, width)[within, :rows]
            for first, column, length in runs:
                target[:, :, column : column + length] = values[:, :, first : first + length]
            return
        bits = out.view(f"u{self.dtype.itemsize}")
        first_row, row_step = (nlat - 1 - top, -1) if flip else (top, 1)
        planes = np.arange(self.dtype.itemsize) * (stored.size // self.dtype.itemsize)
        planes = planes if self.dtype == self.dtype.newbyteorder("<") else planes[::-1]
        join = _join2 if self.dtype.itemsize == 2 else _join4
        for first, column, length in runs:
            starts = within * (height * width) + first
            join(stored, planes, starts, width, bits, (first_row, row_step, rows), (column, length))

    def _decode(self, file: int, index: tuple[int, ...]) -> tuple[NDArray[np.uint8], bool]:
        """Bytes of a chunk with all filters undone but shuffling, and whether it is shuffled."""
        size, skipped = int(self.sizes[index]), int(self.skipped[index])
        data: bytes | memoryview = os.pread(file, size, int(self.offsets[index]))
        if len(data) != size:
            raise DamagedChunk(f"chunk {index} is cut off")
        expected = math.prod(self.chunk) * self.dtype.itemsize
        shuffled = False
        for number, code in reversed(list(enumerate(self.filters))):
            if skipped >> number & 1:
                continue
            if code == FLETCHER32 and shuffled:  # its checksum counts as elements
                expected += CHECKSUM_BYTES
            elif code == FLETCHER32:
                data = memoryview(data)[:-CHECKSUM_BYTES]
            elif code == DEFLATE:
                data = _inflate(data, expected + CHECKSUM_BYTES, index)
            else:
                shuffled = True
        if len(data) != expected:
            raise DamagedChunk(f"chunk {index} has {len(data)} bytes instead of {expected}")
        return np.frombuffer(data, np.uint8), shuffled


def _inflate(data: bytes | memoryview, size: int, index: tuple[int, ...]) -> bytes:
    try:
        return isal_zlib.decompress(data, bufsize=size)
    except isal_zlib.error as e:  # type: ignore[misc]  # its stub calls the class an instance
        raise DamagedChunk(f"chunk {index} does not decompress: {e}") from None


def layers(levels: NDArray[np.intp], depth: int) -> list[slice]:
    """Positions of ascending levels that share a layer of chunks of `depth` levels each."""
    edges = np.flatnonzero(np.diff(levels // depth)) + 1
    ends = [0, *edges.tolist(), len(levels)]
    return [slice(a, b) for a, b in itertools.pairwise(ends)]


def _columns(orientation: Orientation, nlon: int) -> NDArray[np.intp] | None:
    """Where each column of the file goes, or None where all stay."""
    if orientation.order is None:
        return None
    columns = np.empty(nlon, np.intp)
    columns[orientation.order] = np.arange(nlon)
    return columns


def _runs(
    columns: NDArray[np.intp] | None, left: int, width: int
) -> Iterator[tuple[int, int, int]]:
    """Neighbouring columns that stay neighbours: first in the chunk, first in the result, length"""
    if columns is None:
        yield 0, left, width
        return
    here = columns[left : left + width]
    for run in np.split(np.arange(width), np.flatnonzero(np.diff(here) != 1) + 1):
        yield int(run[0]), int(here[run[0]]), len(run)


@numba.njit(nogil=True, cache=True)
def _join2(stored, planes, starts, stride, out, rows, columns):
    """Join two byte planes into 16-bit values of `out`, (n, nlat, nlon)."""
    first_row, row_step, count = rows
    column, length = columns
    for n in range(starts.size):
        for y in range(count):
            start = starts[n] + y * stride
            low = stored[planes[0] + start : planes[0] + start + length]
            high = stored[planes[1] + start : planes[1] + start + length]
            row = out[n, first_row + row_step * y, column : column + length]
            for x in range(length):
                row[x] = np.uint16(low[x]) | (np.uint16(high[x]) << np.uint16(8))


@numba.njit(nogil=True, cache=True)
def _join4(stored, planes, starts, stride, out, rows, columns):
    """Join four byte planes into 32-bit values of `out`, (n, nlat, nlon)."""
    first_row, row_step, count = rows
    column, length = columns
    for n in range(starts.size):
        for y in range(count):
            start = starts[n] + y * stride
            a = stored[planes[0] + start : planes[0] + start + length]
            b = stored[planes[1] + start : planes[1] + start + length]
            c = stored[planes[2] + start : planes[2] + start + length]
            d = stored[planes[3] + start : planes[3] + start + length]
            row = out[n, first_row + row_step * y, column : column + length]
            for x in range(length):
                lower = np.uint32(a[x]) | (np.uint32(b[x]) << np.uint32(8))
                upper = np.uint32(c[x]) | (np.uint32(d[x]) << np.uint32(8))
                row[x] = lower | (upper << np.uint32(16))


def index_chunks(path: Path, names: Sequence[str]) -> dict[str, ChunkedVariable]:
    """Chunk indices of those variables of an HDF5 file whose form can be read past the library.

    These are chunked variables of int16 or float32, shuffled, deflated (then also with Fletcher-32
    checksums) or neither.

    Args:
        path: The file.
        names: Variables, by their names in the file.

    Raises:
        OSError: The file cannot be read.
    """
    found = {}
    with LIBRARY, h5py.File(path, "r", locking=False) as file:
        if file.userblock_size:  # all offsets would be shifted
            return {}
        for name in names:
            filters = _filters(file[name])
            if filters is not None:
                found[name] = _index(path, file[name], filters)
    return found


def _filters(dataset: h5py.Dataset) -> tuple[int, ...] | None:
    """Filter codes of a dataset in the order of writing; None where the library is needed."""
    plist = dataset.id.get_create_plist()
    if (
        plist.get_layout() != h5py.h5d.CHUNKED
        or dataset.ndim not in (3, 4)
        or (dataset.dtype.kind, dataset.dtype.itemsize) not in {("i", 2), ("f", 4)}
    ):
        return None
    filters = tuple(plist.get_filter(n)[0] for n in range(plist.get_nfilters()))
    known = set(filters) <= {DEFLATE, SHUFFLE, FLETCHER32}
    # Deflate has its own checksum; without it that of Fletcher-32 would have to be verified.
    checked = FLETCHER32 not in filters or DEFLATE in filters
    shuffles = [n for n, code in enumerate(filters) if code == SHUFFLE]
    readable = not shuffles or (len(shuffles) == 1 and DEFLATE not in filters[: shuffles[0]])
    return filters if known and checked and readable else None


def _index(path: Path, dataset: h5py.Dataset, filters: tuple[int, ...]) -> ChunkedVariable:
    chunk = dataset.chunks
    grid = tuple(-(-size // c) for size, c in zip(dataset.shape, chunk, strict=True))
    offsets = np.full(grid, ABSENT, np.int64)
    sizes, skipped = np.zeros(grid, np.int64), np.zeros(grid, np.uint32)

    def note(info: h5py.h5d.StoreInfo) -> None:
        index = tuple(o // c for o, c in zip(info.chunk_offset, chunk, strict=True))
        offsets[index], sizes[index] = info.byte_offset, info.size
        skipped[index] = info.filter_mask

    dataset.id.chunk_iter(note)
    return ChunkedVariable(
        path, dataset.dtype, dataset.shape, chunk, filters, dataset.fillvalue, offsets, sizes,
        skipped,
    )  # fmt: skip
