"""`hybridom config`: show, describe and split the configuration."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from hybridom.cli import common
from hybridom.errors import UserError


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add `config` to the command line."""
    group = common.add_group(
        commands,
        "config",
        "show, describe and split the configuration",
        "hybridom config show --config config/test.yaml",
    )
    show = common.add_command(
        group,
        "show",
        "print the resolved configuration, defaults included",
        "hybridom config show --config config/test.yaml --set training.batch=2",
    )
    show.set_defaults(run=run_show)
    schema = group.add_parser(
        "schema",
        **common.texts(
            "print the JSON schema of the configuration", "hybridom config schema > schema.json"
        ),
    )
    schema.set_defaults(run=run_schema, verbose=False)
    stage = common.add_command(
        group,
        "stage",
        "write the part of the configuration that one stage uses",
        "hybridom config stage train --config config/demo.yaml --output train.yaml",
        "The file that is written is itself a configuration for the commands of that stage.",
    )
    stage.add_argument("stage", metavar="STAGE", help="for example train or figures")
    stage.add_argument(
        "--files",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="configurations of several experiments, in place of --config",
    )
    stage.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=[],
        metavar="N",
        help="an experiment for each value of training.seed, named <experiment>_seed<N>",
    )
    stage.add_argument(
        "--experiment", metavar="NAME", help="which of several experiments (default: the first)"
    )
    stage.add_argument("--output", type=Path, required=True, metavar="FILE", help="where to")
    stage.set_defaults(run=run_stage)


def run_show(args: argparse.Namespace) -> None:
    """Print the whole configuration as YAML."""
    import yaml

    from hybridom.config import load

    config = load(args.config, args.overrides)
    yaml.safe_dump(config.model_dump(mode="json"), sys.stdout, sort_keys=False)
    sys.stdout.flush()


def run_schema(args: argparse.Namespace) -> None:
    """Print the JSON schema."""
    from hybridom.config import json_schema

    print(json.dumps(json_schema(), indent=2), flush=True)


def run_stage(args: argparse.Namespace) -> None:
    """Write the sections of one stage."""
    from hybridom.config import STAGES, load_experiments, write_stage

    if args.stage not in STAGES:
        raise UserError(f"stage {args.stage!r} is unknown; choose one of {', '.join(STAGES)}")
    experiments = load_experiments(args.files or [args.config], args.overrides, args.seeds)
    name = args.experiment or next(iter(experiments))
    if name not in experiments:
        raise UserError(f"--experiment: no {name!r}; there are {', '.join(experiments)}")
    write_stage(experiments[name], args.stage, args.output)
