"""Air over the sea alone: points over land take the values of the sea nearby.

Wind, temperature and fluxes over land are unlike those over the sea a few kilometres away; without
this, regridding mixes them into coastal cells.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from hybridom.data.raw.axes import LATITUDE_NAMES, LONGITUDE_NAMES, SourceAxes
from hybridom.data.raw.netcdf import DAMAGED, LIBRARY, SourceFile, damage, unpack
from hybridom.errors import UserError

MASK_NAMES = ("lsm", "land_sea_mask", "land_binary_mask")
MOST_LAND = 0.5  # a point with more land than this is no sea


class SeaOnly:
    """Continues values over the sea onto the land.

    A land point takes the value of the sea point that is nearest on the sphere, across the date
    line and the poles too; points at sea keep theirs.

    Args:
        lsm: (nlat, nlon) part of land, 0 to 1; up to 0.5 is sea.
        axes: Where the points are.

    Attributes:
        sea: (nlat, nlon) bool.

    Raises:
        ValueError: No point is at sea.
    """

    def __init__(self, lsm: NDArray[np.floating], axes: SourceAxes) -> None:
        self.sea = lsm <= MOST_LAND
        if not self.sea.any():
            raise ValueError("no point is at sea")
        lat, lon = np.radians(axes.lat)[:, None], np.radians(axes.lon)
        x, y, z = np.broadcast_arrays(
            np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)
        )
        points = np.stack([x, y, z], axis=-1)
        _, nearest = cKDTree(points[self.sea]).query(points[~self.sea])
        self._from = np.flatnonzero(self.sea)[nearest]

    def __call__(self, field: NDArray[np.floating]) -> NDArray[np.floating]:
        """A copy of a field (..., nlat, nlon) with land points replaced."""
        if field.shape[-2:] != self.sea.shape:
            raise ValueError(f"field {field.shape} does not lie on the mask {self.sea.shape}")
        result = field.copy()
        result[..., ~self.sea] = field.reshape(*field.shape[:-2], -1)[..., self._from]
        return result


def read_land_mask(path: Path | None, axes: SourceAxes) -> SeaOnly | None:
    """Read the atmosphere's land-sea mask (ERA5's `lsm`).

    Args:
        path: NetCDF file or Zarr store (source.land_mask), with one time or none; None replaces
            nothing: values over land then enter coastal cells as they are.
        axes: Axes of the forcing, on which the mask must lie.

    Raises:
        UserError: The file is unreadable, holds no mask, or one on other axes or beyond 0 to 1.
    """
    if path is None:
        return None
    if not path.exists():
        raise UserError(
            f"{path}: no such file; expected ERA5's lsm: fetch it or correct source.land_mask"
        )
    with SourceFile(path) as file:
        held = [name for name in MASK_NAMES if name in file.dataset.variables]
        if not held:
            found = ", ".join(file.dataset.variables)
            raise UserError(
                f"{path}: no variable lsm, the file holds {found}; expected the land-sea mask, 0 "
                "to 1: fetch it or correct source.land_mask"
            )
        variable = file.dataset.variables[held[0]]
        *leading, lat, lon = ("", "", *variable.dimensions)
        if lat not in LATITUDE_NAMES or lon not in LONGITUDE_NAMES:
            raise UserError(
                f"{path}: variable {held[0]} has dimensions ({', '.join(variable.dimensions)}); "
                "expected (latitude, longitude), with or without time: fetch it again"
            )
        if problem := file.axes_problem(axes):
            raise UserError(f"{problem}; the land mask must lie on the forcing's grid")
        try:
            with LIBRARY:
                raw = np.asarray(variable[(0,) * (len(leading) - 2)])
        except DAMAGED as e:
            raise UserError(damage(path, held[0], "any day", e)) from None
        lsm = file.orientation.turn(unpack(raw, variable))
    if not (np.all(lsm >= -1e-3) and np.all(lsm <= 1 + 1e-3)):  # packing leaves such an excess
        raise UserError(
            f"{path}: variable {held[0]} runs from {np.nanmin(lsm):g} to {np.nanmax(lsm):g}; "
            "expected the part of land, 0 to 1, everywhere: fetch ERA5's land-sea mask"
        )
    try:
        return SeaOnly(lsm, axes)
    except ValueError as e:
        raise UserError(
            f"{path}: {e}, variable {held[0]} is above {MOST_LAND:g} everywhere; expected the part "
            "of land: fetch ERA5's land-sea mask"
        ) from None
