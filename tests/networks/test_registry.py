from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from hybridom.config import NetworkConfig
from hybridom.errors import UserError
from hybridom.networks import build, names, register, registry


@pytest.fixture
def scale(monkeypatch) -> type[nn.Module]:
    """A network registered for one test, which keeps what it is built with."""
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))

    @register("scale", uses=("embed", "patch"), options=("factor", "offset"))
    class Scale(nn.Module):
        def __init__(self, config, in_channels, out_channels, mask, periodic):
            super().__init__()
            self.config = config
            self.arguments = (in_channels, out_channels, mask.shape, periodic)

    return Scale


def make(**values) -> nn.Module:
    config = NetworkConfig(name="scale", **values)
    return build(config, 3, 5, np.ones((8, 9), bool), False)


@pytest.mark.parametrize(
    ("name", "near"), [("omd", "odm"), ("UNet", "unet"), ("nome", "none"), ("spectrum", "spectral")]
)
def test_an_unknown_name_is_refused_with_the_nearest_known_one(name, near):
    with pytest.raises(UserError, match=rf"unknown network '{name}', did you mean '{near}'"):
        build(NetworkConfig(name=name), 1, 1, np.ones((8, 8), bool), True)


def test_a_registered_network_is_built_by_its_name(scale):
    network = make(embed=12, options={"factor": 0.5})
    assert "scale" in names() and registry.keys("scale") == ("embed", "patch")
    assert isinstance(network, scale)
    assert network.arguments == (3, 5, (8, 9), False)
    assert (network.config.embed, network.config.options) == (12, {"factor": 0.5})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"window": 4}, r"scale takes no 'window' \(found 4\).*takes embed, patch"),
        ({"checkpoint": True}, r"scale takes no 'checkpoint' \(found True\)"),
        ({"attention": "local"}, r"scale takes no 'attention' \(found 'local'\)"),
        ({"options": {"factr": 2}}, r"no option 'factr' \(found 2\).*takes factor, offset"),
    ],
)
def test_what_a_network_does_not_take_is_refused_in_one_line(scale, values, message):
    with pytest.raises(UserError, match=message) as failure:
        make(**values)
    assert "\n" not in str(failure.value)


def test_the_default_of_a_key_that_a_network_does_not_take_is_no_mistake(scale):
    assert make(window=NetworkConfig().window, options={}).config.embed == NetworkConfig().embed


def test_a_network_without_options_says_so(small_config):
    with pytest.raises(UserError, match=r"odm takes no option 'kernel' .* it takes none"):
        build(small_config(options={"kernel": 3}), 1, 1, np.ones((8, 8), bool), True)


def test_a_network_cannot_take_a_key_that_does_not_exist():
    with pytest.raises(ValueError, match=r"network 'scale': no keys of NetworkConfig: \['wdow'\]"):
        register("scale", uses=("embed", "wdow"))


@pytest.mark.parametrize("name", ["odm", "none", "spectral"])
def test_a_name_is_given_once_and_two_are_never_networks(name):
    with pytest.raises(ValueError, match=f"'{name}' exists already"):
        register(name)(nn.Identity)


@pytest.mark.parametrize("mask", [np.zeros((8, 8), bool), np.ones((2, 8, 8), bool)])
def test_a_mask_without_ocean_or_with_levels_is_refused(small_config, mask):
    with pytest.raises(UserError, match="wet mask of shape"):
        build(small_config(), 1, 1, mask, True)


def test_the_mask_is_copied_and_may_be_any_boolean_array(small_config):
    mask = torch.ones(6, 8, dtype=torch.bool)
    network = build(small_config(), 1, 1, mask, True)
    flipped = build(small_config(), 1, 1, np.ones((6, 8), bool)[::-1], True)
    mask[:] = False
    assert network.wet.all() and flipped.wet.all()
