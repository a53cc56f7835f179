"""Gradients of the skeleton's day, its precision, and its freedom from host synchronisation."""

from __future__ import annotations

import itertools

import pytest
import torch

from hybridom.config import SkeletonConfig
from hybridom.physics.skeleton import Skeleton
from hybridom.state import OceanState


def probe(core, state, forcing):
    """Fields after the day, in units in which they are of like size."""
    after = core(state, forcing, forcing)
    return after.thetao, after.so, 10 * after.zos, 1e6 * after.vorticity


def weigh(parts):
    return sum(
        (x * torch.cos(torch.arange(x.numel(), dtype=x.dtype)).view_as(x)).sum() for x in parts
    )


def test_gradients_over_twelve_substeps_equal_finite_differences(ocean, config, make_skeleton):
    core, forcing = make_skeleton(ocean, config), ocean.forcing(12, 1)
    assert core.config.substeps == 12
    state = ocean.state(12, batch=1).map(lambda x: x.requires_grad_())
    leaves = [x for _, x in state.items()]
    gradients = torch.autograd.grad(weigh(probe(core, state, forcing)), leaves)
    # steps that lose few digits to round-off and meet few kinks of the upwind switch and limiter
    steps = (1e-7, 1e-7, 1e-8, 1e-8, 1e-7)
    for leaf, gradient, step, seed in zip(leaves, gradients, steps, itertools.count(50)):
        direction = ocean.field(seed, 1)
        direction = direction if leaf.dim() == 4 else direction[:, 0]
        with torch.no_grad():
            high, low = (
                probe(
                    core,
                    OceanState(*(x if x is not leaf else x + h * direction for x in leaves)),
                    forcing,
                )
                for h in (step, -step)
            )
        numeric = weigh([a - b for a, b in zip(high, low, strict=True)]) / (2 * step)
        contributions = gradient * direction
        assert abs(contributions.sum() - numeric) < 1e-6 * contributions.norm()


def test_gradients_are_finite_at_rest_at_coasts_and_on_the_equator(ocean, config, make_skeleton):
    state = ocean.rest()
    dirty = state.map(
        lambda x: torch.where(
            ocean.geometry.wet if x.dim() == 4 else ocean.surface.wet, x, float("nan")
        ).requires_grad_()
    )
    wind = ocean.calm().map(lambda x: x.clone().requires_grad_())
    weigh(probe(make_skeleton(ocean, config), dirty, wind)).backward()
    for name, x in dirty.items():
        assert torch.isfinite(x.grad).all(), name
        land = ~(ocean.geometry.wet if x.dim() == 4 else ocean.surface.wet)
        assert not x.grad[land.expand_as(x)].any(), f"{name} on land has a gradient"
        assert x.grad.any(), f"{name} does not reach the day"
    assert all(torch.isfinite(x.grad).all() for x in wind.fields.values())


def test_single_precision_agrees_with_double(ocean, config, make_skeleton):
    state, forcing = ocean.state(10), ocean.forcing(10)
    double = vars(make_skeleton(ocean, config)(state, forcing, forcing))
    wind = forcing.to(torch.float32)
    single = make_skeleton(ocean, config, torch.float32)(state.to(torch.float32), wind, wind)
    # pressure carries 1e5 Pa, whose differences turn into vorticity: looser than for tracers
    tolerance = {"thetao": 2e-6, "so": 2e-6, "zos": 1e-6, "vorticity": 1e-4}
    for name, x in double.items():
        found = getattr(single, name)
        assert found.dtype == torch.float32
        assert (found - x).abs().max() < tolerance[name] * x.abs().max(), name


def compiled_and_eager(ocean, core, backend):
    """Gradients, then fields after the day, from the compiled and from the eager form."""
    wind, results = ocean.forcing(3), []
    compiled = torch.compile(core, fullgraph=True, backend=backend)
    for form in (compiled, core):
        state = ocean.state(14).map(lambda x: x.requires_grad_())
        parts = probe(form, state, wind)
        weigh(parts).backward()
        results.append([*(x.grad for _, x in state.items()), *(x.detach() for x in parts)])
    torch.compiler.reset()
    return zip(*results, strict=True)


def test_compiled_graphs_are_whole_and_equal_the_eager_form(make_ocean, make_skeleton):
    ocean = make_ocean("realistic")
    config = SkeletonConfig(substeps=2, advection="tvd", sea_surface="continuity")
    core = make_skeleton(ocean, config)
    for compiled, eager in compiled_and_eager(ocean, core, "aot_eager"):
        # the same operations, but gradients of a field with several uses add up in another order
        assert (compiled - eager).abs().max() <= 1e-13 * eager.abs().max()


@pytest.mark.slow  # C++ is generated and compiled
def test_generated_code_equals_the_eager_form(make_ocean, make_skeleton):
    ocean = make_ocean("realistic")
    core = make_skeleton(ocean, SkeletonConfig(substeps=2))
    for compiled, eager in compiled_and_eager(ocean, core, "inductor"):
        assert (compiled - eager).abs().max() <= 1e-12 * eager.abs().max()


def test_nothing_waits_for_a_value_on_the_host(make_ocean):
    """Meta tensors have shapes and no values: any `.item()` or boolean index fails on them."""
    ocean = make_ocean("realistic")
    config = SkeletonConfig(advection="tvd", substeps=2)
    core = Skeleton(ocean.grid, ocean.wet, config, torch.float64).to("meta")
    wind = ocean.forcing(1).to("meta")
    after = core(ocean.state(1).to("meta"), wind, wind)
    assert after.vorticity.shape == (2, *ocean.grid.shape)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_agrees_with_cpu(ocean, config):
    core = Skeleton(ocean.grid, ocean.wet, config, torch.float64)
    state, forcing = ocean.state(13), ocean.forcing(13)
    here = vars(core(state, forcing, forcing))
    wind = forcing.to("cuda")
    there = vars(core.to("cuda")(state.to("cuda"), wind, wind))
    for name, x in here.items():
        assert torch.allclose(there[name].cpu(), x, rtol=1e-11, atol=1e-11 * float(x.abs().max()))
