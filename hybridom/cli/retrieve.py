"""`hybridom retrieve`: GLORYS12V1 and ERA5 from their data stores."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from hybridom.cli import common
from hybridom.errors import UserError

if TYPE_CHECKING:
    from hybridom.config import StageConfig
    from hybridom.layout import Layout
    from hybridom.retrieve.fetching import Fetcher
    from hybridom.retrieve.plan import Job


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add `retrieve` to the command line."""
    group = common.add_group(
        commands,
        "retrieve",
        "fetch GLORYS12V1 and ERA5, as section `download` says",
        "hybridom retrieve ocean --config my.yaml --month 1993-01",
    )
    for name, summary, run in (
        ("ocean", "fetch the ocean: original files or subsets of GLORYS12V1", run_ocean),
        ("forcing", "fetch the atmosphere: hourly files or daily means of ERA5", run_forcing),
        ("static", "fetch the static files of GLORYS12V1", run_static),
    ):
        month = "" if name == "static" else " --month 1993-01"
        parser = common.add_command(
            group,
            name,
            summary,
            f"hybridom retrieve {name} --config my.yaml{month} --dry-run",
            "What is there already, whole and as asked for, is kept. Needs "
            "`pip install 'hybridom[download]'`, and the credentials that the clients find by "
            "themselves.",
        )
        if month:
            parser.add_argument(
                "--month",
                type=month_text,
                metavar="YYYY-MM",
                help="this month only (default: all months of the periods)",
            )
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="print what would be fetched and its estimated size; needs no network",
        )
        parser.set_defaults(run=run)


def month_text(text: str) -> str:
    """Check `YYYY-MM`; argparse turns the error into a message."""
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a month; write it as 1993-01")
    return text


def load(args: argparse.Namespace) -> tuple[StageConfig, Layout]:
    """The configuration of a retrieval, and its paths."""
    config, layout = common.load(args, "download")
    if config.source.kind != "download":
        raise UserError(
            f"{args.config}: source.kind is {config.source.kind!r}, so nothing is to be fetched; "
            "set source.kind: download"
        )
    return config, layout


def run_ocean(args: argparse.Namespace) -> None:
    """Fetch one month of the ocean, or all."""
    from hybridom.retrieve import ocean

    config, layout = load(args)
    months = [args.month] if args.month else config.periods.months()
    jobs = [ocean.ocean_job(config, layout, month) for month in months]
    original = config.download.ocean == "original"
    run(args, jobs, ocean.fetch_originals if original else ocean.fetch_subsets)


def run_forcing(args: argparse.Namespace) -> None:
    """Fetch one month of the atmosphere, or all."""
    from hybridom.retrieve import arco, cds

    config, layout = load(args)
    months = [args.month] if args.month else config.periods.months()
    daily = config.download.atmosphere == "arco"
    make = arco.forcing_job if daily else cds.forcing_job
    jobs = [make(config, layout, month) for month in months]
    run(args, jobs, arco.fetch_daily if daily else cds.fetch_hourly)


def run_static(args: argparse.Namespace) -> None:
    """Fetch the static files of the ocean."""
    from hybridom.retrieve import ocean

    config, layout = load(args)
    run(args, [ocean.static_job(config, layout)], ocean.fetch_originals)


def run(args: argparse.Namespace, jobs: list[Job], fetch: Fetcher) -> None:
    """Fetch some jobs one after another, or print what they would fetch."""
    from hybridom.retrieve import fetching, report

    if args.dry_run:
        print(report.table([fetching.outstanding(job) for job in jobs]), flush=True)
        return
    for job in jobs:
        with common.exclusive(job.manifest):
            fetching.run(job, fetch)
