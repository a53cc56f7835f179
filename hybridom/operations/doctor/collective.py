"""A sum over processes, run as a program of its own: it may hang, or take its process down.

`python -m hybridom.operations.doctor.collective gloo|nccl [GPU]`, alone or under torchrun.
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta

LENGTH = 1 << 20  # numbers; enough for the way that large sums take
WAIT = timedelta(seconds=60)


def main(backend: str, gpu: int | None) -> None:
    """Sum ones over all processes and compare.

    Args:
        backend: `gloo` (on the CPU) or `nccl`.
        gpu: The GPU to take with `nccl`; None: that of the local rank.

    Raises:
        SystemExit: The sum is wrong.
    """
    import torch
    import torch.distributed as dist

    device = torch.device("cpu")
    if backend == "nccl":
        number = int(os.environ.get("LOCAL_RANK", "0")) if gpu is None else gpu
        device = torch.device("cuda", number)
        torch.cuda.set_device(device)
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group(backend, timeout=WAIT)
    else:
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1, timeout=WAIT)
    values = torch.ones(LENGTH, device=device)
    dist.all_reduce(values)
    size = dist.get_world_size()
    right = bool((values == size).all())
    dist.destroy_process_group()
    if not right:
        raise SystemExit(f"the sum of ones over {size} processes is not {size}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else None)
