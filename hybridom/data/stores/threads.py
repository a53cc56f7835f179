"""Threads that compress, decompress and hash chunks, none of which needs Python's lock."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

MOST = 8  # more read no faster: memory is the limit then

_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def shared_pool(threads: int | None = None) -> ThreadPoolExecutor:
    """The pool of this process with so many threads; None for one a core, 8 at most.

    A forked process inherits no threads, so each process has its own.
    """
    key = os.getpid(), threads or min(MOST, usable_cores())
    if key not in _pools:
        _pools[key] = ThreadPoolExecutor(key[1], thread_name_prefix="chunks")
    return _pools[key]
