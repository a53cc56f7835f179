"""Fetching the files of a job: what is there is kept, what is damaged or missing is fetched again.

Files are fetched into a hidden folder, checked, and moved to their place. A journal next to the
manifest says after each file what it is and how long, so that a job that was killed goes on with
the next file; the manifest is written when the last one is in its place.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hybridom import __version__
from hybridom.errors import UserError
from hybridom.files import read_json, write_json
from hybridom.progress import track
from hybridom.retrieve import clients
from hybridom.retrieve.checking import problem
from hybridom.retrieve.plan import Job, Piece, human

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fetched:
    """A file as the client left it.

    Attributes:
        piece: What was asked for.
        path: Where it lies now.
        place: Its name below the folder of the job.
        declared: Its size (bytes) as the source declares it; None where it does not.
        interim: Days (ISO) that are preliminary.
    """

    piece: Piece
    path: Path
    place: str
    declared: int | None
    interim: tuple[str, ...] = ()


Fetcher = Callable[[Job, Sequence[Piece]], Iterator[Fetched]]


def run(job: Job, fetch: Fetcher) -> None:
    """Fetch what is missing of a job, and write its manifest.

    Args:
        job: The files.
        fetch: Yields the given files one by one, in any order, each when it is complete; refuses
            what the disk has no room for.

    Raises:
        UserError: The client is missing, has no credentials, refuses, or fails after several
            attempts; a file is not what was asked for; the disk is too small. What has been
            fetched before stays.
    """
    journal = Journal(job)
    missing = [piece for piece in job.pieces if not journal.holds(piece)]
    if not missing and read_json(job.manifest) == journal.manifest():
        log.info("%s: complete already, %d files", job.name, len(job.pieces))
        return
    job.manifest.unlink(missing_ok=True)
    if missing:
        job.partial.mkdir(parents=True, exist_ok=True)
        try:
            for fetched in track(fetch(job, missing), len(missing), job.name):
                journal.take(fetched)
        except OSError as e:
            if e.errno not in clients.FULL:
                raise
            left = sum(piece.size for piece in job.pieces if piece.key not in journal.entries)
            raise UserError(
                f"{job.folder}: the disk became full during {job.name}; about {human(left)} are "
                f"still needed, {human(free_space(job.folder))} are free: free some space and run "
                "the command again"
            ) from None
        shutil.rmtree(job.partial, ignore_errors=True)
    journal.drop_unasked()
    write_json(job.manifest, journal.manifest())
    log.info("%s: %d files, %s", job.name, len(job.pieces), human(journal.size()))


def outstanding(job: Job) -> Job:
    """The job without the files that are there, by journal and size; no file is opened.

    Raises:
        UserError: The files there were fetched in another mode.
    """
    journal = Journal(job)
    return replace(job, pieces=tuple(p for p in job.pieces if not journal.seems_to_hold(p)))


class Journal:
    """What has been fetched of a job so far, on disk after every file.

    Raises:
        UserError: The files there were fetched in another mode.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        content = read_json(job.journal) or {}
        if content and content["mode"] != job.mode:
            raise UserError(
                f"{job.manifest}: was fetched as {content['mode']!r}, the configuration says "
                f"{job.mode!r}, and both would hold the same days; use another folder, or delete "
                f"the files of this month and {job.journal.name}"
            )
        self.entries: dict[str, dict[str, Any]] = content.get("files", {})

    def seems_to_hold(self, piece: Piece) -> bool:
        """Whether a file is there, from the same request and of the right size."""
        entry = self.entries.get(piece.key)
        if entry is None or entry["request"] != piece.request:
            return False
        path = self._job.folder / entry["file"]
        return path.exists() and path.stat().st_size == entry["size"]

    def holds(self, piece: Piece) -> bool:
        """Whether a file is there, from the same request, whole and openable."""
        entry = self.entries.get(piece.key)
        if entry is None or entry["request"] != piece.request:
            return False
        found = problem(self._job.folder / entry["file"], piece, entry["size"])
        if found:
            log.warning("%s; fetching it again", found)
        return found is None

    def take(self, fetched: Fetched) -> None:
        """Check a file, move it to its place, and note it.

        Raises:
            UserError: It is not what was asked for.
        """
        piece, place = fetched.piece, self._job.folder / fetched.place
        if found := problem(fetched.path, piece, fetched.declared):
            raise UserError(
                f"{self._job.name}: {piece.dataset} delivered a wrong file: {found}; run the "
                "command again, or correct periods, grid or download"
            )
        if fetched.path != place:
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(fetched.path, place)
        old = self.entries.get(piece.key)
        if old is not None and old["file"] != fetched.place:
            self._remove(old["file"], "replaced")
        self.entries[piece.key] = {
            "file": fetched.place,
            "size": place.stat().st_size,
            "declared_size": fetched.declared,
            "dataset": piece.dataset,
            "interim_days": list(fetched.interim),
            "request": piece.request,
            "client": f"{self._job.client} {clients.version(self._job.client)}",
            "fetched": f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%M:%SZ}",
        }
        self._write()
        log.info("%s: %s, %s", self._job.name, place.name, human(place.stat().st_size))

    def drop_unasked(self) -> None:
        """Remove files of earlier requests where they could hold the same days."""
        asked = {piece.key for piece in self._job.pieces}
        unasked = sorted(set(self.entries) - asked)
        if self._job.exclusive and unasked:
            for key in unasked:
                self._remove(self.entries.pop(key)["file"], "no longer asked for")
            self._write()

    def _remove(self, name: str, reason: str) -> None:
        path = self._job.folder / name
        if path.exists():
            log.info("%s: removed, %s", path, reason)
            path.unlink()

    def _write(self) -> None:
        write_json(self._job.journal, {"mode": self._job.mode, "files": self.entries})

    def size(self) -> int:
        """Bytes of all files of the job."""
        return sum(self.entries[piece.key]["size"] for piece in self._job.pieces)

    def manifest(self) -> dict[str, Any]:
        """What the manifest says: the files that are asked for, in order."""
        files = [self.entries[piece.key] for piece in self._job.pieces if piece.key in self.entries]
        return {
            "job": self._job.name,
            "mode": self._job.mode,
            "files": files,
            "size": sum(entry["size"] for entry in files),
            "interim_days": sorted({day for entry in files for day in entry["interim_days"]}),
            "version": __version__,
        }


def free_space(folder: Path) -> int:
    """Free bytes of the file system on which a folder lies, or would lie."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def require_space(folder: Path, size: float, what: str) -> None:
    """Refuse what will not fit.

    Raises:
        UserError: Less than `size` bytes are free.
    """
    free = free_space(folder.absolute())
    if free < size:
        raise UserError(
            f"{folder}: {what} needs about {human(size)}, {human(free)} are free: free "
            f"{human(size - free)} there, or set paths.raw to a larger disk"
        )
