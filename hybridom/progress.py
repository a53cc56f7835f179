"""Progress of long work: a bar on a terminal, a line a minute in a log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

log = logging.getLogger(__name__)
T = TypeVar("T")
LOG_INTERVAL = 60.0  # s


def track(iterable: Iterable[T], total: int | None = None, label: str = "") -> Iterator[T]:
    """Yield from `iterable` and show progress.

    Args:
        iterable: What to go through.
        total: Number of items; taken from `len(iterable)` where that exists.
        label: Words in front of the bar or line.
    """
    if total is None and hasattr(iterable, "__len__"):
        total = len(iterable)  # type: ignore[arg-type]
    if sys.stderr.isatty():
        yield from tqdm(iterable, total=total, desc=label)
        return
    start = last = time.monotonic()
    done = 0
    for item in iterable:
        yield item
        done += 1
        now = time.monotonic()
        if now - last >= LOG_INTERVAL:
            last = now
            log.info("%s", progress_line(label, done, total, now - start))
    log.info("%s: done, %d in %.1f s", label, done, time.monotonic() - start)


def progress_line(label: str, done: int, total: int | None, elapsed: float) -> str:
    """One line such as `year 2001: 120/365, 2.4/s, 1 min 42 s left`."""
    rate = done / elapsed if elapsed > 0 else float("nan")
    if total is None:
        return f"{label}: {done}, {rate:.3g}/s"
    left = int((total - done) / rate) if rate > 0 else 0
    return f"{label}: {done}/{total}, {rate:.3g}/s, {left // 60} min {left % 60} s left"
