"""Baselines that several experiments were scored beside, and that stand beside them here too."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from hybridom.compare.sources import TOLERANCE, Experiment, error_apart
from hybridom.evaluation.families import SCORES

# Shown where all have them: what a region gets for nothing, and what any forecast has to beat.
REFERENCES = ("driver", "persistence")


def common_references(experiments: Sequence[Experiment]) -> tuple[list[str], list[str]]:
    """Baselines of `REFERENCES` that have the same errors in all experiments.

    Args:
        experiments: Any.

    Returns:
        Their names, and sentences on those that all have with other errors.
    """
    first, names, notes = experiments[0], [], []
    for name in REFERENCES:
        if not all((one.tables[SCORES]["system"] == name).any() for one in experiments):
            continue
        apart = {other.label: error_apart(name, first, other) for other in experiments[1:]}
        worst = max(apart, key=lambda label: apart[label] or 0.0)
        found = apart[worst] or 0.0
        if found > TOLERANCE:
            notes.append(
                f"{name} is not shown beside the experiments: its errors in {worst} differ from "
                f"those in {first.label} by up to {100 * found:.2g} %"
            )
        else:
            names.append(name)
    return names, notes


def reference_rows(
    experiment: Experiment, family: str, names: Sequence[str]
) -> dict[str, pd.DataFrame]:
    """Rows of some baselines of one experiment, by name."""
    table = experiment.tables[family]
    return {name: table[table["system"] == name].drop(columns="system") for name in names}
