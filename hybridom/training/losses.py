"""Weighted errors of normalised variables over wet cells."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from hybridom.config import LossConfig
from hybridom.errors import UserError
from hybridom.grid import Grid, Mask
from hybridom.normalisation import Normaliser
from hybridom.state import OceanState
from hybridom.variables import PROGNOSTIC, VARIABLES


def cell_weights(
    grid: Grid, wet: Mask, layers: Literal["thickness", "uniform"]
) -> dict[str, Tensor]:
    """Share of each cell in the mean of a variable over the ocean.

    Args:
        grid: The grid.
        wet: Ocean cells (nz, ny, nx).
        layers: Whether a cell counts by its volume (`thickness`) or by its area (`uniform`).

    Returns:
        Variable -> float64 (nz, ny, nx), or (ny, nx) without depth; zero on land, sums to one.
    """
    area = torch.as_tensor(grid.area)
    mask = torch.as_tensor(wet)
    thickness = torch.as_tensor(grid.dz)[:, None, None]
    volume = mask * area * (thickness if layers == "thickness" else 1.0)
    surface = mask[0] * area
    measure = {n: volume if VARIABLES[n].has_depth else surface for n in PROGNOSTIC}
    return {name: x / x.sum() for name, x in measure.items()}


class StateLoss(nn.Module):
    """Mean squared or absolute error of each variable, in units of a standard deviation.

    The error of a variable is the mean over wet cells, weighted by area and, with
    `layer_weighting: thickness`, by layer thickness, of |forecast - truth| / std to the power of 2
    (`mse`) or 1 (`mae`). `std` is that of the level, of anomalies or of one-day tendencies.

    Args:
        grid: The grid.
        wet: Ocean cells (nz, ny, nx).
        normaliser: Holds the standard deviations.
        config: Kind, scale and weights.

    Raises:
        UserError: All weights are zero.
    """

    wet: Tensor
    weights: Tensor

    def __init__(self, grid: Grid, wet: Mask, normaliser: Normaliser, config: LossConfig) -> None:
        super().__init__()
        weights = torch.tensor(list(config.weights.as_dict().values()), dtype=torch.float64)
        if weights.sum() == 0:
            raise UserError("training.loss.weights: all are zero, nothing would be learned")
        self.power = {"mse": 2, "mae": 1}[config.kind]
        self.register_buffer("weights", (weights / weights.sum()).float(), persistent=False)
        self.register_buffer("wet", torch.as_tensor(wet), persistent=False)
        scales = normaliser.scale(f"{config.scale}_std")
        for name, share in cell_weights(grid, wet, config.layer_weighting).items():
            self.register_buffer(f"{name}_share", share.float(), persistent=False)
            self.register_buffer(f"{name}_scale", scales[name], persistent=False)

    def forward(self, forecast: OceanState, truth: OceanState) -> Tensor:
        """Error of each variable (V,), mean over the batch, in the order of `PROGNOSTIC`."""
        return torch.stack(
            [self.error(name, x, getattr(truth, name)) for name, x in forecast.items()]
        )

    def total(self, errors: Tensor) -> Tensor:
        """Weighted mean of the errors of the variables, the number that is minimised."""
        return (self.weights * errors).sum()

    def error(self, name: str, forecast: Tensor, truth: Tensor) -> Tensor:
        """Error of one variable, a scalar."""
        mask = self.wet if VARIABLES[name].has_depth else self.wet[0]
        # Masking before arithmetic keeps fill values out of the value and of the gradient.
        difference = torch.where(mask, forecast - truth, 0.0)
        error = (difference / getattr(self, f"{name}_scale")).abs() ** self.power
        share: Tensor = getattr(self, f"{name}_share")
        return (error * share).flatten(1).sum(dim=1).mean()
