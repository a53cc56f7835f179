"""One file of the atmosphere: what it holds for which time, and stored values a band at a time.

`forcing_gridded` opens NetCDF files and Zarr stores, `forcing_grib` GRIB files.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridom.data.raw.axes import Orientation, SourceAxes
from hybridom.data.raw.packed import PackedField
from hybridom.errors import UserError
from hybridom.variables import UNIT_CONVERSIONS, UNIT_SPELLINGS, VARIABLES

FINAL = 1  # `expver` of ERA5; preliminary data (ERA5T) have another
READ_BYTES = 64 * 2**20  # stored values in memory at a time, unless a chunk is larger


class Timeline(NamedTuple):
    """Times of a variable in a file, each once unless the file repeats it.

    Attributes:
        times: (n,) UTC, ascending.
        steps: (n,) where they lie on the file's time axis.
        interim: (n,) whether the values are preliminary.
        accumulated: Whether the values are sums over time instead of means.
        instant: Whether the file says that each value is of one instant.
    """

    times: NDArray[np.datetime64]
    steps: NDArray[np.int64]
    interim: NDArray[np.bool_]
    accumulated: bool = False
    instant: bool = False

    def final_first(self) -> Timeline:
        """In order of time; of a time in both versions the final one alone."""
        order = np.lexsort((self.steps, self.interim, self.times))
        times, interim = self.times[order], self.interim[order]
        again = np.zeros(times.size, bool)
        again[1:] = (times[1:] == times[:-1]) & interim[1:] & ~interim[:-1]
        keep = order[~again]
        return self._replace(
            times=self.times[keep], steps=self.steps[keep], interim=self.interim[keep]
        )


class ForcingSource(ABC):
    """An open file of the atmosphere.

    Attributes:
        path: The file.
    """

    path: Path

    @abstractmethod
    def close(self) -> None:
        """Release the file."""

    @abstractmethod
    def holds(self, name: str) -> bool:
        """Whether a variable is in the file, under its own or another name."""

    @abstractmethod
    def timeline(self, name: str) -> Timeline:
        """Times of a variable that is in the file.

        Raises:
            UserError: The time axis or the versions cannot be understood.
        """

    @abstractmethod
    def header_problem(self, name: str, when: object) -> str | None:
        """What is wrong with dimensions or units of a variable, in one line."""

    @property
    @abstractmethod
    def axes(self) -> SourceAxes:
        """Axes after orientation.

        Raises:
            UserError: An axis is missing or not regular.
        """

    @property
    @abstractmethod
    def orientation(self) -> Orientation:
        """How values are to be turned south to north and west to east from -180."""

    @abstractmethod
    def size(self, name: str) -> int:
        """Steps of a variable that is in the file."""

    @abstractmethod
    def layer(self, name: str) -> int:
        """Steps that are stored together: reading one of them decompresses all."""

    @abstractmethod
    def bands(
        self, name: str, when: object, first: int, last: int
    ) -> Iterator[tuple[slice, PackedField]]:
        """Read whole layers of a variable whose header has no problem, each chunk once.

        Args:
            name: Variable.
            when: Day, for messages.
            first: First step, the first one of a layer.
            last: Step after the last one, which ends a layer or the file.

        Yields:
            Rows, counted from the south, and the steps there: raw (steps, rows, nlon) still in the
            file's `orientation`, for turning sums is cheaper; values are in the variable's unit.

        Raises:
            UserError: The values cannot be read.
        """

    def axes_problem(self, expected: SourceAxes) -> str | None:
        """How the axes differ from those of the first file, in one line."""
        try:
            difference = self.axes.difference(expected)
        except UserError as e:
            return str(e)
        if difference is None:
            return None
        return (
            f"{self.path}: {difference}, for all variables; expected the same axes in all files: "
            "fetch the file again"
        )


def units_problem(path: Path, name: str, when: object, units: str) -> str | None:
    """Whether a unit is neither the variable's nor one that can be converted, in one line."""
    expected = VARIABLES[name].units
    if units in UNIT_SPELLINGS[expected] or UNIT_CONVERSIONS.get(units, ("",))[0] == expected:
        return None
    return (
        f"{path}: variable {name} on {when} has units {units!r}; expected {expected!r}: convert it"
    )


def unit_factor(units: str) -> float:
    """What values of an accepted unit are to be multiplied by."""
    return UNIT_CONVERSIONS.get(units, ("", 1.0))[1]
