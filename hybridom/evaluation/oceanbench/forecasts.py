"""Files of forecasts in OceanBench's form, read a start, a lead and a variable at a time."""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import xarray as xr

from hybridom.errors import UserError
from hybridom.evaluation.oceanbench.conventions import MASK_SHA256, STANDARD_NAME, VERSION, Box
from hybridom.evaluation.oceanbench.definitions import nearest_levels

log = logging.getLogger(__name__)

LEAD, START = "lead_day_index", "first_day_datetime"
AXES = ("depth", "latitude", "longitude")
NAMED_BY_DAY = re.compile(r"\d{8}\.(zarr|nc)")


@dataclass(frozen=True)
class Forecasts:
    """Forecasts from several starts on one grid.

    Attributes:
        name: Where they are from, for messages.
        starts: First forecast days, ascending.
        leads: Number of leads.
        depth: (nz,) m, positive downwards; empty where nothing has a depth.
        lat: (ny,) ascending.
        lon: (nx,) ascending.
        datasets: One a start, variables by standard name, dims a subset of lead_day_index, depth,
            latitude, longitude.
        rows: Which rows are read; None: all.
        columns: Which columns are read; None: all.
    """

    name: str
    starts: tuple[dt.date, ...]
    leads: int
    depth: np.ndarray
    lat: np.ndarray
    lon: np.ndarray
    datasets: tuple[xr.Dataset, ...]
    rows: np.ndarray | None = None
    columns: np.ndarray | None = None

    def within(self, box: Box | None) -> Forecasts:
        """The same in a region.

        Raises:
            UserError: No point lies in it.
        """
        if box is None:
            return self
        rows, columns = (np.flatnonzero(x) for x in box.select(self.lat, self.lon))
        if not rows.size or not columns.size:
            raise UserError(
                f"{self.name}: no point of the grid lies in the region {box.south:g} to "
                f"{box.north:g} N, {box.west:g} to {box.east:g} E; choose another region"
            )
        lat, lon = self.lat[rows], self.lon[columns]
        return replace(self, lat=lat, lon=lon, rows=rows, columns=columns)

    def position(self, start: dt.date) -> int:
        """Where a start stands.

        Raises:
            UserError: It is not there.
        """
        if start not in self.starts:
            raise UserError(
                f"{self.name}: no forecast whose first day is {start}; found "
                f"{len(self.starts)} from {self.starts[0]} to {self.starts[-1]}, give all that "
                "the challenger has"
            )
        return self.starts.index(start)

    def read(
        self, variable: str, start: int, lead: int, levels: Sequence[int] | np.ndarray | None = None
    ) -> np.ndarray:
        """One variable.

        Args:
            variable: Standard name.
            start: Position of the start.
            lead: Position of the lead, from 0.
            levels: Positions on the depth axis; None: the field has none.

        Returns:
            float32 or float64 (levels, ny, nx), or (ny, nx) without depth.

        Raises:
            UserError: There is no such variable, or it has other dimensions.
        """
        data = self._variable(variable, start)
        wanted = (LEAD, *(AXES if levels is not None else AXES[1:]))
        if set(data.dims) != set(wanted):
            raise UserError(
                f"{self.name}: {variable} of {self.starts[start]} has dimensions "
                f"{', '.join(map(str, data.dims))}; expected {', '.join(wanted)}"
            )
        picked = data.isel({LEAD: lead})
        for axis, kept in (("latitude", self.rows), ("longitude", self.columns), ("depth", levels)):
            if kept is not None:
                picked = picked.isel({axis: np.asarray(kept)})
        return np.asarray(picked.transpose(*wanted[1:]).values)

    def read_depths(self, variable: str, start: int, lead: int, depths: np.ndarray) -> np.ndarray:
        """A variable at the levels nearest to some depths (depths, ny, nx)."""
        if not self.depth.size:
            raise UserError(f"{self.name}: no coordinate depth; add one in m, positive downwards")
        levels = nearest_levels(self.depth, depths)
        distinct, back = np.unique(levels, return_inverse=True)
        return self.read(variable, start, lead, distinct)[back]

    def _variable(self, variable: str, start: int) -> xr.DataArray:
        data = self.datasets[start]
        if variable not in data:
            raise UserError(
                f"{self.name}: no variable with standard_name {variable} in the forecast of "
                f"{self.starts[start]}; found {', '.join(map(str, data.data_vars)) or 'none'}: "
                "set the attribute standard_name"
            )
        return data[variable]


def open_forecasts(path: Path) -> Forecasts:
    """Open forecasts lazily.

    Args:
        path: A folder of files named by the first forecast day (`20240103.zarr` or `.nc`), one of
            them, or a Zarr store or NetCDF file with all starts on `first_day_datetime`.

    Raises:
        UserError: There is nothing of the kind, or starts lie on different grids.
    """
    paths = forecast_paths(path)
    if len(paths) == 1:
        dataset = open_file(paths[0])
        if START in dataset.dims:
            return from_dataset(dataset, str(path))
    starts = [dt.datetime.strptime(found.name[:8], "%Y%m%d").date() for found in paths]
    return from_datasets(starts, [open_file(found) for found in paths], str(path))


def forecast_paths(path: Path) -> list[Path]:
    """The stores and files that `path` stands for, by ascending date.

    Raises:
        UserError: It is neither such a file nor a folder of them.
    """
    if path.suffix in (".zarr", ".nc"):
        if path.exists():
            return [path]
        raise UserError(f"{path}: no such store or file; give forecasts in OceanBench's form")
    found = sorted(p for p in path.glob("*") if NAMED_BY_DAY.fullmatch(p.name))
    if not found:
        raise UserError(
            f"{path}: no forecasts found; expected a folder of stores named by their first "
            "forecast day, such as 20240103.zarr, or one store NAME.zarr or NAME.nc"
        )
    return found


def from_dataset(dataset: xr.Dataset, name: str) -> Forecasts:
    """Forecasts of one dataset with all starts on `first_day_datetime`."""
    dataset = by_standard_name(dataset, name)
    times = dataset[START].values.astype("datetime64[D]").astype(object)
    parts = [dataset.isel({START: n}, drop=True) for n in range(len(times))]
    order = sorted(range(len(times)), key=lambda n: times[n])
    return from_datasets([times[n] for n in order], [parts[n] for n in order], name)


def from_datasets(
    starts: Sequence[dt.date], datasets: Sequence[xr.Dataset], name: str
) -> Forecasts:
    """Forecasts of one dataset a start, by ascending start.

    Raises:
        UserError: A coordinate is missing, not ascending, or differs between starts.
    """
    parts = [_with_lead(by_standard_name(part, name), name) for part in datasets]
    axes = {axis: _axis(parts[0], axis, name) for axis in AXES}
    leads = parts[0].sizes[LEAD]
    for start, part in zip(starts, parts, strict=True):
        if part.sizes[LEAD] != leads:
            raise UserError(
                f"{name}: {part.sizes[LEAD]} leads from {start}, {leads} from {starts[0]}; "
                "expected as many from every start"
            )
        for axis, values in axes.items():
            if not np.array_equal(_axis(part, axis, name), values):
                raise UserError(
                    f"{name}: {axis} of {start} differs from that of {starts[0]}; expected one "
                    "grid for all starts"
                )
    depth, lat, lon = axes.values()
    return Forecasts(name, tuple(starts), leads, depth, lat, lon, tuple(parts))


def by_standard_name(dataset: xr.Dataset, name: str) -> xr.Dataset:
    """A dataset whose variables bear their standard names, where they have one.

    Raises:
        UserError: Two variables have the same.
    """
    names: dict[str, str] = {}
    for variable in map(str, dataset.variables):
        standard = dataset[variable].attrs.get("standard_name", variable)
        if standard in names.values():
            other = next(key for key, value in names.items() if value == standard)
            if standard in (*STANDARD_NAME.values(), *AXES):
                raise UserError(
                    f"{name}: {other} and {variable} both have standard_name {standard}; "
                    "expected it once"
                )
            continue
        names[variable] = standard
    return dataset.rename({old: new for old, new in names.items() if old != new})


def open_mask(path: Path) -> xr.DataArray:
    """OceanBench's ocean mask: `ocean_mask` (depth, latitude, longitude).

    A mask other than the one that the package pins is told in the log.

    Raises:
        UserError: It is missing, or holds something else.
    """
    if not path.exists():
        raise UserError(f"{path}: no ocean mask; fetch OceanBench's, or score with --no-mask")
    dataset = open_file(path)
    if "ocean_mask" not in dataset or set(dataset["ocean_mask"].dims) != set(AXES):
        raise UserError(
            f"{path}: expected a variable ocean_mask (depth, latitude, longitude), found "
            f"{', '.join(map(str, dataset.data_vars)) or 'no variable'}"
        )
    mask = dataset["ocean_mask"].transpose(*AXES).load()
    if hashlib.sha256(mask.values.astype(bool).tobytes()).hexdigest() != MASK_SHA256:
        log.warning("%s: not the ocean mask of OceanBench %s; scores will differ", path, VERSION)
    return mask


def open_file(path: Path) -> xr.Dataset:
    """Open a store or file lazily, its leads in days as numbers.

    Raises:
        UserError: It cannot be opened.
    """
    engine = "netcdf4" if path.suffix == ".nc" else "zarr"
    try:
        with warnings.catch_warnings():
            # A store without consolidated metadata is opened all the same, only later.
            warnings.simplefilter("ignore", RuntimeWarning)
            return xr.open_dataset(path, engine=engine, chunks=None, decode_timedelta=False)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: cannot be opened ({error}); write it again") from None


def _with_lead(dataset: xr.Dataset, name: str) -> xr.Dataset:
    """A dataset whose leads stand on `lead_day_index`."""
    if LEAD in dataset.dims:
        return dataset
    if "time" not in dataset.dims:
        raise UserError(
            f"{name}: neither dimension {LEAD} nor time; expected the leads on one of them"
        )
    return dataset.rename({"time": LEAD})


def _axis(dataset: xr.Dataset, axis: str, name: str) -> np.ndarray:
    """A coordinate; an empty one for a depth that is not there."""
    if axis not in dataset.coords or dataset[axis].ndim != 1:
        if axis == "depth" and axis not in dataset.dims:
            return np.empty(0)
        raise UserError(f"{name}: coordinate {axis} is missing; expected one along its dimension")
    values = np.asarray(dataset[axis].values)
    if values.size < 2 and axis != "depth":
        raise UserError(f"{name}: {axis} has {values.size} values; expected two or more")
    if not (np.diff(values) > 0).all():
        raise UserError(f"{name}: {axis} does not ascend; expected ascending values")
    return values
