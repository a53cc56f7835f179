"""Open edges of a grid: what flows in and out, symmetries, gradients.

That a region steps as its part of the globe does is in test_regions.py. `config` and
`make_skeleton` come from conftest.py: each property holds for both sets of schemes and for both
forms of the day.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hybridom.config import SkeletonConfig
from hybridom.constants import SECONDS_PER_DAY
from hybridom.grid import Grid
from hybridom.masks import u_mask, v_mask
from hybridom.operators import Geometry
from hybridom.physics.continuity import vertical_velocity
from hybridom.state import Forcing, OceanState

TERMS = ("geostrophic_advection", "planetary", "stretching", "wind_stress")
NO_WIND = Forcing({})


def opened(config=None, **settings):
    base = config or SkeletonConfig()
    return SkeletonConfig(**{**base.model_dump(), "boundaries": "open", **settings})


def outer_faces(ocean):
    """(row, column, length m, sign of the inflow, component) of every outer face, by cell."""
    grid = ocean.grid
    for j in range(grid.ny):
        if not grid.periodic:
            yield j, 0, grid.dy[j], 1, "uo"
            yield j, grid.nx - 1, grid.dy[j], -1, "uo"
    for i in range(grid.nx):
        yield 0, i, grid.dx_v[0, i], 1, "vo"
        yield grid.ny - 1, i, grid.dx_v[-1, i], -1, "vo"


def inflow(ocean, state, c=None):
    """Through the outer faces, summed over them (B,), m3 s-1 (times the unit of c)."""
    total = torch.zeros(len(state.uo), dtype=torch.float64)
    for j, i, length, sign, name in outer_faces(ocean):
        for k in np.flatnonzero(ocean.wet[:, j, i]):
            through = sign * getattr(state, name)[:, k, j, i] * length * ocean.grid.dz[k]
            total += through if c is None else through * c[:, k, j, i]
    return total


def rise(ocean, state):
    """Convergence of the vertically integrated flow (B, ny, nx), m s-1, from face to face."""
    grid, wet = ocean.grid, torch.as_tensor(ocean.wet)
    u, v = (torch.where(wet, x, 0.0) for x in (state.uo, state.vo))
    total = torch.zeros_like(state.zos)
    dz = torch.as_tensor(grid.dz)[:, None]
    for i in range(grid.nx if grid.periodic else grid.nx - 1):
        east = (i + 1) % grid.nx
        both = wet[..., i] & wet[..., east]
        through = (torch.where(both, 0.5 * (u[..., i] + u[..., east]), 0.0) * dz).sum(-2)
        through = through * torch.as_tensor(grid.dy)
        total[..., i] -= through
        total[..., east] += through
    for j in range(grid.ny - 1):
        both = wet[:, j] & wet[:, j + 1]
        through = (torch.where(both, 0.5 * (v[:, :, j] + v[:, :, j + 1]), 0.0) * dz).sum(-2)
        through = through * torch.as_tensor(grid.dx_v[j + 1])
        total[..., j, :] -= through
        total[..., j + 1, :] += through
    for j, i, length, sign, name in outer_faces(ocean):
        x = u if name == "uo" else v
        total[..., j, i] += sign * length * (x[..., j, i] * dz[:, 0]).sum(-1)
    return total / torch.as_tensor(grid.area)


def test_faces_of_the_edge_are_open_where_their_cell_is_wet(ocean):
    wet, periodic = ocean.wet, ocean.grid.periodic
    u, v = u_mask(wet, periodic, True), v_mask(wet, True)
    assert np.array_equal(v[:, [0, -1]], wet[:, [0, -1]])
    assert np.array_equal(v[:, 1:-1], v_mask(wet)[:, 1:-1])
    if periodic:
        assert np.array_equal(u, u_mask(wet, periodic))
    else:
        assert np.array_equal(u[..., [0, -1]], wet[..., [0, -1]])
        assert np.array_equal(u[..., 1:-1], u_mask(wet, periodic)[..., 1:-1])


def test_an_outer_face_carries_the_velocity_of_its_cell(ocean):
    g = Geometry(ocean.grid, ocean.wet, torch.float64, open_boundaries=True)
    c = ocean.field(1)
    v = g.interp_y_to_v(c)
    assert torch.equal(v[:, [0, -1]], g.clean(c)[:, [0, -1]])
    assert torch.equal(v[:, 1:-1], ocean.geometry.interp_y_to_v(c)[:, 1:-1])
    u = g.interp_x_to_u(c)
    if not ocean.grid.periodic:
        assert torch.equal(u[..., [0, -1]], g.clean(c)[..., [0, -1]])
    assert torch.equal(u[..., 1:-1], ocean.geometry.interp_x_to_u(c)[..., 1:-1])


def test_a_resting_stratified_region_stays_at_rest(ocean, config, make_skeleton):
    still = opened(config, vertical_diffusivity=0.0)
    before = ocean.rest()
    after = make_skeleton(ocean, still)(before, ocean.calm(), ocean.calm())
    assert torch.equal(after.thetao, ocean.geometry.clean(before.thetao))
    assert torch.equal(after.so, ocean.geometry.clean(before.so))
    assert not after.vorticity.any() and not after.zos.any()


def test_uniform_tracers_stay_uniform_whatever_flows_in_and_out(ocean, config, make_skeleton):
    state = ocean.state(2)
    state = replace(state, thetao=0 * state.thetao + 11.0, so=0 * state.so + 34.5)
    core = make_skeleton(ocean, opened(config))
    after = core(state, ocean.forcing(2), ocean.forcing(3))
    for x, value in ((after.thetao, 11.0), (after.so, 34.5)):
        assert (x - value)[:, ocean.geometry.wet].abs().max() < 1e-12 * value


def test_every_column_closes_and_the_surface_rises_by_what_flows_in(ocean, make_skeleton):
    state = ocean.state(3)
    g = Geometry(ocean.grid, ocean.wet, torch.float64, open_boundaries=True)
    u, v = g.interp_x_to_u(state.uo), g.interp_y_to_v(state.vo)
    w = vertical_velocity(u, v, g)
    divergence = g.div_to_t(u, v)
    residual = divergence + (w[..., :-1, :, :] - w[..., 1:, :, :]) / g.dz
    assert residual.abs().max() < 1e-13 * divergence.abs().max()
    expected = rise(ocean, state)
    scale = float(expected.abs().max())
    assert torch.allclose(w[:, 0], expected, rtol=0, atol=1e-12 * scale)

    after = make_skeleton(ocean, opened(sea_surface="continuity"))(
        state, ocean.forcing(3), ocean.forcing(3)
    )
    moved = after.zos - ocean.surface.clean(state.zos)
    atol = 1e-12 * scale * SECONDS_PER_DAY
    assert torch.allclose(moved, SECONDS_PER_DAY * expected, rtol=0, atol=atol)
    volume, given = (moved * g.area).sum((-2, -1)), SECONDS_PER_DAY * inflow(ocean, state)
    assert torch.allclose(volume, given, rtol=0, atol=1e-12 * float((moved.abs() * g.area).sum()))
    poles = bool((ocean.grid.dx_v[[0, -1]] == 0).all())
    assert bool((given.abs() > 1e-3 * float((moved.abs() * g.area).sum())).all()) != poles


@pytest.mark.parametrize("advection", ["upwind", "tvd"])
def test_content_changes_by_what_edges_and_surface_carry(ocean, advection, make_skeleton):
    state = ocean.state(4)
    core = make_skeleton(ocean, opened(advection=advection, substeps=1))
    after = core(state, ocean.forcing(4), ocean.forcing(4))
    top = rise(ocean, state)
    for old, new in ((state.thetao, after.thetao), (state.so, after.so)):
        surface = (top * ocean.geometry.clean(old)[:, 0] * ocean.geometry.area).sum((-2, -1))
        expected = SECONDS_PER_DAY * (inflow(ocean, state, old) - surface)
        change = ocean.content(new) - ocean.content(old)
        atol = 1e-13 * float(ocean.content(old).max())
        assert (expected.abs() > 1e3 * atol).all()
        assert torch.allclose(change, expected, rtol=0, atol=atol)


def test_on_a_grid_from_pole_to_pole_nothing_is_open(make_ocean, config, make_skeleton):
    ocean = make_ocean("realistic")
    state, wind = ocean.state(5), ocean.forcing(5)
    closed = make_skeleton(ocean, config)(state, wind, wind)
    for name, x in vars(make_skeleton(ocean, opened(config))(state, wind, wind)).items():
        assert torch.equal(x, getattr(closed, name)), name


# symmetries


def test_rolling_a_band_with_open_ends_commutes_with_the_day(make_ocean, config, make_skeleton):
    ocean = make_ocean("channel")
    turned = make_ocean("turned", grid=ocean.grid, wet=np.roll(ocean.wet, 7, -1))
    state, wind = ocean.state(8), ocean.forcing(8)

    def roll(x):
        return torch.roll(x, 7, -1)

    here = vars(make_skeleton(ocean, opened(config))(state, wind, wind))
    there = make_skeleton(turned, opened(config))(state.map(roll), wind.map(roll), wind.map(roll))
    for name, x in vars(there).items():
        scale = float(x.abs().max())
        assert torch.allclose(x, roll(here[name]), rtol=0, atol=1e-12 * scale), name


def test_a_region_may_lie_at_any_longitude(make_ocean, config, make_skeleton):
    ocean = make_ocean("basin")
    grid = ocean.grid
    moved = replace(grid, lon=grid.lon + 64.0, lon_bounds=grid.lon_bounds + 64.0)
    elsewhere = make_ocean("elsewhere", grid=moved, wet=ocean.wet)
    state, wind = ocean.state(9), ocean.forcing(9)
    here = vars(make_skeleton(ocean, opened(config))(state, wind, wind))
    for name, x in vars(make_skeleton(elsewhere, opened(config))(state, wind, wind)).items():
        assert torch.allclose(x, here[name], rtol=0, atol=1e-12 * float(x.abs().max())), name


def test_mirrored_hemispheres_flip_v_f_and_vorticity(ocean, make_ocean, config, make_skeleton):
    grid = ocean.grid
    flipped = replace(grid, lat=-grid.lat[::-1], lat_bounds=-grid.lat_bounds[::-1])
    mirror = make_ocean("mirror", grid=flipped, wet=ocean.wet[:, ::-1].copy())
    state, wind = ocean.state(10), ocean.forcing(10)
    state_m = state.map(lambda x: x.flip(-2))
    state_m = replace(state_m, vo=-state_m.vo)
    wind_m = Forcing({"u10": wind["u10"].flip(-2), "v10": -wind["v10"].flip(-2)})
    here = vars(make_skeleton(ocean, opened(config))(state, wind, wind))
    there = vars(make_skeleton(mirror, opened(config))(state_m, wind_m, wind_m))
    for name, x in here.items():
        sign = -1 if name == "vorticity" else 1
        atol = 1e-11 * float(x.abs().max())
        assert torch.allclose(there[name].flip(-2), sign * x, rtol=0, atol=atol), name


def test_east_and_west_edges_are_mirror_images_where_nothing_turns(
    make_ocean, config, make_skeleton
):
    ocean = make_ocean("basin")
    mirror = make_ocean("mirror", grid=ocean.grid, wet=ocean.wet[..., ::-1].copy())
    settings = dict.fromkeys(TERMS, False)  # f points the same way in both
    state = ocean.state(11)
    state_m = state.map(lambda x: x.flip(-1))
    state_m = replace(state_m, uo=-state_m.uo)
    here = make_skeleton(ocean, opened(config, **settings))(state, NO_WIND, NO_WIND)
    there = make_skeleton(mirror, opened(config, **settings))(state_m, NO_WIND, NO_WIND)
    for name, x in vars(here).items():
        sign = -1 if name == "vorticity" else 1
        atol = 1e-11 * float(x.abs().max())
        assert torch.allclose(getattr(there, name).flip(-1), sign * x, rtol=0, atol=atol), name


# gradients


def test_gradcheck_of_a_day_with_open_edges(make_ocean, config, make_skeleton):
    grid = Grid.regular(4.0, (20.0, 36.0), (-60.0, -40.0), (10.0, 100.0))
    wet = np.ones(grid.shape, bool)
    wet[1, 2:, 3:] = wet[:, 0, 0] = False
    ocean = make_ocean("small", grid=grid, wet=wet)
    core = make_skeleton(ocean, opened(config, substeps=2))
    state, wind = ocean.state(12, batch=1), ocean.forcing(12, batch=1)
    speed = float(state.uo.abs().max())
    scales = torch.tensor([1.0, 1.0, speed, speed, 0.1], dtype=torch.float64)

    def day(*leaves):
        after = core(OceanState(*(x * s for x, s in zip(leaves, scales, strict=True))), wind, wind)
        return after.thetao, after.so, after.zos, 1e6 * after.vorticity

    leaves = [(x / s).requires_grad_() for (_, x), s in zip(state.items(), scales, strict=True)]
    assert torch.autograd.gradcheck(day, leaves, fast_mode=True)


@pytest.mark.parametrize("name", ["basin", "channel"])
def test_gradients_over_twelve_substeps_equal_finite_differences(
    make_ocean, name, config, make_skeleton
):
    ocean = make_ocean(name)
    core, wind = make_skeleton(ocean, opened(config)), ocean.forcing(13, 1)

    def loss(state):
        after = core(state, wind, wind)
        parts = (after.thetao, after.so, 10 * after.zos, 1e6 * after.vorticity)
        return sum(
            (x * torch.cos(torch.arange(x.numel()).double()).view_as(x)).sum() for x in parts
        )

    state = ocean.state(13, batch=1).map(lambda x: x.requires_grad_())
    gradients = torch.autograd.grad(loss(state), [x for _, x in state.items()])
    scales = (1.0, 1.0, 1e-2, 1e-2, 0.1)
    for (key, x), gradient, scale in zip(state.items(), gradients, scales, strict=True):
        direction = scale * ocean.field(50 + len(key), 1)
        direction = direction if x.dim() == 4 else direction[:, 0]
        with torch.no_grad():
            there, back = (
                loss(replace(state, **{key: x + sign * 1e-7 * direction})) for sign in (1, -1)
            )
        numeric = float(there - back) / 2e-7
        assert float((gradient * direction).sum()) == pytest.approx(numeric, rel=2e-5), key
