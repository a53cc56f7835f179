"""`hybridom compare`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from hybridom.cli import common

if TYPE_CHECKING:
    from hybridom.config import FiguresConfig


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add `compare` to the command line."""
    compare = common.add_command(
        commands,
        "compare",
        "put the scores of experiments side by side",
        "hybridom compare demo unet --labels hybrid,network",
        "The others are held against the first. Tables, figures and a page are written.",
    )
    compare.add_argument(
        "names",
        nargs="+",
        metavar="NAME",
        help="experiment under paths.results, or folder of its tables",
    )
    compare.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="folder to write (default: compare_<labels> under paths.results)",
    )
    compare.add_argument(
        "--labels",
        type=lambda text: text.split(","),
        metavar="A,B,...",
        help="names for tables and legends (default: those of the folders)",
    )
    compare.add_argument(
        "--metric",
        action="append",
        default=[],
        dest="metrics",
        metavar="NAME",
        help="metric to draw; may be repeated (default: RMSE, ACC, activity and skill)",
    )
    compare.set_defaults(run=run_compare)


def run_compare(args: argparse.Namespace) -> None:
    """Compare experiments."""
    from hybridom.compare.run import PAGE, compare, default_folder

    results, figures = _settings(args)
    output = args.output or default_folder(args.names, args.labels, results)
    with common.exclusive(output / PAGE):
        compare(
            args.names,
            results,
            output,
            args.labels,
            args.metrics,
            figures.depths,
            figures.dpi,
        )


def _settings(args: argparse.Namespace) -> tuple[Path, FiguresConfig]:
    """Where experiments lie, and how figures are drawn.

    Tables that were carried elsewhere are compared without a configuration: it takes none but the
    default one for granted.
    """
    from hybridom.config import FiguresConfig, PathsConfig

    if args.config == common.DEFAULT_CONFIG and not args.config.exists() and not args.overrides:
        return Path(PathsConfig().results), FiguresConfig()
    config, _ = common.load(args, "page")
    return Path(config.paths.results), config.figures
