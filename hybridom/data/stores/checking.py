"""Whether the bytes of stores are those that were written, and every wet cell has a number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from hybridom.data.stores.fetching import rows_of
from hybridom.data.stores.info import read_manifest
from hybridom.data.stores.journal import slab_digest, slab_files
from hybridom.data.stores.manifest import slab_layout
from hybridom.data.stores.plan import origin_file
from hybridom.data.stores.reading import manifest_file, require_store
from hybridom.data.stores.threads import shared_pool
from hybridom.data.stores.writing import group_arrays
from hybridom.errors import UserError
from hybridom.files import read_json, write_json
from hybridom.grid import read_grid
from hybridom.progress import track
from hybridom.variables import VARIABLES

Mask = NDArray[np.bool_]
Cells = tuple[Mask, Mask]  # wet at the surface (ny, nx), and at the levels of a store (n, ny, nx)


@dataclass(frozen=True)
class Fault:
    """What is wrong with one slab.

    Attributes:
        path: The store.
        slab: Its name: a day, or a number.
        reason: In words.
    """

    path: Path
    slab: str
    reason: str

    def __str__(self) -> str:
        """One line for the user."""
        return f"{self.path}: {self.slab}: {self.reason}"


def stores_in(path: Path) -> list[Path]:
    """The store itself, or all finished stores of a folder.

    Raises:
        UserError: There is none.
    """
    if path.suffix == ".zarr":
        require_store(path)
        return [path]
    found = sorted(p for p in path.glob("*.zarr") if p.is_dir())
    if not found:
        raise UserError(f"{path}: no finished store; expected NAME.zarr or a folder of such")
    return found


def check_store(path: Path) -> list[Fault]:
    """Compare every chunk with the digests of the manifest, and every wet cell with a number.

    Wet cells are those of grid.nc beside the store or one folder above, where there is one.

    Args:
        path: A finished store.

    Returns:
        Faults in the order of the slabs.

    Raises:
        UserError: The store or its manifest is missing.
    """
    require_store(path)
    digests = read_manifest(path)["slabs"]
    labels, parts = slab_layout(path)
    gaps = set(zarr.open_group(path, mode="r", use_consolidated=False).attrs.get("gaps", ()))  # type: ignore[arg-type]
    arrays, wet = group_arrays(path, "r"), _wet_beside(path)

    def reason(index: int) -> str | None:
        label = labels[index]
        files = slab_files(path, parts, index)
        missing = [file for file in files if not file.exists()]
        if label in gaps:
            return "a gap that holds chunks" if len(missing) < len(files) else None
        if label not in digests:
            return "the manifest has no digest of it"
        if missing:
            chunk = missing[0].relative_to(path)
            return f"chunk {chunk} is missing, and {len(missing) - 1} others of {len(files)}"
        if slab_digest(path, parts, index) != digests[label]:
            return "other bytes than were written: damaged or altered"
        return _without_value({name: arrays[name] for name in parts}, wet, index)

    found = shared_pool().map(reason, range(len(labels)))
    reasons = track(zip(labels, found, strict=True), len(labels), f"check {path.name}")
    return [Fault(path, label, text) for label, text in reasons if text is not None]


def _wet_beside(path: Path) -> Cells | None:
    for folder in (path.parent, path.parent.parent):
        if (folder / "grid.nc").exists():
            grid, wet = read_grid(folder / "grid.nc")
            held = group_arrays(path, "r").get("depth")
            depths = grid.depth if held is None else np.asarray(held[:])
            return wet[0], wet[[int(np.abs(grid.depth - z).argmin()) for z in depths]]
    return None


def _without_value(arrays: Mapping[str, Any], wet: Cells | None, index: int) -> str | None:
    """The first variable of a slab that lacks a value where it must have one."""
    for name, array in arrays.items():
        values = np.empty((1, *array.shape[1:]), np.float32)
        cover = np.ones(values.shape[1:], np.uint8)
        if VARIABLES[name].role != "forcing":
            if wet is None:
                continue
            cells = wet["depth" in array.metadata.dimension_names]
            cover = np.array(np.broadcast_to(cells, cover.shape), np.uint8)
        bad = sum(job.work() for job in rows_of(name, array).jobs(index, values, cover))
        if bad:
            return f"variable {name} has no value in {bad} cells that need one"
    return None


def forget(path: Path, slabs: Iterable[str]) -> None:
    """Have slabs made again when the stage of a store runs next; all others are kept.

    The manifest is removed, since it describes the store as it should be.
    """
    origin = read_json(origin_file(path))
    if not isinstance(origin, dict) or "slabs" not in origin:
        raise UserError(
            f"{origin_file(path)}: missing or damaged, so no slab can be kept; run the stage that "
            "made the store again"
        )
    drop = set(slabs)
    kept = {label: record for label, record in origin["slabs"].items() if label not in drop}
    manifest_file(path).unlink(missing_ok=True)
    write_json(origin_file(path), {**origin, "slabs": kept})
