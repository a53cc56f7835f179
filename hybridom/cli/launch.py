"""`hybridom launch`."""

from __future__ import annotations

import argparse

from hybridom.cli import common


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add `launch` to the command line."""
    parser = commands.add_parser(
        "launch",
        **common.texts(
            "run another command as several processes, here or on the nodes of a SLURM job",
            "hybridom launch --ranks 2 --threads 4 train --config config/demo.yaml",
            "It starts torchrun, on several nodes through srun, and in a SLURM job lets the "
            "command save before the time limit and puts the job back into the queue.",
        ),
    )
    parser.add_argument(
        "--nodes", type=common.count, default=1, metavar="N", help="nodes (default: 1)"
    )
    parser.add_argument(
        "--ranks",
        type=common.count,
        default=1,
        metavar="N",
        help="processes on all nodes (default: 1)",
    )
    parser.add_argument(
        "--threads",
        type=common.count,
        default=1,
        metavar="N",
        help="cores of one node for its processes (default: 1)",
    )
    parser.add_argument("--verbose", action="store_true", help="log more")
    parser.add_argument(
        "words", nargs=argparse.REMAINDER, metavar="COMMAND", help="such as train, with its options"
    )
    parser.set_defaults(run=run_launch)


def run_launch(args: argparse.Namespace) -> None:
    """Start the processes; their exit status becomes that of this command."""
    from hybridom.errors import UserError
    from hybridom.launch import Shape, launch

    if not args.words:
        raise UserError("launch: no command is given, such as train --config config/demo.yaml")
    status = launch(Shape(args.nodes, args.ranks, args.threads), args.words)
    if status:
        raise SystemExit(status)
