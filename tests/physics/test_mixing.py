"""Lateral and vertical diffusion."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hybridom.constants import EARTH_RADIUS
from hybridom.grid import Grid
from hybridom.physics.fluxes import convergence, face_fluxes
from hybridom.physics.mixing import diffusion_weights
from hybridom.physics.stability import transport_rate

K, KV = 700.0, 1e-3


def diffuse(c, g, lateral=K, vertical=KV):
    return convergence(face_fluxes(c, diffusion_weights(g, lateral, vertical), g), g)


def test_fluxes_are_minus_diffusivity_times_gradient(ocean):
    g = ocean.geometry
    c = ocean.field(1, 2)
    fluxes = face_fluxes(c, diffusion_weights(g, K, KV), g)
    for found, expected in (
        (fluxes.x, -K * g.grad_x_to_u(c) * g.length_u),
        (fluxes.y, -K * g.grad_y_to_v(c) * g.length_v),
        (fluxes.z, -KV * g.diff_z_to_w(c) / g.dz_w),
    ):
        assert (found - expected).abs().max() < 1e-13 * expected.abs().max()


def test_uniform_field_does_not_change_and_walls_insulate(ocean):
    g = ocean.geometry
    assert not diffuse(torch.full(ocean.grid.shape, 4.1, dtype=torch.float64), g).any()
    tendency = diffuse(g.clean(ocean.field(2)), g)
    assert abs(ocean.content(tendency)) < 1e-13 * ocean.content(tendency.abs())
    assert not tendency[~g.wet].any()


def test_variance_never_grows_and_no_extreme_appears(ocean):
    g = ocean.geometry
    c = ocean.field(3)
    rate = transport_rate(diffusion_weights(g, K, KV), g).max()
    after = c + diffuse(c, g) / rate
    assert ocean.content(after**2) < ocean.content(c**2)
    wet = g.wet
    assert after[wet].max() <= c[wet].max() and after[wet].min() >= c[wet].min()
    assert ocean.content(c * diffuse(c, g)) < 0


def test_cosine_around_a_row_decays_at_its_rate(make_ocean):
    grid = Grid.regular(4.0, (-2.0, 2.0), (-180.0, 180.0), (5.0,))
    ocean = make_ocean("row", grid=grid)
    for waves in (1, 5):
        c = torch.cos(waves * torch.as_tensor(np.deg2rad(grid.lon))).expand(grid.shape)
        k = waves / EARTH_RADIUS
        # second order: the discrete wave number is 2 sin(k dx / 2) / dx
        dx = float(grid.dx_t[0, 0])
        expected = -K * (2 * np.sin(k * dx / 2) / dx) ** 2
        # the cell's area is sin(dphi/2) / (dphi/2) smaller than its sides suggest
        band = np.sin(np.deg2rad(2.0)) / np.deg2rad(2.0)
        assert torch.allclose(
            diffuse(c, ocean.geometry), c * expected / band, rtol=0, atol=1e-12 * abs(expected)
        )
        assert abs(expected / (-K * k**2) - 1) < (k * dx) ** 2 / 11


def test_sine_of_latitude_decays_at_its_rate_from_pole_to_pole(make_ocean):
    """The first zonal harmonic of the sphere, with eigenvalue -2 / R^2."""
    ocean = make_ocean("aquaplanet")
    c = torch.sin(torch.as_tensor(np.deg2rad(ocean.grid.lat)))[:, None].expand(ocean.grid.shape)
    width = np.deg2rad(10.0)
    # second order: differences of the sine over a row are sin(width) / width of its slope
    expected = -2 * K / EARTH_RADIUS**2 * np.sin(width) / width
    assert torch.allclose(
        diffuse(c, ocean.geometry), c * expected, rtol=0, atol=1e-13 * abs(expected)
    )


def test_each_cell_gives_its_neighbour_what_it_would_get(ocean):
    """Diffusion is its own adjoint in the inner product over the volume."""
    g = ocean.geometry
    a, b = g.clean(ocean.field(5)), g.clean(ocean.field(6))
    there, back = ocean.content(a * diffuse(b, g)), ocean.content(b * diffuse(a, g))
    assert abs(there - back) < 1e-13 * ocean.content((a * diffuse(b, g)).abs())


def test_cosine_in_depth_decays_between_insulated_ends(make_ocean):
    nz, h = 20, 10.0
    grid = Grid.regular(4.0, (0, 8), (0, 8), h * (np.arange(nz) + 0.5))
    ocean = make_ocean("column", grid=grid)
    g = ocean.geometry
    for m in (1, 3):
        k = m * np.pi / (nz * h)
        c = torch.cos(k * g.depth).expand(grid.shape)
        # second order: the discrete wave number is 2 sin(k h / 2) / h
        rate = -KV * (2 * np.sin(k * h / 2) / h) ** 2
        assert abs(rate / (-KV * k**2) - 1) < (k * h) ** 2 / 11
        dt, steps = 864.0, 200
        for _ in range(steps):
            c = c + dt * diffuse(c, g)
        decayed = (1 + dt * rate) ** steps * torch.cos(k * g.depth)
        assert (c - decayed).abs().max() < 1e-12


@pytest.mark.parametrize("name", ["basin", "realistic"])
def test_adjoint_equals_finite_differences(make_ocean, name):
    ocean = make_ocean(name)
    c = ocean.field(4).requires_grad_()
    assert torch.autograd.gradcheck(lambda a: diffuse(a, ocean.geometry), (c,), fast_mode=True)


def test_lateral_weights_leave_the_column_alone(make_ocean):
    ocean = make_ocean("basin")
    weights = diffusion_weights(ocean.geometry, K)
    assert weights.above is None and weights.below is None
    both = weights + diffusion_weights(ocean.geometry, 0.0, KV)
    assert both.below is not None and both.below.any()
    fluxes = face_fluxes(ocean.field(1), weights, ocean.geometry)
    assert fluxes.z is None
