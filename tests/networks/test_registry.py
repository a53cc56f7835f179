from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from hybridom.errors import UserError
from hybridom.networks import build, names, register, registry


def test_an_unknown_name_is_refused_with_the_nearest_known_one(small_config):
    with pytest.raises(UserError, match=r"unknown network 'omd', did you mean 'odm'"):
        build(small_config(name="omd"), 1, 1, np.ones((8, 8), bool), True)


def test_a_registered_network_is_built_by_its_name(small_config, monkeypatch):
    monkeypatch.setattr(registry, "_BUILDERS", dict(registry._BUILDERS))

    @register("scale")
    class Scale(nn.Module):
        def __init__(self, config, in_channels, out_channels, mask, periodic):
            super().__init__()
            self.arguments = (config.name, in_channels, out_channels, mask.shape, periodic)

    assert names() == ("odm", "scale")
    network = build(small_config(name="scale"), 3, 5, np.ones((8, 9), bool), False)
    assert isinstance(network, Scale)
    assert network.arguments == ("scale", 3, 5, (8, 9), False)


@pytest.mark.parametrize("name", ["odm", "none"])
def test_a_name_is_given_once_and_none_is_never_a_network(name):
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
