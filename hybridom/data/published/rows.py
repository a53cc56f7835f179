"""Large files of float32 rows, written a row (a day) at a time, that survive a kill.

The file is laid out once as `<name>.partial`, with room for every row. Rows are then written past
the library that owns the format, straight to their place: a kill can never leave its bookkeeping
half done. `<name>.partial.json` counts the rows that are complete, a manifest `<name>.json` follows
the finished file. An interrupted file ends with the bytes of an uninterrupted one.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybridom import __version__
from hybridom.files import read_json, write_json
from hybridom.progress import track

log = logging.getLogger(__name__)

Float32 = NDArray[np.float32]
LITTLE = np.dtype("<f4")


@dataclass(frozen=True)
class RowFile:
    """A file to write.

    Attributes:
        path: The finished file.
        shape: Shape of the array; its first axis are the rows.
        lay_out: Writes a file with room for the array, given its path, and returns the byte at
            which the array begins, in C order.
        origin: What the rows are made from, `config_hash` and `grid_hash` among it. A file of
            another origin is not continued.
        extras: More entries of the manifest.
    """

    path: Path
    shape: tuple[int, ...]
    lay_out: Callable[[Path], int]
    origin: Mapping[str, Any]
    extras: Mapping[str, Any]

    @property
    def partial(self) -> Path:
        """The file while it is written."""
        return self.path.with_name(self.path.name + ".partial")

    @property
    def journal(self) -> Path:
        """How much of the partial file is complete."""
        return self.path.with_name(self.path.name + ".partial.json")

    @property
    def manifest(self) -> Path:
        """Description of the finished file."""
        return self.path.with_name(self.path.name + ".json")


def write_rows(file: RowFile, row: Callable[[int], Float32], label: str) -> None:
    """Write a file, or what is missing of it, and its manifest.

    Args:
        file: What to write.
        row: Index -> values of that row, shape `file.shape[1:]`; called in order.
        label: Words for the progress display.

    Raises:
        UserError: Whatever `row` refuses; the rows before it are kept.
    """
    finished = read_json(file.manifest) or {}
    if finished.get("origin") == dict(file.origin) and file.path.exists():
        log.info("%s: complete already, made from the same stores", file.path)
        return
    file.manifest.unlink(missing_ok=True)
    state = read_json(file.journal) or {}
    moved = file.path.exists() and state.get("rows") == file.shape[0]
    if state.get("origin") != dict(file.origin) or not (file.partial.exists() or moved):
        state = _begin(file)
    if state["rows"]:
        log.info("%s: continues at row %d of %d", file.path, state["rows"] + 1, file.shape[0])
    if file.partial.exists():
        with open(file.partial, "r+b", buffering=0) as out:
            for index in track(range(state["rows"], file.shape[0]), label=label):
                values = np.ascontiguousarray(row(index), LITTLE).reshape(-1)
                out.seek(state["offset"] + index * values.nbytes)
                _write_all(out.fileno(), values)
                write_json(file.journal, state | {"rows": index + 1})
        os.replace(file.partial, file.path)
    write_json(file.manifest, _manifest(file))
    file.journal.unlink()


def _begin(file: RowFile) -> dict[str, Any]:
    """Lay out the file; the journal, written last, says that this is done."""
    file.journal.unlink(missing_ok=True)
    file.partial.unlink(missing_ok=True)
    file.path.parent.mkdir(parents=True, exist_ok=True)
    offset = file.lay_out(file.partial)
    needed = offset + math.prod(file.shape) * LITTLE.itemsize
    if file.partial.stat().st_size < needed:
        os.truncate(file.partial, needed)
    state = {"origin": dict(file.origin), "offset": offset, "rows": 0}
    write_json(file.journal, state)
    return state


def _write_all(descriptor: int, values: Float32) -> None:
    # One call writes 2 GiB at most, and less where a signal or a quota comes in between.
    left = values.data.cast("B")
    while left:
        left = left[os.write(descriptor, left) :]


def _manifest(file: RowFile) -> dict[str, Any]:
    return {
        "file": file.path.name,
        "shape": list(file.shape),
        "bytes": file.path.stat().st_size,
        "version": __version__,
        "origin": dict(file.origin),
        **file.extras,
    }
