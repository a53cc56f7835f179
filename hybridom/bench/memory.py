"""Memory of this process, and of the machine; 1 MB is a million bytes."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import re
import resource
import sys
from pathlib import Path

MEGABYTE = 1e6


def peak_memory() -> float:
    """Largest resident memory of this process so far, MB.

    Linux's `ru_maxrss` begins with that of the parent, so its own count is asked first.
    """
    found = _bytes("/proc/self/status", "VmHWM")
    if found is not None:
        return found / MEGABYTE
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MEGABYTE


def forget_peak() -> None:
    """Let `peak_memory` begin again at what is in use now, where the system allows it (Linux).

    What was freed goes back to the system first, since the C library keeps much of it.
    """
    gc.collect()
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def resident_memory() -> float:
    """Resident memory of this process, MB; where the system does not say, the largest so far."""
    found = _bytes("/proc/self/status", "VmRSS")
    return peak_memory() if found is None else found / MEGABYTE


def available_memory() -> float:
    """What the machine can still give away, MB; infinite where the system does not say."""
    found = _bytes("/proc/meminfo", "MemAvailable")
    return float("inf") if found is None else found / MEGABYTE


def _bytes(path: str, name: str) -> int | None:
    """An entry of one of Linux's tables of memory; None on other systems."""
    if not Path(path).exists():
        return None
    found = re.search(rf"^{name}:\s+(\d+) kB", Path(path).read_text(), re.MULTILINE)
    return 1024 * int(found[1]) if found else None
