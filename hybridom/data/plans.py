"""What is written beside the numbers of a store: coordinates, CF attributes, and its origin."""

from __future__ import annotations

import ast
import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hybridom import __version__
from hybridom.config import Config, StageConfig, config_hash, narrow
from hybridom.data.days import TIME_UNITS, day_number
from hybridom.data.raw.folders import fingerprint
from hybridom.grid import Grid
from hybridom.variables import VARIABLES, cf_attributes

AnyConfig = Config | StageConfig
Kind = Literal["state", "forcing", "climatology", "percentiles"]
Mask = NDArray[np.bool_]

CELL = ("depth", "latitude", "longitude")

# The modules that make numbers: a store made by other code is made again, by them alone.
NUMBERS = {
    "state": ("raw/*.py", "regrid/*.py", "prepare/state.py", "prepare/pipeline.py"),
    "forcing": ("raw/*.py", "regrid/*.py", "prepare/forcing.py", "../bulk.py"),
    "climatology": ("harmonics.py", "history.py", "sums.py", "window.py"),
    "percentiles": ("history.py", "percentiles.py", "ranks.py"),
}


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


def recipe(config: AnyConfig, kind: Kind) -> dict[str, object]:
    """What of the configuration the numbers of a store depend on.

    Folders, other periods and the handling of gaps are not in it: a store is not made again when
    they change.
    """
    parts: dict[str, object] = {"grid": config.grid.model_dump(mode="json")}
    if kind == "climatology":
        parts["train"] = config.periods.train.model_dump(mode="json")
        parts["climatology"] = config.climatology.model_dump(mode="json")
        parts["forcing"] = config.forcing
        return parts
    if kind == "percentiles":
        parts["train"] = config.periods.train.model_dump(mode="json")
        parts["extremes"] = config.extremes.model_dump(mode="json")
        return parts
    of_forcing = kind == "forcing"
    parts["keepbits"] = {
        name: bits
        for name, bits in config.stores.keepbits.items()
        if (VARIABLES[name].role == "forcing") == of_forcing
    }
    if kind == "state":
        parts["coastal_fill"] = config.regrid.coastal_fill
        parts["sea_ice"] = config.source.sea_ice
    else:
        parts["regrid"] = config.regrid.forcing
        parts["forcing"] = config.forcing
    return parts


def recipe_hash(config: AnyConfig, kind: Kind) -> str:
    """Twelve hexadecimal digits that change with the recipe."""
    text = json.dumps(recipe(config, kind), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def global_attributes(config: AnyConfig, kind: Kind, title: str, source: str) -> dict[str, str]:
    """Global attributes: title, source, version and hash of the recipe.

    They name no single file, so that days which come later change no attribute: the manifest
    lists the files.
    """
    return {
        "title": title,
        "source": source,
        "hybridom_version": __version__,
        "config_hash": recipe_hash(config, kind),
    }


def grid_attributes(config: AnyConfig, source: str) -> dict[str, str]:
    """Attributes of grid.nc: title, source and hash of the stage's configuration."""
    return {
        "title": "model grid and wet mask",
        "source": source,
        "config_hash": config_hash(narrow(config, "grid")),
    }


def input_key(paths: Iterable[Path]) -> str:
    """Names, sizes and times of some files, which stand for their contents; "" for none."""
    text = ""
    for path in sorted(set(paths)):
        text += f"{path.name} {fingerprint(path)}\n"
    return hashlib.sha256(text.encode()).hexdigest() if text else ""


def origin(
    config: AnyConfig, kind: Kind, grid: Grid, inputs: str = "", wet: Mask | None = None
) -> dict[str, str]:
    """What all of a store depends on.

    Args:
        config: Configuration.
        kind: What the store holds.
        grid: Model grid.
        inputs: Stands for the files on which every slab depends, as `input_key`.
        wet: Wet mask that was applied.
    """
    code = hashlib.sha256()
    for pattern in NUMBERS[kind]:
        for path in sorted(Path(__file__).parent.glob(pattern)):
            # The syntax tree leaves out comments and layout, which change no number.
            code.update(ast.dump(ast.parse(path.read_text(encoding="utf-8"))).encode())
    return {
        "config_hash": recipe_hash(config, kind),
        "grid_hash": grid.hash,
        "wet_hash": hashlib.sha256(b"" if wet is None else wet.tobytes()).hexdigest(),
        "inputs_hash": inputs,
        "code_hash": code.hexdigest(),
    }
