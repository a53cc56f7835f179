"""One day of the skeleton: what it must keep, and what its configuration switches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hybridom.config import SkeletonConfig
from hybridom.constants import OMEGA, RHO_0, SECONDS_PER_DAY
from hybridom.grid import Grid
from hybridom.operators import Geometry
from hybridom.physics.advection import upwind_weights
from hybridom.physics.continuity import vertical_velocity
from hybridom.physics.eos import density_anomaly
from hybridom.physics.fluxes import convergence, face_fluxes
from hybridom.physics.mixing import diffusion_weights
from hybridom.physics.pressure import hydrostatic_pressure
from hybridom.physics.vorticity import (
    geostrophic_velocity,
    planetary_advection,
    relative_advection,
    relative_vorticity,
    stretching,
    wind_curl,
)
from hybridom.state import Forcing, OceanState

TERMS = ("geostrophic_advection", "planetary", "stretching", "wind_stress", "viscosity")
OFF = dict.fromkeys(TERMS, False)


def test_resting_stratified_ocean_stays_at_rest(ocean, config, make_skeleton, rounding):
    still = config.model_copy(update={"vertical_diffusivity": 0.0})
    before = ocean.rest()
    after = make_skeleton(ocean, still)(before, ocean.calm(), ocean.calm())
    for name in ("thetao", "so"):
        expected = ocean.geometry.clean(getattr(before, name))
        change = (getattr(after, name) - expected).abs()
        assert (change <= rounding * expected).all(), name
    assert not after.vorticity.any() and not after.zos.any()


def test_uniform_tracers_stay_uniform_under_any_flow(ocean, config, kernels, run, rounding):
    state = ocean.state(2)
    state = replace(state, thetao=0 * state.thetao + 11.0, so=0 * state.so + 34.5)
    after = run(ocean, config, state=state)
    # plain fluxes of a uniform tracer cancel to round-off; fused ones are differences, and vanish
    largest = 1e-13 if kernels == "plain" else rounding
    for name, value in (("thetao", 11.0), ("so", 34.5)):
        assert (after[name] - value)[:, ocean.geometry.wet].abs().max() <= largest * value


def test_content_changes_by_what_leaves_through_the_surface_alone(ocean, make_skeleton):
    g = ocean.geometry
    state = ocean.state(3)
    core = make_skeleton(ocean, SkeletonConfig(substeps=1))
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


def test_heat_and_salt_are_kept_by_a_flow_that_does_not_move_the_surface(ocean, config, run):
    g = ocean.geometry
    # what flows in the top layer returns in the second one, which is wet in every column
    assert (ocean.wet[1] == ocean.wet[0]).all()
    profile = torch.zeros(ocean.grid.nz, 1, 1, dtype=torch.float64)
    profile[0], profile[1] = 1.0, -float(g.dz[0] / g.dz[1])
    state = ocean.state(4)
    moving = 0.01 * profile
    u, v = ocean.field(6, 2)[:, :1] * moving, ocean.field(7, 2)[:, :1] * moving
    state = replace(state, uo=u, vo=v)
    moved = config.model_copy(update={"sea_surface": "continuity"})
    after = run(ocean, moved, state=state)
    assert (after["zos"] - ocean.surface.clean(state.zos)).abs().max() < 1e-12
    for name in ("thetao", "so"):
        before = getattr(state, name)
        assert torch.allclose(ocean.content(after[name]), ocean.content(before), rtol=1e-13)
        assert (after[name] - g.clean(before)).abs().max() > 1e-3


@pytest.mark.parametrize(("advection", "number"), [("upwind", 0.9), ("tvd", 0.45)])
def test_a_day_of_runge_kutta_steps_makes_no_new_extreme(ocean, run, advection, number):
    wet = ocean.geometry.wet
    config = SkeletonConfig(scheme="rk3", advection=advection)
    state = ocean.state(3, number=number)
    after = run(ocean, config, state=state)
    for name in ("thetao", "so"):
        before, x = getattr(state, name)[:, wet], after[name][:, wet]
        slack = 1e-13 * before.abs().max()
        assert x.max() <= before.max() + slack and x.min() >= before.min() - slack
        assert (x - before).abs().max() > 0.05


@pytest.mark.parametrize("fill", [0.0, 1e6, float("nan")])
def test_land_values_change_no_bit(ocean, config, fill, make_skeleton):
    state, forcing = ocean.state(5), ocean.forcing(5)
    plain = vars(make_skeleton(ocean, config)(state, forcing, forcing))
    sea = torch.as_tensor(ocean.wet[0])
    filled = OceanState(
        **{
            name: torch.where(sea if name == "zos" else ocean.geometry.wet, x, fill)
            for name, x in state.items()
        }
    )
    wind = forcing.map(lambda x: torch.where(sea, x, fill))
    dirty = vars(make_skeleton(ocean, config)(filled, wind, wind))
    for name, x in plain.items():
        assert torch.equal(x, dirty[name]), name
        mask = sea if name == "zos" else ocean.geometry.wet
        assert not x[:, ~mask].any(), f"{name} is not zero on land"


@pytest.mark.parametrize("resolution, latitudes", [(3.0, (15.0, 75.0)), (5.0, (-90.0, 90.0))])
def test_a_geostrophic_jet_is_steady(make_ocean, make_skeleton, resolution, latitudes):
    """In a channel of one hemisphere, and one jet in each hemisphere of an aquaplanet."""
    grid = Grid.regular(resolution, latitudes, (-180.0, 180.0), (50.0, 200.0, 600.0))
    ocean = make_ocean("belt", grid=grid)
    g = ocean.geometry
    phi = torch.as_tensor(np.deg2rad(grid.lat))[:, None].abs()
    shape = (1, *grid.shape)
    temperature = (10 - 5 * torch.tanh((phi - 0.8) / 0.2) * torch.exp(-g.depth / 400)).expand(shape)
    salinity = torch.full(shape, 35.0, dtype=torch.float64)
    zos = (-1.0 * torch.tanh((phi - 0.8) / 0.12)).expand(1, *grid.shape[1:])
    unmixed = {"horizontal_diffusivity": 0.0, "vertical_diffusivity": 0.0, "viscosity": False}
    core = make_skeleton(ocean, SkeletonConfig(**unmixed))
    rho = density_anomaly(temperature, salinity, g.depth)
    pressure = hydrostatic_pressure(rho, zos, g)
    u, v = geostrophic_velocity(pressure, g, core.config.f_min)
    assert 0.05 < float(u.max()) < 1.0 and not v.any()
    state = OceanState(temperature, salinity, u, v, zos)
    after = core(state, ocean.calm(), ocean.calm())
    start = relative_vorticity(g.interp_x_to_u(u), g.interp_y_to_v(v), g)
    assert start.abs().max() > 5e-8
    assert (after.vorticity - start).abs().max() < 1e-12 * start.abs().max()
    assert (after.thetao - temperature).abs().max() < 1e-12
    assert torch.equal(after.zos, zos)


def test_vorticity_starts_as_the_curl_of_the_flow_at_faces(ocean, run):
    g, state = ocean.geometry, ocean.state(1)
    expected = relative_vorticity(g.interp_x_to_u(state.uo), g.interp_y_to_v(state.vo), g)
    found = run(ocean, SkeletonConfig(**OFF), state=state)["vorticity"]
    assert (found - expected).abs().max() < 1e-13 * expected.abs().max()


@pytest.mark.parametrize("term", TERMS)
def test_each_term_acts_with_the_value_and_sign_of_its_equation(ocean, run, term):
    g, surface, state = ocean.geometry, ocean.surface, ocean.state(1)
    euler = SkeletonConfig(substeps=1, **{**OFF, term: True})
    thetao, so = g.clean(state.thetao), g.clean(state.so)
    zos = surface.clean(state.zos.unsqueeze(1)).squeeze(1)
    u, v = g.interp_x_to_u(state.uo), g.interp_y_to_v(state.vo)
    zeta = relative_vorticity(u, v, g)
    pressure = hydrostatic_pressure(density_anomaly(thetao, so, g.depth), zos, g)
    u_g, v_g = geostrophic_velocity(pressure, g, euler.f_min)

    def wind():
        today, tomorrow = (wind_curl(ocean.forcing(seed), surface) for seed in (1, 10))
        top = (torch.arange(ocean.grid.nz) == 0).view(-1, 1, 1)
        return torch.where(top, 0.5 * (today + tomorrow), 0.0)

    def viscous():
        return convergence(
            face_fluxes(zeta, diffusion_weights(g, euler.horizontal_viscosity), g), g
        )

    def carried():
        flow = upwind_weights(g.interp_x_to_u(u_g), g.interp_y_to_v(v_g), None, g)
        return relative_advection(zeta, flow, g)

    tendency = {
        "geostrophic_advection": carried,
        "planetary": lambda: planetary_advection(v_g, g),
        "stretching": lambda: stretching(vertical_velocity(u, v, g), g),
        "wind_stress": wind,
        "viscosity": viscous,
    }[term]()
    expected = zeta + SECONDS_PER_DAY * tendency
    found = run(ocean, euler, state=state)["vorticity"]
    assert (found - expected).abs().max() < 1e-12 * expected.abs().max()
    assert (found - zeta).abs().max() > 1e-9 * expected.abs().max()


def test_geostrophic_flow_follows_the_density_of_every_stage(ocean, run):
    """The stages of a Runge-Kutta step of one day, each an average of Euler steps."""
    g, state = ocean.geometry, ocean.state(15, number=0.03)
    euler = SkeletonConfig(substeps=1, **OFF)
    rk3 = SkeletonConfig(substeps=1, scheme="rk3", **{**OFF, "planetary": True})

    def step(start):
        after = run(ocean, euler, state=start)
        return replace(start, thetao=after["thetao"], so=after["so"])

    def tendency(at):
        pressure = hydrostatic_pressure(density_anomaly(at.thetao, at.so, g.depth), zos, g)
        return planetary_advection(geostrophic_velocity(pressure, g, rk3.f_min)[1], g)

    zos = ocean.surface.clean(state.zos.unsqueeze(1)).squeeze(1)
    state = replace(state, thetao=g.clean(state.thetao), so=g.clean(state.so))
    first = step(state)
    second = state.zip_map(step(first), lambda a, b: 0.75 * a + 0.25 * b)
    mean = (tendency(state) + tendency(first) + 4 * tendency(second)) / 6
    start = run(ocean, euler, state=state)["vorticity"]
    change = run(ocean, rk3, state=state)["vorticity"] - start
    assert (change - SECONDS_PER_DAY * mean).abs().max() < 1e-12 * change.abs().max()


def test_without_flow_the_limited_scheme_adds_nothing(ocean, run):
    state = ocean.state(16)
    state = replace(state, uo=0 * state.uo, vo=0 * state.vo)
    upwind, tvd = (
        run(ocean, SkeletonConfig(advection=name), state=state)["thetao"]
        for name in ("upwind", "tvd")
    )
    assert (tvd - upwind).abs().max() < 1e-14 * upwind.abs().max()
    assert (upwind - ocean.geometry.clean(state.thetao)).abs().max() > 1e-6


def test_vorticity_terms_add_up(make_ocean, run):
    ocean = make_ocean("realistic")

    def after(**terms):
        return run(ocean, SkeletonConfig(substeps=1, **{**OFF, **terms}))["vorticity"]

    start = after()
    changes = [after(**{term: True}) - start for term in TERMS]
    together = after(**dict.fromkeys(TERMS, True)) - start
    assert (together - sum(changes)).abs().max() < 1e-12 * together.abs().max()


def test_coefficients_of_the_configuration_reach_their_terms(make_ocean, run):
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


def test_no_wind_is_needed_where_no_wind_acts(make_ocean, make_skeleton):
    ocean = make_ocean("basin")
    core = make_skeleton(ocean, SkeletonConfig(wind_stress=False))
    core(ocean.state(1), Forcing({}), Forcing({}))


def test_sea_surface_persists_or_follows_continuity(ocean, run):
    state = ocean.state(8)
    kept = run(ocean, state=state)["zos"]
    assert torch.equal(kept, ocean.surface.clean(state.zos))
    moved = run(ocean, SkeletonConfig(sea_surface="continuity"), state=state)["zos"]
    g = ocean.geometry
    u, v = g.interp_x_to_u(state.uo), g.interp_y_to_v(state.vo)
    rise = -(g.div_to_t(u, v) * g.dz).sum(-3) * SECONDS_PER_DAY
    assert torch.allclose(moved - kept, rise, rtol=0, atol=1e-12 * float(rise.abs().max()))
    change = (moved - kept) * g.area
    assert change.abs().max() > 0
    assert (change.sum((-2, -1)).abs() < 1e-12 * change.abs().sum((-2, -1))).all()


@pytest.mark.parametrize(
    ("scheme", "offset", "order"), [("ab2", 0.1, 1), ("ab2", 0, 2), ("rk3", 0, 3)]
)
def test_tracers_converge_in_time_with_the_order_of_the_scheme(
    make_ocean, scheme, offset, order, run
):
    ocean = make_ocean("realistic")
    state = ocean.state(9, number=0.3)

    def after(substeps, scheme=scheme):
        config = SkeletonConfig(scheme=scheme, ab2_offset=offset, substeps=substeps, **OFF)
        return run(ocean, config, state=state)["thetao"]

    exact = after(192, "rk3")
    errors = [float((after(n) - exact).abs().max()) for n in (12, 24, 48)]
    slopes = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert abs(slopes[-1] - order) < 0.1, slopes


def test_published_form_is_a_configuration(make_ocean, run):
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
    assert torch.allclose(after, expected, rtol=0, atol=1e-13 * float(start.abs().max()))
