"""A small store and ways to spoil it."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import replace

import numpy as np

from hybridom.data.days import day_number
from hybridom.data.plans import daily_coordinates, daily_mean
from hybridom.data.stores import StorePlan
from hybridom.grid import Grid, write_grid

GRID = Grid.regular(30.0, depths=(5.0, 15.0, 40.0))
WET = np.random.default_rng(1).random(GRID.shape) < 0.7
START = dt.date(2004, 2, 24)
DAYS = 8  # 29 February is one of them


def make_plan(root, **changes):
    """A state store of two variables, two chunks of levels a day."""
    write_grid(root / "grid.nc", GRID, WET, WET.astype(float), {})
    days = [START + dt.timedelta(n) for n in range(DAYS)]
    cell = ("depth", "latitude", "longitude")
    plan = StorePlan(
        root / "state" / "2004.zarr",
        root / "state" / "2004.json",
        daily_coordinates(GRID, days, {"title": "example"}),
        {
            "thetao": (("time", *cell), daily_mean("thetao", "sea")),
            "zos": (("time", *cell[1:]), daily_mean("zos", "sea")),
        },
        {"config_hash": "abc", "grid_hash": GRID.hash},
        keys=tuple(f"key {n}" for n in range(DAYS)),
        chunk_bytes=2 * 4 * GRID.ny * GRID.nx,
    )
    return replace(plan, **changes)


def fields(index, seed=0):
    """The slab of a day, always the same."""
    rng = np.random.default_rng([seed, index])
    deep = rng.standard_normal(GRID.shape, np.float32)
    flat = rng.standard_normal(GRID.shape[1:], np.float32)
    return {"thetao": np.where(WET, deep, np.nan), "zos": np.where(WET[0], flat, np.nan)}


class Source:
    """Slabs, and which of them were asked for.

    Args:
        pause: Seconds that each takes.
        seeds: Index -> seed of its numbers, for inputs that change.
    """

    def __init__(self, pause=0.0, seeds=()):
        self.pause, self.seeds, self.made = pause, dict(seeds), []

    def __call__(self, indices):
        for index in indices:
            time.sleep(self.pause)
            self.made.append(index)
            yield fields(index, self.seeds.get(index, 0))


def number(index):
    """Days since 1970 of a slab."""
    return day_number(START) + index


def contents(root):
    """Relative path -> bytes of every file."""
    files = sorted(p for p in root.rglob("*") if p.is_file())
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in files}
