"""NetCDF files that appear under their names only when they are complete."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import netCDF4


@contextmanager
def atomic_dataset(path: Path, shared: bool = False) -> Iterator[netCDF4.Dataset]:
    """Open a new NetCDF-4 file for writing; it gets its name when the block ends without error.

    Args:
        path: File.
        shared: Whether several processes may write this file at once (all the same contents).
    """
    import netCDF4

    path.parent.mkdir(parents=True, exist_ok=True)
    owner = f".{os.getpid()}" if shared else ""
    partial = path.with_name(f"{path.name}{owner}.partial")
    with netCDF4.Dataset(partial, "w", format="NETCDF4") as f:
        yield f
    partial.replace(path)
