"""ConvLSTM (Shi et al. 2015)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from hybridom.config import NetworkConfig
from hybridom.networks.base import GridNetwork, refuse
from hybridom.networks.blocks import ConvLayer, GridConv2d, OceanPointwise
from hybridom.networks.registry import register

STEPS = 3


class ConvLSTMCell(nn.Module):
    """One cell: input, hidden state and memory, (B, channels, h, w) each, to the latter two.

    The gates see the memory through peepholes, as published, with one weight a channel in place of
    one for every cell of the grid, so that the weights fit any grid. The hidden state is zero on
    land.
    """

    wet: Tensor

    def __init__(self, channels: int, wet: np.ndarray, periodic: bool) -> None:
        super().__init__()
        self.register_buffer("wet", torch.from_numpy(wet), persistent=False)
        self.gates = GridConv2d(2 * channels, 4 * channels, 3, periodic)
        self.peepholes = nn.Parameter(torch.zeros(3, channels, 1, 1))

    def forward(self, x: Tensor, hidden: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        admit, forget, release, new = self.gates(torch.cat([x, hidden], dim=1)).chunk(4, dim=1)
        admit = torch.sigmoid(admit + self.peepholes[0] * memory)
        forget = torch.sigmoid(forget + self.peepholes[1] * memory)
        memory = forget * memory + admit * torch.tanh(new)
        release = torch.sigmoid(release + self.peepholes[2] * memory)
        return release * torch.tanh(memory) * self.wet, memory


@register("convlstm", uses=("embed", "blocks", "shortcut", "checkpoint"), options=("steps",))
class ConvLSTM(GridNetwork):
    """Stacked ConvLSTM cells at full resolution.

    The published network reads a sequence of past fields and unrolls a second stack into the
    future. A day is taken from one state, which holds all of the ocean's memory: the cells start
    with an empty memory and iterate `steps` times on the same encoded input, each cell on what the
    one below it gives. As published, the prediction is a 1x1 convolution of the hidden states of
    all cells.

    Args:
        config: embed (channels of input, hidden state and memory), blocks (stacked cells),
            options.steps (iterations, 3 by default), shortcut and checkpoint (see `GridNetwork`).
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        mask: (ny, nx) bool, True at ocean.
        periodic: Whether longitude closes.

    Raises:
        UserError: If embed is odd, or options.steps is no whole number above 0.

    Note:
        With the channels of the published State network at 0.5 degree (99 to 99), embed 384, blocks
        4: 43.0 million parameters.
    """

    def __init__(
        self,
        config: NetworkConfig,
        in_channels: int,
        out_channels: int,
        mask: np.ndarray,
        periodic: bool,
    ) -> None:
        embed, steps = config.embed, config.options.get("steps", STEPS)
        whole = isinstance(steps, int) and not isinstance(steps, bool) and steps > 0
        refuse(
            "convlstm",
            (embed % 2, f"embed = {embed} must be even (GroupNorm(2))"),
            (not whole, f"options.steps = {steps!r} must be a whole number above 0"),
        )
        readout = OceanPointwise(config.blocks * embed, out_channels, mask)
        super().__init__(config, mask)
        self.finish(readout, in_channels, out_channels, mask)
        self.steps = int(steps)
        self.stem = ConvLayer(GridConv2d(in_channels, embed, 3, periodic), embed, mask)
        self.cells = nn.ModuleList(
            ConvLSTMCell(embed, mask, periodic) for _ in range(config.blocks)
        )

    def features(self, x: Tensor) -> Tensor:
        encoded = self.run(self.stem, x)
        empty = torch.zeros_like(encoded)
        states = [(empty, empty)] * len(self.cells)
        for _ in range(self.steps):
            x = encoded
            for i, cell in enumerate(self.cells):
                states[i] = self.run(cell, x, *states[i])
                x = states[i][0]
        return torch.cat([hidden for hidden, _ in states], dim=1)
