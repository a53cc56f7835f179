"""`hybridom train` and `hybridom forecast`."""

from __future__ import annotations

import argparse
import contextlib
import os
from pathlib import Path

from hybridom.cli import common


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add `train` and `forecast` to the command line."""
    train = common.add_command(
        commands,
        "train",
        "train the model, or go on where training was stopped",
        "torchrun --standalone --nproc-per-node 2 -m hybridom train --config config/demo.yaml",
        "Under torchrun the batch of each step is spread over its processes. "
        "SIGTERM saves a checkpoint and exits with status 85.",
    )
    train.set_defaults(run=run_train)

    forecast = common.add_command(
        commands,
        "forecast",
        "forecast from the trained model",
        "hybridom forecast --config config/demo.yaml --start 2003-01-31",
        "A forecast that was stopped goes on at the first day that is missing.",
    )
    common.add_start(forecast)
    forecast.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="forecast from this model, .pt or .safetensors (default: that of the experiment)",
    )
    forecast.set_defaults(run=run_forecast)


def run_train(args: argparse.Namespace) -> None:
    """Train; the first process alone holds the lock on the checkpoint."""
    from hybridom.training import loop

    config, layout = common.load(args, "train")
    first = os.environ.get("RANK", "0") == "0"
    with common.exclusive(layout.checkpoint) if first else contextlib.nullcontext():
        loop.train(config, layout)


def run_forecast(args: argparse.Namespace) -> None:
    """Forecast from one start date or from all."""
    from hybridom import forecast

    config, layout = common.load(args, "forecast")
    for start in common.starts(args, config):
        with common.exclusive(layout.forecast_manifest(start)):
            forecast.forecast(config, layout, start, args.checkpoint)
