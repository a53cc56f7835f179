"""`hybridom export`: prepared data in formats that other programs read."""

from __future__ import annotations

import argparse
from pathlib import Path

from hybridom.cli import common
from hybridom.cli.data import years


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add `export` to the command line."""
    group = common.add_group(
        commands,
        "export",
        "write prepared data in other formats",
        "hybridom export published --config config/demo.yaml --output published",
    )
    for name, summary, details, run in EXPORTS:
        year = " --year 2001" if name == "published" else ""
        example = f"hybridom export {name} --config config/demo.yaml --output published{year}"
        parser = common.add_command(group, name, summary, example, details)
        parser.add_argument(
            "--output", type=Path, required=True, metavar="DIR", help="their folder"
        )
        if name == "published":
            common.add_year(parser)
        parser.set_defaults(run=run)


def run_published(args: argparse.Namespace) -> None:
    """Write the files of one year; or mask, climatology and the files of every year."""
    from hybridom.data.published import writing

    # The sections that say how the stores were made, and nothing of what is done with them.
    config, layout = common.load(args, "climatology")
    if args.year is None:
        run_mask(args)
        run_climatology(args)
    with common.exclusive(args.output / "extremes"):
        writing.find_extremes(config, layout, args.output)
    for year in years(args, config):
        with common.exclusive(args.output / f"year_{year}"):
            writing.export_year(config, layout, year, args.output)


def run_climatology(args: argparse.Namespace) -> None:
    """Write the climatology."""
    from hybridom.data.published import writing

    config, layout = common.load(args, "climatology")
    with common.exclusive(args.output / "climatology"):
        writing.export_climatology(config, layout, args.output)


def run_mask(args: argparse.Namespace) -> None:
    """Write the masks."""
    from hybridom.data.published import writing

    config, layout = common.load(args, "climatology")
    with common.exclusive(args.output / "mask"):
        writing.export_mask(config, layout, args.output)


EXPORTS = (
    (
        "published",
        "write the yearly HDF5 files of the published release, its climatology and masks",
        "With --year: the files of that year only, which jobs may write side by side. A call that "
        "was stopped goes on at the day where it was. The state file needs sea ice in the stores "
        "(source.sea_ice) and winds in the forcing set, the file of fluxes fluxes8 or bulk8.",
        run_published,
    ),
    ("climatology", "write climate_mean_s_t_ssh.npy of the published release", "", run_climatology),
    ("mask", "write mask_05.npy and mask_05_ori.npy of the published release", "", run_mask),
)
