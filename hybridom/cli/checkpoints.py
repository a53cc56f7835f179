"""`hybridom model`: what a checkpoint is, and its weights for other programs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hybridom.cli import common


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add `model` to the command line."""
    group = common.add_group(
        commands,
        "model",
        "describe a checkpoint, or export its weights",
        "hybridom model info results/demo/train/checkpoint.pt",
    )
    info = add_command(
        group,
        "info",
        "print what a checkpoint is: version, grid, networks, training",
        "hybridom model info results/demo/train/checkpoint.pt --json",
    )
    info.add_argument("--json", action="store_true", help="as JSON")
    info.set_defaults(run=run_info)
    export = add_command(
        group,
        "export",
        "write the weights with configuration and statistics as safetensors",
        "hybridom model export results/demo/train/checkpoint.pt --output demo.safetensors",
        "Of a resumable checkpoint, the averaged weights where there are any.",
    )
    export.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="ends in .safetensors"
    )
    export.set_defaults(run=run_export)


def add_command(
    group: argparse._SubParsersAction, name: str, summary: str, example: str, details: str = ""
) -> argparse.ArgumentParser:
    """Add a command that takes a checkpoint instead of a configuration."""
    parser: argparse.ArgumentParser = group.add_parser(
        name, **common.texts(summary, example, details)
    )
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help=".pt or .safetensors")
    parser.add_argument("--verbose", action="store_true", help="log more")
    return parser


def run_info(args: argparse.Namespace) -> None:
    """Print the model card."""
    from hybridom import checkpoint

    card = checkpoint.describe(args.checkpoint)
    print(json.dumps(card, indent=1) if args.json else "\n".join(lines(card)), flush=True)


def lines(card: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """Nested values as indented lines, a list on one."""
    for name, value in card.items():
        label = f"{indent}{name.replace('_', ' ')}:"
        if isinstance(value, Mapping):
            yield label
            yield from lines(value, f"{indent}  ")
        else:
            yield f"{label} {text(value)}"


def text(value: Any) -> str:
    """One value as people read it."""
    if isinstance(value, list):
        return ", ".join(text(item) for item in value)
    if isinstance(value, Mapping):
        return " ".join(f"{name} {text(item)}" for name, item in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def run_export(args: argparse.Namespace) -> None:
    """Write the safetensors file."""
    from hybridom import checkpoint

    checkpoint.export(checkpoint.load_model(args.checkpoint), args.output)
