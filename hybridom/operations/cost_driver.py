"""What a region takes of the coarser model that drives it: forecasts beside that model's own."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

import hybridom
from hybridom.config import Config
from hybridom.config.chain import load_chain, training_starts
from hybridom.layout import Layout
from hybridom.operations.cost_item import TERA, Cost

if TYPE_CHECKING:
    from hybridom.grid import Grid

PROJECT = Path(hybridom.__file__).parents[1]


def find(file: Path) -> Path:
    """Where a file that a configuration names lies: in the working directory, or in the project."""
    return file if file.exists() else PROJECT / file


def driver_config(config: Config, name: str) -> Config | None:
    """Configuration of a region's driver; None where its files are there already.

    Args:
        config: That of the region.
        name: Of the region, for messages.

    Raises:
        UserError: The driver's file cannot be read, or the driver does not serve the region.
    """
    if config.region is None or config.region.driver.file is None:
        return None
    alone = config.model_copy(update={"regions": ()})
    links = load_chain([Path(name)], {config.experiment: alone}, find)
    wanted = config.region.driver.experiment
    return next(link.experiments[wanted] for link in links if wanted in link.experiments)


def grid_of(config: Config) -> Grid:
    """The grid of a configuration."""
    from hybridom.grid import Grid

    box = config.grid
    return Grid.regular(box.resolution, box.lat, box.lon, box.depths)


def forecast_starts(config: Config) -> list[dt.date]:
    """Start dates of the driver's forecasts that a region takes, ascending."""
    if config.region is None:
        return []
    return sorted({*training_starts(config), *config.forecast.start_dates()})


def storage(config: Config, driver: Config) -> list[Cost]:
    """The driver's forecasts on the disk.

    Args:
        config: Configuration of the region.
        driver: That of its driver.
    """
    from hybridom.operations import cost_storage
    from hybridom.operations.cost_ocean import ocean_cells

    starts = forecast_starts(config)
    made = cost_storage.forecasts(driver, ocean_cells(driver, Layout(driver)), len(starts))
    how = f"{made.how} on its grid; {len(training_starts(config))} of them for training"
    what = f"forecasts of the driver ({driver.experiment})"
    return [Cost(made.part, what, made.amount, made.unit, made.made, f"{how}. {_rest(config)}")]


def hours(config: Config, driver: Config, gpu_tflops: float) -> list[Cost]:
    """Making the driver's forecasts.

    Args:
        config: Configuration of the region.
        driver: That of its driver.
        gpu_tflops: What a GPU achieves, 1e12 FLOP per second.
    """
    from hybridom.operations.cost_trace import forward_flop, has_networks
    from hybridom.operations.cost_training import HOUR, skeleton_flop

    grid = grid_of(driver)
    day = skeleton_flop(driver, grid) + (forward_flop(driver, grid) if has_networks(driver) else 0)
    starts, days = len(forecast_starts(config)), driver.forecast.days
    return [
        Cost(
            "hours",
            f"making those of the driver ({driver.experiment})",
            starts * days * day / (gpu_tflops * TERA) / HOUR,
            "GPU h",
            "estimated",
            f"{starts} starts x {days} days x its forward operations / {gpu_tflops:g} TFLOP/s. "
            f"{_rest(config)}",
        )
    ]


def _rest(config: Config) -> str:
    assert config.region is not None
    return f"The rest of the driver: hybridom cost --config {config.region.driver.file}"
