"""A small world on disk: grid, truth, climatology and forecasts in the project's store formats."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from hybridom.config import Config, validate
from hybridom.data.statistics import write_statistics
from hybridom.evaluation.damping import write_damping
from hybridom.grid import Grid, write_grid
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC, VARIABLES, cf_attributes

START = dt.date(2004, 2, 26)
Fields = dict[str, np.ndarray]


@dataclass
class World:
    """Everything that was written, in float64 and with NaN on land."""

    config: Config
    layout: Layout
    grid: Grid
    wet: np.ndarray
    truth: Fields
    climatology: Fields
    forecasts: dict[dt.date, Fields]
    damping: Fields
    first_day: dt.date
    thresholds: Fields

    def on(self, day: dt.date) -> int:
        """Index of a day in `truth`."""
        return (day - self.first_day).days

    @property
    def scales(self) -> Fields:
        """Standard deviations by level, another one for each variable and level."""
        return {
            name: (n + 1.0) + 0.1 * np.arange(self.grid.nz if VARIABLES[name].has_depth else 1)
            for n, name in enumerate(PROGNOSTIC)
        }


def make_config(
    folder: Path,
    days: int = 5,
    starts: int = 2,
    resolution: float = 30.0,
    depths: tuple[float, ...] = (5.0, 20.0, 100.0),
    **sections: object,
) -> Config:
    """A configuration whose files lie under `folder`."""
    every = 2
    last = START + dt.timedelta(every * (starts - 1))
    plain = {
        "experiment": "toy",
        "paths": {"resources": str(folder / "resources"), "results": str(folder / "results")},
        "source": {"kind": "files", "ocean_dir": "ocean", "forcing_dir": "forcing"},
        "grid": {"name": "toy", "resolution": resolution, "depths": depths},
        "periods": {
            "train": {"start": "2001-01-01", "end": "2002-12-31"},
            "validation": {"start": "2003-01-01", "end": "2003-12-31"},
            "test": {"start": "2004-01-01", "end": "2005-12-31"},
        },
        "training": {"curriculum": [{"days": 1, "steps": 1}]},
        "forecast": {"days": days, "first": START, "last": last, "every": every},
        "evaluation": {
            "regions": {"tropics": (-40, 40, -180, 180), "pacific": (-60, 60, 140, -100)}
        },
        "figures": {"leads": [1, days], "depths": [0.0, 90.0], "dpi": 60, "formats": ["png"]},
    }
    return validate({**plain, **sections}, "toy")


def make_world(
    folder: Path, fields: Callable[[Grid, int], Fields] | None = None, **settings: object
) -> World:
    """Write a world; `fields(grid, n)` makes n smooth days, noise by default."""
    config = make_config(folder, **settings)
    layout = Layout(config)
    rng = np.random.default_rng(3)
    box = config.grid
    grid = Grid.regular(box.resolution, box.lat, box.lon, box.depths)
    # Land that differs by level, with a wet cell left in every level and region.
    wet = rng.random(grid.shape) > np.array([0.2, 0.3, 0.4])[:, None, None]
    wet = np.logical_and.accumulate(wet, axis=0)
    write_grid(layout.grid_file, grid, wet, wet.astype(float), {})

    make = fields or (lambda grid, n: _noise(rng, grid, n))
    starts = config.forecast.start_dates()
    length = (starts[-1] - starts[0]).days + config.forecast.days + 1
    mask = {name: wet if VARIABLES[name].has_depth else wet[0] for name in PROGNOSTIC}

    def on_land(values: Fields) -> Fields:
        return {
            name: np.where(mask[name], x, np.nan).astype(np.float32).astype(float)
            for name, x in values.items()
        }

    truth, climatology = on_land(make(grid, length)), on_land(make(grid, 365))
    forecasts = {}
    for start in starts:
        offset = (start - starts[0]).days
        noise = on_land(make(grid, config.forecast.days + 1))
        span = slice(offset, offset + config.forecast.days + 1)
        forecasts[start] = {name: truth[name][span] + 0.5 * noise[name] for name in PROGNOSTIC}
    forecasts = on_all(forecasts, on_land)
    damping = _damping(rng, grid, config.forecast.days)
    thresholds = make_thresholds(config, grid, wet)
    world = World(
        *(config, layout, grid, wet, truth, climatology, forecasts, damping, START, thresholds)
    )
    write_world(world)
    return world


def on_all(forecasts: dict[dt.date, Fields], function: Callable) -> dict[dt.date, Fields]:
    """Apply a function to the fields of every forecast."""
    return {start: function(fields) for start, fields in forecasts.items()}


def _noise(rng: np.random.Generator, grid: Grid, n: int) -> Fields:
    shapes = {
        name: grid.shape if VARIABLES[name].has_depth else grid.shape[1:] for name in PROGNOSTIC
    }
    return {name: rng.normal(1.0, 2.0, (n, *shape)) for name, shape in shapes.items()}


def _damping(rng: np.random.Generator, grid: Grid, days: int) -> Fields:
    """Another number for each variable, lead and level, some of them negative."""
    levels = {name: grid.nz if VARIABLES[name].has_depth else 1 for name in PROGNOSTIC}
    return {name: rng.uniform(-0.2, 1.0, (days, n)) for name, n in levels.items()}


def make_thresholds(config: Config, grid: Grid, wet: np.ndarray) -> Fields:
    """Thresholds (365, p, [levels,] ny, nx) that a fifth or so of the default fields exceed."""
    rng, levels = np.random.default_rng(7), threshold_levels(config, grid)
    found = {}
    for name in PROGNOSTIC:
        cells = wet[levels] if VARIABLES[name].has_depth else wet[0]
        above = np.linspace(0.0, 1.0, len(config.extremes.percentiles))
        values = rng.normal(2.5, 1.0, (365, 1, *cells.shape)) + above.reshape(-1, *[1] * cells.ndim)
        found[name] = np.where(cells, values, np.nan).astype(np.float32)
    return found


def threshold_levels(config: Config, grid: Grid) -> list[int]:
    """Grid indices of the levels that thresholds are made for."""
    return sorted({int(np.abs(grid.depth - depth).argmin()) for depth in config.extremes.depths})


def write_thresholds(world: World) -> None:
    """Write the store of thresholds as `hybridom prepare percentiles` lays it out."""
    grid, layout, extremes = world.grid, world.layout, world.config.extremes
    variables = {}
    for name, x in world.thresholds.items():
        depth = ("depth",) if VARIABLES[name].has_depth else ()
        dims = ("dayofyear", "percentile", *depth, "latitude", "longitude")
        variables[name] = (dims, x.astype(np.float32), cf_attributes(name))
    coords = {
        "dayofyear": np.arange(1, 366),
        "percentile": list(extremes.percentiles),
        "depth": grid.depth[threshold_levels(world.config, grid)],
        "latitude": grid.lat,
        "longitude": grid.lon,
    }
    attrs = {"window": extremes.window, "smoothing": extremes.smoothing, "grid_hash": grid.hash}
    ds = xr.Dataset(variables, coords, attrs)
    write_store(ds, layout.percentiles_store, layout.percentiles_manifest, grid.hash)


def write_world(world: World) -> None:
    """Write truth, climatology, thresholds, damping and forecasts."""
    grid, layout = world.grid, world.layout
    days = np.datetime64(world.first_day, "ns") + np.arange(
        len(world.truth["zos"])
    ) * np.timedelta64(1, "D")
    years = days.astype("datetime64[Y]").astype(int) + 1970
    for year in np.unique(years):
        part = {name: x[years == year] for name, x in world.truth.items()}
        ds = dataset(grid, part, "time", days[years == year])
        write_store(ds, layout.state_store(year), layout.state_manifest(year), grid.hash)
    ds = dataset(grid, world.climatology, "dayofyear", np.arange(1, 366))
    write_store(ds, layout.climatology_store, layout.climatology_manifest, grid.hash)
    write_thresholds(world)
    scales = {
        name: {"std": scale if VARIABLES[name].has_depth else scale[0]}
        for name, scale in world.scales.items()
    }
    write_statistics(layout.statistics_file, grid, scales, {"grid_hash": grid.hash})
    write_damping(world.config, layout, grid, world.damping, starts=1)
    for start in world.forecasts:
        write_forecast(world, start)


def write_forecast(world: World, start: dt.date) -> None:
    """Write one forecast store from `world.forecasts`."""
    fields = world.forecasts[start]
    leads = np.arange(len(fields["zos"]))
    ds = dataset(world.grid, fields, "lead", leads)
    times = np.datetime64(start, "ns") + leads * np.timedelta64(1, "D")
    ds = ds.assign_coords(time=("lead", times), start_date=np.datetime64(start, "ns"))
    ds["lead"].attrs = {"standard_name": "forecast_period", "units": "days"}
    layout = world.layout
    write_store(ds, layout.forecast_store(start), layout.forecast_manifest(start), world.grid.hash)


def dataset(grid: Grid, fields: Fields, axis: str, values: np.ndarray) -> xr.Dataset:
    """Fields with a leading axis, on the grid's coordinates."""
    variables = {}
    for name, x in fields.items():
        depth = ("depth",) if VARIABLES[name].has_depth else ()
        dims = (axis, *depth, "latitude", "longitude")
        variables[name] = (dims, x.astype(np.float32), cf_attributes(name))
    coords = {axis: values, "depth": grid.depth, "latitude": grid.lat, "longitude": grid.lon}
    return xr.Dataset(variables, coords=coords)


def write_store(ds: xr.Dataset, path: Path, manifest: Path, grid_hash: str) -> None:
    """Write a store and its manifest; one chunk a variable keeps the tests quick."""
    encoding = {name: {"chunks": x.shape} for name, x in ds.data_vars.items()}
    ds.to_zarr(path, mode="w", encoding=encoding, zarr_format=3, consolidated=False)
    manifest.write_text(json.dumps({"store": path.name, "grid_hash": grid_hash}))


def climatology_of(world: World, name: str, day: dt.date) -> np.ndarray:
    """The climatology of a day; 29 February lies half-way between its neighbours."""
    if (day.month, day.day) == (2, 29):
        return world.climatology[name][58:60].mean(axis=0)
    return world.climatology[name][day.replace(year=2001).timetuple().tm_yday - 1]


def forecast_of(world: World, start: dt.date, system: str, name: str, lead: int) -> np.ndarray:
    """The field that a system forecasts, by its definition."""
    if system == "model":
        return world.forecasts[start][name][lead]
    initial = world.forecasts[start][name][0]
    if system == "persistence":
        return initial
    normal = climatology_of(world, name, start + dt.timedelta(lead))
    if system == "climatology":
        return normal
    left = world.damping[name][lead - 1]
    left = left[:, None, None] if VARIABLES[name].has_depth else left[0]
    return normal + left * (initial - climatology_of(world, name, start))


def in_region(world: World, region: str, j: int, i: int) -> bool:
    """Whether a cell lies in a region of `make_config`."""
    lat, lon = world.grid.lat[j], world.grid.lon[i]
    if region == "tropics":
        return -40 <= lat <= 40
    if region == "pacific":
        return -60 <= lat <= 60 and (lon >= 140 or lon <= -100)
    return True
