"""`hybridom twin` and `hybridom prepare`: raw data and the stores made from it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from hybridom.cli import common
from hybridom.errors import UserError

if TYPE_CHECKING:
    from hybridom.config import StageConfig


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add `twin` and `prepare` to the command line."""
    twin = common.add_command(
        commands,
        "twin",
        "simulate the embedded ocean and write it as daily product files",
        "hybridom twin --config config/demo.yaml --year 2001 --set twin.degrees=2",
        "Years follow one another: a year starts from the end of the year before it.",
    )
    common.add_year(twin)
    twin.set_defaults(run=run_twin)
    add_twin_states(twin)

    prepare = common.add_group(
        commands,
        "prepare",
        "check raw files and put them on the model grid",
        "hybridom prepare all --config config/demo.yaml",
    )
    for name, summary, yearly, run in PREPARATIONS:
        year = " --year 2001" if yearly else ""
        parser = common.add_command(
            prepare, name, summary, f"hybridom prepare {name} --config config/demo.yaml{year}"
        )
        if yearly:
            common.add_year(parser)
        if name in ("state", "all"):
            common.add_threads(parser)
        parser.set_defaults(run=run)


def add_twin_states(twin: argparse.ArgumentParser) -> None:
    """Add `twin states`, which makes the start states that the package keeps."""
    actions = twin.add_subparsers(title="commands", metavar="COMMAND", required=False)
    states = common.add_command(
        actions,
        "states",
        "spin up and write the state of 1 January of each simulated year",
        "hybridom twin states --config config/demo.yaml --output states --spinup-years 15",
        "Hours of work; a call that was stopped goes on at the last month that it finished.",
    )
    states.add_argument("--output", type=Path, required=True, metavar="DIR", help="their folder")
    begin = states.add_mutually_exclusive_group()
    begin.add_argument(
        "--spinup-years",
        type=int,
        default=20,
        metavar="N",
        help="years from rest before the first state (default: %(default)s)",
    )
    begin.add_argument(
        "--from-restart", type=Path, metavar="FILE", help="Veros restart to begin with instead"
    )
    states.set_defaults(run=run_twin_states)


def run_twin_states(args: argparse.Namespace) -> None:
    """Write the start states of all years of the configuration."""
    from hybridom.twin.states import write_states

    config, _ = common.load(args, "twin")
    with common.exclusive(args.output / "states"):
        write_states(
            config.twin, config.twin.years, args.output, args.from_restart, args.spinup_years
        )


def run_twin(args: argparse.Namespace) -> None:
    """Simulate one year, or every year in turn."""
    from hybridom.twin import run

    config, layout = common.load(args, "twin")
    for year in config.twin.years if args.year is None else [args.year]:
        with common.exclusive(layout.twin_manifest(year)):
            run.run_year(config, layout, year)


def years(args: argparse.Namespace, config: StageConfig) -> list[int]:
    """The year asked for, or all years that the periods touch."""
    known = config.periods.years
    if args.year is None:
        return known
    if args.year not in known:
        raise UserError(f"--year {args.year}: the periods need {known[0]} to {known[-1]} only")
    return [args.year]


def run_check(args: argparse.Namespace) -> None:
    """Check the raw files of each year and write its report."""
    from hybridom.data import checks

    config, layout = common.load(args, "check")
    for year in years(args, config):
        with common.exclusive(layout.check_report(year)):
            checks.check_year(config, layout, year)


def run_grid(args: argparse.Namespace) -> None:
    """Write the grid with its wet mask."""
    from hybridom.data import prepare

    config, layout = common.load(args, "grid")
    with common.exclusive(layout.grid_file):
        prepare.prepare_grid(config, layout)


def run_state(args: argparse.Namespace) -> None:
    """Regrid the ocean state, year by year."""
    from hybridom.data import prepare

    config, layout = common.load(args, "state")
    for year in years(args, config):
        with common.exclusive(layout.state_manifest(year)):
            prepare.prepare_state(config, layout, year, common.threads(args))


def run_forcing(args: argparse.Namespace) -> None:
    """Regrid the forcing, year by year."""
    from hybridom.data import prepare

    config, layout = common.load(args, "state")
    for year in years(args, config):
        with common.exclusive(layout.forcing_manifest(year)):
            prepare.prepare_forcing(config, layout, year)


def run_climatology(args: argparse.Namespace) -> None:
    """Make the daily climatology of the training period."""
    from hybridom.data import prepare

    config, layout = common.load(args, "climatology")
    with common.exclusive(layout.climatology_manifest):
        prepare.prepare_climatology(config, layout)


def run_statistics(args: argparse.Namespace) -> None:
    """Make the statistics of the training period."""
    from hybridom.data import prepare

    config, layout = common.load(args, "climatology")
    with common.exclusive(layout.statistics_file):
        prepare.prepare_statistics(config, layout)


def run_percentiles(args: argparse.Namespace) -> None:
    """Make the thresholds of extremes of the training period."""
    from hybridom.data import prepare

    config, layout = common.load(args, "percentiles")
    with common.exclusive(layout.percentiles_manifest):
        prepare.prepare_percentiles(config, layout)


def run_all(args: argparse.Namespace) -> None:
    """Run every preparation in order, for all years; thresholds where scores ask for them."""
    args.year = None
    steps = [run_check, run_grid, run_state, run_forcing, run_climatology, run_statistics]
    config, _ = common.load(args, "evaluate")
    if config.evaluation.needs_thresholds:
        steps.append(run_percentiles)
    for step in steps:
        step(args)


PREPARATIONS = (
    ("check", "check the raw files of each year before any long work", True, run_check),
    ("grid", "write the model grid and its wet mask", False, run_grid),
    ("state", "regrid the ocean state onto the model grid", True, run_state),
    ("forcing", "regrid the forcing onto the model grid", True, run_forcing),
    ("climatology", "make the daily climatology of the training period", False, run_climatology),
    ("statistics", "make the normalisation statistics", False, run_statistics),
    ("percentiles", "make the thresholds of extremes", False, run_percentiles),
    ("all", "run every preparation, for all years", False, run_all),
)
