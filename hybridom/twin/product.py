"""Daily files as GLORYS12V1 delivers them: names, packing, axes and nodes.

Format: Copernicus Marine product GLOBAL_MULTIYEAR_PHY_001_030, daily original files. Velocities
are at the same nodes as the tracers, as in that product.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybridom import __version__
from hybridom.errors import UserError
from hybridom.twin.geography import Array, TwinGrid, wet_cells
from hybridom.twin.interpolation import NodeInterpolation, centre_u, centre_v
from hybridom.twin.netcdf import atomic_dataset
from hybridom.variables import cf_attributes

FILL = np.int16(-32767)
SOUTHERNMOST = -80.0
STATIC_NAME = "GLO-MFC_001_030_mask_bathy.nc"


@dataclass(frozen=True)
class Packing:
    """value = raw * scale + offset, raw in int16."""

    scale: float
    offset: float


PACKING = {
    "thetao": Packing(7.32444226741791e-4, 21.0),
    "so": Packing(1.52592547237873e-3, -1.52592547237873e-3),
    "uo": Packing(6.10370188951492e-4, 0.0),
    "vo": Packing(6.10370188951492e-4, 0.0),
    "zos": Packing(3.05185094475746e-4, 0.0),
}


def pack(name: str, values: Array) -> NDArray[np.int16]:
    """Pack a variable into int16; NaN becomes the fill value.

    Raises:
        UserError: A value lies outside the packed range.
    """
    packing = PACKING[name]
    raw = np.rint((values - packing.offset) / packing.scale)
    # nanmax of a field without any water would warn
    outside = np.abs(raw[~np.isnan(raw)]) > 32766
    if outside.any():
        raise UserError(
            f"{name} leaves the packed range of the ocean product: the twin is unstable"
        )
    return np.where(np.isnan(raw), FILL, raw).astype(np.int16)


def file_name(day: dt.date) -> str:
    """Name of the file of a day; the second date is the end of its assimilation week, Wednesday."""
    wednesday = day + dt.timedelta(7 - (day.weekday() - 2) % 7)
    return f"mercatorglorys12v1_gl12_mean_{day:%Y%m%d}_R{wednesday:%Y%m%d}.nc"


def node_axes(step: float) -> tuple[Array, Array]:
    """Latitudes from -80 to at most 90 and longitudes from -180, degrees.

    Raises:
        UserError: The step does not divide the circle.
    """
    count = round(360 / step)
    if abs(count * step - 360) > 1e-9:
        raise UserError(f"twin.product_degrees {step:g} does not divide 360 degrees")
    rows = int(np.floor((90 - SOUTHERNMOST) / step + 1e-9)) + 1
    return SOUTHERNMOST + np.arange(rows) * step, -180 + np.arange(count) * step


class OceanProduct:
    """Writes the daily files and the static file.

    Args:
        folder: Folder that gets one sub-folder a year.
        grid: Cells of the simulation.
        wet_levels: Wet levels of every column, shape (ny, nx).
        step: Distance of the nodes, degrees.
        origin: What the simulation started from, for the attributes.
    """

    def __init__(
        self,
        folder: Path,
        grid: TwinGrid,
        wet_levels: NDArray[np.int64],
        step: float,
        origin: str,
    ) -> None:
        self.folder = folder
        self._grid = grid
        self._lat, self._lon = node_axes(step)
        wet = wet_cells(wet_levels, len(grid.depth))
        self._to_nodes = NodeInterpolation(grid, wet, self._lat, self._lon)
        self._wet_levels = wet_levels
        self._attributes = {
            "Conventions": "CF-1.8",
            "title": "Simulated twin ocean in the form of GLORYS12V1 (not GLORYS12V1 itself)",
            "source": f"Veros, {grid.degrees:g} degree C grid, under synthetic seeded weather",
            "comment": f"interpolated to an A grid of {step:g} degree nodes; wet-cell bilinear",
            "field_type": "mean",
            "hybridom_version": __version__,
        }
        self._origin = origin

    def write_day(self, day: dt.date, means: dict[str, Array]) -> Path:
        """Write one day from the daily means of the simulation (see `TwinOcean.advance_day`)."""
        fields = {
            "thetao": means["temp"],
            "so": means["salt"],
            "uo": centre_u(means["u"]),
            "vo": centre_v(means["v"]),
            "zos": means["ssh"],
        }
        path = self.folder / str(day.year) / file_name(day)
        with atomic_dataset(path) as f:
            f.setncatts({**self._attributes, "initial_state": self._origin})
            self._define_axes(f, day)
            for name, values in fields.items():
                self._write_packed(f, name, self._to_nodes(values))
        return path

    def _write_packed(self, f: Any, name: str, values: Array) -> None:
        axes = ("depth", "latitude", "longitude")[3 - values.ndim :]
        v = f.createVariable(
            name,
            "i2",
            ("time", *axes),
            fill_value=FILL,
            zlib=True,
            complevel=1,
            chunksizes=(1, *values.shape),
        )
        v.set_auto_maskandscale(False)
        raw = pack(name, values)
        valid = raw[raw != FILL]
        v.setncatts(
            {
                **cf_attributes(name),
                "cell_methods": "area: mean time: mean",
                "scale_factor": PACKING[name].scale,
                "add_offset": PACKING[name].offset,
                "valid_min": valid.min(),
                "valid_max": valid.max(),
            }
        )
        v[0] = raw

    def _define_axes(self, f: Any, day: dt.date | None) -> None:
        if day is not None:
            f.createDimension("time", 1)
            time = f.createVariable("time", "f8", ("time",))
            time.setncatts(
                {
                    "standard_name": "time",
                    "long_name": "Time (hours since 1950-01-01)",
                    "units": "hours since 1950-01-01",
                    "calendar": "gregorian",
                    "axis": "T",
                }
            )
            time[:] = (day - dt.date(1950, 1, 1)).days * 24.0 + 12.0
        for name, values, attributes in (
            ("depth", self._grid.depth, {"units": "m", "positive": "down", "axis": "Z"}),
            ("latitude", self._lat, {"units": "degrees_north", "axis": "Y"}),
            ("longitude", self._lon, {"units": "degrees_east", "axis": "X"}),
        ):
            f.createDimension(name, len(values))
            v = f.createVariable(name, "f4", (name,))
            v.setncatts({"standard_name": name, "long_name": name.capitalize(), **attributes})
            v[:] = values

    def write_static(self) -> Path:
        """Write mask, sea floor and its level at the nodes, as the static files of GLORYS do."""
        row, column = self._to_nodes.nearest
        count = np.where(self._to_nodes.wet[0], self._wet_levels[row, column], 0)
        floor = np.concatenate([[0.0], np.cumsum(self._grid.thickness)])[count]
        path = self.folder / STATIC_NAME
        with atomic_dataset(path, shared=True) as f:
            f.setncatts(self._attributes)
            self._define_axes(f, None)
            plane = ("latitude", "longitude")
            v = f.createVariable("mask", "i1", ("depth", *plane), zlib=True)
            v.setncatts({"long_name": "Land-sea mask: 1 = sea ; 0 = land", "units": "1"})
            v[:] = self._to_nodes.wet.astype(np.int8)
            v = f.createVariable("deptho", "f4", plane, zlib=True, fill_value=np.float32(1e20))
            v.standard_name, v.long_name, v.units = (
                "sea_floor_depth_below_geoid",
                "Bathymetry",
                "m",
            )
            v[:] = np.where(count > 0, floor, 1e20)
            v = f.createVariable("deptho_lev", "i2", plane, zlib=True)
            v.long_name, v.units = "Model level number at sea floor", "1"
            v[:] = count
        return path
