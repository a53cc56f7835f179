"""Tracer transport: both schemes, on every ocean.

The flows are random and close every layer, as those of the skeleton do.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hybridom.physics.advection import upwind_weights
from hybridom.physics.continuity import vertical_velocity
from hybridom.physics.fluxes import face_fluxes
from hybridom.physics.stability import transport_rate
from hybridom.physics.time_integration import integrate

DT = 7200.0
schemes = pytest.mark.parametrize("scheme", ["upwind", "tvd"])


@schemes
def test_uniform_tracer_stays_uniform_under_any_flow(ocean, scheme, transport):
    g = ocean.geometry
    weights = upwind_weights(*ocean.flow(1, DT, 1.0), g)
    c = torch.full(ocean.grid.shape, 35.0, dtype=torch.float64)
    change = DT * transport(c, weights, g, scheme)
    assert change.abs().max() < 1e-13 * 35


@schemes
def test_content_changes_by_the_surface_flux_alone(ocean, scheme, transport):
    g = ocean.geometry
    u, v, w = ocean.flow(2, DT, 1.0)
    c = g.clean(ocean.field(5, 2))
    tendency = transport(c, upwind_weights(u, v, w, g), g, scheme)
    surface = (w[0] * c[:, 0] * g.area).sum((-2, -1))
    moved = ocean.content(tendency.abs())
    assert ((ocean.content(tendency) + surface).abs() < 1e-13 * moved).all()
    assert (surface.abs() > 1e-6 * moved).all()
    # with a rigid lid nothing leaves
    lid = w.clone()
    lid[0] = 0.0
    tendency = transport(c, upwind_weights(u, v, lid, g), g, scheme)
    assert (ocean.content(tendency).abs() < 1e-13 * moved).all()


@pytest.mark.parametrize(("scheme", "number"), [("upwind", 0.999), ("tvd", 0.499)])
def test_no_new_extremum_up_to_the_proven_step(ocean, scheme, number, transport):
    g, wet = ocean.geometry, ocean.geometry.wet
    weights = upwind_weights(*ocean.flow(3, DT, number), g)
    for seed in range(5):
        c = g.clean(ocean.field(10 + seed))
        if seed == 4:
            c = g.clean((c > 0.5).double())  # sharp fronts
        for _ in range(3):
            after = c + DT * transport(c, weights, g, scheme)
            low, high = neighbourhood(c, g)
            slack = 1e-12
            assert (after <= high + slack)[wet].all() and (after >= low - slack)[wet].all()
            c = after
        (stepped,), _ = integrate(
            lambda y: (transport(y[0], weights, g, scheme),), (c,), DT, 3, "rk3"
        )
        assert stepped[wet].max() <= c[wet].max() + slack
        assert stepped[wet].min() >= c[wet].min() - slack


def neighbourhood(c, g):
    """Smallest and largest value of a cell and its open neighbours."""
    bounds = []
    for sign in (-1.0, 1.0):
        best = torch.where(g.wet, sign * c, -torch.inf)
        x, y, z = g.pad_x(best), g.pad_y(best), g.pad_z(best)
        around = [x[..., 2:], x[..., :-2], y[..., 2:, :], y[..., :-2, :], z[2:], z[:-2], best]
        bounds.append(sign * torch.stack(around).amax(0))
    return bounds


@pytest.mark.parametrize("name", ["basin", "channel", "uneven layers"])
@schemes
def test_equals_a_cell_by_cell_implementation(make_ocean, name, scheme, transport):
    if name == "uneven layers":  # interfaces that do not lie half-way between levels
        ocean = make_ocean("basin")
        uneven = replace(ocean.grid, depth_bounds=np.array([0.0, 14.0, 25.0, 120.0, 160.0, 700.0]))
        ocean = make_ocean(name, grid=uneven, wet=ocean.wet)
    else:
        ocean = make_ocean(name)
    g, grid, wet = ocean.geometry, ocean.grid, ocean.wet
    u, v, w = ocean.flow(4, DT, 1.0)
    c = g.clean(ocean.field(9))
    expected = np.zeros(grid.shape)
    cn, un, vn, wn = (x.numpy() for x in (c, u, v, w))

    def value(k, j, i):
        """Cell value, or None beyond the ocean."""
        i = i % grid.nx if grid.periodic else i
        inside = 0 <= k < grid.nz and 0 <= j < grid.ny and 0 <= i < grid.nx
        return cn[k, j, i] if inside and wet[k, j, i] else None

    def on_face(cell, step, centre_distances):
        """Upstream value on the face of `cell` towards `cell + step`."""
        here = value(*cell)
        ahead = value(*(a + b for a, b in zip(cell, step, strict=True)))
        behind = value(*(a - b for a, b in zip(cell, step, strict=True)))
        if scheme == "upwind" or ahead is None or behind is None:
            return here
        if (ahead - here) * (here - behind) <= 0:
            return here
        half_width, distance = centre_distances
        rise = (ahead - behind) * half_width / distance
        return here + np.sign(rise) * min(abs(rise), abs(ahead - here), abs(here - behind))

    for k, j, i in np.argwhere(wet):
        faces = (
            (un[k, j, i + 1] * grid.dy[j], (0, 0, 1)),
            (-un[k, j, i] * grid.dy[j], (0, 0, -1)),
            (vn[k, j + 1, i] * grid.dx_v[j + 1, i], (0, 1, 0)),
            (-vn[k, j, i] * grid.dx_v[j, i], (0, -1, 0)),
            (wn[k, j, i] * grid.area[j, i] / grid.dz[k], (-1, 0, 0)),
            (-wn[k + 1, j, i] * grid.area[j, i] / grid.dz[k], (1, 0, 0)),
        )
        for outflow, step in faces:
            if outflow == 0:
                continue
            if outflow > 0 or (k == 0 and step[0] == -1):
                cell, direction = (k, j, i), step
            else:
                cell = tuple(a + b for a, b in zip((k, j, i), step, strict=True))
                direction = tuple(-s for s in step)
            spacing = (0.25, 1.0)
            if step[0]:
                m = cell[0]
                inside = 0 < m < grid.nz - 1
                spacing = (0.5 * grid.dz[m], grid.depth[m + 1] - grid.depth[m - 1] if inside else 1)
            at_face = (
                value(k, j, i) if k == 0 and step[0] == -1 else on_face(cell, direction, spacing)
            )
            expected[k, j, i] -= outflow * at_face / grid.area[j, i]
    tendency = transport(c, upwind_weights(u, v, w, g), g, scheme).numpy()
    assert np.abs(tendency - expected).max() < 1e-12 * np.abs(expected).max()


def test_gradients_equal_their_known_value(make_ocean):
    """d(outflow)/d(velocity) is the upstream concentration."""
    ocean = make_ocean("basin")
    g = ocean.geometry
    u, v, w = ocean.flow(6, DT, 1.0)
    u = u.requires_grad_()
    c = g.clean(ocean.field(7))
    fluxes = face_fluxes(c, upwind_weights(u, v, w, g), g)
    (by_u,) = torch.autograd.grad(fluxes.x.sum(), u)
    padded = g.pad_x(c)
    upstream = torch.where(u > 0, padded[..., :-1], padded[..., 1:]) * g.length_u
    assert torch.allclose(by_u[g.u_open], upstream[g.u_open], rtol=1e-13)


@schemes
def test_gradcheck(make_ocean, scheme, transport):
    ocean = make_ocean("basin")
    g = ocean.geometry
    u, v, _ = ocean.flow(6, DT, 1.0)
    inputs = [x.detach().requires_grad_() for x in (ocean.field(8), u, v)]

    def tendency(c, u, v):
        u, v = torch.where(g.u_open, u, 0.0), torch.where(g.v_open, v, 0.0)
        w = vertical_velocity(u, v, g)
        return DT * transport(c, upwind_weights(u, v, w, g), g, scheme)

    assert torch.autograd.gradcheck(tendency, inputs, eps=1e-9, atol=1e-5, fast_mode=True)


@schemes
def test_gradients_are_finite_at_zero_flow_and_in_uniform_water(ocean, scheme, transport):
    g = ocean.geometry
    shapes = (g.u_open.shape, g.v_open.shape, g.w_open.shape)
    flow = [torch.zeros(s, dtype=torch.float64, requires_grad=True) for s in shapes]
    c = torch.ones(ocean.grid.shape, dtype=torch.float64, requires_grad=True)
    transport(c, upwind_weights(*flow, g), g, scheme).pow(2).sum().backward()
    for x in (*flow, c):
        assert torch.isfinite(x.grad).all()


def test_rate_is_the_largest_part_that_leaves_a_cell(ocean, transport):
    g = ocean.geometry
    u, v, w = ocean.flow(1, DT, 0.7)
    weights = upwind_weights(u, v, w, g)
    assert float(DT * transport_rate(weights, g).max()) == pytest.approx(0.7, rel=1e-12)
    # it is minus the derivative of a cell's tendency by its own value, where no water enters
    # from above the surface
    k, j, i = (
        int(n) for n in np.argwhere(ocean.wet & (np.arange(ocean.grid.nz) > 0)[:, None, None])[17]
    )
    one = torch.zeros(ocean.grid.shape, dtype=torch.float64)
    one[k, j, i] = 1.0
    own = transport(one, weights, g, "upwind")[k, j, i]
    assert float(transport_rate(weights, g)[k, j, i]) == pytest.approx(-float(own), rel=1e-12)
