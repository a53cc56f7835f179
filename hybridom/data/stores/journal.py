"""What is known of each slab: the key of its inputs, the digest of its bytes, its ranges.

While a store is written, one line of JSON for each slab goes to a journal beside it. A line is
written after the chunks of its slab, and no byte is forced onto the disk: what a power cut loses is
found by the digests, which are compared with the chunks before a slab is kept. A kill may cut the
last line short; it is then not counted.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

Ranges = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Record:
    """One slab as it was written.

    Attributes:
        key: What it was made from.
        digest: `slab_digest` of its chunks.
        ranges: Variable -> least and largest value; variables without any value are left out.
    """

    key: str
    digest: str
    ranges: Ranges

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Record:
        """From parsed JSON."""
        ranges = {name: (low, high) for name, (low, high) in content["ranges"].items()}
        return cls(content["key"], content["digest"], ranges)


class Journal:
    """The journal of a store that is being written.

    Args:
        path: Its file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def read(self) -> dict[str, Record] | None:
        """Slab -> its last record; None where there is no journal."""
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return None
        records = {}
        for line in lines[:-1]:  # what follows the last newline was cut off
            try:
                content = json.loads(line)
                records[content["slab"]] = Record.of(content)
            except (ValueError, KeyError, TypeError):
                break
        return records

    def rewrite(self, records: Mapping[str, Record]) -> None:
        """Begin again with these records; the file appears complete or stays as it was."""
        temporary = self.path.with_name(self.path.name + ".partial")
        temporary.write_bytes(b"".join(map(_line, records, records.values())))
        os.replace(temporary, self.path)

    def append(self, label: str, record: Record) -> None:
        """Add a slab; safe to call from several threads."""
        with self._lock, self.path.open("ab") as file:
            file.write(_line(label, record))


def _line(label: str, record: Record) -> bytes:
    return json.dumps({"slab": label, **asdict(record)}).encode() + b"\n"


def slab_files(root: Path, parts: Mapping[str, tuple[int, ...]], index: int) -> list[Path]:
    """Chunk files of a slab in order of their names.

    Args:
        root: The store.
        parts: Variable -> number of chunks along each axis but the first.
        index: The slab.
    """
    return [
        root.joinpath(name, "c", str(index), *place)
        for name in sorted(parts)
        for place in sorted(product(*(map(str, range(count)) for count in parts[name])))
    ]


def slab_digest(root: Path, parts: Mapping[str, tuple[int, ...]], index: int) -> str | None:
    """SHA-256 over the chunk files of a slab, names and bytes; None where one is missing.

    Arguments as of `slab_files`.
    """
    digest = hashlib.sha256()
    for path in slab_files(root, parts, index):
        try:
            content = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(content)
    return digest.hexdigest()
