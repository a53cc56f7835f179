"""Vertical velocity from continuity."""

from __future__ import annotations

import numpy as np
import torch

from hybridom.physics.continuity import sea_surface_tendency, vertical_velocity


def flow(ocean, batch=2):
    g = ocean.geometry
    u, v = g.interp_x_to_u(ocean.field(1, batch)), g.interp_y_to_v(ocean.field(2, batch))
    return u, v, vertical_velocity(u, v, g)


def test_every_layer_closes_and_nothing_crosses_the_bottom(ocean):
    g = ocean.geometry
    u, v, w = flow(ocean)
    divergence = g.div_to_t(u, v)
    residual = divergence + (w[..., :-1, :, :] - w[..., 1:, :, :]) / g.dz
    assert residual.abs().max() < 1e-13 * divergence.abs().max()
    bottoms = np.pad(ocean.wet[1:], ((0, 1), (0, 0), (0, 0))) < ocean.wet
    assert not w[..., 1:, :, :][..., torch.as_tensor(bottoms)].any()
    assert not w[..., -1, :, :].any()
    assert not w[..., :-1, :, :][..., ~g.wet].any()


def test_sea_surface_follows_the_vertically_integrated_flow(ocean):
    g = ocean.geometry
    u, v, w = flow(ocean)
    depth_u, depth_v = (u * g.dz).sum(-3, keepdim=True), (v * g.dz).sum(-3, keepdim=True)
    expected = -ocean.surface.div_to_t(depth_u, depth_v).squeeze(-3)
    assert torch.allclose(sea_surface_tendency(w), expected, rtol=1e-11, atol=1e-20)


def test_no_volume_is_made(ocean):
    _, _, w = flow(ocean)
    moved = sea_surface_tendency(w) * ocean.geometry.area
    assert (moved.sum((-2, -1)).abs() < 1e-13 * moved.abs().sum((-2, -1))).all()


def test_nondivergent_flow_has_no_vertical_velocity(make_ocean):
    ocean = make_ocean("aquaplanet")
    g = ocean.geometry
    u = ocean.field(1)[..., :1].expand(-1, -1, ocean.grid.nx + 1)
    w = vertical_velocity(u, torch.zeros_like(g.v_open, dtype=torch.float64), g)
    assert not w.any()


def test_gradcheck(make_ocean):
    ocean = make_ocean("basin")
    u, v, _ = (x.requires_grad_() for x in flow(ocean, 1))
    assert torch.autograd.gradcheck(
        lambda a, b: vertical_velocity(a, b, ocean.geometry),
        (u.detach().requires_grad_(), v.detach().requires_grad_()),
        fast_mode=True,
    )
