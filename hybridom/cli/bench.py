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
    add_loader(group)


def add_loader(group: argparse._SubParsersAction) -> None:
    """Add `bench loader`."""
    loader = common.add_command(
        group,
        "loader",
        "measure how fast windows of days come from a store",
        "hybridom bench loader --config config/global_05.yaml --days 8 --json loader.json",
        "Needs no data: writes synthetic days on the configured grid into a temporary folder, in "
        "several codecs and chunkings one after another, reads windows of them with the "
        "climatology, and compares with a copy in memory and with uncompressed files. A day of "
        "0.5 degree and 23 levels takes 0.2 GB.",
    )
    loader.add_argument("--days", type=positive, default=8, help="days in the store (default: 8)")
    loader.add_argument("--window", type=positive, default=6, help="days in a window (default: 6)")
    loader.add_argument("--repeats", type=positive, default=5, help="windows read (default: 5)")
    loader.add_argument("--folder", type=Path, metavar="DIR", help="where the stores lie for now")
    loader.add_argument("--json", type=Path, metavar="FILE", help="write the result there too")
    loader.set_defaults(run=run_loader)


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


def run_loader(args: argparse.Namespace) -> None:
    """Measure, print the table, and write the JSON object."""
    from hybridom.bench import loader
    from hybridom.config import load

    config = load(args.config, args.overrides)
    result = loader.bench_loader(config, args.days, args.window, args.repeats, args.folder)
    print(loader.table(result), flush=True)
    if args.json is not None:
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
