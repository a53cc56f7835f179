"""What the verification scripts share: command line, saving, and a quasi-geostrophic inversion.

In the full model a network (ILAP) turns the vorticity that the skeleton leaves behind into
currents; it stands for an inverse Laplacian. Here `Inversion` is that Laplacian: it closes the
daily loop of one layer in a channel without anything learned.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy import sparse
from scipy.sparse.linalg import splu
from torch import Tensor

from hybridom.constants import EARTH_RADIUS, GRAVITY, OMEGA
from hybridom.figures import style
from hybridom.grid import Grid
from hybridom.physics.skeleton import Skeleton
from hybridom.physics.vorticity import relative_vorticity
from hybridom.state import Forcing, OceanState

DPI = 90
BLUE, ORANGE, GREY = (style.COLOURS[name] for name in ("model", "persistence", "climatology"))
GREEN, PINK = style.VARIABLE_COLOURS["so"], style.VARIABLE_COLOURS["zos"]
# Temperature and salinity of a layer whose density plays no part.
THETAO, SO = 10.0, 35.0
Walls = Literal["fixed", "free"]


def output_folder(purpose: str, arguments: Sequence[str] | None) -> Path:
    """Where the figure goes: `--out`, or the folder of the scripts."""
    parser = argparse.ArgumentParser(description=purpose.splitlines()[0])
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent, help="folder of the figure"
    )
    return parser.parse_args(arguments).out


def save(figure: Figure, path: Path) -> None:
    """Write a figure as the page shows it."""
    style.save(figure, [path], DPI)


def report(numbers: Mapping[str, float]) -> dict[str, float]:
    """Print one number a line, and return them."""
    for name, value in numbers.items():
        print(f"{name} = {value if isinstance(value, int) else format(value, '.4g')}")
    return {name: float(value) for name, value in numbers.items()}


def coriolis(lat: float) -> float:
    """f in s-1 at a latitude in degrees."""
    return 2 * OMEGA * float(np.sin(np.deg2rad(lat)))


def beta(lat: float) -> float:
    """df/dy in m-1 s-1 at a latitude in degrees."""
    return 2 * OMEGA * float(np.cos(np.deg2rad(lat))) / EARTH_RADIUS


def layer(
    resolution: float,
    lat: tuple[float, float],
    depth: float,
    lon: tuple[float, float] = (-180, 180),
) -> Grid:
    """One layer of the given depth (m) between two latitudes; its ends in longitude are joined.

    A sector of less than 360 degrees is a part of the globe that repeats itself.
    """
    return replace(Grid.regular(resolution, lat, lon, (depth / 2,)), periodic=True)


def meridional_laplacian(grid: Grid, walls: Walls) -> sparse.csr_array:
    """d/dy(cos(phi) d/dy) / cos(phi) of the rows of a channel, (ny, ny), m-2.

    Args:
        grid: A periodic grid between two latitudes.
        walls: `fixed` holds the field at zero on the walls, half a cell beyond the outer rows;
            `free` lets nothing through, so that the field is level there.
    """
    cos = np.cos(np.deg2rad(grid.lat_bounds))
    distance = EARTH_RADIUS * np.deg2rad(np.diff(grid.lat, prepend=np.nan, append=np.nan))
    coupling = cos / distance
    at_wall = cos[[0, -1]] / (0.5 * grid.dy[[0, -1]]) if walls == "fixed" else np.zeros(2)
    coupling[[0, -1]] = at_wall
    inner = coupling[1:-1]
    rows = sparse.diags_array(
        [inner, -(coupling[1:] + coupling[:-1]), inner], offsets=[-1, 0, 1], format="csr"
    )
    band = EARTH_RADIUS * np.diff(np.sin(np.deg2rad(grid.lat_bounds)))
    return sparse.diags_array(1 / band) @ rows


def channel_laplacian(grid: Grid, walls: Walls) -> sparse.csr_array:
    """Five-point Laplacian of a channel, (ny nx, ny nx), m-2; see `meridional_laplacian`."""
    nx = grid.nx
    shift = sparse.csr_array(np.roll(np.eye(nx), 1, axis=1))
    second_difference = shift + shift.T - 2 * sparse.eye_array(nx)
    zonal = sparse.kron(sparse.diags_array(grid.dx_t[:, 0] ** -2), second_difference)
    meridional = sparse.kron(meridional_laplacian(grid, walls), sparse.eye_array(nx))
    return sparse.csr_array(zonal + meridional)


class Inversion:
    """Quasi-geostrophic potential vorticity of one layer, and its inverse.

    q = lap(psi) - f f_0 / (g H) psi with the stream function psi = g eta / f_0. The discrete q
    that the skeleton keeps is zeta - f eta / H.
    """

    def __init__(self, grid: Grid, f_0: float, walls: Walls) -> None:
        """Factorise the operator of a channel.

        Args:
            grid: One layer.
            f_0: Coriolis parameter that ties the stream function to the sea surface, s-1.
            walls: As for `meridional_laplacian`.
        """
        self.grid, self.f_0, self.walls = grid, f_0, walls
        self.depth = float(grid.dz[0])
        stretching = np.repeat(grid.f_t * f_0 / (GRAVITY * self.depth), grid.nx)
        laplacian = channel_laplacian(grid, walls)
        self._solver = splu((laplacian - sparse.diags_array(stretching)).tocsc())

    def stream_function(self, q: np.ndarray) -> np.ndarray:
        """psi (..., ny, nx), m2 s-1, of the potential vorticity q (..., ny, nx), s-1."""
        flat = q.reshape(-1, self.grid.ny * self.grid.nx)
        return self._solver.solve(np.ascontiguousarray(flat.T)).T.reshape(q.shape)

    def state(self, psi: np.ndarray) -> OceanState:
        """The balanced layer: u = -dpsi/dy, v = dpsi/dx, eta = f_0 psi / g, uniform T and S."""
        grid = self.grid
        step = np.diff(psi, axis=-2) / (EARTH_RADIUS * np.deg2rad(np.diff(grid.lat)))[:, None]
        south, north = (
            (sign * psi[..., row : row + 1 or None, :] / (0.5 * grid.dy[row]))
            for sign, row in ((1, 0), (-1, -1))
        )
        wall = 1.0 if self.walls == "fixed" else 0.0
        slope = np.concatenate([wall * south, step, wall * north], axis=-2)
        u = -0.5 * (slope[..., 1:, :] + slope[..., :-1, :])
        v = (np.roll(psi, -1, -1) - np.roll(psi, 1, -1)) / (2 * grid.dx_t)
        uo, vo, zos = (torch.tensor(x) for x in (u, v, self.f_0 / GRAVITY * psi))
        uo, vo = uo.unsqueeze(-3), vo.unsqueeze(-3)
        return OceanState(torch.full_like(uo, THETAO), torch.full_like(uo, SO), uo, vo, zos)


def potential_vorticity(vorticity: Tensor, zos: Tensor, core: Skeleton) -> Tensor:
    """zeta - f eta / H of one layer (..., ny, nx), s-1."""
    geometry = core.geometry
    return vorticity.squeeze(-3) - geometry.f_t * zos / geometry.dz[0]


def state_vorticity(state: OceanState, core: Skeleton) -> Tensor:
    """The relative vorticity (..., nz, ny, nx), s-1, from which the skeleton starts its day."""
    g = core.geometry
    u, v = g.interp_x_to_u(g.clean(state.uo)), g.interp_y_to_v(g.clean(state.vo))
    return relative_vorticity(u, v, g)


def next_day(psi: np.ndarray, core: Skeleton, inversion: Inversion) -> np.ndarray:
    """Stream function after one day: the day's change of potential vorticity is inverted.

    Args:
        psi: Stream function (..., ny, nx), m2 s-1.
        core: Skeleton of the layer, without wind, with `sea_surface: continuity`.
        inversion: Inversion of the same layer.
    """
    state = inversion.state(psi)
    after = core(state, Forcing({}), Forcing({}))
    before = potential_vorticity(state_vorticity(state, core), state.zos, core)
    change = potential_vorticity(after.vorticity, after.zos, core) - before
    return psi + inversion.stream_function(change.numpy())
