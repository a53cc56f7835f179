"""Small ERA5-like files for tests of the atmosphere's sources, in every form they come in."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import xarray as xr

from hybridom.data.raw.forcing import ForcingFiles, ForcingReader, open_source

LAT = np.arange(90.0, -91.0, -30.0)  # as ERA5: from the north
LON = np.arange(0.0, 360.0, 30.0)  # and from Greenwich
DAY = dt.date(2000, 2, 28)  # two days before March
EPOCH = dt.datetime(1970, 1, 1)
UNITS = {"u10": "m s**-1", "t2m": "K", "msl": "Pa", "ssr": "J m**-2", "mtpr": "kg m**-2 s**-1"}
UNITS |= {"msnlwrf": "W m**-2", "strd": "J m**-2"}
HOUR = dt.timedelta(hours=1)


def hours(day: dt.date, count: int, step: int = 1, first: int = 0) -> list[dt.datetime]:
    """`count` times from hour `first` of a day, `step` hours apart."""
    midnight = dt.datetime.combine(day, dt.time())
    return [midnight + (first + n * step) * HOUR for n in range(count)]


def hours_since(times: list[dt.datetime], day: dt.date = DAY) -> np.ndarray:
    """Hours since the start of a day."""
    midnight = dt.datetime.combine(day, dt.time())
    return np.array([(t - midnight) / HOUR for t in times])


def pattern(times: list[dt.datetime], of_time: np.ndarray) -> np.ndarray:
    """(time, lat, lon) in the file's order: values of time plus a number of each place."""
    places = LAT[:, None] / 10.0 + np.arange(LON.size) / 100.0
    return np.broadcast_to(of_time[:, None, None], (len(times), LAT.size, LON.size)) + places


def turned(field: np.ndarray) -> np.ndarray:
    """A field of the file as it is read: south to north and west to east from -180."""
    return np.roll(field[..., ::-1, :], LON.size // 2, axis=-1)


def places() -> np.ndarray:
    """(lat, lon) the number of each place, as read."""
    return turned(pattern([EPOCH], np.zeros(1))[0])


def write(
    path: Path,
    times: list[dt.datetime],
    fields: dict[str, np.ndarray],
    *,
    time_name: str = "valid_time",
    rename: dict[str, str] | None = None,
    chunks: tuple[int, int, int] | None = None,
    packing: tuple[float, float] | None = None,
    expver: list[str] | str | None = None,
    attributes: dict[str, Any] | None = None,
    variable_attributes: dict[str, Any] | None = None,
    calendar: str = "proleptic_gregorian",
    kind: str = "NETCDF4",
) -> Path:
    """Write a NetCDF file as the Climate Data Store does.

    Args:
        path: The file.
        times: Labels.
        fields: Variable -> (time, lat, lon).
        time_name: Of the axis.
        rename: Variable -> name in the file.
        chunks: Of the variables; None: contiguous.
        packing: Scale and offset of int16; None: float32.
        expver: Of each time, or of all.
        attributes: Global ones.
        variable_attributes: Beside the units.
        calendar: Of the time axis.
        kind: NetCDF's data model.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with netCDF4.Dataset(path, "w", format=kind) as file:
        file.setncatts(attributes or {})
        _axes(file, times, time_name, calendar)
        file.createVariable("number", "i4", ())[...] = 0
        if isinstance(expver, str):
            file.createVariable("expver", str, ())[...] = expver
        elif expver:
            file.createVariable("expver", str, (time_name,))[:] = np.array(expver, object)
        for name, values in fields.items():
            variable = file.createVariable(
                (rename or {}).get(name, name),
                "i2" if packing else "f4",
                (time_name, "latitude", "longitude"),
                zlib=chunks is not None,
                chunksizes=chunks,
                fill_value=-32767 if packing else np.float32(np.nan),
            )
            variable.setncatts({"units": UNITS[name], **(variable_attributes or {})})
            if packing:
                variable.setncatts({"scale_factor": packing[0], "add_offset": packing[1]})
            variable[:] = np.ma.array(np.nan_to_num(values), mask=np.isnan(values))
    return path


def _axes(file: Any, times: list[dt.datetime], time_name: str, calendar: str) -> None:
    for name, values in (("latitude", LAT), ("longitude", LON)):
        file.createDimension(name, values.size)
        file.createVariable(name, "f8", (name,))[:] = values
    file.createDimension(time_name, len(times))
    seconds = [round((t - EPOCH).total_seconds()) for t in times]
    if file.data_model == "NETCDF4":
        time = file.createVariable(time_name, "i8", (time_name,))
        time.setncatts({"units": "seconds since 1970-01-01", "calendar": calendar})
        time[:] = seconds
    else:  # the old store's files
        time = file.createVariable(time_name, "i4", (time_name,))
        time.setncatts({"units": "hours since 1900-01-01 00:00:00.0", "calendar": "gregorian"})
        time[:] = [s // 3600 + 613608 for s in seconds]


def write_both_versions(
    path: Path, times: list[dt.datetime], name: str, values: np.ndarray, final: np.ndarray
) -> Path:
    """A file of the old store: expver 1 and 5 as a dimension, packed, each where it holds.

    Args:
        path: The file.
        times: Labels.
        name: Variable.
        values: (time, lat, lon).
        final: (time,) whether the values are ERA5's, not ERA5T's.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with netCDF4.Dataset(path, "w", format="NETCDF3_64BIT_OFFSET") as file:
        _axes(file, times, "time", "gregorian")
        file.createDimension("expver", 2)
        file.createVariable("expver", "i4", ("expver",))[:] = [1, 5]
        dimensions = ("time", "expver", "latitude", "longitude")
        variable = file.createVariable(name, "i2", dimensions, fill_value=-32767)
        variable.setncatts({"units": UNITS[name], "scale_factor": 0.01, "add_offset": 10.0})
        held = np.where(final[:, None, None], values, np.nan)
        other = np.where(final[:, None, None], np.nan, values)
        both = np.stack([held, other], axis=1)
        variable[:] = np.ma.array(np.nan_to_num(both), mask=np.isnan(both))
    return path


def write_zarr(
    path: Path,
    times: list[dt.datetime],
    fields: dict[str, np.ndarray],
    *,
    chunk: int = 1,
    version: int = 3,
    attributes: dict[str, Any] | None = None,
) -> Path:
    """Write a Zarr store as ARCO-ERA5: `chunk` times a chunk, names as keys of `fields`."""
    coordinates = {
        "time": np.array(times, "datetime64[ns]"),
        "latitude": LAT.astype(np.float32),
        "longitude": LON.astype(np.float32),
    }
    dimensions = tuple(coordinates)
    variables = {
        name: (dimensions, values.astype(np.float32), {"units": units})
        for name, (values, units) in fields.items()
    }
    dataset = xr.Dataset(variables, coordinates, attributes)
    encoding: dict[str, Any] = {n: {"chunks": (chunk, LAT.size, LON.size)} for n in fields}
    encoding["time"] = {"units": "hours since 1900-01-01", "dtype": "int64"}
    dataset.to_zarr(path, encoding=encoding, zarr_format=version, consolidated=False)
    return path


def reader(folder: Path, *names: str) -> tuple[ForcingFiles, ForcingReader]:
    """Index and reader of a folder, on the axes of its first file."""
    files = ForcingFiles.scan(folder, names)
    assert not files.unreadable
    source = open_source(files.samples[names[0]][min(files.samples[names[0]])][0].path)
    axes = source.axes
    source.close()
    return files, ForcingReader(files, axes)


def means(folder: Path, name: str, days: list[dt.date]) -> np.ndarray:
    """(days, lat, lon) daily means of a variable."""
    _, opened = reader(folder, name)
    with opened:
        return np.stack([opened.daily_mean(name, day) for day in days])
