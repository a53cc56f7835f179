"""Regions as weights: where a cell counts, and by how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hybridom.errors import UserError
from hybridom.grid import Grid

GLOBAL = "global"


@dataclass(frozen=True)
class Regions:
    """Weights of all regions on one grid.

    Attributes:
        names: Names (nr,); the first is `global`, every wet cell of the grid.
        weights: Cell area in m2 where a cell is wet and inside, else 0: (nr, nz, ny, nx).
        thickness: Layer thickness (nz,) in m, for pooling levels by volume.
        inside: bool (nr, ny, nx), whether a cell, wet or not, lies in a region.
    """

    names: tuple[str, ...]
    weights: np.ndarray
    thickness: np.ndarray
    inside: np.ndarray

    @property
    def surface_weights(self) -> np.ndarray:
        """Cell area in m2 where the topmost level is wet and inside, else 0: (nr, ny, nx)."""
        return self.weights[:, 0]


def inside_box(lat: np.ndarray, lon: np.ndarray, box: Sequence[float]) -> np.ndarray:
    """Which cell centres lie in a box.

    Args:
        lat: Cell centres (ny,) in degrees north.
        lon: Cell centres (nx,) in degrees east, in any range.
        box: (south, north, west, east) in degrees, edges included. The box runs eastwards from
            `west` to `east`, across the date line where `east` is the smaller; a box of 360
            degrees or more holds every longitude.

    Returns:
        bool (ny, nx).
    """
    south, north, west, east = box
    rows = (lat >= south) & (lat <= north)
    if east - west >= 360.0:
        columns = np.ones(lon.shape, bool)
    else:
        columns = (lon - west) % 360.0 <= (east - west) % 360.0
    return rows[:, None] & columns[None, :]


def region_weights(grid: Grid, wet: np.ndarray, boxes: Mapping[str, Sequence[float]]) -> Regions:
    """Weights of the whole grid and of every box.

    Args:
        grid: The model grid.
        wet: bool (nz, ny, nx).
        boxes: Name -> (south, north, west, east) in degrees.

    Raises:
        UserError: If a box is named `global` or holds no wet cell.
    """
    if GLOBAL in boxes:
        raise UserError(
            f"evaluation.regions.{GLOBAL}: this name is kept for the whole grid, which is always "
            "scored; expected another name, rename the box"
        )
    inside = [np.ones((grid.ny, grid.nx), bool)]
    for name, box in boxes.items():
        cells = inside_box(grid.lat, grid.lon, box)
        if not (cells & wet.any(axis=0)).any():
            raise UserError(
                f"evaluation.regions.{name}: no wet cell of the grid lies in {list(box)}; expected "
                "[south, north, west, east] in degrees, correct the box or take it out"
            )
        inside.append(cells)
    cells = np.stack(inside)
    weights = (cells[:, None] & wet[None]) * np.broadcast_to(grid.area, (grid.ny, grid.nx))
    return Regions((GLOBAL, *boxes), weights, np.asarray(grid.dz), cells)
