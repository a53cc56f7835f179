"""The adjoint of the fused day against autograd of the plain form and against differences.

On the CPU: the two directions of the kernels are compiled for float64, and once for float32.
"""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from torch import Tensor

from hybridom.config import SkeletonConfig
from hybridom.grid import Grid
from hybridom.operators import Geometry
from hybridom.physics.advection import limited_fluxes, upwind_weights
from hybridom.physics.continuity import vertical_velocity
from hybridom.physics.fluxes import convergence, face_fluxes
from hybridom.physics.fused import cpu_adjoint, cpu_adjoint_path, operators, threads
from hybridom.physics.fused.types import Start
from hybridom.physics.skeleton import Skeleton
from hybridom.physics.time_integration import integrate
from hybridom.physics.vorticity import relative_vorticity

CONFIGURATIONS = {
    "ab2": {},
    "rk3": {"scheme": "rk3", "substeps": 5},
    "mixing": {
        "horizontal_diffusivity": 3e4,
        "vertical_diffusivity": 1e-3,
        "horizontal_viscosity": 5e4,
        "substeps": 3,
    },
    "open": {"boundaries": "open", "substeps": 4},
    "one substep": {"substeps": 1},
    "tracers alone": {
        "geostrophic_advection": False,
        "planetary": False,
        "stretching": False,
        "viscosity": False,
        "substeps": 2,
    },
    "planetary": {"geostrophic_advection": False, "stretching": False, "substeps": 2},
    "advection": {"planetary": False, "viscosity": False, "substeps": 2},
    "tvd": {"advection": "tvd"},
    "tvd rk3": {"advection": "tvd", "scheme": "rk3", "substeps": 2, "boundaries": "open"},
}


def skeleton(ocean, **options) -> Skeleton:
    return Skeleton(ocean.grid, ocean.wet, SkeletonConfig(**options), torch.float64)


def start_of(core: Skeleton, ocean, seed: int, batch: int = 1) -> Start:
    """Random fields with a flow that closes every layer."""
    geometry = core.geometry
    state, forcing = ocean.state(seed, batch), ocean.forcing(seed + 9, batch)
    u = geometry.interp_x_to_u(geometry.clean(state.uo))
    v = geometry.interp_y_to_v(geometry.clean(state.vo))
    w = vertical_velocity(u, v, geometry)
    zeta = relative_vorticity(u, v, geometry)
    zos = torch.where(geometry.wet[0], state.zos, 0.0)
    source = core._wind_source(forcing, forcing, state.zos)
    fields = (state.thetao, state.so, zeta, u, v, w, zos, source)
    return Start(*(x.contiguous() for x in fields))


def plain_march(core: Skeleton, start: Start) -> tuple[Tensor, Tensor, Tensor]:
    """The day of the plain form as a function of `start`, transport in advective form.

    That is -div(u c) + c div(u), which is equal for a flow that closes every layer, and the form
    that the kernels differentiate with respect to u, v and w.
    """
    geometry, config = core.geometry, core.config
    flow = upwind_weights(start.u, start.v, start.w, geometry)
    weights, viscosity = flow + core._mixing(), core._viscosity()
    steady = core._steady_vorticity_source(start.w, start.source)

    def tendency(fields):
        tracers, zeta = fields
        inflow = convergence(face_fluxes(torch.ones_like(tracers), flow, geometry), geometry)
        change = convergence(face_fluxes(tracers, weights, geometry), geometry) - tracers * inflow
        if config.advection == "tvd":
            change = change + convergence(limited_fluxes(tracers, flow, geometry), geometry)
        return change, steady + core._vorticity_tendency(zeta, tracers, start.zos, viscosity)

    tracers = torch.stack([geometry.clean(start.thetao), geometry.clean(start.so)])
    (tracers, zeta), _ = integrate(
        tendency, (tracers, start.vorticity), core.dt, config.substeps, config.scheme,
        offset=config.ab2_offset,
    )  # fmt: skip
    return tracers[0], tracers[1], zeta


def cotangents(core: Skeleton, batch: int) -> list[Tensor]:
    """Random derivatives with respect to the results, of the size of one over them."""
    generator = torch.Generator().manual_seed(7)
    wet = core.geometry.wet
    sizes = (1.0, 10.0, 1e5)
    shape = (batch, *wet.shape)
    fields = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in sizes)
    return [torch.where(wet, size * x, 0.0) for size, x in zip(sizes, fields, strict=True)]


def of_faces(gradients: Start, geometry: Geometry) -> Start:
    """Derivatives as the kernels give them: on open faces, of the seam in the last column."""
    u, w = gradients.u.clone(), gradients.w.clone()
    if geometry.periodic:
        u[..., -1] += u[..., 0]
    u[..., 0] = 0
    w[..., 1:, :, :] *= geometry.w_open[1:]
    return gradients._replace(u=u * geometry.u_open, v=gradients.v * geometry.v_open, w=w)


def derivatives(results: tuple[Tensor, ...], start: Start, out: list[Tensor]) -> Start:
    """Zero for fields that enter no term."""
    return Start(*torch.autograd.grad(results, start, out, materialize_grads=True))


def require_close(found: Start, expected: Start, tolerance: float) -> None:
    for name, a, b in zip(Start._fields, found, expected, strict=True):
        assert a.shape == b.shape, name
        assert (a - b).abs().max() <= tolerance * b.abs().max(), name


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_adjoint_equals_autograd_of_the_plain_form(ocean, name):
    core, batch = skeleton(ocean, **CONFIGURATIONS[name]), 2
    start = Start(*(x.requires_grad_() for x in start_of(core, ocean, 3, batch)))
    out = cotangents(core, batch)
    expected = derivatives(plain_march(core, start), start, out)
    found = torch.autograd.grad(core.fused.march(*start), start, out)
    require_close(Start(*found), of_faces(expected, core.geometry), 1e-11)


@pytest.mark.parametrize("only", range(3))
def test_each_result_has_its_own_derivatives(make_ocean, only):
    """Alone, no term can hide behind a larger one: vorticity reaches T and S by pressure."""
    ocean = make_ocean("realistic")
    core = skeleton(ocean, substeps=3)
    start = Start(*(x.requires_grad_() for x in start_of(core, ocean, 4)))
    out = cotangents(core, 1)[only : only + 1]
    expected = derivatives(plain_march(core, start)[only : only + 1], start, out)
    found = derivatives(core.fused.march(*start)[only : only + 1], start, out)
    reached = {name for name, x in zip(Start._fields, expected, strict=True) if x.any()}
    flow = {"u", "v", "w"}
    assert reached == ({"thetao", *flow}, {"so", *flow}, {*Start._fields})[only]
    require_close(found, of_faces(expected, core.geometry), 1e-11)


@pytest.mark.parametrize("options", [{}, {"boundaries": "open", "advection": "tvd"}])
def test_gradients_of_the_whole_day_are_those_of_the_plain_skeleton(ocean, options):
    """Through the faces and w, where the advective and the flux form have the same derivative."""
    forcing = ocean.forcing(2)
    found = {}
    for kernels in ("plain", "fused"):
        core = skeleton(ocean, kernels=kernels, sea_surface="continuity", **options)
        state = ocean.state(2).map(lambda x: x.clone().requires_grad_())
        after = core(state, forcing, forcing)
        results = (after.thetao, after.so, after.vorticity, after.zos)
        out = [*cotangents(core, 2), torch.ones_like(after.zos)]
        leaves = [x for _, x in state.items()]
        found[kernels] = torch.autograd.grad(results, leaves, out)
    for a, b in zip(found["fused"], found["plain"], strict=True):
        assert (a - b).abs().max() <= 1e-11 * b.abs().max()


SMALL = {
    # box with an island (and a sill below it), rows of centres on both sides of the equator
    "periodic": (Grid.regular(40.0, (-80.0, 80.0), depths=(5.0, 20.0)), (1, 2)),
    "closed": (Grid.regular(10.0, (20.0, 40.0), (0.0, 30.0), (5.0, 20.0)), (0, 0)),
    "open": (Grid.regular(10.0, (20.0, 50.0), (0.0, 40.0), (5.0, 20.0)), (1, 1)),
    "one level": (Grid.regular(10.0, (20.0, 40.0), (0.0, 30.0), (5.0,)), None),
}


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("options", [{}, {"scheme": "rk3"}, {"advection": "tvd"}])
def test_gradcheck_on_tiny_grids(make_ocean, name, options):
    grid, land = SMALL[name]
    wet = np.ones(grid.shape, dtype=bool)
    if land is not None:
        wet[:, land[0], land[1]] = False
        wet[1, land[0], land[1] + 1] = False
    ocean = make_ocean(grid=grid, wet=wet)
    boundaries = "open" if name == "open" else "closed"
    core = skeleton(ocean, substeps=2, boundaries=boundaries, **options)
    geometry = core.geometry
    start = start_of(core, ocean, 5)
    scales = [float(x.std()) + 1e-12 for x in start]

    def day(*parts: Tensor) -> tuple[Tensor, ...]:
        t, s, zeta, u, v, w, zos, source = (
            x + size * part for x, size, part in zip(start, scales, parts, strict=True)
        )
        if geometry.periodic:
            u = torch.cat([u[..., -1:], u[..., 1:]], dim=-1)
        wet, top = geometry.wet, geometry.wet[0]
        interfaces = torch.cat([top[None], geometry.w_open[1:]])
        out = core.fused.march(
            t, s, zeta * wet, u * geometry.u_flow, v * geometry.v_flow, w * interfaces, zos * top,
            source * top,
        )  # fmt: skip
        return tuple(x / size for x, size in zip(out, scales[:3], strict=True))

    parts = [torch.zeros_like(x).requires_grad_() for x in start]
    assert torch.autograd.gradcheck(day, parts, eps=1e-6, atol=1e-6, rtol=1e-6, fast_mode=True)


STEP = 1e-6  # of the sizes of the fields


# some cells cross a kink of the limiter within the step
@pytest.mark.parametrize("options, tolerance", [({}, 1e-6), ({"advection": "tvd"}, 1e-4)])
@pytest.mark.parametrize("name", ["basin", "realistic"])
def test_derivatives_over_twelve_substeps_are_finite_differences(
    make_ocean, name, options, tolerance
):
    ocean = make_ocean(name)
    core = skeleton(ocean, substeps=12, **options)
    start = Start(*(x.requires_grad_() for x in start_of(core, ocean, 6)))
    out = cotangents(core, 1)
    gradients = torch.autograd.grad(core.fused.march(*start), start, out)
    start = [x.detach() for x in start]
    # any other flow that closes the layers, and fields of the same size, are allowed directions
    other = start_of(core, ocean, 60)
    for names in (*zip(Start._fields[:3]), ("u", "v", "w"), ("zos",), ("source",)):
        direction = [
            d if name in names else torch.zeros_like(d)
            for name, d in zip(Start._fields, other, strict=True)
        ]
        after, before = (
            core.fused.march(*(x + step * d for x, d in zip(start, direction, strict=True)))
            for step in (STEP, -STEP)
        )
        changes = ((g * (a - b)).sum() for g, a, b in zip(out, after, before, strict=True))
        numeric = float(sum(changes)) / (2 * STEP)
        found = sum(float((g * d).sum()) for g, d in zip(gradients, direction, strict=True))
        assert found == pytest.approx(numeric, rel=tolerance), names


@pytest.mark.parametrize("options", [{}, {"scheme": "rk3", "substeps": 2, "advection": "tvd"}])
def test_nothing_on_land_reaches_a_derivative(make_ocean, options):
    ocean = make_ocean("realistic")
    core = skeleton(ocean, **options)
    wet = core.geometry.wet
    clean = start_of(core, ocean, 8)
    nan = float("nan")
    dirty = clean._replace(
        thetao=torch.where(wet, clean.thetao, nan), so=torch.where(wet, clean.so, nan)
    )
    out = cotangents(core, 1)
    dirty_out = [torch.where(wet, g, nan) for g in out]
    found = {}
    for key, start, grads in (("clean", clean, out), ("dirty", dirty, dirty_out)):
        leaves = Start(*(x.clone().requires_grad_() for x in start))
        found[key] = Start(*torch.autograd.grad(core.fused.march(*leaves), leaves, grads))
    for name, a, b in zip(Start._fields, found["dirty"], found["clean"], strict=True):
        assert torch.equal(a, b), name
    for x in found["dirty"][:3]:
        assert not x[..., ~wet].any()
    for x in found["dirty"][6:]:
        assert not x[..., ~wet[0]].any()


@pytest.mark.parametrize("options", [{}, {"advection": "tvd", "substeps": 2}])
def test_threads_and_bands_change_no_bit(make_ocean, monkeypatch, options):
    ocean = make_ocean("realistic")
    core = skeleton(ocean, **options)
    start, out = start_of(core, ocean, 9), cotangents(core, 1)
    tables = core.fused._tables()
    expected = operators.march_adjoint(*out, *start, *tables, *core.fused.settings)
    before = torch.get_num_threads()
    for band in (1, 3, 7):
        monkeypatch.setattr(cpu_adjoint, "BAND", band)
        for count in (1, 3):
            torch.set_num_threads(count)
            try:
                found = operators.march_adjoint(*out, *start, *tables, *core.fused.settings)
            finally:
                torch.set_num_threads(before)
            for name, a, b in zip(Start._fields, found, expected, strict=True):
                assert torch.equal(a, b), f"{name}, bands of {band} rows, {count} threads"


@pytest.mark.parametrize("options", [{"substeps": 14}, {"scheme": "rk3", "substeps": 5}])
def test_how_the_day_is_integrated_again_changes_no_bit(make_ocean, monkeypatch, options):
    core = skeleton(make_ocean("basin"), **options)
    start, out = start_of(core, make_ocean("basin"), 9), cotangents(core, 1)
    expected = None
    for kept, length in ((3, 24), (1, 24), (5, 3), (20, 6)):
        monkeypatch.setattr(cpu_adjoint, "KEPT", kept)
        monkeypatch.setattr(cpu_adjoint_path, "PASS", length)
        tables, settings = core.fused._tables(), core.fused.settings
        found = operators.march_adjoint(*out, *start, *tables, *settings)
        expected = expected or found
        for name, a, b in zip(Start._fields, found, expected, strict=True):
            assert torch.equal(a, b), f"{name}, {kept} states, passes of {length} stages"


def test_memory_does_not_grow_with_the_number_of_substeps(make_ocean):
    """NumPy's memory, in fields: what is kept of all stages would be three of them each."""
    ocean = make_ocean(grid=Grid.regular(3.0, (-60.0, 60.0), (0.0, 360.0), (5.0, 20.0, 60.0)))
    most = {}
    for substeps in (12, 24):
        core = skeleton(ocean, substeps=substeps)
        start, out = start_of(core, ocean, 10), cotangents(core, 1)
        arguments = (*out, *start, *core.fused._tables(), *core.fused.settings)
        operators.march_adjoint(*arguments)
        threads._workers.results.clear()
        tracemalloc.start()
        try:
            operators.march_adjoint(*arguments)
            most[substeps] = tracemalloc.get_traced_memory()[1] / start.thetao.nbytes
        finally:
            tracemalloc.stop()
    assert most[24] < most[12] + 1
    # 6 results, 3 derivatives beside them, 9 of states that are kept
    assert most[12] < 21


def test_single_precision_agrees_with_double(make_ocean):
    ocean = make_ocean("realistic")
    found = {}
    for dtype in (torch.float32, torch.float64):
        core = Skeleton(ocean.grid, ocean.wet, SkeletonConfig(), dtype)
        start = start_of(skeleton(ocean), ocean, 11)
        leaves = [x.to(dtype).requires_grad_() for x in start]
        out = [g.to(dtype) for g in cotangents(core, 1)]
        found[dtype] = torch.autograd.grad(core.fused.march(*leaves), leaves, out)
        assert all(x.dtype == dtype for x in found[dtype])
    for name, a, b in zip(Start._fields, *found.values(), strict=True):
        # u_g is a difference of pressures of 1e5 Pa, and decides which cell is upstream
        assert (a - b).abs().max() <= 1e-4 * b.abs().max(), name


def test_operators_are_what_pytorch_expects(make_ocean):
    ocean = make_ocean("basin")
    core = skeleton(ocean, substeps=2)
    geometry, fused = core.geometry, core.fused
    start = [x.requires_grad_() for x in start_of(core, ocean, 12)]
    tables = fused._tables()
    torch.library.opcheck(operators.march, (*start, *tables, *fused.settings))
    plain = [x.detach() for x in start]
    out = cotangents(core, 1)
    torch.library.opcheck(operators.march_adjoint, (*out, *plain, *tables, *fused.settings))
    uo, vo = (ocean.field(n, 1).requires_grad_() for n in range(2))
    faces = (geometry.u_flow, geometry.v_flow, geometry.corner_open)
    options = (*faces, *tables, fused.settings.periodic)
    torch.library.opcheck(operators.flow, (uo, vo, *options))
    grads = [torch.randn_like(x) for x in (*plain[3:6], plain[2])]
    torch.library.opcheck(operators.flow_adjoint, (*grads, *options))
