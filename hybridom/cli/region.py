"""`hybridom region`: how a region fits into its driver, and what its gate did."""

from __future__ import annotations

import argparse

from hybridom.cli import common
from hybridom.errors import UserError


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add `region` to the command line."""
    example = "--config config/demo_region.yaml"
    group = common.add_group(
        commands,
        "region",
        "check a region against its driver, and show what its gate did",
        f"hybridom region check {example}",
    )
    check = common.add_command(
        group,
        "check",
        "check that the region fits into the grid of its driver",
        f"hybridom region check {example}",
        "The report beside the grid file says how the cells lie to one another and how many of "
        "them take a value that is continued from the nearest wet cell of the driver.",
    )
    check.set_defaults(run=run_check)
    gate = common.add_command(
        group,
        "gate",
        "write the weights that the gate gave along a forecast",
        f"hybridom region gate {example} --start 2004-03-01",
        "From the stored forecast; nothing is forecast again.",
    )
    common.add_start(gate)
    gate.set_defaults(run=run_gate)


def run_check(args: argparse.Namespace) -> None:
    """Write the report and print it in one line."""
    from hybridom.data.driver import Driver
    from hybridom.data.prepare import model_grid
    from hybridom.files import write_json

    config, layout = common.load(args, "region")
    if config.region is None:
        raise UserError(f"{args.config}: no section region, so nothing to check; add it")
    with common.exclusive(layout.region_check):
        grid, wet = model_grid(config, layout)
        found = Driver(layout, grid, wet).registration.report()
        write_json(layout.region_check, found)
    count, away = found["continued_cells"], f", from up to {found['furthest_km']:.0f} km away"
    print(
        f"{layout.region_check}: {found['ratio']:g} cells of {config.grid.name} along one of "
        f"{config.region.driver.grid}, {count or 'none'} of {found['wet_cells']} wet cells "
        f"continued{away if count else ''}",
        flush=True,
    )


def run_gate(args: argparse.Namespace) -> None:
    """Write the weights of one forecast or of all."""
    from hybridom.gate_weights import write_gate_weights

    config, layout = common.load(args, "gate")
    for start in common.starts(args, config):
        with common.exclusive(layout.gate_weights(start)):
            write_gate_weights(config, layout, start)
