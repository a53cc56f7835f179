"""`hybridom oceanbench`: scores of OceanBench, a validator of submissions, an exporter."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hybridom.cli import common
from hybridom.errors import UserError

MASK = "OceanBench's ocean mask, a Zarr store or NetCDF file with a variable ocean_mask"
FORM = "a folder of stores YYYYMMDD.zarr named by the first forecast day, or one store of all"


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add `oceanbench` to the command line."""
    group = common.add_group(
        commands,
        "oceanbench",
        "score, check and export forecasts as OceanBench 0.6.1 has them",
        "hybridom oceanbench validate results/demo/oceanbench",
    )
    add_score(group)
    add_validate(group)
    add_export(group)


def add_score(group: argparse._SubParsersAction) -> None:
    """Add `oceanbench score`."""
    score = common.add_command(
        group,
        "score",
        "score forecasts with OceanBench's definitions",
        "hybridom oceanbench score forecasts --reference glorys --mask ocean_mask.zarr "
        "--output scores.parquet",
        "The table is written as Parquet and as CSV. Of the configuration only "
        "evaluation.bootstrap is used.",
    )
    score.add_argument("challenger", type=Path, metavar="CHALLENGER", help=FORM)
    score.add_argument(
        "--reference", type=Path, required=True, metavar="PATH", help="what to compare with, alike"
    )
    score.add_argument(
        "--reference-name", metavar="NAME", help="its name in the table (default: of its path)"
    )
    ocean = score.add_mutually_exclusive_group(required=True)
    ocean.add_argument("--mask", type=Path, metavar="PATH", help=MASK)
    ocean.add_argument(
        "--no-mask",
        action="store_true",
        help="score every cell where both have a value; the scores are then not OceanBench's",
    )
    score.add_argument(
        "--observations",
        type=Path,
        metavar="DIR",
        help="score against observations too: a folder of their days YYYYMMDD.zarr",
    )
    score.add_argument(
        "--mdt",
        type=Path,
        metavar="PATH",
        help="mean dynamic topography on the challenger's grid, for sea level anomalies",
    )
    score.add_argument("--region", default="global", metavar="NAME", help="global or ibi")
    score.add_argument(
        "--metrics", metavar="NAMES", help="some of them, separated by commas (default: all)"
    )
    score.add_argument(
        "--threads",
        type=common.count,
        default=1,
        metavar="N",
        help="leads scored at a time; each takes about 0.4 GB at 1/4 degree (default: 1)",
    )
    score.add_argument("--output", type=Path, required=True, metavar="FILE", help="the table")
    score.set_defaults(run=run_score)


def add_validate(group: argparse._SubParsersAction) -> None:
    """Add `oceanbench validate`."""
    texts = common.texts(
        "look for what makes OceanBench's scores wrong without a word",
        "hybridom oceanbench validate forecasts --mask ocean_mask.zarr",
        "Every finding is one line. The exit status is 2 with errors, 0 with warnings alone.",
    )
    validate = group.add_parser("validate", **texts)
    validate.add_argument("store", type=Path, metavar="STORE", help=FORM)
    validate.add_argument("--mask", type=Path, metavar="PATH", help=MASK)
    validate.add_argument(
        "--reference", type=Path, metavar="PATH", help="forecasts with a value wherever expected"
    )
    validate.add_argument("--verbose", action="store_true", help="log more")
    validate.set_defaults(run=run_validate)


def add_export(group: argparse._SubParsersAction) -> None:
    """Add `oceanbench export`."""
    export = common.add_command(
        group,
        "export",
        "write forecasts as stores that OceanBench reads, and its challenger.py",
        "hybridom oceanbench export --config config/global_05.yaml --resolution 0.25 "
        "--output results/global_05/oceanbench",
        "Onto a grid as fine as the model's or finer the fields are interpolated bilinearly, onto "
        "a coarser one averaged conservatively. A call that was stopped goes on at the start "
        "where it was.",
    )
    export.add_argument(
        "--resolution", required=True, choices=("0.25", "1"), help="of the official grid, degrees"
    )
    export.add_argument("--output", type=Path, required=True, metavar="DIR", help="their folder")
    export.add_argument("--mask", type=Path, metavar="PATH", help=f"{MASK}; default: our wet cells")
    export.add_argument(
        "--coast",
        type=int,
        default=0,
        metavar="CELLS",
        help="cells by which our fields are continued onto land first (default: %(default)s)",
    )
    export.add_argument(
        "--interpolate-depth",
        action="store_true",
        help="interpolate to scoring depths that the grid does not have",
    )
    common.add_start(export)
    export.set_defaults(run=run_export)


def run_score(args: argparse.Namespace) -> None:
    """Write the table of scores."""
    import pandas as pd

    from hybridom.evaluation.oceanbench import conventions, scorer
    from hybridom.evaluation.oceanbench.class4 import Class4, open_topography
    from hybridom.evaluation.oceanbench.forecasts import open_forecasts

    if args.observations and not (args.mask and args.mdt):
        raise UserError(
            "--observations needs --mask, which says which of them count, and --mdt, which makes "
            "sea level anomalies of sea surface heights; give both"
        )
    config, _ = common.load(args, "evaluate")
    metrics = args.metrics.split(",") if args.metrics else conventions.METRICS
    challenger, reference = open_forecasts(args.challenger), open_forecasts(args.reference)
    mask = _mask(args)
    found = scorer.Scorer(challenger, reference, mask, metrics, args.region)
    settings = config.evaluation.bootstrap
    with common.exclusive(args.output):
        found.run(args.threads)
        table = found.table(settings, args.reference_name or args.reference.stem)
        if args.observations:
            places = mask, open_topography(args.mdt)
            matched = Class4(challenger, args.observations, *places, args.region)
            matched.run()
            table = pd.concat([table, matched.table(settings)[table.columns]], ignore_index=True)
        for path in scorer.write_scores(table, args.output):
            print(path)


def run_validate(args: argparse.Namespace) -> None:
    """Print the findings; errors are raised together."""
    from hybridom.evaluation.oceanbench.forecasts import open_forecasts
    from hybridom.evaluation.oceanbench.validator import validate

    reference = open_forecasts(args.reference) if args.reference else None
    findings = validate(args.store, _mask(args), reference)
    for line in findings.warnings:
        print(f"warning: {line}")
    if findings.errors:
        raise UserError("\n".join(findings.errors))
    print(f"{args.store}: no errors, {len(findings.warnings)} warnings")


def run_export(args: argparse.Namespace) -> None:
    """Write the stores of one start date or all, and challenger.py."""
    from hybridom.evaluation.oceanbench.export import Exporter

    config, layout = common.load(args, "evaluate")
    exporter = Exporter(
        *(config, layout, float(args.resolution), args.output, _mask(args)),
        coast=args.coast,
        interpolate_depth=args.interpolate_depth,
    )
    for start in common.starts(args, config):
        with common.exclusive(exporter.store(start)):
            exporter.write(start)
    exporter.write_challenger()


def _mask(args: argparse.Namespace) -> Any:
    """The ocean mask, where one is given."""
    from hybridom.evaluation.oceanbench.forecasts import open_mask

    return open_mask(args.mask) if args.mask else None
