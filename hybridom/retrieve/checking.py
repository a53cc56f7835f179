"""Is a fetched file whole, and is it what was asked for? Sizes first, then a look inside."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import netCDF4
import numpy as np
from numpy.typing import NDArray

from hybridom.retrieve.plan import Box, Piece, listed
from hybridom.variables import VARIABLES

TIMES = ("time", "valid_time")
LATITUDES = ("latitude", "lat")
LONGITUDES = ("longitude", "lon")


def problem(path: Path, piece: Piece, size: int | None) -> str | None:
    """What is wrong with a fetched file, in one line.

    Args:
        path: The file.
        piece: What it should be.
        size: Its size (bytes) as the source declares it, or as it was when it was fetched; None
            where neither is known.
    """
    if not path.exists():
        return f"{path}: is not there"
    if size is not None and path.stat().st_size != size:
        return f"{path}: holds {path.stat().st_size} bytes of {size}"
    try:
        with netCDF4.Dataset(path) as dataset:
            return _contents(dataset, path, piece)
    except (OSError, RuntimeError) as e:
        return f"{path}: cannot be opened as NetCDF ({' '.join(str(e).split())})"


def _contents(dataset: netCDF4.Dataset, path: Path, piece: Piece) -> str | None:
    held = set(dataset.variables)
    for name in piece.variables:
        aliases = VARIABLES[name].aliases if name in VARIABLES else ()
        if not held & {name, *aliases}:
            return f"{path}: variable {name} is absent, the file holds {', '.join(sorted(held))}"
    if piece.times:
        found = {_label(time, piece.times[0]) for time in time_labels(dataset)}
        if missing := sorted(set(piece.times) - found):
            return f"{path}: {listed(missing)} missing of {len(piece.times)} times"
        if more := sorted(found - set(piece.times)):
            return f"{path}: holds {listed(more)}, which nobody asked for"
    return _coverage(dataset, path, piece.box, piece.step) if piece.box else None


def time_labels(dataset: netCDF4.Dataset) -> list[dt.datetime]:
    """Time labels (UTC) of an open file; none where it has no time axis."""
    names = [name for name in TIMES if name in dataset.variables]
    if not names:
        return []
    variable = dataset.variables[names[0]]
    stamps = netCDF4.num2date(
        np.ma.filled(variable[:]),
        variable.units,
        getattr(variable, "calendar", "standard"),
        only_use_cftime_datetimes=False,
        only_use_python_datetimes=True,
    )
    return list(np.asarray(stamps, dtype=object).ravel())


def _label(time: dt.datetime, like: str) -> str:
    return f"{time:%Y-%m-%dT%H}"[: len(like)]


def _coverage(dataset: netCDF4.Dataset, path: Path, box: Box, step: float) -> str | None:
    lat, lon = _axis(dataset, LATITUDES), _axis(dataset, LONGITUDES)
    if lat is None or lon is None:
        return f"{path}: no latitudes or no longitudes"
    # The ocean product ends at 80S.
    south = max(box.south, -80.0)
    if lat.min() > south + step or lat.max() < box.north - step:
        return (
            f"{path}: covers {lat.min():g} to {lat.max():g} degrees north of {box.south:g} to "
            f"{box.north:g}"
        )
    span = min(box.east - box.west, 360.0)
    offsets = np.sort((lon - box.west + 0.5 * step) % 360.0 - 0.5 * step)
    offsets = offsets[offsets <= span + step]
    edges = np.concatenate([[-step], offsets, [span + step]])
    if np.diff(edges).max() > 2.0 * step + 1e-3:
        return f"{path}: does not cover {box.west:g} to {box.east:g} degrees east"
    return None


def _axis(dataset: netCDF4.Dataset, names: tuple[str, ...]) -> NDArray[np.float64] | None:
    for name in names:
        if name in dataset.variables:
            return np.asarray(dataset.variables[name][:], np.float64)
    return None
