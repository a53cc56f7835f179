"""Days of a variable read straight into place, by threads, with land set to zero on the way.

Read through Zarr, a chunk is copied from the file to a buffer, decoded into a second and copied
into the result, where land and missing values then need a pass of their own: 3 GB/s at most on 4
cores, half of it spent on fresh memory. Here each thread reads a chunk into a buffer that it
keeps, decodes it to its place in the result, and clears land and counts missing values while the
chunk is still in the cache. That fits what this package writes (whole levels in one chunk, Blosc);
any other array is read as it offers itself, and `PlainRows` is the reference for both.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import numba
import numcodecs.blosc
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, BytesCodec
from zarr.storage import LocalStore

from hybridom.data.stores.plan import chunk_counts
from hybridom.data.stores.reading import ArrayLike
from hybridom.data.stores.threads import shared_pool
from hybridom.errors import UserError

Float32 = NDArray[np.float32]
Cover = NDArray[np.uint8]  # 1 where values are kept, 0 on land

OVERHEAD = 16  # bytes by which Blosc's output may exceed its input
EXPONENT = np.uint32(0x7F800000)  # all ones in infinities and NaN, in nothing else

_buffers = threading.local()


@dataclass(frozen=True)
class Job:
    """A part of a read.

    Attributes:
        work: Reads it, and returns the number of kept values that are not finite.
        name: Variable.
        row: First row read.
    """

    work: Callable[[], int]
    name: str
    row: int


class Rows(Protocol):
    """Rows (days) of a variable."""

    def jobs(self, row: int, out: Float32, cover: Cover) -> Iterator[Job]:
        """Work that together fills `out` with `len(out)` rows from `row` on.

        Args:
            row: First row.
            out: (n, [nz,] ny, nx), contiguous.
            cover: ([nz,] ny, nx); where it is 0, `out` becomes 0.
        """


@dataclass(frozen=True)
class MemoryRows:
    """Rows that lie in memory, land being 0 already.

    Attributes:
        name: Variable.
        values: (rows, [nz,] ny, nx).
        first: Row number of the first.
    """

    name: str
    values: Float32
    first: int

    def jobs(self, row: int, out: Float32, cover: Cover) -> Iterator[Job]:
        """As `Rows.jobs`; one job a row, so that the caller owns a copy."""
        for number in range(len(out)):

            def work(number: int = number) -> int:
                out[number] = self.values[row + number - self.first]
                return 0

            yield Job(work, self.name, row + number)


@dataclass(frozen=True)
class PlainRows:
    """Rows of any array, read as one slab.

    Attributes:
        name: Variable.
        array: (rows, [nz,] ny, nx).
    """

    name: str
    array: ArrayLike

    def jobs(self, row: int, out: Float32, cover: Cover) -> Iterator[Job]:
        """As `Rows.jobs`; a single job."""

        def work() -> int:
            out[:] = np.where(cover, self.array[row : row + len(out)], np.float32(0.0))
            return int(np.count_nonzero(~np.isfinite(out)))

        yield Job(work, self.name, row)


@dataclass(frozen=True)
class ChunkRows:
    """Rows of a variable as `write_store` lays it out.

    Attributes:
        name: Variable.
        folder: Of its array.
        shape: (rows, [nz,] ny, nx).
        chunks: (1, [levels,] ny, nx).
    """

    name: str
    folder: Path
    shape: tuple[int, ...]
    chunks: tuple[int, ...]

    def jobs(self, row: int, out: Float32, cover: Cover) -> Iterator[Job]:
        """As `Rows.jobs`; one job a chunk."""
        parts = chunk_counts(self.shape, self.chunks)
        for number, place in product(range(len(out)), product(*map(range, parts))):
            path = self.folder.joinpath("c", str(row + number), *map(str, place))
            inside: Any = ()
            if len(place) == 3:
                inside = slice(place[0] * self.chunks[1], (place[0] + 1) * self.chunks[1])

            def work(path: Path = path, number: int = number, inside: Any = inside) -> int:
                return read_chunk(path, self.chunks[1:], out[number][inside], cover[inside])

            yield Job(work, self.name, row + number)


def rows_of(name: str, array: ArrayLike) -> Rows:
    """The fastest way to read an array."""
    if isinstance(array, zarr.Array) and _is_ours(array):
        folder = Path(array.store.root) / array.path
        return ChunkRows(name, folder, array.shape, array.chunks)
    return PlainRows(name, array)


def _is_ours(array: zarr.Array) -> bool:
    """Whether an array is float32 in whole levels, each chunk a file compressed by Blosc."""
    codecs: tuple[Any, ...] = getattr(array.metadata, "codecs", ())
    shape, chunks = tuple(array.shape), tuple(array.chunks)
    return (
        isinstance(array.store, LocalStore)
        and array.dtype == np.dtype("<f4")
        and len(shape) in (3, 4)
        and chunks[:1] == (1,)
        and chunks[-2:] == shape[-2:]
        and len(codecs) == 2
        and codecs[0] == BytesCodec(endian="little")
        and isinstance(codecs[1], BloscCodec)
        and array.metadata.encode_chunk_key((1,) * len(shape)) == "c" + "/1" * len(shape)
    )


def run(jobs: Sequence[Job], threads: int | None = None) -> list[tuple[Job, int]]:
    """Do all jobs in the threads of `shared_pool`.

    Returns:
        Jobs that met kept values that are not finite, with the number of these.

    Raises:
        UserError: A chunk is damaged.
    """
    bad = shared_pool(threads).map(lambda job: job.work(), jobs)
    return [(job, count) for job, count in zip(jobs, bad, strict=True) if count]


def read_chunk(path: Path, shape: tuple[int, ...], out: Float32, cover: Cover) -> int:
    """Read one chunk into place.

    Args:
        path: Its file; where there is none, every value is missing.
        shape: ([levels,] ny, nx) of a full chunk; the last of a variable may reach beyond it.
        out: ([n,] ny, nx), n <= levels, contiguous.
        cover: Of `out`.

    Returns:
        Number of kept values that are not finite.

    Raises:
        UserError: The file is damaged.
    """
    size = 4 * int(np.prod(shape))
    raw = _buffer("raw", size + OVERHEAD + 1)
    try:
        with path.open("rb", buffering=0) as file:
            length = _read_fully(file, raw)
    except FileNotFoundError:
        out[...] = np.where(cover, np.float32(np.nan), np.float32(0.0))
        return int(np.count_nonzero(cover))
    # The decoder trusts the sizes in the header, so they are compared with the truth first.
    if length < OVERHEAD or struct.unpack_from("<4xI4xI", raw.data) != (size, length):
        raise _damaged(path)
    values = out if out.nbytes == size else _buffer("values", size).view(np.float32)
    try:
        numcodecs.blosc.decompress(raw[:length], values.reshape(-1))
    except (RuntimeError, ValueError) as error:
        raise _damaged(path) from error
    flat = values.reshape(-1)[: out.size].view(np.uint32)
    return int(_clear(flat, cover.reshape(-1), out.reshape(-1).view(np.uint32)))


def _read_fully(file: Any, raw: NDArray[np.uint8]) -> int:
    """Bytes read, to the end of the file or of `raw`; one call may return fewer."""
    length = 0
    while count := file.readinto(raw[length:]):
        length += count
    return length


def _buffer(name: str, size: int) -> NDArray[np.uint8]:
    """A buffer of this thread, kept because fresh memory costs as much as decoding."""
    held: NDArray[np.uint8] | None = getattr(_buffers, name, None)
    if held is None or held.size < size:
        held = np.empty(size, np.uint8)
        setattr(_buffers, name, held)
    return held[:size]


def _damaged(path: Path) -> UserError:
    return UserError(
        f"{path}: the chunk is damaged, expected as many bytes as its header says: find all such "
        "with `hybridom store check` and mend them with `hybridom store repair`"
    )


@numba.njit(nogil=True, cache=True)
def _clear(
    source: NDArray[np.uint32], cover: NDArray[np.uint8], out: NDArray[np.uint32]
) -> int:  # pragma: no cover
    """Copy bit patterns, 0 where not covered; count those of infinities and NaN."""
    bad = np.uint32(0)
    for i in range(out.size):
        bits = source[i] & (np.uint32(0) - np.uint32(cover[i]))
        out[i] = bits
        bad += np.uint32((bits & EXPONENT) == EXPONENT)
    return int(bad)
