"""Zarr stores that are written a slab at a time, survive a kill, and are never half finished.

A store is written as `<name>.partial`, one slab (a day) after another, and renamed when it is
complete; then its manifest, a small JSON file, is written. A killed job continues at the slab where
it was stopped and ends with the same bytes. What the slabs were made from is kept beside the store
in `<name>.origin.json`, so that a store made from other files or settings is begun afresh.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import BloscCodec

from hybridom import __version__
from hybridom.progress import track

log = logging.getLogger(__name__)

Slab = Mapping[str, np.ndarray]

# Fast to read and a little smaller than the default; chosen by timing whole days.
COMPRESSOR = BloscCodec(cname="lz4", clevel=5, shuffle="shuffle")


@dataclass(frozen=True)
class StorePlan:
    """What a store will hold.

    Attributes:
        path: Folder of the finished store.
        manifest: JSON file that is written last.
        coordinates: Coordinates and bounds; the first dimension of every variable is its axis of
            slabs, one chunk an entry.
        variables: Variable -> (dimensions, attributes); values are float32, NaN on land.
        origin: What the slabs are made from: `config_hash`, `grid_hash` and more. A store with
            another origin is not continued.
    """

    path: Path
    manifest: Path
    coordinates: xr.Dataset
    variables: Mapping[str, tuple[tuple[str, ...], Mapping[str, str]]]
    origin: Mapping[str, str]

    @property
    def partial(self) -> Path:
        """Folder while the store is written."""
        return self.path.with_name(self.path.name + ".partial")

    @property
    def origin_file(self) -> Path:
        """What the store, or its unfinished form, was made from."""
        return self.path.with_name(self.path.name + ".origin.json")

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a variable."""
        return tuple(self.coordinates.sizes[d] for d in self.variables[name][0])

    @property
    def slabs(self) -> int:
        """Number of slabs."""
        return self.shape(next(iter(self.variables)))[0]


def write_store(plan: StorePlan, slab: Callable[[int], Slab], label: str) -> None:
    """Write a store, or what is missing of it, and its manifest.

    Args:
        plan: What to write.
        slab: Index -> variable -> (...) values of that entry of the first axis. Called in order.
        label: Words for the progress display.

    Raises:
        UserError: Whatever `slab` refuses; the slabs before it are kept.
    """
    same = _read_json(plan.origin_file) == dict(plan.origin)
    if same and plan.path.exists() and _intact(plan):
        log.info("%s: complete already, made from the same files and settings", plan.path)
        write_manifest(plan)
        return
    plan.manifest.unlink(missing_ok=True)
    if not (same and plan.partial.exists()):
        _begin(plan)
    arrays = group_arrays(plan.partial, "r+")
    first = _resume_at(plan)
    if first:
        log.info("%s: continues at slab %d of %d", plan.path, first + 1, plan.slabs)
    for index in track(range(first, plan.slabs), label=label):
        fields = slab(index)
        for name in plan.variables:
            arrays[name][index] = fields[name]
    if plan.path.exists():
        shutil.rmtree(plan.path)
    os.replace(plan.partial, plan.path)
    write_manifest(plan)


def _begin(plan: StorePlan) -> None:
    """Lay out an empty store; the origin file, written last, says that this is done."""
    plan.origin_file.unlink(missing_ok=True)
    for old in (plan.path, plan.partial):
        if old.exists():
            shutil.rmtree(old)
    plan.path.parent.mkdir(parents=True, exist_ok=True)
    plan.coordinates.to_zarr(plan.partial, mode="w", zarr_format=3, consolidated=False)
    group = zarr.open_group(plan.partial, mode="r+", use_consolidated=False)
    for name, (dimensions, attributes) in plan.variables.items():
        shape = plan.shape(name)
        group.create_array(
            name,
            shape=shape,
            chunks=(1, *shape[1:]),
            dtype=np.float32,
            fill_value=np.nan,
            dimension_names=dimensions,
            attributes=dict(attributes),
            compressors=COMPRESSOR,
            config={"write_empty_chunks": True},
        )
    write_json(plan.origin_file, plan.origin)


def _chunk(root: Path, plan: StorePlan, name: str, index: int) -> Path:
    return root.joinpath(name, "c", str(index), *["0"] * (len(plan.shape(name)) - 1))


def _complete_slabs(root: Path, plan: StorePlan) -> int:
    for index in range(plan.slabs):
        if not all(_chunk(root, plan, name, index).exists() for name in plan.variables):
            return index
    return plan.slabs


def _resume_at(plan: StorePlan) -> int:
    """First slab to write; the last complete one is repeated, a kill may have cut it short."""
    for leftover in plan.partial.rglob("*.partial"):
        leftover.unlink()
    return max(_complete_slabs(plan.partial, plan) - 1, 0)


def _intact(plan: StorePlan) -> bool:
    """Whether a finished store has all slabs and the bytes that its manifest promises, if any."""
    if _complete_slabs(plan.path, plan) < plan.slabs:
        return False
    manifest = _read_json(plan.manifest)
    return manifest is None or manifest.get("checksum") == checksum(plan.path)


def write_manifest(plan: StorePlan) -> None:
    """Write the manifest of a finished store: shapes, time range, checksum, version and hashes."""
    axis = next(iter(plan.variables.values()))[0][0]
    values = plan.coordinates[axis].values
    manifest = {
        "store": plan.path.name,
        "variables": list(plan.variables),
        "shapes": {name: list(plan.shape(name)) for name in plan.variables},
        "time_range": [_text(values[0], axis), _text(values[-1], axis)],
        "days": plan.slabs,
        "checksum": checksum(plan.path),
        "version": __version__,
        "config_hash": plan.origin["config_hash"],
        "grid_hash": plan.origin["grid_hash"],
    }
    write_json(plan.manifest, manifest)


def _text(value: Any, axis: str) -> str | int:
    return str(np.datetime64(int(value), "D")) if axis == "time" else int(value)


def checksum(path: Path) -> str:
    """SHA-256 over the chunk files of a store, names and bytes, in order of their names."""
    digest = hashlib.sha256()
    chunks = {p.relative_to(path).as_posix(): p for p in path.glob("*/c/**/*") if p.is_file()}
    for name in sorted(chunks):
        digest.update(name.encode())
        digest.update(chunks[name].read_bytes())
    return f"sha256:{digest.hexdigest()}"


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file that appears complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".partial")
    temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def group_arrays(path: Path, mode: Literal["r", "r+"]) -> dict[str, zarr.Array]:
    group = zarr.open_group(path, mode=mode, use_consolidated=False)
    return dict(group.arrays())
