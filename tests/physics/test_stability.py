"""What is refused before a day runs: the limit of the time step is sharp, messages are whole."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from hybridom.config import SkeletonConfig
from hybridom.constants import SECONDS_PER_DAY
from hybridom.errors import UserError
from hybridom.grid import Grid
from hybridom.operators import Geometry
from hybridom.physics.advection import upwind_weights
from hybridom.physics.eos import density_anomaly
from hybridom.physics.fluxes import FaceWeights, convergence, face_fluxes
from hybridom.physics.mixing import diffusion_weights
from hybridom.physics.pressure import hydrostatic_pressure
from hybridom.physics.skeleton import Skeleton
from hybridom.physics.stability import (
    renewal_rate,
    require_stable,
    stability_limit,
    transport_rate,
)
from hybridom.physics.time_integration import integrate
from hybridom.physics.vorticity import geostrophic_velocity, relative_advection
from hybridom.state import OceanState


@pytest.mark.parametrize("offset", [0.0, 0.1, 0.3])
def test_adams_bashforth_is_stable_up_to_its_limit_and_not_above(make_ocean, offset):
    ocean = make_ocean("ring", grid=Grid.regular(4.0, (-2, 2), (-180, 180), (5.0,)))
    g = ocean.geometry
    weights = diffusion_weights(g, 100.0)
    # alternating columns are the fastest mode of diffusion, at twice the transport rate
    start = torch.ones(ocean.grid.shape, dtype=torch.float64)
    start[..., ::2] = -1.0
    limit = stability_limit(SkeletonConfig(ab2_offset=offset))
    rate = float(transport_rate(weights, g).max())
    size = {}
    for factor in (0.99, 1.02):
        (c,), _ = integrate(
            lambda y: (convergence(face_fluxes(y[0], weights, g), g),),
            (start,),
            factor * limit / rate,
            600,
            "ab2",
            offset=offset,
        )
        size[factor] = float(c.abs().max())
    assert size[0.99] < 1.0 < 10.0 < size[1.02]


def test_the_advective_form_is_limited_by_what_a_cell_gets(make_ocean):
    """Four neighbours that hand over little each renew the cell that they surround four times."""
    ocean = make_ocean("pool", grid=Grid.regular(2.0, (-5, 5), (0, 10), (5.0,)))
    g, config = ocean.geometry, SkeletonConfig(ab2_offset=0.1)
    shapes = 2 * [g.u_open.shape] + 2 * [g.v_open.shape]
    west, east, south, north = (torch.zeros(shape, dtype=torch.float64) for shape in shapes)
    area = float(g.area[2, 2])
    west[0, 2, 2], east[0, 2, 3], south[0, 2, 2], north[0, 3, 2] = area, -area, area, -area
    flow = FaceWeights(west, east, south, north)
    handed, gotten = float(transport_rate(flow, g).max()), float(renewal_rate(flow, g).max())
    assert handed == pytest.approx(1, rel=2e-3) and gotten == pytest.approx(4, rel=1e-12)
    # the one eigenvalue is -4: stability ends where the disc does, at twice the limit
    size = {}
    for factor in (0.99, 1.02):
        (zeta,), _ = integrate(
            lambda y: (relative_advection(y[0], flow, g),),
            (ocean.field(1),),
            factor * 2 * stability_limit(config) / gotten,
            400,
            "ab2",
            offset=config.ab2_offset,
        )
        size[factor] = float(zeta.abs().max())
    assert size[0.99] < 10 < 100 < size[1.02]
    eighth = 0.125 * config.substeps / SECONDS_PER_DAY
    with pytest.raises(UserError, match=r"of vorticity is 0.5 .* latitude 0, longitude 5, depth 5"):
        require_stable("vorticity", renewal_rate(flow, g) * eighth, ocean.grid, config)
    assert require_stable("vorticity", transport_rate(flow, g) * eighth, ocean.grid, config) < 0.2


def test_the_number_of_vorticity_is_that_of_the_advective_form(make_ocean):
    """Beside a coast the geostrophic flow converges, as no flow of tracers does."""
    ocean = make_ocean("channel")
    g, state = ocean.geometry, ocean.state(3)
    config = SkeletonConfig(
        horizontal_diffusivity=0.0, vertical_diffusivity=0.0, viscosity=False, substeps=1
    )
    calm = replace(state, uo=0 * state.uo, vo=0 * state.vo)
    rho = density_anomaly(g.clean(state.thetao), g.clean(state.so), g.depth)
    pressure = hydrostatic_pressure(rho, ocean.surface.clean(state.zos), g)
    u, v = geostrophic_velocity(pressure, g, config.f_min)
    flow = upwind_weights(g.interp_x_to_u(u), g.interp_y_to_v(v), None, g)
    handed, gotten = (float(rate(flow, g).max()) for rate in (transport_rate, renewal_rate))
    assert gotten > 1.5 * handed
    found = Skeleton(ocean.grid, ocean.wet, config, torch.float64).check_stability(calm)
    assert found == pytest.approx(SECONDS_PER_DAY * gotten, rel=1e-12)


def test_what_enters_through_an_open_edge_renews_no_cell(make_ocean):
    """It has the value of the cell, and so changes nothing."""
    ocean = make_ocean("basin")
    g = Geometry(ocean.grid, ocean.wet, torch.float64, open_boundaries=True)
    u, v = torch.zeros(g.u_open.shape).double(), torch.zeros(g.v_open.shape).double()
    u[..., 0] = torch.where(g.u_flow[..., 0], 3.0, 0.0)
    v[:, -1] = torch.where(g.v_flow[:, -1], -3.0, 0.0)
    flow = upwind_weights(u, v, None, g)
    assert u.any() and v.any() and not renewal_rate(flow, g).any()
    change = relative_advection(ocean.field(1), flow, g).abs().max()
    assert change < 1e-14 * transport_rate(upwind_weights(-u, -v, None, g), g).max()


def test_a_calm_state_passes_and_its_number_is_returned(ocean):
    config = SkeletonConfig(
        horizontal_diffusivity=0.0,
        vertical_diffusivity=0.0,
        geostrophic_advection=False,
        viscosity=False,
    )
    skeleton = Skeleton(ocean.grid, ocean.wet, config, torch.float64)
    assert skeleton.check_stability(ocean.state(1, number=0.2)) == pytest.approx(0.2, rel=1e-12)
    mixed = Skeleton(
        ocean.grid,
        ocean.wet,
        config.model_copy(update={"horizontal_diffusivity": 100.0}),
        torch.float64,
    )
    assert mixed.check_stability(ocean.state(1, number=0.2)) > 0.2


@pytest.mark.parametrize(("scheme", "limit"), [("ab2", 0.455), ("rk3", 1)])
def test_a_fast_flow_is_refused_with_number_limit_place_and_remedy(make_ocean, scheme, limit):
    ocean = make_ocean("realistic")
    config = SkeletonConfig(scheme=scheme)
    skeleton = Skeleton(ocean.grid, ocean.wet, config, torch.float64)
    fast = ocean.state(1, number=3.0)
    with pytest.raises(UserError) as error:
        skeleton.check_stability(fast)
    message = str(error.value)
    assert "\n" not in message
    assert "tracers" in message and "latitude" in message and f"up to {limit}" in message
    enough = int(message.split("skeleton.substeps to ")[1].split()[0])
    finer = config.model_copy(update={"substeps": enough})
    state = replace(fast, thetao=0 * fast.thetao + 10, so=0 * fast.so + 35, zos=0 * fast.zos)
    assert Skeleton(ocean.grid, ocean.wet, finer, torch.float64).check_stability(state) <= 1
    fewer = config.model_copy(update={"substeps": enough - 1})
    with pytest.raises(UserError):
        Skeleton(ocean.grid, ocean.wet, fewer, torch.float64).check_stability(state)


def test_a_strong_geostrophic_flow_is_refused_for_vorticity_only_if_it_is_used(make_ocean):
    ocean = make_ocean("realistic")
    state = ocean.state(1, number=0.1)
    steep = replace(state, zos=300 * state.zos)
    with pytest.raises(UserError, match="vorticity"):
        Skeleton(ocean.grid, ocean.wet, SkeletonConfig(), torch.float64).check_stability(steep)
    config = SkeletonConfig(geostrophic_advection=False)
    Skeleton(ocean.grid, ocean.wet, config, torch.float64).check_stability(steep)


@pytest.mark.parametrize("advection", [True, False])
def test_viscosity_too_large_for_the_polar_rows_is_refused_if_it_acts(make_ocean, advection):
    ocean = make_ocean("polar", grid=Grid.regular(1.0, (80, 90), (-180, 180), (5.0,)))
    zero = torch.zeros(ocean.grid.shape, dtype=torch.float64)
    config = SkeletonConfig(horizontal_diffusivity=0.0, geostrophic_advection=advection)
    calm = OceanState(zero, zero, zero, zero, zero[0])
    with pytest.raises(UserError, match=r"vorticity is .* latitude 89\.5"):
        Skeleton(ocean.grid, ocean.wet, config, torch.float64).check_stability(calm)
    inviscid = config.model_copy(update={"viscosity": False})
    Skeleton(ocean.grid, ocean.wet, inviscid, torch.float64).check_stability(calm)


@pytest.mark.parametrize("name", ["thetao", "vo", "zos"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_field_that_is_not_finite_in_the_ocean_is_refused_by_name(make_ocean, name, value):
    ocean = make_ocean("realistic")
    skeleton = Skeleton(ocean.grid, ocean.wet, SkeletonConfig(), torch.float64)
    state = ocean.state(1)
    field = getattr(state, name)
    wet = torch.as_tensor(ocean.wet[0] if name == "zos" else ocean.wet)
    on_land = torch.where(wet, field, value)
    skeleton.check_stability(replace(state, **{name: on_land}))
    bad = field.clone()
    first = [int(n) for n in torch.argwhere(wet)[77]]
    bad[(1, *first)] = value
    bad[(0, *(int(n) for n in torch.argwhere(wet)[88]))] = value
    with pytest.raises(UserError) as error:
        skeleton.check_stability(replace(state, **{name: bad}))
    j, i = first[-2:]
    depth = ocean.grid.depth[0 if name == "zos" else first[0]]
    assert str(error.value) == (
        f"initial state: {name} is not finite in 2 ocean cells, the first at latitude "
        f"{ocean.grid.lat[j]:.4g}, longitude {ocean.grid.lon[i]:.4g}, depth {depth:.4g} m; "
        "expected a number in every cell of the wet mask: check the store it comes from and the "
        "grid file"
    )


@pytest.mark.parametrize("call", ["check_stability", "forward"])
def test_a_state_of_another_shape_or_type_is_refused(make_ocean, call):
    ocean = make_ocean("basin")
    skeleton = Skeleton(ocean.grid, ocean.wet, SkeletonConfig(), torch.float32)
    state = ocean.state(1).to(torch.float32)
    wind = ocean.forcing(1).to(torch.float32)
    what = "initial state" if call == "check_stability" else "state"

    def message(**fields):
        wrong = replace(state, **fields)
        arguments = (wrong,) if call == "check_stability" else (wrong, wind, wind)
        with pytest.raises(UserError) as error:
            getattr(skeleton, call)(*arguments)
        return str(error.value)

    assert message(so=state.so[..., :-1]) == (
        f"{what}: so has shape (2, 5, 9, 11), but the grid needs (..., 5, 9, 12); bring it to the "
        "grid of the model"
    )
    assert message(zos=state.zos[0, 0]) == (
        f"{what}: zos has shape (12,), but the grid needs (..., 9, 12); bring it to the grid of "
        "the model"
    )
    assert message(uo=state.uo.double()) == (
        f"{what}: uo is torch.float64, but the model computes in torch.float32; convert it with "
        ".to(torch.float32)"
    )


def test_a_mask_that_holds_no_model_is_refused(make_ocean):
    ocean = make_ocean("basin")
    holes = ocean.wet.copy()
    holes[1, 4, 6:8] = False
    dry = np.zeros_like(ocean.wet)
    for wet, message in (
        (ocean.wet[:, :-1], "wet mask: shape (5, 8, 12) does not fit the grid's (5, 9, 12)"),
        (ocean.wet[0], "wet mask: shape (9, 12) does not fit the grid's (5, 9, 12)"),
        (
            dry,
            "wet mask: no ocean cell among 540; lower grid.wet_threshold or move the box",
        ),
        (
            holes,
            "wet mask: ocean below land at level 2, row 4, column 6 (from 0; 2 cells); expected "
            "columns that are wet from the surface down",
        ),
    ):
        with pytest.raises(UserError) as error:
            Skeleton(ocean.grid, wet, SkeletonConfig())
        assert str(error.value) == message


def test_the_message_of_an_unstable_time_step_is_whole(make_ocean):
    ocean = make_ocean("ring", grid=Grid.regular(4.0, (-2, 2), (-180, 180), (5.0,)))
    calm = ocean.rest()
    skeleton = Skeleton(
        ocean.grid, ocean.wet, SkeletonConfig(horizontal_diffusivity=2e7), torch.float64
    )
    number = (
        float(transport_rate(diffusion_weights(ocean.geometry, 2e7), ocean.geometry).max()) * 7200
    )
    with pytest.raises(UserError) as error:
        skeleton.check_stability(calm)
    assert str(error.value) == (
        f"skeleton: the transport number of tracers is {number:.3g} (Courant plus diffusion) at "
        "latitude 0, longitude -178, depth 5 m; scheme ab2 is stable up to 0.455: set "
        f"skeleton.substeps to {math.ceil(number / (0.5 / 1.1) * 12)} or more (now 12), or lower "
        "diffusivity and viscosity"
    )
