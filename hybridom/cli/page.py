"""`hybridom page`."""

from __future__ import annotations

import argparse
from pathlib import Path

from hybridom.cli import common

# Of the clone that this file lies in, wherever the command is run.
CAPTIONS = Path(__file__).parents[2] / "workflow" / "report"


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add `page` to the command line."""
    page = common.add_command(
        commands,
        "page",
        "put all tables and figures on one page",
        "hybridom page --config config/demo.yaml",
        "The page, results/<experiment>/page.html, is one file that needs no other.",
    )
    page.add_argument(
        "--captions",
        type=Path,
        default=CAPTIONS,
        metavar="DIR",
        help="folder of the captions (default: workflow/report of the project)",
    )
    page.add_argument(
        "--gallery",
        type=Path,
        metavar="DIR",
        help="write the figures as small images, and a table of them, to DIR instead",
    )
    page.set_defaults(run=run_page)


def run_page(args: argparse.Namespace) -> None:
    """Write the page or the gallery."""
    config, layout = common.load(args, "page")
    if args.gallery is not None:
        from hybridom.page.gallery import INDEX, write_gallery

        with common.exclusive(args.gallery / INDEX):
            write_gallery(config, layout, args.gallery)
        return
    from hybridom.page.experiment import write_page

    with common.exclusive(layout.page):
        write_page(config, layout, args.captions)
