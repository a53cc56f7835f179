"""How fast matrix products are: measured here, and as the vendor says."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import torch

from hybridom.bench.bandwidth import mark, spans

SIDE = {"cuda": 8192, "cpu": 512}  # of the square matrices
PRODUCTS = 10  # the fastest counts
SECONDS = 2.0  # or as many as fill this time
# Dense TFLOP/s at boost clock (bfloat16, tf32, float32) by the name that the driver gives. Sources:
# NVIDIA's data sheets of the H100, H200 and A100 Tensor Core GPUs, without sparsity.
_HOPPER = {"bfloat16": 989.4, "tf32": 494.7, "float32": 66.9}
_AMPERE = {"bfloat16": 312.0, "tf32": 156.0, "float32": 19.5}
VENDOR: dict[str, dict[str, float]] = {
    "NVIDIA H100 80GB HBM3": _HOPPER,
    "NVIDIA H100 PCIe": {"bfloat16": 756.0, "tf32": 378.0, "float32": 51.0},
    "NVIDIA H200": _HOPPER,
    "NVIDIA A100-SXM4-40GB": _AMPERE,
    "NVIDIA A100-SXM4-80GB": _AMPERE,
    "NVIDIA A100-PCIE-40GB": _AMPERE,
    "NVIDIA A100 80GB PCIe": _AMPERE,
}


def arithmetic(precision: str, device: torch.device) -> str:
    """What the convolutions of networks of a `precision` compute in: bfloat16, tf32 or float32."""
    is_tf32 = device.type == "cuda" and torch.backends.cudnn.allow_tf32
    return "tf32" if precision == "float32" and is_tf32 else precision


def vendor_peak(device_name: str, kind: str) -> float | None:
    """Dense TFLOP/s of a GPU by its data sheet; None where it is not in `VENDOR`."""
    return VENDOR.get(device_name, {}).get(kind)


def measured_peak(device: torch.device, kind: str) -> float:
    """TFLOP/s of the fastest of several square matrix products, by all threads of torch.

    Args:
        device: Where.
        kind: See `arithmetic`.
    """
    side = SIDE[device.type]
    dtype = torch.bfloat16 if kind == "bfloat16" else torch.float32
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    with _tf32(kind == "tf32"):
        torch.mm(a, b)
        begin = time.perf_counter()
        for _ in range(PRODUCTS):
            start = mark(device)
            torch.mm(a, b)
            best = min(best, *spans([start, mark(device)], device))
            if time.perf_counter() - begin > SECONDS:
                break
    return 2 * side**3 / best / 1e12


@contextlib.contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
