"""Empty files of the published formats, with room for their values."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hybridom import __version__
from hybridom.data.days import TIME_UNITS, day_number
from hybridom.data.published.frame import Frame
from hybridom.data.published.layout import KEY


def lay_out_hdf5(
    path: Path,
    channels: Sequence[tuple[str, str]],
    axes: tuple[Sequence[dt.date], Frame, NDArray[np.float64]],
    attributes: Mapping[str, Any],
    of_data: Mapping[str, Any],
) -> int:
    """Lay out a yearly file: `data` (days, channels, rows, columns) float32, contiguous.

    Beside it lie `time`, `latitude`, `longitude` and, where there are levels, `depth`.

    Args:
        path: File.
        channels: Name and unit of each.
        axes: Days, rows and columns, and depths (m) of the file; no depths for a forcing file.
        attributes: Of the file.
        of_data: Attributes of `data` beside the channels.

    Returns:
        The byte at which `data` begins.
    """
    days, frame, depths = axes
    names, units = zip(*channels, strict=True)
    beside: dict[str, tuple[np.ndarray, str]] = {
        "time": (np.array([day_number(day) for day in days], np.int32), TIME_UNITS),
        "latitude": (frame.lat, "degrees_north"),
        "longitude": (frame.lon, "degrees_east"),
    }
    if depths.size:
        beside["depth"] = depths, "m"
    with h5py.File(path, "w") as file:
        file.attrs.update({**attributes, "hybridom_version": __version__})
        for name, (values, unit) in beside.items():
            file.create_dataset(name, data=values).attrs["units"] = unit
        # Space is taken now and never filled, so that the place of every day is known from here on.
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_layout(h5py.h5d.CONTIGUOUS)
        creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        creation.set_obj_track_times(False)  # the same days give the same bytes
        space = h5py.h5s.create_simple((len(days), len(names), *frame.shape))
        h5py.h5d.create(file.id, KEY.encode(), h5py.h5t.IEEE_F32LE, space, creation)
        data = file[KEY]
        data.attrs["channels"] = list(names)
        data.attrs["units"] = list(units)
        data.attrs["dimensions"] = ["time", "channel", "latitude", "longitude"]
        data.attrs.update(of_data)
        return int(data.id.get_offset())


def lay_out_npy(path: Path, shape: tuple[int, ...]) -> int:
    """Write the head of an .npy file of little-endian float32; returns where values begin."""
    head = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, head)
        return file.tell()
