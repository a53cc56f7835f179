"""What a finished store holds, from its manifest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hybridom.data.stores.journal import Ranges
from hybridom.data.stores.reading import manifest_file, require_store
from hybridom.data.stores.writing import group_arrays
from hybridom.errors import UserError
from hybridom.files import read_json

SHOWN = 5  # days of a list that are printed


@dataclass(frozen=True)
class StoreInfo:
    """What a finished store holds.

    Attributes:
        days: Entries that hold data.
        first: The first entry: a day, or a number.
        last: The last one.
        gaps: Days without data.
        interim_days: Days made from interim files.
        ranges: Variable -> least and largest value.
        bytes: Size on disk.
        plain_bytes: Size of the same values as plain float32.
    """

    days: int
    first: str
    last: str
    gaps: list[str]
    interim_days: list[str]
    ranges: Ranges
    bytes: int
    plain_bytes: int


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a store, which must hold the digests of its slabs.

    Raises:
        UserError: It is missing or damaged.
    """
    manifest = read_json(manifest_file(path))
    if not isinstance(manifest, dict) or not isinstance(manifest.get("slabs"), dict):
        raise UserError(
            f"{manifest_file(path)}: no digests of {path.name}; expected the manifest that is "
            "written with a store: run the stage that made it again"
        )
    return manifest


def store_info(path: Path) -> StoreInfo:
    """Days, gaps, ranges and sizes of a finished store.

    Raises:
        UserError: The store or its manifest is missing.
    """
    require_store(path)
    manifest = read_manifest(path)
    days = len(manifest["slabs"])
    cells = sum(int(np.prod(shape[1:])) for shape in manifest["shapes"].values())
    first, last = map(str, manifest["time_range"])
    return StoreInfo(
        days,
        first,
        last,
        manifest["gaps"],
        manifest.get("interim_days", []),
        {name: (low, high) for name, (low, high) in manifest["ranges"].items()},
        sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
        4 * days * cells,
    )


def describe(path: Path) -> str:
    """What a store holds, as text of several lines.

    Raises:
        UserError: The store or its manifest is missing.
    """
    info, manifest = store_info(path), read_manifest(path)
    smaller = info.plain_bytes / max(info.bytes, 1)
    lines = [
        f"{path}",
        f"  entries   {info.first} to {info.last}, {info.days} of {manifest['days']} hold data",
        f"  gaps      {_listed(info.gaps)}",
        f"  interim   {_listed(info.interim_days)}",
        f"  size      {info.bytes / 1e6:,.1f} MB, {smaller:.2f} times smaller than plain",
        f"  made by   hybridom {manifest['version']}, configuration {manifest['config_hash']}",
        f"  grid      {manifest['grid_hash']}",
        f"  checksum  {manifest['checksum']}",
        f"  {'variable':12}{'shape':24}{'chunk':20}{'range':24}mantissa bits",
    ]
    arrays = group_arrays(path, "r")
    for name in manifest["variables"]:
        array = arrays[name]
        lines.append(
            f"  {name:12}{_times(array.shape):24}{_times(array.chunks):20}"
            f"{_range(info.ranges.get(name)):24}{array.attrs.get('quantization_nsb', 'all 23')}"
        )
    return "\n".join(lines)


def _times(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _range(limits: Sequence[float] | None) -> str:
    return "none" if limits is None else f"{limits[0]:.6g} to {limits[1]:.6g}"


def _listed(days: Sequence[str]) -> str:
    more = f" and {len(days) - SHOWN} more" if len(days) > SHOWN else ""
    return f"{len(days)}: {', '.join(days[:SHOWN])}{more}" if days else "none"
