"""What a quota leaves of a file system, asked through the commands of the system."""

from __future__ import annotations

import getpass
import re
import shutil
import subprocess
from pathlib import Path

from hybridom.operations.doctor.places import FileSystem, existing

BLOCK = 1024  # bytes; both commands count in these


def quota_left(path: Path, system: FileSystem) -> int | None:
    """Bytes that the user's quota leaves where a path lies; None: there is none, or none is told.

    `lfs quota` tells it of Lustre, `quota` of most others. Quotas of groups and projects are not
    asked.
    """
    if system.kind == "lustre":
        text = _said("lfs", "quota", "-q", "-u", getpass.getuser(), str(existing(path)))
        words = text.split()
    else:
        text = _said("quota", "-u", "-w", "-p", "--show-mntpoint", "--hide-device")
        rows = [line.split() for line in text.splitlines()]
        words = next((row for row in rows if row and row[0] == str(system.mount)), [])
    # where, used, soft limit, hard limit, grace, files, ...; a star marks what is exceeded
    numbers = [int(n) for n in re.findall(r"(?<=\s)(\d+)\*?(?=\s|$)", " ".join(words))[:3]]
    if len(numbers) < 3:
        return None
    used, soft, hard = numbers
    limit = soft or hard
    return max(0, limit - used) * BLOCK if limit else None


def _said(*words: str) -> str:
    """What a command prints, whatever its status; "" where it is not there or hangs."""
    if shutil.which(words[0]) is None:
        return ""
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=30).stdout
    except subprocess.TimeoutExpired:
        return ""
