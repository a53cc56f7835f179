"""Times and sizes as people read them."""

from __future__ import annotations

import math
import re
import time
from datetime import datetime
from pathlib import Path

WIDTH = 140  # of a line of a log that is shown
# What logging puts before the words.
_PREFIX = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [A-Z]+ [\w.]+: ")


def duration(seconds: float) -> str:
    """Such as `35 s`, `12 min`, `3 h 20 min`, `2 d 4 h`."""
    if not math.isfinite(seconds):
        return "an unknown time"
    minutes, rest = divmod(max(0, round(seconds)), 60)
    if minutes < 1:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def age(path: Path) -> str:
    """How long ago a file was changed; an unknown time if it has gone meanwhile."""
    return f"{duration(time.time() - changed(path))} ago"


def changed(path: Path) -> float:
    """Time of the last change of a file in seconds of the epoch; nan if it is not there."""
    try:
        return path.stat().st_mtime
    except OSError:
        return math.nan


def moment(stamp: float) -> str:
    """Such as `2026-11-21 19:22`."""
    return f"{datetime.fromtimestamp(stamp):%Y-%m-%d %H:%M}"


def last_line(path: Path) -> str:
    """The last words of a log, without the time and the module; empty if there are none."""
    try:
        with path.open("rb") as handle:
            size = handle.seek(0, 2)
            handle.seek(max(0, size - 4000))
            text = handle.read().decode(errors="replace")
    except OSError:
        return ""
    found = [line for line in text.replace("\r", "\n").splitlines() if line.strip()]
    line = _PREFIX.sub("", found[-1].strip()) if found else ""
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"
