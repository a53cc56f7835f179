"""Arithmetic and memory of one optimiser step, counted without taking it.

The step is traced on tensors that have shapes and no contents (PyTorch's fake tensors), so that any
size can be counted on any machine in seconds to minutes. Counted are

- FLOP: two for each multiplication and addition of a matrix product or a convolution, as
  `torch.utils.flop_counter` does, but with the groups of a convolution taken into account in its
  backward pass too. Pointwise work and the numerical ocean, thousandths of it, are left out.
- bytes: every tensor while it lives. What a kernel takes for itself, what the allocator loses
  between blocks, and the GPU's context come on top, and types under autocast follow the rules of
  the CPU: the sum is an estimate.
"""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from hybridom.bench.train_variants import with_overrides
from hybridom.config import Config
from hybridom.data.datasets import Batch
from hybridom.errors import UserError
from hybridom.grid import Grid, Mask
from hybridom.normalisation import Statistics
from hybridom.physics.skeleton import SkeletonResult
from hybridom.state import Forcing, OceanState
from hybridom.stepper import HybridOM
from hybridom.training.losses import StateLoss
from hybridom.training.rollout import Rollout
from hybridom.variables import PROGNOSTIC, VARIABLES

aten = torch.ops.aten
TERMS = ("ilap", "state", "gate", "correction")
NO_RECOMPUTING = tuple(f"networks.{name}.checkpoint=false" for name in TERMS)


@dataclass(frozen=True)
class Flop:
    """FLOP of one window.

    Attributes:
        forward, backward: Of the two passes.
        recomputed: Of what activation checkpointing does again during the backward pass.
    """

    forward: int
    backward: int
    recomputed: int

    @property
    def useful(self) -> int:
        """Without what is done twice."""
        return self.forward + self.backward


@dataclass(frozen=True)
class Bytes:
    """Bytes on the device at the most crowded moment of a step.

    Attributes:
        weights: Parameters, AdamW's moments, the moving average, and constants.
        window: The batch.
        step: Activations, what the graph keeps, and gradients.
    """

    weights: int
    window: int
    step: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.weights + self.window + self.step


def convolution_backward(
    gradient: list[int], x: list[int], weight: list[int], *rest: Any, **_: Any
) -> int:
    """FLOP of the backward pass of a convolution, from the shapes that the operator is given.

    The derivatives with respect to input and to weights take one forward pass's work each.
    """
    transposed, wanted = rest[4], rest[7]
    cells = math.prod((x if transposed else gradient)[2:])
    return 2 * x[0] * cells * math.prod(weight) * (wanted[0] + wanted[1])


def attention(query: list[int], key: list[int], value: list[int], *_: Any, **__: Any) -> int:
    """FLOP of the CPU's attention kernel: the products with the keys and with the values."""
    return 2 * math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def attention_backward(_: list[int], *shapes: Any, **__: Any) -> int:
    """FLOP of its backward pass: scores again, and the derivatives of two products."""
    query, key, value = shapes[:3]
    cells = math.prod(query[:-1]) * key[-2]
    return 2 * cells * (3 * query[-1] + 2 * value[-1])


FORMULAS = {
    aten.convolution_backward: convolution_backward,
    aten._scaled_dot_product_flash_attention_for_cpu: attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: attention_backward,
}


class Living(TorchDispatchMode):
    """Adds up the storages that are alive, of those made under this mode.

    Attributes:
        now: Their bytes.
        most: The most there have been.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._seen: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def know(self, tensors: list[Tensor]) -> None:
        """Leave out the storages of `tensors`."""
        for tensor in tensors:
            self._seen.add(tensor.untyped_storage())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(found):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage())
        return found

    def _add(self, storage: torch.UntypedStorage) -> None:
        if storage in self._seen:
            return
        self._seen.add(storage)
        size = storage.nbytes()
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._drop, size).atexit = False

    def _drop(self, size: int) -> None:
        self.now -= size


def count_flop(rollout: Rollout, batch: Batch) -> tuple[int, int]:
    """FLOP of the forward and of the backward pass over a batch, networks alone."""
    with FlopCounterMode(display=False, custom_mapping=FORMULAS) as counter:
        loss = rollout.loss.total(rollout(batch))
        forward = counter.get_total_flops()
        loss.backward()
    return forward, counter.get_total_flops() - forward


def count_bytes(rollout: Rollout, batch: Batch, constants: list[Tensor]) -> int:
    """Most bytes alive during forward and backward pass, beside `constants`."""
    living = Living()
    living.know(constants)
    with living:
        rollout.loss.total(rollout(batch)).backward()
    return living.most


def count(
    config: Config, grid: Grid, wet: Mask, statistics: Statistics, days: int
) -> tuple[Flop, Bytes]:
    """Count a step of one micro-batch.

    Args:
        config: The configuration; its networks are counted as they are without `compile`.
        grid: The grid.
        wet: Ocean cells (nz, ny, nx).
        statistics: See `normalisation`.
        days: Days that are unrolled.

    Raises:
        UserError: The networks refuse their configuration, or there are none.
    """
    config = with_overrides(config, ["networks.compile=false"])
    windows = config.training.batch
    plain = with_overrides(config, NO_RECOMPUTING)
    forward, backward = _flop(plain, grid, wet, statistics, days)
    with_all = backward if plain == config else _flop(config, grid, wet, statistics, days)[1]
    flop = Flop(forward // windows, backward // windows, (with_all - backward) // windows)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        rollout = fake_rollout(config, grid, wet, statistics, mode)
        batch = fake_batch(config, grid, days)
        return flop, all_bytes(config, rollout, batch)


def _flop(
    config: Config, grid: Grid, wet: Mask, statistics: Statistics, days: int
) -> tuple[int, int]:
    """FLOP of the forward and of the backward pass over a micro-batch, recomputing included."""
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        rollout = fake_rollout(config, grid, wet, statistics, mode)
        if rollout.model.skeleton is not None:
            # The numerical ocean does no matrix products; without it tracing is much faster.
            setattr(rollout.model, "skeleton", Still())  # noqa: B010 - of another type
        return count_flop(rollout, fake_batch(config, grid, days))


def all_bytes(config: Config, rollout: Rollout, batch: Batch) -> Bytes:
    """Bytes of a training with these windows: what it keeps, and what a step takes."""
    weights = [p for p in rollout.parameters() if p.requires_grad]
    window = [x for part in (batch.state, batch.climatology) for _, x in part.items()]
    window += [*batch.forcing.fields.values(), *batch.forcing_climatology.fields.values()]
    window += [] if batch.outer is None else [x for _, x in batch.outer.items()]
    constants = [*rollout.parameters(), *rollout.buffers()]
    copies = 3 + (config.training.ema > 0)  # weight, two moments, average
    return Bytes(
        weights=copies * sum(p.nbytes for p in weights) + sum(b.nbytes for b in rollout.buffers()),
        window=sum(x.nbytes for x in window),
        step=count_bytes(rollout, batch, [*constants, *window]),
    )


def require_networks(model: HybridOM) -> None:
    """Raise UserError for a model without weights."""
    if not model.networks():
        raise UserError("all networks are switched off: nothing to train")


class Still(nn.Module):
    """In the place of the numerical ocean: a day on which nothing happens."""

    def forward(self, state: OceanState, *_: Forcing) -> SkeletonResult:
        return SkeletonResult(state.thetao, state.so, state.zos, self.vorticity(state))

    def vorticity(self, state: OceanState) -> Tensor:
        return torch.zeros_like(state.thetao)


def fake_rollout(
    config: Config, grid: Grid, wet: Mask, statistics: Statistics, mode: FakeTensorMode
) -> Rollout:
    """Model and loss whose parameters and buffers have no contents."""
    with unset_fake_temporarily():
        model = HybridOM(
            grid, wet, statistics, config.forcing_names, config.skeleton, config.networks
        )
        require_networks(model)
        rollout = Rollout(model, StateLoss(grid, wet, model.normaliser, config.training.loss))
    for module in rollout.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(mode.from_tensor(parameter.detach()))
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = mode.from_tensor(buffer)
    return rollout.train()


def fake_batch(config: Config, grid: Grid, days: int) -> Batch:
    """Windows without contents; to be called under a `FakeTensorMode`."""
    lead = (config.training.batch, days + 1)

    def fields(names: tuple[str, ...]) -> dict[str, Tensor]:
        return {
            n: torch.empty(*lead, *grid.shape[0 if VARIABLES[n].has_depth else 1 :]) for n in names
        }

    names = config.forcing_names
    ocean = OceanState(**fields(PROGNOSTIC))
    return Batch(
        ocean, Forcing(fields(names)), OceanState(**fields(PROGNOSTIC)), Forcing(fields(names)),
        torch.zeros(lead[0]),
        None if config.region is None else OceanState(**fields(PROGNOSTIC)),
    )  # fmt: skip
