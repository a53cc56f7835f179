"""Gated fluxes: equal oceans, uniform tracers, content, signs, and the limit of a day's step.

`ocean` comes from tests/conftest.py; everything is float64.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hybridom.constants import SECONDS_PER_DAY
from hybridom.operators import Geometry
from hybridom.physics.continuity import vertical_velocity
from hybridom.physics.gating import (
    LARGEST_TRANSPORT,
    Transport,
    correction_change,
    driver_share,
    face_weights,
    gated_change,
)

DIFFUSIVITY = 100.0


@pytest.fixture(params=[True, False], ids=["open", "closed"])
def geometry(request, ocean) -> Geometry:
    return Geometry(ocean.grid, ocean.wet, torch.float64, open_boundaries=request.param)


def tracers_of(geometry, state):
    return torch.stack([geometry.clean(state.thetao), geometry.clean(state.so)])


def transport_of(geometry, state, diffusivity=DIFFUSIVITY):
    return Transport.of(geometry.clean(state.uo), geometry.clean(state.vo), diffusivity, geometry)


def random_weights(geometry, seed, levels=False, directions=False, batch=2):
    """Weights of the three sources (3, 2, B, nd, nl, ny, nx) that sum to one."""
    nz, ny, nx = geometry.wet.shape
    shape = (3, 2, batch, 2 if directions else 1, nz if levels else 1, ny, nx)
    scores = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return scores.softmax(dim=0)


def change(geometry, fine, drivers, weights):
    """`gated_change` from states."""
    return gated_change(
        tracers_of(geometry, fine),
        transport_of(geometry, fine),
        [(tracers_of(geometry, x), transport_of(geometry, x)) for x in drivers],
        [face_weights(w, geometry) for w in weights[1:]],
        geometry,
    )


@pytest.mark.parametrize("levels", [False, True])
@pytest.mark.parametrize("directions", [False, True])
def test_equal_oceans_change_nothing_at_all(ocean, geometry, levels, directions):
    state = ocean.state(1)
    weights = random_weights(geometry, 2, levels, directions)
    assert not change(geometry, state, (state, state), weights).any()


def test_a_uniform_tracer_stays_uniform_whatever_the_currents(ocean, geometry):
    fine, *drivers = (vars_of(ocean.state(seed), thetao=11.0, so=34.5) for seed in (1, 2, 3))
    found = change(geometry, fine, drivers, random_weights(geometry, 4, levels=True))
    # of a tracer of 1 the lateral part alone would move this much
    flow = transport_of(geometry, drivers[0])
    lateral = SECONDS_PER_DAY * geometry.outflow_to_t(flow.x, flow.y).abs().max()
    for x, value in zip(found, (11.0, 34.5), strict=True):
        assert x[:, geometry.wet].abs().max() < 1e-12 * value * lateral
    assert lateral > 1e-4


def vars_of(state, **values):
    fields = {name: torch.full_like(getattr(state, name), x) for name, x in values.items()}
    return type(state)(**{**dict(state.items()), **fields})


def test_content_changes_through_the_boundaries_alone(ocean, geometry):
    """What leaves is summed over outer faces and the surface by a loop of its own."""
    fine, *drivers = (ocean.state(seed) for seed in (1, 2, 3))
    weights = random_weights(geometry, 4)
    found = change(geometry, fine, drivers, weights)
    mass = geometry.area * geometry.dz
    total = (found * mass).sum(dim=(-3, -2, -1))
    c = tracers_of(geometry, fine)
    flux_x, flux_y, volume = blended(geometry, fine, drivers, weights)
    w = vertical_velocity(
        volume[0] / geometry.length_u,
        torch.where(geometry.length_v > 0, volume[1] / geometry.length_v.clamp(min=1e-9), 0.0),
        geometry,
    )
    through = (w[..., 0, :, :] * c[..., 0, :, :] * geometry.area).sum(dim=(-2, -1))
    dz = geometry.dz
    if not geometry.periodic:
        through = through + ((flux_x[..., -1] - flux_x[..., 0]) * dz[..., 0]).sum(dim=(-2, -1))
    through = through + ((flux_y[..., -1, :] - flux_y[..., 0, :]) * dz[..., 0]).sum(dim=(-2, -1))
    expected = -SECONDS_PER_DAY * through
    scale = (found.abs() * mass).sum(dim=(-3, -2, -1))
    assert torch.all((total - expected).abs() < 1e-12 * scale)
    assert torch.all(scale > 0)


def blended(geometry, fine, drivers, weights):
    """Differences of the gated from the fine flux, of tracers and of volume, by the equation."""
    c = [tracers_of(geometry, x) for x in (fine, *drivers)]
    sums = [0.0, 0.0, 0.0, 0.0]
    flows = [transport_of(geometry, x) for x in (fine, *drivers)]
    diffusion = DIFFUSIVITY
    for n in (1, 2):
        for i, (axis, at) in enumerate(zip("xy", face_weights(weights[n], geometry), strict=True)):
            fluxes = []
            for values, flow in ((c[n], flows[n]), (c[0], flows[0])):
                u = getattr(flow, axis)
                pad = geometry.pad_x(values) if axis == "x" else geometry.pad_y(values)
                before, after = (
                    (pad[..., :-1], pad[..., 1:])
                    if axis == "x"
                    else (pad[..., :-1, :], pad[..., 1:, :])
                )
                carried = torch.where(u > 0, u * before, u * after)
                if axis == "x":
                    slope = geometry.grad_x_to_u(values) * geometry.length_u
                else:
                    slope = geometry.grad_y_to_v(values) * geometry.length_v
                fluxes.append(carried - diffusion * slope)
            sums[i] = sums[i] + at * (fluxes[0] - fluxes[1])
            sums[2 + i] = sums[2 + i] + at * (getattr(flows[n], axis) - getattr(flows[0], axis))
    return sums[0], sums[1], (sums[2], sums[3])


def test_the_change_is_minus_the_divergence_of_a_day(ocean, geometry):
    """With all of the weight on the driver of tomorrow, and the same currents everywhere."""
    fine, other = ocean.state(1), ocean.state(2)
    later = type(fine)(other.thetao, other.so, fine.uo, fine.vo, fine.zos)
    weights = torch.zeros_like(random_weights(geometry, 1))
    weights[2] = 1.0
    found = change(geometry, fine, (other, later), weights)
    x, y, _ = blended(geometry, fine, (other, later), weights)
    expected = -SECONDS_PER_DAY * geometry.outflow_to_t(x, y)
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-14)
    assert expected.abs().max() > 1e-6


def test_warm_water_that_the_driver_carries_in_warms(make_ocean):
    """The published code has the opposite sign, and a thousandth of the size."""
    ocean = make_ocean("basin")
    geometry = ocean.geometry
    state = vars_of(ocean.rest(), thetao=10.0, uo=0.0, vo=0.0)
    east = vars_of(state, uo=0.1)
    warm = torch.full_like(state.thetao, 10.0)
    column = ocean.grid.nx // 2
    warm[..., :column] = 12.0
    today = type(state)(warm, state.so, east.uo, east.vo, state.zos)
    weights = torch.zeros_like(random_weights(geometry, 1, batch=len(state.zos)))
    weights[1] = 1.0
    found = change(geometry, state, (today, state), weights)[0]
    inside = geometry.wet[0, :, column] & geometry.wet[0, :, column - 1]
    inside &= geometry.wet[0, :, column + 1]
    # 2 degC enter through the western face at 0.1 m/s; the region's own water leaves eastward
    dx = torch.as_tensor(ocean.grid.area[:, column] / ocean.grid.dy)
    expected = 2.0 * 0.1 * SECONDS_PER_DAY / dx
    assert inside.any()
    diffusive = 2 * DIFFUSIVITY * SECONDS_PER_DAY / (dx * dx)
    excess = (found[:, 0, :, column] - expected)[:, inside]
    assert torch.all(excess > 0) and torch.all(excess < 2 * diffusive[inside].max())


def test_weights_on_faces_are_means_and_sum_to_one(ocean, geometry):
    weights = random_weights(geometry, 3, levels=True, directions=True)
    u, v = (sum(parts) for parts in zip(*(face_weights(w, geometry) for w in weights), strict=True))
    assert torch.allclose(u, geometry.u_flow.to(u).expand_as(u), rtol=0, atol=1e-14)
    assert torch.allclose(v, geometry.v_flow.to(v).expand_as(v), rtol=0, atol=1e-14)
    one = face_weights(weights[0], geometry)[0]
    i = ocean.grid.nx // 2
    mean = 0.5 * (weights[0][..., 0, :, :, i - 1] + weights[0][..., 0, :, :, i])
    open_face = geometry.u_flow[..., i]
    assert torch.equal(one[..., i][..., open_face], mean[..., open_face])


def test_a_slow_ocean_takes_the_whole_weight_and_a_fast_one_its_share(ocean, geometry):
    slow, quick = (
        transport_of(geometry, ocean.state(1, number=number, dt=SECONDS_PER_DAY), 0.0)
        for number in (0.01, 5.0)
    )
    for share in driver_share(slow, [slow, slow], geometry):
        assert torch.all(share == 1)
    for fine, driver in ((quick, slow), (slow, quick)):
        u, v = driver_share(fine, [driver, fine], geometry)
        assert 0 < u.min() < 0.5 and 0 < v.min() < 0.5
        x, y = quick.x * u, quick.y * v
        out = torch.relu(x)[..., 1:] + torch.relu(-x)[..., :-1]
        out = out + torch.relu(y)[..., 1:, :] + torch.relu(-y)[..., :-1, :]
        number = SECONDS_PER_DAY * out / geometry.area
        assert number.max() <= LARGEST_TRANSPORT * (1 + 1e-12)


def test_a_learned_flux_moves_and_makes_nothing(ocean, geometry):
    generator = torch.Generator().manual_seed(5)
    shape = (2, 2, 2, *geometry.wet.shape)
    per_day = torch.randn(shape, generator=generator, dtype=torch.float64)
    found = correction_change(per_day, geometry)
    assert not found[..., ~geometry.wet].any()
    mass = geometry.area * geometry.dz
    total = (found * mass).sum(dim=(-3, -2, -1))
    assert torch.all(total.abs() < 1e-12 * (found.abs() * mass).sum(dim=(-3, -2, -1)))


def test_a_learned_flux_of_one_brings_one_into_a_cell_of_the_size_of_its_face(make_ocean):
    ocean = make_ocean("aquaplanet")
    geometry = ocean.geometry
    per_day = torch.zeros((2, 1, 2, *geometry.wet.shape), dtype=torch.float64)
    i = ocean.grid.nx // 2
    per_day[0, :, 0, ..., i] = 1.0
    found = correction_change(per_day, geometry)[0, 0, 0]
    j = ocean.grid.ny // 2
    size = geometry.length_u[j, 0] * geometry.dx_u[j, i] / geometry.area[j, i]
    assert found[j, i - 1] == pytest.approx(-0.5 * float(size), rel=1e-12)
    assert found[j, i + 1] == pytest.approx(0.5 * float(size), rel=1e-12)
    assert abs(float(found[j, i])) < 1e-12


def test_gradients_reach_weights_and_tracers_and_are_those_of_finite_differences(make_ocean):
    ocean = make_ocean("channel")
    geometry = ocean.geometry
    fine, *drivers = (ocean.state(seed, batch=1) for seed in (1, 2, 3))
    weights = random_weights(geometry, 4, batch=1)
    generator = torch.Generator().manual_seed(6)
    probe = torch.randn(change(geometry, fine, drivers, weights).shape, generator=generator)

    def loss(w, thetao):
        state = type(fine)(thetao, fine.so, fine.uo, fine.vo, fine.zos)
        return (change(geometry, state, drivers, w) * probe.to(w)).sum()

    given = [weights.clone().requires_grad_(), fine.thetao.clone().requires_grad_()]
    gradients = torch.autograd.grad(loss(*given), given)
    for n, gradient in enumerate(gradients):
        assert torch.isfinite(gradient).all()
        step = torch.randn(gradient.shape, generator=generator, dtype=torch.float64)
        ahead, back = ([x.detach() for x in given] for _ in range(2))
        ahead[n], back[n] = ahead[n] + 1e-4 * step, back[n] - 1e-4 * step
        numeric = (loss(*ahead) - loss(*back)) / 2e-4
        assert float((gradient * step).sum()) == pytest.approx(float(numeric), rel=1e-6)


def test_a_checkerboard_does_not_grow_beyond_the_upwind_step(make_ocean):
    """Taking back the region's own flux must not feed the shortest waves, however fast the flow."""
    ocean = make_ocean("aquaplanet")
    geometry = ocean.geometry
    nx = ocean.grid.nx
    for number in (0.05, 0.25, 1.0, 5.0):
        state = ocean.state(1, batch=1, number=number, dt=SECONDS_PER_DAY)
        fine = Transport.of(geometry.clean(state.uo), geometry.clean(state.vo), 0.0, geometry)
        wave = torch.as_tensor((-1.0) ** np.arange(nx)).expand(2, 1, *geometry.wet.shape)
        still = torch.zeros_like(wave)
        share = driver_share(fine, [fine, fine], geometry)
        weights = [
            tuple(0.5 * s.expand_as(a) for s, a in zip(share, (fine.x, fine.y), strict=True))
        ]
        found = gated_change(
            wave, fine, [(still, fine), (still, fine)], [*weights, *weights], geometry
        )
        assert found.abs().max() <= 2 * LARGEST_TRANSPORT * (1 + 1e-9), number
