"""What a model is given beside the state: the conditions of a day, and what never changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hybridom.grid import Grid, Mask
from hybridom.state import Forcing, OceanState


@dataclass(frozen=True)
class Conditions:
    """What is given for one day, at cell centres.

    Attributes:
        forcing: Surface forcing, fields (..., ny, nx) in the units of `variables`.
        climatology: Daily climatology of the state.
        forcing_climatology: Daily climatology of the forcing.
        outer: The coarser ocean that drives a region, brought to its cells; land may hold
            anything. None: there is none, and a sponge draws to the climatology.
    """

    forcing: Forcing
    climatology: OceanState
    forcing_climatology: Forcing
    outer: OceanState | None = None

    def to(self, *args: object, **kwargs: object) -> Conditions:
        """Move or cast every field, as `Tensor.to`."""
        return Conditions(
            self.forcing.to(*args, **kwargs),
            self.climatology.to(*args, **kwargs),
            self.forcing_climatology.to(*args, **kwargs),
            None if self.outer is None else self.outer.to(*args, **kwargs),
        )


def static_features(grid: Grid, wet: Mask) -> Tensor:
    """Constant inputs of the State network (5, ny, nx), of order one.

    Surface wet mask, position on the unit sphere (sin lat, cos lat cos lon, cos lat sin lon), which
    has no seam at the date line, and the wet depth of the column as a part of the grid's depth.
    """
    lat, lon = np.deg2rad(grid.lat)[:, None], np.deg2rad(grid.lon)[None, :]
    column = (wet * grid.dz[:, None, None]).sum(axis=0) / grid.dz.sum()
    features = [wet[0], np.sin(lat), np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), column]
    stacked = np.stack([np.broadcast_to(x, (grid.ny, grid.nx)) for x in features])
    return torch.as_tensor(stacked, dtype=torch.float32)
