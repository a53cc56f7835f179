"""Dual-scale attention over ocean tokens.

Axis letters: B batch, h and w rows and columns of the latent grid, C channels, G groups of tokens
that attend to one another, N tokens in a group (`window` squared), H heads of one scale, d channels
of a head.

The latent grid is filled up to multiples of `window` with tokens that nobody attends to. A group is

- local: a window of `window` x `window` neighbours, or
- strided: `window` x `window` tokens spread evenly over the whole grid, every (h / window)-th row
  and (w / window)-th column (the grid attention of MaxViT, Tu et al. 2022).

Land tokens are keys to nobody either, and come out as zero.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridom.networks.blocks import DropPath, GridConv2d

LAYER_SCALE = 1e-6


def to_groups(x: Tensor, window: int, strided: bool) -> Tensor:
    """(B, h, w, C) to (B, G, N, C), h and w multiples of `window`."""
    b, h, w, c = x.shape
    if strided:
        tiles = x.reshape(b, window, h // window, window, w // window, c).permute(0, 2, 4, 1, 3, 5)
    else:
        tiles = x.reshape(b, h // window, window, w // window, window, c).permute(0, 1, 3, 2, 4, 5)
    return tiles.reshape(b, -1, window * window, c)


def from_groups(x: Tensor, size: tuple[int, int], window: int, strided: bool) -> Tensor:
    """(B, G, N, C) back to (B, h, w, C), with `size` = (h, w): the inverse of `to_groups`."""
    h, w = size
    tiles = x.reshape(x.shape[0], h // window, w // window, window, window, x.shape[-1])
    order = (0, 3, 1, 4, 2, 5) if strided else (0, 1, 3, 2, 4, 5)
    return tiles.permute(*order).reshape(x.shape[0], h, w, x.shape[-1])


class GroupAttention(nn.Module):
    """Multi-head attention within groups of one scale, (B, h, w, C) to (B, h, w, H d).

    `wet` is the latent mask, (h, w) bool. What comes out on land is finite and meaningless.
    """

    keys: Tensor

    def __init__(
        self, dim: int, heads: int, head_dim: int, window: int, strided: bool, wet: np.ndarray
    ) -> None:
        super().__init__()
        self.heads = heads
        self.head_dim = head_dim
        self.window = window
        self.strided = strided
        self.fill = (-wet.shape[0] % window, -wet.shape[1] % window)
        self.qkv = nn.Linear(dim, 3 * heads * head_dim)
        tokens = torch.from_numpy(np.pad(wet, [(0, n) for n in self.fill]))
        keys = to_groups(tokens[None, ..., None], window, strided)[0, :, :, 0]
        # A softmax over no key is NaN in some kernels, and so is its gradient: a group without
        # ocean attends to all of its tokens instead, which only land and padding will see.
        keys = keys | ~keys.any(dim=1, keepdim=True)
        self.register_buffer("keys", keys[:, None, None, :], persistent=False)
        # The fastest kernels take no mask.
        self.masked = any(self.fill) or not wet.all()

    def forward(self, x: Tensor) -> Tensor:
        b, h, w, _ = x.shape
        if any(self.fill):
            x = F.pad(x, (0, 0, 0, self.fill[1], 0, self.fill[0]))
        size = (x.shape[1], x.shape[2])
        groups = self.qkv(to_groups(x, self.window, self.strided))
        qkv = groups.reshape(-1, self.window**2, 3, self.heads, self.head_dim)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mask = self.keys.repeat(b, 1, 1, 1) if self.masked else None
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        mixed = mixed.transpose(1, 2).reshape(b, -1, self.window**2, self.heads * self.head_dim)
        return from_groups(mixed, size, self.window, self.strided)[:, :h, :w]


class DualScaleAttention(nn.Module):
    """Attention whose heads are shared out between scales, (B, h, w, C) to (B, h, w, C).

    `attention` is "dual" (half of the heads local, half strided), "local" or "global" (strided).
    `dim` is a multiple of `heads`, and `heads` is even for "dual".
    """

    def __init__(self, dim: int, heads: int, window: int, attention: str, wet: np.ndarray) -> None:
        super().__init__()
        strided = {"dual": (False, True), "local": (False,), "global": (True,)}[attention]
        share = heads // len(strided)
        self.scales = nn.ModuleList(
            GroupAttention(dim, share, dim // heads, window, scale, wet) for scale in strided
        )
        self.project = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(torch.cat([scale(x) for scale in self.scales], dim=-1))


class AttentionBlock(nn.Module):
    """Attention latent block, (B, dim, h, w) to the same shape, zero on land.

    A depth-wise 3x3 convolution gives the position, then two residual branches: LayerNorm and
    dual-scale attention, LayerNorm and an MLP of `hidden` channels with GELU. Each branch passes
    a LayerScale (Touvron et al. 2021) of initially 1e-6 and `DropPath`. Under autocast the sum of
    the branches is float32: to bfloat16 a branch of less than 0.002 x is nothing.
    """

    wet: Tensor

    def __init__(
        self,
        dim: int,
        hidden: int,
        heads: int,
        window: int,
        attention: str,
        drop_path: float,
        wet: np.ndarray,
        periodic: bool,
    ) -> None:
        super().__init__()
        self.register_buffer("wet", torch.from_numpy(wet), persistent=False)
        self.position = GridConv2d(dim, dim, 3, periodic, groups=dim)
        self.norm_attention = nn.LayerNorm(dim)
        self.attention = DualScaleAttention(dim, heads, window, attention, wet)
        self.scale_attention = nn.Parameter(torch.full((dim,), LAYER_SCALE))
        self.norm_mlp = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))
        self.scale_mlp = nn.Parameter(torch.full((dim,), LAYER_SCALE))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = (x + self.position(x)).permute(0, 2, 3, 1)
        x = x + self.drop_path(self.scale_attention * self.attention(self.norm_attention(x)))
        x = x + self.drop_path(self.scale_mlp * self.mlp(self.norm_mlp(x)))
        return x.permute(0, 3, 1, 2) * self.wet
