"""What one process of a job does in a test; torchrun starts it as `ranks.py DEED ARGUMENTS`."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sys
import time
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import torch

from hybridom import cli
from hybridom.config import load
from hybridom.errors import UserError
from hybridom.layout import Layout
from hybridom.training import distributed, loop
from hybridom.training.distributed import connect
from hybridom.training.optimise import Optimisation

STEP = 2  # taken before something goes wrong


def train_all(file: str, runs: str) -> int:
    """Train one configuration after the other in the same group of processes."""
    with connect() as ranks:
        loop.connect = lambda: nullcontext(ranks)
        for overrides, checkpoint in json.loads(runs):
            config = load(Path(file), overrides)
            layout = Layout(config)
            if checkpoint and ranks.first:
                layout.checkpoints_dir.mkdir(parents=True)
                shutil.copy(layout.experiment_dir / checkpoint, layout.checkpoints_dir)
            ranks.wait()
            loop.train(config, layout)
    return 0


def fail(how: str, where: str, *command: str) -> int:
    """Run a command that goes wrong in one process (0, 1) or in `all`, after some steps."""
    if how == "hangs":
        distributed.PATIENCE = timedelta(seconds=6)
    taken = Optimisation._accumulate_gradients
    mine = where in (os.environ["RANK"], "all")

    def accumulate(self, batches, step):
        if step == STEP and mine:
            go_wrong(how)
        if step == STEP and how == "killed-apart":
            time.sleep(300)  # as one that waits for a dead process, and never hears of it
        return taken(self, batches, step)

    Optimisation._accumulate_gradients = accumulate
    return cli.main(command)


def go_wrong(how: str) -> None:
    """Fail in one of the ways that processes fail."""
    if how.startswith("killed"):
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "hangs":
        time.sleep(300)
    if how == "user":
        raise UserError(f"store.zarr: unreadable; said by process {os.environ['RANK']}")
    raise RuntimeError(f"a mistake in process {os.environ['RANK']}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    logging.basicConfig(level=logging.INFO)
    sys.exit({"train": train_all, "fail": fail}[sys.argv[1]](*sys.argv[2:]))
