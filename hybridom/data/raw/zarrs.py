"""A Zarr store seen as a NetCDF file: names, dimensions, attributes and stored values."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray


class ZarrVariable:
    """One array of a store; its attributes are those of the array.

    Args:
        name: Its name.
        variable: As opened, nothing decoded.
    """

    def __init__(self, name: str, variable: xr.Variable) -> None:
        self.name = name
        self.dimensions = tuple(str(d) for d in variable.dims)
        self.shape = variable.shape
        self.dtype = variable.dtype
        self._variable = variable

    def __getitem__(self, index: Any) -> NDArray:
        """Stored values, not unpacked; an absent chunk reads as the fill value."""
        return np.asarray(self._variable[index].values)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_variable"].attrs[name]
        except KeyError:
            raise AttributeError(name) from None

    def chunking(self) -> list[int]:
        """Size of a chunk along each dimension."""
        return list(self._variable.encoding.get("chunks") or self.shape)


class ZarrDataset:
    """An open Zarr store, of version 2 or 3, with the few members of `netCDF4.Dataset` in use.

    Args:
        path: The folder.

    Raises:
        OSError: The store is absent or incomplete.
        ValueError: Its metadata make no sense.
    """

    def __init__(self, path: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about consolidated metadata, which are not needed
            try:
                # The values are wanted as they are stored, and _FillValue as an attribute.
                self._dataset = xr.open_zarr(path, chunks=None, decode_cf=False, consolidated=False)
            except (KeyError, TypeError) as e:
                raise ValueError(f"no dimension names or metadata: {e}") from e
        self.dimensions = {str(name): size for name, size in self._dataset.sizes.items()}
        self.variables = {
            str(name): ZarrVariable(str(name), variable)
            for name, variable in self._dataset.variables.items()
        }

    def ncattrs(self) -> list[str]:
        """Names of the global attributes."""
        return [str(name) for name in self._dataset.attrs]

    def getncattr(self, name: str) -> Any:
        """A global attribute."""
        return self._dataset.attrs[name]

    def close(self) -> None:
        """Release the store."""
        self._dataset.close()
