from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from hybridom.config import NetworkConfig
from hybridom.errors import UserError
from hybridom.networks import build
from hybridom.networks.base import SHORTCUT_GAIN
from hybridom.networks.blocks import DropPath
from hybridom.networks.coder import Merge

SIZES = [(45, 90), (36, 90), (30, 60), (18, 37), (13, 16), (7, 5), (3, 3)]

# Channels, (embed, latent, spatial_layers, blocks), MLP ratio and published millions.
PUBLISHED = {
    "ILAP 0.5": (75, (256, 512, 6, 4), 8, 24.0),
    "State 0.5": (99, (256, 512, 4, 8), 8, 42.7),
    "ILAP 0.25": (42, (128, 256, 6, 2), 8, 3.4),
    "State 0.25": (55, (256, 512, 6, 6), 8, 34.5),
    "ILAP regional": (42, (256, 512, 4, 3), 8, 16.3),
    "State regional": (104, (256, 512, 4, 8), 8, 42.7),
    "gate regional": (24, (128, 256, 4, 4), 4, 3.9),
}


def field(*shape: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_any_grid_gives_its_own_shape_zero_on_land_and_something_at_sea(
    alive, coast, size, periodic
):
    wet = coast(*size)
    network = alive(wet, periodic)
    y = network(field(2, 3, *size))
    assert y.shape == (2, 2, *size)
    assert not y[..., ~network.wet].any()
    assert y.isfinite().all() and (y[..., network.wet] != 0).all()


@pytest.mark.parametrize("layers", [1, 2, 3, 4, 6])
def test_any_number_of_layers_and_a_single_block_run(alive, coast, layers):
    wet = coast(17, 22)
    for blocks in (1, 2):
        y = alive(wet, spatial_layers=layers, blocks=blocks)(field(1, 3, 17, 22))
        assert y.shape == (1, 2, 17, 22) and y.abs().max() > 0


@pytest.mark.parametrize("training", [True, False])
def test_a_new_network_returns_exactly_zero(small_config, coast, training):
    network = build(small_config(drop_path=0.2), 3, 2, coast(9, 14), True).train(training)
    y = network(field(2, 3, 9, 14).float())
    assert torch.equal(y, torch.zeros(2, 2, 9, 14))


def test_a_new_network_can_learn(small_config, coast):
    network = build(small_config(), 3, 2, coast(9, 14), True)
    network(field(2, 3, 9, 14).float()).sum().backward()
    assert network.readout.weight.grad.abs().min() > 0


@pytest.mark.parametrize(("layers", "window", "step"), [(2, 4, 8), (4, 4, 16), (4, 2, 8)])
def test_rolling_longitude_rolls_the_output(alive, coast, layers, window, step):
    wet = coast(13, 32)
    options = {"spatial_layers": layers, "window": window}
    x = field(2, 3, 13, 32)
    here = alive(wet, **options)(x)
    there = alive(np.roll(wet, step, axis=1), **options)(x.roll(step, dims=-1))
    torch.testing.assert_close(there, here.roll(step, dims=-1), rtol=0, atol=1e-11)


def test_without_local_windows_a_roll_by_the_total_stride_is_enough(alive, coast):
    wet = coast(13, 32)
    x = field(2, 3, 13, 32)
    here = alive(wet, attention="global")(x)
    there = alive(np.roll(wet, 2, axis=1), attention="global")(x.roll(2, dims=-1))
    torch.testing.assert_close(there, here.roll(2, dims=-1), rtol=0, atol=1e-11)


def test_an_open_grid_has_edges(alive, coast):
    wet = coast(13, 32)
    x = field(2, 3, 13, 32)
    here = alive(wet, periodic=False)(x)
    there = alive(np.roll(wet, 8, axis=1), periodic=False)(x.roll(8, dims=-1))
    assert (there - here.roll(8, dims=-1)).abs().max() > 1e-3


def test_the_skip_carries_the_first_feature_past_the_core(alive, awaken, coast):
    network = alive(coast(11, 14))
    embed = network.readout.in_channels
    with torch.no_grad():
        network.merge.conv.weight[:, :embed] = 0.0
    x = field(1, 3, 11, 14)
    before = network(x)
    awaken(network.core, seed=9)
    assert torch.equal(network(x), before)
    awaken(network.stem, seed=9)
    assert not torch.equal(network(x), before)


def merged(network, x, skip):
    """The full-resolution layer as its sum over cells and channels, for each kind of skip."""
    merge, wet = network.merge, network.wet
    given = x + skip if merge.add else torch.cat([x, skip], dim=1)
    if merge.reduce is not None:
        weight = merge.reduce.weight[:, :, 0, 0]
        given = torch.einsum("oi,bihw->bohw", weight, given) + merge.reduce.bias[:, None, None]
        given = torch.where(wet, given, 0.0)
    padded = torch.cat([given[..., -1:], given, given[..., :1]], dim=-1)
    padded = torch.nn.functional.pad(padded, (0, 0, 1, 1))
    ny, nx = wet.shape
    y = merge.conv.bias[:, None, None]
    for j, i in np.ndindex(3, 3):
        window = padded[..., j : j + ny, i : i + nx]
        y = y + torch.einsum("oi,bihw->bohw", merge.conv.weight[:, :, j, i], window)
    return torch.nn.functional.leaky_relu(merge.norm(y), 0.2)


@pytest.mark.parametrize("kind", ["concat", "reduce", "add"])
def test_the_skip_is_taken_in_by_each_kind(alive, coast, kind):
    network = alive(coast(11, 14), skip=kind)
    x, skip = (field(2, 8, 11, 14, seed=n) * network.wet for n in (1, 2))
    torch.testing.assert_close(network.merge(x, skip), merged(network, x, skip))
    y = network(field(2, 3, 11, 14))
    y.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.abs().max() > 0, name


def test_the_kinds_of_skip_have_the_parameters_and_operations_that_are_told():
    """Of the whole network a grid cell, State at 0.5 degree: the table in `Merge`."""
    found = {}
    wet = np.ones((128, 128), bool)
    wet[:8, :8] = False
    for kind in ("concat", "reduce", "add"):
        with torch.device("meta"):
            network = build(NetworkConfig(skip=kind), 99, 99, wet, True)
            x = torch.empty(1, 99, 128, 128)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network.to("meta")(x)
        count = sum(p.numel() for p in network.parameters())
        found[kind] = [round(count / 1e6, 2), round(counter.get_total_flops() / wet.size / 1e6, 2)]
        row = next(line for line in Merge.__doc__.splitlines() if "State, 0.5 " in line)
        column = list(found).index(kind)
        told = [float(n) for n in row.split()[2:]]
        assert found[kind] == [told[column], told[3 + column]]


def test_the_published_skip_is_the_default_and_keeps_its_names(small_config, coast):
    network = build(small_config(), 3, 2, coast(9, 14), True)
    names = [name for name in network.state_dict() if name.startswith("merge")]
    layer = ("conv.weight", "conv.bias", "norm.weight", "norm.bias")
    assert names == [f"merge.{name}" for name in layer]
    assert network.merge.conv.weight.shape == (8, 16, 3, 3)


@pytest.mark.parametrize("layers", [2, 4])
def test_a_basin_within_land_is_the_basin_alone(alive, coast, layers):
    # Land, a wall, and the end of the grid are one and the same: neither the convolutions nor
    # the statistics know how much of it there is. Strided attention does, by its stride.
    options = {"attention": "local", "spatial_layers": layers, "blocks": 3}
    basin = coast(16, 32)
    world = np.zeros((48, 64), bool)
    world[16:32, 16:48] = basin
    x = field(2, 3, 48, 64)
    inside = alive(world, periodic=True, **options)(x)[..., 16:32, 16:48]
    alone = alive(basin, periodic=False, **options)(x[..., 16:32, 16:48])
    torch.testing.assert_close(inside, alone, rtol=0, atol=1e-11)


@pytest.mark.parametrize("fill", [1e6, float("nan"), float("inf")])
def test_what_land_holds_changes_no_bit(alive, coast, fill):
    wet = coast(11, 14)
    network = alive(wet)
    x = field(2, 3, 11, 14)
    filled = torch.where(network.wet, x, fill).requires_grad_()
    y = network(filled)
    assert torch.equal(y, network(x))
    y.square().sum().backward()
    assert filled.grad.isfinite().all() and not filled.grad[..., ~network.wet].any()


def test_samples_of_a_batch_do_not_mix(alive, coast):
    network = alive(coast(11, 14))
    x = field(3, 3, 11, 14)
    torch.testing.assert_close(network(x)[1:2], network(x[1:2]), rtol=0, atol=1e-12)


def test_gradients_are_finite_and_reach_every_parameter(alive, coast):
    wet = coast(17, 34)
    network = alive(wet, blocks=4)
    network(field(2, 3, 17, 34)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_gradients_equal_finite_differences(alive, coast):
    wet = coast(5, 6)
    network = alive(wet, blocks=2, window=2)
    parameters = dict(network.named_parameters())

    def evaluate(x, *values):
        return functional_call(network, dict(zip(parameters, values, strict=True)), (x,))

    inputs = (field(2, 3, 5, 6).requires_grad_(), *parameters.values())
    assert torch.autograd.gradcheck(evaluate, inputs, fast_mode=True)
    assert torch.autograd.gradcheck(network, inputs[:1])


def test_checkpointing_changes_neither_output_nor_gradients(alive, coast):
    wet = coast(9, 14)
    results = []
    for flag in (False, True):
        network = alive(wet, checkpoint=flag, drop_path=0.5, blocks=5).train()
        x = field(4, 3, 9, 14).requires_grad_()
        torch.manual_seed(3)
        y = network(x)
        y.square().sum().backward()
        results.append([y, x.grad, *(p.grad for p in network.parameters())])
    for plain, recomputed in zip(*results, strict=True):
        assert torch.equal(plain, recomputed)


def test_checkpointing_keeps_fewer_tensors(alive, coast):
    saved = {}
    for flag in (False, True):
        sizes = []
        network = alive(coast(9, 14), checkpoint=flag)
        hooks = torch.autograd.graph.saved_tensors_hooks
        with hooks(lambda t, sizes=sizes: sizes.append(t.numel()) or t, lambda t: t):
            network(field(4, 3, 9, 14).requires_grad_())
        saved[flag] = sum(sizes)
    assert saved[True] < 0.5 * saved[False]


def test_drop_path_rises_linearly_from_one_percent_and_zero_is_off(alive, coast):
    def rates(**changes):
        network = alive(coast(9, 14), blocks=4, **changes)
        return [m.rate for m in network.modules() if isinstance(m, DropPath)]

    np.testing.assert_allclose(rates(drop_path=0.1), [0.01, 0.04, 0.07, 0.1])
    assert rates(drop_path=0.0) == [0.0] * 4


def test_drop_path_acts_in_training_and_not_in_evaluation(alive, coast):
    wet = coast(9, 14)
    x = field(8, 3, 9, 14)
    dropping, plain = alive(wet, drop_path=0.5), alive(wet)
    torch.manual_seed(0)
    assert not torch.equal(dropping.train()(x), plain(x))
    assert torch.equal(dropping.eval()(x), plain(x))


def test_a_seed_fixes_weights_and_training_output(small_config, coast):
    def run(seed):
        torch.manual_seed(seed)
        network = build(small_config(drop_path=0.5), 3, 2, coast(9, 14), True).train()
        torch.nn.init.normal_(network.readout.weight)
        return network(field(8, 3, 9, 14).float())

    assert torch.equal(run(5), run(5))
    assert not torch.equal(run(5), run(6))


def test_the_three_kinds_of_attention_are_three_networks(alive, coast):
    wet = coast(18, 36)
    x = field(1, 3, 18, 36)
    local, grid, dual = (alive(wet, attention=kind)(x) for kind in ("local", "global", "dual"))
    for one, other in ((local, grid), (local, dual), (grid, dual)):
        assert (one - other).abs().max() > 1e-3


def test_weights_hold_no_grid_and_load_into_another(alive, coast):
    network = alive(coast(9, 14))
    other = alive(coast(18, 28))
    other.load_state_dict(network.state_dict())
    assert not any("wet" in key or "keys" in key for key in network.state_dict())
    assert other(field(1, 3, 18, 28)).isfinite().all()


def test_bfloat16_autocast_stays_near_single_precision(alive, coast):
    network = alive(coast(18, 36)).float()
    x = field(2, 3, 18, 36).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = network(x)
    assert low.dtype == torch.bfloat16
    full = network(x)
    assert (low.float() - full).norm() < 0.05 * full.norm()


@pytest.mark.parametrize("skip", ["concat", "reduce", "add"])
def test_in_bfloat16_activations_stay_in_their_type_and_format(alive, coast, skip):
    """But for the sums of the attention blocks, which are float32 on purpose."""
    network = alive(coast(16, 32), skip=skip, blocks=3).float()
    wrong = []

    def check(name, x, y):
        # the first block's sum begins in bfloat16; the second, and what leaves it, is float32
        in_sums = name in ("core.3.position", "core.4")
        if y.dtype != torch.bfloat16 or x.dtype != (torch.float32 if in_sums else torch.bfloat16):
            wrong.append((name, x.dtype, y.dtype))
        if x.stride(1) != 1 or y.stride(1) != 1:
            wrong.append((name, x.stride(), y.stride()))

    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d | torch.nn.GroupNorm):
            module.register_forward_hook(lambda module, x, y, name=name: check(name, x[0], y))
    x = field(2, 3, 16, 32).bfloat16().contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        network(x)
    assert not wrong


@pytest.mark.parametrize("memory", [False, True])
def test_bfloat16_halves_what_is_kept_for_the_backward_pass(alive, coast, memory):
    kept = {}
    for precision in (torch.float32, torch.bfloat16):
        network = alive(coast(64, 128), checkpoint=memory, embed=8, spatial_layers=4).float()
        weights = {p.shape for p in network.parameters()}
        storages = {}

        def keep(t, storages=storages, weights=weights):
            if t.shape not in weights:
                storages[t.untyped_storage().data_ptr()] = t
            return t

        x = field(1, 3, 64, 128).to(precision)
        low = torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t), low:
            network(x)
        kept[precision] = sum(t.untyped_storage().nbytes() for t in storages.values())
    assert kept[torch.bfloat16] < 0.55 * kept[torch.float32]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes_have_the_published_number_of_parameters(name):
    channels, (embed, latent, layers, blocks), ratio, millions = PUBLISHED[name]
    config = NetworkConfig(
        embed=embed, latent=latent, spatial_layers=layers, blocks=blocks, mlp_ratio=ratio
    )
    with torch.device("meta"):
        network = build(config, channels, channels, np.ones((64, 64), bool), True)
    count = sum(p.numel() for p in network.parameters()) / 1e6
    # The published figures are rounded to 0.1 M, and one convolutional MLP is in doubt.
    assert count == pytest.approx(millions, rel=0.035)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embed": 12}, "embed = 12 must be a multiple of 8"),
        ({"latent": 10, "heads": 4}, "latent = 10 must be a multiple of heads = 4"),
        ({"latent": 9, "heads": 3}, "heads = 3 must be even for attention = dual"),
        ({"drop_path": 1.0}, "drop_path must be below 1"),
        ({"spatial_layers": 8}, r"leaves \(1, 1\) latent cells"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_in_one_line(small_config, changes, message):
    with pytest.raises(UserError, match=message) as failure:
        build(small_config(**changes), 3, 2, np.ones((9, 14), bool), True)
    assert "\n" not in str(failure.value)


def test_odd_heads_serve_a_single_scale(alive, coast):
    y = alive(coast(9, 14), latent=9, heads=3, attention="local")(field(1, 3, 9, 14))
    assert y.isfinite().all()


def test_a_shortcut_adds_a_pointwise_linear_map_that_is_zero_at_first(small_config, coast):
    wet = coast(9, 14)
    network = build(small_config(shortcut=True), 3, 2, wet, True).double()
    x = field(1, 3, 9, 14)
    assert torch.equal(network(x), torch.zeros(1, 2, 9, 14, dtype=torch.float64))

    weight = field(2, 3, seed=2)
    with torch.no_grad():
        network.shortcut.weight.copy_(weight.reshape(network.shortcut.weight.shape))
    expected = SHORTCUT_GAIN * torch.einsum("oi,bihw->bohw", weight, x) * torch.from_numpy(wet)
    torch.testing.assert_close(network(x), expected)
