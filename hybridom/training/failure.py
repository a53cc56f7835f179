"""The first error of a job of several processes is shown once, and named to torchrun."""

from __future__ import annotations

import functools
import json
import os
import time
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist

PATIENCE = timedelta(seconds=5)  # with the store; who cannot ask speaks up
COURTESY = 2.0  # seconds that the first has to speak, before the end of another ends it


@functools.cache
def first() -> bool:
    """Whether this process is the first of its job to fail, or cannot tell."""
    try:
        rank = os.environ["RANK"]
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = dist.TCPStore(host, port, is_master=False, timeout=PATIENCE)
        key = f"hybridom/failed/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
        return store.compare_set(key, "", rank).decode() == rank
    except (KeyError, ValueError, RuntimeError):
        return True


def announce(message: str) -> bool:
    """Whether to show an error: once for a job, by the process that was the first to fail.

    Args:
        message: The error, which torchrun repeats in its summary beside the number of the process.
    """
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if file is not None:
        Path(file).write_text(json.dumps({"message": message, "timestamp": int(time.time())}))
    if first():
        return True
    time.sleep(COURTESY)
    return False
