"""Thresholds of extremes, from the training period."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import xarray as xr

from hybridom.data.days import DAYS_IN_YEAR
from hybridom.data.percentiles import write_percentiles
from hybridom.data.plans import CELL, AnyConfig, global_attributes, origin
from hybridom.data.prepare.grid import model_grid
from hybridom.data.stores import StorePlan
from hybridom.files import read_json
from hybridom.grid import Grid
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC, VARIABLES, cf_attributes

ONE_PERCENTILE = 1  # bytes: a limit that no percentile fits into gives each a chunk of its own


def prepare_percentiles(config: AnyConfig, layout: Layout) -> None:
    """Write percentiles.zarr: thresholds of extremes for 365 days of the year.

    Variables (dayofyear, percentile, [depth,] latitude, longitude), float32, NaN on land, of all
    prognostic variables at the levels nearest to `extremes.depths`.

    Raises:
        UserError: A store of a training year is missing, or a window of `extremes.window` days
            holds no day of the training period.
    """
    grid, wet = model_grid(config, layout)
    levels = nearest_levels(grid, config.extremes.depths)
    train = config.periods.train
    sums = [(read_json(layout.state_manifest(y)) or {}).get("checksum", "") for y in train.years]
    inputs = hashlib.sha256("\n".join(sums).encode()).hexdigest()
    plan = StorePlan(
        layout.percentiles_store,
        layout.percentiles_manifest,
        _coordinates(config, grid, levels),
        {
            name: (
                (
                    "dayofyear",
                    "percentile",
                    *(CELL if VARIABLES[name].has_depth else CELL[1:]),
                ),
                {
                    **cf_attributes(name),
                    "long_name": f"percentiles of {VARIABLES[name].long_name}",
                },
            )
            for name in PROGNOSTIC
        },
        origin(config, "percentiles", grid, inputs, wet),
        chunk_bytes=ONE_PERCENTILE,
    )
    write_percentiles(config, layout, plan, wet, levels)


def nearest_levels(grid: Grid, depths: Sequence[float]) -> list[int]:
    """Grid indices of the levels nearest to some depths (m), ascending, each once."""
    return sorted({int(np.abs(grid.depth - depth).argmin()) for depth in depths})


def _coordinates(config: AnyConfig, grid: Grid, levels: Sequence[int]) -> xr.Dataset:
    """Coordinates, and what the thresholds are as global attributes."""
    train, extremes = config.periods.train, config.extremes
    attrs = global_attributes(
        config,
        "percentiles",
        "percentiles of the training period by day of the year",
        f"stores of state, {train.start} to {train.end}",
    )
    day = {"long_name": "day of a year of 365 days; 29 February lies half-way", "units": "1"}
    percent = {"long_name": "percentile of the values in a window of days", "units": "percent"}
    return (
        grid.to_dataset()
        .isel(depth=list(levels))
        .assign_coords(
            dayofyear=("dayofyear", np.arange(1, DAYS_IN_YEAR + 1, dtype=np.int32), day),
            percentile=("percentile", np.array(extremes.percentiles), percent),
        )
        .assign_attrs(attrs, window=extremes.window, smoothing=extremes.smoothing)
    )
