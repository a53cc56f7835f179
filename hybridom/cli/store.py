"""`hybridom store`: check, describe and repair stores."""

from __future__ import annotations

import argparse
from pathlib import Path

from hybridom.cli import common
from hybridom.errors import UserError


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add `store` to the command line."""
    example = "resources/global_05/state/2001.zarr"
    group = common.add_group(
        commands, "store", "check, describe and repair stores", f"hybridom store check {example}"
    )
    for name, summary, details, run in (
        (
            "check",
            "compare every chunk of stores with the digests in their manifests",
            "Wet cells without value are found too, where grid.nc lies beside the store or one "
            "folder above. Faults are printed one a line, and the exit status is then 2.",
            run_check,
        ),
        ("info", "print what stores hold, their size and where they come from", "", run_info),
    ):
        texts = common.texts(summary, f"hybridom store {name} {example}", details)
        parser = group.add_parser(name, **texts)
        parser.add_argument("--verbose", action="store_true", help="log more")
        add_paths(parser)
        parser.set_defaults(run=run)
    repair = common.add_command(
        group,
        "repair",
        "make the damaged days of stores again, and only those",
        f"hybridom store repair {example} --config config/global_05.yaml",
        "The stage that made a store is run with the given configuration.",
    )
    add_paths(repair)
    repair.set_defaults(run=run_repair)


def add_paths(parser: argparse.ArgumentParser) -> None:
    """Add the stores that a command works on."""
    parser.add_argument(
        "paths", type=Path, nargs="+", metavar="PATH", help="a store NAME.zarr, or their folder"
    )


def run_check(args: argparse.Namespace) -> None:
    """Print the faults of all stores."""
    from hybridom.data.stores.checking import check_store, stores_in

    faults = []
    for path in (store for folder in args.paths for store in stores_in(folder)):
        found = check_store(path)
        faults += found
        if not found:
            print(f"{path}: sound", flush=True)
    if faults:
        raise UserError(
            "\n".join(
                [*map(str, faults), f"{len(faults)} faults; mend them with `hybridom store repair`"]
            )
        )


def run_info(args: argparse.Namespace) -> None:
    """Print what all stores hold."""
    from hybridom.data.stores.checking import stores_in
    from hybridom.data.stores.info import describe

    for path in (store for folder in args.paths for store in stores_in(folder)):
        print(describe(path), flush=True)


def run_repair(args: argparse.Namespace) -> None:
    """Make damaged slabs again, one store after another."""
    from hybridom.config import load
    from hybridom.data.stores.checking import stores_in
    from hybridom.data.stores.repairing import repair_store
    from hybridom.layout import Layout

    config = load(args.config, args.overrides)
    layout = Layout(config)
    for path in (store for folder in args.paths for store in stores_in(folder)):
        with common.exclusive(path.with_suffix(".json")):
            for fault in repair_store(config, layout, path):
                print(f"{fault}: made again")
        print(f"{path}: sound", flush=True)
