"""AFNO, the adaptive Fourier neural operator (Guibas et al. 2022) of FourCastNet.

FourCastNet: Pathak et al. 2022. Axis letters as in `tokens`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from hybridom.config import NetworkConfig
from hybridom.networks.base import GridNetwork, refuse
from hybridom.networks.blocks import DropPath
from hybridom.networks.registry import register
from hybridom.networks.tokens import PatchEmbed, PatchReadout, token_mask, token_mlp

SPARSITY = 0.01


def shrink(z: Tensor, threshold: Tensor) -> Tensor:
    """Shorten complex numbers by `threshold` > 0, or to zero: soft-shrinkage of the modulus."""
    return z * (1 - threshold / torch.maximum(z.abs(), threshold))


class FourierMixing(nn.Module):
    """Mix tokens by a small MLP on each of their Fourier coefficients, plus the tokens.

    (B, h, w, embed) to the same shape. Rows are followed by as many of zeros, so that one pole is
    no neighbour of the other; so are the columns of a grid that does not close.

    Complex two-layer perceptrons on `heads` groups of channels, with shrinkage of the result, as
    published. Its ReLU and biases act on real and imaginary parts, which are those of the first
    column; here the modulus is shortened by a learned threshold, which favours no column.
    """

    def __init__(self, embed: int, heads: int, size: tuple[int, int], periodic: bool) -> None:
        super().__init__()
        self.heads = heads
        self.size = (2 * size[0], size[1] if periodic else 2 * size[1])
        group = embed // heads
        # Real and imaginary parts; the spread is the published one at 96 channels a group.
        self.first = nn.Parameter(torch.randn(2, heads, group, group) * 0.2 * group**-0.5)
        self.second = nn.Parameter(torch.randn(2, heads, group, group) * 0.2 * group**-0.5)
        self.threshold = nn.Parameter(torch.randn(heads, group) * 0.02)

    def forward(self, x: Tensor) -> Tensor:
        _, h, w, _ = x.shape
        # No Fourier transform takes half precision at any size of grid.
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        z = torch.fft.rfft2(wide, s=self.size, dim=(1, 2), norm="ortho")
        z = z.unflatten(-1, (self.heads, -1))
        z = torch.einsum("...gi,gio->...go", z, torch.complex(*self.first))
        z = shrink(z, SPARSITY + self.threshold.abs())
        z = torch.einsum("...gi,gio->...go", z, torch.complex(*self.second))
        z = shrink(z, torch.full_like(self.threshold, SPARSITY)).flatten(-2)
        mixed = torch.fft.irfft2(z, s=self.size, dim=(1, 2), norm="ortho")[:, :h, :w]
        return x + mixed.to(x.dtype)


class AFNOBlock(nn.Module):
    """Fourier mixing, then an MLP, with a skip over each; (B, h, w, embed) to the same shape.

    `wet` is the mask of the tokens, (h, w) bool; tokens without ocean stay zero.
    """

    wet: Tensor

    def __init__(
        self,
        embed: int,
        heads: int,
        hidden: int,
        drop_path: float,
        wet: np.ndarray,
        periodic: bool,
    ) -> None:
        super().__init__()
        self.register_buffer("wet", torch.from_numpy(wet)[..., None], persistent=False)
        self.norm_mix = nn.LayerNorm(embed)
        self.mix = FourierMixing(embed, heads, (wet.shape[0], wet.shape[1]), periodic)
        self.norm_mlp = nn.LayerNorm(embed)
        self.mlp = token_mlp(embed, hidden)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mix(self.norm_mix(x) * self.wet)
        x = x + self.drop_path(self.mlp(self.norm_mlp(x)))
        return x * self.wet


@register(
    "afno",
    uses=(
        "embed",
        "patch",
        "blocks",
        "heads",
        "mlp_ratio",
        "drop_path",
        "shortcut",
        "checkpoint",
    ),
)
class AFNO(GridNetwork):
    """Patches as tokens, blocks of Fourier mixing and MLP, tokens back to patches.

    In place of a learned vector for every token, which belongs to one grid, tokens know their row
    by sines and cosines; all Fourier modes are kept, as published.

    Args:
        config: embed (channels of a token), patch (cells along a token's side, 8 published),
            blocks, heads (groups of channels that mix among themselves, 8 published), mlp_ratio (4
            published), drop_path (of the last block, rising linearly from 0), shortcut and
            checkpoint (see `GridNetwork`).
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        mask: (ny, nx) bool, True at ocean.
        periodic: Whether longitude closes.

    Raises:
        UserError: If embed is odd or no multiple of heads, or drop_path is 1.

    Note:
        With the channels of the published State network at 0.5 degree (99 to 99), embed 640, patch
        4, blocks 12, heads 8, mlp_ratio 4: 43.9 million parameters.
        FourCastNet (embed 768, patch 8, blocks 12, heads 8, mlp_ratio 4; 20 channels to 20) has
        62.2 million; its learned vectors for 90 x 180 tokens were 12.4 million more.
    """

    def __init__(
        self,
        config: NetworkConfig,
        in_channels: int,
        out_channels: int,
        mask: np.ndarray,
        periodic: bool,
    ) -> None:
        embed, heads, patch = config.embed, config.heads, config.patch
        refuse(
            "afno",
            (embed % 2, f"embed = {embed} must be even (sine and cosine of the row)"),
            (embed % heads, f"embed = {embed} must be a multiple of heads = {heads}"),
            (config.drop_path == 1.0, "drop_path must be below 1, or no block is ever trained"),
        )
        readout = PatchReadout(embed, out_channels, patch, mask)
        super().__init__(config, mask)
        self.finish(readout, in_channels, out_channels, mask)
        self.embed = PatchEmbed(in_channels, embed, patch, mask.shape)
        hidden, tokens = round(config.mlp_ratio * embed), token_mask(mask, patch)
        self.blocks = nn.ModuleList(
            AFNOBlock(embed, heads, hidden, rate, tokens, periodic)
            for rate in np.linspace(0.0, config.drop_path, config.blocks).tolist()
        )

    def features(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        for block in self.blocks:
            x = self.run(block, x)
        return x
