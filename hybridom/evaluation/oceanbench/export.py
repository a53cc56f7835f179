"""Our forecasts as stores that OceanBench 0.6.1 reads."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from hybridom import __version__
from hybridom.errors import UserError
from hybridom.evaluation.oceanbench.conventions import DEPTHS, LEADS, official_grid
from hybridom.evaluation.oceanbench.regridding import Levels, Onto
from hybridom.evaluation.oceanbench.scorer import ocean_on
from hybridom.evaluation.stores import ForecastStore
from hybridom.evaluation.tables import write_text
from hybridom.files import read_json
from hybridom.grid import read_grid
from hybridom.layout import Layout
from hybridom.progress import track
from hybridom.variables import PROGNOSTIC, VARIABLES, cf_attributes

FINGERPRINT = "hybridom_export"
TIME_UNITS = "days since 1950-01-01"
CHALLENGER = '''"""Opens the stores beside this file as OceanBench's challenger_dataset.

Run `oceanbench evaluate challenger.py` in this folder: OceanBench copies this text into a notebook,
where only the working directory tells where the stores are.
"""

from pathlib import Path

import numpy
import xarray

folder = Path(globals().get("__file__", "challenger.py")).resolve().parent
stores = sorted(folder.glob("[0-9]" * 8 + ".zarr"))


def one_start(dataset):
    leads = numpy.arange(dataset.sizes["time"])
    without_dates = dataset.drop_vars(["time", "forecast_reference_time"])
    return without_dates.rename({"time": "lead_day_index"}).assign_coords(lead_day_index=leads)


challenger_dataset = xarray.open_mfdataset(
    stores,
    engine="zarr",
    preprocess=one_start,
    combine="nested",
    concat_dim="first_day_datetime",
    parallel=False,
).assign_coords(
    first_day_datetime=numpy.array(
        [f"{day[:4]}-{day[4:6]}-{day[6:]}" for day in (store.stem for store in stores)],
        "datetime64[ns]",
    )
)
'''


class Exporter:
    """Writes one store a start, and the file that opens them.

    Args:
        config: A `Config` or the `evaluate` stage's part of it.
        layout: Paths.
        resolution: Of the official grid, 0.25 or 1 degree.
        output: Folder of the stores.
        mask: OceanBench's ocean mask, whose ocean has values where ours reaches; None: target
            cells of which half or more is our ocean.
        coast: Cells by which our fields are continued onto land beforehand.
        interpolate_depth: Whether to interpolate to scoring depths that the grid lacks.

    Raises:
        UserError: The forecasts are shorter than ten days; the grid lacks scoring depths; it does
            not reach over the official grid.
    """

    def __init__(
        self,
        config: Any,
        layout: Layout,
        resolution: float,
        output: Path,
        mask: xr.DataArray | None = None,
        coast: int = 0,
        interpolate_depth: bool = False,
    ) -> None:
        if config.forecast.days < LEADS:
            raise UserError(
                f"forecast.days is {config.forecast.days}; OceanBench scores {LEADS} days, make "
                "longer forecasts"
            )
        if coast < 0:
            raise UserError(f"--coast {coast}: expected 0 cells or more")
        self._days, self._layout, self._output = config.forecast.days, layout, output
        self._grid, self._wet = read_grid(layout.grid_file)
        self._levels = Levels(self._grid.depth, list(DEPTHS.values()), interpolate_depth)
        self._official = official_grid(resolution)
        ocean = None
        if mask is not None:
            by_depth = ocean_on(mask, self._official.lat, self._official.lon)
            ocean = np.stack([by_depth[label] for label in DEPTHS])
        wet = self._levels.wet(self._wet)
        self._onto = Onto(self._grid, wet, self._official, ocean, coast)
        options = f"{resolution} {coast} {interpolate_depth}"
        checksum = "" if ocean is None else hashlib.sha256(ocean.tobytes()).hexdigest()
        self._options = f"{__version__} {options} {checksum}"

    def store(self, start: dt.date) -> Path:
        """Store of one start, named by the first forecast day, the day after the analysis."""
        return self._output / f"{start + dt.timedelta(1):%Y%m%d}.zarr"

    def write(self, start: dt.date) -> bool:
        """Write the store of one start; returns False where it stands already.

        Raises:
            UserError: The forecast is missing or incomplete.
        """
        source = ForecastStore(self._layout, self._grid, self._wet, start, self._days)
        path = self.store(start)
        fingerprint = self._fingerprint(start)
        attributes = read_json(path / ".zattrs")
        if attributes and attributes.get(FINGERPRINT) == fingerprint:
            return False
        partial = path.with_name(path.name + ".partial")
        if partial.exists():
            shutil.rmtree(partial)
        partial.parent.mkdir(parents=True, exist_ok=True)
        for lead in track(range(1, LEADS + 1), label=f"export {start}"):
            day = self._day(source, start, lead).assign_attrs({FINGERPRINT: fingerprint})
            # One lead is held at a time; the first one makes the arrays.
            how: dict[str, Any] = {"mode": "w", "encoding": _encoding(day)}
            if lead > 1:
                how = {"append_dim": "time"}
            day.to_zarr(partial, zarr_format=2, consolidated=True, **how)
        if path.exists():
            shutil.rmtree(path)
        os.replace(partial, path)
        return True

    def write_challenger(self) -> Path:
        """Write challenger.py beside the stores."""
        path = self._output / "challenger.py"
        write_text(CHALLENGER, path)
        return path

    def _fingerprint(self, start: dt.date) -> str:
        """Changes with the forecast, the grid and the options."""
        manifest = self._layout.forecast_manifest(start).read_text(encoding="utf-8")
        text = f"{self._options} {self._grid.hash} {manifest}"
        return hashlib.sha256(text.encode()).hexdigest()

    def _day(self, source: ForecastStore, start: dt.date, lead: int) -> xr.Dataset:
        """One lead on the official grid."""
        variables: dict[str, Any] = {}
        for name in PROGNOSTIC:
            field = source.field(name, lead)
            if VARIABLES[name].has_depth:
                field = self._onto(self._levels(field))[None]
                dims: tuple[str, ...] = ("time", "depth", "latitude", "longitude")
            else:
                field, dims = self._onto(field), ("time", "latitude", "longitude")
            variables[name] = (dims, field.astype(np.float32), cf_attributes(name))
        valid = np.array([start + dt.timedelta(lead)], "datetime64[ns]")
        reference = {"standard_name": "forecast_reference_time"}
        coords = {
            "time": ("time", valid, {"standard_name": "time"}),
            "depth": ("depth", *_depth()),
            "latitude": ("latitude", self._official.lat, _degrees("latitude", "north")),
            "longitude": ("longitude", self._official.lon, _degrees("longitude", "east")),
            "forecast_reference_time": ((), np.datetime64(start, "ns"), reference),
        }
        attributes = {
            "Conventions": "CF-1.11",
            "title": f"Forecast from {start} for OceanBench",
            "source": f"hybridom {__version__}, configuration {source.path.parent.parent.name}",
            "regridding": self._onto.method,
            "vertical": self._levels.method,
        }
        return xr.Dataset(variables, coords=coords, attrs=attributes)


def _depth() -> tuple[np.ndarray, dict[str, str]]:
    attributes = {"standard_name": "depth", "units": "m", "positive": "down", "axis": "Z"}
    return np.array(list(DEPTHS.values())), attributes


def _degrees(axis: str, towards: str) -> dict[str, str]:
    letter = "Y" if axis == "latitude" else "X"
    return {"standard_name": axis, "units": f"degrees_{towards}", "axis": letter}


def _encoding(day: xr.Dataset) -> dict[str, dict[str, Any]]:
    """A chunk a level and day; dates that can be appended to."""
    found: dict[str, dict[str, Any]] = {
        name: {"units": TIME_UNITS, "calendar": "standard", "dtype": "int32"}
        for name in ("time", "forecast_reference_time")
    }
    for name in day.data_vars:
        outer = (1,) * (day[name].ndim - 2)
        found[str(name)] = {"chunks": (*outer, *day[name].shape[-2:]), "_FillValue": np.nan}
    return found
