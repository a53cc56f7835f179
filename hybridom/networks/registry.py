"""The networks by name.

To add a network, put one file into this package and name it in the configuration. The file holds
a class, or any callable, with the signature of `Builder`::

    @register("mine", uses=("embed", "blocks"), options=("kernel",))
    class Mine(nn.Module):
        def __init__(self, config, in_channels, out_channels, mask, periodic): ...

and the configuration says `networks.state.name: mine`. `uses` names the keys of `NetworkConfig`
that the network takes, `options` what it reads from `config.options`, where a network has numbers
of its own; `build` refuses whatever else a configuration sets, so that no size is given in vain.

What every network must keep (`tests/networks/test_contract.py` asks it of all that are registered):

- it maps (B, in_channels, ny, nx) to (B, out_channels, ny, nx), for any ny and nx;
- its output is exactly zero at initialisation, and on land always;
- what the input holds on land (zero, a fill value, NaN) changes no bit of the output;
- on a periodic grid nothing distinguishes the first column from any other: rolling mask and input
  in longitude rolls the output, as far as strides, patches and windows allow;
- samples of a batch do not mix;
- gradients reach every parameter, in float32, float64 and under bfloat16 autocast, and are the
  same with `config.checkpoint`, if it is used;
- its weights know nothing of the grid: they load into the same network on another one.

`base.GridNetwork` sees to the first half of that for a network that builds on it. Two names are no
networks: at `none` the stepper leaves the term out, at `spectral` it inverts the Laplacian.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike
from torch import nn

from hybridom.config import NetworkConfig
from hybridom.errors import UserError

Builder = Callable[[NetworkConfig, int, int, np.ndarray, bool], nn.Module]
B = TypeVar("B", bound=Builder)


@dataclass(frozen=True)
class _Entry:
    builder: Builder
    uses: tuple[str, ...]
    options: tuple[str, ...]


_ENTRIES: dict[str, _Entry] = {}
# Every network has these.
_COMMON = {"name", "options"}
# What the stepper does by itself.
_RESERVED = ("none", "spectral")


def register(name: str, uses: Sequence[str] = (), options: Sequence[str] = ()) -> Callable[[B], B]:
    """Decorate a `Builder`, so that `build` finds it under `name`.

    Args:
        name: What configurations call it.
        uses: Keys of `NetworkConfig` that it takes.
        options: Keys of `NetworkConfig.options` that it takes.

    Raises:
        ValueError: Where the name is taken (two files would otherwise depend on import order), or
            `uses` names what is no key.
    """
    unknown = set(uses) - (set(NetworkConfig.model_fields) - _COMMON)
    if unknown:
        raise ValueError(f"network '{name}': no keys of NetworkConfig: {sorted(unknown)}")

    def add(builder: B) -> B:
        if name in _ENTRIES or name in _RESERVED:
            raise ValueError(f"a network named '{name}' exists already")
        _ENTRIES[name] = _Entry(builder, tuple(uses), tuple(options))
        return builder

    return add


def names() -> tuple[str, ...]:
    """Names of all registered networks, sorted."""
    return tuple(sorted(_ENTRIES))


def keys(name: str) -> tuple[str, ...]:
    """Keys of `NetworkConfig` that the network of that name takes, `name` and `options` apart."""
    return _ENTRIES[name].uses


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
        UserError: If the name is unknown, the configuration sets what the network does not take,
            the mask has no ocean, or the network refuses its configuration.
    """
    if config.name not in _ENTRIES:
        near = get_close_matches(config.name, (*names(), *_RESERVED), n=1, cutoff=0.0)[0]
        raise UserError(
            f"networks: unknown network '{config.name}', did you mean '{near}'? known: "
            f"{', '.join(names())}; none switches the term off, spectral is for ilap alone"
        )
    _refuse_unused(config, _ENTRIES[config.name])
    wet = np.array(np.asarray(mask), dtype=bool, order="C")
    if wet.ndim != 2 or not wet.any():
        raise UserError(
            f"networks: the wet mask of shape {wet.shape} must have two dimensions (latitude, "
            "longitude) and at least one ocean cell; check the grid's box and wet_threshold"
        )
    return _ENTRIES[config.name].builder(config, in_channels, out_channels, wet, periodic)


def _refuse_unused(config: NetworkConfig, entry: _Entry) -> None:
    """Raise UserError for a value that the network would ignore."""
    default = NetworkConfig()
    for key in sorted(set(NetworkConfig.model_fields) - _COMMON - set(entry.uses)):
        value = getattr(config, key)
        if value != getattr(default, key):
            raise UserError(
                f"networks: {config.name} takes no '{key}' (found {value!r}): remove the key; "
                f"it takes {', '.join(entry.uses) or 'none'}"
            )
    for key in sorted(set(config.options) - set(entry.options)):
        raise UserError(
            f"networks: {config.name} takes no option '{key}' (found {config.options[key]!r}): "
            f"remove it from options; it takes {', '.join(entry.options) or 'none'}"
        )
