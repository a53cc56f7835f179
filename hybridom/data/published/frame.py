"""Where the model grid lies in the files that are written from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hybridom.data.published.layout import TOLERANCE, WEST
from hybridom.errors import UserError
from hybridom.grid import Grid

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Frame:
    """Rows and columns of a written file: a region's own, or from pole to pole and from -180.

    Attributes:
        lat: (rows,) degrees north, ascending.
        lon: (columns,) degrees east, ascending.
        rows: The grid's rows among them.
        west: Column of the grid's first; those after it may go on at column 0.
    """

    lat: Float64
    lon: Float64
    rows: slice
    west: int

    @classmethod
    def around(cls, grid: Grid, resolution: float) -> Frame:
        """Frame of a grid.

        Raises:
            UserError: A global grid's cells are not those between -90, 90 and -180, 180.
        """
        if not grid.periodic:
            return cls(grid.lat, grid.lon, slice(0, grid.ny), 0)
        south = (grid.lat_bounds[0] + 90.0) / resolution
        west = ((grid.lon_bounds[0] - WEST) % 360.0) / resolution
        rows = 180.0 / resolution
        if any(abs(x - round(x)) * resolution > TOLERANCE for x in (south, west, rows)):
            raise UserError(
                f"grid: cells of {resolution:g} degrees from {grid.lat_bounds[0]:g} N, "
                f"{grid.lon_bounds[0]:g} E are not those of the published layout, which begins at "
                f"-90 N, {WEST:g} E: change grid.lat or grid.lon"
            )
        return cls(
            resolution * (np.arange(round(rows), dtype=np.float64) + 0.5) - 90.0,
            resolution * (np.arange(grid.nx, dtype=np.float64) + 0.5) + WEST,
            slice(round(south), round(south) + grid.ny),
            round(west) % grid.nx,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.lat.size, self.lon.size

    def place(self, out: Float32, values: NDArray) -> None:
        """Put the grid's (..., ny, nx) values where they belong in (..., rows, columns)."""
        here = min(values.shape[-1], self.lon.size - self.west)
        out[..., self.rows, self.west : self.west + here] = values[..., :here]
        out[..., self.rows, : values.shape[-1] - here] = values[..., here:]
