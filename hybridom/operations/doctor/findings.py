"""What a check finds, and what it looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from hybridom.config import Config
from hybridom.errors import UserError
from hybridom.layout import Layout

Status = Literal["ok", "warn", "fail", "skip"]


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        status: `fail` would stop a run, `warn` may spoil it, `skip` was not checked.
        name: What was looked at.
        found: What is there.
        remedy: What to do, for `warn` and `fail`.
    """

    status: Status
    name: str
    found: str
    remedy: str = ""

    @property
    def line(self) -> str:
        """The finding as it is printed."""
        text = f"{self.name}: {self.found}" + (f"; {self.remedy}" if self.remedy else "")
        return f"  {self.status:<4}  {' '.join(text.split())}"


@dataclass(frozen=True)
class Case:
    """What is examined.

    Attributes:
        config: The whole configuration.
        file: Where it was read from.
        profile: Snakemake profile, as its user names it.
    """

    config: Config
    file: Path
    profile: Path

    @cached_property
    def layout(self) -> Layout:
        """Where its files live."""
        return Layout(self.config)


Findings = Iterable[Finding]
Check = Callable[[Case], Findings]
Checks = Iterable[tuple[str, Check]]


def ok(name: str, found: str) -> Finding:
    """All is well."""
    return Finding("ok", name, found)


def skip(name: str, why: str) -> Finding:
    """It was not checked."""
    return Finding("skip", name, why)


def warn(name: str, found: str, remedy: str) -> Finding:
    """It may spoil a run, or hold one up."""
    return Finding("warn", name, found, remedy)


def fail(name: str, found: str, remedy: str) -> Finding:
    """It would stop a run."""
    return Finding("fail", name, found, remedy)


def guarded(name: str, check: Check, case: Case) -> Findings:
    """The findings of one check; if it breaks, that is a finding, and the others go on."""
    try:
        yield from check(case)
    except UserError as error:
        yield Finding("fail", name, str(error))
    except Exception as error:
        yield fail(
            name,
            f"the check itself broke: {type(error).__name__}: {error}",
            "please report it with this line",
        )


def spans(years: Iterable[int]) -> str:
    """Years in words, such as `1993-2001, 2004`."""
    runs: list[list[int]] = []
    for year in sorted(years):
        if runs and year == runs[-1][1] + 1:
            runs[-1][1] = year
        else:
            runs.append([year, year])
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)
