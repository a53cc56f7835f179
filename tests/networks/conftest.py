"""A small network whose every branch is alive, and masks that are hard on it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from hybridom.config import NetworkConfig
from hybridom.networks import build


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def small_config() -> Callable[..., NetworkConfig]:
    """Configuration of a few thousand parameters; keywords override."""
    size = {"embed": 8, "latent": 8, "spatial_layers": 2, "blocks": 3, "heads": 2, "window": 4}

    def make(**changes) -> NetworkConfig:
        return NetworkConfig(**(size | {"mlp_ratio": 2, "drop_path": 0.0} | changes))

    return make


@pytest.fixture
def awaken() -> Callable[[nn.Module], nn.Module]:
    """Replace every parameter by a seeded random one, so that no branch is zero or negligible."""

    def fill(module: nn.Module, seed: int = 0) -> nn.Module:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in module.parameters():
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.copy_(0.3 * noise)
        return module

    return fill


@pytest.fixture
def alive(small_config, awaken) -> Callable[..., nn.Module]:
    """`alive(mask, periodic, **changes)`: float64 network, 3 to 2 channels, with random weights."""

    def make(mask: np.ndarray, periodic: bool = True, **changes) -> nn.Module:
        return awaken(build(small_config(**changes), 3, 2, mask, periodic).double())

    return make


@pytest.fixture
def coast() -> Callable[..., np.ndarray]:
    """`coast(ny, nx)`: a ragged wet mask, with a solid continent in one corner."""

    def make(ny: int, nx: int, seed: int = 0) -> np.ndarray:
        wet = np.random.default_rng(seed).random((ny, nx)) > 0.3
        wet[: ny // 2, : nx // 2] = False
        wet[-1, -1] = True
        return wet

    return make
