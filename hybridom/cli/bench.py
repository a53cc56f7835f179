"""`hybridom bench`: measurements on random data."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

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
    step.add_argument("--days", type=common.count, default=1, help="days unrolled (default: 1)")
    step.add_argument("--repeats", type=common.count, default=5, help="repetitions (default: 5)")
    step.add_argument("--json", type=Path, metavar="FILE", help="write the result there too")
    step.set_defaults(run=run_step)
    add_core(group)
    add_train(group)
    add_loader(group)
    add_prepare(group)
    add_evaluate(group)


def add_core(group: argparse._SubParsersAction) -> None:
    """Add `bench core`."""
    core = common.add_command(
        group,
        "core",
        "measure the skeleton's day beside the memory bandwidth of the machine",
        "hybridom bench core --config config/global_05.yaml --set skeleton.substeps=12",
        "Needs no data: an invented ocean with continents on the configured grid. Times one day, "
        "forward and backward, in its plain, compiled (torch.compile) and fused form, in turn and "
        "in one process; takes the memory of each in a process of its own. At 0.5 degree the "
        "plain form's backward pass keeps 0.9 GB a substep. docs/performance.md explains the "
        "table.",
    )
    core.add_argument(
        "--variants",
        default="plain,compiled,fused",
        metavar="NAMES",
        help="forms of the day, with commas between (default: %(default)s)",
    )
    core.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    core.add_argument("--repeats", type=common.count, default=5, help="timed turns (default: 5)")
    core.add_argument("--json", type=Path, metavar="FILE", help="write the result there too")
    core.set_defaults(run=run_core)


def add_train(group: argparse._SubParsersAction) -> None:
    """Add `bench train`."""
    train = common.add_command(
        group,
        "train",
        "measure optimiser steps: speed, arithmetic, memory, waiting for data, parts",
        "hybridom bench train --config config/global_05.yaml --days 5 --variants reference,bf16",
        "Needs no data: an invented ocean on the configured grid, in temporary stores that are "
        "read as training reads its own. Variants (configured, reference, fused, bf16, compiled, "
        "cheap) override precision, kernels and form of the networks; they take their steps in "
        "turn in one process, and ratios are to the first one. docs/performance.md explains the "
        "table.",
    )
    train.add_argument(
        "--variants",
        default="configured",
        metavar="NAMES",
        help="ways to train, with commas between (default: %(default)s)",
    )
    train.add_argument(
        "--days", type=common.count, help="days unrolled (default: of the last curriculum stage)"
    )
    train.add_argument("--repeats", type=common.count, default=5, help="timed turns (default: 5)")
    train.add_argument(
        "--data",
        choices=("synthetic", "stores", "memory"),
        default="synthetic",
        help="temporary stores of invented days, the stores of the configuration, or one "
        "invented batch in memory (default: %(default)s)",
    )
    train.add_argument(
        "--store-mb",
        type=common.count,
        default=4000,
        metavar="N",
        help="largest temporary stores, MB before compression; where a window does not fit, "
        "the batch stays in memory (default: %(default)s)",
    )
    train.add_argument("--folder", type=Path, metavar="DIR", help="where temporary stores lie")
    train.add_argument(
        "--count", action="store_true", help="only count FLOP and memory, on any machine"
    )
    train.add_argument("--json", type=Path, metavar="FILE", help="write the result there too")
    train.set_defaults(run=run_train)


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
    loader.add_argument("--days", type=common.count, default=8, help="days stored (default: 8)")
    loader.add_argument("--window", type=common.count, default=6, help="days a window (default: 6)")
    loader.add_argument("--repeats", type=common.count, default=5, help="windows (default: 5)")
    loader.add_argument("--folder", type=Path, metavar="DIR", help="where the stores lie for now")
    loader.add_argument("--json", type=Path, metavar="FILE", help="write the result there too")
    loader.set_defaults(run=run_loader)


def add_prepare(group: argparse._SubParsersAction) -> None:
    """Add `bench prepare`."""
    prepare = common.add_command(
        group,
        "prepare",
        "measure how fast raw ocean days become model days",
        "hybridom bench prepare --config config/global_05.yaml --json prepare.json",
        "Needs no data: writes synthetic days of GLORYS12V1's size and form, 0.5 GB each, and "
        "times decompression, regridding, the whole stage, and the common way (xarray: open, "
        "decode, coarsen).",
    )
    prepare.add_argument("--days", type=common.count, default=7, help="days, over 3 (default: 7)")
    prepare.add_argument("--folder", type=Path, metavar="DIR", help="where the files go, and stay")
    prepare.add_argument("--json", type=Path, metavar="FILE", help="write the result there too")
    common.add_threads(prepare)
    prepare.set_defaults(run=run_prepare)


def add_evaluate(group: argparse._SubParsersAction) -> None:
    """Add `bench evaluate`."""
    evaluate = common.add_command(
        group,
        "evaluate",
        "measure how fast forecasts are scored, beside the reading of their stores",
        "hybridom bench evaluate --starts 12 --json evaluate.json",
        "Needs no data: writes a synthetic forecast, truth and climatology on the configured grid "
        "into a temporary folder. Four different days of each are written; all other days and "
        "forecasts are hard links to them, so that a year of forecasts fits on a small disk. "
        "For each start in turn it reads and decompresses the files, and nothing else, then "
        "scores the fields with the same threads. 0.5 degree and 23 levels take 0.8 GB.",
    )
    evaluate.set_defaults(config=Path("config/global_05.yaml"))
    evaluate.add_argument(
        "--starts", type=common.count, default=1, help="forecasts in a year (default: 1)"
    )
    evaluate.add_argument("--days", type=common.count, help="last lead (default: as configured)")
    evaluate.add_argument("--folder", type=Path, metavar="DIR", help="where the stores lie for now")
    evaluate.add_argument("--json", type=Path, metavar="FILE", help="write the result there too")
    common.add_threads(evaluate)
    evaluate.set_defaults(run=run_evaluate)


def report(result: dict[str, Any], table: str, path: Path | None) -> None:
    """Print the table of a result and, where asked for, write the JSON object."""
    print(table, flush=True)
    if path is not None:
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def run_step(args: argparse.Namespace) -> None:
    """Measure, print the table, and write the JSON object."""
    from hybridom.bench import step

    config, _ = common.load(args, "train")
    result = step.bench_step(config, args.days, args.repeats)
    report(result, step.table(result), args.json)


def run_core(args: argparse.Namespace) -> None:
    """Measure, print the table, and write the JSON object."""
    import torch

    from hybridom.bench import core
    from hybridom.bench.variants import require_variants

    variants = require_variants(args.variants)
    config, _ = common.load(args, "train")
    result = core.bench_core(config, variants, args.repeats, getattr(torch, args.dtype))
    report(result, core.table(result), args.json)


def run_train(args: argparse.Namespace) -> None:
    """Measure, print the table, and write the JSON object."""
    from hybridom.bench import train, train_table
    from hybridom.bench.train_variants import require_variants
    from hybridom.config import load

    variants = require_variants(args.variants)
    config = load(args.config, args.overrides)
    if args.count:
        result = train.count_train(config, variants, args.days)
        report(result, train_table.count_table(result), args.json)
        return
    result = train.bench_train(
        config, variants, args.repeats, args.days, args.data, args.store_mb, args.folder
    )
    report(result, train_table.table(result), args.json)


def run_loader(args: argparse.Namespace) -> None:
    """Measure, print the table, and write the JSON object."""
    from hybridom.bench import loader
    from hybridom.config import load

    config = load(args.config, args.overrides)
    result = loader.bench_loader(config, args.days, args.window, args.repeats, args.folder)
    report(result, loader.table(result), args.json)


def run_prepare(args: argparse.Namespace) -> None:
    """Measure, print the table, and write the JSON object."""
    from hybridom.bench import prepare

    config, _ = common.load(args, "state")
    result = prepare.bench_prepare(config, args.folder, args.days, common.threads(args))
    report(result, prepare.table(result), args.json)


def run_evaluate(args: argparse.Namespace) -> None:
    """Measure, print the table, and write the JSON object."""
    from hybridom.bench import evaluate
    from hybridom.evaluation.case import open_case
    from hybridom.evaluation.scores import score_case

    def score(config: Any, layout: Any, start: Any, threads: int) -> object:
        return score_case(open_case(config, layout, start, threads), config.evaluation)

    config, _ = common.load(args, "evaluate")
    days = args.days or config.forecast.days
    threads = common.threads(args)
    result = evaluate.bench_evaluate(config, score, args.starts, days, args.folder, threads)
    report(result, evaluate.table(result), args.json)
