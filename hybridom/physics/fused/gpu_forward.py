"""The substeps of a day on a GPU: two kernels for every stage of the time scheme.

The pressure kernel sums density down each column. The stage kernel works on all cells at once: it
reads the neighbourhood of each, and writes the fields after the stage, and their tendencies if the
next stage wants them. Fields that pass the memory of the GPU in a stage, where every array is read
once and neighbours come from the cache:

- pressure, if a term needs it: reads T, S and flags (1/4), writes p;
- stage: reads T, S, zeta, p, u, v, w, flags (1/4) and the three former tendencies (`ab2`) or three
  older fields (two of three stages of `rk3`), writes T, S, zeta and (`ab2`) three tendencies.

A substep of `ab2` is 19.5 fields, against 14.25 for the least one-pass form. Land is neither read
nor written, except for zeros at the end of the day.
"""

# The arguments of kernels have no types that mypy knows.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from hybridom import constants
from hybridom.physics.fused import gpu_stages
from hybridom.physics.fused.gpu_density import density
from hybridom.physics.fused.gpu_limited import (
    differences,
    limited_inflow,
    neighbours_but_one,
    vertical_shares,
)
from hybridom.physics.fused.gpu_stages import Stage
from hybridom.physics.fused.gpu_stencil import (
    AREA_INVERSE,
    BELOW_LEVEL,
    BETA,
    CORIOLIS,
    DEPTH,
    DZ,
    DZ_INVERSE,
    WET,
    faces_of_window,
    first_faces,
    geostrophic_transports,
    geostrophic_v,
    has,
    inflow,
    mixing_rates,
    neighbours,
    of_level,
    of_row,
    place,
    read,
    read_around,
    transports,
    write,
)
from hybridom.physics.fused.types import Metrics, Settings, Start

Fields = tuple[Tensor, Tensor, Tensor]

GRAVITY, RHO_0 = tl.constexpr(constants.GRAVITY), tl.constexpr(constants.RHO_0)


@triton.jit
def pressure_kernel(fields, zos, pressure, flags, levels, nz, plane, CELLS: tl.constexpr):
    """Pressure of wet cells, by the running sum of `pressure.hydrostatic_pressure`.

    Each program takes CELLS columns of a window down through the levels. The next level is read
    before this one is written, so that reads of two levels are under way at a time.
    """
    at = tl.program_id(0) * CELLS + tl.arange(0, CELLS)
    window = tl.program_id(1).to(tl.int64)
    thetao, so = fields[0] + window * (nz * plane), fields[1] + window * (nz * plane)
    pressure += window * (nz * plane)
    wet = has(flags, at, at < plane, WET)
    surface = GRAVITY * RHO_0 * read(zos + window * plane, at, wet)
    t, s = read(thetao, at, wet), read(so, at, wet)
    total = tl.full((CELLS,), 0.0, thetao.dtype.element_ty)
    for k in range(nz):
        wet_below = has(flags, at + plane, wet & (k + 1 < nz), WET)
        t_below, s_below = read(thetao, at + plane, wet_below), read(so, at + plane, wet_below)
        rho = density(t, s, tl.load(levels + DEPTH * nz + k))
        total += rho * tl.load(levels + DZ * nz + k)
        below_level = rho * tl.load(levels + BELOW_LEVEL * nz + k)
        tl.store(pressure + at, surface + GRAVITY * (total - below_level), mask=wet)
        wet, t, s = wet_below, t_below, s_below
        at += plane


@triton.jit
def tracer_tendency(
    field, flags, levels, at, around, is_open, wet, x, mixing, k, j, i, nz, nx, per_area, per_dz,
    TVD: tl.constexpr,
):  # fmt: skip
    """-div(u c*) + div(K grad c) of a tracer, per second, and the tracer itself."""
    c, near = read(field, at, wet), read_around(field, at, around, is_open)
    lateral = inflow(near[0], c, near[1], x[0], x[1], mixing[0], mixing[1])
    lateral += inflow(near[2], c, near[3], x[2], x[3], mixing[2], mixing[3])
    vertical = inflow(near[4], c, near[5], x[4], x[5], mixing[4], mixing[5])
    if TVD:
        around_2, open_2 = neighbours_but_one(flags, at, around, is_open, k, j, i, nx)
        far = read_around(field, at, around_2, open_2)
        zonal = differences(c, near, far, is_open, open_2, 0)
        lateral += limited_inflow(zonal, x[0], x[1], (1.0, 1.0, 1.0))
        meridional = differences(c, near, far, is_open, open_2, 2)
        lateral += limited_inflow(meridional, x[2], x[3], (1.0, 1.0, 1.0))
        upward = differences(c, near, far, is_open, open_2, 4)
        vertical += limited_inflow(upward, x[4], x[5], vertical_shares(levels, k, nz))
    return c, lateral * per_area + vertical * per_dz


@triton.jit
def vorticity_tendency(
    zeta, p, flags, rows, levels, at, wet, around, is_open, k, j, nz, ny, nx, per_area,
    VISCOSITY: tl.constexpr, ADVECTION: tl.constexpr, PLANETARY: tl.constexpr,
):  # fmt: skip
    """The terms of the vorticity equation that follow the evolving fields, s-2, and vorticity."""
    c = read(zeta, at, wet)
    tendency = tl.full(c.shape, 0.0, c.dtype)
    if ADVECTION or VISCOSITY != 0:
        near = read_around(zeta, at, around, is_open)
        mixing = mixing_rates(rows, levels, is_open, k, j, nz, ny, VISCOSITY, 0.0)
        if ADVECTION:
            x_w, x_e, y_s, y_n, v = geostrophic_transports(
                p, flags, rows, at, wet, around, is_open, j, ny, nx
            )
            tendency += inflow(near[0], c, near[1], x_w, x_e, mixing[0], mixing[1])
            tendency += inflow(near[2], c, near[3], y_s, y_n, mixing[2], mixing[3])
        else:
            tendency += mixing[0] * (near[0] - c) + mixing[1] * (near[1] - c)
            tendency += mixing[2] * (near[2] - c) + mixing[3] * (near[3] - c)
        tendency *= per_area
    if PLANETARY:
        if not ADVECTION:
            v = geostrophic_v(p, rows, at, wet, around, is_open, j, ny)
        tendency -= of_row(rows, BETA, j, ny) * v
    return c, tendency


@triton.jit
def finish(
    c, tendency, older, former, result, at, inside, wet, NEWEST: tl.constexpr,
    TENDENCY: tl.constexpr, FORMER: tl.constexpr, OLDER: tl.constexpr, KEEP: tl.constexpr,
    LAST: tl.constexpr,
):  # fmt: skip
    """Write a field after the stage, and its tendency over the former one."""
    new = NEWEST * c + TENDENCY * tendency
    if FORMER != 0:
        new += FORMER * read(former, at, wet)
    if OLDER != 0:
        new += OLDER * read(older, at, wet)
    if KEEP:
        tl.store(former + at, tendency, mask=wet)
    write(result, new, at, inside, wet, LAST)


@triton.jit
def stage_kernel(
    fields, older, former, result, pressure, flow, source, flags, rows, levels, nz, ny, nx,
    NEWEST: tl.constexpr, TENDENCY: tl.constexpr, FORMER: tl.constexpr, OLDER: tl.constexpr,
    LATERAL: tl.constexpr, VERTICAL: tl.constexpr, VISCOSITY: tl.constexpr, TVD: tl.constexpr,
    ADVECTION: tl.constexpr, PLANETARY: tl.constexpr, STRETCHING: tl.constexpr,
    KEEP: tl.constexpr, LAST: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """One stage of `gpu_stages.Stage` for temperature, salinity and vorticity."""
    window, k, j, i = place(nz, ny, nx, ROWS, COLUMNS)
    shift = window * (nz * ny * nx)
    at, wet, around, is_open = neighbours(flags, k, j, i, ny, nx)
    inside = (j < ny) & (i < nx)
    per_area, per_dz = of_row(rows, AREA_INVERSE, j, ny), of_level(levels, DZ_INVERSE, k, nz)
    flow = faces_of_window(flow, window, nz, ny, nx)
    x = transports(flow, rows, is_open, k, j, i, ny, nx)
    mixing = mixing_rates(rows, levels, is_open, k, j, nz, ny, LATERAL, VERTICAL)
    for n in tl.static_range(2):
        c, tendency = tracer_tendency(
            fields[n] + shift, flags, levels, at, around, is_open, wet, x, mixing, k, j, i, nz, nx,
            per_area, per_dz, TVD,
        )  # fmt: skip
        finish(
            c, tendency, older[n] + shift, former[n] + shift, result[n] + shift, at, inside, wet,
            NEWEST, TENDENCY, FORMER, OLDER, KEEP, LAST,
        )  # fmt: skip
    c, tendency = vorticity_tendency(
        fields[2] + shift, pressure + shift, flags, rows, levels, at, wet, around, is_open, k, j,
        nz, ny, nx, per_area, VISCOSITY, ADVECTION, PLANETARY,
    )  # fmt: skip
    if STRETCHING:
        _, _, at_w = first_faces(k, j, i, ny, nx)
        squeezed = read(flow[2], at_w, wet) - read(flow[2], at_w + ny * nx, wet)
        tendency += of_row(rows, CORIOLIS, j, ny) * per_dz * squeezed
    tendency += read(source + window * (ny * nx), j * nx + i, wet & (k == 0))
    finish(
        c, tendency, older[2] + shift, former[2] + shift, result[2] + shift, at, inside, wet,
        NEWEST, TENDENCY, FORMER, OLDER, KEEP, LAST,
    )  # fmt: skip


def follow(
    start: Start, metrics: Metrics, settings: Settings
) -> Iterator[tuple[Fields, Tensor | None]]:
    """The fields and their pressure at the start of each stage, then those at the end of the day.

    Whatever is yielded lives on in the hands of the caller alone. Cells on land are zero at the end
    of the day, and anything before.
    """
    todo = gpu_stages.stages(settings)
    states = deque([(start.thetao, start.so, start.vorticity)], maxlen=3)
    former = _empty_like(states[-1]) if settings.scheme == "ab2" else states[-1]
    needs_pressure = settings.geostrophic_advection or settings.planetary
    for s, stage in enumerate(todo):
        pressure = _pressure(states[-1], start, metrics) if needs_pressure else None
        yield states[-1], pressure
        result = _empty_like(states[-1])
        is_last = s + 1 == len(todo)
        _launch_stage(
            stage, states, former, result, pressure, start, metrics, settings,
            keep=not is_last and todo[s + 1].former != 0, last=is_last,
        )  # fmt: skip
        states.append(result)
    yield states[-1], None


def _empty_like(fields: Fields) -> Fields:
    a, b, c = (torch.empty_like(x) for x in fields)
    return a, b, c


def _pressure(fields: Fields, start: Start, metrics: Metrics) -> Tensor:
    pressure = torch.empty_like(fields[0])
    sizes = gpu_stages.sizes(pressure)
    pressure_kernel[sizes.columns()](
        fields[:2], start.zos, pressure, metrics.flags, metrics.levels, sizes.nz,
        sizes.ny * sizes.nx, CELLS=gpu_stages.CELLS, num_warps=gpu_stages.warps(gpu_stages.CELLS),
    )  # fmt: skip
    return pressure


def _launch_stage(
    stage: Stage, states: deque[Fields], former: Fields, result: Fields, pressure: Tensor | None,
    start: Start, metrics: Metrics, settings: Settings, keep: bool, last: bool,
) -> None:  # fmt: skip
    sizes = gpu_stages.sizes(result[0])
    rows, columns = gpu_stages.TILE
    stage_kernel[sizes.tiles()](
        states[-1], states[-1 - stage.back], former, result,
        states[-1][0] if pressure is None else pressure, (start.u, start.v, start.w),
        start.source, *metrics, sizes.nz, sizes.ny, sizes.nx, NEWEST=stage.newest,
        TENDENCY=stage.tendency, FORMER=stage.former, OLDER=stage.older,
        LATERAL=settings.lateral_diffusivity, VERTICAL=settings.vertical_diffusivity,
        VISCOSITY=settings.viscosity, TVD=settings.advection == "tvd",
        ADVECTION=settings.geostrophic_advection, PLANETARY=settings.planetary,
        STRETCHING=settings.stretching, KEEP=keep, LAST=last, ROWS=rows, COLUMNS=columns,
        num_warps=gpu_stages.warps(rows, columns),
    )  # fmt: skip
