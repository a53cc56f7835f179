"""`hybridom bench`: measurements on random data."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from hybridom.cli import common


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add `bench` to the command line."""
    group = common.add_group(
        commands,
        "bench",
        "measure time and memory",
        "hybridom bench step --config config/demo.yaml --json step.json",
    )
    step = common.add_command(
        group,
        "step",
        "measure one model day, forward and backward, on random data",
        "hybridom bench step --config config/demo.yaml --json step.json",
        "Needs no data. The JSON object holds device, torch, threads, grid, parameters, batch, "
        "days, repeats, and for forward and forward_backward seconds_per_day (median), fastest "
        "and peak_memory_mb.",
    )
    step.add_argument("--days", type=positive, default=1, help="days unrolled (default: 1)")
    step.add_argument("--repeats", type=positive, default=5, help="repetitions (default: 5)")
    step.add_argument("--json", type=Path, metavar="FILE", help="write the result there too")
    step.set_defaults(run=run_step)


def positive(text: str) -> int:
    """Parse a number of at least one; argparse turns the error into a message."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


def run_step(args: argparse.Namespace) -> None:
    """Measure, print the table, and write the JSON object."""
    from hybridom.bench import step

    config, _ = common.load(args, "train")
    result = step.bench_step(config, args.days, args.repeats)
    print(step.table(result), flush=True)
    if args.json is not None:
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
