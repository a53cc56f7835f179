"""Windows of days for training and validation, and batches of windows.

Values are in physical units, at cell centres, float32, with 0 on land.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from hybridom.config import Period
from hybridom.data.day_reader import DayReader, Fields
from hybridom.data.days import as_date, day_number
from hybridom.data.driver.windows import Drive, DrivenWindows
from hybridom.state import Forcing, OceanState

__all__ = ["Batch", "DayReader", "WindowDataset", "collate"]

log = logging.getLogger(__name__)


class WindowDataset(Dataset[dict[str, Any]]):
    """Windows of `days` + 1 consecutive days of a period, `stride` days apart.

    A window that touches a day without data is left out, so that every window is whole; the others
    keep their order, and the same stores always give the same windows.

    Args:
        reader: Source of the days.
        period: No window crosses its ends.
        days: K, the steps of an unroll.
        stride: Days between the starts of neighbouring windows, before any is left out.
        drive: How a region's windows are driven; None: nothing drives them.

    Attributes:
        driven: The windows with what drives them; None without `drive`.

    Raises:
        UserError: A store of the period is missing; as `DrivenWindows`.
    """

    def __init__(
        self,
        reader: DayReader,
        period: Period,
        days: int,
        stride: int,
        drive: Drive | None = None,
    ) -> None:
        self._reader = reader
        self._days = days
        first = day_number(period.start)
        starts = np.arange(first, first + max(0, period.length - days), stride)
        absent = set(reader.days_without_data(period))
        if drive is not None:
            absent |= set(drive.driver.days_without_analysis(period))
        lacking = np.array(sorted(absent), dtype=np.int64)
        # Days without data before the first and up to the last day of each window.
        counts = [np.searchsorted(lacking, at) for at in (starts, starts + days + 1)]
        self._starts = starts[counts[0] == counts[1]]
        if left := len(starts) - len(self._starts):
            log.warning(
                "%s to %s: %d of %d windows are left out, %d days have no data, the first is %s",
                period.start,
                period.end,
                left,
                len(starts),
                len(lacking),
                as_date(int(lacking[0])),
            )
        self.driven = None if drive is None else DrivenWindows(drive, self._starts, days)

    def __len__(self) -> int:
        """Number of windows; 0 where the period is too short."""
        return len(self._starts)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One window.

        Returns:
            `state`, `forcing`, `climatology`, `forcing_climatology` and, where the windows are
            driven, `outer`: variable -> tensor (K + 1, [nz,] ny, nx); `start`: its first day, in
            days since 1970-01-01.

        Raises:
            IndexError: There is no such window.
            UserError: As `DayReader.window` and `DrivenWindows.states`.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        start, forecast = int(self._starts[index]), None
        if self.driven is not None:
            start, forecast = self.driven.draw(index)
        kinds: dict[str, Fields] = dict(self._reader.window(start, self._days + 1).items())
        if self.driven is not None:
            kinds["outer"] = self.driven.states(start, forecast)
        window: dict[str, Any] = {
            kind: {name: torch.from_numpy(values) for name, values in fields.items()}
            for kind, fields in kinds.items()
        }
        return {**window, "start": start}


@dataclass(frozen=True)
class Batch:
    """Windows behind one another.

    Attributes:
        state: (B, K + 1, [nz,] ny, nx).
        forcing: (B, K + 1, ny, nx).
        climatology: Of the state, on the same days.
        forcing_climatology: Of the forcing, on the same days.
        start: (B,) first days, in days since 1970-01-01.
        outer: The driver's ocean on a region's cells, on the same days; None: nothing drives.
    """

    state: OceanState
    forcing: Forcing
    climatology: OceanState
    forcing_climatology: Forcing
    start: Tensor
    outer: OceanState | None = None

    def map(self, fn: Callable[[Tensor], Tensor]) -> Batch:
        """Apply `fn` to every field; `start` stays as it is."""
        return Batch(
            self.state.map(fn),
            self.forcing.map(fn),
            self.climatology.map(fn),
            self.forcing_climatology.map(fn),
            self.start,
            None if self.outer is None else self.outer.map(fn),
        )

    def to(self, *args: Any, **kwargs: Any) -> Batch:
        """Move or cast the fields, as `Tensor.to`."""
        return self.map(lambda x: x.to(*args, **kwargs))

    def pin_memory(self) -> Batch:
        """Fields in memory that a GPU copies from by itself; a loader with `pin_memory` asks."""
        return self.map(Tensor.pin_memory)


def collate(items: Sequence[Mapping[str, Any]]) -> Batch:
    """Put windows of the same length into a batch."""

    def together(key: str) -> dict[str, Tensor]:
        return {name: _stack([item[key][name] for item in items]) for name in items[0][key]}

    return Batch(
        OceanState(**together("state")),
        Forcing(together("forcing")),
        OceanState(**together("climatology")),
        Forcing(together("forcing_climatology")),
        torch.tensor([item["start"] for item in items]),
        OceanState(**together("outer")) if "outer" in items[0] else None,
    )


def _stack(tensors: Sequence[Tensor]) -> Tensor:
    """As `torch.stack`; a single window, which nobody else holds, is not copied."""
    return tensors[0][None] if len(tensors) == 1 else torch.stack(list(tensors))
