"""SimVP (Gao et al. 2022) with the gated attention translator of its second version.

The translator, gSTA: Tan et al. 2022. Axis letters as in `blocks`.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridom.config import NetworkConfig
from hybridom.networks.base import GridNetwork, refuse
from hybridom.networks.blocks import (
    DropPath,
    GridConv2d,
    MaskedGroupNorm,
    OceanPointwise,
    wrap_longitude,
)
from hybridom.networks.coder import Coder, Merge
from hybridom.networks.registry import register

LAYER_SCALE = 1e-2


class DilatedConv(nn.Conv2d):
    """Depth-wise 7x7 convolution of dilation 3, (B, channels, h, w) to the same shape.

    Circular in longitude on a periodic grid, also where it reaches further than once around.
    """

    def __init__(self, channels: int, periodic: bool) -> None:
        self.wrap = 9 if periodic else 0
        super().__init__(
            channels, channels, 7, padding=(9, 9 - self.wrap), dilation=3, groups=channels
        )

    def forward(self, x: Tensor) -> Tensor:
        turns, rest = divmod(self.wrap, x.shape[-1])
        x = torch.cat([x] * (2 * turns + 1), dim=-1)
        return super().forward(wrap_longitude(x, rest) if rest else x)


class GatedBlock(nn.Module):
    """Block of the translator, (B, channels, h, w) to the same shape, zero on land.

    Two residual branches, each after a masked GroupNorm(8) and with a LayerScale of initially 0.01:
    a large depth-wise kernel (5x5, then 7x7 of dilation 3) that gates itself, between 1x1
    convolutions and beside the identity; and an MLP with a depth-wise 3x3 convolution in its
    middle.
    """

    wet: Tensor

    def __init__(
        self, channels: int, hidden: int, drop_path: float, wet: np.ndarray, periodic: bool
    ) -> None:
        super().__init__()
        self.register_buffer("wet", torch.from_numpy(wet), persistent=False)
        self.norm_gate = MaskedGroupNorm(8, channels, wet)
        self.gate_in = OceanPointwise(channels, channels, wet)
        self.near = GridConv2d(channels, channels, 5, periodic, groups=channels)
        self.far = DilatedConv(channels, periodic)
        self.gate = nn.Conv2d(channels, 2 * channels, 1)
        self.gate_out = nn.Conv2d(channels, channels, 1)
        self.scale_gate = nn.Parameter(torch.full((channels, 1, 1), LAYER_SCALE))
        self.norm_mlp = MaskedGroupNorm(8, channels, wet)
        self.mlp_in = OceanPointwise(channels, hidden, wet)
        self.mlp_space = GridConv2d(hidden, hidden, 3, periodic, groups=hidden)
        self.mlp_out = nn.Conv2d(hidden, channels, 1)
        self.scale_mlp = nn.Parameter(torch.full((channels, 1, 1), LAYER_SCALE))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.scale_gate * self.gated(self.norm_gate(x)))
        hidden = F.gelu(self.mlp_space(self.mlp_in(self.norm_mlp(x))))
        x = x + self.drop_path(self.scale_mlp * self.mlp_out(hidden))
        return x * self.wet

    def gated(self, x: Tensor) -> Tensor:
        """The large kernel and its gate, (B, channels, h, w) to the same shape."""
        seen = self.far(self.near(F.gelu(self.gate_in(x))) * self.wet)
        value, gate = self.gate(seen).chunk(2, dim=1)
        return x + self.gate_out(value * torch.sigmoid(gate))


@register(
    "simvp",
    uses=(
        "embed",
        "latent",
        "spatial_layers",
        "blocks",
        "mlp_ratio",
        "drop_path",
        "skip",
        "shortcut",
        "checkpoint",
    ),
)
class SimVP(GridNetwork):
    """Convolutional encoder, translator on the latent grid, decoder with a skip.

    Encoder: 3x3 convolutions of strides 1, 2, 1, 2, ...; translator: `blocks` gated blocks at
    `latent` channels; decoder: the encoder in reverse, whose last layer takes in the first encoder
    feature. ODM keeps this encoder and decoder (`coder`) around another core. The published network
    stacks the frames of a sequence as channels of the translator; there is one here.

    Args:
        config: embed (channels of encoder and decoder), latent (channels of the translator),
            spatial_layers (layers of encoder and decoder), blocks (of the translator), mlp_ratio (8
            published), drop_path (of the last block, rising linearly from 0), skip (concat
            published, see `coder.Merge`), shortcut and checkpoint (see `GridNetwork`).
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        mask: (ny, nx) bool, True at ocean.
        periodic: Whether longitude closes.

    Raises:
        UserError: If embed is odd, latent no multiple of 8, drop_path 1, or the latent grid has
            fewer than 2 x 2 cells.

    Note:
        With the channels of the published State network at 0.5 degree (99 to 99), embed 256, latent
        512, spatial_layers 4, blocks 7, mlp_ratio 8: 42.6 million parameters.
    """

    def __init__(
        self,
        config: NetworkConfig,
        in_channels: int,
        out_channels: int,
        mask: np.ndarray,
        periodic: bool,
    ) -> None:
        embed, latent = config.embed, config.latent
        coder = Coder.on(mask, config.spatial_layers, embed, periodic)
        refuse(
            "simvp",
            (embed % 2, f"embed = {embed} must be even (GroupNorm(2))"),
            (latent % 8, f"latent = {latent} must be a multiple of 8 (GroupNorm(8))"),
            (config.drop_path == 1.0, "drop_path must be below 1, or no block is ever trained"),
            coder.too_coarse(),
        )
        super().__init__(config, mask)
        self.finish(OceanPointwise(embed, out_channels, mask), in_channels, out_channels, mask)
        wet, hidden = coder.latent, round(config.mlp_ratio * latent)
        rates = np.linspace(0.0, config.drop_path, config.blocks).tolist()
        self.stem = coder.stem(in_channels)
        self.layers = nn.ModuleList(
            [
                *coder.encoder(),
                OceanPointwise(embed, latent, wet),
                *(GatedBlock(latent, hidden, rate, wet, periodic) for rate in rates),
                OceanPointwise(latent, embed, wet),
                *coder.decoder(),
            ]
        )
        self.merge = Merge(embed, config.skip, mask, periodic)

    def features(self, x: Tensor) -> Tensor:
        skip = x = self.run(self.stem, x)
        for layer in self.layers:
            x = self.run(layer, x)
        return self.run(self.merge, x, skip)
