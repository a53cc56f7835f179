"""Statistics of the training period, per variable and level, over wet cells and by area.

With <> the mean over days and over wet cells weighted by their area, x a value, c its daily
climatology and x' the value a day later:

    mean = <x>    std = <(x - mean)^2>^(1/2)    anomaly_std = <(x - c)^2>^(1/2)
    tendency_std = <(x' - x)^2>^(1/2)

The last two are taken about zero, because what they scale is added without an offset. Changes are
those between days that follow one another and both hold values.

All years' days of one date are gone through together, block of levels by block of levels, so that
every chunk of the stores and of the climatology is read once.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hybridom.config import Config, StageConfig
from hybridom.data.days import climatology_rows
from hybridom.data.history import Block, BlockRows, Cover, Float32, History, Workers, threads_for
from hybridom.data.stores import open_arrays
from hybridom.data.sums import add_moments
from hybridom.errors import UserError
from hybridom.files import write_netcdf
from hybridom.grid import Grid
from hybridom.layout import Layout
from hybridom.progress import track
from hybridom.variables import PROGNOSTIC, VARIABLES, cf_attributes

Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

ROUND_OFF = 1e-12  # relative, of float64 sums
ONE_DAY = dt.timedelta(days=1)

MEANINGS = {
    "mean": "mean",
    "std": "standard deviation about the mean",
    "anomaly_std": "root mean square anomaly from the daily climatology",
    "tendency_std": "root mean square change in one day",
}


class Moments:
    """Sums of one variable over days and cells, by level.

    Args:
        grid: Model grid.
        cover: (n, ny, nx) 1 in cells that count.
    """

    def __init__(self, grid: Grid, cover: Cover) -> None:
        self._cover = cover
        # Cell areas are the product of a factor of the row and one of the column.
        self._band, self._width = grid.area[:, 0] / grid.dlon[0], grid.dlon
        self._area = np.einsum("kji,j,i->k", cover, self._band, self._width)
        self._days = self._changes = 0
        self._shift: Float64 = np.zeros(len(cover))
        self._sums = np.zeros((len(cover), 4))

    def add(self, values: Float32, before: Float32 | None, normal: Float32) -> None:
        """Add a day.

        Args:
            values: (n, ny, nx), anything finite where nothing counts.
            before: The same of the day before; None where there is none.
            normal: Climatology of the day.
        """
        if not self._days:
            # Deviations are from the first day's mean, lest a large mean swallow digits.
            first = np.zeros_like(self._sums)
            self._add_to(first, values, values, values)
            self._shift = self._per_area(first[:, 0])
        self._add_to(self._sums, values, values if before is None else before, normal)
        self._days += 1
        self._changes += before is not None

    def result(self) -> dict[str, Float64]:
        """`mean`, `std`, `anomaly_std`, `tendency_std`, each (n,); NaN in levels without sea.

        Raises:
            UserError: No two days follow one another.
        """
        if not self._changes:
            raise UserError(
                "periods.train holds no two consecutive days with values, expected some: "
                "statistics need changes in time"
            )
        first, second, anomaly = (self._per_area(x) / self._days for x in self._sums.T[:3])
        change = self._per_area(self._sums[:, 3]) / self._changes
        return {
            "mean": self._shift + first,
            "std": np.sqrt(np.maximum(second - first**2, 0.0)),
            "anomaly_std": np.sqrt(anomaly),
            "tendency_std": np.sqrt(change),
        }

    def _add_to(self, sums: Float64, values: Float32, before: Float32, normal: Float32) -> None:
        add_moments(values, before, normal, self._cover, self._band, self._width, self._shift, sums)

    def _per_area(self, total: Float64) -> Float64:
        return np.divide(total, self._area, out=np.full_like(total, np.nan), where=self._area > 0)


def compute_statistics(
    config: Config | StageConfig, layout: Layout, grid: Grid, wet: Mask
) -> dict[str, dict[str, Float64]]:
    """Statistics of all variables over the training period.

    Returns:
        Variable -> kind -> (nz,), or () for variables without depth.

    Raises:
        UserError: A store is missing, incomplete or damaged, or a deviation is zero in a level
            with sea.
    """
    names = (*PROGNOSTIC, *config.forcing_names)
    train = config.periods.train
    history = History(layout, names, train, wet)
    climatology = _Climatology(layout, history)
    blocks = [block for name in names for block in history.blocks(name)]

    def work(block: Block) -> dict[str, Float64]:
        return _block_moments(history, climatology, grid, block).result()

    largest = max(math.prod(history.shape(block)) for block in blocks)
    workers = Workers(threads_for(4 * largest * (len(train.years) + 6)))
    found: dict[str, dict[str, Float64]] = {name: {} for name in names}
    results = track(workers(work, blocks), len(blocks), "statistics")
    for block, part in zip(blocks, results, strict=True):
        for kind, values in part.items():
            held = found[block.name].get(kind, np.empty(0))
            found[block.name][kind] = np.append(held, values)
    for name, kinds in found.items():
        _refuse_zero(layout.statistics_file, grid, name, kinds)
    return {
        name: kinds if VARIABLES[name].has_depth else {kind: x[0] for kind, x in kinds.items()}
        for name, kinds in found.items()
    }


class _Climatology:
    """Rows of the climatology by blocks."""

    def __init__(self, layout: Layout, history: History) -> None:
        arrays = open_arrays(layout.climatology_store, history.names)
        self._path, self._history = layout.climatology_store, history
        self._rows = {name: BlockRows(name, array) for name, array in arrays.items()}

    def read(self, block: Block, day: dt.date) -> Float32:
        """Climatology of a day: (n, ny, nx), 0 on land; 29 February lies between two rows.

        Raises:
            UserError: A cell that counts has none.
        """
        rows = sorted(set(climatology_rows(day)))
        parts = [np.empty(self._history.shape(block), np.float32) for _ in rows]
        for row, part in zip(rows, parts, strict=True):
            cover = self._history.cover(block)
            if bad := self._rows[block.name].read(row, block, cover, part):
                raise UserError(
                    f"{self._path}: variable {block.name} has no value in {bad} wet cells of day "
                    f"{row + 1} of the year; expected the mask of grid.nc: run `hybridom prepare "
                    "climatology` again"
                )
        return parts[0] if len(parts) == 1 else np.float32(0.5) * (parts[0] + parts[1])


def _block_moments(
    history: History, climatology: _Climatology, grid: Grid, block: Block
) -> Moments:
    """Sums over all days of a block, date by date; the last day of every year is held."""
    moments = Moments(grid, history.cover(block))
    held_days = set(history.days(block.name))
    last: dict[int, tuple[dt.date, Float32]] = {}
    spare: list[Float32] = []

    def read(day: dt.date) -> Float32:
        values = spare.pop() if spare else np.empty(history.shape(block), np.float32)
        history.read(block, day, values)
        return values

    for days in history.positions(block.name).values():
        normal = climatology.read(block, days[0])
        for day in days:
            values, eve = read(day), day - ONE_DAY
            before_day, before = last.pop(day.year, (None, None))
            if before is not None and before_day != eve:
                spare.append(before)  # a gap lies between
                before = None
            if before is None and eve in held_days:
                before = read(eve)  # 31 December
            moments.add(values, before, normal)
            if before is not None:
                spare.append(before)
            last[day.year] = day, values
    return moments


def _refuse_zero(path: Path, grid: Grid, name: str, found: Mapping[str, Float64]) -> None:
    mean = found["mean"]
    for kind in ("std", "anomaly_std", "tendency_std"):
        for level, value in enumerate(found[kind]):
            # The mean of equal values differs from them by round-off.
            if value > ROUND_OFF * abs(mean[level]) or np.isnan(mean[level]):
                continue
            at = f" at {grid.depth[level]:g} m" if VARIABLES[name].has_depth else ""
            raise UserError(
                f"{path}: {kind} of variable {name}{at} is {value:.3g} over periods.train; "
                "expected values that differ in space and time: look at the raw files or leave "
                "the level out"
            )


def write_statistics(
    path: Path, grid: Grid, found: Mapping[str, Mapping[str, Float64]], attrs: Mapping[str, str]
) -> None:
    """Write statistics.nc, complete or not at all.

    Args:
        path: NetCDF file.
        grid: Model grid, for the depth axis.
        found: As `compute_statistics` returns it.
        attrs: Global attributes.
    """
    dataset = grid.to_dataset()[["depth_bounds"]]
    for name, kinds in found.items():
        cf = cf_attributes(name)
        for kind, values in kinds.items():
            dims = ("depth",) if np.ndim(values) else ()
            dataset[f"{name}_{kind}"] = (
                dims,
                values,
                {
                    "long_name": f"{MEANINGS[kind]} of {cf['long_name']}",
                    "units": cf["units"],
                    "cell_methods": "area: mean where sea time: mean"
                    if kind == "mean"
                    else "area: time: standard_deviation",
                },
            )
    dataset.attrs = {"Conventions": "CF-1.11", **attrs}
    write_netcdf(path, dataset)
