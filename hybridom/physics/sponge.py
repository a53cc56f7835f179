"""Relaxation towards an outer ocean near the open edges of a region.

dX/dt = (X_outer - X) / tau, with tau the longer the farther the edge is (the flow relaxation of
Davies 1976, doi:10.1002/qj.49710243210). It is no term of the substeps: once a day, after all
else, X <- X + r (X_outer - X) with r = 1 - exp(-1 day / tau), which is exact for an outer ocean
that rests over the day and stable for any tau.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from hybridom.config import SpongeConfig
from hybridom.errors import UserError
from hybridom.grid import Array, Grid
from hybridom.masks import Mask, cells_to_open_edge
from hybridom.state import OceanState
from hybridom.variables import VARIABLES


class Sponge(nn.Module):
    """One day of relaxation near the open edges of one grid; no parameters.

    An edge is open where its cells are ocean; poles and the seam of a periodic grid are none.

    Attributes:
        strength: r (ny, nx), part of the difference to the outer ocean that a day takes away; zero
            in the interior and where the surface is land.
        relaxed: Ocean cells that are relaxed (nz, ny, nx), bool.
    """

    strength: Tensor
    relaxed: Tensor

    def __init__(
        self, grid: Grid, wet: Mask, config: SpongeConfig, dtype: torch.dtype = torch.float32
    ) -> None:
        """Build the sponge of `grid`.

        Args:
            grid: The grid.
            wet: Ocean cells (nz, ny, nx), bool.
            config: Width and time scale.
            dtype: Type of the fields that will be passed.

        Raises:
            UserError: The grid has no open edge, or the sponge is wider than half of the box.
        """
        super().__init__()
        lat = (float(grid.lat_bounds[0]), float(grid.lat_bounds[-1]))
        try:
            config.require_room(grid.ny, grid.nx, lat, grid.periodic)
        except ValueError as error:
            raise UserError(str(error)) from None
        strength = -np.expm1(-relaxation_rate(grid, wet[0], config))
        self.register_buffer("strength", torch.as_tensor(strength, dtype=dtype), persistent=False)
        relaxed = torch.as_tensor((strength > 0) & wet)
        self.register_buffer("relaxed", relaxed, persistent=False)

    def forward(self, state: OceanState, outer: OceanState) -> OceanState:
        """Draw every variable of `state` to `outer`.

        Args:
            state: At centres, (..., nz, ny, nx) and (..., ny, nx).
            outer: Of the same shape and units; land may hold anything.

        Returns:
            `state` where nothing is relaxed, bit for bit; between the two elsewhere.
        """
        return OceanState(
            **{name: self._relax(name, x, getattr(outer, name)) for name, x in state.items()}
        )

    def _relax(self, name: str, x: Tensor, outer: Tensor) -> Tensor:
        relaxed = self.relaxed if VARIABLES[name].has_depth else self.relaxed[0]
        # lerp is monotone in floating point too, and keeps x where both are equal
        return torch.where(relaxed, torch.lerp(x, outer, self.strength), x)


def relaxation_rate(grid: Grid, sea: Mask, config: SpongeConfig) -> Array:
    """1 / tau (ny, nx), per day; zero on land and where no open edge is within `config.width`.

    cos2(pi n / (2 width)) / days in a cell n cells away from the nearest open edge: 1 / days in the
    outermost cells. Rate and slope fall to zero at the inner end, because what travels outwards is
    reflected where damping sets in abruptly.

    Args:
        grid: The grid.
        sea: Cells that are ocean at the surface (ny, nx).
        config: Width and time scale.
    """
    if not config.width:
        return np.zeros(sea.shape)
    share = np.minimum(cells_to_open_edge(grid, sea) / config.width, 1.0)
    return np.where(sea & (share < 1), np.cos(0.5 * np.pi * share) ** 2, 0.0) / config.days
