"""Hydrostatic pressure."""

from __future__ import annotations

import numpy as np
import torch

from hybridom.constants import GRAVITY, RHO_0
from hybridom.physics.eos import density_anomaly
from hybridom.physics.pressure import hydrostatic_pressure


def test_uniform_density_gives_rho_g_h(ocean):
    g = ocean.geometry
    rho = torch.full(ocean.grid.shape, 3.0, dtype=torch.float64)
    zos = torch.zeros(ocean.grid.shape[1:], dtype=torch.float64)
    pressure = hydrostatic_pressure(rho, zos, g)
    assert torch.allclose(
        pressure, (GRAVITY * 3.0 * g.depth).expand_as(pressure), rtol=1e-13, atol=0
    )


def test_sea_surface_height_reaches_every_cell_of_its_own_column(ocean):
    rho = torch.zeros((2, *ocean.grid.shape), dtype=torch.float64)
    zos = ocean.field(3, 2)[:, 0]
    pressure = hydrostatic_pressure(rho, zos, ocean.geometry)
    for k in range(ocean.grid.nz):
        assert torch.allclose(pressure[:, k], GRAVITY * RHO_0 * zos, rtol=1e-14, atol=0)


def test_integral_equals_a_sum_over_layers_above(make_ocean):
    ocean = make_ocean("basin")
    rho, zos = ocean.field(1), ocean.field(2)[0]
    pressure = hydrostatic_pressure(rho, zos, ocean.geometry).numpy()
    grid, j, i = ocean.grid, 3, 4
    for k in range(grid.nz):
        above = sum(float(rho[m, j, i]) * grid.dz[m] for m in range(k))
        within = float(rho[k, j, i]) * (grid.depth[k] - grid.depth_bounds[k])
        expected = GRAVITY * (RHO_0 * float(zos[j, i]) + above + within)
        assert np.isclose(pressure[k, j, i], expected, rtol=1e-12, atol=0)


def test_resting_stratified_ocean_has_no_pressure_gradient(ocean):
    g = ocean.geometry
    t = g.clean((20 * torch.exp(-g.depth / 150)).expand(ocean.grid.shape))
    s = g.clean((36 - g.depth / 1000).expand(ocean.grid.shape))
    rho = density_anomaly(t, s, g.depth)
    pressure = hydrostatic_pressure(rho, torch.zeros_like(rho[0]), g)
    assert not g.grad_x_to_u(pressure).any()
    assert not g.grad_y_to_v(pressure).any()


def test_gradcheck(make_ocean):
    ocean = make_ocean("basin")
    rho = ocean.field(1).requires_grad_()
    zos = ocean.field(2)[0].clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda a, b: hydrostatic_pressure(a, b, ocean.geometry), (rho, zos), fast_mode=True
    )
