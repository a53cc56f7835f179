"""Zarr stores that are written a slab at a time, survive a kill, and are never half finished.

A store is written as `<name>.partial`, one slab (a day) after another, and renamed when it is
complete; then its manifest, a small JSON file, is written. A journal beside it (`journal.py`) says
which slabs are there, so that a killed job makes only the others and ends with the same bytes.
What the slabs were made from is kept in `<name>.origin.json`: a store made from other settings is
begun afresh, one of which a single input has changed is put back to `.partial`, its manifest being
removed first, and only the slab of that input is written again.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
import shutil
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numcodecs
import numpy as np
import xarray as xr
import zarr
from numcodecs.bitround import BitRound

from hybridom.data.stores.journal import (
    Journal,
    Ranges,
    Record,
    slab_digest,
    slab_files,
)
from hybridom.data.stores.manifest import write_manifest
from hybridom.data.stores.plan import Slab, Slabs, StorePlan
from hybridom.data.stores.threads import shared_pool
from hybridom.errors import UserError
from hybridom.files import read_json, write_json
from hybridom.progress import track

log = logging.getLogger(__name__)

WRITERS = 2  # compressing and hashing keep up with any preparation; each holds a slab in memory
MANTISSA = 23  # bits of float32

# CF-1.12, section 8.4: the variable that says how others were rounded.
QUANTIZATION = "quantization_info"


def write_store(plan: StorePlan, slabs: Slabs, label: str) -> None:
    """Write a store, or what is missing of it, and its manifest.

    Slabs are compressed, written and hashed while the next ones are made.

    Args:
        plan: What to write.
        slabs: Yields the slabs of the given indices in that order; a slab maps each variable to
            its values ([nz,] ny, nx).
        label: Words for the progress display.

    Raises:
        UserError: Whatever `slabs` refuses, the slabs before it being kept; the disk is full; or
            slabs are absent and `plan` allows no gaps, when all others have been written.
    """
    with _full_disk(plan):
        records = _recorded(plan)
        if records is None:
            _begin(plan)
            records = {}
        root = plan.path if plan.path.exists() else plan.partial
        if root == plan.path and plan.partial.exists():
            shutil.rmtree(plan.partial)
        held = _held(plan, root, records, label)
        todo = [i for i in range(plan.slabs) if i not in held and i not in plan.absent]
        gone = [i for i in plan.absent if plan.gaps_allowed and _any_chunk(root, plan, i)]
        if root == plan.partial or todo or gone:
            absent = () if plan.gaps_allowed else plan.absent.keys() & records.keys()
            aside = {index: records[index] for index in absent}
            journal = _unfinish(plan, root, {**held, **aside})
            if held and todo:
                log.info("%s: %d of %d slabs are kept", plan.path, len(held), plan.slabs)
            for index in gone:
                _remove_slab(plan, index)
            held |= _write_slabs(plan, todo, slabs, label, journal)
        else:
            log.info("%s: complete already, made from the same files and settings", plan.path)
        if plan.absent and not plan.gaps_allowed:
            raise UserError(_lacking(plan, len(held)))
        _finish(plan, {index: held[index] for index in sorted(held)})


def quantized(values: np.ndarray, bits: int) -> np.ndarray:
    """Round float32 values to `bits` mantissa bits, to nearest, ties to even.

    The relative error is at most 2^-(bits + 1). NaN stays NaN.
    """
    codec = BitRound(bits)
    rounded = codec.decode(codec.encode(np.ascontiguousarray(values, np.float32)))
    # Rounding up carries through a NaN whose mantissa is all ones into the sign of zero.
    return np.where(np.isnan(values), np.float32(np.nan), rounded)


def group_arrays(path: Path, mode: Literal["r", "r+"]) -> dict[str, zarr.Array]:
    """All arrays of a store."""
    return dict(zarr.open_group(path, mode=mode, use_consolidated=False).arrays())


def _recorded(plan: StorePlan) -> dict[int, Record] | None:
    """Records of the slabs of a store with this origin; None where there is no such store."""
    origin = read_json(plan.origin_file)
    if origin is None or not (plan.path.exists() or plan.partial.exists()):
        return None
    finished = origin.pop("slabs", {})
    if origin != plan.identity:
        return None
    found = Journal(plan.journal_file).read()
    if found is None:
        found = {label: Record.of(content) for label, content in finished.items()}
    return {i: found[label] for i, label in enumerate(plan.labels) if label in found}


def _begin(plan: StorePlan) -> None:
    """Lay out an empty store; the origin file, written last, says that this is done."""
    for file in (plan.origin_file, plan.manifest, plan.journal_file):
        file.unlink(missing_ok=True)
    for old in (plan.path, plan.partial):
        if old.exists():
            shutil.rmtree(old)
    plan.path.parent.mkdir(parents=True, exist_ok=True)
    coordinates, rounding = plan.coordinates, {}
    if plan.keepbits:
        rounding = {"algorithm": "bitround", "implementation": _implementation()}
        coordinates = coordinates.assign({QUANTIZATION: ((), np.int32(0), rounding)})
    coordinates.to_zarr(plan.partial, mode="w", zarr_format=3, consolidated=False)
    group = zarr.open_group(plan.partial, mode="r+", use_consolidated=False)
    for name, (dimensions, attributes) in plan.variables.items():
        group.create_array(
            name,
            shape=plan.shape(name),
            chunks=plan.chunks(name),
            dtype=np.float32,
            fill_value=np.nan,
            dimension_names=dimensions,
            attributes={**attributes, **_rounding_attributes(plan.keepbits.get(name))},
            compressors=plan.compressor,
            config={"write_empty_chunks": True},
        )
    write_json(plan.origin_file, plan.identity)


def _implementation() -> str:
    return f"numcodecs version {numcodecs.__version__}"


def _rounding_attributes(bits: int | None) -> dict[str, Any]:
    if bits is None:
        return {}
    return {
        "quantization": QUANTIZATION,
        "quantization_nsb": bits,
        "quantization_maximum_relative_error": 2.0 ** -(bits + 1) if bits < MANTISSA else 0.0,
    }


def _held(
    plan: StorePlan, root: Path, records: Mapping[int, Record], label: str
) -> dict[int, Record]:
    """Slabs that need not be made: same key, and the bytes that were written."""
    same = {i: r for i, r in records.items() if r.key == plan.key(i) and i not in plan.absent}
    if not same:
        return {}
    digests = shared_pool().map(lambda index: slab_digest(root, plan.parts, index), same)
    found = track(zip(same, digests, strict=True), len(same), f"{label}: verifying")
    return {index: same[index] for index, digest in found if digest == same[index].digest}


def _any_chunk(root: Path, plan: StorePlan, index: int) -> bool:
    return any(path.exists() for path in slab_files(root, plan.parts, index))


def _unfinish(plan: StorePlan, root: Path, records: Mapping[int, Record]) -> Journal:
    """Make a store one that is being written, with these slabs in its journal.

    The journal comes first, since it must outlive the manifest; the manifest goes before a chunk
    changes, so that none ever promises other bytes.
    """
    journal = Journal(plan.journal_file)
    journal.rewrite({plan.labels[index]: record for index, record in records.items()})
    plan.manifest.unlink(missing_ok=True)
    if root == plan.path:
        os.replace(plan.path, plan.partial)
    for name in plan.variables:
        for leftover in (plan.partial / name).rglob("*.partial"):
            leftover.unlink()
    return journal


def _remove_slab(plan: StorePlan, index: int) -> None:
    log.warning("%s: %s is now a gap: %s", plan.path, plan.labels[index], plan.absent[index])
    for path in slab_files(plan.partial, plan.parts, index):
        path.unlink(missing_ok=True)
    for name in plan.variables:
        shutil.rmtree(plan.partial / name / "c" / str(index), ignore_errors=True)


def _write_slabs(
    plan: StorePlan, todo: list[int], slabs: Slabs, label: str, journal: Journal
) -> dict[int, Record]:
    """Write slabs, a few behind the one that is being made; what was begun is always finished."""
    if not todo:
        return {}
    arrays = group_arrays(plan.partial, "r+")
    source = slabs(todo)
    pending: deque[Future[Record]] = deque()
    records: list[Record] = []
    try:
        with ThreadPoolExecutor(WRITERS, thread_name_prefix="store") as pool:
            for index, fields in track(zip(todo, source, strict=True), len(todo), label):
                if len(pending) == WRITERS:
                    records.append(pending.popleft().result())
                pending.append(pool.submit(_write_slab, plan, arrays, index, fields, journal))
            records += [future.result() for future in pending]
    finally:
        if isinstance(source, Iterator) and hasattr(source, "close"):
            source.close()
    return dict(zip(todo, records, strict=True))


def _write_slab(
    plan: StorePlan,
    arrays: Mapping[str, zarr.Array],
    index: int,
    fields: Slab,
    journal: Journal,
) -> Record:
    """Write the chunks of a slab, then its line in the journal."""
    ranges: Ranges = {}
    for name in plan.variables:
        bits = plan.keepbits.get(name)
        values = fields[name] if bits is None else quantized(fields[name], bits)
        arrays[name][index] = values
        low, high = float(np.fmin.reduce(values, None)), float(np.fmax.reduce(values, None))
        if math.isfinite(low) and math.isfinite(high):
            ranges[name] = (low, high)
    # Read back while it is still in memory, so that the digest is that of the files.
    digest = slab_digest(plan.partial, plan.parts, index)
    if digest is None:
        raise FileNotFoundError(errno.ENOENT, "chunk vanished", str(plan.partial))
    record = Record(plan.key(index), digest, ranges)
    journal.append(plan.labels[index], record)
    return record


def _lacking(plan: StorePlan, done: int) -> str:
    first = min(plan.absent)
    return (
        f"{plan.path}: {done} of {plan.slabs} slabs are done, {len(plan.absent)} cannot be made, "
        f"first {plan.labels[first]}: {plan.absent[first]}; mend that and run again (nothing is "
        "made twice), or set source.gaps to record"
    )


def _finish(plan: StorePlan, records: Mapping[int, Record]) -> None:
    """Name the gaps, rename, and write origin and manifest; may be repeated after a kill."""
    root = plan.partial if plan.partial.exists() else plan.path
    group = zarr.open_group(root, mode="r+", use_consolidated=False)
    wanted = {name: group.attrs[name] for name in group.attrs if name != "gaps"}
    wanted |= dict(xr.Dataset(attrs=plan.coordinates.attrs).attrs)
    if plan.absent:
        wanted["gaps"] = [plan.labels[index] for index in sorted(plan.absent)]
    if plan.keepbits:
        wanted["Conventions"] = "CF-1.12"
    if dict(group.attrs) != wanted:
        group.attrs.put(wanted)
    if root == plan.partial:
        os.replace(plan.partial, plan.path)
    named = {plan.labels[index]: record for index, record in records.items()}
    slabs = {
        label: {"key": r.key, "digest": r.digest, "ranges": r.ranges} for label, r in named.items()
    }
    write_json(plan.origin_file, {**plan.identity, "slabs": slabs})
    write_manifest(plan, named)
    plan.journal_file.unlink(missing_ok=True)


@contextlib.contextmanager
def _full_disk(plan: StorePlan) -> Iterator[None]:
    """Say in one line that the disk is full; what was written so far is kept."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        slab = 4 * sum(math.prod(plan.shape(name)[1:]) for name in plan.variables)
        free = shutil.disk_usage(plan.path.parent).free
        raise UserError(
            f"{plan.partial}: the disk is full, {free:,} bytes are free; expected up to {slab:,} "
            f"bytes for each of {plan.slabs} slabs: free some space and run again, nothing is lost"
        ) from error
