"""ERA5 from the public Zarr (ARCO-ERA5): daily means made while reading, one file a month.

The Zarr holds a chunk an hour and variable of the whole globe, so a region costs as much to read as
the globe, but only the means of the box are kept. A day of a mean rate or an accumulation is the
labels 01 to 24, each standing for the hour before it; a day of an instantaneous variable is the
labels 00 to 23. Carver and Merose 2023, https://github.com/google-research/arco-era5.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import netCDF4
import numpy as np
from numpy.typing import NDArray

from hybridom import __version__
from hybridom.config import Config, StageConfig
from hybridom.errors import UserError
from hybridom.files import read_json, write_json
from hybridom.layout import Layout
from hybridom.progress import track
from hybridom.retrieve import clients
from hybridom.retrieve.fetching import Fetched, require_space
from hybridom.retrieve.plan import (
    DAY,
    ERA5_STEP,
    Box,
    Job,
    Piece,
    fetched_box,
    listed,
    month_days,
)
from hybridom.variables import UNIT_CONVERSIONS, UNIT_SPELLINGS, VARIABLES, cf_attributes

if TYPE_CHECKING:
    import xarray as xr

log = logging.getLogger(__name__)

CLIENT = "gcsfs"
HOURS = 24
GLOBAL_POINTS = 721 * 1440
BYTES_READ = 2.2  # a value, in the Zarr's compressed chunks
BYTES_KEPT = 3.3  # a value, in the compressed file
EPOCH = dt.date(1970, 1, 1)


def forcing_job(config: Config | StageConfig, layout: Layout, month: str) -> Job:
    """The file of one month of the atmosphere.

    Raises:
        UserError: No day of the month lies in the periods.
    """
    days, names = month_days(config, month), config.raw_forcing_names
    box = fetched_box(config).outward(ERA5_STEP)
    request = {
        "url": config.download.arco_url,
        "variables": list(names),
        "days": [str(day) for day in days],
        "box": [box.south, box.north, box.west, box.east],
    }
    values = len(days) * len(names)
    piece = Piece(
        "daily",
        config.download.arco_url,
        request,
        names,
        tuple(map(str, days)),
        box,
        ERA5_STEP,
        BYTES_KEPT * values * box.points(ERA5_STEP),
        BYTES_READ * values * HOURS * GLOBAL_POINTS,
    )
    return Job(
        name=f"forcing {month}",
        mode="arco",
        folder=layout.forcing_dir,
        manifest=layout.forcing_download(month),
        pieces=(piece,),
        client=CLIENT,
    )


def fetch_daily(job: Job, pieces: Sequence[Piece]) -> Iterator[Fetched]:
    """Make the daily means of one month, or what is missing of them, and write its file.

    Raises:
        UserError: The Zarr cannot be opened, or lacks a variable, a day or values.
    """
    (piece,) = pieces
    # The days in single precision, and the file made of them.
    require_space(job.folder, 2.5 * piece.size, job.name)
    store = Store(piece)
    _begin(job, piece)
    for text in track(piece.times, label=f"{job.name}, days"):
        part = job.partial / f"{text}.npy"
        if part.exists():
            continue
        day = dt.date.fromisoformat(text)
        fields = np.stack([store.daily_mean(name, day) for name in piece.variables])
        unfinished = part.with_name(f"{text}.partial")
        with unfinished.open("wb") as handle:
            np.save(handle, fields.astype(np.float32))
        os.replace(unfinished, part)
    name = f"era5_daily_{job.manifest.stem.replace('-', '')}.nc"
    target = job.partial / name
    interim = tuple(day for day in piece.times if store.is_interim(dt.date.fromisoformat(day)))
    _write(target, job, piece, store, interim)
    yield Fetched(piece, target, f"{job.manifest.stem[:4]}/{name}", None, interim)


def _begin(job: Job, piece: Piece) -> None:
    """Forget days that another request left behind."""
    note = job.partial / "request.json"
    if read_json(note) != piece.request:
        shutil.rmtree(job.partial)
        job.partial.mkdir(parents=True)
        write_json(note, piece.request)


class Store:
    """The open Zarr, for one request.

    Args:
        piece: The request.

    Raises:
        UserError: It cannot be opened, or lacks variables or days.
    """

    def __init__(self, piece: Piece) -> None:
        self._url = piece.dataset
        self._dataset = _open(self._url)
        self._columns = {name: self._column(name) for name in piece.variables}
        self._factors = {name: self._factor(name) for name in piece.variables}
        times = self._dataset["time"].values.astype("datetime64[h]")
        self._positions = {time: index for index, time in enumerate(times.tolist())}
        self._require(piece)
        box = piece.box
        assert box is not None  # every request of this module has one
        lat = np.asarray(self._dataset["latitude"].values, np.float64)
        lon = np.asarray(self._dataset["longitude"].values, np.float64)
        self._rows = np.flatnonzero((lat >= box.south - 1e-3) & (lat <= box.north + 1e-3))
        self._rows = self._rows[np.argsort(lat[self._rows])]
        self._cells, offsets = _columns(lon, box)
        self.lat, self.lon = lat[self._rows], box.west + offsets

    def _column(self, name: str) -> str:
        for known in (name, *VARIABLES[name].aliases):
            if known in self._dataset.data_vars:
                return known
        raise UserError(
            f"{self._url}: variable {name} is absent, also as "
            f"{', '.join(VARIABLES[name].aliases)}; set download.atmosphere: cds, or another "
            "download.arco_url"
        )

    def _factor(self, name: str) -> float:
        units = str(self._dataset[self._columns[name]].attrs.get("units", "(none)"))
        expected = VARIABLES[name].units
        if units in UNIT_SPELLINGS[expected]:
            return 1.0
        converted, factor = UNIT_CONVERSIONS.get(units, ("", 0.0))
        if converted != expected:
            raise UserError(
                f"{self._url}: variable {name} has units {units!r}; expected {expected!r} or a "
                "unit that is known to convert to it"
            )
        return factor

    def _end(self, attribute: str) -> dt.date | None:
        text = self._dataset.attrs.get(attribute)
        return dt.date.fromisoformat(str(text)[:10]) if text else None

    def is_interim(self, day: dt.date) -> bool:
        """Whether a day lies after the final reanalysis, in the preliminary ERA5T."""
        final = self._end("valid_time_stop")
        return final is not None and day > final

    def _require(self, piece: Piece) -> None:
        """Refuse days of which an hour is absent; the time axis runs on beyond the data."""
        last = self._end("valid_time_stop_era5t") or self._end("valid_time_stop")
        hour_ending = any(VARIABLES[name].hour_ending for name in piece.variables)
        absent = []
        for text in piece.times:
            day = dt.date.fromisoformat(text)
            late = last is not None and (day + DAY if hour_ending else day) > last
            if late or any(t not in self._positions for t in labels(day, hour_ending)):
                absent.append(text)
        if absent:
            raise UserError(
                f"{self._url}: holds no complete data of {listed(absent)} "
                f"({len(absent)} of {len(piece.times)} days, the last day there is {last}): "
                "correct periods, or run again when they are there"
            )

    def daily_mean(self, name: str, day: dt.date) -> NDArray[np.float64]:
        """Mean of a UTC day over the box, (lat, lon), in the units of `hybridom.variables`.

        Raises:
            UserError: The network fails, or values are missing.
        """
        wanted = [self._positions[t] for t in labels(day, VARIABLES[name].hour_ending)]
        array = self._dataset[self._columns[name]].transpose("time", "latitude", "longitude")

        def read() -> NDArray[np.floating]:
            return array.isel(time=wanted).values

        hourly = clients.attempt(read, f"{self._url}, {name} on {day}")
        total = np.zeros((self._rows.size, self._cells.size))
        for field in hourly:
            total += field[self._rows[:, None], self._cells]
        if gaps := int(np.isnan(total).sum()):
            raise UserError(
                f"{self._url}: variable {name} on {day} has no value in {gaps} of {total.size} "
                "points; expected one in each of 24 hours: correct periods, or run again later"
            )
        return total * (self._factors[name] / HOURS)


def labels(day: dt.date, hour_ending: bool) -> list[dt.datetime]:
    """Time labels (UTC) of the 24 samples of a day: 01 to 24, or 00 to 23."""
    midnight = dt.datetime.combine(day, dt.time())
    return [midnight + dt.timedelta(hours=hour + hour_ending) for hour in range(HOURS)]


def _open(url: str) -> xr.Dataset:
    import xarray as xr

    options = None
    if url.startswith("gs://"):
        clients.load(CLIENT)
        options = {"token": "anon"}
    elif not url.startswith(("http://", "https://")) and not Path(url).exists():
        raise UserError(f"{url}: no such Zarr; correct download.arco_url")
    return clients.attempt(
        lambda: xr.open_zarr(url, chunks=None, decode_timedelta=False, storage_options=options),
        f"{url}, opening",
    )


def _columns(lon: NDArray[np.float64], box: Box) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Indices of the longitudes in a box from west to east, and how far each is from its edge."""
    offsets = (lon - box.west + 1e-3) % 360.0 - 1e-3
    span = box.east - box.west
    inside = np.flatnonzero((offsets <= span + 1e-3) & (offsets < 360.0 - 1e-3))
    inside = inside[np.argsort(offsets[inside])]
    return inside, offsets[inside]


def _write(path: Path, job: Job, piece: Piece, store: Store, interim: tuple[str, ...]) -> None:
    """Write the month; a day is labelled with its noon, inside its bounds."""
    days = [dt.date.fromisoformat(text) for text in piece.times]
    numbers = np.array([(day - EPOCH).days for day in days], np.float64)
    with netCDF4.Dataset(path, "w", format="NETCDF4") as file:
        file.setncatts(
            {
                "Conventions": "CF-1.11",
                "title": "ERA5 daily means",
                "source": piece.dataset,
                "history": f"daily means by hybridom {__version__}",
                "comment": "mean rates and accumulations: hours ending at 01 to 24 UTC; others: "
                "00 to 23 UTC",
                "interim_days": " ".join(interim),
            }
        )
        for name, size in (("time", len(days)), ("bnds", 2)):
            file.createDimension(name, size)
        time = file.createVariable("time", "f8", ("time",))
        units = {"units": "days since 1970-01-01", "calendar": "standard"}
        time.setncatts({"standard_name": "time", "axis": "T", "bounds": "time_bnds", **units})
        time[:] = numbers + 0.5
        bounds = file.createVariable("time_bnds", "f8", ("time", "bnds"))
        bounds[:] = np.stack([numbers, numbers + 1.0], axis=1)
        for name, values, unit, axis in (
            ("latitude", store.lat, "degrees_north", "Y"),
            ("longitude", store.lon, "degrees_east", "X"),
        ):
            file.createDimension(name, values.size)
            variable = file.createVariable(name, "f8", (name,))
            variable.setncatts({"standard_name": name, "units": unit, "axis": axis})
            variable[:] = values
        chunks = (1, store.lat.size, store.lon.size)
        dimensions = ("time", "latitude", "longitude")
        for name in piece.variables:
            variable = file.createVariable(
                name, "f4", dimensions, zlib=True, complevel=1, shuffle=True, chunksizes=chunks
            )
            variable.setncatts({**cf_attributes(name), "cell_methods": "time: mean"})
        for index, text in enumerate(piece.times):
            fields = np.load(job.partial / f"{text}.npy")
            for name, field in zip(piece.variables, fields, strict=True):
                file.variables[name][index] = field
