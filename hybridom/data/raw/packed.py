"""Packed values as they lie in the raw files: what readers hand to regridding."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class PackedField(NamedTuple):
    """Some levels of one variable of one day; value = raw * scale + offset.

    Attributes:
        raw: (n, nlat, nlon), int16 or float32, south to north and west to east from -180.
        scale: Factor.
        offset: Offset, in the variable's unit.
        missing: Raw values that stand for no value; NaN always does.
    """

    raw: NDArray
    scale: float = 1.0
    offset: float = 0.0
    missing: tuple[float, ...] = ()

    def unpack(self) -> NDArray[np.float64]:
        """Physical values (n, nlat, nlon), NaN where missing."""
        values = self.raw.astype(np.float64)
        for marker in self.missing:
            values[self.raw == marker] = np.nan
        return values * self.scale + self.offset

    def present(self) -> NDArray[np.bool_]:
        """Which cells (n, nlat, nlon) hold a value."""
        found = np.isfinite(self.raw)
        for marker in self.missing:
            found &= self.raw != marker
        return found
