"""From the model's grid to an official one, levels first, then the horizontal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hybridom.data.regrid import BilinearRegridder, Regridder, fill_from_sea
from hybridom.errors import UserError
from hybridom.evaluation.oceanbench.conventions import OfficialGrid
from hybridom.grid import Grid

LEVEL_TOLERANCE = 1e-3  # m
HALF = 0.5  # of a target cell that our ocean must fill


class Levels:
    """Levels of the model at the scoring depths.

    Args:
        depth: (nz,) m.
        wanted: Scoring depths, m.
        interpolate: Whether to interpolate linearly to those that the grid lacks; a depth above
            the topmost level takes that level.

    Raises:
        UserError: The grid lacks depths and may not interpolate, or ends above the lowest.
    """

    def __init__(self, depth: np.ndarray, wanted: Sequence[float], interpolate: bool) -> None:
        target = np.asarray(wanted)
        lacking = [z for z in target if np.abs(depth - z).min() > LEVEL_TOLERANCE]
        if lacking and not interpolate:
            raise UserError(
                f"grid.depths has no level at {', '.join(f'{z:g}' for z in lacking)} m, which "
                "OceanBench scores; train on a grid that has them, or give --interpolate-depth"
            )
        if target.max() > depth[-1] + LEVEL_TOLERANCE:
            raise UserError(
                f"grid.depths ends at {depth[-1]:g} m; OceanBench scores {target.max():g} m, "
                "which needs a deeper grid"
            )
        self._upper = np.clip(np.searchsorted(depth, target, side="right") - 1, 0, None)
        self._lower = np.minimum(self._upper + 1, depth.size - 1)
        span = np.where(self._lower > self._upper, depth[self._lower] - depth[self._upper], 1.0)
        part = np.clip((target - depth[self._upper]) / span, 0.0, 1.0)
        for n, z in enumerate(target):
            level = int(np.abs(depth - z).argmin())
            if abs(depth[level] - z) <= LEVEL_TOLERANCE:
                self._upper[n], self._lower[n], part[n] = level, level, 0.0
        self._lower = np.where(part > 0, self._lower, self._upper)
        self._part = part[:, None, None]
        names = ", ".join(f"{z:g}" for z in lacking)
        self.method = (
            f"linear between levels at {names} m; other levels are the model's own"
            if lacking
            else "levels are the model's own"
        )

    def __call__(self, field: np.ndarray) -> np.ndarray:
        """A field (nz, ny, nx) at the scoring depths."""
        upper, lower = field[self._upper], field[self._lower]
        return np.where(self._part > 0, upper + self._part * (lower - upper), upper)

    def wet(self, wet: np.ndarray) -> np.ndarray:
        """Where all levels that a depth rests on are wet, bool (depths, ny, nx)."""
        return wet[self._upper] & wet[self._lower]


class Onto:
    """Fields onto an official grid: NaN on land.

    Onto a grid as fine as the model's or finer, bilinear between centres, of the corners at sea
    by their weights; onto a coarser one, the mean over the area at sea (conservative).

    Args:
        grid: The model's.
        wet: bool (nz, ny, nx), where its fields have values.
        official: Where to.
        ocean: bool (nz, ny_o, nx_o) cells that get values if ours reach them; None: cells of
            which half or more (by weight) is our ocean.
        coast: Cells by which fields are continued onto land beforehand.

    Attributes:
        method: How it is done, in words.

    Raises:
        UserError: The model's grid does not reach over the official one.
    """

    def __init__(
        self,
        grid: Grid,
        wet: np.ndarray,
        official: OfficialGrid,
        ocean: np.ndarray | None,
        coast: int,
    ) -> None:
        step = float(np.diff(grid.lat).mean())
        self._grid, self._wet, self._coast = grid, wet, coast
        self._coarser = official.resolution > 1.01 * step
        target = _as_grid(official)
        lowest, highest = grid.lat_bounds[[0, -1]]
        if not grid.periodic or official.lat[0] < lowest or official.lat[-1] > highest:
            raise UserError(
                f"the grid spans {lowest:g} to {highest:g} N, {grid.lon_bounds[0]:g} to "
                f"{grid.lon_bounds[-1]:g} E; OceanBench's of {official.resolution:g} degrees has "
                f"centres from {official.lat[0]:g} to {official.lat[-1]:g} N around the globe: "
                "export forecasts of a global grid"
            )
        self._sea = self._continued(np.zeros(wet.shape, np.float32), wet)[1]
        if self._coarser:
            whole = Regridder(grid.lat, grid.lon, target, wet)
            self._conservative = Regridder(grid.lat, grid.lon, target, self._sea)
            part = whole.wet_fraction
        else:
            self._bilinear = BilinearRegridder(grid.lat, grid.lon, target)
            part = self._bilinear(wet.astype(np.float64))
        self._ocean = part >= HALF if ocean is None else ocean
        kind = "mean over the area at sea" if self._coarser else "bilinear from cells at sea"
        rule = "OceanBench's mask" if ocean is not None else "cells that are half ocean or more"
        self.method = f"{kind}, continued by {coast} cells at the coast; ocean: {rule}"

    def __call__(self, field: np.ndarray) -> np.ndarray:
        """A field (nz or 1, ny, nx) on the official grid, likewise, float64."""
        levels = slice(0, len(field))
        filled, sea = self._continued(field, self._wet[levels])
        filled = np.where(sea, filled, 0.0)
        found = self._conservative(filled) if self._coarser else self._bilinear(filled, sea)
        return np.where(self._ocean[levels], found, np.nan)

    def _continued(self, field: np.ndarray, wet: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The field continued onto land, and where it has values."""
        if self._coast == 0:
            return field, wet
        filled = fill_from_sea(field, wet, self._coast, self._grid.periodic)
        return filled, np.isfinite(filled)


def _as_grid(official: OfficialGrid) -> Grid:
    """The official grid with its cells, at the surface alone."""
    half = 0.5 * official.resolution
    lat, lon = official.lat, official.lon
    return Grid(
        lat=lat,
        lon=lon,
        lat_bounds=np.append(lat - half, lat[-1] + half),
        lon_bounds=np.append(lon - half, lon[-1] + half),
        depth=np.array([0.5]),
        depth_bounds=np.array([0.0, 1.0]),
        periodic=True,
    )
