"""Raw files in a folder: which count, and whether one has changed."""

from __future__ import annotations

import os
from pathlib import Path

# What downloads leave beside the files: records of what was fetched, and unfinished files.
FOREIGN_FOLDERS = frozenset({"manifests"})
UNFINISHED = (".partial", ".part", ".tmp", ".temp")
STORE_METADATA = (".zmetadata", "zarr.json", ".zgroup")


def find_sources(folder: Path, suffixes: tuple[str, ...] = (".nc",)) -> list[Path]:
    """Files (*.nc) and Zarr stores (folders *.zarr) at any depth, in order of path.

    Hidden and unfinished ones are left out, and nothing inside a store is looked at.

    Args:
        folder: Where to look, or a store itself.
        suffixes: Of the files.
    """
    if folder.suffix == ".zarr":
        return [folder] if folder.is_dir() else []
    found, seen = [], set()
    for root, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(real)
        names = [name for name in folders if name not in FOREIGN_FOLDERS and _finished(name)]
        folders[:] = [name for name in names if not name.endswith(".zarr")]
        stores = [name for name in names if name.endswith(".zarr")]
        held = [name for name in files if name.endswith(suffixes) and _finished(name)]
        found += [Path(root, name) for name in (*stores, *held)]
    return sorted(found)


def _finished(name: str) -> bool:
    lower = name.lower()
    ends = (lower, Path(lower).stem)  # of folders, and of files before their suffix
    return not name.startswith((".", "~")) and not any(e.endswith(UNFINISHED) for e in ends)


def fingerprint(path: Path) -> tuple[int, int]:
    """Time of change (ns) and size of a file, or of a store's metadata.

    Raises:
        FileNotFoundError: It is absent.
    """
    if path.is_dir():
        metadata = [path / name for name in STORE_METADATA]
        path = next((file for file in metadata if file.exists()), path)
    status = path.stat()
    return status.st_mtime_ns, status.st_size
