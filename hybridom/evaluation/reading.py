"""Days read straight from the chunks of a store into memory that is used again.

Scores touch every value once or twice, so that what reading adds to decompression counts: another
pass over the values, a copy, or fresh memory, which the system has to clear, each cost as much as
a good part of it. Here a chunk is decompressed to its place and left as it is.
"""

from __future__ import annotations

import os
import struct
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numcodecs.blosc
import numpy as np

from hybridom.data.stores.fetching import OVERHEAD, ChunkRows, Rows, read_chunk

Shape = tuple[int, ...]
Take = Callable[[Shape], np.ndarray]

_held = threading.local()


class Buffers:
    """Arrays that are given out again once nobody refers to them any more."""

    def __init__(self) -> None:
        self._arrays: dict[Shape, list[np.ndarray]] = {}
        self._lock = threading.Lock()

    def take(self, shape: Shape) -> np.ndarray:
        """A float32 array of arbitrary contents.

        All views of it keep it from being given out again, as the array itself does.
        """
        with self._lock:
            held = self._arrays.setdefault(shape, [])
            for number in range(len(held)):
                # The list and the argument are two references; views are others.
                if sys.getrefcount(held[number]) == 2:
                    return held[number].view()
            held.append(np.empty(shape, np.float32))
            return held[-1].view()


# Those of this process: the next forecast is read into the memory of the one before it.
BUFFERS = Buffers()


def fresh(shape: Shape) -> np.ndarray:
    """A float32 array of arbitrary contents."""
    return np.empty(shape, np.float32)


def read_row(rows: Rows, row: int, cells: Shape, take: Take = fresh) -> np.ndarray:
    """One day of a variable, as stored.

    Args:
        rows: Of the variable (`fetching.rows_of`).
        row: Number of the day.
        cells: ([nz,] ny, nx) as the variable has.
        take: Gives memory.

    Returns:
        float32 (nz or 1, ny, nx).

    Raises:
        UserError: A chunk is damaged.
    """
    shape = (1, *cells)[-3:]
    if not isinstance(rows, ChunkRows):
        values, every = take(shape), np.ones(shape, np.uint8)
        for job in rows.jobs(row, values.reshape(1, *cells), every.reshape(cells)):
            job.work()
        return values
    levels = rows.chunks[1] if len(cells) == 3 else 1
    chunks = -(-shape[0] // levels)
    # The last chunk may reach beyond the lowest level.
    values = take((chunks * levels, *shape[1:]))
    for number in range(chunks):
        place = (number, 0, 0)[3 - len(cells) :]
        path = rows.folder.joinpath("c", str(row), *map(str, place))
        decode(path, values[number * levels : (number + 1) * levels])
    return values[: shape[0]]


def decode(path: Path, out: np.ndarray) -> None:
    """Decompress a chunk to its place; NaN where there is no file.

    Args:
        path: Its file.
        out: (levels, ny, nx), contiguous.

    Raises:
        UserError: The file is damaged.
    """
    raw = _read(path)
    # The decoder trusts the sizes in the header, so they are compared with the truth first.
    if raw.size >= OVERHEAD and struct.unpack_from("<4xI4xI", raw.data) == (out.nbytes, raw.size):
        try:
            numcodecs.blosc.decompress(raw, out.reshape(-1))
            return
        except (RuntimeError, ValueError):
            pass
    # That one finds what is wrong.
    read_chunk(path, out.shape, out, np.ones(out.shape, np.uint8))


def _read(path: Path) -> np.ndarray:
    """The bytes of a file, none where there is no file; in memory that the thread keeps."""
    try:
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            raw: Any = getattr(_held, "raw", None)
            if raw is None or raw.size < size:
                raw = _held.raw = np.empty(size, np.uint8)
            length = 0
            while count := file.readinto(raw[length:size]):
                length += count
            return raw[:length]
    except FileNotFoundError:
        return np.empty(0, np.uint8)
