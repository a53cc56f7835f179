"""The kernels as PyTorch operators: differentiable once, opaque to `torch.compile`.

`flow` brings centred velocities to the faces; `march` takes the substeps of a day. Each has an
adjoint that is an operator of its own. What is kept from the forward to the backward pass are the
fields at the start of the day, which the adjoint of `march` integrates again.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from hybridom.physics.fused.types import Faces, Metrics, Settings, Start

FIELDS = len(Start._fields)
TABLES = len(Metrics._fields)


def _kernels(device: torch.device) -> ModuleType:
    """The kernels for a device; imported late, since their compilers take seconds to load."""
    if device.type == "cuda":
        from hybridom.physics.fused import gpu

        return gpu
    from hybridom.physics.fused import cpu

    return cpu


@torch.library.custom_op("hybridom::flow", mutates_args=(), device_types="cpu")
def flow(
    uo: Tensor, vo: Tensor, u_flow: Tensor, v_flow: Tensor, corner_open: Tensor, flags: Tensor,
    rows: Tensor, levels: Tensor, periodic: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Velocities at faces, vertical velocity and relative vorticity of a centred flow.

    Args:
        uo, vo: Velocity at centres (B, nz, ny, nx), m s-1; anything on land.
        u_flow, v_flow, corner_open: See `types.Faces`.
        flags, rows, levels: See `tables.Tables`.
        periodic: Whether the last column neighbours the first.

    Returns:
        u (B, nz, ny, nx+1), v (B, nz, ny+1, nx), w (B, nz+1, ny, nx), m s-1, and vorticity
        (B, nz, ny, nx), s-1, as `Geometry.interp_x_to_u`, `Geometry.interp_y_to_v`,
        `vertical_velocity` and `relative_vorticity` give them.
    """
    faces, metrics = Faces(u_flow, v_flow, corner_open), Metrics(flags, rows, levels)
    kernels = _kernels(uo.device)
    return kernels.flow(uo.contiguous(), vo.contiguous(), faces, metrics, periodic)


@flow.register_fake
def _flow_shapes(uo: Tensor, vo: Tensor, *rest: object) -> tuple[Tensor, ...]:
    *lead, nz, ny, nx = uo.shape
    return (
        uo.new_empty(*lead, nz, ny, nx + 1),
        uo.new_empty(*lead, nz, ny + 1, nx),
        uo.new_empty(*lead, nz + 1, ny, nx),
        torch.empty_like(uo, memory_format=torch.contiguous_format),
    )


@torch.library.custom_op("hybridom::flow_adjoint", mutates_args=(), device_types="cpu")
def flow_adjoint(
    grad_u: Tensor, grad_v: Tensor, grad_w: Tensor, grad_vorticity: Tensor, u_flow: Tensor,
    v_flow: Tensor, corner_open: Tensor, flags: Tensor, rows: Tensor, levels: Tensor,
    periodic: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Derivatives with respect to `uo` and `vo` from those with respect to `flow`'s results."""
    faces, metrics = Faces(u_flow, v_flow, corner_open), Metrics(flags, rows, levels)
    grads = (g.contiguous() for g in (grad_u, grad_v, grad_w, grad_vorticity))
    return _kernels(grad_u.device).flow_adjoint(*grads, faces, metrics, periodic)


@flow_adjoint.register_fake
def _flow_adjoint_shapes(
    grad_u: Tensor, grad_v: Tensor, grad_w: Tensor, grad_vorticity: Tensor, *rest: object
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(grad_vorticity), torch.empty_like(grad_vorticity)


def _keep_tables(ctx: Any, inputs: tuple[Any, ...], output: object) -> None:
    ctx.save_for_backward(*inputs[2:-1])
    ctx.periodic = inputs[-1]


def _flow_backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
    found = flow_adjoint(*grads, *ctx.saved_tensors, ctx.periodic)
    return (*found, *(None for _ in ctx.saved_tensors), None)


flow.register_autograd(_flow_backward, setup_context=_keep_tables)


@torch.library.custom_op("hybridom::march", mutates_args=(), device_types=("cpu", "cuda"))
def march(
    thetao: Tensor, so: Tensor, vorticity: Tensor, u: Tensor, v: Tensor, w: Tensor, zos: Tensor,
    source: Tensor, flags: Tensor, rows: Tensor, levels: Tensor, dt: float, substeps: int,
    scheme: str, ab2_offset: float, advection: str, lateral_diffusivity: float,
    vertical_diffusivity: float, viscosity: float, geostrophic_advection: bool, planetary: bool,
    stretching: bool, periodic: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The substeps of a day.

    Args: See `types.Start`, `tables.Tables` and `types.Settings`.

    Returns:
        Temperature, salinity and vorticity after the day (B, nz, ny, nx), zero on land.
    """
    settings = Settings(
        dt, substeps, scheme, ab2_offset, advection, lateral_diffusivity, vertical_diffusivity,
        viscosity, geostrophic_advection, planetary, stretching, periodic,
    )  # fmt: skip
    fields = (x.contiguous() for x in (thetao, so, vorticity, u, v, w, zos, source))
    metrics = Metrics(flags, rows, levels)
    return _kernels(thetao.device).march(Start(*fields), metrics, settings)


@march.register_fake
def _march_shapes(thetao: Tensor, *rest: object) -> tuple[Tensor, Tensor, Tensor]:
    a, b, c = (torch.empty_like(thetao, memory_format=torch.contiguous_format) for _ in range(3))
    return a, b, c


@torch.library.custom_op("hybridom::march_adjoint", mutates_args=(), device_types=("cpu", "cuda"))
def march_adjoint(
    grad_thetao: Tensor, grad_so: Tensor, grad_vorticity: Tensor, thetao: Tensor, so: Tensor,
    vorticity: Tensor, u: Tensor, v: Tensor, w: Tensor, zos: Tensor, source: Tensor,
    flags: Tensor, rows: Tensor, levels: Tensor, dt: float, substeps: int, scheme: str,
    ab2_offset: float, advection: str, lateral_diffusivity: float, vertical_diffusivity: float,
    viscosity: float, geostrophic_advection: bool, planetary: bool, stretching: bool,
    periodic: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Derivatives with respect to the fields of `Start`, in their order and shapes."""
    settings = Settings(
        dt, substeps, scheme, ab2_offset, advection, lateral_diffusivity, vertical_diffusivity,
        viscosity, geostrophic_advection, planetary, stretching, periodic,
    )  # fmt: skip
    fields = (x.contiguous() for x in (thetao, so, vorticity, u, v, w, zos, source))
    grads = tuple(g.contiguous() for g in (grad_thetao, grad_so, grad_vorticity))
    metrics = Metrics(flags, rows, levels)
    return _kernels(thetao.device).march_adjoint(grads, Start(*fields), metrics, settings)


@march_adjoint.register_fake
def _march_adjoint_shapes(
    grad_thetao: Tensor, grad_so: Tensor, grad_vorticity: Tensor, *rest: Any
) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(x, memory_format=torch.contiguous_format) for x in rest[:FIELDS])


def _keep_start(ctx: Any, inputs: tuple[Any, ...], output: object) -> None:
    ctx.save_for_backward(*inputs[: FIELDS + TABLES])
    ctx.settings = inputs[FIELDS + TABLES :]


def _march_backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
    found = march_adjoint(*grads, *ctx.saved_tensors, *ctx.settings)
    return (*found, *(None for _ in range(TABLES + len(ctx.settings))))


march.register_autograd(_march_backward, setup_context=_keep_start)
