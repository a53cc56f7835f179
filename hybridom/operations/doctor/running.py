"""Whether another run is at work here."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path

from hybridom.operations.doctor.findings import Case, Checks, Finding, ok, warn

# The lock that the Snakefile holds while it runs.
LOCK = Path(".snakemake/hybridom.lock")


def checks(case: Case) -> Checks:
    """The checks of this group."""
    return (("lock", lock),)


def lock(case: Case) -> Iterator[Finding]:
    """Whether a Snakemake holds this directory."""
    try:
        # Locks on network file systems want a file that is open for writing.
        with LOCK.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        yield ok("lock", "no run has been started here yet")
    except BlockingIOError:
        yield warn(
            "lock",
            "a snakemake is running in this directory",
            "wait for it, or stop it, before you start another",
        )
    else:
        yield ok("lock", "no snakemake is running in this directory")
