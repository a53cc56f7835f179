"""Invented days in the project's own stores: of an ocean, and of what drives a region of it."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from hybridom.config import Config, Period
from hybridom.data.days import DAYS_IN_YEAR, TIME_UNITS, climatology_rows, day_number
from hybridom.data.stores import Slab, StorePlan, write_store
from hybridom.data.stores.plan import CHUNK_BYTES, COMPRESSOR
from hybridom.grid import Grid, write_grid
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC, VARIABLES

if TYPE_CHECKING:
    import datetime as dt

Float32 = NDArray[np.float32]

LAND = 0.35  # part of the grid
NOISE = 1e-3  # of the fields, small against their waves: what is left after averaging packed data


@dataclass(frozen=True)
class Variant:
    """A way to store values.

    Attributes:
        codec: Words for the table.
        compressor: None for none.
        keepbits: Mantissa bits kept of 23.
        chunk_bytes: Largest chunk before compression.
    """

    codec: str
    compressor: BloscCodec | None = COMPRESSOR
    keepbits: int = 23
    chunk_bytes: int = CHUNK_BYTES


class Ocean:
    """Synthetic fields: a few waves under weak noise, about a third of the cells being land.

    Args:
        grid: Their grid.
    """

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        east, north = np.meshgrid(np.deg2rad(grid.lon), np.deg2rad(grid.lat))
        shape = np.sin(3 * east) + np.sin(5 * north + east) + 0.5 * np.sin(9 * east - 7 * north)
        self.land = shape > np.quantile(shape, 1 - LAND)
        self.wet = np.broadcast_to(~self.land, grid.shape).copy()
        self._waves = (10 + shape).astype(np.float32)
        self.field = functools.cache(self._field)

    def slab(self, names: Sequence[str], day: int) -> Slab:
        """Fields of a day; every other day is the same, to have them at hand."""
        return {name: self.field(name, day % 2) for name in names}

    def _field(self, name: str, day: int) -> Float32:
        """([nz,] ny, nx), NaN on land in the ocean."""
        deep = VARIABLES[name].has_depth
        rng = np.random.default_rng([sum(map(ord, name)), day])
        field = NOISE * rng.standard_normal(self.grid.shape[0 if deep else 1 :], np.float32)
        field += self._waves
        if name in PROGNOSTIC:
            field[..., self.land] = np.nan
        return field


def coarser(grid: Grid) -> Grid:
    """The box of a grid in cells twice as wide and high; an odd one out stays as it is."""
    rows, columns = (np.append(x[:-1:2], x[-1]) for x in (grid.lat_bounds, grid.lon_bounds))
    lat, lon = (0.5 * (x[1:] + x[:-1]) for x in (rows, columns))
    return Grid(lat, lon, rows, columns, grid.depth, grid.depth_bounds, grid.periodic)


def first_days(config: Config, days: int) -> Period:
    """As many days from the beginning of a year as are asked for."""
    start = config.periods.train.start.replace(month=1, day=1)
    day = np.datetime64(start) + np.timedelta64(days - 1, "D")
    return Period(start=start, end=day.astype(object))


def write_ocean(
    layout: Layout, ocean: Ocean, variant: Variant, period: Period, forcing: Sequence[str]
) -> int:
    """Write state, forcing and, for the same days only, climatology; returns their plain bytes."""
    year, days = period.start.year, period.days()
    rows = sorted({row for day in days for row in climatology_rows(day)})
    season = np.arange(1, DAYS_IN_YEAR + 1, dtype=np.int32)
    fields = (*PROGNOSTIC, *forcing)
    return (
        _write_dates(ocean, variant, layout.state_store(year), days, PROGNOSTIC)
        + _write_dates(ocean, variant, layout.forcing_store(year), days, forcing)
        + _write(ocean, variant, layout.climatology_store, "dayofyear", season, rows, fields)
    )


def write_driver(layout: Layout, ocean: Ocean, variant: Variant, period: Period) -> None:
    """Write grid file and analyses of what drives a region.

    Args:
        layout: Paths of the region.
        ocean: The driver's ocean, on its own grid.
        variant: How values are stored.
        period: Days of one year.
    """
    path, wet = layout.driver.grid_file, ocean.wet
    write_grid(path, ocean.grid, wet, wet.astype(np.float64), {})
    store = layout.driver.state_store(period.start.year)
    _write_dates(ocean, variant, store, period.days(), PROGNOSTIC)


def _write_dates(
    ocean: Ocean, variant: Variant, path: Path, days: Sequence[dt.date], names: Sequence[str]
) -> int:
    dates = np.array([day_number(day) for day in days], np.int32)
    return _write(ocean, variant, path, "time", dates, range(len(days)), names)


def _write(
    ocean: Ocean,
    variant: Variant,
    path: Path,
    axis: str,
    values: NDArray[np.int32],
    held: Sequence[int],
    names: Sequence[str],
) -> int:
    """Write the entries `held` of a store; returns their plain bytes."""
    plan = plan_of(ocean, variant, path, axis, values, held, names)

    def slabs(indices: Sequence[int]) -> Iterator[Slab]:
        return (ocean.slab(names, index) for index in indices)

    write_store(plan, slabs, f"{variant.codec} {path.stem}")
    return len(held) * sum(4 * int(np.prod(plan.shape(name)[1:])) for name in names)


def plan_of(
    ocean: Ocean,
    variant: Variant,
    path: Path,
    axis: str,
    values: NDArray[np.int32],
    held: Sequence[int],
    names: Sequence[str],
) -> StorePlan:
    """Plan of one store, of which only some entries are written."""
    cell = ("depth", "latitude", "longitude")
    return StorePlan(
        path,
        path.with_suffix(".json"),
        ocean.grid.to_dataset().assign_coords({axis: (axis, values, {"units": TIME_UNITS})}),
        {n: ((axis, *cell[0 if VARIABLES[n].has_depth else 1 :]), {}) for n in names},
        {"config_hash": "bench", "grid_hash": ocean.grid.hash},
        keepbits={n: variant.keepbits for n in names if variant.keepbits < 23},
        absent={n: "not measured" for n in set(range(len(values))) - set(held)},
        gaps_allowed=True,
        compressor=variant.compressor,
        chunk_bytes=variant.chunk_bytes,
    )
