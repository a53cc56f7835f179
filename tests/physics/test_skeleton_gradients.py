"""Gradients of the skeleton's day, its precision, and its freedom from host synchronisation."""

from __future__ import annotations

import itertools
from dataclasses import fields

import pytest
import torch

from hybridom.config import SkeletonConfig
from hybridom.physics.skeleton import Skeleton
from hybridom.state import OceanState

configurations = pytest.mark.parametrize(
    "config",
    [
        SkeletonConfig(),
        SkeletonConfig(advection="tvd", scheme="rk3", sea_surface="continuity"),
    ],
    ids=["published", "second-order"],
)


def skeleton(ocean, config=None, dtype=torch.float64):
    return Skeleton(ocean.grid, ocean.wet, config or SkeletonConfig(), dtype)


def outputs(result):
    return {f.name: getattr(result, f.name) for f in fields(result)}


def loss(core, state, forcing):
    after = core(state, forcing, forcing)
    parts = (after.thetao, after.so, 10 * after.zos, 1e6 * after.vorticity)
    return sum(
        (x * torch.cos(torch.arange(x.numel(), dtype=x.dtype)).view_as(x)).sum() for x in parts
    )


@configurations
@pytest.mark.parametrize("name", ["basin", "realistic"])
def test_gradients_over_twelve_substeps_equal_finite_differences(make_ocean, name, config):
    ocean = make_ocean(name)
    core, forcing = skeleton(ocean, config), ocean.forcing(12, 1)
    state = ocean.state(12, batch=1).map(lambda x: x.requires_grad_())
    leaves = [x for _, x in state.items()]
    gradients = torch.autograd.grad(loss(core, state, forcing), leaves)
    scales = (1.0, 1.0, 1e-2, 1e-2, 0.1)
    for leaf, gradient, scale, seed in zip(leaves, gradients, scales, itertools.count(50)):
        direction = scale * ocean.field(seed, 1)
        direction = direction if leaf.dim() == 4 else direction[:, 0]
        step = 1e-7
        values = []
        for sign in (1, -1):
            moved = [x if x is not leaf else x + sign * step * direction for x in leaves]
            with torch.no_grad():
                values.append(loss(core, OceanState(*moved), forcing))
        numeric = float(values[0] - values[1]) / (2 * step)
        assert float((gradient * direction).sum()) == pytest.approx(numeric, rel=2e-5)


@configurations
def test_gradients_are_finite_at_rest_at_coasts_and_on_the_equator(ocean, config):
    state = ocean.rest()
    dirty = state.map(
        lambda x: torch.where(
            ocean.geometry.wet if x.dim() == 4 else ocean.surface.wet, x, float("nan")
        ).requires_grad_()
    )
    wind = ocean.calm().map(lambda x: x.clone().requires_grad_())
    loss(skeleton(ocean, config), dirty, wind).backward()
    for name, x in dirty.items():
        assert torch.isfinite(x.grad).all(), name
        land = ~(ocean.geometry.wet if x.dim() == 4 else ocean.surface.wet)
        assert not x.grad[land.expand_as(x)].any(), f"{name} on land has a gradient"
    assert all(torch.isfinite(x.grad).all() for x in wind.fields.values())


def test_single_precision_agrees_with_double(ocean):
    state, forcing = ocean.state(10), ocean.forcing(10)
    double = outputs(skeleton(ocean)(state, forcing, forcing))
    single = outputs(
        skeleton(ocean, dtype=torch.float32)(
            state.to(torch.float32), forcing.to(torch.float32), forcing.to(torch.float32)
        )
    )
    # pressure carries 1e5 Pa, whose differences turn into vorticity: looser than for tracers
    tolerance = {"thetao": 2e-6, "so": 2e-6, "zos": 1e-6, "vorticity": 1e-4}
    for name, x in double.items():
        assert single[name].dtype == torch.float32
        assert (single[name] - x).abs().max() < tolerance[name] * x.abs().max(), name


def test_nothing_waits_for_a_value_on_the_host(make_ocean):
    """Meta tensors have shapes and no values: any `.item()` or boolean index fails on them."""
    ocean = make_ocean("realistic")
    core = skeleton(ocean, SkeletonConfig(advection="tvd", substeps=2)).to("meta")
    wind = ocean.forcing(1).to("meta")
    after = core(ocean.state(1).to("meta"), wind, wind)
    assert after.vorticity.shape == (2, *ocean.grid.shape)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_agrees_with_cpu(ocean):
    state, forcing = ocean.state(13), ocean.forcing(13)
    here = outputs(skeleton(ocean)(state, forcing, forcing))
    wind = forcing.to("cuda")
    there = outputs(skeleton(ocean).to("cuda")(state.to("cuda"), wind, wind))
    for name, x in here.items():
        assert torch.allclose(there[name].cpu(), x, rtol=1e-11, atol=1e-11 * float(x.abs().max()))
