"""U-Net (Ronneberger et al. 2015), the backbone of most ocean emulators."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridom.config import NetworkConfig
from hybridom.networks.base import GridNetwork, refuse
from hybridom.networks.blocks import ConvLayer, GridConv2d, OceanPointwise, coarsen
from hybridom.networks.registry import register


class DoubleConv(nn.Sequential):
    """Two 3x3 convolution layers, (B, inputs, h, w) to (B, outputs, h, w), zero on land."""

    def __init__(self, inputs: int, outputs: int, wet: np.ndarray, periodic: bool) -> None:
        super().__init__(
            ConvLayer(GridConv2d(inputs, outputs, 3, periodic), outputs, wet),
            ConvLayer(GridConv2d(outputs, outputs, 3, periodic), outputs, wet),
        )


class UpLayer(nn.Module):
    """From one level to the next finer one, joined by that level's own feature.

    (B, 2 channels, ceil(h/2), ceil(w/2)) and (B, channels, h, w) to (B, channels, h, w).
    """

    wet: Tensor

    def __init__(self, channels: int, wet: np.ndarray, periodic: bool) -> None:
        super().__init__()
        self.register_buffer("wet", torch.from_numpy(wet), persistent=False)
        # Its patches do not overlap, so that they know no seam and no edge.
        self.up = nn.ConvTranspose2d(2 * channels, channels, 2, stride=2)
        self.convs = DoubleConv(2 * channels, channels, wet, periodic)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        rows, columns = self.wet.shape
        up = self.up(x)[..., :rows, :columns] * self.wet
        return self.convs(torch.cat([skip, up], dim=1))


@register("unet", uses=("embed", "spatial_layers", "shortcut", "checkpoint"))
class UNet(GridNetwork):
    """Levels of half the resolution and twice the channels, with a skip at each.

    As published: two 3x3 convolutions a level, 2x2 maximum on the way down (land counts as zero),
    transposed 2x2 convolution on the way up, the feature of the way down beside it. Unlike it:
    convolutions keep the size of the grid and close in longitude, and each is followed by the
    masked group normalisation and LeakyReLU of `blocks.ConvLayer`. A level with an odd number of
    rows or columns is coarsened to the half rounded up.

    Args:
        config: embed (channels at full resolution), spatial_layers (levels below the full one, 4
            published), shortcut and checkpoint (see `GridNetwork`).
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        mask: (ny, nx) bool, True at ocean.
        periodic: Whether longitude closes.

    Raises:
        UserError: If embed is odd, or the coarsest level has fewer than 2 x 2 cells.

    Note:
        With the channels of the published State network at 0.5 degree (99 to 99), embed 76,
        spatial_layers 4: 43.8 million parameters.
        The published sizes, embed 64 and spatial_layers 4, have the published 31.0 million from 1
        channel to 2.
    """

    def __init__(
        self,
        config: NetworkConfig,
        in_channels: int,
        out_channels: int,
        mask: np.ndarray,
        periodic: bool,
    ) -> None:
        embed, depth = config.embed, config.spatial_layers
        levels = [mask]
        for _ in range(depth):
            levels.append(coarsen(levels[-1]))
        refuse(
            "unet",
            (embed % 2, f"embed = {embed} must be even (GroupNorm(2))"),
            (
                min(levels[-1].shape) < 2,
                f"spatial_layers = {depth} leaves {levels[-1].shape} cells and must leave 2 x 2 at "
                "least: take fewer levels or a larger grid",
            ),
        )
        readout = OceanPointwise(embed, out_channels, mask)
        super().__init__(config, mask)
        self.finish(readout, in_channels, out_channels, mask)
        widths = [embed * 2**level for level in range(depth + 1)]
        self.stem = DoubleConv(in_channels, embed, mask, periodic)
        self.down = nn.ModuleList(
            DoubleConv(width // 2, width, wet, periodic)
            for width, wet in zip(widths[1:], levels[1:], strict=True)
        )
        self.up = nn.ModuleList(
            UpLayer(width, wet, periodic)
            for width, wet in zip(widths[-2::-1], levels[-2::-1], strict=True)
        )

    def features(self, x: Tensor) -> Tensor:
        skips = [self.run(self.stem, x)]
        for layer in self.down:
            pooled = F.max_pool2d(skips[-1], 2, ceil_mode=True)
            skips.append(self.run(layer, pooled))
        x = skips.pop()
        for layer in self.up:
            x = self.run(layer, x, skips.pop())
        return x
