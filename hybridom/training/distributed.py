"""Processes of one training run: who am I, where do I compute, how do we add up."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist

from hybridom.errors import UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ranks:
    """The processes of a run as seen by one of them.

    Attributes:
        rank: Number of this process over all nodes.
        size: Number of processes.
        device: Where this process computes.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes files and logs."""
        return self.rank == 0

    def add(self, values: torch.Tensor) -> torch.Tensor:
        """Sum of `values` over all processes, the same on each."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def wait(self) -> None:
        """Go on once every process has arrived here."""
        self.add(torch.zeros(1, device=self.device))

    def require_same(self, step: int, folder: Path) -> None:
        """Make sure that all processes found the same checkpoint.

        Raises:
            UserError: They did not, because `folder` is not the same on every node.
        """
        total = int(self.add(torch.tensor([step], device=self.device)))
        if total != step * self.size:
            raise UserError(
                f"{folder}: process {self.rank} sees step {step} as the newest, others another; "
                "put paths.results on a file system that all nodes share"
            )

    def say(self, message: str, *values: object) -> None:
        """Log once for the whole run."""
        if self.first:
            log.info(message, *values)


@contextmanager
def connect() -> Iterator[Ranks]:
    """Join the processes that torchrun started, or run alone without torchrun.

    torchrun hands over RANK, WORLD_SIZE and LOCAL_RANK. Each process takes the GPU of its local
    rank where there are GPUs (collectives over NCCL), and the CPU otherwise (gloo).

    Raises:
        UserError: More processes on this node than GPUs.
    """
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        local, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if local >= gpus:
            raise UserError(
                f"training: process {local} of this node has no GPU of its own ({gpus} visible); "
                "start at most one process per GPU"
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    if size == 1:
        yield Ranks(rank, size, device)
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Ranks(rank, size, device)
    finally:
        dist.destroy_process_group()
