"""What networks have in common.

Axis letters: B batch, C channels, ny and nx rows and columns of the grid.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hybridom.config import NetworkConfig
from hybridom.errors import UserError
from hybridom.networks.blocks import OceanPointwise

# The shortcut starts at zero and may have to reach one (to undo an input), which takes Adam a
# thousand steps of 1e-3; the gain makes that a few hundred.
SHORTCUT_GAIN = 4.0


class GridNetwork(nn.Module, ABC):
    """A network whose input is cleaned of land and whose output is zero at initialisation.

    (B, in_channels, ny, nx) to (B, out_channels, ny, nx). A subclass defines `features`, and calls
    `finish` once.

    Args:
        config: Of it, `shortcut` (add a pointwise linear map of the input) and `checkpoint` (keep
            only what enters the layers that go through `run`, and recompute the rest).
        mask: (ny, nx) bool, True at ocean. Not part of the weights.
    """

    wet: Tensor

    def __init__(self, config: NetworkConfig, mask: np.ndarray) -> None:
        super().__init__()
        self.checkpoint, self.has_shortcut = config.checkpoint, config.shortcut
        self.register_buffer("wet", torch.from_numpy(mask), persistent=False)

    def finish(
        self, readout: nn.Module, in_channels: int, out_channels: int, mask: np.ndarray
    ) -> None:
        """Add the readout, and the shortcut where there is one.

        Args:
            readout: Makes (B, out_channels, ny, nx), zero on land, of what `features` returns. All
                of its parameters are set to zero.
            in_channels: Number of input channels.
            out_channels: Number of output channels.
            mask: (ny, nx) bool, True at ocean.
        """
        self.readout = zeroed(readout)
        shortcut = OceanPointwise(in_channels, out_channels, mask) if self.has_shortcut else None
        self.shortcut = None if shortcut is None else zeroed(shortcut)

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """What the readout is given, from the input with zero on land."""

    def forward(self, x: Tensor) -> Tensor:
        # Not a product: a fill value may be NaN.
        given = torch.where(self.wet, x, 0.0)
        change = self.readout(self.features(given))
        if self.shortcut is None:
            return change
        return change + SHORTCUT_GAIN * self.shortcut(given)

    def run(self, layer: Callable[..., Any], *inputs: Tensor) -> Any:
        """`layer(*inputs)`, under gradient checkpointing if that is asked for."""
        if self.checkpoint and torch.is_grad_enabled():
            return checkpoint(layer, *inputs, use_reentrant=False)
        return layer(*inputs)


def zeroed(module: nn.Module) -> nn.Module:
    """The module with all of its parameters set to zero."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def refuse(name: str, *problems: tuple[object, str]) -> None:
    """Raise UserError with the text of the first problem that is present (true)."""
    for present, problem in problems:
        if present:
            raise UserError(f"networks: {name}: {problem}")
