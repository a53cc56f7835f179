"""Files that appear complete, and safe on the disk, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from hybridom.errors import UserError


@contextmanager
def replace_atomically(path: Path) -> Iterator[BinaryIO]:
    """Write to a temporary neighbour that takes the place of `path` once it is on the disk.

    Raises:
        UserError: The file cannot be written.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(partial, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        # In a folder that may not be written there is nothing to remove.
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise UserError(
            f"{path}: cannot be written ({error.strerror or error}); free space or mend the folder"
        ) from None
