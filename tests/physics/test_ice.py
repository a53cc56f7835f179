"""Sea-ice transport."""

from __future__ import annotations

import pytest
import torch

from hybridom.physics.advection import upwind_weights
from hybridom.physics.ice import transport_ice
from hybridom.physics.stability import transport_rate

DT = 7200.0


def drift(ocean, seed, number=0.99):
    """Random drift that piles ice up and pulls it apart."""
    g = ocean.surface
    u, v = g.interp_x_to_u(ocean.field(seed)[:1]), g.interp_y_to_v(ocean.field(seed + 1)[:1])
    scale = number / (DT * transport_rate(upwind_weights(u, v, None, g), g).max())
    return u * scale, v * scale


def ice(ocean, seed):
    g = ocean.surface
    cover = g.clean(ocean.field(seed)[:1].sigmoid())
    cover = torch.where(cover > 0.6, 1.0, torch.where(cover < 0.3, 0.0, cover))
    cover = g.clean(cover)
    return cover, torch.where(cover > 0, ocean.field(seed + 1)[:1].abs(), 0.0)


def volume(ocean, cover, thickness):
    return float((cover * thickness * ocean.surface.area).sum())


def test_cover_and_thickness_keep_their_bounds_and_volume_is_conserved(ocean):
    cover, thickness = ice(ocean, 1)
    before = volume(ocean, cover, thickness)
    for step in range(20):
        cover, thickness = transport_ice(
            cover, thickness, *drift(ocean, 10 + step), DT, ocean.surface
        )
        assert cover.min() >= 0 and cover.max() <= 1
        assert thickness.min() >= 0
        assert not cover[~ocean.surface.wet].any() and not thickness[~ocean.surface.wet].any()
    assert volume(ocean, cover, thickness) == pytest.approx(before, rel=1e-12)
    assert torch.isfinite(thickness).all()


def test_area_is_conserved_where_the_cover_stays_open(ocean):
    cover, thickness = ice(ocean, 3)
    cover = 0.3 * cover
    after, _ = transport_ice(cover, thickness, *drift(ocean, 5, 0.4), DT, ocean.surface)
    assert after.max() < 1
    area = ocean.surface.area
    assert float((after * area).sum()) == pytest.approx(float((cover * area).sum()), rel=1e-12)


def test_uniform_thickness_stays_uniform_where_the_cover_stays_open(ocean):
    cover = ocean.surface.clean(0.3 * ocean.field(3)[:1].sigmoid())
    thickness = torch.full_like(cover, 2.0)
    after, moved = transport_ice(cover, thickness, *drift(ocean, 5, 0.4), DT, ocean.surface)
    assert torch.allclose(moved[after > 0], torch.tensor(2.0, dtype=torch.float64), rtol=1e-12)


def test_a_cell_that_empties_keeps_no_negative_rest(make_ocean):
    """Round-off may leave a little less than nothing of what leaves within one step."""
    ocean = make_ocean("aquaplanet")
    g = ocean.surface
    whole = g.area[:, :1] / (DT * g.length_u)
    u = torch.where(g.u_open, whole, 0.0)
    cover = torch.zeros(1, *ocean.grid.shape[1:], dtype=torch.float64)
    cover[..., ::3] = 0.1 + 0.9 * ocean.field(9)[:1, :, ::3].sigmoid()
    thickness = torch.where(cover > 0, 2.0, 0.0)
    v = torch.zeros(g.v_open.shape, dtype=torch.float64)
    after, moved = transport_ice(cover, thickness, u, v, DT, g)
    assert torch.allclose(after, cover.roll(1, -1), rtol=1e-12, atol=1e-15)
    assert after.min() >= 0 and moved.min() >= 0 and torch.isfinite(moved).all()


def test_a_full_cover_that_converges_grows_thicker(make_ocean):
    ocean = make_ocean("basin")
    cover = ocean.surface.clean(torch.ones(1, *ocean.grid.shape[1:], dtype=torch.float64))
    after, thickness = transport_ice(cover, cover, *drift(ocean, 7), DT, ocean.surface)
    assert after.max() == 1.0
    assert thickness.max() > 1.0 + 1e-3
    assert thickness[after == 1].min() >= 1.0 - 1e-12


def test_gradients_are_finite_with_open_water_and_at_rest(ocean):
    cover, thickness = (x.requires_grad_() for x in ice(ocean, 1))
    g = ocean.surface
    u = torch.zeros(g.u_open.shape, dtype=torch.float64, requires_grad=True)
    v = torch.zeros(g.v_open.shape, dtype=torch.float64, requires_grad=True)
    after, moved = transport_ice(cover, thickness, u, v, DT, g)
    (after.square().sum() + moved.square().sum()).backward()
    for x in (cover, thickness, u, v):
        assert torch.isfinite(x.grad).all()


def test_gradcheck(make_ocean):
    ocean = make_ocean("basin")
    g = ocean.surface
    cover = g.clean(0.2 + 0.4 * ocean.field(1)[:1].sigmoid())
    inputs = [x.requires_grad_() for x in (cover, g.clean(1 + cover), *drift(ocean, 5, 0.4))]

    def move(cover, thickness, u, v):
        u, v = torch.where(g.u_open, u, 0.0), torch.where(g.v_open, v, 0.0)
        return transport_ice(g.clean(cover), g.clean(thickness), u, v, DT, g)

    with torch.no_grad():
        assert move(*inputs)[0].max() < 1  # below the ridging of a full cover
    # steps so small that no velocity changes its sign
    assert torch.autograd.gradcheck(move, inputs, eps=1e-7, atol=1e-6, fast_mode=True)
