"""Small raw files for tests, written as the real products are.

`write_ocean_days` writes GLORYS12V1-like daily files, `write_ocean_subset` several days in one file
or store as the product's toolbox does, `write_forcing_month` an ERA5-like file of one month,
`write_raw` both for a range of days, and `raw_config` makes a configuration that reads
them. `ocean_fields` and `forcing_fields` (`raw_fields.py`) return the same numbers unpacked.
"""

from __future__ import annotations

import calendar
import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import netCDF4
import numpy as np
import xarray as xr

from hybridom.config import Config
from tests.data.raw_fields import (
    DEPTHS,
    FILL,
    FORCING_LAT,
    ICE_PACKING,
    LAT,
    LON,
    NEW_NAMES,
    PACKING,
    STEP,
    UNITS,
    USED_DEPTHS,
    flux_fields,
    forcing_fields,
    ice_fields,
    ocean_fields,
    ocean_wet,
)

__all__ = [
    "DEPTHS",
    "FILL",
    "FORCING_LAT",
    "ICE_PACKING",
    "LAT",
    "LON",
    "NEW_NAMES",
    "PACKING",
    "STEP",
    "UNITS",
    "USED_DEPTHS",
    "flux_fields",
    "forcing_fields",
    "ice_fields",
    "ocean_dataset",
    "ocean_fields",
    "ocean_name",
    "ocean_wet",
    "raw_config",
    "write_forcing_month",
    "write_land_mask",
    "write_ocean_days",
    "write_ocean_subset",
    "write_raw",
]


def ocean_name(day: dt.date) -> str:
    """File name of a day."""
    return f"mercatorglorys12v1_gl12_mean_{day:%Y%m%d}_R{day + dt.timedelta(7):%Y%m%d}.nc"


def _axes(
    file: netCDF4.Dataset, lat: np.ndarray, descending: bool, lon_from_zero: bool
) -> tuple[slice, np.ndarray]:
    """Write both axes; returns how fields are to be indexed."""
    rows = slice(None, None, -1) if descending else slice(None)
    lon = LON % 360 if lon_from_zero else LON
    columns = np.argsort(lon)
    for name, values, units in (
        ("latitude", lat[rows], "degrees_north"),
        ("longitude", lon[columns], "degrees_east"),
    ):
        file.createDimension(name, values.size)
        variable = file.createVariable(name, "f4", (name,))
        variable.setncatts({"units": units, "standard_name": name})
        variable[:] = values
    return rows, columns


def write_ocean_days(
    folder: Path,
    start: dt.date,
    days: int,
    *,
    seed: int = 0,
    descending: bool = False,
    lon_from_zero: bool = False,
    omit: Sequence[str] = (),
    change: dict[str, Any] | None = None,
    packing: dict[str, tuple[float, float]] | None = None,
    ice: bool = False,
) -> list[Path]:
    """Write daily ocean files.

    Args:
        folder: Where to; made if absent.
        start: First day.
        days: Number of days, one file each.
        seed: Of the noise.
        descending: Latitudes from north to south.
        lon_from_zero: Longitudes 0...360 instead of -180...180.
        omit: Variables to leave out.
        change: Variable -> function of the day's unpacked field, applied before packing.
        packing: Variable -> scale and offset other than GLORYS12V1's.
        ice: With sea ice, which holds no value in open water.

    Returns:
        The files, in order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(days):
        day = start + dt.timedelta(number)
        paths.append(folder / ocean_name(day))
        with netCDF4.Dataset(paths[-1], "w") as file:
            turn = _axes(file, LAT, descending, lon_from_zero)
            for name, size in (("time", 1), ("depth", DEPTHS.size)):
                file.createDimension(name, size)
            time = file.createVariable("time", "f8", ("time",))
            time.setncatts({"units": "hours since 1950-01-01", "calendar": "gregorian"})
            time[:] = (day - dt.date(1950, 1, 1)).days * 24 + 12
            depth = file.createVariable("depth", "f4", ("depth",))
            depth.setncatts({"units": "m", "positive": "down"})
            depth[:] = DEPTHS
            fields = ocean_fields(day, seed)
            if ice:
                concentration = ice_fields(day, seed)["siconc"]
                for name, values in ice_fields(day, seed).items():
                    fields[name] = np.where(concentration > 0, values, np.nan)
            every = PACKING | ICE_PACKING | (packing or {})
            for name, values in fields.items():
                if name not in omit:
                    changed = (change or {}).get(name, lambda x: x)(values)
                    _write_packed(file, name, changed, turn, every[name])
    return paths


def _write_packed(
    file: netCDF4.Dataset,
    name: str,
    values: np.ndarray,
    turn: tuple[slice, np.ndarray],
    packing: tuple[float, float],
) -> None:
    deep = ("depth",) if values.ndim == 3 else ()
    axes = ("time", *deep, "latitude", "longitude")
    variable = file.createVariable(name, "i2", axes, zlib=True, fill_value=FILL)
    scale, offset = packing
    variable.setncatts({"scale_factor": scale, "add_offset": offset, "units": UNITS[name]})
    variable.set_auto_maskandscale(False)
    packed = np.where(np.isnan(values), FILL, np.round((values - offset) / scale))
    variable[0] = packed[..., turn[0], :][..., turn[1]].astype(np.int16)


def ocean_dataset(
    start: dt.date,
    days: int,
    *,
    names: Sequence[str] = tuple(PACKING),
    depths: slice = slice(None),
    box: tuple[slice, slice] = (slice(None), slice(None)),
    packed: bool = True,
    seed: int = 0,
) -> tuple[xr.Dataset, dict[str, dict[str, Any]]]:
    """Days of the ocean as the product's toolbox opens them, and its encoding of them.

    Args:
        start: First day, stamped 00:00.
        days: Number of days.
        names: Variables.
        depths: Part of `DEPTHS`.
        box: Parts of `LAT` and `LON`.
        packed: Encoded as the originals; otherwise as float32 of the values the originals hold.
        seed: Of the noise.
    """
    every = [start + dt.timedelta(number) for number in range(days)]
    ours = {"latitude": LAT[box[0]], "longitude": LON[box[1]], "depth": DEPTHS[depths]}
    units = {"latitude": "degrees_north", "longitude": "degrees_east", "depth": "m"}
    coordinates: dict[str, Any] = {
        name: (name, values.astype(np.float32), {"units": units[name]})
        for name, values in ours.items()
    }
    coordinates["time"] = ("time", np.array(every, "datetime64[ns]"))
    dataset = xr.Dataset(coords=coordinates, attrs={"source": "MERCATOR GLORYS12V1"})
    encoding: dict[str, dict[str, Any]] = {"time": {"units": "hours since 1950-01-01"}}
    for name in names:
        scale, offset = PACKING[name]
        values = np.stack([ocean_fields(day, seed)[name] for day in every])
        values = values[(slice(None), depths, *box) if values.ndim == 4 else (slice(None), *box)]
        deep = ("depth",) if values.ndim == 4 else ()
        attributes = {"units": UNITS[name]}
        if packed:
            encoding[name] = {
                "dtype": "i2", "scale_factor": scale, "add_offset": offset, "_FillValue": FILL
            }  # fmt: skip
        else:
            values = np.round((values - offset) / scale) * scale + offset
            encoding[name] = {"dtype": "f4", "_FillValue": np.float32(9.96921e36)}
        axes = ("time", *deep, "latitude", "longitude")
        dataset[name] = (axes, values, attributes)
    return dataset, encoding


def write_ocean_subset(
    path: Path,
    start: dt.date,
    days: int,
    *,
    zarr_format: Literal[2, 3] | None = None,
    compressed: bool = True,
    netcdf3: bool = False,
    **options: Any,
) -> Path:
    """Write days of the ocean into one file as the product's toolbox does.

    Args:
        path: NetCDF file, or folder of a Zarr store.
        start: First day.
        days: Number of days.
        zarr_format: Version of the store; None: NetCDF.
        compressed: NetCDF with shuffle and deflate, or contiguous.
        netcdf3: NetCDF in its classic format.
        options: Of `ocean_dataset`.

    Returns:
        `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset, encoding = ocean_dataset(start, days, **options)
    if zarr_format is None:
        for name in dataset.data_vars if compressed else ():
            encoding[str(name)] |= {"zlib": True, "complevel": 1, "shuffle": True}
        form: Any = {"engine": "netcdf4", "format": "NETCDF3_CLASSIC"}
        dataset.to_netcdf(path, encoding=encoding, **(form if netcdf3 else {"engine": "h5netcdf"}))
        return path
    for name in dataset.data_vars:
        encoding[str(name)]["chunks"] = tuple(-(-size // 2) for size in dataset[name].shape)
    dataset.to_zarr(path, encoding=encoding, zarr_format=zarr_format, consolidated=zarr_format == 2)
    return path


def write_forcing_month(
    folder: Path,
    year: int,
    month: int,
    *,
    days: Sequence[int] | None = None,
    names: Sequence[str] = ("u10", "v10", "t2m"),
    hours: Sequence[int] = (0, 6, 12, 18),
    time_name: str = "valid_time",
    seed: int = 0,
    descending: bool = True,
    lon_from_zero: bool = True,
    rename: dict[str, str] | None = None,
    change: dict[str, Any] | None = None,
    closing: bool = False,
) -> Path:
    """Write one ERA5-like file.

    Args:
        folder: Where to; made if absent.
        year: Year.
        month: Month.
        days: Days of the month; None: all.
        names: Variables.
        hours: UTC hours of the instantaneous samples.
        time_name: Name of the time axis.
        seed: Of the noise.
        descending: Latitudes from north to south, as ERA5.
        lon_from_zero: Longitudes 0...360, as ERA5.
        rename: Variable -> name in the file.
        change: Variable -> function of a sample's field.
        closing: With 00 UTC of the day after the last one, which ends the last hour.

    Returns:
        The file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"era5_{'_'.join(names)}_{year}{month:02d}.nc"
    numbers = days or range(1, calendar.monthrange(year, month)[1] + 1)
    times = [dt.datetime(year, month, n, h) for n in numbers for h in hours]
    if closing:
        times.append(dt.datetime(year, month, numbers[-1]) + dt.timedelta(1))
    with netCDF4.Dataset(path, "w") as file:
        rows, columns = _axes(file, FORCING_LAT, descending, lon_from_zero)
        file.createDimension(time_name, len(times))
        time = file.createVariable(time_name, "i8", (time_name,))
        time.setncatts({"units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian"})
        time[:] = [round((t - dt.datetime(1970, 1, 1)).total_seconds()) for t in times]
        for name in names:
            variable = file.createVariable(
                (rename or {}).get(name, name),
                "f4",
                (time_name, "latitude", "longitude"),
                fill_value=np.nan,
            )
            variable.units = UNITS[name]
            for index, t in enumerate(times):
                made = forcing_fields if name in ("u10", "v10", "t2m", "msl") else flux_fields
                values = made(t.date(), t.hour, seed)[name]
                values = (change or {}).get(name, lambda x: x)(values)
                variable[index] = values[rows][:, columns]
    return path


def write_land_mask(path: Path, lsm: np.ndarray) -> Path:
    """Write ERA5's land-sea mask.

    Args:
        path: The file.
        lsm: (lat, lon) part of land on `FORCING_LAT` and `LON`.

    Returns:
        `path`.
    """
    with netCDF4.Dataset(path, "w") as file:
        rows, columns = _axes(file, FORCING_LAT, True, True)
        file.createVariable("lsm", "f4", ("latitude", "longitude"))[:] = lsm[rows][:, columns]
    return path


def write_raw(root: Path, start: dt.date, days: int, seed: int = 0) -> None:
    """Write `root`/ocean and `root`/forcing for `days` days from `start`, for `raw_config`."""
    write_ocean_days(root / "ocean", start, days, seed=seed)
    every = [start + dt.timedelta(n) for n in range(days)]
    for year, month in sorted({(d.year, d.month) for d in every}):
        held = [d.day for d in every if (d.year, d.month) == (year, month)]
        write_forcing_month(root / "forcing", year, month, days=held, seed=seed)


def raw_config(
    root: Path,
    train: tuple[str, str],
    validation: tuple[str, str],
    test: tuple[str, str],
    **sections: Any,
) -> Config:
    """Configuration of a 20-degree global model on the files of `write_raw`.

    Args:
        root: Folder of the raw files; resources and results go there too.
        train: First and last day.
        validation: First and last day.
        test: First and last day; at least three days.
        sections: More sections of the configuration, merged over the defaults.
    """

    def period(ends: tuple[str, str]) -> dict[str, str]:
        return {"start": ends[0], "end": ends[1]}

    data: dict[str, Any] = {
        "experiment": "tiny",
        "paths": {"resources": str(root / "resources"), "results": str(root / "results")},
        "source": {
            "kind": "files",
            "ocean_dir": str(root / "ocean"),
            "forcing_dir": str(root / "forcing"),
        },
        "grid": {"name": "global_20", "resolution": 20.0, "depths": USED_DEPTHS},
        "periods": {"train": period(train), "validation": period(validation), "test": period(test)},
        "climatology": {"harmonics": 0},
        "evaluation": {"families": []},
        "training": {"curriculum": [{"days": 1, "steps": 1}]},
        "forecast": {"days": 2, "first": test[0], "last": test[0]},
    }
    return Config.model_validate(data | sections)
