"""Zarr stores of daily fields: written a day at a time, read a day at a time."""

from hybridom.data.stores.info import StoreInfo, store_info
from hybridom.data.stores.manifest import checksum
from hybridom.data.stores.plan import Slab, Slabs, StorePlan
from hybridom.data.stores.reading import (
    open_arrays,
    open_store,
    published_entry,
    require_store,
    store_gaps,
    store_grid_hash,
)
from hybridom.data.stores.writing import write_store
from hybridom.files import write_json

__all__ = [
    "Slab",
    "Slabs",
    "StoreInfo",
    "StorePlan",
    "checksum",
    "open_arrays",
    "open_store",
    "published_entry",
    "require_store",
    "store_gaps",
    "store_grid_hash",
    "store_info",
    "write_json",
    "write_store",
]
