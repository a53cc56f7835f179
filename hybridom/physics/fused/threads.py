"""Threads and work memory of the CPU kernels.

Kernels are serial, release the interpreter's lock, and are handed to a pool of as many threads as
PyTorch uses (`torch.set_num_threads`, `OMP_NUM_THREADS`): no second threading runtime spins on the
cores of other processes.
"""

from __future__ import annotations

import itertools
import math
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ALIGNMENT = 64  # bytes, a cache line
RESULTS = 8  # free pieces of memory of results that are kept: about those of one day


class _Workers:
    """The pools of one process, by their size, and its free memory of work and of results."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything, as a forked process must: threads do not survive the fork."""
        self.lock = threading.Lock()
        self.pools: dict[int, ThreadPoolExecutor] = {}
        self.results: deque[NDArray[np.uint8]] = deque(maxlen=RESULTS)
        self.free: list[NDArray[np.uint8]] = []

    def pool(self, size: int) -> ThreadPoolExecutor:
        with self.lock:
            if size not in self.pools:
                self.pools[size] = ThreadPoolExecutor(size, thread_name_prefix="hybridom")
            return self.pools[size]

    def take(self, size: int) -> NDArray[np.uint8]:
        """Memory of at least `size` bytes; pieces that are too small are given up."""
        with self.lock:
            while self.free:
                found = self.free.pop()
                if found.size >= size:
                    return found
        return np.empty(size + ALIGNMENT, np.uint8)

    def give(self, memory: NDArray[np.uint8]) -> None:
        with self.lock:
            if len(self.free) < torch.get_num_threads():
                self.free.append(memory)

    def take_result(self, size: int) -> NDArray[np.uint8]:
        """Memory of exactly `size` bytes."""
        with self.lock:
            for _ in range(len(self.results)):
                found = self.results.popleft()
                if found.size == size:
                    return found
                self.results.append(found)
        return np.empty(size, np.uint8)

    def give_result(self, memory: NDArray[np.uint8]) -> None:
        # without the lock, which the thread in which an array happens to be deleted may hold
        self.results.append(memory)


_workers = _Workers()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_workers.reset)


def run(tasks: Sequence[Callable[[], None]]) -> None:
    """Run tasks that do not depend on each other, in as many threads as PyTorch uses.

    Returns, or raises what a task raised, only after all of them have ended: they write to memory
    that the caller owns.
    """
    threads = torch.get_num_threads()
    if min(threads, len(tasks)) < 2:
        for task in tasks:
            task()
        return
    pool = _workers.pool(threads)
    futures = [pool.submit(task) for task in tasks]
    try:
        for future in futures:
            future.result()
    finally:
        for future in futures:
            future.cancel()
        wait(futures)


def split(size: int, parts: int) -> list[tuple[int, int]]:
    """Begin and end (exclusive) of so many parts of `size`, as long as each other."""
    return list(itertools.pairwise(size * part // parts for part in range(parts + 1)))


def empty(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """As `empty_array`, a tensor."""
    return torch.from_numpy(empty_array(shape, torch.empty((), dtype=dtype).numpy().dtype))


def empty_array(shape: Sequence[int], dtype: np.dtype) -> NDArray:
    """An array that holds anything, if possible in memory of one that nobody holds any more.

    Systems take many times as long to hand out new memory as a kernel takes to fill it.
    """
    memory = _workers.take_result(math.prod(shape) * dtype.itemsize)
    array = memory.view(dtype).reshape(shape)
    weakref.finalize(array, _workers.give_result, memory).atexit = False
    return array


class Memory:
    """Work memory of a task, which holds anything and which later tasks use again.

    A context manager that gives the arrays.

    Args:
        arrays: Shape and type of each array.
    """

    def __init__(self, arrays: Sequence[tuple[tuple[int, ...], np.dtype]]) -> None:
        self.arrays = arrays
        self.sizes = [int(np.prod(shape)) * dtype.itemsize for shape, dtype in arrays]
        self.offsets = np.cumsum([0, *(-(-size // ALIGNMENT) * ALIGNMENT for size in self.sizes)])

    def __enter__(self) -> list[NDArray]:
        self.memory = _workers.take(int(self.offsets[-1]))
        start = -self.memory.ctypes.data % ALIGNMENT
        parts = zip(self.arrays, self.offsets[:-1] + start, self.sizes, strict=True)
        return [
            self.memory[begin : begin + size].view(dtype).reshape(shape)
            for (shape, dtype), begin, size in parts
        ]

    def __exit__(self, *_: object) -> None:
        _workers.give(self.memory)
