"""One day of the skeleton: what it must keep, its symmetries, and its gradients."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from hybridom.config import SkeletonConfig
from hybridom.constants import OMEGA, RHO_0, SECONDS_PER_DAY
from hybridom.grid import Grid
from hybridom.operators import Geometry
from hybridom.physics.eos import density_anomaly
from hybridom.physics.pressure import hydrostatic_pressure
from hybridom.physics.skeleton import Skeleton
from hybridom.physics.vorticity import geostrophic_velocity, wind_curl
from hybridom.state import Forcing, OceanState

TERMS = ("geostrophic_advection", "planetary", "stretching", "wind_stress", "viscosity")
OFF = dict.fromkeys(TERMS, False)

configurations = pytest.mark.parametrize(
    "config",
    [
        SkeletonConfig(),
        SkeletonConfig(advection="tvd", scheme="rk3", sea_surface="continuity"),
    ],
    ids=["published", "second-order"],
)


def skeleton(ocean, config=None, dtype=torch.float64):
    return Skeleton(ocean.grid, ocean.wet, config or SkeletonConfig(), dtype)


def outputs(result):
    return {f.name: getattr(result, f.name) for f in fields(result)}


def run(ocean, config=None, seed=1, number=0.2, state=None):
    state = state or ocean.state(seed, number=number)
    return outputs(skeleton(ocean, config)(state, ocean.forcing(seed), ocean.forcing(seed + 9)))


@configurations
def test_resting_stratified_ocean_stays_at_rest(ocean, config):
    still = config.model_copy(update={"vertical_diffusivity": 0.0})
    before = ocean.rest()
    after = skeleton(ocean, still)(before, ocean.calm(), ocean.calm())
    assert torch.equal(after.thetao, ocean.geometry.clean(before.thetao))
    assert torch.equal(after.so, ocean.geometry.clean(before.so))
    assert not after.vorticity.any() and not after.zos.any()


@configurations
def test_uniform_tracers_stay_uniform_under_any_flow(ocean, config):
    state = ocean.state(2)
    state = replace(state, thetao=0 * state.thetao + 11.0, so=0 * state.so + 34.5)
    after = run(ocean, config, state=state)
    for name, value in (("thetao", 11.0), ("so", 34.5)):
        assert (after[name] - value)[:, ocean.geometry.wet].abs().max() < 1e-12 * value


def test_content_changes_by_what_leaves_through_the_surface_alone(ocean):
    g = ocean.geometry
    state = ocean.state(3)
    core = skeleton(ocean, SkeletonConfig(substeps=1))
    after = core(state, ocean.forcing(3), ocean.forcing(4))
    u, v = g.interp_x_to_u(state.uo), g.interp_y_to_v(state.vo)
    total_u, total_v = ((a * g.dz).sum(-3, keepdim=True) for a in (u, v))
    rising = -ocean.surface.div_to_t(total_u, total_v)[:, 0]
    for old, new in ((state.thetao, after.thetao), (state.so, after.so)):
        surface = SECONDS_PER_DAY * (rising * g.clean(old)[:, 0] * g.area).sum((-2, -1))
        assert (surface.abs() > 0).all()
        change = ocean.content(new) - ocean.content(old)
        assert torch.allclose(
            change, -surface, rtol=0, atol=1e-13 * float(ocean.content(old).max())
        )


def test_heat_and_salt_are_kept_by_a_flow_that_does_not_move_the_surface(make_ocean):
    ocean = make_ocean("realistic")
    g = ocean.geometry
    # what flows in the top layer returns in the second one, where both are wet
    profile = torch.zeros(ocean.grid.nz, 1, 1, dtype=torch.float64)
    profile[0], profile[1] = 1.0, -float(g.dz[0] / g.dz[1])
    state = ocean.state(4)
    moving = 0.02 * profile
    u, v = ocean.field(6, 2)[:, :1] * moving, ocean.field(7, 2)[:, :1] * moving
    state = replace(state, uo=u, vo=v)
    after = run(ocean, SkeletonConfig(sea_surface="continuity"), state=state)
    assert (after["zos"] - ocean.surface.clean(state.zos)).abs().max() < 1e-12
    for name in ("thetao", "so"):
        assert torch.allclose(
            ocean.content(after[name]), ocean.content(getattr(state, name)), rtol=1e-13
        )
        assert not torch.allclose(after[name], g.clean(getattr(state, name)), rtol=1e-4)


@configurations
@pytest.mark.parametrize("fill", [0.0, 1e6, float("nan")])
def test_land_values_change_no_bit(ocean, config, fill):
    state, forcing = ocean.state(5), ocean.forcing(5)
    plain = outputs(skeleton(ocean, config)(state, forcing, forcing))
    sea = torch.as_tensor(ocean.wet[0])
    filled = OceanState(
        **{
            name: torch.where(sea if name == "zos" else ocean.geometry.wet, x, fill)
            for name, x in state.items()
        }
    )
    wind = forcing.map(lambda x: torch.where(sea, x, fill))
    dirty = outputs(skeleton(ocean, config)(filled, wind, wind))
    for name, x in plain.items():
        assert torch.equal(x, dirty[name]), name
        mask = sea if name == "zos" else ocean.geometry.wet
        assert not x[:, ~mask].any(), f"{name} is not zero on land"


@configurations
@pytest.mark.parametrize("name", ["aquaplanet", "channel", "realistic"])
def test_rolling_longitude_commutes_with_the_day(make_ocean, name, config):
    ocean = make_ocean(name)
    turned = make_ocean("turned", grid=ocean.grid, wet=np.roll(ocean.wet, 7, -1))
    state, forcing = ocean.state(6), ocean.forcing(6)

    def roll(x):
        return torch.roll(x, 7, -1)

    there = outputs(skeleton(turned, config)(state.map(roll), forcing.map(roll), forcing.map(roll)))
    for key, x in outputs(skeleton(ocean, config)(state, forcing, forcing)).items():
        assert torch.allclose(there[key], roll(x), rtol=1e-12, atol=1e-12 * float(x.abs().max()))


@configurations
def test_mirrored_hemispheres_flip_v_f_and_vorticity(make_ocean, ocean, config):
    grid = ocean.grid
    flipped = Grid(
        -grid.lat[::-1],
        grid.lon,
        -grid.lat_bounds[::-1],
        grid.lon_bounds,
        grid.depth,
        grid.depth_bounds,
        grid.periodic,
    )
    mirror = make_ocean("mirror", grid=flipped, wet=ocean.wet[:, ::-1].copy())
    state, forcing = ocean.state(7), ocean.forcing(7)
    state_m = state.map(lambda x: x.flip(-2))
    state_m = replace(state_m, vo=-state_m.vo)
    wind_m = Forcing({"u10": forcing["u10"].flip(-2), "v10": -forcing["v10"].flip(-2)})
    here = outputs(skeleton(ocean, config)(state, forcing, forcing))
    there = outputs(skeleton(mirror, config)(state_m, wind_m, wind_m))
    for name, x in here.items():
        sign = -1 if name == "vorticity" else 1
        atol = 1e-11 * float(x.abs().max())
        assert torch.allclose(there[name].flip(-2), sign * x, rtol=1e-11, atol=atol), name


def test_a_geostrophic_jet_is_steady(make_ocean):
    grid = Grid.regular(3.0, (15.0, 75.0), (-180.0, 180.0), (50.0, 200.0, 600.0))
    ocean = make_ocean("belt", grid=grid)
    g = ocean.geometry
    phi = torch.as_tensor(np.deg2rad(grid.lat))[:, None]
    shape = (1, *grid.shape)
    temperature = (10 - 5 * torch.tanh((phi - 0.8) / 0.2) * torch.exp(-g.depth / 400)).expand(shape)
    salinity = torch.full(shape, 35.0, dtype=torch.float64)
    zos = (-1.0 * torch.tanh((phi - 0.8) / 0.12)).expand(1, *grid.shape[1:])
    core = skeleton(
        ocean, SkeletonConfig(horizontal_diffusivity=0.0, vertical_diffusivity=0.0, viscosity=False)
    )
    rho = density_anomaly(temperature, salinity, g.depth)
    pressure = hydrostatic_pressure(rho, zos, g)
    u, v = geostrophic_velocity(pressure, g, core.config.f_min)
    assert 0.05 < float(u.max()) < 1.0 and not v.any()
    state = OceanState(temperature, salinity, u, v, zos)
    after = core(state, ocean.calm(), ocean.calm())
    start = Skeleton(grid, ocean.wet, SkeletonConfig(substeps=1, **OFF), torch.float64)(
        state, ocean.calm(), ocean.calm()
    ).vorticity
    assert start.abs().max() > 1e-7
    assert (after.vorticity - start).abs().max() < 1e-12 * start.abs().max()
    assert (after.thetao - temperature).abs().max() < 1e-12
    assert torch.equal(after.zos, zos)


def test_vorticity_terms_add_up_and_each_can_be_switched_off(make_ocean):
    ocean = make_ocean("realistic")

    def after(**terms):
        return run(ocean, SkeletonConfig(substeps=1, **{**OFF, **terms}))["vorticity"]

    start = after()
    changes = {t: after(**{t: True}) - start for t in TERMS}
    for term, change in changes.items():
        assert change.abs().max() > 1e-12, term
    together = after(**dict.fromkeys(TERMS, True)) - start
    assert torch.allclose(together, sum(changes.values()), rtol=1e-9, atol=1e-20)
    assert changes["wind_stress"][:, 0].any() and not changes["wind_stress"][:, 1:].any()


def test_coefficients_of_the_configuration_reach_their_terms(make_ocean):
    ocean = make_ocean("aquaplanet")

    def change(name, **settings):
        step = run(ocean, SkeletonConfig(substeps=1, **{**OFF, **settings}))[name]
        none = {"horizontal_diffusivity": 0.0, "vertical_diffusivity": 0.0}
        return step - run(ocean, SkeletonConfig(substeps=1, **{**OFF, **none}))[name]

    def ratio(name, one, two):
        small, large = change(name, **one), change(name, **two)
        assert small.abs().max() > 0
        return (large * small).sum() / (small * small).sum()

    viscous = [{"viscosity": True, "horizontal_viscosity": a} for a in (200.0, 600.0)]
    assert float(ratio("vorticity", *viscous)) == pytest.approx(3, rel=1e-9)
    for name in ("horizontal_diffusivity", "vertical_diffusivity"):
        other = {"horizontal_diffusivity": 0.0, "vertical_diffusivity": 0.0}
        mixing = [{**other, name: k} for k in (1e-4, 3e-4)]
        assert float(ratio("thetao", *mixing)) == pytest.approx(3, rel=1e-5)
    drift = [change("vorticity", planetary=True, f_min=f0) for f0 in (1e-5, 5e-5)]
    f = ocean.geometry.f_t
    assert torch.allclose(
        drift[0] * (f**2 + 1e-10), drift[1] * (f**2 + 25e-10), rtol=1e-6, atol=1e-22
    )


def test_wind_acts_as_the_mean_stress_of_the_two_days(make_ocean):
    ocean = make_ocean("channel")
    core = skeleton(ocean, SkeletonConfig(substeps=1, **{**OFF, "wind_stress": True}))
    state, one, two = ocean.state(1), ocean.forcing(1), ocean.forcing(2)
    between = core(state, one, two).vorticity
    mean = 0.5 * (core(state, one, one).vorticity + core(state, two, two).vorticity)
    assert torch.allclose(between, mean, rtol=1e-12, atol=1e-20)
    start = skeleton(ocean, SkeletonConfig(substeps=1, **OFF))(state, one, two).vorticity
    spun_up = core(state, one, one).vorticity - start
    given = SECONDS_PER_DAY * wind_curl(one, ocean.surface)
    assert torch.allclose(spun_up[:, :1], given, rtol=1e-9, atol=1e-9 * float(given.abs().max()))


def test_no_wind_is_needed_where_no_wind_acts(make_ocean):
    ocean = make_ocean("basin")
    core = skeleton(ocean, SkeletonConfig(wind_stress=False))
    core(ocean.state(1), Forcing({}), Forcing({}))


def test_sea_surface_persists_or_follows_continuity(ocean):
    state = ocean.state(8)
    kept = run(ocean, state=state)["zos"]
    assert torch.equal(kept, ocean.surface.clean(state.zos))
    moved = run(ocean, SkeletonConfig(sea_surface="continuity"), state=state)["zos"]
    g = ocean.geometry
    u, v = g.interp_x_to_u(state.uo), g.interp_y_to_v(state.vo)
    rise = -(g.div_to_t(u, v) * g.dz).sum(-3) * SECONDS_PER_DAY
    assert torch.allclose(moved - kept, rise, rtol=1e-9, atol=1e-9 * float(rise.abs().max()))
    change = (moved - kept) * g.area
    assert change.abs().max() > 0
    assert (change.sum((-2, -1)).abs() < 1e-12 * change.abs().sum((-2, -1))).all()


@pytest.mark.parametrize(
    ("scheme", "offset", "order"), [("ab2", 0.1, 1), ("ab2", 0, 2), ("rk3", 0, 3)]
)
def test_tracers_converge_in_time_with_the_order_of_the_scheme(make_ocean, scheme, offset, order):
    ocean = make_ocean("realistic")
    state = ocean.state(9, number=0.3)

    def after(substeps, scheme=scheme):
        config = SkeletonConfig(scheme=scheme, ab2_offset=offset, substeps=substeps, **OFF)
        return run(ocean, config, state=state)["thetao"]

    exact = after(192, "rk3")
    errors = [float((after(n) - exact).abs().max()) for n in (12, 24, 48)]
    slopes = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert abs(slopes[-1] - order) < 0.1, slopes


def test_batch_members_do_not_see_one_another(make_ocean):
    ocean = make_ocean("realistic")
    state, forcing = ocean.state(11, batch=3), ocean.forcing(11, batch=3)
    core = skeleton(ocean)
    whole = outputs(core(state, forcing, forcing))
    for n in range(3):
        alone = outputs(core(state.select(0, n), forcing.select(0, n), forcing.select(0, n)))
        for name, x in whole.items():
            assert torch.allclose(x[n], alone[name], rtol=1e-13, atol=1e-13 * float(x.abs().max()))


def test_published_form_is_a_configuration(make_ocean):
    """Relative vorticity advected by the geostrophic flow, and nothing else."""
    ocean = make_ocean("aquaplanet")
    config = SkeletonConfig(substeps=1, **{**OFF, "geostrophic_advection": True})
    state = ocean.state(13, batch=1)
    uniform = replace(state, thetao=0 * state.thetao + 10, so=0 * state.so + 35)
    # eta gives a uniform eastward angular flow: vorticity drifts with it, by upwind
    phi = torch.as_tensor(np.deg2rad(ocean.grid.lat))[:, None]
    f = 2 * OMEGA * torch.sin(phi)
    zos = (-0.3 * torch.sin(phi) ** 2).expand_as(uniform.zos)
    after = run(ocean, config, state=replace(uniform, zos=zos))["vorticity"]
    start = run(ocean, SkeletonConfig(substeps=1, **OFF), state=uniform)["vorticity"]
    g: Geometry = ocean.geometry
    slope = g.interp_v_to_t(g.grad_y_to_v((9.81 * RHO_0 * zos).unsqueeze(1).expand_as(start)))
    u = -f / (f**2 + 1e-10) * slope / RHO_0
    west = start - torch.roll(start, 1, -1)
    east = torch.roll(start, -1, -1) - start
    expected = (
        start - SECONDS_PER_DAY * torch.where(u > 0, u * west, u * east) * g.length_u / g.area
    )
    assert torch.allclose(after, expected, rtol=1e-9, atol=1e-13 * float(start.abs().max()))
