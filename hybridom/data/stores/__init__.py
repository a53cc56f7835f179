"""Zarr stores of daily fields: written a day at a time, read a day at a time."""

from hybridom.data.stores.reading import open_arrays, open_store, require_store, store_grid_hash
from hybridom.data.stores.writing import (
    Slab,
    StorePlan,
    checksum,
    write_json,
    write_manifest,
    write_store,
)

__all__ = [
    "Slab",
    "StorePlan",
    "checksum",
    "open_arrays",
    "open_store",
    "require_store",
    "store_grid_hash",
    "write_json",
    "write_manifest",
    "write_store",
]
