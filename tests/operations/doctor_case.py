"""What the tests of `hybridom doctor` share: a case, its findings, stand-ins for commands."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from hybridom.config import load
from hybridom.operations.doctor.findings import Case, Check, Finding, guarded

ROOT = Path(__file__).parents[2]
TEST = ROOT / "config" / "test.yaml"


def case(*overrides: str, profile: Path = Path("slurm"), file: Path = TEST) -> Case:
    """A case of the tiny configuration."""
    return Case(load(file, overrides), file, profile)


def findings(check: Check, of: Case) -> list[Finding]:
    """All that a check finds."""
    return list(guarded("check", check, of))


def only(check: Check, of: Case) -> Finding:
    """The one thing that a check finds."""
    found = findings(check, of)
    assert len(found) == 1, found
    return found[0]


def statuses(found: Sequence[Finding]) -> list[str]:
    """The statuses alone."""
    return [finding.status for finding in found]


def command(folder: Path, name: str, printed: str = "", status: int = 0, error: str = "") -> None:
    """Put a program into a folder that prints what the real one printed once."""
    folder.mkdir(exist_ok=True)
    file = folder / name
    lines = ["#!/bin/sh"]
    lines += [f"printf %s {shlex.quote(printed)}"] if printed else []
    lines += [f"printf %s {shlex.quote(error)} >&2"] if error else []
    file.write_text("\n".join([*lines, f"exit {status}", ""]))
    file.chmod(0o755)
