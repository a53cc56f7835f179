"""What is expensive to make and never altered: made once, whichever worker asks first."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder for all tests; the worker that comes first makes it, and others wait for it.

    Args:
        factory: The fixture `tmp_path_factory`.
        name: Of the folder.
        make: Fills the empty folder that it is given.
    """
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # of all workers
    folder = base / name
    with (base / f"{name}.lock").open("a+") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not os.fstat(handle.fileno()).st_size:
            folder.mkdir()
            make(folder)
            handle.write("made")
    return folder
