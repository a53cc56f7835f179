"""What the networks of published architectures have in common.

Axis letters: B batch, C channels, ny and nx rows and columns of the grid.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hybridom.config import NetworkConfig
from hybridom.errors import UserError
from hybridom.networks.blocks import OceanPointwise
from hybridom.networks.odm import SHORTCUT_GAIN


class GridNetwork(nn.Module):
    """A network whose input is cleaned of land and whose output is zero at initialisation.

    (B, in_channels, ny, nx) to (B, out_channels, ny, nx). A subclass defines `features`.

    Args:
        config: Of it, `shortcut` (add a pointwise linear map of the input) and `checkpoint` (keep
            only what enters the layers that go through `run`, and recompute the rest).
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        mask: (ny, nx) bool, True at ocean. Not part of the weights.
        readout: Makes (B, out_channels, ny, nx), zero on land, of what `features` returns. All of
            its parameters are set to zero.
    """

    wet: Tensor

    def __init__(
        self,
        config: NetworkConfig,
        in_channels: int,
        out_channels: int,
        mask: np.ndarray,
        readout: nn.Module,
    ) -> None:
        super().__init__()
        self.checkpoint = config.checkpoint
        self.register_buffer("wet", torch.from_numpy(mask), persistent=False)
        self.readout = zeroed(readout)
        self.shortcut = (
            zeroed(OceanPointwise(in_channels, out_channels, mask)) if config.shortcut else None
        )

    def features(self, x: Tensor) -> Tensor:
        """What the readout is given, from the input with zero on land."""
        raise NotImplementedError

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
