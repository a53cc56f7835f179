"""What the published files are written from: finished stores, checked as they are read."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybridom.config import config_hash, narrow
from hybridom.data.days import as_date, day_number
from hybridom.data.plans import AnyConfig
from hybridom.data.published.frame import Frame
from hybridom.data.published.layout import stem
from hybridom.data.stores import open_arrays
from hybridom.errors import UserError
from hybridom.files import read_json, write_json
from hybridom.grid import Grid, read_grid
from hybridom.layout import Layout
from hybridom.progress import track
from hybridom.variables import FLUXES8, ICE, VARIABLES

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Export:
    """What is written, and where.

    Attributes:
        config: With the sections of stage `climatology`.
        layout: Paths of the stores.
        output: Folder of the published files.
        grid: Model grid.
        wet: (nz, ny, nx) wet cells.
        frame: Rows and columns of the files.
    """

    config: AnyConfig
    layout: Layout
    output: Path
    grid: Grid
    wet: Mask
    frame: Frame

    @classmethod
    def open(cls, config: AnyConfig, layout: Layout, output: Path) -> Export:
        """Read the grid.

        Raises:
            UserError: It is missing, or its cells are not those of the published layout.
        """
        grid, wet = read_grid(layout.grid_file)
        frame = Frame.around(grid, config.grid.resolution)
        return cls(config, layout, output, grid, wet, frame)

    def origin(self, manifests: Sequence[Path]) -> dict[str, Any]:
        """What files that are made from stores depend on.

        Raises:
            UserError: A manifest is missing, or its store is on another grid.
        """
        inputs = {}
        for path in manifests:
            manifest = read_json(path)
            if manifest is None:
                kind = "climatology" if path.stem == "climatology" else path.parent.name
                raise UserError(
                    f"{path}: no manifest of a finished store; expected one for the export: run "
                    f"`hybridom prepare {kind}`"
                )
            if manifest["grid_hash"] != self.grid.hash:
                raise UserError(
                    f"{path}: made for grid {manifest['grid_hash']}, expected {self.grid.hash} of "
                    f"{self.layout.grid_file}: run the `hybridom prepare` stages again"
                )
            inputs[f"{path.parent.name}/{path.name}"] = manifest["checksum"]
        hashes = {"config_hash": config_hash(narrow(self.config, "climatology"))}
        return {**hashes, "grid_hash": self.grid.hash, "inputs": inputs}

    def names(self) -> tuple[float, bool]:
        """What file names depend on: resolution, and whether it is a region."""
        return self.config.grid.resolution, not self.grid.periodic

    def checked(self, values: NDArray, name: str, path: Path, entry: str) -> Float32:
        """Values of a store, if every cell that needs one has one.

        Raises:
            UserError: Some have none.
        """
        sea = self.wet if VARIABLES[name].has_depth else self.wet[0]
        absent = ~np.isfinite(values)
        if VARIABLES[name].role != "forcing":
            absent &= sea
        if absent.any():
            raise UserError(
                f"{path}: variable {name} on {entry} holds no value (NaN) in {int(absent.sum())} "
                "cells; the published layout has no gaps: get the missing day and prepare it"
            )
        return np.asarray(values, np.float32)


def open_year(path: Path, names: Sequence[str], days: Sequence[dt.date]) -> dict[str, Any]:
    """Arrays of a store that holds the whole year, row by row.

    Raises:
        UserError: The store is missing, or lacks a day or a variable.
    """
    arrays = open_arrays(path, [*names, "time"])
    held = np.asarray(arrays.pop("time")[:]).tolist()
    if held != [day_number(day) for day in days]:
        dates = f"{as_date(held[0])} to {as_date(held[-1])}"
        raise UserError(
            f"{path}: holds {len(held)} days from {dates}; the published layout has all "
            f"{len(days)} of the year: widen periods and prepare it again"
        )
    return arrays


def open_ice(path: Path) -> dict[str, Any]:
    try:
        return open_arrays(path, ICE)
    except UserError:
        raise UserError(
            f"{path}: sea ice ({', '.join(ICE)}) is absent, the published layout needs it: set "
            "source.sea_ice to true and run `hybridom prepare state` again"
        ) from None


def training_extremes(export: Export, fluxes: Sequence[str]) -> tuple[NDArray, NDArray]:
    """Lowest and highest values of the fluxes over the training period, (8,) float64 each.

    They are found once and kept beside the files, because every year is written with the same.

    Raises:
        UserError: A store is missing, or a flux is the same everywhere.
    """
    train, layout = export.config.periods.train, export.layout
    origin = export.origin([layout.forcing_manifest(year) for year in train.years])
    kept = export.output / f"WenHai_forcing_{stem(*export.names())}_extremes.json"
    found = read_json(kept)
    if found is not None and found["origin"] == origin:
        return np.array(found["minimum"]), np.array(found["maximum"])
    low, high = np.full(len(fluxes), np.inf), np.full(len(fluxes), -np.inf)
    for year in train.years:
        arrays = open_arrays(layout.forcing_store(year), [*fluxes, "time"])
        rows = {int(t): row for row, t in enumerate(np.asarray(arrays["time"][:]))}
        for day in track(train.days(year), label=f"extremes of fluxes {year}"):
            for channel, name in enumerate(fluxes):
                if day_number(day) in rows:
                    values = np.asarray(arrays[name][rows[day_number(day)]])
                    low[channel] = min(low[channel], np.fmin.reduce(values, axis=None))
                    high[channel] = max(high[channel], np.fmax.reduce(values, axis=None))
    for name, least, most in zip(fluxes, low, high, strict=True):
        if not most > least:
            raise UserError(
                f"{layout.forcing_store(train.years[0])}: variable {name} is {least:g} on all days "
                "of periods.train; expected values that differ: look at the raw files"
            )
    found = {"variables": list(FLUXES8), "minimum": low.tolist(), "maximum": high.tolist()}
    write_json(kept, {**found, "origin": origin})
    return low, high
