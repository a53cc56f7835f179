"""`hybridom doctor`, `hybridom status` and `hybridom cost`."""

from __future__ import annotations

import argparse
from pathlib import Path

from hybridom.cli import common

DEFAULT_PROFILE = Path("slurm")


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add the commands to the command line."""
    doctor = common.add_command(
        commands,
        "doctor",
        "check machine, cluster, data and configuration, and say what to mend",
        "hybridom doctor --config config/global_05.yaml --profile slurm",
        "Nothing is changed. The status is 2 if something would stop a run.",
    )
    doctor.add_argument(
        "--profile",
        type=Path,
        default=DEFAULT_PROFILE,
        metavar="FOLDER",
        help="Snakemake profile to check where there is SLURM (default: %(default)s)",
    )
    doctor.set_defaults(run=run_doctor)

    status = common.add_command(
        commands,
        "status",
        "show what is done, what runs, how training goes and why jobs failed",
        "hybridom status --config config/demo.yaml",
    )
    status.set_defaults(run=run_status)

    cost = common.add_command(
        commands,
        "cost",
        "estimate storage, memory and GPU hours of a configuration",
        "hybridom cost --config config/global_05.yaml --gpu-tflops 60",
        "Each figure is printed with how it was made.",
    )
    cost.add_argument(
        "--gpu-tflops",
        type=float,
        default=60.0,
        metavar="N",
        help="what one GPU achieves on this model, in 1e12 operations per second "
        "(default: %(default)s; `hybridom bench train` measures it)",
    )
    cost.set_defaults(run=run_cost)


def run_doctor(args: argparse.Namespace) -> None:
    """Print the findings; a bad one makes the status 2."""
    from hybridom.config import load
    from hybridom.operations import doctor

    if not doctor.examine(load(args.config, args.overrides), args.config, args.profile):
        raise SystemExit(2)


def run_status(args: argparse.Namespace) -> None:
    """Print where the experiment stands."""
    from hybridom.config import load
    from hybridom.operations import status

    print(status.describe(load(args.config, args.overrides)))


def run_cost(args: argparse.Namespace) -> None:
    """Print the table of costs."""
    from hybridom.config import load
    from hybridom.operations import cost

    print(cost.table(cost.estimate(load(args.config, args.overrides), args.gpu_tflops)))
