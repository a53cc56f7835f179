"""ODM, the ocean dynamics model (HybridOM, Shu et al. 2026): encoder, latent core, decoder.

Axis letters as in `blocks`. With n = spatial_layers:

- encoder: n layers of 3x3 convolution, strides 1, 2, 1, 2, ..., `embed` channels;
- core: one convolutional block at `embed` channels, a 1x1 convolution to `latent` channels,
  blocks - 1 attention blocks, a 1x1 convolution back to `embed`;
- decoder: the encoder's layers in reverse, the strided ones transposed; the last one, at full
  resolution, takes in the first encoder feature (the skip, see `coder.Merge`);
- readout: 1x1 convolution, zero at initialisation.

Encoder and decoder fit any grid without padding (see `coder`); only attention fills its windows,
with tokens that take no part.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from hybridom.config import NetworkConfig
from hybridom.networks.attention import AttentionBlock
from hybridom.networks.base import GridNetwork, refuse
from hybridom.networks.blocks import ConvBlock, OceanPointwise
from hybridom.networks.coder import Coder, Merge
from hybridom.networks.registry import register

FIRST_DROP_PATH = 0.01


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
class ODM(GridNetwork):
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

    def __init__(
        self,
        config: NetworkConfig,
        in_channels: int,
        out_channels: int,
        mask: np.ndarray,
        periodic: bool,
    ) -> None:
        coder = Coder.on(mask, config.spatial_layers, config.embed, periodic)
        embed, latent, heads = config.embed, config.latent, config.heads
        shares = 2 if config.attention == "dual" else 1
        refuse(
            "odm",
            (embed % 8, f"embed = {embed} must be a multiple of 8 (GroupNorm(8))"),
            (latent % heads, f"latent = {latent} must be a multiple of heads = {heads}"),
            (heads % shares, f"heads = {heads} must be even for attention = dual"),
            (config.drop_path == 1.0, "drop_path must be below 1, or no block is ever trained"),
            coder.too_coarse(),
        )
        super().__init__(config, mask)
        self.stem = coder.stem(in_channels)
        self.encoder = nn.ModuleList(coder.encoder())
        self.core = latent_core(config, coder.latent, periodic)
        self.decoder = nn.ModuleList(coder.decoder())
        self.merge = Merge(embed, config.skip, mask, periodic)
        self.finish(OceanPointwise(embed, out_channels, mask), in_channels, out_channels, mask)

    def features(self, x: Tensor) -> Tensor:
        skip = x = self.run(self.stem, x)
        for layer in (*self.encoder, *self.core, *self.decoder):
            x = self.run(layer, x)
        return self.run(self.merge, x, skip)


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
