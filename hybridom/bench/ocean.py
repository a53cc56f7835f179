"""A smooth invented ocean: continents, shelves, and currents that go around both.

The streamfunction of every level is constant along that level's coast, so that no current runs into
a wall and water rises and sinks slowly; the time step that a real ocean bears is stable here too.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from hybridom.constants import EARTH_RADIUS
from hybridom.grid import Grid, Mask
from hybridom.state import OceanState

Array = NDArray[np.float64]

SEA = 0.70  # part of the area that is sea
DEEP_SEA = 0.63  # and that is still sea at the lowest level
SHORE = 0.5  # standard deviations of height over which currents fall to zero
WALL = 0.1  # part of the grid's extent over which they fall to zero at its outer edges
MODES = 40
LONGEST, SHORTEST = 240.0, 10.0  # wavelengths, degrees of arc
DECAY = 500.0  # depth over which warmth and currents fall by e, m


class InventedOcean:
    """Mask and fields of one grid, the same ones every time.

    Attributes:
        grid: The grid.
        wet: Ocean cells (nz, ny, nx); none lies below a dry one.
    """

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self._height = self._field(seed=1)
        shares = np.linspace(SEA, DEEP_SEA, grid.nz)
        shores = np.quantile(self._height, shares, weights=grid.area, method="inverted_cdf")
        self._offshore = np.asarray(shores)[:, None, None] - self._height
        self.wet: Mask = self._offshore >= 0

    def state(self, speed: float) -> OceanState:
        """A stratified ocean (1, nz, ny, nx), float64, zero on land.

        Args:
            speed: Of the fastest current, m s-1.
        """
        decay = np.exp(-self.grid.depth / DECAY)[:, None, None]
        warmth = 26 * np.cos(np.deg2rad(self.grid.lat))[:, None] ** 2 + self._field(2)
        u, v = self._currents()
        scale = decay * speed / np.sqrt((decay * decay * (u * u + v * v)).max())
        fields = {
            "thetao": 2 + warmth * decay,
            "so": 35 + 0.5 * self._field(3) * decay,
            "uo": scale * u,
            "vo": scale * v,
        }
        tensors = {n: torch.from_numpy(np.where(self.wet, x, 0.0)[None]) for n, x in fields.items()}
        zos = np.where(self.wet[0], 0.3 * self._field(5), 0.0)
        return OceanState(**tensors, zos=torch.from_numpy(zos[None]))

    def _currents(self) -> tuple[Array, Array]:
        """Currents of every level (nz, ny, nx) in the same arbitrary unit, zero on land."""
        grid = self.grid
        psi = self._field(4) * _rise(self._offshore / SHORE)
        psi *= _from_walls(grid.lat_bounds)[:, None]
        if not grid.periodic:
            psi *= _from_walls(grid.lon_bounds)
        lat, lon = np.deg2rad(grid.lat), np.deg2rad(grid.lon)
        u = -np.gradient(psi, lat, axis=1) / EARTH_RADIUS
        v = np.gradient(psi, lon, axis=2) / (EARTH_RADIUS * np.cos(lat)[:, None])
        return np.where(self.wet, u, 0.0), np.where(self.wet, v, 0.0)

    def _field(self, seed: int) -> Array:
        """Waves (ny, nx) of unit variance on the sphere, which has neither seam nor pole."""
        lat, lon = np.meshgrid(np.deg2rad(self.grid.lat), np.deg2rad(self.grid.lon), indexing="ij")
        point = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
        rng = np.random.default_rng(seed)
        field = np.zeros(lat.shape)
        for number in np.geomspace(360 / LONGEST, 360 / SHORTEST, MODES):
            direction = rng.standard_normal(3)
            vector = number * direction / np.linalg.norm(direction)
            phase = rng.uniform(0, 2 * np.pi)
            field += np.cos(np.tensordot(vector, point, axes=1) + phase) / number
        return field / field.std()


def _rise(x: Array) -> Array:
    """From 0 at x = 0 to 1 at x = 1, without a bend."""
    x = np.clip(x, 0.0, 1.0)
    return x**2 * (3 - 2 * x)


def _from_walls(edges: Array) -> Array:
    """From 0 on the first and the last edge to 1 inside, at the centres between `edges`."""
    centres = 0.5 * (edges[1:] + edges[:-1])
    near = np.minimum(centres - edges[0], edges[-1] - centres)
    return _rise(near / (WALL * (edges[-1] - edges[0])))
