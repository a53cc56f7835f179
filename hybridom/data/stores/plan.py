"""What a store will hold, and how its values lie in chunks."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from zarr.codecs import BloscCodec

Slab = Mapping[str, np.ndarray]
# Indices of the first axis -> their slabs, in that order.
Slabs = Callable[[Sequence[int]], Iterator[Slab]]

# Both measured by reading whole days on 4 cores (`hybridom bench loader`): lz4 decodes three times
# faster than zstd for 7 % more bytes; chunks of one level halve the rate, and one chunk for all
# levels, as fast in a window, divides a single day among too few threads.
COMPRESSOR = BloscCodec(cname="lz4", clevel=5, shuffle="shuffle")
CHUNK_BYTES = 10_000_000


def chunk_shape(shape: Sequence[int], limit: int = CHUNK_BYTES) -> tuple[int, ...]:
    """Chunks of a float32 variable: one day, and as many levels as fit.

    Args:
        shape: (days, [nz,] ny, nx).
        limit: Bytes of a chunk before compression; one level is never divided.

    Returns:
        (1, [levels,] ny, nx), the levels dealt as evenly as they go.
    """
    if len(shape) == 3:
        return (1, *shape[1:])
    levels = shape[1]
    fitting = min(levels, max(1, limit // (4 * math.prod(shape[2:]))))
    return (1, math.ceil(levels / math.ceil(levels / fitting)), *shape[2:])


@dataclass(frozen=True)
class StorePlan:
    """What a store will hold.

    Attributes:
        path: Folder of the finished store.
        manifest: JSON file that is written last.
        coordinates: Coordinates and bounds; the first dimension of every variable is its axis of
            slabs, one chunk an entry.
        variables: Variable -> (dimensions, attributes); values are float32, NaN on land.
        origin: What all slabs are made from: `config_hash`, `grid_hash` and more. A store with
            another origin is begun afresh.
        keys: What each slab is made from beside that; a slab whose key has changed is written
            again, alone. Empty: the slabs depend on `origin` only.
        keepbits: Variable -> bits kept of 23 mantissa bits; the others are exact.
        absent: Index of a slab that cannot be made -> why, in one line.
        gaps_allowed: A store without the absent slabs is complete, and says so.
        extras: More entries of the manifest.
        compressor: Codec of the chunks; None for none.
        chunk_bytes: Largest chunk before compression, see `chunk_shape`.
    """

    path: Path
    manifest: Path
    coordinates: xr.Dataset
    variables: Mapping[str, tuple[tuple[str, ...], Mapping[str, str]]]
    origin: Mapping[str, str]
    keys: tuple[str, ...] = ()
    keepbits: Mapping[str, int] = field(default_factory=dict)
    absent: Mapping[int, str] = field(default_factory=dict)
    gaps_allowed: bool = False
    extras: Mapping[str, Any] = field(default_factory=dict)
    compressor: BloscCodec | None = COMPRESSOR
    chunk_bytes: int = CHUNK_BYTES

    @property
    def partial(self) -> Path:
        """Folder while the store is written."""
        return self.path.with_name(self.path.name + ".partial")

    @property
    def origin_file(self) -> Path:
        """What the store, or its unfinished form, was made from."""
        return origin_file(self.path)

    @property
    def journal_file(self) -> Path:
        """The slabs of the unfinished store."""
        return self.path.with_name(self.path.name + ".journal")

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a variable."""
        return tuple(self.coordinates.sizes[d] for d in self.variables[name][0])

    def chunks(self, name: str) -> tuple[int, ...]:
        """Chunk shape of a variable."""
        return chunk_shape(self.shape(name), self.chunk_bytes)

    @cached_property
    def parts(self) -> dict[str, tuple[int, ...]]:
        """Variable -> number of chunks of one slab along each of its axes but the first."""
        return {name: chunk_counts(self.shape(name), self.chunks(name)) for name in self.variables}

    @property
    def axis(self) -> str:
        """Name of the axis of slabs."""
        return next(iter(self.variables.values()))[0][0]

    @property
    def slabs(self) -> int:
        """Number of slabs, absent ones included."""
        return int(self.coordinates.sizes[self.axis])

    @cached_property
    def labels(self) -> list[str]:
        """Names of the slabs: days as YYYY-MM-DD, anything else as a number."""
        return slab_labels(self.axis, self.coordinates[self.axis].values)

    def key(self, index: int) -> str:
        """What a slab is made from, see `keys`."""
        return self.keys[index] if self.keys else ""

    @cached_property
    def identity(self) -> dict[str, str]:
        """`origin`, and a hash of everything else that reaches the bytes of all slabs."""
        digest = hashlib.sha256()
        codec = None if self.compressor is None else self.compressor.to_dict()
        described = [self.variables, self.keepbits, self.parts, codec]
        digest.update(json.dumps(described, sort_keys=True, default=str).encode())
        for name, variable in sorted(self.coordinates.variables.items(), key=lambda x: str(x[0])):
            digest.update(f"{name} {variable.dims} {sorted(variable.attrs.items())}".encode())
            digest.update(np.ascontiguousarray(variable.values).tobytes())
        return {**self.origin, "layout_hash": digest.hexdigest()}


def origin_file(path: Path) -> Path:
    """Where it is kept what the store at `path` was made from."""
    return path.with_name(path.name + ".origin.json")


def chunk_counts(shape: Sequence[int], chunks: Sequence[int]) -> tuple[int, ...]:
    """Number of chunks along each axis but the first."""
    return tuple(math.ceil(n / c) for n, c in zip(shape[1:], chunks[1:], strict=True))


def slab_labels(axis: str, values: np.ndarray) -> list[str]:
    """Names of the entries of an axis; `time` counts days since 1970-01-01."""
    if axis == "time":
        return [str(np.datetime64(int(value), "D")) for value in values]
    return [str(int(value)) for value in values]
