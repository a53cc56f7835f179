"""Questions about folders: can one write there, are there locks, what kind of file system is it?"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

# File systems that many machines see, as /proc/mounts calls them.
SHARED = {
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "fhgfs",
    "glusterfs",
    "gpfs",
    "lustre",
    "nfs",
    "nfs4",
    "orangefs",
    "panfs",
    "pvfs2",
    "quobyte",
    "smb3",
    "virtiofs",
    "wekafs",
}
# Takes a lock in another process, as another run would; the status says what came of it.
RIVAL = """
import fcntl, sys
try:
    fcntl.flock(open(sys.argv[1], "r+"), fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    sys.exit(3)
"""
REFUSED = 3


@dataclass(frozen=True)
class FileSystem:
    """Where a folder lies.

    Attributes:
        mount: Where it is mounted.
        kind: Its type, such as `ext4` or `lustre`.
    """

    mount: Path
    kind: str

    @property
    def shared(self) -> bool:
        """Whether its type is one that other machines can see too."""
        return self.kind.removeprefix("fuse.") in SHARED


def existing(path: Path) -> Path:
    """The folder itself, or the nearest one above it that exists."""
    path = path.absolute()
    while not path.is_dir():
        path = path.parent
    return path


def device(path: Path) -> int:
    """The number of the disk on which a path lies, or would lie."""
    return os.stat(existing(path)).st_dev


def unwritable(folder: Path) -> str | None:
    """Why no file can be made in a folder (or the nearest one above that exists); None if one can.

    Permissions alone do not tell: of file systems that are full or mounted read-only, say.
    """
    place = existing(folder)
    below = folder.absolute().relative_to(place).parts[:1]
    if below and place.joinpath(*below).exists():
        return f"{place.joinpath(*below)} is a file"
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".hybridom_doctor_") as file:
            file.write(b"x")
            file.flush()
    except OSError as error:
        return error.strerror or str(error)
    return None


def lockless(folder: Path) -> str | None:
    """Why locks do not work in a folder (or the nearest one above that exists); None if they do.

    Raises:
        OSError: No file can be made there.
    """
    import fcntl

    with tempfile.NamedTemporaryFile(dir=existing(folder), prefix=".hybridom_doctor_") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.strerror or str(error)
        words = [sys.executable, "-c", RIVAL, file.name]
        status = subprocess.run(words, capture_output=True, timeout=60).returncode
    if status == 0:
        return "two processes got the same lock"
    return None if status == REFUSED else "a second process could not ask for the lock"


def file_system(path: Path, mounts: Path = Path("/proc/mounts")) -> FileSystem | None:
    """The file system of a path, or of the nearest folder above it; None where Linux's table of
    mounts is not there."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    place = existing(path).resolve()
    found = None
    for line in lines:
        _, folder, kind, *_ = line.split()
        mount = Path(folder.replace("\\040", " "))
        # A later line covers an earlier one at the same place.
        if place.is_relative_to(mount) and (
            found is None or len(mount.parts) >= len(found.mount.parts)
        ):
            found = FileSystem(mount, kind)
    return found


def free_space(path: Path) -> tuple[int, int | None]:
    """Bytes and files that a user may still write where a path lies; None: not counted."""
    status = os.statvfs(existing(path))
    return status.f_bavail * status.f_frsize, status.f_favail if status.f_files else None
