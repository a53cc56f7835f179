"""Vorticity, geostrophic flow, wind stress, and the terms of the vorticity equation.

Left out, because the equations exclude them: inertial oscillations and the work of the Coriolis
force (no momentum equation; the geostrophic counterpart, no work against pressure, is tested), and
Rossby waves (vorticity does not feed back on pressure within the day).
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hybridom.constants import EARTH_RADIUS, OMEGA, RHO_0, RHO_AIR
from hybridom.errors import UserError
from hybridom.grid import Grid
from hybridom.physics.advection import upwind_weights
from hybridom.physics.continuity import vertical_velocity
from hybridom.physics.vorticity import (
    geostrophic_velocity,
    planetary_advection,
    relative_advection,
    relative_vorticity,
    stretching,
    surface_stress,
    wind_curl,
    wind_stress,
)
from hybridom.state import Forcing

F_MIN = 1e-5
SMALL = Grid.regular(30.0, (-60.0, 60.0), depths=(5.0, 20.0))


def latitude(grid):
    return torch.as_tensor(np.deg2rad(grid.lat))[:, None]


def at_faces(ocean, u, v):
    g = ocean.geometry
    return g.interp_x_to_u(u.expand(ocean.grid.shape)), g.interp_y_to_v(v.expand(ocean.grid.shape))


def inner_rows(ocean):
    """Rows whose two corner rows are open on an ocean without land."""
    return slice(1, ocean.grid.ny - 1)


def test_solid_body_rotation_has_the_vorticity_of_its_circulation(make_ocean):
    ocean = make_ocean("aquaplanet")
    phi = latitude(ocean.grid)
    zero = torch.zeros_like(phi)
    zeta = relative_vorticity(*at_faces(ocean, torch.cos(phi), zero), ocean.geometry)
    # corners hold 2 sin(phi) / R times cos(dphi / 2), and centres the mean of two corners
    half = np.deg2rad(5.0)
    exact = 2 * torch.sin(phi) / EARTH_RADIUS * np.cos(half) ** 2
    inner = inner_rows(ocean)
    assert torch.allclose(zeta[:, inner], exact.expand_as(zeta)[:, inner], rtol=1e-11, atol=1e-21)


def test_uniform_eastward_flow_has_the_vorticity_of_converging_meridians(make_ocean):
    ocean = make_ocean("aquaplanet")
    one = torch.ones(ocean.grid.ny, 1, dtype=torch.float64)
    zeta = relative_vorticity(*at_faces(ocean, one, 0 * one), ocean.geometry)
    edges = torch.as_tensor(np.deg2rad(ocean.grid.lat_bounds))[:, None]
    exact = 0.5 * (torch.tan(edges[1:]) + torch.tan(edges[:-1])) / EARTH_RADIUS
    inner = inner_rows(ocean)
    assert torch.allclose(zeta[:, inner], exact.expand_as(zeta)[:, inner], rtol=1e-10, atol=1e-21)


def test_meridional_flow_along_meridians_has_no_vorticity(make_ocean):
    ocean = make_ocean("aquaplanet")
    profile = torch.cos(latitude(ocean.grid))
    zeta = relative_vorticity(*at_faces(ocean, 0 * profile, profile), ocean.geometry)
    assert zeta.abs().max() < 1e-20


def test_a_uniform_current_along_a_coast_sheds_no_vorticity(make_ocean):
    grid = Grid.regular(0.5, (-2.0, 2.0), (0.0, 4.0), (5.0,))
    ocean = make_ocean("box", grid=grid)
    current = torch.ones(grid.shape, dtype=torch.float64)
    u, v = at_faces(ocean, 0 * current, current)
    assert relative_vorticity(u, v, ocean.geometry).abs().max() < 1e-20


def zonal_pressure(grid, speed=0.4, width=0.3):
    """Pressure (Pa) and exact geostrophic velocity of a zonal jet at 45 N."""
    phi = latitude(grid)
    f = 2 * OMEGA * torch.sin(phi)
    s = (phi - np.pi / 4) / width
    pressure = -RHO_0 * speed * EARTH_RADIUS * width * torch.tanh(s) * 2 * OMEGA
    jet = speed * 2 * OMEGA / torch.cosh(s) ** 2
    return pressure, jet * f / (f**2 + F_MIN**2)


def test_geostrophic_velocity_has_order_two(make_ocean):
    errors = []
    for resolution in (4.0, 2.0, 1.0):
        grid = Grid.regular(resolution, (12.0, 76.0), (-180.0, 180.0), (5.0,))
        ocean = make_ocean("belt", grid=grid)
        pressure, exact = zonal_pressure(grid)
        u, v = geostrophic_velocity(pressure.expand(grid.shape), ocean.geometry, F_MIN)
        assert not v.any()
        rows = slice(int(8 / resolution), -int(8 / resolution))
        errors.append(float((u - exact)[:, rows].abs().max()))
    slopes = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert np.all(np.abs(slopes - 2) < 0.1), slopes
    assert errors[-1] < 2e-3


def test_geostrophic_flow_follows_isobars_and_is_zero_on_the_equator(ocean):
    g = ocean.geometry
    pressure = 1e4 * ocean.field(1, 2)
    u, v = geostrophic_velocity(pressure, g, F_MIN)
    east, north = g.interp_u_to_t(g.grad_x_to_u(pressure)), g.interp_v_to_t(g.grad_y_to_v(pressure))
    work = u * east + v * north
    assert work.abs().max() < 1e-14 * (u * east).abs().max()
    assert torch.isfinite(u).all() and torch.isfinite(v).all()
    if ocean.name == "channel":
        row = int(np.argmin(np.abs(ocean.grid.lat)))
        assert ocean.grid.lat[row] == 0.0
        assert not u[..., row, :].any() and not v[..., row, :].any()


def test_regularisation_is_weak_away_from_the_equator_and_bounded_on_it(make_ocean):
    grid = Grid.regular(1.0, (-80.0, 80.0), (-180.0, 180.0), (5.0,))
    ocean = make_ocean("belt", grid=grid)
    lon = torch.as_tensor(np.deg2rad(grid.lon)).expand(grid.shape)
    pressure = torch.sin(2 * lon)
    _, v = geostrophic_velocity(pressure, ocean.geometry, F_MIN)
    g = ocean.geometry
    gradient = g.interp_u_to_t(g.grad_x_to_u(pressure)) / RHO_0
    factor = (v / gradient)[0, :, 3].numpy()
    f = grid.f_t
    assert np.abs(factor * f - 1)[np.abs(f) > 1e-4].max() < 0.01
    assert np.abs(factor).max() < 1 / (2 * F_MIN) * (1 + 1e-12)
    assert np.allclose(factor, -factor[::-1], rtol=1e-12, atol=0)


def test_gradient_is_finite_on_the_equator(make_ocean):
    ocean = make_ocean("channel")
    pressure = ocean.field(2).requires_grad_()
    u, v = geostrophic_velocity(pressure, ocean.geometry, F_MIN)
    (u.square().sum() + v.square().sum()).backward()
    assert torch.isfinite(pressure.grad).all()


def test_uniform_vorticity_is_not_changed_by_advection(ocean):
    g = ocean.geometry
    flow = upwind_weights(g.interp_x_to_u(ocean.field(3)), g.interp_y_to_v(ocean.field(4)), None, g)
    zeta = torch.full(ocean.grid.shape, 1e-5, dtype=torch.float64)
    scale = 1e-5 * (flow.west[..., 1:] + flow.south[..., 1:, :]).max() / g.area.min()
    assert relative_advection(zeta, flow, g).abs().max() < 1e-13 * scale


def test_advection_of_vorticity_is_bounded_by_its_neighbours(ocean):
    g = ocean.geometry
    flow = upwind_weights(g.interp_x_to_u(ocean.field(3)), g.interp_y_to_v(ocean.field(4)), None, g)
    inflow = flow.west[..., :-1] - flow.east[..., 1:]
    inflow = inflow + flow.south[..., :-1, :] - flow.north[..., 1:, :]
    dt = 0.999 / (inflow / g.area).max()
    zeta = g.clean(ocean.field(5))
    after = zeta + dt * relative_advection(zeta, flow, g)
    assert after[g.wet].max() <= zeta[g.wet].max() and after[g.wet].min() >= zeta[g.wet].min()


def test_advection_of_vorticity_converges_with_order_one(make_ocean):
    errors = []
    for resolution in (2.0, 1.0, 0.5):
        grid = Grid.regular(resolution, (20.0, 52.0), (-32.0, 32.0), (5.0,))
        ocean = make_ocean("box", grid=grid)
        g = ocean.geometry
        lat, lon = np.meshgrid(np.deg2rad(grid.lat), np.deg2rad(grid.lon), indexing="ij")
        phi, lam = torch.as_tensor(lat)[None], torch.as_tensor(lon)[None]
        zeta = torch.sin(2 * lam) * torch.cos(2 * phi)
        u, v = 0.5 + 0.1 * torch.sin(phi), -0.4 + 0.1 * torch.cos(lam)
        exact = (
            -u * 2 * torch.cos(2 * lam) * torch.cos(2 * phi) / torch.cos(phi)
            + v * 2 * torch.sin(2 * lam) * torch.sin(2 * phi)
        ) / EARTH_RADIUS
        flow = upwind_weights(g.interp_x_to_u(u), g.interp_y_to_v(v), None, g)
        error = (relative_advection(zeta, flow, g) - exact)[0]
        margin = int(4 / resolution)
        errors.append(float(error[margin:-margin, margin:-margin].abs().max()))
    slopes = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert np.all(np.abs(slopes - 1) < 0.1), slopes


def test_planetary_term_is_the_change_of_f_along_the_flow(make_ocean):
    ocean = make_ocean("aquaplanet")
    v = torch.full(ocean.grid.shape, 0.2, dtype=torch.float64)
    term = planetary_advection(v, ocean.geometry)
    lat = np.deg2rad(ocean.grid.lat)
    df = 2 * OMEGA * (np.sin(lat + 1e-4) - np.sin(lat - 1e-4)) / (2e-4 * EARTH_RADIUS)
    assert np.allclose(term[0, :, 0].numpy(), -0.2 * df, rtol=1e-8, atol=0)


def test_stretching_is_f_times_the_stretch_of_the_layer(ocean):
    g = ocean.geometry
    w = torch.zeros(ocean.grid.nz + 1, *ocean.grid.shape[1:], dtype=torch.float64)
    w[:] = -1e-6 * torch.as_tensor(ocean.grid.depth_bounds)[:, None, None]  # dw/dz = 1e-6
    assert torch.allclose(
        stretching(w, g), (1e-6 * g.f_t).expand(ocean.grid.shape), rtol=1e-12, atol=1e-25
    )


def test_terms_gradcheck(make_ocean):
    """Every term of the vorticity equation but the formula of the stress, which follows below."""
    ocean = make_ocean("channel", grid=SMALL)
    g, surface = ocean.geometry, ocean.surface
    fields = [ocean.field(seed).requires_grad_() for seed in (1, 2, 3)]

    def terms(zeta, a, b):
        """Each of about one, by its factor."""
        u, v = g.interp_x_to_u(a), g.interp_y_to_v(b)
        u_g, v_g = geostrophic_velocity(1e3 * a, g, F_MIN)
        flow = upwind_weights(g.interp_x_to_u(u_g), g.interp_y_to_v(v_g), None, g)
        stress = Forcing({"metss": a[0], "mntss": b[0]})
        return (
            1e6 * relative_vorticity(u, v, g),
            1e8 * relative_advection(zeta, flow, g),
            1e12 * planetary_advection(v_g, g),
            1e10 * stretching(vertical_velocity(u, v, g), g),
            1e10 * wind_curl(stress, surface),
        )

    assert all(0.1 < x.abs().max() < 10 for x in terms(*fields))
    assert torch.autograd.gradcheck(terms, fields, fast_mode=True)


def test_wind_stress_has_the_published_drag_coefficient():
    # Large and Yeager (2004): 1000 C_d at 5, 10 and 20 m/s
    for speed, cd in ((5.0, 1.064), (10.0, 1.176), (20.0, 1.805)):
        angle = 0.7
        u, v = (torch.tensor(speed * f(angle), dtype=torch.float64) for f in (np.cos, np.sin))
        x, y = wind_stress(u, v)
        assert float(torch.hypot(x, y)) == pytest.approx(RHO_AIR * cd * 1e-3 * speed**2, rel=1e-6)
        assert float(torch.atan2(y, x)) == pytest.approx(angle, rel=1e-12)


def test_wind_stress_and_its_gradient_are_finite_in_a_calm():
    u = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    v = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    x, y = wind_stress(u, v)
    assert not x.any() and not y.any()
    (x.sum() + y.sum()).backward()
    assert torch.allclose(u.grad, torch.full_like(u, RHO_AIR * 2.70e-3), rtol=1e-3, atol=0)
    assert torch.autograd.gradcheck(
        wind_stress,
        tuple(
            torch.tensor(wind, dtype=torch.float64, requires_grad=True)
            for wind in ([3.0, -8.0, 0.5], [-2.0, 11.0, 0.1])
        ),
    )


def test_wind_curl_of_a_zonal_wind(make_ocean):
    ocean = make_ocean("aquaplanet")
    phi = latitude(ocean.grid)
    u10 = (7.0 * torch.cos(phi)).expand(1, *ocean.grid.shape[1:])
    curl = wind_curl(Forcing({"u10": u10, "v10": torch.zeros_like(u10)}), ocean.surface)
    tau, _ = wind_stress(u10, torch.zeros_like(u10))
    stress, rows = (tau * torch.cos(phi))[0, :, 0].numpy(), np.deg2rad(ocean.grid.lat)
    # -d(tau cos(phi)) / (R d(sin(phi))) between rows, and the mean of two corners
    corners = -np.diff(stress) / (EARTH_RADIUS * np.diff(np.sin(rows)))
    expected = 0.5 * (corners[1:] + corners[:-1]) / (RHO_0 * ocean.grid.dz[0])
    assert curl.shape == (1, 1, *ocean.grid.shape[1:])
    assert np.allclose(curl[0, 0, 1:-1, 5].numpy(), expected, rtol=1e-10, atol=1e-25)


@pytest.mark.parametrize("names", [("u10", "v10"), ("metss", "mntss")])
def test_wind_and_stress_over_land_are_not_used(make_ocean, names):
    ocean = make_ocean("realistic")
    given = [ocean.forcing(1)[name] for name in ("u10", "v10")]
    sea = torch.as_tensor(ocean.wet[0])
    plain = wind_curl(Forcing(dict(zip(names, given, strict=True))), ocean.surface)
    for fill in (0.0, 1e6, float("nan")):
        dirty = [torch.where(sea, x, fill).requires_grad_() for x in given]
        filled = Forcing(dict(zip(names, dirty, strict=True)))
        curl = wind_curl(filled, ocean.surface)
        assert torch.equal(curl, plain)
        curl.square().sum().backward()
        for x in dirty:
            assert torch.isfinite(x.grad).all() and not x.grad[:, ~sea].any()


def test_a_given_stress_acts_as_it_is_and_before_the_wind(make_ocean):
    ocean = make_ocean("channel")
    wind = ocean.forcing(1)
    x, y = wind_stress(wind["u10"], wind["v10"])
    stress = Forcing({"metss": x, "mntss": y})
    for made, given in zip(
        surface_stress(wind, ocean.surface), surface_stress(stress, ocean.surface), strict=True
    ):
        assert torch.equal(made, given) and made.shape[-3:] == (1, *ocean.grid.shape[1:])
    doubled = Forcing({**wind.fields, "metss": 2 * x, "mntss": 2 * y})
    assert torch.equal(
        wind_curl(doubled, ocean.surface), wind_curl(stress.map(lambda t: 2 * t), ocean.surface)
    )


def test_forcing_without_wind_or_stress_is_refused(make_ocean):
    ocean = make_ocean("channel")
    half = Forcing({"u10": ocean.forcing(1)["u10"], "metss": ocean.forcing(1)["u10"]})
    for forcing, held in ((half, "u10, metss"), (Forcing({}), "nothing")):
        with pytest.raises(UserError) as caught:
            surface_stress(forcing, ocean.surface)
        assert f"holds {held};" in str(caught.value) and "wind_stress" in str(caught.value)
        assert "\n" not in str(caught.value)
