"""The published architectures: their parts by closed forms, their sizes as published."""

from __future__ import annotations

import importlib
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hybridom.config import NetworkConfig
from hybridom.errors import UserError
from hybridom.networks import build
from hybridom.networks.afno import FourierMixing, shrink
from hybridom.networks.convlstm import ConvLSTMCell
from hybridom.networks.dit import DiTBlock
from hybridom.networks.resnet import ResidualBlock
from hybridom.networks.simvp import DilatedConv
from hybridom.networks.tokens import PatchEmbed, PatchReadout, row_code, token_mask

NAMES = ["afno", "convlstm", "dit", "resnet", "simvp", "unet"]
# Name, channels in and out, sizes, published millions of parameters.
PUBLISHED = [
    ("unet", (1, 2), {"embed": 64, "spatial_layers": 4}, 31.03),
    ("dit", (4, 8), {"embed": 384, "patch": 2, "blocks": 12, "heads": 6, "mlp_ratio": 4}, 33),
    ("dit", (4, 8), {"embed": 768, "patch": 2, "blocks": 12, "heads": 12, "mlp_ratio": 4}, 130),
    ("dit", (4, 8), {"embed": 1024, "patch": 2, "blocks": 24, "heads": 16, "mlp_ratio": 4}, 458),
    ("dit", (4, 8), {"embed": 1152, "patch": 2, "blocks": 28, "heads": 16, "mlp_ratio": 4}, 675),
]


def field(*shape: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def millions(name: str, channels: tuple[int, int], size: dict[str, int]) -> float:
    with torch.device("meta"):
        network = build(NetworkConfig(name=name, **size), *channels, np.ones((64, 128), bool), True)
    return sum(p.numel() for p in network.parameters()) / 1e6


@pytest.mark.parametrize(("name", "channels", "size", "published"), PUBLISHED)
def test_published_sizes_have_the_published_number_of_parameters(name, channels, size, published):
    assert millions(name, channels, size) == pytest.approx(published, rel=0.015)


@pytest.mark.parametrize("name", NAMES)
def test_the_docstring_states_the_parameters_of_a_full_size(name):
    module = importlib.import_module(f"hybridom.networks.{name}")
    documented = next(
        c for c in vars(module).values() if isinstance(c, type) and c.__name__.lower() == name
    )
    text = " ".join((documented.__doc__ or "").split())
    found = re.search(r"\(99 to 99\), (.+?): ([\d.]+) million", text)
    size = {key: int(value) for key, value in (x.split() for x in found[1].split(", "))}
    assert float(found[2]) == round(millions(name, (99, 99), size), 1)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("unet", {"embed": 9}, "embed = 9 must be even"),
        ("unet", {"embed": 8, "spatial_layers": 4}, r"spatial_layers = 4 leaves \(1, 1\) cells"),
        ("resnet", {"embed": 9}, "embed = 9 must be even"),
        ("convlstm", {"embed": 9}, "embed = 9 must be even"),
        ("convlstm", {"options": {"steps": 0}}, "options.steps = 0 must be a whole number above 0"),
        ("convlstm", {"options": {"steps": 1.5}}, "options.steps = 1.5 must be a whole number"),
        ("convlstm", {"options": {"steps": True}}, "options.steps = True must be a whole number"),
        ("simvp", {"embed": 9}, "embed = 9 must be even"),
        ("simvp", {"latent": 12}, "latent = 12 must be a multiple of 8"),
        ("simvp", {"drop_path": 1.0}, "drop_path must be below 1"),
        ("simvp", {"spatial_layers": 8}, r"spatial_layers = 8 leaves \(1, 1\) latent cells"),
        ("dit", {"embed": 20, "heads": 4}, "embed = 20 must be a multiple of twice the heads = 4"),
        ("afno", {"embed": 20, "heads": 3}, "embed = 20 must be a multiple of heads = 3"),
        ("afno", {"embed": 9, "heads": 3}, "embed = 9 must be even"),
        ("afno", {"drop_path": 1.0}, "drop_path must be below 1"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_in_one_line(name, changes, message):
    with pytest.raises(UserError, match=f"^networks: {name}: {message}") as failure:
        build(NetworkConfig(name=name, **changes), 3, 2, np.ones((9, 14), bool), True)
    assert "\n" not in str(failure.value)


def test_a_token_is_the_square_of_its_cells_and_goes_back_to_them():
    wet = np.zeros((5, 7), bool)
    wet[4, 6] = wet[0, 2] = True
    np.testing.assert_array_equal(token_mask(wet, 3), [[1, 0, 0], [0, 0, 1]])

    embed = PatchEmbed(1, 10, 3, wet.shape).double()
    back = PatchReadout(10, 1, 3, np.ones_like(wet)).double()
    with torch.no_grad():
        for parameter in (*embed.parameters(), *back.parameters()):
            parameter.zero_()
        embed.conv.weight[:9] = torch.eye(9).reshape(9, 1, 3, 3)
        back.linear.weight[:, :9] = torch.eye(9)
        embed.code.zero_()
    x = field(2, 1, 5, 7)
    torch.testing.assert_close(back(embed(x)), x)


def test_no_two_rows_of_tokens_have_the_same_code():
    for rows in (1, 2, 9, 180):
        code = row_code(rows, 8)
        assert code.shape == (rows, 8) and code.abs().max() <= 1
        assert len({tuple(row) for row in code.numpy().round(4).tolist()}) == rows


def test_the_attention_of_dit_is_its_sum_and_sees_columns_by_their_distance():
    torch.manual_seed(0)
    block = DiTBlock(8, 2, 8).double()
    x = field(1, 3, 8)
    angle = field(3, 2)
    query, key, value = block.qkv(x[0]).reshape(3, 3, 2, 4).permute(1, 2, 0, 3).unbind(0)

    def turned(vectors: torch.Tensor) -> torch.Tensor:
        pairs = torch.view_as_complex(torch.stack(vectors.chunk(2, dim=-1), dim=-1))
        return pairs * torch.polar(torch.ones_like(angle), angle)

    scores = (turned(query)[:, :, None] * turned(key)[:, None].conj()).real.sum(-1) / 2.0
    mixed = (scores.softmax(-1) @ value).transpose(0, 1).reshape(3, 8)
    expected = block.project(mixed)[None]
    torch.testing.assert_close(block.attend(x, angle.cos(), angle.sin()), expected)
    torch.testing.assert_close(block.attend(x, (angle + 1.0).cos(), (angle + 1.0).sin()), expected)


def test_a_new_block_of_dit_is_the_identity_and_its_gate_can_open():
    block = DiTBlock(8, 2, 8).double()
    x, condition = field(2, 5, 8), field(2, 8)
    cos, sin = torch.ones(5, 2).double(), torch.zeros(5, 2).double()
    y = block(x, condition, cos, sin)
    assert torch.equal(y, x)
    y.square().sum().backward()
    assert block.modulation[1].weight.grad[16:24].abs().min() > 0


def test_tokens_of_dit_without_ocean_take_no_part():
    wet = np.zeros((12, 24), bool)
    wet[2:8, 4:14] = True
    config = NetworkConfig(name="dit", embed=16, patch=2, blocks=2, heads=2, mlp_ratio=2)
    network = build(config, 3, 2, wet, True)
    assert len(network.ocean) == 3 * 5
    shapes = []
    network.blocks[0].qkv.register_forward_hook(lambda _, args, out: shapes.append(args[0].shape))
    network(field(2, 3, 12, 24).float())
    assert shapes == [(2, 15, 16)]


def test_shrinkage_shortens_a_complex_number_and_keeps_its_direction():
    z = torch.view_as_complex(field(50, 2))
    short = shrink(z, torch.tensor(0.7, dtype=torch.float64))
    torch.testing.assert_close(short.abs(), F.relu(z.abs() - 0.7))
    long = z.abs() > 0.7
    assert 0 < long.sum() < 50
    torch.testing.assert_close(short[long].angle(), z[long].angle())
    nothing = torch.zeros(3, dtype=torch.complex128, requires_grad=True)
    shrink(nothing, torch.tensor(0.7)).abs().sum().backward()
    assert not nothing.grad.abs().any()


def test_fourier_mixing_without_imaginary_parts_and_shrinkage_moves_nothing(monkeypatch):
    # One real matrix for all coefficients is a convolution with a single point.
    monkeypatch.setattr("hybridom.networks.afno.shrink", lambda z, threshold: z)
    mixing = FourierMixing(4, 2, (5, 6), True).double()
    with torch.no_grad():
        for weight in (mixing.first, mixing.second):
            weight[1] = 0.0
    x = field(1, 5, 6, 4)
    product = mixing.first[0] @ mixing.second[0]
    moved = torch.einsum("bhwgi,gio->bhwgo", x.unflatten(-1, (2, 2)), product).flatten(-2)
    torch.testing.assert_close(mixing(x), x + moved)


@pytest.mark.parametrize(("periodic", "padded"), [(True, (10, 6)), (False, (10, 12))])
def test_fourier_mixing_is_its_definition_between_zeros(periodic, padded):
    mixing = FourierMixing(4, 2, (5, 6), periodic).double()
    x = field(1, 5, 6, 4)
    room = np.zeros((*padded, 4))
    room[:5, :6] = x[0].numpy()
    z = np.fft.rfft2(room, axes=(0, 1), norm="ortho").reshape(10, -1, 2, 2)
    limits = (0.01 + np.abs(mixing.threshold.detach().numpy()), 0.01)
    for weight, limit in zip((mixing.first, mixing.second), limits, strict=True):
        real, imaginary = weight.detach().numpy()
        z = np.einsum("hwgi,gio->hwgo", z, real + 1j * imaginary)
        z = np.exp(1j * np.angle(z)) * np.maximum(np.abs(z) - limit, 0.0)
    mixed = np.fft.irfft2(z.reshape(10, -1, 4), s=padded, axes=(0, 1), norm="ortho")[:5, :6]
    np.testing.assert_allclose(mixing(x)[0].detach().numpy(), x[0].numpy() + mixed, atol=1e-12)


def test_fourier_mixing_of_low_precision_is_single_inside():
    mixing = FourierMixing(4, 2, (5, 6), True)
    x = field(1, 5, 6, 4).bfloat16()
    y = mixing(x)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), mixing(x.float()), rtol=2**-7, atol=2**-8)


def test_tokens_of_afno_without_ocean_stay_zero(awaken):
    wet = np.zeros((6, 8), bool)
    wet[:3, 1:6] = True
    config = NetworkConfig(
        name="afno", embed=8, patch=2, blocks=2, heads=2, mlp_ratio=2, drop_path=0.0
    )
    network = awaken(build(config, 3, 2, wet, True))
    seen = []
    for block in network.blocks:
        block.mix.register_forward_hook(lambda _, args, out: seen.append(args[0]))
        block.register_forward_hook(lambda _, args, out: seen.append(out))
    network(field(2, 3, 6, 8).float())
    ocean = torch.from_numpy(token_mask(wet, 2))
    assert len(seen) == 4
    for tokens in seen:
        assert not tokens[:, ~ocean].any() and tokens[:, ocean].any(dim=-1).all()


@pytest.mark.parametrize(
    "size",
    [
        {"name": "unet", "spatial_layers": 2},
        {"name": "resnet", "blocks": 3},
        {"name": "convlstm", "blocks": 2},
        {"name": "simvp", "spatial_layers": 2, "latent": 8, "blocks": 2, "drop_path": 0.0},
    ],
    ids=lambda size: size["name"],
)
def test_a_basin_within_land_is_the_basin_alone(size, awaken, coast):
    # Land, a wall, and the end of the grid are one and the same to convolutions.
    basin = coast(16, 32)
    world = np.zeros((48, 64), bool)
    world[16:32, 16:48] = basin
    config = NetworkConfig(embed=8, **size)
    x = field(2, 3, 48, 64)
    around, alone = (
        awaken(build(config, 3, 2, wet, periodic).double())
        for wet, periodic in ((world, True), (basin, False))
    )
    torch.testing.assert_close(
        around(x)[..., 16:32, 16:48], alone(x[..., 16:32, 16:48]), rtol=0, atol=1e-10
    )


@pytest.mark.parametrize(("name", "size"), [("unet", {}), ("simvp", {"latent": 8, "blocks": 2})])
def test_the_skip_carries_the_first_feature_past_the_rest(name, size, awaken, coast):
    config = NetworkConfig(name=name, embed=8, spatial_layers=2, **size)
    network = awaken(build(config, 3, 2, coast(11, 14), True)).eval()
    with torch.no_grad():
        if name == "unet":
            network.up[-1].convs[0].conv.weight[:, 8:] = 0.0
            rest = network.down
        else:
            network.merge.conv.weight[:, :8] = 0.0
            rest = network.layers
    x = field(1, 3, 11, 14).float()
    before = network(x)
    awaken(rest, seed=9)
    assert torch.equal(network(x), before)
    awaken(network.stem, seed=9)
    assert not torch.equal(network(x), before)


def test_a_residual_block_passes_on_what_it_is_given(coast):
    wet = coast(6, 8)
    block = ResidualBlock(4, wet, True).double()
    torch.nn.init.zeros_(block.norm.weight)
    x = field(2, 4, 6, 8) * torch.from_numpy(wet)
    torch.testing.assert_close(block(x), F.leaky_relu(x, 0.2))


def test_a_cell_of_convlstm_is_its_five_equations():
    cell = ConvLSTMCell(2, np.ones((4, 6), bool), periodic=True).double()
    with torch.no_grad():
        cell.peepholes.copy_(field(3, 2, 1, 1))
    x, hidden, memory = (field(1, 2, 4, 6, seed=s) for s in (1, 2, 3))
    i, f, o, g = cell.gates(torch.cat([x, hidden], 1)).chunk(4, dim=1)
    p = cell.peepholes
    c = torch.sigmoid(f + p[1] * memory) * memory + torch.sigmoid(i + p[0] * memory) * g.tanh()
    h = torch.sigmoid(o + p[2] * c) * c.tanh()
    for got, expected in zip(cell(x, hidden, memory), (h, c), strict=True):
        torch.testing.assert_close(got, expected)


def test_convlstm_iterates_as_often_as_it_is_told(coast):
    counts = []
    for options in ({}, {"steps": 1}, {"steps": 5}):
        config = NetworkConfig(name="convlstm", embed=8, blocks=2, options=options)
        network = build(config, 3, 2, coast(9, 14), True)
        calls = []
        network.cells[1].register_forward_hook(lambda *_, calls=calls: calls.append(1))
        network(field(1, 3, 9, 14).float())
        counts.append(len(calls))
    assert counts == [3, 1, 5]


@pytest.mark.parametrize("width", [1, 2, 5, 9, 16])
def test_the_wide_kernel_of_simvp_reaches_around_a_narrow_world(width):
    conv = DilatedConv(2, periodic=True).double()
    x = field(1, 2, 4, width)
    around = F.pad(x.repeat(1, 1, 1, 41), (0, 0, 9, 9))[..., 20 * width - 9 : 21 * width + 9]
    expected = F.conv2d(around, conv.weight, conv.bias, dilation=3, groups=2)
    torch.testing.assert_close(conv(x), expected)


def test_unet_has_twice_the_channels_at_half_the_resolution():
    config = NetworkConfig(name="unet", embed=4, spatial_layers=3)
    network = build(config, 3, 2, np.ones((21, 30), bool), True)
    seen = []
    for layer in (network.stem, *network.down, *network.up):
        layer.register_forward_hook(lambda _, __, out: seen.append(tuple(out.shape[1:])))
    network(field(1, 3, 21, 30).float())
    down = [(4, 21, 30), (8, 11, 15), (16, 6, 8), (32, 3, 4)]
    assert seen == down + down[-2::-1]
