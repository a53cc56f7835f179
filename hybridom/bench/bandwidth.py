"""How fast memory is, and how many bytes a day of the skeleton cannot do without.

The floor counts one pass over memory in every stage of the time scheme: each field that a stage
depends on is read once, each field that later stages need is written once. It says nothing of what
caches might spare, and fields at the surface and metrics are left out as too small.
"""

from __future__ import annotations

import itertools
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hybridom.config import SkeletonConfig

GIGABYTE = 1e9
STREAM_BYTES = 2**29  # of one array of the triad, far beyond the caches
TRIADS = 10  # the fastest counts
EVOLVING = ("thetao", "so", "vorticity")


def mark(device: torch.device) -> float | torch.cuda.Event:
    """A moment in the work of a device; see `spans`."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record(torch.cuda.current_stream(device))
    return event


def spans(marks: Sequence[Any], device: torch.device) -> list[float]:
    """Seconds between successive marks; waits for the device to pass the last."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return [
        a.elapsed_time(b) / 1e3 if isinstance(a, torch.cuda.Event) else b - a
        for a, b in itertools.pairwise(marks)
    ]


def device_name(device: torch.device) -> str:
    """Name of the GPU or of the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    processors = Path("/proc/cpuinfo")
    if processors.exists():
        for line in processors.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def triad_bandwidth(
    device: torch.device, dtype: torch.dtype, stream_bytes: int = STREAM_BYTES
) -> float:
    """Memory bandwidth, bytes s-1: the fastest of several a = b + s c, by all threads of torch.

    Three streams are counted. Many processors also read each line of `a` before they write it
    (write-allocate); that traffic is not counted, as it is not in the floor either.

    Args:
        device: Whose memory.
        dtype: Type of the numbers.
        stream_bytes: Size of each of the three arrays.
    """
    count = stream_bytes // dtype.itemsize
    b, c = (torch.ones(count, dtype=dtype, device=device) for _ in range(2))
    a = torch.zeros_like(b)
    seconds = []
    for _ in range(TRIADS + 1):
        begin = mark(device)
        torch.add(b, c, alpha=0.5, out=a)
        seconds += spans([begin, mark(device)], device)
    return 3 * count * dtype.itemsize / min(seconds[1:])


@dataclass(frozen=True)
class Floor:
    """Bytes of one pass over memory a stage.

    Attributes:
        read, written: Field to bytes in one substep.
        stages: Passes in one substep.
        day: Bytes of all substeps of a day.
    """

    read: dict[str, int]
    written: dict[str, int]
    stages: int
    day: int


def day_floor(shape: tuple[int, int, int], config: SkeletonConfig, dtype: torch.dtype) -> Floor:
    """The floor of a day on a grid of (nz, ny, nx) cells, land included.

    With `ab2` a stage reads the evolving fields and their previous tendencies and writes both; with
    `rk3` the second and the third stage of a substep read the fields at its beginning instead. The
    first substep of a day is counted as all others are.
    """
    nz, ny, nx = shape
    cells = nz * ny * nx
    stages = 3 if config.scheme == "rk3" else 1
    history = "at_substep_start" if config.scheme == "rk3" else "previous_tendency"
    flow = {"u": nz * ny * (nx + 1), "v": nz * (ny + 1) * nx, "w": (nz + 1) * ny * nx}
    size = dtype.itemsize
    read = {name: stages * cells * size for name in EVOLVING}
    read |= {f"{name}_{history}": max(1, stages - 1) * cells * size for name in EVOLVING}
    read |= {name: stages * count * size for name, count in flow.items()}
    read["flags"] = stages * cells
    written = {name: stages * cells * size for name in EVOLVING}
    if config.scheme == "ab2":
        written |= {f"{name}_tendency": cells * size for name in EVOLVING}
    day = config.substeps * (sum(read.values()) + sum(written.values()))
    return Floor(read, written, stages, day)
