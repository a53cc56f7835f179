"""The four oceans of the physics tests, with random, non-uniform fields in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest
import torch
from torch import Tensor

from hybridom.grid import Grid
from hybridom.operators import Geometry, surface_geometry
from hybridom.physics.advection import upwind_weights
from hybridom.physics.continuity import vertical_velocity
from hybridom.physics.stability import transport_rate
from hybridom.state import Forcing, OceanState

DEPTHS = (5.0, 20.0, 60.0, 150.0, 400.0)

# 9 degrees, north at the top, "#" is land: cells of which less than half is sea
COASTLINE = """
........................................
..........#..#####............##........
..#########.#.##......##.###############
..#..#####.##........###############.#..
......#######.......################....
......######.......#..############......
.......####........####.#########.......
........#.........########..#####.......
..................########..#..#........
...........###.......####...............
...........#####.....###...........#....
............####.....###..........#.....
............###.......##.........####...
............##........#..........####...
............#...........................
........................................
........................................
.........................##..#######....
....########.....#####################..
########################################
"""


@dataclass(frozen=True)
class Ocean:
    """A grid, its wet cells, and random fields on it."""

    name: str
    grid: Grid
    wet: np.ndarray

    @cached_property
    def geometry(self) -> Geometry:
        return Geometry(self.grid, self.wet, torch.float64)

    @cached_property
    def surface(self) -> Geometry:
        return surface_geometry(self.grid, self.wet, torch.float64)

    def field(self, seed: int, *leading: int) -> Tensor:
        """Normal random numbers at centres (*leading, nz, ny, nx), on land too."""
        generator = torch.Generator().manual_seed(seed)
        shape = (*leading, *self.grid.shape)
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def flow(self, seed: int, dt: float, number: float) -> tuple[Tensor, Tensor, Tensor]:
        """Random (u, v, w) that closes every layer, with the given largest transport number."""
        u = self.geometry.interp_x_to_u(self.field(seed))
        v = self.geometry.interp_y_to_v(self.field(seed + 1))
        w = vertical_velocity(u, v, self.geometry)
        rate = transport_rate(upwind_weights(u, v, w, self.geometry), self.geometry)
        scale = number / (dt * rate.max())
        return u * scale, v * scale, w * scale

    def state(self, seed: int, batch: int = 2, number: float = 0.2, dt: float = 7200.0):
        """Random state whose flow has the given largest transport number; noise on land too."""
        t, s, u, v = (self.field(seed + n, batch) for n in range(4))
        face_u, face_v = self.geometry.interp_x_to_u(u), self.geometry.interp_y_to_v(v)
        w = vertical_velocity(face_u, face_v, self.geometry)
        weights = upwind_weights(face_u, face_v, w, self.geometry)
        scale = number / (dt * transport_rate(weights, self.geometry).max())
        stratified = 20 * torch.exp(-self.geometry.depth / 200)
        zos = 0.1 * self.field(seed + 4, batch)[:, 0]
        return OceanState(stratified + 0.3 * t, 35 + 0.1 * s, u * scale, v * scale, zos)

    def forcing(self, seed: int, batch: int = 2) -> Forcing:
        """Random wind (batch, ny, nx), m s-1."""
        return Forcing({n: 5 * self.field(seed + i, batch)[:, 0] for i, n in enumerate(WIND)})

    def rest(self) -> OceanState:
        """Stratified, level, without currents (batch of 1); the same on land."""
        column = torch.zeros((1, *self.grid.shape), dtype=torch.float64)
        depth = self.geometry.depth
        thetao, so = column + 20 * torch.exp(-depth / 150), column + 36 - depth / 1000
        return OceanState(thetao, so, column, column, column[:, 0])

    def calm(self) -> Forcing:
        """No wind (batch of 1)."""
        zero = torch.zeros((1, *self.grid.shape[1:]), dtype=torch.float64)
        return Forcing({"u10": zero, "v10": zero})

    def content(self, c: Tensor) -> Tensor:
        """Volume integral of a field at centres."""
        wet = self.geometry.clean(c)
        return (wet * self.geometry.area * self.geometry.dz).sum(dim=(-3, -2, -1))


WIND = ("u10", "v10")


# Files that take longest. Workers take whole files, and none should be left with one of these.
LONGEST = (
    "test_cluster.py",
    "test_by_hand.py",
    "test_restarts.py",
    "test_distributed.py",
    "test_resume.py",
    "test_bench_core.py",
    "test_stepper_settings.py",
    "test_fused_gpu.py",
    "test_figures.py",
    "test_loop.py",
    "test_climatology.py",
    "test_bench_train.py",
    "test_fused_adjoint.py",
    "test_prepare_kill.py",
    "test_runs.py",
    "test_failures.py",
    "test_module.py",
    "test_cost.py",
    "test_doctor_cluster.py",
    "test_verification.py",
    "test_tracking.py",
    "test_checks.py",
    "test_fused_cpu.py",
    "test_datasets.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files."""
    order = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


def _columns(bottom: np.ndarray, nz: int) -> np.ndarray:
    """Cells above the bottom, given as the number of wet levels (ny, nx)."""
    return np.arange(nz)[:, None, None] < bottom


def aquaplanet() -> Ocean:
    grid = Grid.regular(10.0, depths=DEPTHS)
    return Ocean("aquaplanet", grid, np.ones(grid.shape, dtype=bool))


def basin() -> Ocean:
    grid = Grid.regular(4.0, (10.0, 46.0), (-60.0, -12.0), DEPTHS)
    bottom = np.full(grid.shape[1:], grid.nz)
    bottom[:, :2], bottom[-2:] = 2, 3
    bottom[0, :4] = 0
    return Ocean("basin", grid, _columns(bottom, grid.nz))


def channel() -> Ocean:
    """Around the equator, with a row of centres on it; an island, and a seamount."""
    grid = Grid.regular(6.0, (-21.0, 21.0), (-180.0, 180.0), DEPTHS)
    bottom = np.full(grid.shape[1:], grid.nz)
    bottom[2:5, 20:24] = 0
    bottom[1:4, 40:46] = 2
    return Ocean("channel", grid, _columns(bottom, grid.nz))


def realistic() -> Ocean:
    grid = Grid.regular(9.0, depths=DEPTHS)
    rows = COASTLINE.split()[::-1]
    sea = np.array([[cell == "." for cell in row] for row in rows])
    bottom = np.random.default_rng(1).integers(2, grid.nz + 1, sea.shape) * sea
    return Ocean("realistic", grid, _columns(bottom, grid.nz))


@pytest.fixture(scope="session", params=[aquaplanet, basin, channel, realistic])
def ocean(request: pytest.FixtureRequest) -> Ocean:
    """Each of the four oceans in turn."""
    return request.param()


@pytest.fixture(scope="session")
def make_ocean() -> Callable[..., Ocean]:
    """One ocean by name, or (`grid=`, `wet=`) any other; all wet if no mask is given."""

    def make(name: str = "", grid: Grid | None = None, wet: np.ndarray | None = None) -> Ocean:
        if grid is None:
            return {f.__name__: f for f in (aquaplanet, basin, channel, realistic)}[name]()
        return Ocean(name, grid, np.ones(grid.shape, dtype=bool) if wet is None else wet)

    return make
