"""The manifest of a finished store: what it holds, and the digests of its slabs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import zarr

from hybridom import __version__
from hybridom.data.stores.journal import Ranges, Record, slab_digest
from hybridom.data.stores.plan import StorePlan, chunk_counts, slab_labels
from hybridom.data.stores.threads import shared_pool
from hybridom.files import write_json


def write_manifest(plan: StorePlan, records: Mapping[str, Record]) -> None:
    """Write shapes, time range, gaps, ranges, digests, version and hashes.

    Args:
        plan: The store.
        records: Slab -> its record, in the order of the store.
    """
    first_last = [plan.labels[0], plan.labels[-1]]
    manifest = {
        "store": plan.path.name,
        "variables": list(plan.variables),
        "shapes": {name: list(plan.shape(name)) for name in plan.variables},
        "time_range": first_last if plan.axis == "time" else [int(x) for x in first_last],
        "days": plan.slabs,
        "gaps": [plan.labels[index] for index in sorted(plan.absent)],
        "keepbits": dict(plan.keepbits),
        "ranges": _ranges(record.ranges for record in records.values()),
        **plan.extras,
        "checksum": _combined({label: record.digest for label, record in records.items()}),
        "version": __version__,
        "config_hash": plan.origin["config_hash"],
        "grid_hash": plan.origin["grid_hash"],
        "slabs": {label: record.digest for label, record in records.items()},
    }
    write_json(plan.manifest, manifest)


def _ranges(of_slabs: Iterable[Ranges]) -> Ranges:
    total: Ranges = {}
    for ranges in of_slabs:
        for name, (low, high) in ranges.items():
            least, largest = total.get(name, (low, high))
            total[name] = (min(low, least), max(high, largest))
    return {name: total[name] for name in sorted(total)}


def _combined(digests: Mapping[str, str]) -> str:
    """Checksum of a store from those of its slabs."""
    lines = "".join(f"{label} {digest}\n" for label, digest in digests.items())
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def slab_layout(path: Path) -> tuple[list[str], dict[str, tuple[int, ...]]]:
    """Slabs of a store on disk.

    Returns:
        Names of all slabs; and variable -> number of chunks of a slab along its other axes. The
        coordinates of a store have two axes at most, its variables three or four.
    """
    arrays = dict(zarr.open_group(path, mode="r", use_consolidated=False).arrays())
    parts = {
        name: chunk_counts(array.shape, array.chunks)
        for name, array in arrays.items()
        if array.ndim >= 3
    }
    axis = str(arrays[next(iter(parts))].metadata.dimension_names[0])  # type: ignore[union-attr,index]
    return slab_labels(axis, np.asarray(arrays[axis][:])), parts


def checksum(path: Path) -> str:
    """Checksum of a finished store from its chunk files, as in its manifest; reads all of them."""
    labels, parts = slab_layout(path)
    digests = shared_pool().map(lambda i: slab_digest(path, parts, i), range(len(labels)))
    found = zip(labels, digests, strict=True)
    return _combined({label: digest for label, digest in found if digest is not None})
