"""Days and windows of days for training, forecasts and scores, read from the prepared stores.

Values are in physical units, at cell centres, float32, with 0 on land.
"""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import zarr
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from hybridom.config import Period
from hybridom.data.days import DAYS_IN_YEAR, as_date, climatology_rows, day_number
from hybridom.data.stores import open_arrays, store_grid_hash
from hybridom.errors import UserError
from hybridom.grid import Grid
from hybridom.layout import Layout
from hybridom.state import Forcing, OceanState
from hybridom.variables import PROGNOSTIC

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]
Fields = dict[str, Float32]
Day = dt.date | np.datetime64 | int
Kind = Literal["state", "forcing", "climatology", "forcing_climatology"]

RECENT = 4  # entries kept of each kind without a cache: 29 February needs its neighbours


class DayReader:
    """Reads state, forcing and climatology by day.

    Nothing is opened before the first day is asked for, so that a reader can be sent to loader
    processes.

    Args:
        layout: Paths.
        grid: Model grid; stores of another grid are refused.
        wet: (nz, ny, nx) wet cells.
        forcing_names: Forcing variables.
        cache: `memory` reads the whole period, and the climatology, once; `none` reads a day when
            it is asked for and keeps the last few.
        period: Days that may be asked for.
    """

    def __init__(
        self,
        layout: Layout,
        grid: Grid,
        wet: Mask,
        forcing_names: Sequence[str],
        cache: Literal["memory", "none"],
        period: Period,
    ) -> None:
        self._layout, self._grid, self._wet = layout, grid, wet
        self._forcing_names = tuple(forcing_names)
        self._cache = cache
        self._period = period
        self._stores: dict[Path, dict[str, zarr.Array]] = {}
        self._rows: dict[Path, dict[int, int]] = {}
        self._memory: dict[Kind, Fields] = {}
        self._recent: dict[Kind, OrderedDict[int, Fields]] = {}

    def state(self, day: Day) -> Fields:
        """Ocean state of a day: variable -> ([nz,] ny, nx).

        Raises:
            UserError: The day lies outside the period, or its store is missing.
        """
        return self._entry("state", self._number(day))

    def forcing(self, day: Day) -> Fields:
        """Forcing of a day: variable -> (ny, nx). Raises as `state`."""
        return self._entry("forcing", self._number(day))

    def climatology(self, day: Day) -> Fields:
        """Climatological state of a day: variable -> ([nz,] ny, nx).

        29 February is the mean of 28 February and 1 March.

        Raises:
            UserError: The store is missing.
        """
        return self._climatology("climatology", day)

    def forcing_climatology(self, day: Day) -> Fields:
        """Climatological forcing of a day: variable -> (ny, nx). As `climatology`."""
        return self._climatology("forcing_climatology", day)

    def _number(self, day: Day) -> int:
        date = as_date(day)
        if not self._period.start <= date <= self._period.end:
            raise UserError(
                f"day {date} lies outside the period {self._period.start} to {self._period.end} "
                "that is read; expected a day inside: change periods in the configuration"
            )
        return day_number(date)

    def _climatology(self, kind: Kind, day: Day) -> Fields:
        before, after = climatology_rows(as_date(day))
        first = self._entry(kind, before)
        if before == after:
            return first
        second = self._entry(kind, after)
        return {name: np.float32(0.5) * (x + second[name]) for name, x in first.items()}

    def _entry(self, kind: Kind, number: int) -> Fields:
        """Fields of a day since 1970 (state, forcing), or of a row of the climatology."""
        if self._cache == "memory":
            if kind not in self._memory:
                self._memory[kind] = self._read_all(kind)
            dated = kind in ("state", "forcing")
            position = number - day_number(self._period.start) if dated else number
            return {name: values[position] for name, values in self._memory[kind].items()}
        held = self._recent.setdefault(kind, OrderedDict())
        if number not in held:
            held[number] = {name: x[0] for name, x in self._read(kind, [number]).items()}
            if len(held) > RECENT:
                held.popitem(last=False)
        held.move_to_end(number)
        return held[number]

    def _read_all(self, kind: Kind) -> Fields:
        if kind in ("climatology", "forcing_climatology"):
            return self._read(kind, range(DAYS_IN_YEAR))
        years = [[day_number(d) for d in self._period.days(y)] for y in self._period.years]
        first = self._read(kind, years[0][:1])
        every = {
            name: np.empty((self._period.length, *x.shape[1:]), np.float32)
            for name, x in first.items()
        }
        filled = 0
        for numbers in years:
            for name, values in self._read(kind, numbers).items():
                every[name][filled : filled + len(numbers)] = values
            filled += len(numbers)
        return every

    def _read(self, kind: Kind, numbers: Sequence[int]) -> Fields:
        """Read consecutive entries of one store: variable -> (n, [nz,] ny, nx), 0 on land."""
        path = self._path(kind, numbers[0])
        arrays = self._arrays(kind, path)
        first = self._rows[path].get(numbers[0])
        last = self._rows[path].get(numbers[-1])
        if first is None or last is None or last - first != len(numbers) - 1:
            dates = f"{as_date(numbers[0])} to {as_date(numbers[-1])}"
            raise UserError(
                f"{path}: not all days from {dates} are in the store; expected all days of the "
                "periods: run the `hybridom prepare` stage again"
            )
        fields = {}
        for name, array in arrays.items():
            values = np.asarray(array[first : last + 1])
            if kind in ("state", "climatology"):
                wet = self._wet if values.ndim == 4 else self._wet[0]
                values = np.where(wet, values, np.float32(0.0))
            if not np.isfinite(values).all():
                raise UserError(
                    f"{path}: variable {name} has wet cells without value between entries {first} "
                    f"and {last}; expected the mask of {self._layout.grid_file}: prepare it again"
                )
            fields[name] = values
        return fields

    def _path(self, kind: Kind, number: int) -> Path:
        if kind == "state":
            return self._layout.state_store(as_date(number).year)
        if kind == "forcing":
            return self._layout.forcing_store(as_date(number).year)
        return self._layout.climatology_store

    def _arrays(self, kind: Kind, path: Path) -> dict[str, zarr.Array]:
        names = PROGNOSTIC if kind in ("state", "climatology") else self._forcing_names
        if path not in self._rows:
            found = store_grid_hash(path)
            if found != self._grid.hash:
                raise UserError(
                    f"{path}: made for grid {found}, expected {self._grid.hash} of "
                    f"{self._layout.grid_file}: run the `hybridom prepare` stages again"
                )
            if kind in ("state", "forcing"):
                times = np.asarray(open_arrays(path, ["time"])["time"][:])
                self._rows[path] = {int(t): row for row, t in enumerate(times)}
            else:
                self._rows[path] = {row: row for row in range(DAYS_IN_YEAR)}
            self._stores[path] = {}
        held = self._stores[path]
        if missing := [name for name in names if name not in held]:
            held.update(open_arrays(path, missing))
        return {name: held[name] for name in names}


class WindowDataset(Dataset[dict[str, Any]]):
    """Windows of `days` + 1 consecutive days of a period, `stride` days apart.

    Args:
        reader: Source of the days.
        period: No window crosses its ends.
        days: K, the steps of an unroll.
        stride: Days between the starts of neighbouring windows.
    """

    def __init__(self, reader: DayReader, period: Period, days: int, stride: int) -> None:
        self._reader = reader
        self._first = day_number(period.start)
        self._length = max(0, (period.length - 1 - days) // stride + 1)
        self._days, self._stride = days, stride

    def __len__(self) -> int:
        """Number of windows; 0 where the period is too short."""
        return self._length

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One window.

        Returns:
            `state`, `forcing`, `climatology`, `forcing_climatology`: variable -> tensor
            (K + 1, [nz,] ny, nx); `start`: its first day, in days since 1970-01-01.

        Raises:
            IndexError: There is no such window.
        """
        if not 0 <= index < self._length:
            raise IndexError(f"window {index} of {self._length}")
        start = self._first + index * self._stride
        numbers = range(start, start + self._days + 1)
        reader = self._reader
        return {
            "state": _stack([reader.state(n) for n in numbers]),
            "forcing": _stack([reader.forcing(n) for n in numbers]),
            "climatology": _stack([reader.climatology(n) for n in numbers]),
            "forcing_climatology": _stack([reader.forcing_climatology(n) for n in numbers]),
            "start": start,
        }


def _stack(days: Sequence[Fields]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.stack([d[name] for d in days])) for name in days[0]}


@dataclass(frozen=True)
class Batch:
    """Windows behind one another.

    Attributes:
        state: (B, K + 1, [nz,] ny, nx).
        forcing: (B, K + 1, ny, nx).
        climatology: Of the state, on the same days.
        forcing_climatology: Of the forcing, on the same days.
        start: (B,) first days, in days since 1970-01-01.
    """

    state: OceanState
    forcing: Forcing
    climatology: OceanState
    forcing_climatology: Forcing
    start: Tensor

    def to(self, *args: Any, **kwargs: Any) -> Batch:
        """Move or cast the fields, as `Tensor.to`; `start` stays as it is."""
        return Batch(
            self.state.to(*args, **kwargs),
            self.forcing.to(*args, **kwargs),
            self.climatology.to(*args, **kwargs),
            self.forcing_climatology.to(*args, **kwargs),
            self.start,
        )


def collate(items: Sequence[Mapping[str, Any]]) -> Batch:
    """Put windows of the same length into a batch."""

    def together(key: str) -> dict[str, Tensor]:
        return {name: torch.stack([item[key][name] for item in items]) for name in items[0][key]}

    return Batch(
        OceanState(**together("state")),
        Forcing(together("forcing")),
        OceanState(**together("climatology")),
        Forcing(together("forcing_climatology")),
        torch.tensor([item["start"] for item in items]),
    )
