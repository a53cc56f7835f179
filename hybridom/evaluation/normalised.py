"""Scores of all variables and levels together, each in units of its own variability.

Tables of published emulators, NeuralOM's among them, have one normalised RMSE and one ACC for the
whole ocean. Here a channel is one variable at one level; its RMSE is divided by the standard
deviation of the training period in space and time (`std` of statistics.nc), and channels count
alike. What others divide by is seldom written down: compare these numbers with those of another
system only where it was scored here too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from hybridom.errors import UserError
from hybridom.grid import Grid
from hybridom.variables import PROGNOSTIC, VARIABLES

ALL = "all_normalised"
METRICS = ("rmse", "acc_centred", "acc_uncentred")
COMMAND = "hybridom prepare statistics"
Scales = Mapping[str, np.ndarray]


def read_scales(path: Path, grid: Grid) -> dict[str, np.ndarray]:
    """Standard deviations of the training period.

    Args:
        path: statistics.nc.
        grid: The grid that it has to be of.

    Returns:
        Variable -> (nz,) or (1,) in its units; NaN in levels without a wet cell.

    Raises:
        UserError: The file is missing, no such file, or of another grid.
    """
    if not path.is_file():
        raise UserError(f"{path}: the statistics are missing; run `{COMMAND}`")
    try:
        with xr.open_dataset(path, engine="netcdf4") as data:
            found = data.attrs["grid_hash"]
            scales = {name: np.atleast_1d(data[f"{name}_std"].values) for name in PROGNOSTIC}
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{path}: not a file of statistics ({error}); run `{COMMAND}`") from None
    if found != grid.hash:
        raise UserError(
            f"{path}: grid hash {found} found, that of grid.nc is {grid.hash}; run `{COMMAND}` "
            "again on this grid"
        )
    return {name: x.astype(np.float64) for name, x in scales.items()}


def all_normalised(table: pd.DataFrame, scales: Scales, depth: np.ndarray) -> pd.DataFrame:
    """Rows of the variable `all_normalised`.

    Args:
        table: Scores of all prognostic variables of one start.
        scales: As `read_scales` gives them.
        depth: Level centres (nz,), m.

    Returns:
        A row a lead, region, system and metric of `METRICS`, `depth` NaN: the mean over channels
        of the RMSE over `scales`, or of the correlation. Channels without a value (levels without
        a wet cell in the region) are left out.
    """
    flat = [name for name in PROGNOSTIC if not VARIABLES[name].has_depth]
    channels = table[
        table["metric"].isin(METRICS) & (table["depth"].notna() | table["variable"].isin(flat))
    ]
    levels = np.searchsorted(depth, channels["depth"].fillna(depth[0]).to_numpy())
    scale = np.ones(len(channels))
    error = (channels["metric"] == "rmse").to_numpy()
    for name in PROGNOSTIC:
        rows = error & (channels["variable"] == name).to_numpy()
        scale[rows] = scales[name][levels[rows]]
    keys = ["lead", "region", "system", "metric"]
    scaled = channels.assign(value=channels["value"] / scale)
    mean = scaled.groupby(keys, sort=False, observed=True)["value"].mean().reset_index()
    variable = pd.Categorical.from_codes([len(PROGNOSTIC)] * len(mean), (*PROGNOSTIC, ALL))
    return mean.assign(variable=variable, depth=np.nan)[list(table.columns)]
