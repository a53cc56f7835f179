"""Climatology and statistics of the training period."""

from __future__ import annotations

import hashlib
import logging

import numpy as np
import xarray as xr

from hybridom.data.climatology import write_climatology
from hybridom.data.days import DAYS_IN_YEAR
from hybridom.data.plans import CELL, AnyConfig, global_attributes, origin
from hybridom.data.prepare.grid import model_grid
from hybridom.data.statistics import compute_statistics, write_statistics
from hybridom.data.stores import StorePlan
from hybridom.files import read_json
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC, VARIABLES, cf_attributes

log = logging.getLogger(__name__)


def prepare_climatology(config: AnyConfig, layout: Layout) -> None:
    """Write climatology.zarr: 365 days of state and forcing, from the training period alone.

    Variables (dayofyear, [depth,] latitude, longitude), float32, NaN on land.

    Raises:
        UserError: A store of a training year is missing, or the harmonics need days of the year
            that the training period lacks.
    """
    grid, wet = model_grid(config, layout)
    names = (*PROGNOSTIC, *config.forcing_names)
    title = "daily climatology of the training period"
    attrs = global_attributes(config, "climatology", title, _training_stores(config))
    days = xr.DataArray(
        np.arange(1, DAYS_IN_YEAR + 1, dtype=np.int32),
        dims="dayofyear",
        attrs={"long_name": "day of a year of 365 days; 29 February lies half-way", "units": "1"},
    )
    methods = {"cell_methods": "time: mean over years"}
    plan = StorePlan(
        layout.climatology_store,
        layout.climatology_manifest,
        grid.to_dataset().assign_coords(dayofyear=days).assign_attrs(attrs),
        {
            name: (
                ("dayofyear", *(CELL if VARIABLES[name].has_depth else CELL[1:])),
                cf_attributes(name) | methods,
            )
            for name in names
        },
        origin(config, "climatology", grid, _training_key(config, layout), wet),
    )
    write_climatology(config, layout, plan, wet)


def prepare_statistics(config: AnyConfig, layout: Layout) -> None:
    """Write statistics.nc from the training period alone.

    Raises:
        UserError: A store is missing, or a deviation is zero (it names variable and level).
    """
    grid, wet = model_grid(config, layout)
    found = compute_statistics(config, layout, grid, wet)
    title = "statistics of the training period"
    attrs = global_attributes(config, "climatology", title, _training_stores(config))
    write_statistics(layout.statistics_file, grid, found, {**attrs, "grid_hash": grid.hash})
    log.info("%s: written", layout.statistics_file)


def _training_stores(config: AnyConfig) -> str:
    period = config.periods.train
    return f"stores of state and forcing, {period.start} to {period.end}"


def _training_key(config: AnyConfig, layout: Layout) -> str:
    """Stands for the contents of the training stores: the checksums in their manifests."""
    years = config.periods.train.years
    manifests = [f(y) for y in years for f in (layout.state_manifest, layout.forcing_manifest)]
    sums = [(read_json(path) or {}).get("checksum", "") for path in manifests]
    return hashlib.sha256("\n".join(sums).encode()).hexdigest()
