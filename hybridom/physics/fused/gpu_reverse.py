"""The adjoint of a day on a GPU: the day again, then its stages in reverse.

Fields that pass the memory of the GPU in a stage, beyond the 19.5 of the day itself, where every
array is read once and neighbours come from the cache:

- vorticity: reads zeta, p, two later adjoints, flags (1/4) and the sum of m so far, writes the
  adjoint, the sum and the adjoints of two slopes of pressure;
- pressure: reads those slopes and flags (1/4), writes the adjoint of density;
- tracers: reads that, T, S, u, v, w, two later adjoints of each tracer, flags (1/4) and the
  derivatives of u, v and w so far, writes the adjoints of both tracers and those derivatives.

A substep of `ab2` is 50.25 fields with the day again, 3.5 times the 14.25 of the least one-pass
form. The fields and the pressure at the start of every stage are kept while this runs: 48 fields
for 12 substeps of `ab2`, which is 1.1 GB for a window of half a degree and 23 levels in float32,
and 144 for `rk3`.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from hybridom.physics.fused import gpu_stages, tables
from hybridom.physics.fused.gpu_adjoint import (
    pressure_adjoint_kernel,
    tracer_adjoint_kernel,
    vorticity_adjoint_kernel,
)
from hybridom.physics.fused.gpu_forward import Fields, follow
from hybridom.physics.fused.gpu_stages import ReverseStage
from hybridom.physics.fused.types import Metrics, Settings, Start


class Sums(NamedTuple):
    """What adds up over the stages.

    Attributes:
        u, v, w, zos: Derivatives, at their positions in `Start`.
        tendency: Adjoint of the vorticity tendency (B, nz or 1, ny, nx), s.
    """

    u: Tensor
    v: Tensor
    w: Tensor
    zos: Tensor
    tendency: Tensor


def reverse(
    grads: Fields, start: Start, metrics: Metrics, settings: Settings
) -> tuple[Tensor, ...]:
    """Derivatives with respect to the fields of `Start`; see `gpu.march_adjoint`."""
    forward = gpu_stages.stages(settings)
    kept = list(islice(follow(start, metrics, settings), len(forward)))
    sums = _no_sums(start, settings)
    # those after three later stages; factors of zero keep out what is not there yet
    adjoints = deque([grads] * 3, maxlen=3)
    for stage in reversed(gpu_stages.reverse_stages(forward)):
        fields, pressure = kept.pop()
        adjoints.append(
            _reverse_stage(
                stage, fields, pressure, adjoints, sums, start, metrics, settings, last=not kept
            )
        )
    return *adjoints[-1], *_derivatives_of_start(sums, metrics, settings)


def _reverse_stage(
    stage: ReverseStage, fields: Fields, pressure: Tensor | None, adjoints: deque[Fields],
    sums: Sums, start: Start, metrics: Metrics, settings: Settings, last: bool,
) -> Fields:  # fmt: skip
    """Adjoint of the fields at the start of a stage; adds to `sums`."""
    thetao, so, vorticity = (torch.empty_like(x) for x in fields)
    later = [tuple(adjoints[-n][field] for n in (1, 2, 3)) for field in range(3)]
    sizes, (rows, columns) = gpu_stages.sizes(vorticity), gpu_stages.TILE
    shape = (sizes.nz, sizes.ny, sizes.nx)
    factors = {name.upper(): factor for name, factor in stage._asdict().items()}
    tile = {"ROWS": rows, "COLUMNS": columns, "num_warps": gpu_stages.warps(rows, columns)}
    # without geostrophic terms nothing reads or writes these
    slopes, density = (vorticity, vorticity), vorticity
    if pressure is not None:
        slopes = (torch.empty_like(vorticity), torch.empty_like(vorticity))
        density = torch.empty_like(vorticity)
    vorticity_adjoint_kernel[sizes.tiles()](
        fields[2], vorticity if pressure is None else pressure, later[2], vorticity, slopes,
        sums.tendency, *metrics, *shape, **factors, VISCOSITY=settings.viscosity,
        ADVECTION=settings.geostrophic_advection, PLANETARY=settings.planetary,
        STRETCHING=settings.stretching, LAST=last, **tile,
    )  # fmt: skip
    if pressure is not None:
        pressure_adjoint_kernel[sizes.columns()](
            slopes, density, sums.zos, *metrics, *shape,
            ADVECTION=settings.geostrophic_advection, CELLS=gpu_stages.CELLS,
            num_warps=gpu_stages.warps(gpu_stages.CELLS),
        )  # fmt: skip
    tracer_adjoint_kernel[sizes.tiles()](
        fields[:2], density, later[0], later[1], (thetao, so), (start.u, start.v, start.w),
        sums[:3], *metrics, *shape, **factors, LATERAL=settings.lateral_diffusivity,
        VERTICAL=settings.vertical_diffusivity, TVD=settings.advection == "tvd",
        PRESSURE=pressure is not None, LAST=last, **tile,
    )  # fmt: skip
    return thetao, so, vorticity


def _no_sums(start: Start, settings: Settings) -> Sums:
    windows, nz, ny, nx = start.vorticity.shape
    tendency = start.vorticity.new_zeros(windows, nz if settings.stretching else 1, ny, nx)
    u, v, w, zos = (torch.zeros_like(x) for x in (start.u, start.v, start.w, start.zos))
    return Sums(u, v, w, zos, tendency)


def _derivatives_of_start(
    sums: Sums, metrics: Metrics, settings: Settings
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Those of u, v, w, zos and source."""
    if settings.stretching:
        coriolis = metrics.rows[tables.CORIOLIS][:, None]
        per_dz = metrics.levels[tables.DZ_INVERSE][:, None, None]
        squeezed = coriolis * per_dz * sums.tendency
        sums.w[:, :-1] += squeezed
        sums.w[:, 1:] -= squeezed
    return sums.u, sums.v, sums.w, sums.zos, sums.tendency[:, 0].contiguous()
