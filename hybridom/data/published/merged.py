"""Coarse forecasts that drive the published regional model."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hybridom.config.data import PUBLISHED_MERGED_VARIABLE
from hybridom.data.published.layout import KEY, open_hdf5
from hybridom.errors import UserError

Float32 = NDArray[np.float32]

MERGED_LEVELS = 12
MERGED_ORDER = ("thetao", "so", "uo", "vo")


def merged_file(year: int, folder: Path | None = None) -> Path:
    """The file GLORYS_regional_<YEAR>...merged.h5 of the forecasts that start in a year.

    Args:
        year: Year of the start days.
        folder: Where it is; None: where $HOM_REGIONAL_MERGED_RESULTS_DIR says.

    Raises:
        UserError: The variable is not set, or the folder holds no such file or several.
    """
    if folder is None:
        named = os.environ.get(PUBLISHED_MERGED_VARIABLE)
        if not named:
            raise UserError(
                f"variable {PUBLISHED_MERGED_VARIABLE} is not set; expected the folder of "
                f"GLORYS_regional_{year}_merged.h5: set it"
            )
        folder = Path(named)
    found = sorted(folder.glob(f"GLORYS_regional_{year}*merged.h5"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise UserError(
            f"{folder}: expected one file GLORYS_regional_{year}*merged.h5, found {names}: correct "
            f"the variable {PUBLISHED_MERGED_VARIABLE}"
        )
    return found[0]


def read_merged(start: dt.date, leads: int, folder: Path | None = None) -> dict[str, Float32]:
    """One coarse forecast, as it is stored: thetao, so and zos are anomalies.

    Args:
        start: Start day; its day of the year is the index in the file.
        leads: Days of forecast to read; the first one is the day after `start`.
        folder: As in `merged_file`.

    Returns:
        Variable -> (leads, [12,] rows, columns) float32, from the (start day, lead, 49, rows,
        columns) of the file: thetao, so, uo, vo of 12 levels each, then zos.

    Raises:
        UserError: As `merged_file`; the file has another shape, or ends before that start or lead.
    """
    path = merged_file(start.year, folder)
    row = start.timetuple().tm_yday - 1
    channels = len(MERGED_ORDER) * MERGED_LEVELS + 1
    with open_hdf5(path) as file:
        shape: tuple[int, ...] = file[KEY].shape
        if len(shape) != 5 or shape[2] != channels:
            raise UserError(
                f"{path}: key {KEY!r} has shape {shape}, expected (start days, leads, {channels}, "
                "rows, columns): make the file again"
            )
        if row >= shape[0] or leads > shape[1]:
            raise UserError(
                f"{path}: holds {shape[0]} start days of {shape[1]} days each, expected {leads} "
                f"days from {start} (start {row + 1}): ask for an earlier or shorter one"
            )
        values = np.asarray(file[KEY][row, :leads], np.float32)
    found = {
        name: values[:, n * MERGED_LEVELS : (n + 1) * MERGED_LEVELS]
        for n, name in enumerate(MERGED_ORDER)
    }
    return found | {"zos": values[:, -1]}
