from __future__ import annotations

import numpy as np
import pytest
import torch

from hybridom.networks.attention import (
    AttentionBlock,
    DualScaleAttention,
    from_groups,
    to_groups,
)

DIM, HEADS, WINDOW = 8, 4, 4


def tokens(h: int, w: int, batch: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn((batch, h, w, DIM), generator=generator, dtype=torch.float64)


def attend(x: np.ndarray, attention: DualScaleAttention, wet: np.ndarray) -> np.ndarray:
    """Dual attention of the formulation, one query at a time: x (h, w, C), land rows stay NaN."""
    out = np.full(x.shape, np.nan)
    h, w, _ = x.shape
    ocean = list(zip(*np.nonzero(wet), strict=True))
    stride = -(-h // WINDOW), -(-w // WINDOW)
    for row, column in ocean:
        heads = []
        for scale in attention.scales:
            if scale.strided:
                group = [
                    (j, i)
                    for j, i in ocean
                    if j % stride[0] == row % stride[0] and i % stride[1] == column % stride[1]
                ]
            else:
                group = [
                    (j, i)
                    for j, i in ocean
                    if j // WINDOW == row // WINDOW and i // WINDOW == column // WINDOW
                ]
            weight, bias = (p.detach().numpy() for p in scale.qkv.parameters())
            query, _, _ = np.split(weight @ x[row, column] + bias, 3)
            _, keys, values = np.split(
                np.stack([weight @ x[cell] + bias for cell in group]), 3, axis=1
            )
            d = scale.head_dim
            for head in range(scale.heads):
                part = slice(head * d, (head + 1) * d)
                score = np.exp(keys[:, part] @ query[part] / np.sqrt(d))
                heads.append(score / score.sum() @ values[:, part])
        weight, bias = (p.detach().numpy() for p in attention.project.parameters())
        out[row, column] = weight @ np.concatenate(heads) + bias
    return out


@pytest.mark.parametrize("kind", ["dual", "local", "global"])
@pytest.mark.parametrize("size", [(8, 12), (7, 11), (3, 5), (9, 4)])
def test_attention_is_the_sum_over_wet_tokens_of_the_group(coast, awaken, kind, size):
    wet = coast(*size)
    attention = awaken(DualScaleAttention(DIM, HEADS, WINDOW, kind, wet).double())
    x = tokens(*size)
    y = attention(x).detach().numpy()
    for sample in range(2):
        expected = attend(x[sample].numpy(), attention, wet)
        np.testing.assert_allclose(y[sample][wet], expected[wet], rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", ["dual", "local", "global"])
def test_what_land_tokens_hold_changes_no_bit_at_sea(coast, awaken, kind):
    wet = coast(7, 11)
    attention = awaken(DualScaleAttention(DIM, HEADS, WINDOW, kind, wet).double())
    x = tokens(7, 11)
    sea = torch.from_numpy(wet)
    filled = torch.where(sea[..., None], x, 1e6)
    assert torch.equal(attention(x)[:, sea], attention(filled)[:, sea])


@pytest.mark.parametrize("kind", ["dual", "local", "global"])
def test_an_ocean_without_land_or_padding_needs_no_mask(awaken, monkeypatch, kind):
    wet = np.ones((8, 12), bool)
    attention = awaken(DualScaleAttention(DIM, HEADS, WINDOW, kind, wet))
    masks = []
    library = torch.nn.functional.scaled_dot_product_attention

    def watched(*args, attn_mask=None):
        masks.append(attn_mask)
        return library(*args, attn_mask=attn_mask)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    x = tokens(8, 12).float()
    y = attention(x)
    assert masks == [None] * len(attention.scales)
    for scale in attention.scales:
        scale.masked = True
    assert torch.equal(attention(x), y) and masks[-1] is not None
    padded = DualScaleAttention(DIM, HEADS, WINDOW, kind, wet[:7])
    assert all(scale.masked for scale in padded.scales)


def test_bfloat16_keeps_small_branches_beside_a_large_sum(awaken):
    """LayerScale begins at 1e-6: to a sum in bfloat16 the branches would not be there."""
    wet = np.ones((8, 12), bool)
    torch.manual_seed(0)
    block = AttentionBlock(DIM, 16, HEADS, WINDOW, "dual", 0.0, wet, periodic=True)
    torch.nn.init.zeros_(block.position.weight)
    torch.nn.init.zeros_(block.position.bias)
    x = (1.0 + tokens(8, 12)).permute(0, 3, 1, 2).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        y = block(x)
    assert y.dtype == torch.float32
    change = (y - x).abs()
    assert 1e-8 < change.median() < 1e-5


def influence(kind: str, awaken) -> np.ndarray:
    """Where an 8 x 12 ocean feels a change of token (5, 6), as (8, 12) bool."""
    wet = np.ones((8, 12), bool)
    attention = awaken(DualScaleAttention(DIM, HEADS, WINDOW, kind, wet).double())
    x = tokens(8, 12, batch=1)
    changed = x.clone()
    changed[0, 5, 6] += 1.0
    return (attention(x) != attention(changed))[0].any(dim=-1).numpy()


def test_each_scale_reaches_its_own_group_and_dual_reaches_both(awaken):
    row, column = np.indices((8, 12))
    window = (row // WINDOW == 1) & (column // WINDOW == 1)
    grid = (row % 2 == 5 % 2) & (column % 3 == 6 % 3)
    np.testing.assert_array_equal(influence("local", awaken), window)
    np.testing.assert_array_equal(influence("global", awaken), grid)
    np.testing.assert_array_equal(influence("dual", awaken), window | grid)


def test_a_local_block_feels_a_change_in_its_window_only(awaken):
    wet = np.ones((8, 12), bool)
    block = AttentionBlock(DIM, 16, HEADS, WINDOW, "local", 0.0, wet, periodic=True)
    awaken(block.double())
    x = tokens(8, 12, batch=1).permute(0, 3, 1, 2)
    changed = x.clone()
    # Inside its window by one cell, so that the 3x3 position stays inside too.
    changed[0, :, 5, 6] += 1.0
    felt = (block(x) != block(changed))[0].any(dim=0).numpy()
    row, column = np.indices((8, 12))
    np.testing.assert_array_equal(felt, (row // WINDOW == 1) & (column // WINDOW == 1))


@pytest.mark.parametrize("kind", ["dual", "local", "global"])
def test_a_window_without_ocean_has_finite_gradients(awaken, kind):
    # Windows (0, 0) and, past the padding, (1, 2) hold no ocean; strided groups lose every second.
    wet = np.zeros((7, 9), bool)
    wet[4:, ::3] = True
    wet[0, 5] = True
    block = AttentionBlock(DIM, 16, HEADS, WINDOW, kind, 0.0, wet, periodic=True)
    awaken(block.double())
    assert any(not keys_of_ocean(scale, wet).any(dim=1).all() for scale in block.attention.scales)
    # Not every kernel of every version forgives a query without keys.
    assert all(scale.keys.any(dim=-1).all() for scale in block.attention.scales)
    x = tokens(7, 9).permute(0, 3, 1, 2).requires_grad_()
    y = block(x)
    y.square().sum().backward()
    assert y.isfinite().all() and not y[..., ~torch.from_numpy(wet)].any()
    for gradient in (x.grad, *(p.grad for p in block.parameters())):
        assert gradient.isfinite().all()


def keys_of_ocean(scale, wet: np.ndarray) -> torch.Tensor:
    padded = torch.from_numpy(np.pad(wet, [(0, n) for n in scale.fill]))
    return to_groups(padded[None, ..., None], WINDOW, scale.strided)[0, ..., 0]


@pytest.mark.parametrize("strided", [False, True])
def test_grouping_is_undone_by_its_inverse(strided):
    x = tokens(8, 12)
    groups = to_groups(x, WINDOW, strided)
    assert groups.shape == (2, 6, WINDOW**2, DIM)
    assert torch.equal(from_groups(groups, (8, 12), WINDOW, strided), x)


def test_a_fresh_block_is_its_position_alone_up_to_layer_scale():
    torch.manual_seed(0)
    wet = np.ones((8, 12), bool)
    block = AttentionBlock(DIM, 16, HEADS, WINDOW, "dual", 0.0, wet, periodic=True).double()
    x = tokens(8, 12).permute(0, 3, 1, 2)
    gap = block(x) - (x + block.position(x))
    assert 0.0 < gap.abs().max() < 1e-5
