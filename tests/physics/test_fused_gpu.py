"""The GPU kernels against the plain day.

Without a GPU they run in Triton's interpreter, program by program on the CPU: that shows the
equations, the masks and the edges of tiles. That they are accepted by the compiler is shown by
compiling them for a GPU that is not there. Races, speed and the rounding of a GPU's fused
multiply-adds are seen on a GPU alone, by the tests at the end.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from hybridom.config import SkeletonConfig
from hybridom.grid import Grid
from hybridom.physics.fused.types import Metrics, Settings, Start
from hybridom.physics.skeleton import Skeleton
from hybridom.physics.vorticity import relative_vorticity
from hybridom.state import OceanState

triton = pytest.importorskip("triton", reason="needs the package triton, which is for Linux alone")

PACKAGE = "hybridom.physics.fused"
DEPTHS = (5.0, 30.0, 120.0)
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@contextmanager
def imported_anew() -> Iterator[None]:
    """Imports of the kernels inside start afresh, and leave no trace for other tests."""
    package = importlib.import_module(PACKAGE)
    names = [path.stem for path in Path(package.__file__).parent.glob("gpu*.py")]
    modules = {n: sys.modules.pop(f"{PACKAGE}.{n}", None) for n in names}
    attributes = {n: vars(package).pop(n, None) for n in names}
    try:
        yield
    finally:
        for n in names:
            sys.modules.pop(f"{PACKAGE}.{n}", None)
            vars(package).pop(n, None)
        sys.modules.update({f"{PACKAGE}.{n}": m for n, m in modules.items() if m is not None})
        vars(package).update({n: m for n, m in attributes.items() if m is not None})


@pytest.fixture(scope="module")
def interpreted():
    """The kernels as Triton's interpreter runs them on CPU tensors."""
    with imported_anew(), pytest.MonkeyPatch.context() as patch:
        # read when a kernel is defined, and not later
        patch.setenv("TRITON_INTERPRET", "1")
        return importlib.import_module(f"{PACKAGE}.gpu")


@pytest.fixture
def gpu(interpreted, monkeypatch):
    """`interpreted` with one tile for a level of the small oceans, and NaN in new memory."""
    monkeypatch.setattr(interpreted.gpu_forward.gpu_stages, "TILE", (8, 32))
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield interpreted
    torch.use_deterministic_algorithms(before)


@pytest.fixture(scope="session")
def channel(make_ocean):
    """Periodic, 3 x 5 x 24 cells, with an island, a seamount and a step on the seam."""
    grid = Grid.regular(15.0, (-37.5, 37.5), (-180.0, 180.0), DEPTHS)
    wet = np.ones(grid.shape, dtype=bool)
    wet[:, 2, 8:10], wet[1:, 1:3, 15:18], wet[2:, 3:, -1] = False, False, False
    return make_ocean("channel", grid, wet)


@pytest.fixture(scope="session")
def basin(make_ocean):
    """Not periodic, 3 x 5 x 8 cells, with a shelf and land in a corner."""
    grid = Grid.regular(4.0, (10.0, 30.0), (-60.0, -28.0), DEPTHS)
    wet = np.ones(grid.shape, dtype=bool)
    wet[2:, :, 1], wet[:, 3:, :2] = False, False
    return make_ocean("basin", grid, wet)


@pytest.fixture(scope="session")
def puddle(make_ocean):
    """Not periodic, 1 x 2 x 3 cells, all wet."""
    return make_ocean("puddle", Grid.regular(4.0, (10.0, 18.0), (0.0, 12.0), (5.0,)))


class Case:
    """A day of one ocean: the leaves that it depends on, and its plain and its fused form."""

    def __init__(self, ocean, config, batch=1, dtype=torch.float64, device="cpu", state=None):
        self.core = Skeleton(ocean.grid, ocean.wet, config, dtype).to(device)
        state = state or ocean.state(3, batch, dt=self.core.dt)
        state = state.to(dtype).to(device)
        land = ~self.core.geometry.wet
        source = self.core.surface.clean(1e-12 * ocean.field(9, batch)[:, :1].to(device))[:, 0]
        dirty = [x.masked_fill(land, torch.nan) for x in (state.thetao, state.so)]
        fields = (*dirty, state.uo, state.vo, state.zos, source.to(dtype))
        self.leaves = [x.clone().requires_grad_() for x in fields]
        self.cotangents = [
            (scale * ocean.field(20 + n, batch)).to(device, dtype).masked_fill(land, 0.0)
            for n, scale in enumerate((1.0, 1.0, 1e6))
        ]

    def plain(self):
        *fields, source = self.leaves
        return self.core._plain_day(OceanState(*fields), source)[:3]

    def start(self) -> Start:
        *fields, source = self.leaves
        _, _, zos, u, v, w = self.core._prepare(OceanState(*fields))
        zeta = relative_vorticity(u, v, self.core.geometry)
        return Start(*fields[:2], zeta, u, v, w, zos, source)

    def grid_and_settings(self) -> tuple[Metrics, Settings]:
        return Metrics(*self.core.fused._tables()), self.core.fused.settings

    def fused(self, kernels):
        return March.apply(
            kernels, *self.grid_and_settings(), ~self.core.geometry.wet, *self.start()
        )

    def gradients(self, results):
        return torch.autograd.grad(results, self.leaves, self.cotangents, materialize_grads=True)


class March(torch.autograd.Function):
    """The kernels as a differentiable function; what arrives on land in reverse is NaN."""

    @staticmethod
    def forward(ctx, kernels, metrics, settings, land, *start):
        ctx.save_for_backward(*start)
        ctx.rest = kernels, metrics, settings, land
        return kernels.march(Start(*start), metrics, settings)

    @staticmethod
    def backward(ctx, *grads):
        kernels, metrics, settings, land = ctx.rest
        dirty = tuple(g.masked_fill(land, torch.nan) for g in grads)
        found = kernels.march_adjoint(dirty, Start(*ctx.saved_tensors), metrics, settings)
        assert [x.shape for x in found] == [x.shape for x in ctx.saved_tensors]
        return None, None, None, None, *found


def assert_close(found, expected, tolerance):
    for n, (a, b) in enumerate(zip(found, expected, strict=True)):
        assert (a - b).abs().max() <= tolerance * b.abs().max(), f"result {n}"


def check(case, kernels):
    """A day and its derivatives, to the round-off of float64."""
    fused, plain = case.fused(kernels), case.plain()
    assert_close(fused, plain, 1e-12)
    assert_close(case.gradients(fused), case.gradients(plain), 1e-11)


@pytest.mark.parametrize(
    "name, config",
    [
        ("channel", SkeletonConfig(substeps=3)),
        ("channel", SkeletonConfig(substeps=1, scheme="rk3", advection="tvd")),
        ("basin", SkeletonConfig(substeps=1, scheme="rk3")),
        ("basin", SkeletonConfig(substeps=2, advection="tvd", boundaries="open")),
        ("puddle", SkeletonConfig(substeps=2, advection="tvd")),
        ("puddle", SkeletonConfig(substeps=1, scheme="rk3", boundaries="open")),
    ],
    ids=lambda x: x if isinstance(x, str) else f"{x.scheme}-{x.advection}-{x.boundaries}",
)
def test_a_day_and_its_adjoint_are_those_of_the_plain_form(gpu, request, name, config):
    check(Case(request.getfixturevalue(name), config), gpu)


@pytest.mark.parametrize(
    "off",
    [
        {"geostrophic_advection": False},
        {"planetary": False},
        {"geostrophic_advection": False, "planetary": False},
        {"geostrophic_advection": False, "viscosity": False},
        {"stretching": False},
    ],
    ids="-".join,
)
def test_each_term_can_be_off(gpu, basin, off):
    check(Case(basin, SkeletonConfig(substeps=1, **off)), gpu)


def test_tiles_and_windows_meet_without_a_seam(gpu, channel, puddle, monkeypatch):
    """Two by two tiles, the last ones cut by the edge of the grid, in each of two windows."""
    stages = gpu.gpu_forward.gpu_stages
    monkeypatch.setattr(stages, "CELLS", 4)
    monkeypatch.setattr(stages, "TILE", (1, 2))
    check(Case(puddle, SkeletonConfig(substeps=1), batch=2), gpu)
    monkeypatch.setattr(stages, "CELLS", 32)
    monkeypatch.setattr(stages, "TILE", (4, 16))
    with torch.no_grad():
        case = Case(channel, SkeletonConfig(substeps=1), batch=2)
        assert_close(case.fused(gpu), case.plain(), 1e-12)


def test_derivatives_of_an_ocean_at_rest_are_those_of_the_plain_form(gpu, basin):
    """Every transport is zero, and the upwind side a convention."""
    check(Case(basin, SkeletonConfig(substeps=1), state=basin.rest()), gpu)


@pytest.mark.parametrize("name", ["channel", "basin"])
def test_single_precision_agrees_with_the_plain_form(gpu, request, name):
    case = Case(request.getfixturevalue(name), SkeletonConfig(substeps=3), dtype=torch.float32)
    with torch.no_grad():
        results = case.fused(gpu)
        assert_close(results, case.plain(), 2e-6)
    assert all(x.dtype == torch.float32 for x in results)


class NoGPU:
    """What Triton's compiler asks of a driver, for an H100 that is not there."""

    def get_current_target(self):
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", 90, 32)

    def get_current_device(self):
        # a number of its own: the kernels of a GPU that is there are kept under others
        return 99

    def get_current_stream(self, device):
        return 0


@pytest.mark.parametrize(
    "config, dtype",
    [
        (SkeletonConfig(substeps=2), torch.float32),
        (SkeletonConfig(substeps=1, advection="tvd"), torch.float64),
    ],
    ids=["float32", "float64"],
)
def test_the_kernels_compile_for_a_gpu(monkeypatch, tmp_path, puddle, config, dtype):
    compiled = []
    run = triton.runtime.jit.JITFunction.run

    def compile_only(kernel, *args, **options):
        found = run(kernel, *args, **{**options, "warmup": True})
        compiled.append((kernel.__name__, found))

    monkeypatch.setattr(triton.runtime.jit.JITFunction, "run", compile_only)
    monkeypatch.setattr(triton.runtime.driver, "_active", NoGPU())
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    case = Case(puddle, config, dtype=dtype)
    start = Start(*(x.detach() for x in case.start()))
    with imported_anew():
        gpu = importlib.import_module(f"{PACKAGE}.gpu")
        gpu.march(start, *case.grid_and_settings())
        gpu.march_adjoint(start[:3], start, *case.grid_and_settings())
    assert len({name for name, _ in compiled}) == 5
    other = "f64" if dtype == torch.float32 else "f32"
    for name, kernel in compiled:
        assert kernel.asm["cubin"], name
        assert kernel.metadata.shared == 0, f"{name}: threads exchange values"
        rounded = re.search(rf"\b(add|sub|mul|fma|cvt)\S*\.{other}", kernel.asm["ptx"])
        assert rounded is None, f"{name}: arithmetic in another precision: {rounded}"


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("advection", ["upwind", "tvd"])
@pytest.mark.parametrize("scheme", ["ab2", "rk3"])
def test_a_day_on_a_gpu_is_that_of_the_plain_form(ocean, scheme, advection):
    from hybridom.physics.fused import gpu

    config = SkeletonConfig(scheme=scheme, advection=advection)
    check(Case(ocean, config, batch=2, device="cuda"), gpu)
    single = Case(ocean, config, batch=2, dtype=torch.float32, device="cuda")
    with torch.no_grad():
        assert_close(single.fused(gpu), single.plain(), 2e-6)


@pytest.mark.gpu
@on_gpu
def test_the_skeleton_on_a_gpu_takes_the_kernels(ocean):
    results = []
    for kernels in ("fused", "plain"):
        core = Skeleton(ocean.grid, ocean.wet, SkeletonConfig(kernels=kernels), torch.float64)
        state = ocean.state(3).to("cuda").map(lambda x: x.requires_grad_())
        wind = ocean.forcing(3).to("cuda")
        after = core.to("cuda")(state, wind, wind)
        fields = (after.thetao, after.so, 1e6 * after.vorticity)
        total = sum(x.square().sum() for x in fields)
        leaves = [x for _, x in state.items()]
        results.append((*fields, *torch.autograd.grad(total, leaves)))
    assert_close(*results, 1e-11)


@pytest.mark.gpu
@on_gpu
def test_a_day_on_a_gpu_is_launches_alone(ocean):
    """It never waits for the host, gives the same bits every time, and can be a graph."""
    from hybridom.physics.fused import gpu

    case = Case(ocean, SkeletonConfig(), device="cuda")
    other = Case(ocean, SkeletonConfig(), device="cuda", state=ocean.state(30, 1))
    start, after = (Start(*(x.detach() for x in c.start())) for c in (case, other))

    def day(start):
        rest = case.grid_and_settings()
        return (*gpu.march(start, *rest), *gpu.march_adjoint(case.cotangents, start, *rest))

    once = day(start)
    torch.cuda.synchronize()
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        again = day(start)
    finally:
        torch.cuda.set_sync_debug_mode(before)
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))

    place = Start(*(x.clone() for x in start))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = day(place)
    for x, y in zip(place, after, strict=True):
        x.copy_(y)
    graph.replay()
    assert all(torch.equal(a, b) for a, b in zip(results, day(after), strict=True))
