"""`hybridom evaluate --forecast ...`: scores of files that no configuration describes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybridom.cli import common
from hybridom.errors import UserError

if TYPE_CHECKING:
    from hybridom.config.output import EvaluationConfig
    from hybridom.evaluation.external.opening import Files

Run = Callable[[argparse.Namespace], None]
EXAMPLE = "hybridom evaluate --forecast glonet.zarr --truth glorys/2024.zarr --name glonet"


def add_group(commands: argparse._SubParsersAction) -> argparse._SubParsersAction:
    """Add `evaluate`, which has commands and, without one, scores files."""
    parser = commands.add_parser(
        "evaluate",
        **common.texts(
            "score forecasts: those of a configuration by a command, any others as files",
            EXAMPLE,
            "Without a command, the forecasts of the given Zarr stores or NetCDF files are scored "
            "against the truth in others, on one grid.",
        ),
    )
    add_files(parser)
    add_regions(parser, default=[])
    parser.add_argument("--verbose", action="store_true", help="log more")
    parser.set_defaults(run=run_files, parser=parser)
    return parser.add_subparsers(title="commands", metavar="COMMAND", required=False)


def add_files(parser: argparse.ArgumentParser) -> None:
    """Add the options of files alone."""
    add_forecasts(parser)
    parser.add_argument(
        "--members",
        type=Path,
        nargs="+",
        metavar="STORE",
        help="an ensemble in place of --forecast: stores with a member axis, or one a member",
    )
    parser.add_argument(
        "--thresholds",
        type=Path,
        metavar="STORE",
        help="percentiles.zarr, for extremes and heatwaves",
    )
    parser.add_argument(
        "--statistics",
        type=Path,
        metavar="FILE",
        help="statistics.nc, for scores of all variables together",
    )
    parser.add_argument(
        "--interpolate-truth",
        action="store_true",
        help="take the truth to the forecast's grid where they differ",
    )
    parser.add_argument(
        "--mask",
        choices=("truth", "common"),
        default="truth",
        help="cells that are scored: all with truth, or those that the forecast has too",
    )
    parser.add_argument(
        "--families",
        nargs="+",
        default=[],
        metavar="FAMILY",
        help="scores beside those of the fields, as evaluation.families in a configuration",
    )


def add_forecasts(parser: argparse.ArgumentParser, default: Any = None) -> None:
    """Add the options that name forecasts, what is put beside them, and the output.

    Args:
        parser: Of the command.
        default: Of all of them.
    """
    one: dict[str, Any] = {"type": Path, "metavar": "STORE", "default": default}
    several = {**one, "nargs": "+"}
    parser.add_argument("--forecast", **several, help="forecasts of one system")
    parser.add_argument("--truth", **several, help="daily fields to score against")
    parser.add_argument("--climatology", **one, help="daily climatology, dayofyear 1 to 365")
    parser.add_argument("--damping", **one, help="damping.nc, for damped persistence")
    parser.add_argument(
        "--baselines",
        nargs="+",
        default=default,
        metavar="BASELINE",
        help="persistence, climatology, damped_persistence (default: all that are possible)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=default,
        metavar="DIR",
        help="folder of the tables (default: results/NAME/scores)",
    )
    parser.add_argument(
        "--name", default=default, help="name of the system (default: of the first file)"
    )


def add_regions(parser: argparse.ArgumentParser, default: Any) -> None:
    """Add the options that name regions.

    Args:
        parser: Of the command.
        default: Of both.
    """
    parser.add_argument(
        "--region",
        type=region,
        action="append",
        default=default,
        dest="regions",
        metavar="NAME=S,N,W,E",
        help="score a box in degrees too; may be repeated",
    )
    parser.add_argument(
        "--named-region",
        action="append",
        default=default,
        dest="named_regions",
        metavar="NAME",
        help="score a region known by name too; may be repeated",
    )


def region(text: str) -> tuple[str, tuple[float, ...]]:
    """Parse `NAME=S,N,W,E`; argparse turns the error into a message."""
    name, _, box = text.partition("=")
    try:
        south, north, west, east = (float(number) for number in box.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a box; write it as tropics=-23,23,-180,180"
        ) from None
    return name, (south, north, west, east)


def only_commands(group: argparse._SubParsersAction) -> None:
    """Refuse options of files in front of a command, which does not look at them."""
    for name, child in group.choices.items():
        child.set_defaults(run=_alone(name, child.get_default("run")))


def _alone(name: str, run: Run) -> Run:
    def checked(args: argparse.Namespace) -> None:
        given = [key for key in ("forecast", "members", "truth") if getattr(args, f"{key}", None)]
        if given and name != "observations":
            raise UserError(f"--{given[0]} stands before the command {name}; give one of them")
        run(args)

    return checked


def run_files(args: argparse.Namespace) -> None:
    """Score files."""
    stores: Sequence[Path] = args.forecast or args.members or ()
    if not stores or not args.truth or (args.forecast and args.members):
        args.parser.error("give a command, or --forecast or --members, and --truth")
    output = folder(args, stores)
    if (output / "scores.parquet").exists() and not (output / "sources.json").exists():
        raise UserError(
            f"{output}: holds the scores of an experiment; choose another --name or --output"
        )
    with common.exclusive(output / "sources.json"):
        if args.members:
            _refuse_for_members(args)
            from hybridom.evaluation.ensembles import evaluate_members

            evaluate_members(files(args, stores), output, settings(args))
            return
        from hybridom.evaluation.external.run import Wanted, evaluate_files

        chosen = None if args.baselines is None else tuple(args.baselines)
        name = args.name or stores[0].stem
        given = args.thresholds, args.statistics
        wanted = Wanted(name, output, settings(args), chosen, *given)
        evaluate_files(files(args, stores), wanted)


def folder(args: argparse.Namespace, stores: Sequence[Path]) -> Path:
    """The folder of the tables."""
    return args.output or Path("results") / (args.name or stores[0].stem) / "scores"


def _refuse_for_members(args: argparse.Namespace) -> None:
    for key in ("climatology", "damping", "thresholds", "statistics", "baselines", "families"):
        if getattr(args, key):
            raise UserError(
                f"--{key}: scores of ensembles use none; leave it out, or score the members one by "
                "one with --forecast"
            )


def files(args: argparse.Namespace, stores: Sequence[Path]) -> Files:
    """The files that were named."""
    from hybridom.evaluation.external.opening import Files

    return Files(
        *(tuple(stores), tuple(args.truth), args.climatology, args.damping),
        *(args.mask, args.interpolate_truth),
    )


def settings(args: argparse.Namespace) -> EvaluationConfig:
    """Families, baselines and regions that were named.

    Raises:
        UserError: One of them is unknown.
    """
    from pydantic import ValidationError

    from hybridom.config.output import EvaluationConfig

    wanted = {
        "families": tuple(args.families),
        "regions": dict(args.regions),
        "named_regions": tuple(args.named_regions),
        **({} if args.baselines is None else {"baselines": tuple(args.baselines)}),
    }
    try:
        return EvaluationConfig.model_validate(wanted)
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        raise UserError(
            f"--{option}: {first.get('input')!r} is refused: {first['msg']}; correct it"
        ) from None
