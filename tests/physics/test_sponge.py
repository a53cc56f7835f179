"""Relaxation at open edges: where it acts, how strongly, and what it leaves alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hybridom.config import SpongeConfig
from hybridom.errors import UserError
from hybridom.grid import Grid
from hybridom.masks import cells_to_open_edge
from hybridom.physics.sponge import Sponge, relaxation_rate
from hybridom.state import OceanState

WIDE = SpongeConfig(width=4, days=3.0)


def box(lat=(10.0, 50.0), lon=(-60.0, 0.0), step=4.0):
    return Grid.regular(step, lat, lon, (5.0, 50.0))


def sponge(ocean, config=WIDE):
    return Sponge(ocean.grid, ocean.wet, config, torch.float64)


def sea(grid):
    return np.ones((grid.ny, grid.nx), bool)


@pytest.fixture
def regions(make_ocean):
    """A box, a band around the globe, a sector from pole to pole, a coast of many forms."""
    coast = np.random.default_rng(3).random((1, 10, 15)) < 0.6
    coast[:, 0] = False
    deep = np.concatenate([coast, coast & (np.arange(15) > 4)])
    return [
        make_ocean("box", grid=box()),
        make_ocean("band", grid=box((-20.0, 20.0), (-180.0, 180.0))),
        make_ocean("sector", grid=box((-90.0, 90.0), (0.0, 60.0), 6.0)),
        make_ocean("coast", grid=box(), wet=deep),
    ]


def test_the_rate_falls_smoothly_from_the_edge_to_nothing():
    rate = relaxation_rate(box(), sea(box()), WIDE)
    expected = [math.cos(math.pi * n / 8) ** 2 / 3 for n in range(4)]
    np.testing.assert_allclose(rate[5, :4], expected, rtol=1e-14)
    np.testing.assert_allclose(rate[:4, 7], expected, rtol=1e-14)
    assert rate[5, 0] == 1 / 3 and not rate[4:-4, 4:-4].any()
    assert (np.diff(rate[5, :5]) < 0).all()
    assert np.array_equal(rate, rate[::-1]) and np.array_equal(rate, rate[:, ::-1])
    # the nearest edge counts where two are near
    assert rate[2, 1] == rate[1, 2] == rate[5, 1] and (rate[0] == 1 / 3).all()


@pytest.mark.parametrize("width", [1, 2, 5])
def test_as_many_cells_are_relaxed_as_the_width_says(width):
    rate = relaxation_rate(box(), sea(box()), SpongeConfig(width=width))
    relaxed = sea(box())
    relaxed[width:-width, width:-width] = False
    assert np.array_equal(rate > 0, relaxed)


def test_seams_and_poles_are_no_edges():
    band = box((-20.0, 20.0), (-180.0, 180.0))
    rate = relaxation_rate(band, sea(band), WIDE)
    assert (rate == rate[:, :1]).all() and rate[0, 0] > 0 == rate[5, 0]
    sector = box((-90.0, 90.0), (0.0, 60.0), 6.0)
    rate = relaxation_rate(sector, sea(sector), WIDE)
    assert (rate == rate[:1]).all() and rate[0, 0] > 0 == rate[0, 5]
    cap = box((50.0, 90.0))
    rate = relaxation_rate(cap, sea(cap), WIDE)
    assert rate[0, 7] == 1 / 3 and rate[-1, 7] == 0
    globe = box((-90.0, 90.0), (-180.0, 180.0), 10.0)
    assert not relaxation_rate(globe, sea(globe), WIDE).any()
    assert np.isinf(cells_to_open_edge(globe, sea(globe))).all()


def test_land_is_not_relaxed_and_closes_the_edge_that_it_lies_on():
    wet = sea(box())
    wet[:, 0] = False  # the west is a coast
    wet[4, 9] = False
    rate = relaxation_rate(box(), wet, WIDE)
    assert rate[5, 1] == 0, "no open edge is within reach"
    assert rate[1, 1] > 0, "the southern edge is"
    assert not rate[~wet].any() and rate[4, -1] > 0
    strait = np.zeros_like(wet)
    strait[:, 6:9] = True  # open in north and south alone
    assert np.array_equal(
        relaxation_rate(box(), strait, WIDE)[:, 7] > 0, [True] * 4 + [False] * 2 + [True] * 4
    )


def test_a_day_takes_away_the_part_that_the_equation_does(regions):
    for ocean in regions:
        s = sponge(ocean)
        rate = torch.as_tensor(relaxation_rate(ocean.grid, ocean.wet[0], WIDE))
        torch.testing.assert_close(s.strength, 1 - torch.exp(-rate), rtol=1e-12, atol=1e-15)
        assert s.strength.max() == pytest.approx(1 - math.exp(-1 / 3), rel=1e-12)


def test_many_days_towards_a_resting_outer_ocean_are_exact(regions):
    for ocean in regions:
        s, days = sponge(ocean), 7
        rate = torch.as_tensor(relaxation_rate(ocean.grid, ocean.wet[0], WIDE))
        first, outer = ocean.state(1), ocean.state(2)
        state = first
        for _ in range(days):
            state = s(state, outer)
        for name, x in state.items():
            there, start = getattr(outer, name), getattr(first, name)
            exact = there + torch.exp(-days * rate) * (start - there)
            wet = ocean.geometry.wet if x.dim() == 4 else ocean.surface.wet[0]
            error = (x - exact)[:, wet].abs().max()
            assert error < 1e-13 * exact.abs().max(), name


def test_two_time_scales_in_a_row_add_their_rates(regions):
    one, two = (SpongeConfig(width=4, days=d) for d in (2.0, 5.0))
    both = SpongeConfig(width=4, days=1 / (1 / 2 + 1 / 5))
    for ocean in regions:
        state, outer = ocean.state(1), ocean.state(2)
        stepwise = sponge(ocean, two)(sponge(ocean, one)(state, outer), outer)
        for name, x in sponge(ocean, both)(state, outer).items():
            torch.testing.assert_close(x, getattr(stepwise, name), rtol=1e-12, atol=1e-13)


def test_the_interior_and_land_keep_every_bit_whatever_the_outer_ocean_holds(regions):
    for ocean in regions:
        s = sponge(ocean)
        state = ocean.state(3).map(lambda x: torch.where(x > 0.01, x, -0.0))
        outer = ocean.state(4)
        for fill in (1e6, float("nan"), float("inf")):
            given = {}
            for name, x in outer.items():
                relaxed = s.relaxed if x.dim() == 4 else s.relaxed[0]
                given[name] = torch.where(relaxed, x, fill)
            after = s(state, OceanState(**given))
            for name, x in after.items():
                relaxed = s.relaxed if x.dim() == 4 else s.relaxed[0]
                kept = getattr(state, name)[:, ~relaxed]
                assert torch.equal(x[:, ~relaxed].view(torch.int64), kept.view(torch.int64)), name
                assert torch.isfinite(x).all()


def test_every_variable_is_drawn_to_the_outer_one(regions):
    for ocean in regions:
        s, state, outer = sponge(ocean), ocean.state(5), ocean.state(6)
        after = s(state, outer)
        for name, x in after.items():
            relaxed = s.relaxed if x.dim() == 4 else s.relaxed[0]
            before, there = getattr(state, name), getattr(outer, name)
            nearer = (x - there).abs() < (before - there).abs()
            assert nearer[:, relaxed].all() and relaxed.any(), name


def test_equal_oceans_and_uniform_fields_stay_as_they_are(regions):
    for ocean in regions:
        s, state = sponge(ocean), ocean.state(7)
        for name, x in s(state, state).items():
            assert torch.equal(x, getattr(state, name))
        uniform = state.map(lambda x: torch.full_like(x, 34.7))
        assert all(bool((x == 34.7).all()) for _, x in s(uniform, uniform).items())


@pytest.mark.parametrize("days", [1e-3, 0.05, 1.0, 30.0])
def test_the_result_lies_between_the_two_in_single_precision_too(regions, days):
    for ocean in regions:
        s = Sponge(ocean.grid, ocean.wet, SpongeConfig(width=4, days=days))
        state, outer = (ocean.state(n).to(torch.float32) for n in (8, 9))
        for name, x in s(state, outer).items():
            ends = torch.stack([getattr(state, name), getattr(outer, name)])
            assert (x >= ends.amin(0)).all() and (x <= ends.amax(0)).all()
        if days == 1e-3:
            edge = s.strength == 1
            assert edge.any() and torch.equal(s(state, outer).zos[:, edge], outer.zos[:, edge])


def test_rolling_and_mirroring_commute_with_the_sponge(make_ocean):
    wet = np.random.default_rng(5).random((1, 10, 90)) < 0.7
    grid = box((-20.0, 20.0), (-180.0, 180.0))
    wet = np.broadcast_to(wet, grid.shape)
    for turn in (lambda a: np.roll(a, 13, -1), lambda a: a[:, ::-1], lambda a: a[..., ::-1]):
        here = Sponge(grid, wet, WIDE).strength.numpy()
        there = Sponge(grid, turn(wet), WIDE).strength.numpy()
        assert np.array_equal(there, turn(here[None])[0]) and 0 < (here > 0).mean() < 1


def test_gradcheck(regions):
    for ocean in regions:
        s = sponge(ocean)
        state, outer = ocean.state(1, batch=1), ocean.state(2, batch=1)
        leaves = [x.requires_grad_() for pair in (state, outer) for _, x in pair.items()]
        assert torch.autograd.gradcheck(
            lambda *x, s=s: tuple(v for _, v in s(OceanState(*x[:5]), OceanState(*x[5:])).items()),
            leaves,
            fast_mode=True,
        )


def test_gradients_see_no_land(regions):
    ocean = regions[3]
    s = sponge(ocean)
    land = ~ocean.geometry.wet
    leaves = []
    for seed in (1, 2):
        dirty = ocean.state(seed).map(
            lambda x: torch.where(
                land if x.dim() == 4 else land[0], float("nan"), x
            ).requires_grad_()
        )
        leaves.append(dirty)
    after = s(*leaves)
    sum(
        torch.where(land if x.dim() == 4 else land[0], 0.0, x).sum() for _, x in after.items()
    ).backward()
    for state in leaves:
        for name, x in state.items():
            assert torch.isfinite(x.grad).all(), name
            assert not x.grad[..., land if x.dim() == 4 else land[0]].any(), name


@pytest.mark.parametrize(
    ("lat", "lon", "step", "width", "message"),
    [
        (
            (-90.0, 90.0),
            (-180.0, 180.0),
            10.0,
            3,
            "skeleton.sponge.width 3: a grid that goes around the globe from pole to pole has no "
            "edge; set it to 0",
        ),
        (
            (10.0, 50.0),
            (-60.0, 0.0),
            4.0,
            6,
            "skeleton.sponge.width 6: more than half of the 10 rows of the grid; set it to 5 or "
            "less",
        ),
        (
            (-90.0, 90.0),
            (0.0, 60.0),
            6.0,
            6,
            "skeleton.sponge.width 6: more than half of the 10 columns of the grid; set it to 5 "
            "or less",
        ),
    ],
)
def test_a_sponge_that_does_not_fit_is_refused(lat, lon, step, width, message):
    grid = box(lat, lon, step)
    with pytest.raises(UserError) as error:
        Sponge(grid, np.ones(grid.shape, bool), SpongeConfig(width=width))
    assert str(error.value) == message
    if width == 6:
        Sponge(grid, np.ones(grid.shape, bool), SpongeConfig(width=5))


def test_the_buffers_move_with_the_module_and_are_not_saved(regions):
    s = sponge(regions[0])
    assert not s.state_dict() and not list(s.parameters())
    moved = s.to("meta")
    state = regions[0].state(1).to("meta")
    assert moved(state, state).zos.device.type == "meta"
