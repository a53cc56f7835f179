"""One way to train, set up as training sets it up: its steps, its memory, its traits."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from typing import Any

import torch

from hybridom.bench import memory
from hybridom.bench.peak import arithmetic
from hybridom.bench.step import MEGABYTE, peak_memory
from hybridom.bench.train_count import Bytes, require_networks
from hybridom.bench.train_data import Scene
from hybridom.bench.train_parts import step_parts
from hybridom.bench.variants import SPARE, memory_now
from hybridom.config import Config
from hybridom.data.datasets import Batch
from hybridom.stepper import HybridOM
from hybridom.training.distributed import Ranks
from hybridom.training.losses import StateLoss
from hybridom.training.optimise import Optimisation

SMALL = 1e-3  # of the weights of layers that begin at zero


class Trial:
    """A variant of the model in training.

    Args:
        config: The configuration with the variant's overrides.
        scene: What it trains on.
        device: Where.

    Raises:
        UserError: The configuration has no network to train, or a network refuses it.
    """

    def __init__(self, config: Config, scene: Scene, device: torch.device) -> None:
        self.config, self.device = config, device
        torch.manual_seed(config.training.seed)
        model = HybridOM(
            scene.grid,
            scene.wet,
            scene.statistics,
            config.forcing_names,
            config.skeleton,
            config.networks,
        ).to(device)
        require_networks(model)
        fill_zeros(model)
        loss = StateLoss(scene.grid, scene.wet, model.normaliser, config.training.loss)
        ranks = Ranks(0, 1, device)
        self.optimisation = Optimisation(model, loss.to(device), config.training, ranks)
        self.taken = 0

    def step(self, batches: Iterator[Batch]) -> tuple[float, float]:
        """Take a step; returns its seconds, and those of them spent waiting for data."""
        waiting = Waiting(batches)
        begin = time.perf_counter()
        self.optimisation.take_step(waiting, self.taken, False)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.taken += 1
        return time.perf_counter() - begin, waiting.seconds

    def parts(self, batches: Iterator[Batch]) -> dict[str, float]:
        """Take a step; returns the seconds of its parts."""
        found = step_parts(self.optimisation, batches, self.taken, self.device)
        self.taken += 1
        return found


class Waiting(Iterator[Batch]):
    """Batches, and the seconds spent waiting for them."""

    def __init__(self, batches: Iterator[Batch]) -> None:
        self._batches = batches
        self.seconds = 0.0

    def __next__(self) -> Batch:
        begin = time.perf_counter()
        batch = next(self._batches)
        self.seconds += time.perf_counter() - begin
        return batch


@torch.no_grad()
def fill_zeros(model: torch.nn.Module) -> None:
    """Give the layers that begin at zero small weights.

    Without them all gradients behind would be zero, and a GPU multiplies zeros with less power and
    therefore faster.
    """
    for parameter in model.parameters():
        if parameter.ndim > 1 and not parameter.any():
            parameter.normal_(std=SMALL)


def require_memory(bytes_: Bytes, device: torch.device) -> None:
    """Refuse on a CPU what the system would end the process for; a GPU says so itself."""
    at_hand = memory.available_memory() * SPARE
    if device.type != "cuda" and bytes_.total / MEGABYTE > at_hand:
        raise MemoryError(
            f"needs {bytes_.total / 1e9:.1f} GB by count, {at_hand / 1e3:.1f} GB are at hand"
        )


def first_step(
    config: Config, scene: Scene, device: torch.device
) -> tuple[Trial, dict[str, float]]:
    """Make a variant and take two steps: the first compiles, the second has moments to hold."""
    memory.forget_peak()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    row = {"start_memory_mb": memory_now(device)}
    begin = time.perf_counter()
    trial = Trial(config, scene, device)
    trial.step(scene.batches)
    row["first_seconds"] = time.perf_counter() - begin
    trial.step(scene.batches)
    row["peak_memory_mb"] = peak_memory(device)
    if device.type == "cuda":
        row["peak_reserved_mb"] = torch.cuda.max_memory_reserved(device) / MEGABYTE
    return trial, row


def traits(trial: Trial) -> dict[str, Any]:
    """What there is to know about a variant before it runs; see `train.bench_train`."""
    networks, terms = trial.config.networks, trial.optimisation.model.networks()
    return {
        "precision": networks.precision,
        "arithmetic": arithmetic(networks.precision, trial.device),
        "kernels": trial.config.skeleton.kernels if trial.config.skeleton.enabled else None,
        "channels_last": networks.channels_last,
        "compile": networks.compile,
        "checkpoint": [name for name in terms if getattr(networks, name).checkpoint],
        "parameters": {
            name: sum(p.numel() for p in term.parameters() if p.requires_grad)
            for name, term in terms.items()
        },
    }


def forget_garbage(device: torch.device | None) -> None:
    """Give back what a variant has left behind."""
    gc.collect()
    if device is not None and device.type == "cuda":
        torch.cuda.empty_cache()
