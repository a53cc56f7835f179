"""A day of the skeleton and its adjoint in Triton kernels, for fields on a GPU.

No value is read back to the host, and all memory comes from torch: a day is launches alone, and can
be captured in a CUDA graph once the kernels are compiled. The tests run the kernels in Triton's
interpreter on a CPU, and compile them for a GPU; how fast they are is seen on a GPU alone.
"""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

from hybridom.physics.fused import gpu_forward, gpu_reverse
from hybridom.physics.fused.types import Metrics, Settings, Start


def march(start: Start, metrics: Metrics, settings: Settings) -> tuple[Tensor, Tensor, Tensor]:
    """Temperature, salinity and vorticity after the day (B, nz, ny, nx), zero on land.

    Args:
        start, metrics, settings: See `physics.fused.types`.
    """
    with torch.cuda.device_of(start.thetao):
        fields, _ = deque(gpu_forward.follow(start, metrics, settings), maxlen=1).pop()
    return fields


def march_adjoint(
    grads: tuple[Tensor, Tensor, Tensor], start: Start, metrics: Metrics, settings: Settings
) -> tuple[Tensor, ...]:
    """Derivatives with respect to the fields of `Start`, in their order and shapes.

    Args:
        grads: With respect to the results of `march`; anything on land.
        start, metrics, settings: As for `march`.

    Returns:
        Derivatives that are zero on land and on closed lateral faces. Those of u, v and w belong to
        changes of the flow that close every layer; the outer faces of an open grid have zero.
    """
    with torch.cuda.device_of(start.thetao):
        return gpu_reverse.reverse(grads, start, metrics, settings)
