"""Patches of cells as tokens, and back.

Axis letters: B batch, C channels, E channels of a token, ny and nx rows and columns of the grid,
h = ceil(ny / patch) and w = ceil(nx / patch) those of the tokens. Patches start at the first row
and column; the last ones are filled up with zeros, which is what land holds, so that the last
column of tokens is the neighbour of the first on any periodic grid.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


def token_mask(wet: np.ndarray, patch: int) -> np.ndarray:
    """Tokens (h, w) with any ocean, from the cells (ny, nx), both bool."""
    ny, nx = wet.shape
    padded = np.pad(wet, [(0, -ny % patch), (0, -nx % patch)])
    tiles = padded.reshape(-(-ny // patch), patch, -(-nx // patch), patch)
    return np.asarray(tiles.any(axis=(1, 3)))


def row_code(rows: int, channels: int) -> Tensor:
    """Position in latitude (rows, channels): sine and cosine of waves between the grid's edges.

    Wavelengths run from twice the height of the grid to two rows; `channels` is even.
    """
    position = (np.arange(rows) + 0.5) / rows
    angle = np.pi * np.outer(position, np.geomspace(1.0, max(rows, 2), channels // 2))
    code = np.concatenate([np.sin(angle), np.cos(angle)], axis=1)
    return torch.from_numpy(code.astype(np.float32))


class PatchEmbed(nn.Module):
    """(B, in_channels, ny, nx) to tokens (B, h, w, embed) that know their row."""

    code: Tensor

    def __init__(self, in_channels: int, embed: int, patch: int, size: tuple[int, ...]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, embed, patch, stride=patch)
        self.fill = (-size[0] % patch, -size[1] % patch)
        code = row_code(-(-size[0] // patch), embed)[:, None]
        self.register_buffer("code", code, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(F.pad(x, (0, self.fill[1], 0, self.fill[0])))
        return x.permute(0, 2, 3, 1) + self.code


class PatchReadout(nn.Module):
    """Tokens (B, h, w, embed) to (B, out_channels, ny, nx), zero on land.

    `wet` is the mask of the cells, (ny, nx) bool.
    """

    wet: Tensor

    def __init__(self, embed: int, out_channels: int, patch: int, wet: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("wet", torch.from_numpy(wet), persistent=False)
        self.linear = nn.Linear(embed, out_channels * patch**2)
        self.patch = patch

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = self.wet.shape
        cells = F.pixel_shuffle(self.linear(x).permute(0, 3, 1, 2), self.patch)
        return cells[..., :rows, :columns] * self.wet


def token_mlp(embed: int, hidden: int) -> nn.Sequential:
    """Two linear layers with GELU in between, (..., embed) to the same shape."""
    return nn.Sequential(nn.Linear(embed, hidden), nn.GELU(), nn.Linear(hidden, embed))
