"""Convolutions, normalisation and the convolutional block that know of land and of the seam.

Axis letters: B batch, C channels, h and w rows and columns of the level at hand (the full grid, or
the grid coarsened by the strides above). Every module is made for one level and holds its wet
mask, (h, w) bool. Features are zero on land between modules, so that beyond a coast, a pole or an
open boundary every convolution reads the same zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def coarsen(wet: np.ndarray) -> np.ndarray:
    """Mask after a convolution of stride 2: (h, w) to (ceil(h/2), ceil(w/2)), bool.

    A coarse cell is wet where any of its up to four cells is: no strait or island sea is lost.
    """
    padded = np.pad(wet, [(0, n % 2) for n in wet.shape])
    rows = padded[0::2] | padded[1::2]
    return rows[:, 0::2] | rows[:, 1::2]


def wrap_longitude(x: Tensor, width: int) -> Tensor:
    """Extend (..., w) to (..., w + 2 width) by the columns on the other side of the seam."""
    return torch.cat([x[..., -width:], x, x[..., :width]], dim=-1)


class GridConv2d(nn.Conv2d):
    """Convolution of odd `kernel`, circular in longitude on a periodic grid, zeros elsewhere.

    (B, in_channels, h, w) to (B, out_channels, ceil(h / stride), ceil(w / stride)). Coarse cell i
    is centred on fine cell i * stride, and an odd periodic row needs no padding: its last coarse
    cell covers one column and is still the neighbour of the first.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        periodic: bool,
        stride: int = 1,
        groups: int = 1,
    ) -> None:
        half = kernel // 2
        self.wrap = half if periodic else 0
        super().__init__(
            in_channels,
            out_channels,
            kernel,
            stride=stride,
            padding=(half, half - self.wrap),
            groups=groups,
        )

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(wrap_longitude(x, self.wrap) if self.wrap else x)


class GridUpsample(nn.Module):
    """Transposed 3x3 convolution of stride 2 onto a level of given size.

    (B, channels, ceil(h/2), ceil(w/2)) to (B, channels, h, w), with `size` = (h, w). Coarse cell i
    lands on fine cell 2 i, as in `GridConv2d`.
    """

    def __init__(self, channels: int, size: tuple[int, ...], periodic: bool) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(channels, channels, 3, stride=2, padding=1)
        self.size = size
        self.periodic = periodic

    def forward(self, x: Tensor) -> Tensor:
        # The last fine column lies between the last coarse column and the first one: one more
        # coarse column gives it both neighbours. The added row stands for the zeros past the pole.
        east = x[..., :1] if self.periodic else torch.zeros_like(x[..., :1])
        x = F.pad(torch.cat([x, east], dim=-1), (0, 0, 0, 1))
        return self.conv(x)[..., : self.size[0], : self.size[1]]


class LowPrecisionNorm(torch.autograd.Function):
    """The masked norm of an input (B, C, h, w) of low precision that is zero on land.

    Sums and arithmetic are float32; what comes in, goes out, and is kept for backward has the type
    and the memory format of the input. Under autocast the library's norm instead makes and keeps
    a float32 copy of its input, and on a GPU its bfloat16 form rounds mean and deviation, and
    undoes channels_last.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        wet: Tensor,
        groups: int,
        values: int,
        eps: float,
    ) -> Tensor:
        exact = torch.promote_types(x.dtype, torch.float32)
        size = weight.numel() // groups
        tiles = x.unflatten(1, (groups, -1))
        mean = tiles.sum((2, 3, 4), dtype=exact) / values
        with torch.autocast(x.device.type, enabled=False):  # which would make a float32 copy
            norm = torch.linalg.vector_norm(tiles, dim=(2, 3, 4), dtype=exact)
        # The difference of squares loses less than the rounding of x has lost already.
        squares = norm.square() / values
        inverse = ((squares - mean.square()).clamp(min=0.0) + eps).rsqrt()
        mean, inverse = (a.repeat_interleave(size, dim=1) for a in (mean, inverse))
        ctx.save_for_backward(x, weight, wet, mean, inverse)
        ctx.groups, ctx.values = groups, values
        scale = weight * inverse
        shift = bias - scale * mean
        return torch.addcmul(_cells(shift), x, _cells(scale)).to(x.dtype) * wet

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, wet, mean, inverse = ctx.saved_tensors
        gradient = gradient * wet
        total = gradient.sum((2, 3), dtype=mean.dtype)
        # of the gradient times the normalised input
        product = ((gradient.to(mean.dtype) * x).sum((2, 3)) - mean * total) * inverse
        of_mean, of_deviation = (
            (weight * a).unflatten(1, (ctx.groups, -1)).sum(2) / ctx.values
            for a in (total, product)
        )
        size = weight.numel() // ctx.groups
        of_mean, of_deviation = (a.repeat_interleave(size, dim=1) for a in (of_mean, of_deviation))
        slope = -inverse.square() * of_deviation
        shift = -inverse * of_mean - slope * mean
        back = torch.addcmul(_cells(shift), x, _cells(slope))
        back = torch.addcmul(back, gradient, _cells(weight * inverse)).to(x.dtype) * wet
        return back, product.sum(0), total.sum(0), None, None, None, None


def _cells(a: Tensor) -> Tensor:
    """(B, C) to (B, C, 1, 1)."""
    return a[..., None, None]


class MaskedGroupNorm(nn.GroupNorm):
    """Group normalisation (Wu and He 2018) whose statistics are those of the wet cells alone.

    (B, channels, h, w) to the same shape, zero on land, whatever the input holds there (if it is
    finite): the fraction of land does not enter. Statistics are float32 at least, also of an input
    of lower precision, which stays in its type and memory format.
    """

    wet: Tensor

    def __init__(self, groups: int, channels: int, wet: np.ndarray) -> None:
        super().__init__(groups, channels)
        self.register_buffer("wet", torch.from_numpy(wet), persistent=False)
        self.ocean_share = float(wet.mean())
        self.group_size = channels // groups
        self.group_values = int(wet.sum()) * self.group_size

    def forward(self, x: Tensor) -> Tensor:
        # With land set to the wet mean, the statistics over all cells are the wet ones but for
        # a variance that is too small by the share of ocean: scaling eps and the weight undoes
        # that, and the library's fused kernel does the rest.
        x = x * self.wet
        if x.dtype.itemsize < 4:
            return LowPrecisionNorm.apply(
                x, self.weight, self.bias, self.wet, self.num_groups, self.group_values, self.eps
            )
        sums = x.unflatten(1, (self.num_groups, -1)).sum((2, 3, 4))
        mean = (sums / self.group_values).repeat_interleave(self.group_size, dim=1)
        filled = torch.addcmul(x, mean[..., None, None], (~self.wet).to(x.dtype))
        weight = self.weight * self.ocean_share**0.5
        normal = F.group_norm(
            filled, self.num_groups, weight, self.bias, self.eps * self.ocean_share
        )
        return normal * self.wet


class DropPath(nn.Module):
    """Stochastic depth (Huang et al. 2016) of a residual branch, (B, ...) to the same shape.

    In training each sample's branch is zero with probability `rate` and scaled by 1 / (1 - rate)
    otherwise, which keeps its expectation; in evaluation it passes unchanged.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        # bfloat16 would round the factor, and with it the expectation.
        exact = torch.promote_types(x.dtype, torch.float32)
        keep = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1), dtype=exact)
        return (x * (keep.bernoulli_(1.0 - self.rate) / (1.0 - self.rate))).to(x.dtype)


class OceanPointwise(nn.Conv2d):
    """1x1 convolution that leaves land at zero, (B, in_channels, h, w) to (B, out_channels, h, w).

    Without the mask its bias would reach the sea with the next convolution.
    """

    wet: Tensor

    def __init__(self, in_channels: int, out_channels: int, wet: np.ndarray) -> None:
        super().__init__(in_channels, out_channels, 1)
        self.register_buffer("wet", torch.from_numpy(wet), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.wet


class ConvLayer(nn.Module):
    """A convolution, masked GroupNorm(2) and LeakyReLU(0.2).

    `conv` makes (B, `channels`, h, w), the level of `wet` (h, w); the result is zero on land.
    """

    def __init__(self, conv: GridConv2d | GridUpsample, channels: int, wet: np.ndarray) -> None:
        super().__init__()
        self.conv = conv
        self.norm = MaskedGroupNorm(2, channels, wet)

    def forward(self, x: Tensor) -> Tensor:
        # In place, so that backward keeps one tensor for it and for the convolution that follows.
        return F.leaky_relu(self.norm(self.conv(x)), 0.2, inplace=True)


class ConvBlock(nn.Module):
    """Convolutional latent block (after the local block of UniFormer, Li et al. 2022).

    (B, channels, h, w) to the same shape, zero on land: a depth-wise 3x3 convolution gives the
    position, then two residual branches, masked GroupNorm(8), 1x1, depth-wise 5x5, 1x1 and
    masked GroupNorm(8), 1x1 MLP of `hidden` channels with GELU.
    """

    wet: Tensor

    def __init__(
        self, channels: int, hidden: int, drop_path: float, wet: np.ndarray, periodic: bool
    ) -> None:
        super().__init__()
        self.register_buffer("wet", torch.from_numpy(wet), persistent=False)
        self.position = GridConv2d(channels, channels, 3, periodic, groups=channels)
        self.norm_mix = MaskedGroupNorm(8, channels, wet)
        self.mix_in = OceanPointwise(channels, channels, wet)
        self.mix_space = GridConv2d(channels, channels, 5, periodic, groups=channels)
        self.mix_out = nn.Conv2d(channels, channels, 1)
        self.norm_mlp = MaskedGroupNorm(8, channels, wet)
        self.mlp = nn.Sequential(
            nn.Conv2d(channels, hidden, 1), nn.GELU(), nn.Conv2d(hidden, channels, 1)
        )
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.position(x)
        mixed = self.mix_out(self.mix_space(self.mix_in(self.norm_mix(x))))
        x = x + self.drop_path(mixed)
        x = x + self.drop_path(self.mlp(self.norm_mlp(x)))
        return x * self.wet
