"""Stand-ins for the clients of the data stores, and a configuration that uses them.

They take the arguments of the real clients that the project uses, under the same names, and write
files that hold what was asked for: real axes, and variables that are declared but never written,
which keeps them small.
"""

from __future__ import annotations

import datetime as dt
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import netCDF4
import numpy as np

from hybridom.config import Config
from hybridom.variables import VARIABLES
from tests.data.raw import raw_config

DEPTHS = (0.494025, 9.572997, 55.76429)
MY, MYINT = "cmems_mod_glo_phy_my_0.083deg_P1D-m", "cmems_mod_glo_phy_myint_0.083deg_P1D-m"
STATIC = "cmems_mod_glo_phy_my_0.083deg_static"
LONG = {VARIABLES[name].aliases[-1]: name for name in VARIABLES if VARIABLES[name].aliases}
# A week that ends a month, so that the last day ends in the next one.
PERIODS = {
    "train": {"start": "2020-01-25", "end": "2020-01-28"},
    "validation": {"start": "2020-01-29", "end": "2020-01-29"},
    "test": {"start": "2020-01-30", "end": "2020-02-02"},
}


def download_config(root: Path, **sections: Any) -> Config:
    """A region across the date line, fetched into `root`; sections are merged over it."""
    defaults: dict[str, Any] = {
        "paths": {k: str(root / k) for k in ("raw", "resources", "results")},
        "source": {"kind": "download"},
        "grid": {
            "name": "box",
            "resolution": 1.0,
            "lat": [10, 14],
            "lon": [178, 182],
            "depths": DEPTHS,
        },
        "periods": PERIODS,
        "forecast": {"days": 2, "first": "2020-01-30", "last": "2020-01-30"},
    }
    ends = ("2020-01-25", "2020-01-26")
    return raw_config(root, ends, ends, ends, **(defaults | sections))


def write_file(
    path: Path,
    names: list[str],
    times: list[dt.datetime],
    lat: np.ndarray,
    lon: np.ndarray,
    depth: np.ndarray | None = None,
    expver: list[str] | None = None,
) -> None:
    """A NetCDF file with these axes and variables."""
    with netCDF4.Dataset(path, "w") as file:
        axes: dict[str, np.ndarray] = {}
        if times:
            epoch = dt.datetime(1970, 1, 1)
            axes["time"] = np.array([(t - epoch).total_seconds() for t in times])
        axes |= {} if depth is None else {"depth": depth}
        axes |= {"latitude": lat, "longitude": lon}
        for name, values in axes.items():
            file.createDimension(name, values.size)
            file.createVariable(name, "f8", (name,))[:] = values
        if times:
            file["time"].units = "seconds since 1970-01-01"
        for name in names:
            deep = name in ("thetao", "so", "uo", "vo", "e3t")
            kept = tuple(axis for axis in axes if axis != "depth" or deep)
            chunks = tuple(1 if axis in ("time", "depth") else axes[axis].size for axis in kept)
            file.createVariable(name, "i2", kept, chunksizes=chunks)
        if expver:
            file.createVariable("expver", str, ("time",))[:] = np.array(expver, object)


class Marine:
    """`copernicusmarine`: original files, subsets, and what goes wrong with them.

    Attributes:
        calls: Name and arguments of each call.
        remote: Dataset -> file name -> where its content lies.
        valid: Whether credentials are found.
        stop_after: Files after which the next one is interrupted; None: never.
        cut: Names of files that arrive without their end, once.
        failures: Exceptions that the next calls raise.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.remote: dict[str, dict[str, Path]] = {}
        self.valid = True
        self.stop_after: int | None = None
        self.cut: set[str] = set()
        self.failures: list[Exception] = []
        self.delivered: list[str] = []

    def add_day(self, dataset: str, day: dt.date, run: int = 3) -> str:
        """Offer the original file of a day; returns its name."""
        name = f"mercatorglorys12v1_gl12_mean_{day:%Y%m%d}_R{day + dt.timedelta(run):%Y%m%d}.nc"
        path = self.folder / name
        lat, lon = np.arange(-80, 90.01, 1 / 12), np.arange(4320) / 12 - 180
        noon = dt.datetime.combine(day, dt.time(12))
        names = ["thetao", "so", "uo", "vo", "zos"]
        write_file(path, names, [noon], lat, lon, np.array(DEPTHS))
        self.remote.setdefault(dataset, {})[name] = path
        return name

    def add_static(self) -> None:
        """Offer the static files."""
        lat, lon = np.arange(-80, 90.01, 1 / 12), np.arange(4320) / 12 - 180
        for name, variable in (("coordinates", "e3t"), ("mask_bathy", "mask"), ("mdt", "mdt")):
            path = self.folder / f"GLO-MFC_001_030_{name}.nc"
            write_file(path, [variable], [], lat, lon, np.array(DEPTHS))
            self.remote.setdefault(STATIC, {})[path.name] = path

    def login(self, check_credentials_valid: bool = False) -> bool:
        assert check_credentials_valid, "anything else would ask for a password"
        return self.valid

    def get(
        self,
        dataset_id: str | None = None,
        dataset_part: str | None = None,
        no_directories: bool = False,
        output_directory: Path | str | None = None,
        overwrite: bool = False,
        regex: str | None = None,
        file_list: Path | str | None = None,
        dry_run: bool = False,
        max_concurrent_requests: int = 15,
        disable_progress_bar: bool = False,
    ) -> SimpleNamespace:
        self.calls.append(("get", {k: v for k, v in locals().items() if k != "self"}))
        if self.failures:
            raise self.failures.pop(0)
        assert no_directories and overwrite and output_directory and dataset_id
        urls = {f"s3://bucket/native/P/{dataset_id}_202311/{n}": n for n in self.remote[dataset_id]}
        if file_list is not None:
            urls = {url: urls[url] for url in Path(file_list).read_text().split()}
        files = []
        for url, name in urls.items():
            if regex and not re.search(regex, url):
                continue
            source = self.remote[dataset_id][name]
            files.append(SimpleNamespace(s3_url=url, file_size=source.stat().st_size / 1024**2))
            if not dry_run:
                self._deliver(source, Path(output_directory) / name)
        return SimpleNamespace(files=files)

    def _deliver(self, source: Path, target: Path) -> None:
        if self.stop_after is not None and len(self.delivered) >= self.stop_after:
            target.write_bytes(source.read_bytes()[:1000])
            raise KeyboardInterrupt
        shutil.copy(source, target)
        self.delivered.append(target.name)
        if target.name in self.cut:
            self.cut.remove(target.name)
            target.write_bytes(source.read_bytes()[:-500])

    def subset(
        self,
        dataset_id: str | None = None,
        variables: list[str] | None = None,
        minimum_longitude: float | None = None,
        maximum_longitude: float | None = None,
        minimum_latitude: float | None = None,
        maximum_latitude: float | None = None,
        minimum_depth: float | None = None,
        maximum_depth: float | None = None,
        start_datetime: str | None = None,
        end_datetime: str | None = None,
        output_filename: str | None = None,
        file_format: str | None = None,
        output_directory: Path | str | None = None,
        overwrite: bool = False,
        disable_progress_bar: bool = False,
        netcdf_compression_level: int = 0,
    ) -> SimpleNamespace:
        self.calls.append(("subset", {k: v for k, v in locals().items() if k != "self"}))
        if self.failures:
            raise self.failures.pop(0)
        first, last = (dt.datetime.fromisoformat(t).date() for t in (start_datetime, end_datetime))
        days = [first + dt.timedelta(n) for n in range((last - first).days + 1)]
        lat = np.arange(-80, 90.01, 1 / 12)
        lat = lat[(lat >= minimum_latitude) & (lat <= maximum_latitude)]
        lon = minimum_longitude + np.arange(0, maximum_longitude - minimum_longitude, 1 / 12)
        times = [dt.datetime.combine(day, dt.time()) for day in days]
        path = Path(output_directory) / output_filename
        write_file(path, variables, times, lat, lon, np.array(DEPTHS))
        self.delivered.append(output_filename)
        return SimpleNamespace(filename=output_filename, file_size=1.0)


class Climate:
    """`cdsapi`: hourly files.

    Attributes:
        requests: What has been asked for.
        refusal: What the constructor raises.
        failures: Exceptions that the next requests raise.
        short: Bytes that the next file lacks.
        late: First day that is preliminary.
    """

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.refusal: Exception | None = None
        self.failures: list[Exception] = []
        self.short = 0
        self.late: dt.date | None = None

    def Client(
        self,
        quiet: bool,
        progress: bool,
        retry_max: int,
        sleep_max: float,
        info_callback: Callable[..., None],
    ) -> SimpleNamespace:
        if self.refusal:
            raise self.refusal
        return SimpleNamespace(retrieve=self.retrieve)

    def retrieve(self, name: str, request: dict[str, Any], target: str | None = None) -> Any:
        assert name == "reanalysis-era5-single-levels" and target is None
        self.requests.append(request)
        if self.failures:
            raise self.failures.pop(0)
        return Result(self, request)


class Result:
    """What a request of `cdsapi` returns."""

    def __init__(self, client: Climate, request: dict[str, Any]) -> None:
        self._client, self._request = client, request
        self.content_length = 0

    def download(self, target: str | None = None) -> str:
        assert target is not None
        r = self._request
        year, month = int(r["year"][0]), int(r["month"][0])
        hours = [int(time[:2]) for time in r["time"]]
        times = [dt.datetime(year, month, int(d), h) for d in r["day"] for h in hours]
        north, west, south, east = r.get("area", [90, -180, -90, 179.75])
        lat = np.arange(north, south - 0.1, -0.25)
        lon = np.arange(west, east + 0.1, 0.25)
        late = self._client.late
        expver = ["0005" if late and t.date() >= late else "0001" for t in times]
        names = [LONG[name] for name in r["variable"]]
        write_file(Path(target), names, times, lat, lon, expver=expver)
        self.content_length = Path(target).stat().st_size
        if self._client.short:
            Path(target).write_bytes(Path(target).read_bytes()[: -self._client.short])
            self._client.short = 0
        return target
