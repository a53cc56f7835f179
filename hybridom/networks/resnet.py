"""ResNet (He et al. 2016) at full resolution: it never loses a strait to a coarser grid."""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from hybridom.config import NetworkConfig
from hybridom.networks.base import GridNetwork, refuse
from hybridom.networks.blocks import ConvLayer, GridConv2d, MaskedGroupNorm, OceanPointwise
from hybridom.networks.registry import register


class ResidualBlock(nn.Module):
    """The basic block, (B, channels, h, w) to the same shape, zero on land.

    Two 3x3 convolutions with normalisation beside the identity, and an activation after the sum.
    """

    def __init__(self, channels: int, wet: np.ndarray, periodic: bool) -> None:
        super().__init__()
        self.first = ConvLayer(GridConv2d(channels, channels, 3, periodic), channels, wet)
        self.second = GridConv2d(channels, channels, 3, periodic)
        self.norm = MaskedGroupNorm(2, channels, wet)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x + self.norm(self.second(self.first(x))), 0.2)


@register("resnet", uses=("embed", "blocks", "shortcut", "checkpoint"))
class ResNet(GridNetwork):
    """A 3x3 convolution, residual blocks of constant width and resolution, a 1x1 convolution.

    The residual network that weather emulators took over (Rasp and Thuerey 2021), without strides.
    Batch normalisation, which would mix samples, and ReLU are the masked group normalisation and
    LeakyReLU of `blocks.ConvLayer`. Each block sees two cells further.

    Args:
        config: embed (channels), blocks (residual blocks, two convolutions each), shortcut and
            checkpoint (see `GridNetwork`).
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        mask: (ny, nx) bool, True at ocean.
        periodic: Whether longitude closes.

    Raises:
        UserError: If embed is odd.

    Note:
        With the channels of the published State network at 0.5 degree (99 to 99), embed 256, blocks
        36: 42.8 million parameters.
    """

    def __init__(
        self,
        config: NetworkConfig,
        in_channels: int,
        out_channels: int,
        mask: np.ndarray,
        periodic: bool,
    ) -> None:
        embed = config.embed
        refuse("resnet", (embed % 2, f"embed = {embed} must be even (GroupNorm(2))"))
        readout = OceanPointwise(embed, out_channels, mask)
        super().__init__(config, mask)
        self.finish(readout, in_channels, out_channels, mask)
        self.stem = ConvLayer(GridConv2d(in_channels, embed, 3, periodic), embed, mask)
        self.blocks = nn.ModuleList(
            ResidualBlock(embed, mask, periodic) for _ in range(config.blocks)
        )

    def features(self, x: Tensor) -> Tensor:
        for layer in (self.stem, *self.blocks):
            x = self.run(layer, x)
        return x
