"""The encoder and decoder of ODM and SimVP: strided 3x3 convolutions, and the same in reverse.

Axis letters as in `blocks`. The layers have strides 1, 2, 1, 2, ... and `embed` channels; each is
convolution, masked GroupNorm(2), LeakyReLU(0.2). A level with an odd number of rows or columns is
coarsened to the half rounded up, so that any grid fits without padding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridom.networks.blocks import (
    ConvLayer,
    GridConv2d,
    GridUpsample,
    MaskedGroupNorm,
    OceanPointwise,
    coarsen,
)


@dataclass(frozen=True)
class Coder:
    """Makes the layers between a grid and its latent grid.

    Attributes:
        embed: Channels of all layers.
        strides: Of the encoder's layers.
        wet: (h, w) bool of the grid and of what each further layer of the encoder gives.
        periodic: Whether longitude closes.
    """

    embed: int
    strides: tuple[int, ...]
    wet: tuple[np.ndarray, ...]
    periodic: bool

    @classmethod
    def on(cls, mask: np.ndarray, layers: int, embed: int, periodic: bool) -> Coder:
        """The coder of a number of layers on the grid of `mask`, (ny, nx) bool."""
        strides = tuple(1 + i % 2 for i in range(layers))
        wet = [mask]
        for stride in strides[1:]:
            wet.append(coarsen(wet[-1]) if stride == 2 else wet[-1])
        return cls(embed, strides, tuple(wet), periodic)

    @property
    def latent(self) -> np.ndarray:
        """Wet cells of the latent grid (h, w)."""
        return self.wet[-1]

    def too_coarse(self) -> tuple[bool, str]:
        """Whether the latent grid has fewer than 2 x 2 cells, and in words."""
        return min(self.latent.shape) < 2, (
            f"spatial_layers = {len(self.strides)} leaves {self.latent.shape} latent cells and "
            "must leave 2 x 2 at least: take fewer layers or a larger grid"
        )

    def stem(self, in_channels: int) -> ConvLayer:
        """The first layer of the encoder, whose output is the skip."""
        conv = GridConv2d(in_channels, self.embed, 3, self.periodic)
        return ConvLayer(conv, self.embed, self.wet[0])

    def encoder(self) -> list[ConvLayer]:
        """The layers after the stem."""
        return [self._down(*at) for at in zip(self.strides[1:], self.wet[1:], strict=True)]

    def decoder(self) -> list[ConvLayer]:
        """The encoder's layers in reverse, the strided ones transposed; `Merge` follows them."""
        return [self._up(*at) for at in zip(self.strides[:0:-1], self.wet[-2::-1], strict=True)]

    def _down(self, stride: int, level: np.ndarray) -> ConvLayer:
        conv = GridConv2d(self.embed, self.embed, 3, self.periodic, stride)
        return ConvLayer(conv, self.embed, level)

    def _up(self, stride: int, level: np.ndarray) -> ConvLayer:
        if stride == 1:
            return self._down(stride, level)
        return ConvLayer(GridUpsample(self.embed, level.shape, self.periodic), self.embed, level)


class Merge(nn.Module):
    """The decoder's full-resolution layer: takes in the first encoder feature, the skip.

    Both features, (B, embed, ny, nx), to one of the same shape; a 3x3 convolution, masked
    GroupNorm(2) and LeakyReLU(0.2) of

    - `concat`: both side by side, 2 embed channels (the published form);
    - `reduce`: the same, brought to embed channels by a 1x1 convolution;
    - `add`: their sum.

    Being at full resolution it is the dearest layer. Of the whole network, in millions of
    parameters and of floating-point operations a grid cell (forward, sizes as in `ODM`):

    ==================  ===================  ===================
    network             parameters           operations
    ..                  concat  reduce  add  concat  reduce  add
    ==================  ===================  ===================
    ILAP, 0.5           24.51  24.05  23.92  4.81   3.90   3.63
    State, 0.5          43.24  42.78  42.65  9.04   8.12   7.86
    ILAP, 0.25          3.51   3.40   3.37   1.13   0.90   0.84
    State, 0.25         34.97  34.51  34.38  5.04   4.13   3.86
    ILAP, regional      16.80  16.34  16.21  5.42   4.51   4.25
    State, regional     43.25  42.79  42.66  9.06   8.15   7.88
    gate, regional      3.83   3.71   3.68   1.32   1.09   1.03
    ==================  ===================  ===================
    """

    def __init__(self, embed: int, skip: str, wet: np.ndarray, periodic: bool) -> None:
        super().__init__()
        self.add = skip == "add"
        self.reduce = OceanPointwise(2 * embed, embed, wet) if skip == "reduce" else None
        width = 2 * embed if skip == "concat" else embed
        self.conv = GridConv2d(width, embed, 3, periodic)
        self.norm = MaskedGroupNorm(2, embed, wet)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = x + skip if self.add else torch.cat([x, skip], dim=1)
        if self.reduce is not None:
            x = self.reduce(x)
        return F.leaky_relu(self.norm(self.conv(x)), 0.2, inplace=True)
