"""Daily climatology of state and forcing: 365 rows, from the training period alone.

By `climatology.method` it is made of annual harmonics (`harmonics`) or of running means (`window`).
In both every chunk of the training stores is read once, days that a store lists as gaps are left
out, and memory is bounded whatever the number of years. What has been computed is kept in a folder
beside the store until that is complete, so that a killed run continues and ends with the same
bytes.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

from hybridom.config import Config, StageConfig
from hybridom.data.days import climatology_rows
from hybridom.data.harmonics import HarmonicRows
from hybridom.data.history import History
from hybridom.data.stores import StorePlan, write_store
from hybridom.data.window import WindowRows
from hybridom.files import read_json, write_json
from hybridom.layout import Layout

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]


def write_climatology(
    config: Config | StageConfig, layout: Layout, plan: StorePlan, wet: Mask
) -> None:
    """Write climatology.zarr, or what is missing of it.

    Args:
        config: With periods and climatology.
        layout: Paths.
        plan: Of the store; its variables (dayofyear, [depth,] latitude, longitude) are computed.
        wet: (nz, ny, nx) ocean cells; the ocean's variables are NaN elsewhere.

    Raises:
        UserError: A store of a training year is missing, incomplete or damaged, or the method
            needs days of the year that the training period lacks.
    """
    history = History(layout, tuple(plan.variables), config.periods.train, wet)
    folder = parts_folder(plan)
    section = config.climatology
    rows: HarmonicRows | WindowRows
    if section.method == "window":
        rows = WindowRows(history, section.window, folder)
    else:
        rows = HarmonicRows(history, section.harmonics, folder)
    if read_json(folder / "origin.json") != dict(plan.origin):
        shutil.rmtree(folder, ignore_errors=True)
        write_json(folder / "origin.json", plan.origin)
    write_store(plan, rows.slabs, "climatology")
    shutil.rmtree(folder)


def parts_folder(plan: StorePlan) -> Path:
    """Folder of what has been computed for an unfinished store."""
    return plan.path.with_name(plan.path.name + ".parts")


def read_climatology(array: zarr.Array, days: Sequence[dt.date]) -> Float32:
    """Climatology of consecutive days of one calendar year.

    Args:
        array: Variable of climatology.zarr, (365, ...).
        days: Days; 29 February takes the mean of its neighbours.

    Returns:
        (n, ...).
    """
    rows = np.array([climatology_rows(day) for day in days])
    first = int(rows.min())
    held = np.asarray(array[first : int(rows.max()) + 1])
    before, after = held[rows[:, 0] - first], held[rows[:, 1] - first]
    return np.float32(0.5) * (before + after)
