"""A synthetic forecast, truth and climatology of the real size, in the project's own stores.

Of every store a few different days are written; the others are hard links to them, as are the
forecasts from all start dates but the first. A year of forecasts then takes the disk of some days,
and reading it costs what reading different files that lie in memory would.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
import zarr

from hybridom.bench.loader_stores import Ocean
from hybridom.data.days import DAYS_IN_YEAR
from hybridom.data.statistics import write_statistics
from hybridom.data.stores import write_json
from hybridom.data.stores.plan import COMPRESSOR, chunk_shape
from hybridom.data.stores.threads import shared_pool
from hybridom.grid import Grid, write_grid
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC, VARIABLES, cf_attributes

DISTINCT = 4  # days


def write_stores(config: Any, layout: Layout, threads: int | None = None) -> Grid:
    """Write grid, truth, climatology, damping, statistics and the forecasts from all start dates.

    Args:
        config: The `evaluate` stage's part of a configuration; its start dates and valid days lie
            in one year.
        layout: Its paths.
        threads: Threads that make and compress fields; None for one a core, 8 at most.

    Returns:
        The grid.
    """
    box, starts = config.grid, config.forecast.start_dates()
    grid = Grid.regular(box.resolution, box.lat, box.lon, box.depths)
    ocean = Ocean(grid)
    wet = np.broadcast_to(~ocean.land, grid.shape)
    write_grid(layout.grid_file, grid, wet, wet.astype(np.float64), {})
    year = starts[0].year
    count = (starts[-1] - dt.date(year, 1, 1)).days + config.forecast.days + 1
    dates = np.datetime64(f"{year}-01-01", "ns") + np.arange(count) * np.timedelta64(1, "D")
    rows = np.arange(1, DAYS_IN_YEAR + 1, dtype=np.int32)
    first = layout.forecast_store(starts[0])
    stores: list[tuple[Path, dict[str, Any]]] = [
        (layout.state_store(year), {"time": ("time", dates)}),
        (layout.climatology_store, {"dayofyear": ("dayofyear", rows)}),
        (first, _leads(starts[0], config.forecast.days)),
    ]
    for number, (path, coords) in enumerate(stores):
        _write_metadata(path, grid, coords)
        group: Any = zarr.open_group(path, mode="r+")

        def write(name: str, group: Any = group, number: int = number) -> None:
            for day in range(min(DISTINCT, group[name].shape[0])):
                group[name][day] = ocean.field(name, DISTINCT * number + day)

        list(shared_pool(threads).map(write, PROGNOSTIC))
        ocean.field.cache_clear()
        _link(path, path, range(DISTINCT, min(count, group["zos"].shape[0])))
    for start in starts[1:]:
        path = layout.forecast_store(start)
        _write_metadata(path, grid, _leads(start, config.forecast.days))
        _link(first, path, range(config.forecast.days + 1))
    _write_damping(layout.damping, grid, config.forecast.days)
    ones = {name: np.ones(grid.nz) if VARIABLES[name].has_depth else 1.0 for name in PROGNOSTIC}
    scales = {name: {"std": np.asarray(scale)} for name, scale in ones.items()}
    write_statistics(layout.statistics_file, grid, scales, {"grid_hash": grid.hash})
    return grid


def _leads(start: dt.date, days: int) -> dict[str, Any]:
    leads = np.arange(days + 1, dtype=np.int32)
    return {
        "lead": ("lead", leads),
        "time": ("lead", np.datetime64(start, "ns") + leads * np.timedelta64(1, "D")),
    }


def _write_metadata(path: Path, grid: Grid, coords: Mapping[str, Any]) -> None:
    """Write a store without values, and its manifest; the first coordinate is its axis of days."""
    axis, length = next((name, len(values)) for name, (_, values) in coords.items())
    cells = ("depth", "latitude", "longitude")
    variables, encoding = {}, {}
    for name in PROGNOSTIC:
        dims = cells if VARIABLES[name].has_depth else cells[1:]
        shape = (length, *grid.shape[-len(dims) :])
        chunks = chunk_shape(shape)
        empty = da.full(shape, np.float32(np.nan), chunks=chunks)
        variables[name] = ((axis, *dims), empty, cf_attributes(name))
        encoding[name] = {"chunks": chunks, "compressors": [COMPRESSOR]}
    centres = {"depth": grid.depth, "latitude": grid.lat, "longitude": grid.lon}
    data = xr.Dataset(variables, coords={**centres, **coords})
    path.parent.mkdir(parents=True, exist_ok=True)
    data.to_zarr(
        path, mode="w", compute=False, encoding=encoding, zarr_format=3, consolidated=False
    )
    write_json(path.with_suffix(".json"), {"store": path.name, "grid_hash": grid.hash})


def _link(source: Path, target: Path, days: Sequence[int]) -> None:
    """Make days of a store of links to the written days of `source`."""
    for name in PROGNOSTIC:
        folders = [source / name / "c" / str(day) for day in range(DISTINCT)]
        chunks = [
            [(file, file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()]
            for folder in folders
            if folder.is_dir()
        ]
        for day in days:
            for chunk, inside in chunks[day % len(chunks)]:
                link = target / name / "c" / str(day) / inside
                link.parent.mkdir(parents=True, exist_ok=True)
                os.link(chunk, link)


def _write_damping(path: Path, grid: Grid, days: int) -> None:
    leads = np.arange(1, days + 1)
    data = xr.Dataset(coords={"lead": leads}, attrs={"grid_hash": grid.hash})
    for name in PROGNOSTIC:
        levels = grid.nz if VARIABLES[name].has_depth else 1
        values = np.repeat(0.95 ** leads[:, None], levels, axis=1)
        data[f"{name}_damping"] = (
            (("lead", "depth"), values) if levels > 1 else (("lead",), values[:, 0])
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    data.to_netcdf(path)
