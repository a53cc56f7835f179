"""Accuracy of both schemes of transport: order in space, and patches that return."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from hybridom.constants import EARTH_RADIUS
from hybridom.grid import Grid
from hybridom.physics.advection import upwind_weights
from hybridom.physics.stability import transport_rate
from hybridom.physics.time_integration import integrate

DT = 7200.0


@pytest.mark.parametrize("direction", ["x", "y", "z"])
@pytest.mark.parametrize(("scheme", "order"), [("upwind", 1), ("tvd", 2)])
def test_design_order_where_the_field_is_monotone(make_ocean, transport, scheme, order, direction):
    errors = []
    for n in (48, 96, 192):
        error, inner = tendency_error(make_ocean, transport, direction, n, scheme, slope)
        errors.append(float(error[inner].abs().max()))
    assert np.all(np.abs(slopes(errors) - order) < 0.1), slopes(errors)


@pytest.mark.parametrize(
    ("direction", "middle", "width"),
    [("x", 0.35, np.deg2rad(40)), ("y", 0.52, np.deg2rad(40)), ("z", 0.5, 0.5 * np.sqrt(5))],
)
def test_at_an_extremum_the_limiter_costs_one_order_in_a_few_cells(
    make_ocean, transport, direction, middle, width
):
    largest, mean = [], []
    for n in (48, 96, 192):
        errors = []
        for part in (np.arange(16) + 0.5) / 16:  # where in its cell the extremum lies
            hill = functools.partial(cosine, middle=middle + part * width / n)
            error, inner = tendency_error(make_ocean, transport, direction, n, "tvd", hill)
            errors.append(error[inner].abs())
        largest.append(float(torch.stack(errors).max()))
        mean.append(float(torch.stack(errors).mean()))
    assert np.all(np.abs(slopes(largest) - 1) < 0.1), slopes(largest)
    assert np.all(np.abs(slopes(mean) - 2) < 0.1), slopes(mean)


def slopes(errors):
    """Log-log slope between grids that halve the spacing."""
    return np.log2(np.array(errors[:-1]) / np.array(errors[1:]))


def slope(s):
    """A monotone profile and its derivative."""
    return torch.exp(1.5 * s), 1.5 * torch.exp(1.5 * s)


def cosine(s, middle):
    """A profile with a maximum, and its derivative."""
    return torch.cos(4 * (s - middle)), -4 * torch.sin(4 * (s - middle))


def tendency_error(make_ocean, transport, direction, n, scheme, profile):
    """Error of -div(u c) for a flow of 1 m/s along one axis of n cells, and where to look at it.

    The levels are stretched, so that the vertical case has unequal spacing.
    """
    ny, nx, nz = {"x": (2, n, 2), "y": (n, 2, 2), "z": (2, 2, n)}[direction]
    lat, lon, edges = (
        np.linspace(10, 50, ny + 1),
        np.linspace(0, 40, nx + 1),
        np.linspace(0, 1, nz + 1),
    )
    edges = 4000 * edges * (0.5 + 0.5 * edges)
    grid = Grid(
        *(0.5 * (a[1:] + a[:-1]) for a in (lat, lon)),
        lat,
        lon,
        0.5 * (edges[1:] + edges[:-1]),
        edges,
        False,
    )
    ocean = make_ocean("box", grid=grid)
    g = ocean.geometry
    u = torch.zeros_like(g.u_open, dtype=torch.float64)
    v = torch.zeros_like(g.v_open, dtype=torch.float64)
    w = torch.zeros_like(g.w_open, dtype=torch.float64)
    axis = {"z": 0, "y": 1, "x": 2}[direction]
    phi, lam = torch.as_tensor(np.deg2rad(grid.lat))[:, None], torch.as_tensor(np.deg2rad(grid.lon))
    if direction == "x":
        u[:] = 1.0
        s, ds = lam, 1 / (EARTH_RADIUS * torch.cos(phi))
        area_factor = g.length_u * g.dx_u[:, 1:] / g.area
    elif direction == "y":
        v[:] = 1 / torch.cos(torch.as_tensor(np.deg2rad(grid.lat_bounds)))[:, None]
        s, ds = phi, 1 / (EARTH_RADIUS * torch.cos(phi))
        area_factor = 1.0
    else:
        w[:] = -1.0
        s, ds, area_factor = g.depth / 4000, 1 / 4000, 1.0
    c, derivative = profile(s)
    c = c.expand(grid.shape)
    exact = -derivative * ds * area_factor
    inner = torch.zeros(grid.shape, dtype=torch.bool)
    inner.narrow(axis, n // 4, n // 2).fill_(True)
    tendency = transport(c, upwind_weights(u, v, w, g), g, scheme)
    return tendency - exact, inner


def march(tendency, c, dt, steps):
    """The field after that many steps of the third-order scheme."""
    (after,), _ = integrate(lambda y: (tendency(y[0]),), (c,), dt, steps, "rk3")
    return after


def test_a_patch_returns_after_one_turn_of_the_globe(make_ocean, transport):
    ocean = make_ocean("ring", grid=Grid.regular(4.0, depths=(5.0,)))
    g, grid = ocean.geometry, ocean.grid
    period, steps = 90 * DT, 240
    angular = 2 * np.pi / period
    u = (angular * g.dx_u / (2 * np.pi / grid.nx)).expand(g.u_open.shape)
    v = torch.zeros_like(g.v_open, dtype=torch.float64)
    weights = upwind_weights(u, v, None, g)
    lat, lon = np.meshgrid(np.deg2rad(grid.lat), np.deg2rad(grid.lon), indexing="ij")
    start = torch.as_tensor(np.exp(-8 * (1 - np.cos(lat) * np.cos(lon - 0.3))))[None]
    error, phase = {}, {}
    for scheme in ("upwind", "tvd"):
        step = functools.partial(transport, weights=weights, g=g, scheme=scheme)
        c = march(step, start, period / steps, steps)
        error[scheme] = float((c - start).abs().sum() / start.sum())
        wave = torch.fft.rfft(c[0], dim=-1)[:, 1] / torch.fft.rfft(start[0], dim=-1)[:, 1]
        phase[scheme] = float(wave.angle().abs().max())
        assert abs(ocean.content(c - start)) < 1e-12 * ocean.content(start)
    assert error["tvd"] < 0.12 < 0.5 < error["upwind"]
    assert phase["tvd"] < 0.01


def test_a_patch_returns_after_one_turn_within_a_basin(make_ocean, transport):
    """Solid-body rotation about a point at 40 N, at rest beyond 18 degrees of arc from it."""
    ocean = make_ocean("disc", grid=Grid.regular(1.5, (20.0, 60.5), (-30.0, 30.0)))
    g, grid = ocean.geometry, ocean.grid

    def arc_to(point, lat, lon):
        a, b, p = (np.deg2rad(x) for x in (lat[:, None], lon, point))
        cosine = np.sin(a) * np.sin(p) + np.cos(a) * np.cos(p) * np.cos(b)
        return torch.as_tensor(np.arccos(np.clip(cosine, -1, 1)))

    period, steps = 90 * DT, 400
    radius = arc_to(40.0, grid.lat_bounds, grid.lon_bounds).clamp(max=np.deg2rad(18.0))
    stream = -2 * np.pi / period * EARTH_RADIUS**2 * torch.cos(radius)
    u = (-torch.diff(stream, dim=0) / g.length_u)[None]
    v = (torch.diff(stream, dim=1) / g.length_v)[None]
    assert not u[~g.u_open].any() and not v[~g.v_open].any()
    weights = upwind_weights(u, v, None, g)
    assert period / steps * transport_rate(weights, g).max() < 0.5
    start = torch.exp(-((arc_to(48.0, grid.lat, grid.lon) / np.deg2rad(3.5)) ** 2))[None]
    error = {}
    for scheme in ("upwind", "tvd"):
        step = functools.partial(transport, weights=weights, g=g, scheme=scheme)
        half = march(step, start, period / steps, steps // 2)
        # half-way the patch is on the other side of the centre
        assert (half * start).sum() < 0.01 * (start * start).sum()
        c = march(step, half, period / steps, steps // 2)
        error[scheme] = float((c - start).abs().sum() / start.sum())
        assert abs(ocean.content(c - start)) < 1e-12 * ocean.content(start)
    assert error["tvd"] < 0.45 < 1.0 < error["upwind"]
