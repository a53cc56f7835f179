"""Threads and work memory of the CPU kernels.

Kernels are serial, release the interpreter's lock, and are handed to a pool of as many threads as
PyTorch uses (`torch.set_num_threads`, `OMP_NUM_THREADS`): no second threading runtime spins on the
cores of other processes.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import torch
from numpy.typing import NDArray

ALIGNMENT = 64  # bytes, a cache line


class _Workers:
    """The pool of one process, made when it is first needed, and its free work memory."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything, as a forked process must: threads do not survive the fork."""
        self.lock = threading.Lock()
        self.pool: ThreadPoolExecutor | None = None
        self.size = 0
        self.free: list[NDArray[np.uint8]] = []

    def executor(self, size: int) -> ThreadPoolExecutor:
        with self.lock:
            if self.pool is None or self.size != size:
                # threads of the former pool end when those who still use it have finished
                if self.pool is not None:
                    self.pool.shutdown(wait=False)
                self.pool = ThreadPoolExecutor(size, thread_name_prefix="hybridom")
                self.size = size
            return self.pool

    def take(self, size: int) -> NDArray[np.uint8]:
        with self.lock:
            while self.free:
                found = self.free.pop()
                if found.size >= size:
                    return found
        return np.empty(size, np.uint8)

    def give(self, memory: NDArray[np.uint8]) -> None:
        with self.lock:
            if len(self.free) < max(self.size, 1):
                self.free.append(memory)


_workers = _Workers()
os.register_at_fork(after_in_child=_workers.reset)


def run(tasks: Sequence[Callable[[], None]]) -> None:
    """Run tasks that do not depend on each other, in as many threads as PyTorch uses.

    Returns, or raises what a task raised, only after all of them have ended: they write to memory
    that the caller owns.
    """
    size = min(torch.get_num_threads(), len(tasks))
    if size < 2:
        for task in tasks:
            task()
        return
    pool = _workers.executor(torch.get_num_threads())
    futures = [pool.submit(task) for task in tasks]
    try:
        for future in futures:
            future.result()
    finally:
        for future in futures:
            future.cancel()
        wait(futures)


class Memory:
    """Work memory for one task at a time, which later ones use again; a context manager.

    Args:
        arrays: Shape and type of each array.
    """

    def __init__(self, arrays: Sequence[tuple[tuple[int, ...], np.dtype]]) -> None:
        self.arrays = arrays
        sizes = [int(np.prod(shape)) * dtype.itemsize for shape, dtype in arrays]
        self.offsets = np.cumsum([0, *(-(-size // ALIGNMENT) * ALIGNMENT for size in sizes)])
        self.sizes = sizes

    def __enter__(self) -> list[NDArray]:
        self.memory = _workers.take(int(self.offsets[-1]))
        parts = zip(self.arrays, self.offsets[:-1], self.sizes, strict=True)
        return [
            self.memory[start : start + size].view(dtype).reshape(shape)
            for (shape, dtype), start, size in parts
        ]

    def __exit__(self, *_: object) -> None:
        _workers.give(self.memory)
