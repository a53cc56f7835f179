"""What every registered network must keep; a new one is asked too, without a line here."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

from hybridom.config import NetworkConfig
from hybridom.networks import build, names
from hybridom.networks.registry import keys

# One small value for each key; a network is given those that it takes.
SIZES = {
    "embed": 16,
    "latent": 16,
    "spatial_layers": 2,
    "blocks": 2,
    "heads": 2,
    "window": 4,
    "patch": 2,
    "mlp_ratio": 2,
    "drop_path": 0.0,
}
# Columns by which a roll of the input rolls the output, at these sizes: stride x patch x window.
STRIDES = {"resnet": 1, "convlstm": 1, "simvp": 2, "dit": 2, "afno": 2, "unet": 4}
WIDEST = 8
GRIDS = [(18, 32), (13, 27), (7, 5), (6, 6)]

pytestmark = pytest.mark.parametrize("name", names())
Make = Callable[..., nn.Module]


def config(name: str, **changes) -> NetworkConfig:
    size = {key: value for key, value in (SIZES | changes).items() if key in keys(name)}
    return NetworkConfig(name=name, **size)


def field(*shape: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.fixture
def make(coast) -> Make:
    """`make(name, mask, periodic, **changes)`: float64, 3 to 2 channels, away from zero."""

    def trained(name: str, wet: np.ndarray, periodic: bool = True, **changes) -> nn.Module:
        torch.manual_seed(0)
        network = build(config(name, **changes), 3, 2, wet, periodic).double()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
        return network

    return trained


@pytest.mark.parametrize("training", [True, False])
def test_a_new_network_is_exactly_zero_and_can_learn(name, coast, training):
    for shortcut in (False, True):
        network = build(config(name, shortcut=shortcut), 3, 2, coast(13, 22), True)
        y = network.train(training)(field(2, 3, 13, 22).float())
        assert y.dtype == torch.float32
        assert torch.equal(y, torch.zeros(2, 2, 13, 22))
        y.sum().backward()
        assert max(p.grad.abs().max() for p in network.parameters() if p.grad is not None) > 0


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("size", GRIDS)
def test_any_grid_gives_its_own_shape_zero_on_land_and_something_at_sea(
    name, make, coast, size, periodic
):
    wet = torch.from_numpy(coast(*size))
    y = make(name, wet.numpy(), periodic)(field(2, 3, *size))
    assert y.shape == (2, 2, *size)
    assert not y[..., ~wet].any()
    assert y.isfinite().all() and (y[..., wet] != 0).all()


@pytest.mark.parametrize("fill", [1e6, float("nan"), float("inf")])
def test_what_land_holds_changes_no_bit(name, make, coast, fill):
    wet = torch.from_numpy(coast(13, 22))
    network = make(name, wet.numpy(), shortcut=True)
    x = field(2, 3, 13, 22)
    filled = torch.where(wet, x, fill).requires_grad_()
    y = network(filled)
    assert torch.equal(y, network(x))
    y.square().sum().backward()
    assert filled.grad.isfinite().all() and not filled.grad[..., ~wet].any()


def test_rolling_longitude_rolls_the_output(name, make, coast):
    step = STRIDES.get(name, WIDEST)
    wet = coast(13, 32)
    x = field(2, 3, 13, 32)
    here = make(name, wet)(x)
    for columns in (step, -3 * step):
        there = make(name, np.roll(wet, columns, axis=1))(x.roll(columns, dims=-1))
        torch.testing.assert_close(there, here.roll(columns, dims=-1), rtol=0, atol=1e-11)


def test_rows_do_not_close_and_an_open_grid_has_edges(name, make, coast):
    wet = np.ones((16, 32), bool)
    x = field(1, 3, 16, 32)
    for periodic, axis in ((True, -2), (False, -1)):
        network = make(name, wet, periodic)
        moved = network(x.roll(8, dims=axis)) - network(x).roll(8, dims=axis)
        assert moved.abs().max() > 1e-3


def test_samples_of_a_batch_do_not_mix(name, make, coast):
    network = make(name, coast(13, 22)).train()
    x = field(3, 3, 13, 22)
    torch.testing.assert_close(network(x)[1:2], network(x[1:2]), rtol=0, atol=1e-12)


def test_gradients_are_finite_and_reach_every_parameter(name, make, coast):
    network = make(name, coast(17, 34), shortcut=True)
    network(field(2, 3, 17, 34)).square().sum().backward()
    for path, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), path
        assert parameter.grad.abs().max() > 0, path


def test_gradients_equal_finite_differences(name, make, coast):
    network = make(name, coast(6, 8), embed=8, latent=8, window=2, shortcut=True)
    parameters = dict(network.named_parameters())

    def evaluate(x, *values):
        return functional_call(network, dict(zip(parameters, values, strict=True)), (x,))

    inputs = (field(2, 3, 6, 8).requires_grad_(), *parameters.values())
    assert torch.autograd.gradcheck(evaluate, inputs, fast_mode=True)


def test_checkpointing_changes_neither_output_nor_gradients_and_keeps_less(name, make, coast):
    if "checkpoint" not in keys(name):
        pytest.skip("takes no checkpoint")
    results, kept = [], []
    for flag in (False, True):
        rate = {"drop_path": 0.5, "blocks": 4}
        network = make(name, coast(13, 22), checkpoint=flag, **rate).train()
        x = field(4, 3, 13, 22).requires_grad_()
        torch.manual_seed(3)
        sizes: list[int] = []
        hooks = torch.autograd.graph.saved_tensors_hooks
        with hooks(lambda t, sizes=sizes: sizes.append(t.numel()) or t, lambda t: t):
            y = network(x)
        y.square().sum().backward()
        results.append([y, x.grad, *(p.grad for p in network.parameters())])
        kept.append(sum(sizes))
    for plain, recomputed in zip(*results, strict=True):
        assert torch.equal(plain, recomputed)
    assert kept[1] < 0.6 * kept[0]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_bfloat16_autocast_stays_near_single_precision(name, make, coast, layout):
    network = make(name, coast(18, 32)).float().to(memory_format=layout)
    x = field(2, 3, 18, 32).float().to(memory_format=layout)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = network(x.bfloat16())
    full = network(x)
    assert full.dtype == torch.float32
    assert (low.float() - full).norm() < 0.05 * full.norm()
    low.float().square().sum().backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())


def test_the_memory_format_changes_nothing_but_rounding(name, make, coast):
    network = make(name, coast(13, 22))
    x = field(2, 3, 13, 22)
    plain = network(x)
    last = network.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(last, plain, rtol=0, atol=1e-11)


def test_weights_hold_no_grid_and_load_into_another(name, make, coast):
    network, other = make(name, coast(13, 22)), make(name, coast(18, 32))
    other.load_state_dict(network.state_dict())
    assert other(field(1, 3, 18, 32)).isfinite().all()


def test_a_network_learns_a_map_that_looks_at_its_neighbours(name, coast):
    wet = torch.from_numpy(coast(8, 12))
    torch.manual_seed(0)
    x = torch.where(wet, field(2, 3, 8, 12).float(), 0.0)
    target = torch.where(wet, 0.5 * x[:, :2] - 0.5 * x[:, 1:].roll(1, dims=-1), 0.0)
    network = build(config(name, embed=32, latent=32), 3, 2, wet.numpy(), True)
    optimiser = torch.optim.AdamW(network.parameters(), lr=5e-3)
    for _ in range(40):
        optimiser.zero_grad()
        loss = (network(x) - target).square().mean()
        loss.backward()
        optimiser.step()
    assert loss < 0.5 * target.square().mean()
