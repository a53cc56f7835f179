"""What a validation finds, a line each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that is not as OceanBench expects it.

    Attributes:
        error: Whether scores would be wrong or refused; else it is a warning.
        name: Variable, coordinate or property.
        found: What is there.
        expected: What OceanBench expects.
        action: What to do.
    """

    error: bool
    name: str
    found: str
    expected: str
    action: str


class Findings:
    """Findings of several stores; the same one in many stores is told once."""

    def __init__(self) -> None:
        self._where: dict[Finding, list[str]] = {}

    def add(self, store: str, findings: Iterable[Finding]) -> bool:
        """Take in the findings of one store; returns whether one is an error."""
        errors = False
        for finding in findings:
            errors |= finding.error
            stores = self._where.setdefault(finding, [])
            if store not in stores:
                stores.append(store)
        return errors

    @property
    def errors(self) -> list[str]:
        """A line for every error."""
        return [_line(f, stores) for f, stores in self._where.items() if f.error]

    @property
    def warnings(self) -> list[str]:
        """A line for every warning."""
        return [_line(f, stores) for f, stores in self._where.items() if not f.error]


def _line(finding: Finding, stores: list[str]) -> str:
    more = f" and {len(stores) - 1} more" if len(stores) > 1 else ""
    return (
        f"{stores[0]}{more}: {finding.name}: {finding.found} found, {finding.expected} expected; "
        f"{finding.action}"
    )


def error(name: str, found: str, expected: str, action: str) -> Finding:
    """An error."""
    return Finding(True, name, found, expected, action)


def warning(name: str, found: str, expected: str, action: str) -> Finding:
    """A warning."""
    return Finding(False, name, found, expected, action)
