"""Days read by threads before they are asked for, a fixed number of them in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from dask.threaded import get

from hybridom.data.stores.threads import shared_pool


class Readable(Protocol):
    """A day that knows what there is to be read of it."""

    def reads(self) -> list[Callable[[], Any]]:
        """Calls that read and keep a field each, in any order and from any thread."""

    def prepare(self) -> None:
        """Make what the shared threads make together, and so cannot be a task of theirs."""


D = TypeVar("D", bound=Readable)


def read_ahead(days: Iterable[D], ahead: int, threads: int | None = None) -> Iterator[D]:
    """The days in their order, each read by the time that it is given out.

    The fields of a day are tasks of dask, done by the threads that also score, so that decoding
    goes on while scores are taken. At most `ahead` + 1 days that were not given out are held.

    Args:
        days: The days.
        ahead: Days that are read before they are asked for.
        threads: Threads; None for one a core, 8 at most.

    Raises:
        Exception: What a read of a day raised, when that day is asked for.
    """
    pool = shared_pool(threads)
    conductors = ThreadPoolExecutor(ahead, "ahead")  # one a day, so that no thread idles between

    def read(day: D) -> D:
        day.prepare()
        # `delayed` and `compute` would take three times as long for tasks of a few milliseconds.
        tasks = {number: (call,) for number, call in enumerate(day.reads())}
        get(tasks, list(tasks), pool=pool)
        return day

    waiting: deque[Future[D]] = deque()
    try:
        for day in days:
            waiting.append(conductors.submit(read, day))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        conductors.shutdown(cancel_futures=True)
