"""The inverse Laplacian: closed forms, a dense solution, and what the currents must carry."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from hybridom.constants import EARTH_RADIUS
from hybridom.errors import UserError
from hybridom.grid import Grid
from hybridom.operators import Geometry
from hybridom.physics.inversion import VorticityInversion
from hybridom.physics.vorticity import relative_vorticity

LEVELS = (5.0, 20.0)
GRIDS = {
    "sphere": Grid.regular(12.0, depths=LEVELS),
    "odd row": Grid.regular(24.0, (-84.0, 84.0), depths=LEVELS),
    "one pole": Grid.regular(10.0, (-80.0, 90.0), depths=LEVELS),
    "basin": Grid.regular(4.0, (10.0, 46.0), (-60.0, -12.0), LEVELS),
}


@pytest.fixture(params=GRIDS.values(), ids=GRIDS.keys())
def grid(request: pytest.FixtureRequest) -> Grid:
    return request.param


def inversion(grid: Grid, wet: np.ndarray | None = None) -> VorticityInversion:
    return VorticityInversion(grid, np.ones(grid.shape, bool) if wet is None else wet)


def field(*shape: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def laplacian(grid: Grid) -> np.ndarray:
    """Dense (ny nx, ny nx): flux through a cell's four faces, psi = 0 on walls, by cell area."""
    ny, nx = grid.ny, grid.nx
    lat, edges = np.deg2rad(grid.lat), np.deg2rad(grid.lat_bounds)
    dlat, dlon = np.diff(edges), grid.dlon[0]
    matrix = np.zeros((ny, nx, ny, nx))
    for j, i in np.ndindex(ny, nx):
        across = dlat[j] / (np.cos(lat[j]) * dlon)
        for step in (-1, 1):
            inside = grid.periodic or 0 <= i + step < nx
            matrix[j, i, j, i] -= across * (1 if inside else 2)
            if inside:
                matrix[j, i, j, (i + step) % nx] += across
            length = np.cos(edges[j + (step > 0)]) * dlon
            inside = 0 <= j + step < ny
            distance = abs(lat[j + step] - lat[j]) if inside else dlat[j] / 2
            matrix[j, i, j, i] -= length / distance
            if inside:
                matrix[j, i, j + step, i] += length / distance
    return matrix.reshape(ny * nx, -1) / grid.area.reshape(-1, 1)


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def test_the_stream_function_is_that_of_a_dense_solution(grid: Grid) -> None:
    matrix = torch.from_numpy(laplacian(grid))
    psi = field(2, grid.ny * grid.nx)
    if grid is GRIDS["sphere"]:
        psi = psi - psi.mean(dim=-1, keepdim=True)
    zeta = (psi @ matrix.T).reshape(2, grid.ny, grid.nx)
    found = inversion(grid).stream_function(zeta).reshape(2, -1)
    if grid is GRIDS["sphere"]:
        found = found - found.mean(dim=-1, keepdim=True)
    assert relative(found, psi) < 1e-12


def harmonic(grid: Grid) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A vorticity on the sphere of wavenumbers 0, 1 and 2, of degrees 2, 2 and 3; its currents."""
    lat, lon = np.deg2rad(grid.lat)[:, None], np.deg2rad(grid.lon)[None, :]
    sine, cosine = np.sin(lat), np.cos(lat)
    zonal = (3 * sine**2 - 1) / 2 + 0 * lon
    one, two = np.cos(lon + 0.7), np.cos(2 * lon + 0.3)
    zeta = -(6 * zonal + 6 * sine * cosine * one + 12 * cosine**2 * sine * two) / EARTH_RADIUS
    u = -(3 * sine * cosine + (cosine**2 - sine**2) * one)
    u = u - (cosine**3 - 2 * cosine * sine**2) * two
    v = -sine * np.sin(lon + 0.7) - 2 * cosine * sine * np.sin(2 * lon + 0.3)
    full = (grid.nz, grid.ny, grid.nx)
    zeta, u, v = (torch.from_numpy(np.broadcast_to(x, full).copy()) for x in (zeta, u, v))
    return zeta, u, v


SPHERES = [Grid.regular(step, depths=LEVELS) for step in (12.0, 6.0, 3.0)]


def orders(errors: list[float]) -> list[float]:
    return [float(np.log2(a / b)) for a, b in itertools.pairwise(errors)]


def test_currents_of_a_spherical_harmonic_are_of_second_order_up_to_the_poles() -> None:
    errors = {"u": [], "v": []}
    for grid in SPHERES:
        zeta, u, v = harmonic(grid)
        du, dv = inversion(grid)(zeta)
        errors["u"].append(relative(du, u))
        errors["v"].append(relative(dv, v))
    for name, found in errors.items():
        assert found[-1] < 2e-3, name
        assert min(orders(found)) > 1.8, (name, found)


def test_the_vorticity_of_the_currents_is_the_one_that_was_given() -> None:
    errors = []
    for grid in SPHERES:
        zeta, _, _ = harmonic(grid)
        g = Geometry(grid, np.ones(grid.shape, bool), torch.float64)
        du, dv = inversion(grid)(zeta)
        found = relative_vorticity(g.interp_x_to_u(du), g.interp_y_to_v(dv), g)
        # A polar row has no corners at the pole: its vorticity is that of the other side.
        errors.append(relative(found[:, 1:-1], zeta[:, 1:-1]))
    assert errors[-1] < 6e-3
    assert min(orders(errors)) > 1.8, errors


def test_net_vorticity_of_a_whole_sphere_makes_no_current() -> None:
    grid = GRIDS["sphere"]
    zeta = 1e-6 * field(*grid.shape)
    for a, b in zip(inversion(grid)(zeta), inversion(grid)(zeta + 1e-6), strict=True):
        assert relative(b, a) < 1e-10


def test_walls_hold_the_transport_between_them() -> None:
    """psi is zero on all walls: what flows through a section from wall to wall adds up to zero."""
    for name in ("odd row", "basin"):
        grid = GRIDS[name]
        du, dv = inversion(grid)(field(*grid.shape))
        through = (du * torch.from_numpy(grid.dy)[:, None]).sum(dim=-2)
        assert through.abs().max() < 1e-9 * du.abs().max() * grid.dy.sum()
        if not grid.periodic:
            through = (dv * torch.from_numpy(grid.dx_t)).sum(dim=-1)
            assert through.abs().max() < 1e-9 * dv.abs().max() * grid.dx_t.sum(axis=1).max()


def test_a_single_vortex_turns_anticlockwise_where_its_vorticity_is_positive(grid: Grid) -> None:
    zeta = torch.zeros(grid.shape, dtype=torch.float64)
    j, i = grid.ny // 2, grid.nx // 2
    zeta[:, j, i] = 1e-5
    du, dv = inversion(grid)(zeta)
    assert (dv[:, j, i + 1] > 0).all() and (dv[:, j, i - 1] < 0).all()
    assert (du[:, j + 1, i] < 0).all() and (du[:, j - 1, i] > 0).all()


def test_rolling_longitude_rolls_the_currents() -> None:
    for name in ("sphere", "odd row", "one pole"):
        grid = GRIDS[name]
        zeta = field(2, *grid.shape)
        here, there = inversion(grid)(zeta), inversion(grid)(zeta.roll(4, dims=-1))
        for a, b in zip(here, there, strict=True):
            assert relative(b, a.roll(4, dims=-1)) < 1e-12


def coast(grid: Grid) -> np.ndarray:
    wet = np.random.default_rng(0).random(grid.shape) > 0.3
    return np.logical_and.accumulate(wet, axis=0)


def test_land_gives_nothing_and_takes_nothing(grid: Grid) -> None:
    wet = coast(grid)
    solve = inversion(grid, wet)
    zeta = field(2, *grid.shape)
    clean = solve(torch.where(solve.wet, zeta, 0.0))
    for fill in (1e6, float("nan")):
        filled = torch.where(solve.wet, zeta, fill).requires_grad_()
        found = solve(filled)
        for a, b in zip(clean, found, strict=True):
            assert torch.equal(a, b) and not b[..., ~solve.wet].any() and b.any()
        sum(x.square().sum() for x in found).backward()
        assert filled.grad.isfinite().all() and not filled.grad[..., ~solve.wet].any()


def test_no_change_of_vorticity_is_exactly_no_current(grid: Grid) -> None:
    for x in inversion(grid)(torch.zeros(2, *grid.shape)):
        assert x.dtype == torch.float32 and not x.any()


def test_levels_and_samples_do_not_mix(grid: Grid) -> None:
    zeta = field(3, *grid.shape)
    changed = zeta.clone()
    changed[1, 0] += 1.0
    for a, b in zip(inversion(grid)(zeta), inversion(grid)(changed), strict=True):
        same = (a == b).all(dim=(-2, -1)).tolist()
        assert same == [[True, True], [False, True], [True, True]]


def test_single_precision_loses_its_rounding_alone(grid: Grid) -> None:
    zeta = 1e-6 * field(*grid.shape)
    for a, b in zip(inversion(grid)(zeta.float()), inversion(grid)(zeta), strict=True):
        assert a.dtype == torch.float32 and relative(a.double(), b) < 2e-6


@pytest.mark.parametrize("name", ["sphere", "basin"])
def test_gradients_equal_finite_differences(name: str) -> None:
    step = {"sphere": 45.0, "basin": 12.0}[name]
    box = {"sphere": {}, "basin": {"lat": (10.0, 46.0), "lon": (-60.0, -12.0)}}[name]
    grid = Grid.regular(step, depths=LEVELS, **box)
    solve = inversion(grid, coast(grid))
    # currents of a vorticity of 1 s-1 are of the size of the Earth
    assert torch.autograd.gradcheck(
        lambda x: tuple(y / EARTH_RADIUS for y in solve(x)), field(*grid.shape).requires_grad_()
    )


def test_columns_of_unequal_width_are_refused() -> None:
    grid = GRIDS["basin"]
    bounds = grid.lon_bounds.copy()
    bounds[1] += 1.0
    uneven = replace(grid, lon_bounds=bounds)
    with pytest.raises(UserError, match="columns of the same width"):
        inversion(uneven)
