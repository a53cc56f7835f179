from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hybridom.networks.blocks import (
    ConvBlock,
    DropPath,
    GridConv2d,
    GridUpsample,
    LowPrecisionNorm,
    MaskedGroupNorm,
    coarsen,
)


def field(*shape: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def gather_conv(x: np.ndarray, weight: np.ndarray, stride: int, periodic: bool) -> np.ndarray:
    """Convolution as its sum, one output cell at a time: x (C, h, w), weight (O, C, k, k)."""
    _, h, w = x.shape
    half = weight.shape[-1] // 2
    out = np.zeros((weight.shape[0], -(-h // stride), -(-w // stride)))
    for row, column in np.ndindex(*out.shape[1:]):
        for a, b in itertools.product(range(-half, half + 1), repeat=2):
            j, i = row * stride + a, column * stride + b
            if periodic:
                i %= w
            if 0 <= j < h and 0 <= i < w:
                out[:, row, column] += weight[:, :, a + half, b + half] @ x[:, j, i]
    return out


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1)])
@pytest.mark.parametrize("size", [(6, 8), (5, 7)])
def test_the_convolution_is_its_sum_across_the_seam_and_zero_past_the_poles(
    periodic, kernel, stride, size
):
    conv = GridConv2d(2, 3, kernel, periodic, stride).double()
    torch.nn.init.zeros_(conv.bias)
    x = field(1, 2, *size)
    expected = gather_conv(x[0].numpy(), conv.weight.detach().numpy(), stride, periodic)
    np.testing.assert_allclose(conv(x)[0].detach().numpy(), expected, atol=1e-13)


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("size", [(6, 8), (5, 8), (6, 7), (5, 7)])
def test_the_transposed_convolution_scatters_to_twice_the_index(periodic, size):
    h, w = size
    up = GridUpsample(2, size, periodic).double()
    torch.nn.init.zeros_(up.conv.bias)
    weight = up.conv.weight.detach().numpy()
    x = field(1, 2, -(-h // 2), -(-w // 2))
    expected = np.zeros((2, h, w))
    for row, column in np.ndindex(*x.shape[2:]):
        for a, b in itertools.product((-1, 0, 1), repeat=2):
            j, i = 2 * row + a, 2 * column + b
            # West of the seam lies the last column, if the first coarse cell's western neighbour
            # is two columns away; in an odd row it is one away, and nothing lies between.
            if periodic and i == -1 and w % 2 == 0:
                i = w - 1
            if 0 <= j < h and 0 <= i < w:
                expected[:, j, i] += weight[:, :, a + 1, b + 1].T @ x[0, :, row, column].numpy()
    np.testing.assert_allclose(up(x)[0].detach().numpy(), expected, atol=1e-13)


def test_on_an_even_periodic_row_the_transposed_convolution_is_the_adjoint():
    down = GridConv2d(3, 3, 3, periodic=True, stride=2).double()
    up = GridUpsample(3, (6, 8), periodic=True).double()
    for bias in (down.bias, up.conv.bias):
        torch.nn.init.zeros_(bias)
    up.conv.weight = down.weight
    fine, coarse = field(1, 3, 6, 8), field(1, 3, 3, 4, seed=2)
    assert torch.allclose((down(fine) * coarse).sum(), (fine * up(coarse)).sum(), atol=1e-12)


def test_coarsening_keeps_every_ocean_cell(coast):
    wet = coast(7, 9)
    expected = np.zeros((4, 5), bool)
    for j, i in zip(*np.nonzero(wet), strict=True):
        expected[j // 2, i // 2] = True
    np.testing.assert_array_equal(coarsen(wet), expected)


@pytest.mark.parametrize("groups", [2, 8])
def test_group_statistics_are_those_of_the_wet_cells(coast, awaken, groups):
    wet = coast(9, 11)
    norm = awaken(MaskedGroupNorm(groups, 8, wet).double())
    x = 5.0 + field(3, 8, 9, 11)
    ocean = F.group_norm(x[..., torch.from_numpy(wet)], groups, norm.weight, norm.bias, norm.eps)
    y = norm(x)
    torch.testing.assert_close(y[..., norm.wet], ocean, rtol=0, atol=1e-12)
    assert not y[..., ~norm.wet].any()
    filled = torch.where(norm.wet, x, 1e6)
    assert torch.equal(norm(filled), y)


def test_normalisation_keeps_its_precision_far_from_zero(coast):
    wet = coast(9, 11)
    norm = MaskedGroupNorm(2, 8, wet)
    x = 1000.0 + field(3, 8, 9, 11)
    torch.testing.assert_close(norm(x.float()).double(), norm.double()(x), rtol=0, atol=2e-3)


@pytest.mark.parametrize("groups", [2, 8])
def test_the_norm_of_low_precision_is_the_same_norm(coast, awaken, groups):
    """In float64 its arithmetic is compared to round-off, and its gradient to differences."""
    wet = coast(5, 6)
    norm = awaken(MaskedGroupNorm(groups, 8, wet).double())

    def low(x, weight, bias):
        values = norm.group_values
        return LowPrecisionNorm.apply(
            x * norm.wet, weight, bias, norm.wet, groups, values, norm.eps
        )

    inputs = (3.0 + field(2, 8, 5, 6)).requires_grad_(), norm.weight, norm.bias
    torch.testing.assert_close(low(*inputs), norm(inputs[0]), rtol=0, atol=1e-13)
    assert torch.autograd.gradcheck(low, inputs)


@pytest.mark.parametrize("offset", [0.0, 10.0])
def test_bfloat16_is_normalised_in_single_precision(coast, awaken, offset):
    # 16 000 values a group: a sum in bfloat16 would stop growing at 512 times a value.
    wet = coast(64, 128)
    norm = awaken(MaskedGroupNorm(2, 8, wet)).float()
    x = (offset + field(2, 8, 64, 128)).bfloat16().requires_grad_()
    y = norm(x)
    assert y.dtype == torch.bfloat16
    y.square().sum().backward()
    exact = copy.deepcopy(norm).double()(x.detach().double())
    # The last rounding, half a unit of bfloat16; and in float32 a variance that is a difference of
    # squares, each up to 100 times as large.
    assert ((y.double() - exact).abs() <= 2**-8 * exact.abs() + 1e-5 * (1 + offset**2)).all()
    assert x.grad.dtype == torch.bfloat16 and not x.grad[..., ~norm.wet].any()
    assert norm.weight.grad.dtype == torch.float32


def test_bfloat16_keeps_its_memory_format_and_what_it_keeps_is_bfloat16(coast):
    norm = MaskedGroupNorm(2, 8, coast(16, 32))
    x = field(2, 8, 16, 32).bfloat16().contiguous(memory_format=torch.channels_last)
    kept = []
    low = torch.autocast("cpu", torch.bfloat16)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t), low:
        y = norm(x.requires_grad_())
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert sum(t.nbytes for t in kept if t.numel() >= x.numel()) == x.nbytes


def test_drop_path_keeps_the_mean_of_bfloat16():
    """1 / 0.99 is 0.25 % off in bfloat16, which would be so in every step."""
    drop = DropPath(0.01).train()
    torch.manual_seed(0)
    # 252.5 rounds to 252 or 253, and the rounded factor gives 251.95
    y = drop(torch.full((64, 1), 250.0, dtype=torch.bfloat16))
    kept = y[y != 0]
    assert y.dtype == torch.bfloat16 and torch.equal(kept, torch.full_like(kept, 250 / 0.99))


def test_the_convolutional_block_reads_no_land_and_leaves_none(coast, awaken):
    wet = coast(8, 10)
    block = awaken(ConvBlock(8, 16, 0.0, wet, periodic=True).double())
    x = field(2, 8, 8, 10) * torch.from_numpy(wet)
    y = block(x)
    assert not y[..., ~block.wet].any()
    assert torch.linalg.norm(y - x) > 0.1 * torch.linalg.norm(x)


def test_drop_path_is_off_in_evaluation_and_keeps_the_mean_in_training():
    drop = DropPath(0.3)
    x = torch.ones(40_000, 2, 1, 1, dtype=torch.float64)
    assert drop.eval()(x) is x
    torch.manual_seed(0)
    y = drop.train()(x)
    kept = y[:, 0, 0, 0]
    assert torch.equal(y[:, 0], y[:, 1])
    assert set(kept.unique().tolist()) == {0.0, 1.0 / 0.7}
    # Three standard deviations of the mean of 40 000 draws.
    assert abs(kept.mean().item() - 1.0) < 3 * (0.3 / 0.7 / 40_000) ** 0.5
