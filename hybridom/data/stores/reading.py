"""Opening finished stores, and the published files that may stand in for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from hybridom.data.stores.writing import group_arrays
from hybridom.errors import UserError
from hybridom.files import read_json

# Folder or store name -> the command that makes it.
COMMANDS = {
    "state": "hybridom prepare state",
    "forcing": "hybridom prepare forcing",
    "climatology": "hybridom prepare climatology",
    "percentiles": "hybridom prepare percentiles",
    "forecast": "hybridom forecast",
}


class ArrayLike(Protocol):
    """What is read of a variable: a Zarr array, or one that reads published files."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(days, [nz,] ny, nx)."""

    def __getitem__(self, key: Any) -> NDArray[np.float32]:
        """Values, float32, NaN on land."""


def manifest_file(path: Path) -> Path:
    """The manifest beside a store."""
    return path.with_suffix(".json")


def command_for(path: Path) -> str | None:
    """The command that makes a store, by the name of the store or of its folder."""
    return COMMANDS.get(path.stem, COMMANDS.get(path.parent.name))


def published_entry(path: Path) -> dict[str, Any] | None:
    """What stands for a store that was not made because published files are read instead."""
    if path.is_dir():
        return None
    return (read_json(manifest_file(path)) or {}).get("published")


def require_store(path: Path) -> None:
    """Refuse a store that is not there or not finished.

    Raises:
        UserError: It names the command that makes the store.
    """
    if path.is_dir():
        return
    made_by = command_for(path)
    command = f"run `{made_by}`" if made_by else "correct the path"
    partial = path.with_name(path.name + ".partial")
    state = "is not finished" if partial.exists() else "does not exist"
    raise UserError(f"{path}: the store {state}; expected a complete one: {command}")


def open_store(path: Path) -> xr.Dataset:
    """Open a finished store, values loaded on access.

    Raises:
        UserError: It is missing or unfinished; the message names the command that makes it.
    """
    if (entry := published_entry(path)) is not None:
        from hybridom.data import published

        return published.open_dataset(entry)
    require_store(path)
    return xr.open_zarr(path, consolidated=False, chunks=None, decode_timedelta=False)


def open_arrays(path: Path, names: Sequence[str]) -> dict[str, Any]:
    """The bare arrays of a finished store (`ArrayLike`), without xarray's overhead for each read.

    Raises:
        UserError: The store or a variable in it is missing.
    """
    if (entry := published_entry(path)) is not None:
        from hybridom.data import published

        return dict(published.open_arrays(entry, names))
    require_store(path)
    held = group_arrays(path, "r")
    missing = [name for name in names if name not in held]
    if missing:
        raise UserError(
            f"{path}: variable {missing[0]} is absent, expected {', '.join(names)}: make the store "
            "again with the forcing set of the configuration"
        )
    return {name: held[name] for name in names}


def store_grid_hash(path: Path) -> str:
    """Hash of the grid that a finished store is on.

    Raises:
        UserError: The store is missing or unfinished.
    """
    if (entry := published_entry(path)) is not None:
        from hybridom.data import published

        return str(published.grid_hash(entry))
    return str(_attributes(path)["grid_hash"])


def store_gaps(path: Path) -> frozenset[int]:
    """Days (since 1970-01-01) on the time axis of a finished store that hold no data.

    Raises:
        UserError: The store is missing or unfinished.
    """
    if (entry := published_entry(path)) is not None:
        from hybridom.data import published

        return frozenset(published.gaps(entry))
    gaps = _attributes(path).get("gaps", [])
    return frozenset(int(np.datetime64(day, "D").astype(int)) for day in gaps)


def _attributes(path: Path) -> dict[str, Any]:
    require_store(path)
    return dict(zarr.open_group(path, mode="r", use_consolidated=False).attrs)
