"""The atmosphere's raw files: ERA5 single levels as NetCDF, Zarr or GRIB.

Files may be split in any way by time or variable, with daily means or sub-daily samples. Latitudes
may run either way and longitudes from -180 or from 0; what is read here is always south to north,
and west to east in [-180, 180).
"""

from hybridom.data.raw.forcing_files import ForcingFiles, open_source
from hybridom.data.raw.forcing_land import SeaOnly, read_land_mask
from hybridom.data.raw.forcing_reader import ForcingReader
from hybridom.data.raw.forcing_samples import Sample, Samples
from hybridom.data.raw.forcing_sources import ForcingSource

__all__ = [
    "ForcingFiles",
    "ForcingReader",
    "ForcingSource",
    "Sample",
    "Samples",
    "SeaOnly",
    "open_source",
    "read_land_mask",
]
