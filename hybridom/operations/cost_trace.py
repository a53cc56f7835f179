"""The configured training, traced on tensors without contents, at the full size of its grid.

What one more day of a window adds is the same for every day after the first, so that windows of one
and of two days tell those of any length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from hybridom.bench import train_count
from hybridom.bench.step import unit_statistics
from hybridom.bench.train_count import Bytes
from hybridom.bench.train_variants import with_overrides
from hybridom.config import Config
from hybridom.config.networks import NONE
from hybridom.grid import Grid
from hybridom.training.rollout import Rollout


@dataclass(frozen=True)
class Line:
    """An amount that grows by the same with every day.

    Attributes:
        first: Of one day.
        more: Of each further day.
    """

    first: float
    more: float

    @classmethod
    def through(cls, one: float, two: float) -> Line:
        """From the amounts of one day and of two."""
        return cls(one, two - one)

    def of(self, days: int) -> float:
        """Of so many days."""
        return self.first + (days - 1) * self.more


@dataclass(frozen=True)
class Trace:
    """What a trace found.

    Attributes:
        parameters: Network -> trainable numbers.
        tensors: Number of tensors that they lie in.
        stored: Bytes of the weights and constants that a checkpoint holds.
        forward, backward: FLOP of the networks for one window, without recomputing.
        weights: Bytes on the GPU of weights, optimiser, average and constants, all of them.
        window: Bytes of a micro-batch.
        step: Bytes of activations, of what the graph keeps, and of gradients, of a micro-batch.
    """

    parameters: dict[str, int]
    tensors: int
    stored: int
    forward: Line
    backward: Line
    weights: int
    window: Line
    step: Line

    @property
    def size(self) -> int:
        """Trainable numbers of all networks."""
        return sum(self.parameters.values())

    def flop(self, days: int) -> float:
        """FLOP of the networks for a window that is trained on."""
        return self.forward.of(days) + self.backward.of(days)

    def gpu_bytes(self, days: int) -> float:
        """Bytes on one GPU at the most crowded moment of a step."""
        return self.weights + self.window.of(days) + self.step.of(days)


def has_networks(config: Config) -> bool:
    """Whether there is anything to train."""
    networks = (getattr(config.networks, name) for name in train_count.TERMS)
    return any(network.name != NONE for network in networks)


def trace(config: Config, grid: Grid) -> Trace:
    """Trace windows of one and of two days.

    Args:
        config: The configuration; it has a network.
        grid: Its grid.

    Raises:
        UserError: A network refuses its configuration.
    """
    config = with_overrides(config, ["networks.compile=false"])
    statistics = unit_statistics(grid.nz, config.forcing_names)
    wet = np.ones(grid.shape, bool)  # land takes as much memory and arithmetic
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        rollout = train_count.fake_rollout(config, grid, wet, statistics, mode)
        batches = [train_count.fake_batch(config, grid, days) for days in (1, 2)]
        one, two = (train_count.all_bytes(config, rollout, batch) for batch in batches)
        _leave_networks_alone(rollout)
        forward, first = train_count.count_flop(rollout, batches[0])
        # Gradients go back through all days but the first to the day before.
        for _, field in batches[0].state.items():
            field.requires_grad_()
        _, later = train_count.count_flop(rollout, batches[0])
    windows = config.training.batch
    return Trace(
        parameters=parameters(rollout),
        tensors=sum(p.requires_grad for p in rollout.model.parameters()),
        stored=sum(x.nbytes for x in rollout.model.state_dict().values()),
        forward=Line(forward / windows, forward / windows),
        backward=Line(first / windows, later / windows),
        weights=one.weights,
        **_lines(one, two),
    )


def forward_flop(config: Config, grid: Grid) -> int:
    """FLOP of the networks for one day of a forecast.

    Args: As `trace`.

    Raises:
        UserError: A network refuses its configuration.
    """
    config = with_overrides(config, ["networks.compile=false", "training.batch=1"])
    statistics = unit_statistics(grid.nz, config.forcing_names)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.no_grad():
        wet = np.ones(grid.shape, bool)
        rollout = train_count.fake_rollout(config, grid, wet, statistics, mode)
        _leave_networks_alone(rollout)
        with FlopCounterMode(display=False, custom_mapping=train_count.FORMULAS) as counter:
            rollout(train_count.fake_batch(config, grid, 1))
        return counter.get_total_flops()


def parameters(rollout: Rollout) -> dict[str, int]:
    """Trainable numbers of each network."""
    return {
        name: sum(p.numel() for p in network.parameters() if p.requires_grad)
        for name, network in rollout.model.networks().items()
    }


def _lines(one: Bytes, two: Bytes) -> dict[str, Line]:
    return {
        name: Line.through(getattr(one, name), getattr(two, name)) for name in ("window", "step")
    }


def _leave_networks_alone(rollout: Rollout) -> None:
    """Take out the numerical ocean, which does no matrix products, and all recomputing."""
    for module in rollout.modules():
        if isinstance(module, nn.Module) and getattr(module, "checkpoint", None) is True:
            setattr(module, "checkpoint", False)  # noqa: B010 - of networks alone
    if rollout.model.skeleton is not None:
        setattr(rollout.model, "skeleton", train_count.Still())  # noqa: B010 - of another type
