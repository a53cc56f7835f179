"""A small region and the stores of the coarser model that drives it.

The region is a box across the date line with the linear law of `tests.training.world`. The driver's
fields do not vary in space: which of its days or forecasts was taken can be read off any cell.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np

from hybridom.config import Config
from hybridom.data.stores import write_json
from hybridom.grid import Grid, write_grid
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC, VARIABLES
from tests.training import world as tiny

BOX = ((-40.0, 40.0), (140.0, 240.0))
DEPTHS = (10.0, 50.0, 200.0)
DAYS, EVERY = 6, 8  # of the driver's forecasts
PLACE = "grid: {{name: tiny, resolution: 20, lat: [-60, 60], depths: [10, 50, 200]}}"
REGION = f"""grid: {{{{name: box, resolution: 10, lat: [-40, 40], lon: [140, 240],
  depths: [10, 50, 200]}}}}
region:
  driver: {{{{experiment: coarse, grid: coarse}}}}
  forecasts: {{{{days: {DAYS}, every: {EVERY}}}}}"""
SKELETON = "skeleton: {{substeps: 2, boundaries: open, sponge: {{width: 1, days: 2}}}}"


def make_region(root: Path) -> tiny.World:
    """Write the stores of the region and of its driver, and the configuration, under `root`."""
    root.mkdir(parents=True, exist_ok=True)
    text = tiny.CONFIG.replace(PLACE, REGION).replace("skeleton: {{substeps: 2}}", SKELETON)
    assert PLACE not in text and "sponge" in text
    (root / "config.yaml").write_text(text.format(root=root))
    grid = Grid.regular(10.0, *BOX, DEPTHS)
    wet = np.ones(grid.shape, bool)
    wet[:, 2:4, 3:6] = False
    wet[2, :, 7] = False
    world = tiny.World(root, grid, wet)
    config, layout = world.config()
    tiny.write_stores(world, layout, tiny.linear_ocean(grid, 1))
    make_driver(config, layout)
    return world


def make_driver(config: Config, layout: Layout) -> None:
    """Write analyses and forecasts of the driver."""
    driver = driver_of(layout)
    grid, wet = driver.grid, driver.wet
    write_grid(layout.driver.grid_file, grid, wet, wet.astype(np.float64), {})
    days = [tiny.FIRST + dt.timedelta(n) for n in range(tiny.DAYS)]
    store, manifest = layout.driver.state_store(2001), layout.driver.state_manifest(2001)
    fields = {name: spread(grid, name, days, None) for name in PROGNOSTIC}
    tiny.write(store, manifest, driver, "time", np.array(days, "datetime64[D]"), fields)
    for start in forecast_starts(config):
        write_forecast(layout, start, config.forecast.days)


def driver_of(layout: Layout) -> tiny.World:
    """Grid and ocean of the driver; one of its levels is none of the region's."""
    grid = Grid.regular(20.0, (-60.0, 60.0), depths=(*DEPTHS[:2], 100.0, DEPTHS[2]))
    wet = np.ones(grid.shape, bool)
    wet[:, 3, 17] = False
    return tiny.World(layout.driver.resources_dir, grid, wet)


def forecast_starts(config: Config) -> list[dt.date]:
    """Start dates of all forecasts of the driver."""
    forecasts, periods = config.region.forecasts, config.periods
    found = forecasts.starts(periods.train) + forecasts.starts(periods.validation)
    return [*found, *config.forecast.start_dates()]


def write_forecast(layout: Layout, start: dt.date, days: int, shift: float = 0.0) -> None:
    """Write a forecast of the driver, `shift` standard deviations away from what is usual."""
    driver = driver_of(layout)
    grid = driver.grid
    leads = [start + dt.timedelta(n) for n in range(days + 1)]
    fields = {
        name: spread(grid, name, leads, start) + shift * tiny.SPREAD[name] for name in PROGNOSTIC
    }
    store, manifest = layout.driver.forecast_store(start), layout.driver.forecast_manifest(start)
    tiny.write(store, manifest, driver, "lead", np.arange(days + 1, dtype=np.int32), fields)
    write_json(manifest, {"checksum": f"of {start} {shift}", "grid_hash": grid.hash})


def spread(grid: Grid, name: str, days: list[dt.date], start: dt.date | None) -> np.ndarray:
    """The value of each day, everywhere."""
    shape = grid.shape if VARIABLES[name].has_depth else grid.shape[1:]
    values = np.array([value(name, day, start) for day in days], np.float32)
    return np.broadcast_to(values.reshape(-1, *(1 for _ in shape)), (len(days), *shape))


def value(name: str, day: dt.date, start: dt.date | None) -> float:
    """What the driver has for a day: in its analysis, or in its forecast from `start`."""
    size = 0.01 * (day - tiny.FIRST).days
    if start is not None:
        size += 1.0 + 0.1 * (start - tiny.FIRST).days
    return tiny.MEAN[name] + tiny.SPREAD[name] * size
