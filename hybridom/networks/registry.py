"""The networks by name.

To add a network, put one file into this package and name it in the configuration. The file holds
a class, or any callable, with the signature of `Builder`::

    @register("unet")
    class UNet(nn.Module):
        def __init__(self, config, in_channels, out_channels, mask, periodic): ...

and the configuration says `networks.state.name: unet`. What every network must keep:

- it maps (B, in_channels, ny, nx) to (B, out_channels, ny, nx), for any ny and nx;
- its output is exactly zero at initialisation, and on land always;
- what the input holds on land (zero, a fill value, NaN) changes no bit of the output;
- on a periodic grid nothing distinguishes the first column from any other.

The name `none` is no network: the stepper leaves the term out.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike
from torch import nn

from hybridom.config import NetworkConfig
from hybridom.errors import UserError

Builder = Callable[[NetworkConfig, int, int, np.ndarray, bool], nn.Module]
B = TypeVar("B", bound=Builder)

_BUILDERS: dict[str, Builder] = {}


def register(name: str) -> Callable[[B], B]:
    """Decorate a `Builder`, so that `build` finds it under `name`.

    Raises ValueError where the name is taken: two files would otherwise depend on import order.
    """

    def add(builder: B) -> B:
        if name in _BUILDERS or name == "none":
            raise ValueError(f"a network named '{name}' exists already")
        _BUILDERS[name] = builder
        return builder

    return add


def names() -> tuple[str, ...]:
    """Names of all registered networks, sorted."""
    return tuple(sorted(_BUILDERS))


def build(
    config: NetworkConfig, in_channels: int, out_channels: int, mask: ArrayLike, periodic: bool
) -> nn.Module:
    """Make the network that `config.name` names.

    Args:
        config: Size and options of the network.
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        mask: (ny, nx) bool, True where the surface cell is ocean. The network is bound to this
            grid, but its weights are not: they load into a network of the same configuration on
            another grid.
        periodic: Whether the last column is the western neighbour of the first.

    Raises:
        UserError: If the name is unknown, the mask has no ocean, or the network refuses its
            configuration.
    """
    if config.name not in _BUILDERS:
        near = get_close_matches(config.name, names(), n=1, cutoff=0.0)[0]
        raise UserError(
            f"networks: unknown network '{config.name}', did you mean '{near}'? "
            f"known: {', '.join(names())}, or none to switch the term off"
        )
    wet = np.array(np.asarray(mask), dtype=bool, order="C")
    if wet.ndim != 2 or not wet.any():
        raise UserError(
            f"networks: the wet mask of shape {wet.shape} must have two dimensions (latitude, "
            "longitude) and at least one ocean cell; check the grid's box and wet_threshold"
        )
    return _BUILDERS[config.name](config, in_channels, out_channels, wet, periodic)
