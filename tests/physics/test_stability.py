"""The limit of the time step: sharp, and refused in the user's words."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hybridom.config import SkeletonConfig
from hybridom.errors import UserError
from hybridom.grid import Grid
from hybridom.physics.fluxes import convergence, face_fluxes
from hybridom.physics.mixing import diffusion_weights
from hybridom.physics.skeleton import Skeleton
from hybridom.physics.stability import stability_limit, transport_rate
from hybridom.physics.time_integration import integrate
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


def test_viscosity_too_large_for_the_polar_rows_is_refused(make_ocean):
    ocean = make_ocean("polar", grid=Grid.regular(1.0, (80, 90), (-180, 180), (5.0,)))
    zero = torch.zeros(ocean.grid.shape, dtype=torch.float64)
    config = SkeletonConfig(horizontal_diffusivity=0.0)
    calm = OceanState(zero, zero, zero, zero, zero[0])
    with pytest.raises(UserError, match=r"vorticity is .* latitude 89\.5"):
        Skeleton(ocean.grid, ocean.wet, config, torch.float64).check_stability(calm)


@pytest.mark.parametrize("name", ["thetao", "vo", "zos"])
def test_a_field_that_is_not_finite_in_the_ocean_is_refused_by_name(make_ocean, name):
    ocean = make_ocean("realistic")
    skeleton = Skeleton(ocean.grid, ocean.wet, SkeletonConfig(), torch.float64)
    state = ocean.state(1)
    field = getattr(state, name)
    wet = torch.as_tensor(ocean.wet[0] if name == "zos" else ocean.wet)
    on_land = torch.where(wet, field, float("nan"))
    skeleton.check_stability(replace(state, **{name: on_land}))
    bad = field.clone()
    first = tuple(int(n) for n in torch.argwhere(wet)[7])
    bad[(1, *first)] = float("nan")
    with pytest.raises(UserError, match=f"{name} is not finite in 1 ocean cells"):
        skeleton.check_stability(replace(state, **{name: bad}))
