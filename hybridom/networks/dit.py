"""DiT, the diffusion transformer (Peebles and Xie 2023), as a deterministic step.

Axis letters as in `tokens`; besides N tokens with ocean, H heads, d channels of a head.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridom.config import NetworkConfig
from hybridom.networks.base import GridNetwork, refuse, zeroed
from hybridom.networks.registry import register
from hybridom.networks.tokens import PatchEmbed, PatchReadout, token_mask, token_mlp


def modulation(embed: int, parts: int) -> nn.Module:
    """From the condition (B, embed) to `parts` vectors (B, parts embed), zero at first."""
    return nn.Sequential(nn.SiLU(), zeroed(nn.Linear(embed, parts * embed)))


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Tokens (B, N, E), normalised, with the mean and the spread that the condition asks for."""
    return shift + (1 + scale) * F.layer_norm(x, x.shape[-1:], eps=1e-6)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the pairs of channels of (B, H, N, d) by angles of cosine and sine (N, d / 2)."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


class DiTBlock(nn.Module):
    """Attention and MLP under adaLN-zero, (B, N, embed) to the same shape.

    The condition (B, embed) sets shift and scale of what enters each branch, and the gate behind
    it, which is zero at first: a new block is the identity.
    """

    def __init__(self, embed: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.modulation = modulation(embed, 6)
        self.qkv = nn.Linear(embed, 3 * embed)
        self.project = nn.Linear(embed, embed)
        self.mlp = token_mlp(embed, hidden)

    def forward(self, x: Tensor, condition: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        parts = self.modulation(condition)[:, None].chunk(6, dim=-1)
        shift, scale, gate = parts[:3]
        x = x + gate * self.attend(modulate(x, shift, scale), cos, sin)
        shift, scale, gate = parts[3:]
        return x + gate * self.mlp(modulate(x, shift, scale))

    def attend(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Attention of all tokens to all, (B, N, E) to the same shape."""
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(
            rotate(query, cos, sin).to(value.dtype), rotate(key, cos, sin).to(value.dtype), value
        )
        return self.project(mixed.transpose(1, 2).flatten(2))


@register("dit", uses=("embed", "patch", "blocks", "heads", "mlp_ratio", "shortcut", "checkpoint"))
class DiT(GridNetwork):
    """Patches as tokens, transformer blocks with adaLN-zero, tokens back to patches.

    Nothing is diffused: in the place of noise level and class, the condition is an MLP of the mean
    of the ocean's tokens. Tokens without ocean take no part at all. A token's row is added to it as
    sines and cosines, as published; its column enters only as the distance between two tokens, by
    rotary embedding of queries and keys (Su et al. 2021) with whole harmonics of the circle of
    latitude, so that longitude has no seam. Of a grid that does not close, the circle is twice as
    long. Attention is over all tokens: its cost grows with the square of their number.

    Args:
        config: embed (channels of a token), patch (cells along a token's side; 2, 4 and 8
            published), blocks, heads, mlp_ratio (4 published), shortcut and checkpoint (see
            `GridNetwork`).
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        mask: (ny, nx) bool, True at ocean.
        periodic: Whether longitude closes.

    Raises:
        UserError: If embed is no multiple of 2 heads.

    Note:
        With the channels of the published State network at 0.5 degree (99 to 99), embed 512, patch
        4, blocks 9, heads 8, mlp_ratio 4: 45.2 million parameters.
        The published S, B, L and XL (12, 12, 24, 28 blocks of embed 384, 768, 1024, 1152; patch 2)
        have the published 33, 130, 458 and 675 million from 4 channels to 8.
    """

    ocean: Tensor
    turns: Tensor

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
            "dit",
            (
                embed % (2 * heads),
                f"embed = {embed} must be a multiple of twice the heads = {heads}",
            ),
        )
        readout = PatchReadout(embed, out_channels, patch, mask)
        super().__init__(config, mask)
        self.finish(readout, in_channels, out_channels, mask)
        tokens = token_mask(mask, patch)
        columns = tokens.shape[1]
        self.circle = columns if periodic else 2 * columns
        # Whole numbers, whose sines any precision can take: no column is then favoured.
        harmonics = np.geomspace(1, max(self.circle // 2, 1), embed // heads // 2).round()
        turns = np.nonzero(tokens)[1][:, None] * harmonics.astype(int) % self.circle
        self.register_buffer("turns", torch.from_numpy(turns), persistent=False)
        ocean = torch.from_numpy(np.flatnonzero(tokens))
        self.register_buffer("ocean", ocean, persistent=False)

        self.embed = PatchEmbed(in_channels, embed, patch, mask.shape)
        self.summary = nn.Sequential(nn.Linear(embed, embed), nn.SiLU(), nn.Linear(embed, embed))
        hidden = round(config.mlp_ratio * embed)
        self.blocks = nn.ModuleList(DiTBlock(embed, heads, hidden) for _ in range(config.blocks))
        self.last = modulation(embed, 2)

    def features(self, x: Tensor) -> Tensor:
        grid = self.embed(x)
        x = grid.flatten(1, 2)[:, self.ocean]
        condition = self.summary(x.mean(dim=1))
        angle = self.turns.to(grid.dtype) * (2 * math.pi / self.circle)
        cos, sin = angle.cos(), angle.sin()
        for block in self.blocks:
            x = self.run(block, x, condition, cos, sin)
        x = modulate(x, *self.last(condition)[:, None].chunk(2, dim=-1))
        empty = x.new_zeros(len(x), grid.shape[1] * grid.shape[2], x.shape[-1])
        return empty.index_copy(1, self.ocean, x).unflatten(1, grid.shape[1:3])
