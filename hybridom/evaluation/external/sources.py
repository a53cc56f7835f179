"""Opening foreign files: Zarr stores of either version and NetCDF, each read where it is asked."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from hybridom.errors import UserError
from hybridom.evaluation.external import names
from hybridom.evaluation.external.axes import Placement, first_difference, make_grid, placement
from hybridom.grid import Grid
from hybridom.variables import PROGNOSTIC, VARIABLES


@dataclass(frozen=True)
class Source:
    """One file or store.

    Attributes:
        path: Where it lies.
        data: Its content, values read on access.
        variables: Our name -> its name.
        places: Our name -> where the values lie.
    """

    path: Path
    data: xr.Dataset
    variables: Mapping[str, str]
    places: Mapping[str, Placement]

    def read(self, name: str, at: Mapping[str, int]) -> np.ndarray:
        """One field in our order (nz or 1, ny, nx), in the precision of the file, NaN on land.

        Args:
            name: Our name of the variable.
            at: Position on every dimension besides depth, latitude and longitude.

        Raises:
            UserError: The values cannot be read.
        """
        place, x = self.places[name], self.data[self.variables[name]]
        depth, lat, lon = place.dims
        kept = [dim for dim in (depth, lat, lon) if dim is not None]
        single = {dim: 0 for dim in x.dims if dim not in kept and dim not in at}
        try:
            values = x.isel({**single, **at}).transpose(*kept).values
        except (OSError, RuntimeError, ValueError) as error:
            raise UserError(
                f"{self.path}: {x.name} cannot be read at {dict(at)} ({error}); expected a whole "
                "file, fetch or write it again"
            ) from None
        plain = np.float32 if values.dtype in (np.float16, np.float32) else np.float64
        values = place.order(values.reshape(-1, *values.shape[-2:]))
        return np.ascontiguousarray(values, plain)


def open_sources(paths: Sequence[Path], role: str) -> list[Source]:
    """Open files and stores.

    Args:
        paths: Zarr folders and NetCDF files.
        role: What they are, for messages (such as `forecast`).

    Raises:
        UserError: One is missing, cannot be read, or holds none of our variables on a regular
            latitude-longitude grid in our units.
    """
    sources = []
    for path in paths:
        data = open_data(path)
        variables = names.find_variables(data, path)
        if not variables:
            wanted = ", ".join(VARIABLES[name].standard_name for name in PROGNOSTIC)
            raise UserError(
                f"{path}: no variable of a {role} found among "
                f"{', '.join(map(str, data.data_vars)) or 'none'}; expected at least one with the "
                f"standard_name {wanted}, or named {', '.join(PROGNOSTIC)}"
            )
        places = {name: placement(data, x, name, path) for name, x in variables.items()}
        sources.append(Source(path, data, variables, places))
    return sources


def open_data(path: Path) -> xr.Dataset:
    """Open one Zarr store or NetCDF file; nothing but coordinates is read.

    Raises:
        UserError: It is missing or no such file.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or store; correct the path")
    try:
        with warnings.catch_warnings():
            # Zarr without consolidated metadata is as good; xarray warns of it.
            warnings.simplefilter("ignore")
            if path.is_dir():
                return xr.open_zarr(path, chunks=None, decode_timedelta=False)
            return xr.open_dataset(path, decode_timedelta=False)
    except Exception as error:  # every backend has errors of its own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path}: cannot be opened ({reason}); expected a Zarr store or a NetCDF file with CF "
            "coordinates"
        ) from None


def common_grid(sources: Sequence[Source], chosen: Sequence[str]) -> Grid:
    """The one grid of the chosen variables of all sources.

    Raises:
        UserError: Two of them differ.
    """
    held = [(s, name) for s in sources for name in chosen if name in s.places]
    deep = next((s.places[name] for s, name in held if VARIABLES[name].has_depth), None)
    first, first_name = held[0]
    grid = make_grid(first.places[first_name], deep)
    for source, name in held:
        if difference := first_difference(grid, source.places[name], name):
            raise UserError(
                f"{source.path}: {source.variables[name]}: {difference} as in {first.path}; "
                "expected one grid in all files"
            )
    return grid
