"""The yearly HDF5 files of the published HybridOM release: read in place of stores, and written.

Where a manifest of `prepare` holds an entry `published`, there is no Zarr store: days are read from
the published files themselves, as fields in physical units.
"""

from hybridom.data.published.reading import gaps, grid_hash, open_arrays, open_dataset

__all__ = ["gaps", "grid_hash", "open_arrays", "open_dataset"]
