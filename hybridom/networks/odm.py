"""ODM, the ocean dynamics model (HybridOM, Shu et al. 2026): encoder, latent core, decoder.

Axis letters as in `blocks`. With n = spatial_layers:

- encoder: n layers of 3x3 convolution, strides 1, 2, 1, 2, ..., `embed` channels;
- core: one convolutional block at `embed` channels, a 1x1 convolution to `latent` channels,
  blocks - 1 attention blocks, a 1x1 convolution back to `embed`;
- decoder: the encoder's layers in reverse, the strided ones transposed; the last one, at full
  resolution, takes in the first encoder feature (the skip, see `Merge`);
- readout: 1x1 convolution, zero at initialisation.

Each layer is convolution, masked GroupNorm(2), LeakyReLU(0.2). A level with an odd number of rows
or columns is coarsened to the half rounded up, so that any grid fits without padding; only
attention fills its windows, with tokens that take no part.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hybridom.config import NetworkConfig
from hybridom.errors import UserError
from hybridom.networks.attention import AttentionBlock
from hybridom.networks.blocks import (
    ConvBlock,
    ConvLayer,
    GridConv2d,
    GridUpsample,
    MaskedGroupNorm,
    OceanPointwise,
    coarsen,
)
from hybridom.networks.registry import register

FIRST_DROP_PATH = 0.01


def refuse_unusable(config: NetworkConfig, latent_shape: tuple[int, ...]) -> None:
    """Raise UserError for sizes that do not fit together, or too coarse a latent grid."""
    shares = 2 if config.attention == "dual" else 1
    problems = [
        (config.embed % 8, f"embed = {config.embed} must be a multiple of 8 (GroupNorm(8))"),
        (
            config.latent % config.heads,
            f"latent = {config.latent} must be a multiple of heads = {config.heads}",
        ),
        (config.heads % shares, f"heads = {config.heads} must be even for attention = dual"),
        (config.drop_path == 1.0, "drop_path must be below 1, or no block is ever trained"),
        (
            min(latent_shape) < 2,
            f"spatial_layers = {config.spatial_layers} leaves {latent_shape} latent cells and "
            "must leave 2 x 2 at least: take fewer layers or a larger grid",
        ),
    ]
    for present, problem in problems:
        if present:
            raise UserError(f"networks: odm: {problem}")


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


# The shortcut starts at zero and may have to reach one (to undo an input), which takes Adam a
# thousand steps of 1e-3; the gain makes that a few hundred.
SHORTCUT_GAIN = 4.0


@register(
    "odm",
    uses=(
        "embed",
        "latent",
        "spatial_layers",
        "blocks",
        "heads",
        "window",
        "mlp_ratio",
        "attention",
        "drop_path",
        "skip",
        "shortcut",
        "checkpoint",
    ),
)
class ODM(nn.Module):
    """Encoder, dual-scale attention core and decoder on one horizontal grid.

    Maps (B, in_channels, ny, nx) to (B, out_channels, ny, nx): zero on land, zero everywhere at
    initialisation, independent of what the input holds on land.

    Args:
        config: embed, latent, spatial_layers, blocks, heads, window, mlp_ratio, attention,
            drop_path (the rate of the last latent block, rising linearly from 0.01 at the first;
            0 is off), shortcut (add a pointwise linear map of the input to the output, which the
            published network lacks: what an input asks to be undone or passed on need not squeeze
            through `embed` channels), skip (how the decoder takes in the first encoder feature,
            see `Merge`) and checkpoint (keep only what enters each layer for the backward pass,
            and recompute the rest).
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        mask: (ny, nx) bool, True at ocean. Not part of the weights.
        periodic: Whether longitude closes; if not, what lies past the eastern and western edges
            is zero.

    Raises:
        UserError: If embed is no multiple of 8, latent no multiple of heads, heads odd for dual
            attention, drop_path 1, or the latent grid has fewer than 2 x 2 cells.

    Note:
        Let S = 2 ** (spatial_layers // 2) be the total stride. On a periodic grid whose nx is a
        multiple of S x window, rolling input and mask in longitude by a multiple of S x window
        rolls the output. Parameters in millions, published and here (4 heads; MLP ratio 8, for
        the gate 4):

        ==================  =============  ====================  =========  =====
        network             channels       embed, latent,        published  here
                                           spatial_layers,
                                           blocks
        ==================  =============  ====================  =========  =====
        ILAP, 0.5           75 to 75       256, 512, 6, 4        24.0       24.51
        State, 0.5          99 to 99       256, 512, 4, 8        42.7       43.24
        ILAP, 0.25          42 to 42       128, 256, 6, 2        3.4        3.51
        State, 0.25         55 to 55       256, 512, 6, 6        34.5       34.97
        ILAP, regional      42 to 42       256, 512, 4, 3        16.3       16.80
        State, regional     104 to 104     256, 512, 4, 8        42.7       43.25
        gate, regional      24 to 24       128, 256, 4, 4        3.9        3.83
        ==================  =============  ====================  =========  =====

        The excess, 8 embed^2 but for the gate, is what a convolutional block of MLP ratio 4 would
        save; the published description gives that block the ratio 8 too.
    """

    wet: Tensor

    def __init__(
        self,
        config: NetworkConfig,
        in_channels: int,
        out_channels: int,
        mask: np.ndarray,
        periodic: bool,
    ) -> None:
        super().__init__()
        strides = [1 + i % 2 for i in range(config.spatial_layers)]
        wet = [mask]
        for stride in strides[1:]:
            wet.append(coarsen(wet[-1]) if stride == 2 else wet[-1])
        refuse_unusable(config, wet[-1].shape)
        self.checkpoint = config.checkpoint
        self.register_buffer("wet", torch.from_numpy(mask), persistent=False)
        embed = config.embed

        self.stem = ConvLayer(GridConv2d(in_channels, embed, 3, periodic), embed, mask)
        self.encoder = nn.ModuleList(
            ConvLayer(GridConv2d(embed, embed, 3, periodic, stride), embed, level)
            for stride, level in zip(strides[1:], wet[1:], strict=True)
        )
        self.core = latent_core(config, wet[-1], periodic)
        self.decoder = nn.ModuleList(
            ConvLayer(
                GridUpsample(embed, level.shape, periodic)
                if stride == 2
                else GridConv2d(embed, embed, 3, periodic),
                embed,
                level,
            )
            for stride, level in zip(strides[:0:-1], wet[-2::-1], strict=True)
        )
        self.merge = Merge(embed, config.skip, mask, periodic)
        self.readout = OceanPointwise(embed, out_channels, mask)
        self.shortcut = OceanPointwise(in_channels, out_channels, mask) if config.shortcut else None
        for layer in (self.readout, self.shortcut):
            for parameter in layer.parameters() if layer is not None else ():
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        # Not a product: a fill value may be NaN.
        given = torch.where(self.wet, x, 0.0)
        skip = x = self._run(self.stem, given)
        for layer in (*self.encoder, *self.core, *self.decoder):
            x = self._run(layer, x)
        x = self._run(self.merge, x, skip)
        if self.shortcut is None:
            return self.readout(x)
        return self.readout(x) + SHORTCUT_GAIN * self.shortcut(given)

    def _run(self, layer: nn.Module, *features: Tensor) -> Tensor:
        if self.checkpoint and torch.is_grad_enabled():
            return checkpoint(layer, *features, use_reentrant=False)
        return layer(*features)


def latent_core(config: NetworkConfig, wet: np.ndarray, periodic: bool) -> nn.ModuleList:
    """The latent blocks on the level of `wet`, (h, w) bool, from and to `config.embed` channels."""
    first = min(FIRST_DROP_PATH, config.drop_path)
    rates = np.linspace(first, config.drop_path, config.blocks).tolist()
    core = nn.ModuleList(
        [
            ConvBlock(
                config.embed, round(config.mlp_ratio * config.embed), rates[0], wet, periodic
            ),
            OceanPointwise(config.embed, config.latent, wet),
        ]
    )
    core.extend(
        AttentionBlock(
            config.latent,
            round(config.mlp_ratio * config.latent),
            config.heads,
            config.window,
            config.attention,
            rate,
            wet,
            periodic,
        )
        for rate in rates[1:]
    )
    core.append(OceanPointwise(config.latent, config.embed, wet))
    return core
