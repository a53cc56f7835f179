"""Opening finished stores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import xarray as xr
import zarr

from hybridom.data.stores.writing import group_arrays
from hybridom.errors import UserError

# Folder or store name -> the command that makes it.
COMMANDS = {
    "state": "hybridom prepare state",
    "forcing": "hybridom prepare forcing",
    "climatology": "hybridom prepare climatology",
    "forecast": "hybridom forecast",
}


def require_store(path: Path) -> None:
    """Refuse a store that is not there or not finished.

    Raises:
        UserError: It names the command that makes the store.
    """
    if path.is_dir():
        return
    kind = path.stem if path.stem in COMMANDS else path.parent.name
    command = f"run `{COMMANDS[kind]}`" if kind in COMMANDS else "correct the path"
    partial = path.with_name(path.name + ".partial")
    state = "is not finished" if partial.exists() else "does not exist"
    raise UserError(f"{path}: the store {state}; expected a complete one: {command}")


def open_store(path: Path) -> xr.Dataset:
    """Open a finished store, values loaded on access.

    Raises:
        UserError: It is missing or unfinished; the message names the command that makes it.
    """
    require_store(path)
    return xr.open_zarr(path, consolidated=False, chunks=None)


def open_arrays(path: Path, names: Sequence[str]) -> dict[str, zarr.Array]:
    """The bare arrays of a finished store, without xarray's overhead for each read.

    Raises:
        UserError: The store or a variable in it is missing.
    """
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
    require_store(path)
    return str(zarr.open_group(path, mode="r", use_consolidated=False).attrs["grid_hash"])
