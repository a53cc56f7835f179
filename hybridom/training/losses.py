"""Weighted errors of normalised variables over wet cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from hybridom.config import LossConfig
from hybridom.errors import UserError
from hybridom.grid import Array, Grid, Mask
from hybridom.normalisation import Normaliser
from hybridom.state import OceanState
from hybridom.variables import PROGNOSTIC, VARIABLES

MEMORY = 24  # steps over which dynamic weights are averaged, beside the latest
LARGEST_RATIO = 20.0  # of any dynamic weight to the smallest
SMALLEST_ERROR = 1e-8  # of a channel, so that a perfect one has an inverse
# Neighbours in a row count as at least this far apart, in mean grid lengths: meridians meet at the
# poles, where the gradients of a few cells would otherwise outweigh those of the whole ocean.
SHORTEST = 0.5


class StateLoss(nn.Module):
    """Mean squared or absolute error of each variable and level, in standard deviations.

    The error of a variable is the mean over wet cells, weighted by area and, with
    `layer_weighting: thickness`, by layer thickness, of |d| to the power of 2 (`mse`) or 1
    (`mae`), where d = (forecast - truth) / std. `std` is that of the level, of anomalies or of
    one-day tendencies. Each channel (a variable at one level) holds its level's part of that mean.

    With `gradient`, that many times the error of the horizontal gradient of d is added: the mean
    over all pairs of wet neighbours, in rows (over the seam of a periodic grid) and in columns, of
    |difference of d / distance| to the same power. A pair weighs as the mean of its two cells.
    Distances are in mean grid lengths (the mean height of a cell), so that the gradient is in
    standard deviations per grid length; those in rows count as at least `SHORTEST`.

    With `dynamic`, the channels are weighed by the inverse of their own mean error, averaged over
    about `MEMORY` steps, so that what is predicted well goes on to count. This is Samudra's
    dynamic loss but for two things: errors are means over the ocean alone, and the weights are
    kept at a mean of one, so that the total keeps its size for clipping and the watch on
    divergence. `weights` and `layer_weighting` hold beside it.

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
    shares: Tensor
    dynamic_weights: Tensor
    row_distance: Tensor
    column_distance: Tensor

    def __init__(self, grid: Grid, wet: Mask, normaliser: Normaliser, config: LossConfig) -> None:
        super().__init__()
        weights = torch.tensor(list(config.weights.as_dict().values()), dtype=torch.float64)
        if weights.sum() == 0:
            raise UserError("training.loss.weights: all are zero, nothing would be learned")
        self.power = {"mse": 2, "mae": 1}[config.kind]
        self.gradient, self.dynamic = config.gradient, config.dynamic
        self.levels = [grid.nz if VARIABLES[name].has_depth else 1 for name in PROGNOSTIC]
        self.register_buffer("wet", torch.as_tensor(wet), persistent=False)
        for name, scale in normaliser.scale(f"{config.scale}_std").items():
            self.register_buffer(f"{name}_scale", torch.atleast_3d(scale), persistent=False)

        measures = cell_measures(grid, wet, config.layer_weighting)
        for kind, measure in measures.items():
            self._keep(kind, measure / measure.sum())
            if self.gradient > 0:
                in_rows, in_columns = pair_measures(measure, grid.periodic)
                total = max(in_rows.sum() + in_columns.sum(), np.finfo(np.float64).tiny)
                self._keep(f"{kind}_rows", in_rows / total)
                self._keep(f"{kind}_columns", in_columns / total)
        in_rows, in_columns = distances(grid)
        self._keep("row_distance", in_rows)
        self._keep("column_distance", in_columns)

        parts = [measures[_kind(name)].sum((1, 2)) for name in PROGNOSTIC]
        self._keep("shares", np.concatenate([part / part.sum() for part in parts]))
        each = weights / weights.sum()
        self._keep("weights", np.repeat(each.numpy(), self.levels))
        self._keep("dynamic_weights", np.ones(sum(self.levels)))

    def _keep(self, name: str, values: Array) -> None:
        self.register_buffer(name, torch.as_tensor(values).float(), persistent=False)

    def forward(self, forecast: OceanState, truth: OceanState) -> Tensor:
        """Error of each channel (C,), mean over the batch, in the order of `OceanState.channels`.

        The error of a variable is the sum over its channels.
        """
        return torch.cat([self._errors(n, x, getattr(truth, n)) for n, x in forecast.items()])

    def by_variable(self, errors: Tensor) -> Tensor:
        """Error of each variable (V,), in the order of `PROGNOSTIC`, from those of channels."""
        return torch.stack([part.sum() for part in errors.split(self.levels)])

    def total(self, errors: Tensor) -> Tensor:
        """Weighted mean of the errors of the variables, the number that is minimised.

        Args:
            errors: Error of each channel (C,).
        """
        return (self.weights * self.dynamic_weights * errors).sum()

    @torch.no_grad()
    def update(self, errors: Tensor) -> None:
        """Let the dynamic weights follow the errors of a step; nothing without `dynamic`.

        Args:
            errors: Error of each channel (C,), the same on every process.
        """
        if not self.dynamic:
            return
        importance = self.weights * self.shares
        counts = importance > 0
        mean = torch.where(counts, errors / self.shares, 1.0).clamp_min(SMALLEST_ERROR)
        target = 1.0 / mean
        target = target.clamp_max(LARGEST_RATIO * target[counts].min())
        target = target / (importance * target).sum()
        self.dynamic_weights.mul_(MEMORY).add_(target).div_(MEMORY + 1)

    def state(self) -> dict[str, Tensor]:
        """What a resumable checkpoint has to hold; empty without `dynamic`."""
        return {"dynamic_weights": self.dynamic_weights.cpu().clone()} if self.dynamic else {}

    def restore(self, contents: Mapping[str, Tensor]) -> None:
        """Inverse of `state`, for a loss of the same configuration."""
        if self.dynamic:
            self.dynamic_weights.copy_(contents["dynamic_weights"])

    def _errors(self, name: str, forecast: Tensor, truth: Tensor) -> Tensor:
        """Errors (nz,) of one variable, or (1,) without depth."""
        kind = _kind(name)
        if kind == "surface":
            forecast, truth = forecast.unsqueeze(-3), truth.unsqueeze(-3)
        # Masking before arithmetic keeps fill values out of the value and of the gradient.
        difference = torch.where(self.wet[: forecast.shape[-3]], forecast - truth, 0.0)
        difference = difference / getattr(self, f"{name}_scale")
        errors = self._mean(difference, kind)
        if self.gradient > 0:
            in_rows = (difference.roll(-1, dims=-1) - difference) / self.row_distance
            in_columns = difference.diff(dim=-2) / self.column_distance
            both = self._mean(in_rows, f"{kind}_rows") + self._mean(in_columns, f"{kind}_columns")
            errors = errors + self.gradient * both
        return errors

    def _mean(self, values: Tensor, share: str) -> Tensor:
        """Each level's part (nz,) of the weighted mean of |values| to the power of the loss."""
        parts: Tensor = values.abs() ** self.power * getattr(self, share)
        return parts.sum(dim=(-2, -1)).flatten(0, -2).mean(dim=0)


def cell_measures(
    grid: Grid, wet: Mask, layers: Literal["thickness", "uniform"]
) -> dict[str, Array]:
    """What each cell counts in a mean over the ocean.

    Args:
        grid: The grid.
        wet: Ocean cells (nz, ny, nx).
        layers: Whether a cell counts by its volume (`thickness`) or by its area (`uniform`).

    Returns:
        `volume` (nz, ny, nx), of variables with depth, and `surface` (1, ny, nx); zero on land.
    """
    area = np.where(wet, grid.area, 0.0)
    volume = area * grid.dz[:, None, None] if layers == "thickness" else area
    return {"volume": volume, "surface": area[:1]}


def pair_measures(measure: Array, periodic: bool) -> tuple[Array, Array]:
    """What each pair of neighbours counts: the mean of its cells, and nothing beside land.

    Args:
        measure: What each cell counts (nz, ny, nx), zero on land.
        periodic: Whether the last column neighbours the first.

    Returns:
        Pairs of a cell with the next to the east (nz, ny, nx), the last column with the first, and
        with the next to the north (nz, ny - 1, nx).
    """

    def pair(a: Array, b: Array) -> Array:
        return np.where((a > 0) & (b > 0), 0.5 * (a + b), 0.0)

    in_rows = pair(measure, np.roll(measure, -1, axis=-1))
    if not periodic:
        in_rows[..., -1] = 0.0
    return in_rows, pair(measure[:, :-1], measure[:, 1:])


def distances(grid: Grid) -> tuple[Array, Array]:
    """Distances between the centres of neighbours in mean heights of a cell.

    Returns:
        (ny, nx) to the next cell in the east, at least `SHORTEST`; (ny - 1, 1) to the north.
    """
    in_rows = 0.5 * (grid.dx_t + np.roll(grid.dx_t, -1, axis=-1)) / grid.dy.mean()
    in_columns = 0.5 * (grid.dy[1:] + grid.dy[:-1])[:, None] / grid.dy.mean()
    return np.maximum(in_rows, SHORTEST), in_columns


def _kind(name: str) -> str:
    return "volume" if VARIABLES[name].has_depth else "surface"
