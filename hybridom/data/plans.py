"""What is written beside the numbers of a store: coordinates, CF attributes, and its origin."""

from __future__ import annotations

import ast
import datetime as dt
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridom import __version__
from hybridom.config import Config, StageConfig, config_hash, narrow
from hybridom.data.days import TIME_UNITS, day_number
from hybridom.grid import Grid
from hybridom.variables import cf_attributes

AnyConfig = Config | StageConfig
Mask = NDArray[np.bool_]


def daily_mean(name: str, where: str) -> dict[str, str]:
    """CF attributes of a daily mean over the part of each cell that is `where` ("" for all)."""
    area = f"area: mean where {where}" if where else "area: mean"
    return cf_attributes(name) | {"cell_methods": f"time: mean {area}"}


def daily_coordinates(grid: Grid, days: Sequence[dt.date], attrs: dict[str, str]) -> xr.Dataset:
    """Coordinates of a year; a day is stamped at its beginning and its bounds say how long it is.

    Args:
        grid: Model grid.
        days: Days, ascending.
        attrs: Global attributes.
    """
    dataset = grid.to_dataset()
    numbers = np.array([day_number(day) for day in days], np.int32)
    units = {"units": TIME_UNITS, "calendar": "standard"}
    dataset["time_bounds"] = (("time", "bound"), np.stack([numbers, numbers + 1], -1), units)
    time = {"standard_name": "time", "axis": "T", "bounds": "time_bounds", **units}
    return dataset.assign_coords(time=("time", numbers, time)).assign_attrs(attrs)


def global_attributes(
    config: AnyConfig, stage: str, title: str, inputs: Sequence[Path]
) -> dict[str, str]:
    """Global attributes: title, input names, version and configuration hash."""
    names = f"{inputs[0].name} ... {inputs[-1].name}" if len(inputs) > 1 else inputs[0].name
    return {
        "title": title,
        "source": f"{len(inputs)} files: {names}",
        "hybridom_version": __version__,
        "config_hash": config_hash(narrow(config, stage)),
    }


def origin(
    config: AnyConfig, stage: str, grid: Grid, inputs: Iterable[Path], wet: Mask | None = None
) -> dict[str, str]:
    """What a store depends on; sizes and times of the inputs stand for their contents."""
    files = hashlib.sha256()
    for path in sorted(set(inputs)):
        status = path.stat()
        files.update(f"{path.name} {status.st_size} {status.st_mtime_ns}\n".encode())
    code = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        # The syntax tree leaves out comments and layout, which change no number.
        code.update(ast.dump(ast.parse(path.read_text(encoding="utf-8"))).encode())
    return {
        "config_hash": config_hash(narrow(config, stage)),
        "grid_hash": grid.hash,
        "wet_hash": hashlib.sha256(b"" if wet is None else wet.tobytes()).hexdigest(),
        "inputs_hash": files.hexdigest(),
        "code_hash": code.hexdigest(),
    }
