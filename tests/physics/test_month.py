"""A month of the skeleton alone, from a balanced state: finite, closed, and losing nothing.

The state is in geostrophic balance with a smooth stratification, but for the least change of the
velocities at centres after which no column gains or loses water. Velocities stay as they are,
as they do in the model without its networks.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import LinearOperator, lsmr

from hybridom.config import SkeletonConfig
from hybridom.constants import SECONDS_PER_DAY
from hybridom.grid import Grid
from hybridom.physics.eos import density_anomaly
from hybridom.physics.pressure import hydrostatic_pressure
from hybridom.physics.vorticity import geostrophic_velocity
from hybridom.state import OceanState
from hybridom.twin import geography

DAYS = 30
PUBLISHED = SkeletonConfig(sea_surface="continuity")
SECOND_ORDER = SkeletonConfig(sea_surface="continuity", advection="tvd", scheme="rk3")


def four_degrees(make_ocean):
    """Coasts and depths of the embedded ocean."""
    twin = geography.TwinGrid.of(4.0)
    grid = Grid.regular(4.0, (-80.0, 64.0), depths=twin.depth[::3])
    wet = geography.wet_cells(geography.levels(twin), len(twin.depth))
    return make_ocean("four degrees", grid=grid, wet=wet[::3])


def outflow(flow, g):
    """Water that leaves each column (ny, nx), m3 s-1, for velocities at centres (2, nz, ny, nx)."""
    u, v = g.interp_x_to_u(g.clean(flow[0])), g.interp_y_to_v(g.clean(flow[1]))
    return (g.div_to_t(u, v) * g.dz * g.area).sum(-3)


def without_outflow(flow, g):
    """The closest velocities at centres that leave the water in its columns."""
    water, adjoint = torch.func.vjp(lambda x: outflow(x, g), flow)
    operator = LinearOperator(
        (water.numel(), flow.numel()),
        matvec=lambda x: outflow(torch.as_tensor(x).view_as(flow), g).numpy().ravel(),
        rmatvec=lambda y: adjoint(torch.as_tensor(y).view_as(water))[0].numpy().ravel(),
        dtype=float,
    )
    for _ in range(2):  # the second time for what round-off left behind
        rest = outflow(flow, g).numpy().ravel()
        # of all solutions, this method finds the one of least norm
        change = lsmr(operator, rest, atol=1e-13, btol=1e-13, maxiter=5000)[0]
        flow = flow - torch.as_tensor(change).view_as(flow)
    return flow


def balanced_state(ocean):
    """Warm and salt low latitudes under a surface with highs and lows; batch of 1."""
    g = ocean.geometry
    lat, lon = (torch.as_tensor(np.deg2rad(x)) for x in (ocean.grid.lat[:, None], ocean.grid.lon))
    shallow = torch.exp(-g.depth / 300)
    thetao = 2 + shallow * torch.cos(lat) ** 2 * (22 + torch.sin(4 * lon))
    so = 35 + 0.5 * shallow * torch.cos(2 * lat) + 0 * lon
    zos = torch.cos(lat) ** 2 * (1 + 0.6 * torch.cos(7 * lon) * torch.sin(8 * lat))
    pressure = hydrostatic_pressure(density_anomaly(thetao, so, g.depth), zos, g)
    geostrophic = g.clean(torch.stack(geostrophic_velocity(pressure, g, PUBLISHED.f_min)))
    flow = g.clean(without_outflow(geostrophic, g))
    # the part that is not geostrophic belongs to coasts and to the convergence of meridians
    assert (flow - geostrophic).norm() < 0.7 * geostrophic.norm()
    return OceanState(*(x[None] for x in (thetao, so, *flow, zos)))


@pytest.fixture(scope="module", params=["aquaplanet", "basin", "channel", "realistic", "4 degrees"])
def month(request, make_ocean):
    """An ocean and its balanced state."""
    name = request.param
    ocean = four_degrees(make_ocean) if name == "4 degrees" else make_ocean(name)
    return ocean, balanced_state(ocean)


def march(core, state, wind):
    """State and rate at which the surface rises on each of the following days."""
    with torch.no_grad():
        core.check_stability(state)
        for _ in range(DAYS):
            before = core.surface.clean(state.zos.unsqueeze(1)).squeeze(1)
            after = core(state, wind, wind)
            assert all(x.isfinite().all() for x in vars(after).values())
            state = replace(state, thetao=after.thetao, so=after.so, zos=after.zos)
            yield state, (after.zos - before) / SECONDS_PER_DAY


def test_a_closed_surface_keeps_heat_and_salt_and_stays_where_it_is(month, make_skeleton):
    check_closed(*month, make_skeleton(month[0], PUBLISHED))


@pytest.mark.parametrize("month", ["realistic"], indirect=True)
def test_schemes_of_second_order_keep_them_too(month, make_skeleton):
    check_closed(*month, make_skeleton(month[0], SECOND_ORDER))


def check_closed(ocean, state, core):
    g = ocean.geometry
    u, v = g.interp_x_to_u(state.uo), g.interp_y_to_v(state.vo)
    assert 0.05 < u.abs().max() < 1 and 0.05 < v.abs().max() < 1
    upwelling = (g.div_to_t(u, v) * g.dz).abs().max()
    contents = [ocean.content(x) for x in (state.thetao, state.so)]
    for last, rising in march(core, state, ocean.forcing(1, 1)):
        assert rising.abs().max() < 1e-11 * upwelling
        for before, x in zip(contents, (last.thetao, last.so), strict=True):
            assert abs(ocean.content(x) - before) < 1e-13 * before
    for x, first in ((last.thetao, state.thetao), (last.so, state.so)):
        change = (x - first)[:, g.wet]
        assert 0.05 < change.abs().max() < 20
        assert x[:, g.wet].max() < first[:, g.wet].max() and x[:, g.wet].min() > 0


@pytest.mark.parametrize("month", ["realistic"], indirect=True)
def test_a_free_surface_rises_as_the_water_below_it_every_day(month, make_skeleton):
    ocean, state = month
    g, area = ocean.geometry, ocean.surface.area
    state = replace(state, uo=state.uo + 1e-4 * ocean.field(18, 1))
    vertical = -outflow(torch.stack([state.uo, state.vo]), g) / area
    assert 1e-3 < SECONDS_PER_DAY * vertical.abs().max() < 1
    for last, rising in march(make_skeleton(ocean, PUBLISHED), state, ocean.calm()):
        # the difference of two sea surfaces has lost what a day's rise is smaller than they are
        assert (rising - vertical).abs().max() < 1e-14 * last.zos.abs().max() / 3600
    risen = ocean.surface.clean(last.zos - state.zos) * area
    assert abs(risen.sum()) < 1e-12 * risen.abs().sum()
