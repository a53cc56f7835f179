"""A small region on disk, across the date line, in a coarser driver with a forecast of its own."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hybridom.files import write_json
from hybridom.grid import Grid, write_grid
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC, VARIABLES
from tests.evaluation import synthetic
from tests.evaluation.synthetic import World

DEPTHS = (5.0, 20.0, 100.0)
COARSE = Grid.regular(12.0, (-84.0, 84.0), (-180.0, 180.0), DEPTHS)
BASELINES = ("driver", "persistence", "climatology")
# Of a variable's field in the driver's forecast: (number of the variable, lead, lat, lon, level).
Function = Callable[[int, int, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def plane(
    number: int, lead: int, lat: np.ndarray, lon: np.ndarray, level: np.ndarray
) -> np.ndarray:
    """Linear in latitude and longitude east of Greenwich, so that interpolation keeps it."""
    return (number + 1) * (0.5 + 0.01 * lat - 0.005 * lon) + 0.3 * lead - 0.2 * level


def make_region(
    folder: Path, days: int = 5, edges: int = 1, function: Function = plane, **settings: object
) -> World:
    """Write a region with truth, climatology, forecasts, and the driver's grid and forecasts."""
    box = {"lat": (8, 64), "lon": (120, 240), "depths": DEPTHS}
    sections = {
        "grid": {"name": "box", "resolution": 8.0, **box},
        "region": {"driver": {"experiment": "outer", "grid": "globe"}},
        "skeleton": {"boundaries": "open", "sponge": {"width": 1, "days": 1}},
        "evaluation": {
            "baselines": BASELINES,
            "edges": edges,
            "regions": {"west": (8, 64, 120, 180)},
            "spectra": {"segment": 64.0},
        },
    }
    world = synthetic.make_world(folder, days=days, **{**sections, **settings})
    wet = np.ones(COARSE.shape, bool)
    write_grid(world.layout.driver.grid_file, COARSE, wet, wet.astype(float), {})
    for start in world.config.forecast.start_dates():
        write_driver_forecast(world.layout, start, days, function)
    return world


def write_driver_forecast(
    layout: Layout, start: dt.date, days: int, function: Function = plane
) -> None:
    """Write the driver's forecast from one start date."""
    lat, lon = np.meshgrid(COARSE.lat, COARSE.lon % 360.0, indexing="ij")
    leads = np.arange(days + 1)
    fields = {}
    for number, name in enumerate(PROGNOSTIC):
        levels = np.arange(COARSE.nz if VARIABLES[name].has_depth else 1)[:, None, None]
        found = np.stack([function(number, lead, lat, lon, levels) for lead in leads])
        fields[name] = found if VARIABLES[name].has_depth else found[:, 0]
    ds = synthetic.dataset(COARSE, fields, "lead", leads).assign_attrs(grid_hash=COARSE.hash)
    store, manifest = layout.driver.forecast_store(start), layout.driver.forecast_manifest(start)
    synthetic.write_store(ds, store, manifest, COARSE.hash)
    write_json(manifest, {"grid_hash": COARSE.hash, "checksum": f"{start}"})


def driver_field(world: World, name: str, lead: int, function: Function = plane) -> np.ndarray:
    """What the driver forecasts on the region's cells, (nz or 1, ny, nx)."""
    lat, lon = np.meshgrid(world.grid.lat, world.grid.lon % 360.0, indexing="ij")
    levels = np.arange(world.grid.nz if VARIABLES[name].has_depth else 1)[:, None, None]
    return np.asarray(function(PROGNOSTIC.index(name), lead, lat, lon, levels))
