"""Yearly stores and climatologies of made-up fields, without raw files."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr
import zarr
from numcodecs import Blosc

from hybridom.config import Config, Period
from hybridom.data.history import store_of
from hybridom.data.plans import daily_coordinates
from hybridom.data.stores.plan import CHUNK_BYTES, COMPRESSOR, chunk_shape
from hybridom.grid import Grid
from hybridom.layout import Layout
from hybridom.variables import VARIABLES
from tests.data.raw import raw_config

BLOSC = Blosc("lz4", 5, Blosc.SHUFFLE)
CELL = ("depth", "latitude", "longitude")


def years(first: int, last: int) -> Period:
    """Whole calendar years."""
    return Period(start=dt.date(first, 1, 1), end=dt.date(last, 12, 31))


def climate_config(root: Path, train: Period, **climatology: object) -> Config:
    """A configuration that trains on `train`; its other periods follow."""
    after = [str(train.end + dt.timedelta(n)) for n in range(1, 9)]
    return raw_config(
        root,
        (str(train.start), str(train.end)),
        (after[0], after[1]),
        (after[2], after[7]),
        climatology=climatology,
    )


def year_coordinates(grid: Grid) -> xr.Dataset:
    """Coordinates of a climatology."""
    days = xr.DataArray(np.arange(1, 366, dtype=np.int32), dims="dayofyear")
    return grid.to_dataset().assign_coords(dayofyear=days)


def write_years(
    layout: Layout,
    grid: Grid,
    period: Period,
    fields: Mapping[str, Callable[[dt.date], np.ndarray]],
    *,
    gaps: Collection[dt.date] = (),
    lacking: Collection[dt.date] = (),
    chunk_bytes: int = CHUNK_BYTES,
) -> None:
    """Write the stores of a period, as `write_store` lays them out.

    Args:
        layout: Paths.
        grid: Model grid.
        period: Days.
        fields: Variable -> function of a day that gives ([nz,] ny, nx), NaN on land.
        gaps: Days that the stores list as gaps and hold nothing of.
        lacking: Days that are not on the time axis.
        chunk_bytes: Largest chunk.
    """
    for year in period.years:
        days = [day for day in period.days(year) if day not in lacking]
        attrs = {"gaps": [str(day) for day in days if day in gaps]}
        paths = {name: store_of(layout, name, year) for name in fields}
        for path in set(paths.values()):
            held = {name: field for name, field in fields.items() if paths[name] == path}
            coordinates = daily_coordinates(grid, days, attrs)
            present = [(row, day) for row, day in enumerate(days) if day not in gaps]
            write_entries(path, coordinates, "time", held, present, chunk_bytes)


def write_entries(
    path: Path,
    coordinates: xr.Dataset,
    axis: str,
    fields: Mapping[str, Callable],
    entries: Sequence[tuple[int, object]],
    chunk_bytes: int = CHUNK_BYTES,
) -> None:
    """Write a store.

    Args:
        path: Store.
        coordinates: Coordinates and attributes.
        axis: First axis.
        fields: Variable -> function that makes the values of an entry.
        entries: Position on the first axis, and what the functions are given.
        chunk_bytes: Largest chunk.
    """
    coordinates.to_zarr(path, mode="w", zarr_format=3, consolidated=False)
    group = zarr.open_group(path, mode="r+")
    for name, field in fields.items():
        dimensions = (axis, *CELL[0 if VARIABLES[name].has_depth else 1 :])
        shape = tuple(coordinates.sizes[dimension] for dimension in dimensions)
        chunks = chunk_shape(shape, chunk_bytes)
        group.create_array(
            name,
            shape=shape,
            chunks=chunks,
            dtype=np.float32,
            fill_value=np.nan,
            dimension_names=dimensions,
            compressors=COMPRESSOR,
        )
        for row, entry in entries:
            _write_chunks(path / name / "c" / str(row), field(entry), chunks[1:])


def _write_chunks(folder: Path, values: np.ndarray, shape: tuple[int, ...]) -> None:
    """Write the files themselves, a hundred times as fast as through Zarr."""
    deep = values.ndim == 3
    for number, first in enumerate(range(0, len(values), shape[0])):
        part = np.full(shape, np.nan, np.float32)  # a chunk is whole even at the end of the axis
        part[: len(values) - first] = values[first : first + shape[0]]
        path = folder.joinpath(*([str(number)] if deep else []), "0", "0")
        path.parent.mkdir(parents=True)
        path.write_bytes(BLOSC.encode(part))
