"""Atmosphere files as ERA5's daily statistics are delivered: names, axes and orientation.

The winds are those whose stress drove the ocean: tau = rho_air C_D |U| U, solved for U on the
whole globe, over land too. The pressure of this synthetic weather is not defined, so that `msl`
is not written: the embedded ocean serves the forcing set `surface3`, not `surface4`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hybridom import __version__
from hybridom.constants import KELVIN, RHO_AIR
from hybridom.errors import UserError
from hybridom.twin.atmosphere import Atmosphere, Surface
from hybridom.twin.geography import Array
from hybridom.twin.interpolation import linear_operator
from hybridom.twin.netcdf import atomic_dataset

DRAG = 1.3e-3
ATTRIBUTES = {
    "u10": ("eastward_wind", "10 metre U wind component", "m s**-1"),
    "v10": ("northward_wind", "10 metre V wind component", "m s**-1"),
    "t2m": ("air_temperature", "2 metre temperature", "K"),
}


def wind_of_stress(taux: Array, tauy: Array) -> tuple[Array, Array]:
    """Wind at 10 m (m s-1) that exerts a stress (N m-2); zero stress gives no wind."""
    stress = np.hypot(taux, tauy)
    # tau / sqrt(|tau|) tends to zero with tau
    scale = np.sqrt(RHO_AIR * DRAG * np.where(stress > 0, stress, 1.0))
    return taux / scale, tauy / scale


def file_name(year: int, month: int) -> str:
    """Name of the file of a month."""
    return f"era5_daily_mean_{year}{month:02d}.nc"


class WeatherProduct:
    """Collects the days of a month and writes them.

    Args:
        folder: Folder of the monthly files.
        atmosphere: Where the fields of a `Surface` lie.
        step: Distance of the nodes, degrees.
        origin: What the simulation started from, for the attributes.

    Raises:
        UserError: The step does not divide 180 degrees.
    """

    def __init__(self, folder: Path, atmosphere: Atmosphere, step: float, origin: str) -> None:
        rows = round(180 / step)
        if abs(rows * step - 180) > 1e-9:
            raise UserError(f"twin.forcing_degrees {step:g} does not divide 180 degrees")
        self.folder = folder
        self._origin = origin
        self._lat = 90.0 - np.arange(rows + 1) * step
        self._lon = np.arange(2 * rows) * step
        half = 0.5 * atmosphere.degrees
        lon, lat = atmosphere.lon, atmosphere.lat
        self._to_nodes = {
            name: (
                linear_operator(lat + north, self._lat, None),
                linear_operator(lon + east, self._lon, 360.0),
            )
            for name, east, north in (("taux", half, 0), ("tauy", 0, half), ("air", 0, 0))
        }
        self._days: dict[dt.date, dict[str, Array]] = {}

    def add_day(self, day: dt.date, surfaces: Sequence[Surface]) -> None:
        """Keep the means over the steps of a day."""
        steps = [self._fields(surface) for surface in surfaces]
        self._days[day] = {name: np.mean([s[name] for s in steps], axis=0) for name in ATTRIBUTES}

    def _fields(self, surface: Surface) -> dict[str, Array]:
        taux, tauy, air = (
            self._to_nodes[name][0] @ (self._to_nodes[name][1] @ getattr(surface, name).T).T
            for name in ("taux", "tauy", "air")
        )
        u10, v10 = wind_of_stress(taux, tauy)
        return {"u10": u10, "v10": v10, "t2m": air + KELVIN}

    def write_month(self) -> Path:
        """Write the days collected since the last call, all of one month."""
        days = sorted(self._days)
        path = self.folder / file_name(days[0].year, days[0].month)
        with atomic_dataset(path) as f:
            f.Conventions = "CF-1.7"
            f.title = "Synthetic weather of the twin ocean in the form of ERA5 (not ERA5 itself)"
            f.comment = f"daily means; wind from stress with drag {DRAG:g}, air {RHO_AIR:g} kg m-3"
            f.initial_state = self._origin
            f.hybridom_version = __version__
            self._define_axes(f, days)
            for name, (standard_name, long_name, units) in ATTRIBUTES.items():
                v = f.createVariable(
                    name,
                    "f4",
                    ("valid_time", "latitude", "longitude"),
                    zlib=True,
                    complevel=1,
                    fill_value=np.float32(np.nan),
                    chunksizes=(1, len(self._lat), len(self._lon)),
                )
                v.standard_name, v.long_name, v.units = standard_name, long_name, units
                v.cell_methods = "valid_time: mean"
                v[:] = np.stack([self._days[day][name] for day in days])
        self._days.clear()
        return path

    def _define_axes(self, f: Any, days: list[dt.date]) -> None:
        first = days[0]
        for name, kind, values, attributes in (
            (
                "valid_time",
                "i8",
                np.array([(day - first).days for day in days]),
                {
                    "standard_name": "time",
                    "long_name": "time",
                    "units": f"days since {first:%Y-%m-%d} 00:00:00",
                    "calendar": "proleptic_gregorian",
                },
            ),
            (
                "latitude",
                "f8",
                self._lat,
                {"units": "degrees_north", "stored_direction": "decreasing"},
            ),
            ("longitude", "f8", self._lon, {"units": "degrees_east"}),
        ):
            f.createDimension(name, len(values))
            v = f.createVariable(name, kind, (name,))
            v.setncatts({"standard_name": name, "long_name": name, **attributes})
            v[:] = values
