"""ERA5 by the Climate Data Store's client: hourly files, one a variable and month.

Mean rates and accumulations are labelled with the end of their hour, so a day of theirs is the
labels 01 to 24 (Hersbach et al. 2020, doi 10.1002/qj.3803). A request is a product of days and
hours; so the hours 01 to 23 of all days are one file a variable, and the midnights that end the
days two small files for all variables of a kind: those within the month, and the one that the next
month begins with. Every month is complete by itself and no time is in two files.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np

from hybridom.config import Config, StageConfig
from hybridom.errors import UserError
from hybridom.layout import Layout
from hybridom.retrieve import clients
from hybridom.retrieve.checking import time_labels
from hybridom.retrieve.fetching import Fetched, require_space
from hybridom.retrieve.plan import (
    DAY,
    ERA5_STEP,
    Box,
    Job,
    Piece,
    fetched_box,
    month_days,
)
from hybridom.variables import VARIABLES

log = logging.getLogger(__name__)

CLIENT = "cdsapi"
DATASET = "reanalysis-era5-single-levels"
LOGIN = (
    "put the url and the key of your CDS account into ~/.cdsapirc as "
    "https://cds.climate.copernicus.eu/how-to-api says, and accept the licence of the dataset there"
)
# The store packs one kind of time step into a file; mixed requests come back as an archive.
ACCUMULATED = frozenset({"ssr", "strd"})
BYTES = 2.0  # a value, in the store's compressed files
RETRIES, LONGEST_WAIT = 5, 60  # of the client itself, for a single call; s


def forcing_job(config: Config | StageConfig, layout: Layout, month: str) -> Job:
    """The files of one month of the atmosphere.

    Raises:
        UserError: No day of the month lies in the periods.
    """
    days = month_days(config, month)
    box = fetched_box(config).outward(ERA5_STEP)
    pieces = []
    for name in config.raw_forcing_names:
        hours = range(1, 24) if VARIABLES[name].hour_ending else range(24)
        pieces.append(_piece(name, (name,), days, hours, box))
    for kind in ("accumulated", "mean"):
        names = tuple(n for n in config.raw_forcing_names if _kind(n) == kind)
        ends = [day + DAY for day in days]
        inside = [day for day in ends if f"{day:%Y-%m}" == month]
        following = [day for day in ends if f"{day:%Y-%m}" != month]
        for key, midnights in ((f"{kind}_midnight", inside), (f"{kind}_last_midnight", following)):
            if names and midnights:
                pieces.append(_piece(key, names, midnights, range(1), box))
    return Job(
        name=f"forcing {month}",
        mode="cds",
        folder=layout.forcing_dir,
        manifest=layout.forcing_download(month),
        pieces=tuple(pieces),
        client=CLIENT,
    )


def _kind(name: str) -> str:
    if not VARIABLES[name].hour_ending:
        return "instantaneous"
    return "accumulated" if name in ACCUMULATED else "mean"


def long_name(name: str) -> str:
    """Name of a variable in the Climate Data Store, for example `2m_temperature`."""
    return VARIABLES[name].aliases[-1]


def _piece(
    key: str, names: Sequence[str], days: Sequence[dt.date], hours: Iterable[int], box: Box
) -> Piece:
    """A product of days of one month and hours."""
    hours = list(hours)
    request: dict[str, Any] = {
        "product_type": ["reanalysis"],
        "variable": [long_name(name) for name in names],
        "year": [f"{days[0]:%Y}"],
        "month": [f"{days[0]:%m}"],
        "day": [f"{day:%d}" for day in days],
        "time": [f"{hour:02d}:00" for hour in hours],
        "data_format": "netcdf",
        "download_format": "unarchived",
    }
    if box != Box(-90.0, 90.0, -180.0, 180.0):
        request["area"] = [box.north, box.west, box.south, box.east]
    times = tuple(f"{day}T{hour:02d}" for day in days for hour in hours)
    size = BYTES * len(names) * len(times) * box.points(ERA5_STEP)
    return Piece(key, DATASET, request, tuple(names), times, box, ERA5_STEP, size, size)


def fetch_hourly(job: Job, pieces: Sequence[Piece]) -> Iterator[Fetched]:
    """Fetch hourly files, one after another.

    Raises:
        UserError: The client is not installed, has no key, or the store refuses.
    """
    require_space(job.folder, sum(piece.size for piece in pieces), job.name)
    module = clients.load(CLIENT)
    try:
        client = module.Client(
            quiet=True,
            progress=False,
            retry_max=RETRIES,
            sleep_max=LONGEST_WAIT,
            info_callback=log.info,  # where a request stands in the queue
        )
    except Exception as e:  # the client raises no narrower one
        raise UserError(f"Climate Data Store: {clients.plain(e)}; {LOGIN}") from None
    month = job.manifest.stem
    for piece in pieces:
        name = f"era5_{piece.key}_{month.replace('-', '')}.nc"
        target = job.partial / name
        what = f"{DATASET}, {piece.key} of {month}"

        def deliver(piece: Piece = piece, target: Path = target) -> int:
            result = client.retrieve(piece.dataset, piece.request)
            result.download(str(target))
            return int(result.content_length)

        size = clients.attempt(deliver, what, LOGIN)
        yield Fetched(piece, target, f"{month[:4]}/{name}", size, interim_days(target))


def interim_days(path: Path) -> tuple[str, ...]:
    """Days (ISO) of a file that come from the preliminary ERA5T (`expver` other than 1)."""
    try:
        with netCDF4.Dataset(path) as dataset:
            if "expver" not in dataset.variables:
                return ()
            versions = np.atleast_1d(np.ma.filled(dataset.variables["expver"][:]))
            days = [f"{time:%Y-%m-%d}" for time in time_labels(dataset)]
    except (OSError, RuntimeError):
        return ()  # the check that follows says what is wrong
    if versions.size == 1:
        versions = np.repeat(versions, len(days))
    preliminary = [str(version).strip("0") != "1" for version in versions]
    return tuple(sorted({day for day, late in zip(days, preliminary, strict=True) if late}))
