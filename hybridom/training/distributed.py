"""Processes of one training run: who am I, where do I compute, how do we add up."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from hybridom.errors import UserError
from hybridom.training import failure
from hybridom.training.lifeline import Lifeline

log = logging.getLogger(__name__)

RENDEZVOUS = timedelta(minutes=10)  # for all processes to start
PATIENCE = timedelta(minutes=30)  # with others in a sum; the first process also writes files
VERDICT = 2.0  # seconds in which the death of another is known after a sum with it has failed


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
        # Without a look at the result, NCCL would hold up the GPU alone.
        self.add(torch.zeros(1, device=self.device)).item()

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
    rank where there are GPUs (collectives over NCCL), and the CPU otherwise (gloo). When one of
    them fails or is killed, the others end within seconds.

    Raises:
        UserError: More processes on this node than GPUs; the processes do not find one another, or
            wait in vain; another one has died.
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
    lifeline = Lifeline(_join(rank, size, device), rank, size)
    try:
        yield Ranks(rank, size, device)
    except Exception as error:
        # torchrun ends the others when it sees the first one dead; what happened is said before.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        # Whose sums fail because another one died has nothing to say of its own.
        if isinstance(error, RuntimeError) and lifeline.lost.wait(VERDICT):
            raise UserError(lifeline.message) from None
        failure.first()
        lifeline.close(orderly=False)
        if isinstance(error, RuntimeError) and "timed out" in str(error).lower():
            raise UserError(
                f"training: process {rank} of {size} waited {PATIENCE.total_seconds() / 60:g} "
                "minutes in vain for another one; look for a node or a file system that hangs, "
                "then start again"
            ) from None
        # To take the group down now might wait for those that wait for this process.
        raise
    except SystemExit:
        _leave(lifeline)
        raise
    except BaseException:
        lifeline.close(orderly=False)
        raise
    _leave(lifeline)


def _join(rank: int, size: int, device: torch.device) -> dist.Store:
    """Make the group of all processes, and return where they meet.

    Raises:
        UserError: They do not find one another.
    """
    cuda = device.type == "cuda"
    try:
        store, rank, size = next(dist.rendezvous("env://", timeout=RENDEZVOUS))
        dist.init_process_group(
            "nccl" if cuda else "gloo",
            store=dist.PrefixStore("training", store),
            rank=rank,
            world_size=size,
            timeout=PATIENCE,
            device_id=device if cuda else None,
        )
    except (RuntimeError, ValueError) as error:
        place = ":".join(os.environ.get(x, "?") for x in ("MASTER_ADDR", "MASTER_PORT"))
        raise UserError(
            f"training: process {rank} of {size} does not find the others at {place} "
            f"({str(error).splitlines()[0]}); start all with torchrun, with the same --nnodes and "
            "--rdzv-endpoint on every node, a host and port that each of them can reach"
        ) from None
    return store


def _leave(lifeline: Lifeline) -> None:
    lifeline.close(orderly=True)
    dist.destroy_process_group()
