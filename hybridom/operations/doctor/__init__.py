"""`hybridom doctor`: is everything there that a run needs?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hybridom.config import Config
from hybridom.operations.doctor import (
    accelerators,
    access,
    cluster,
    data,
    disk,
    environment,
    running,
)
from hybridom.operations.doctor.findings import Case, Checks, guarded

GROUPS: tuple[tuple[str, Callable[[Case], Checks]], ...] = (
    ("environment", environment.checks),
    ("GPUs and processes", accelerators.checks),
    ("disk", disk.checks),
    ("credentials", access.checks),
    ("data", data.checks),
    ("cluster", cluster.checks),
    ("runs", running.checks),
)


def examine(config: Config, file: Path, profile: Path) -> bool:
    """Print one line for each check: `ok`, `warn`, `fail` or `skip`, what was found, what to do.

    Nothing is changed; what the checks write to try a folder is removed at once.

    Args:
        config: The whole configuration.
        file: Where it was read from.
        profile: Snakemake profile, checked where there is SLURM.

    Returns:
        Whether no check failed.
    """
    case = Case(config, file, profile)
    print(f"experiment {config.experiment} ({file})")
    count = {"ok": 0, "warn": 0, "fail": 0, "skip": 0}
    for title, checks in GROUPS:
        print(f"\n{title}", flush=True)
        for name, check in checks(case):
            for finding in guarded(name, check, case):
                count[finding.status] += 1
                print(finding.line, flush=True)
    print("\n" + ", ".join(f"{number} {status}" for status, number in count.items()))
    return not count["fail"]
