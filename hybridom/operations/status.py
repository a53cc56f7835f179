"""Where an experiment stands, on one screen. Nothing is changed, and no large file is opened."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from hybridom.config import Config
from hybridom.layout import Layout
from hybridom.operations import status_jobs, status_stages, status_training
from hybridom.operations.changes import changed_options
from hybridom.operations.failures import summary
from hybridom.operations.status_words import age

SLURM_LOGS = Path("logs/slurm")
PARTIAL = ".partial"
CHANGES_SHOWN = 6


def describe(config: Config) -> str:
    """Stages, changed options, training, jobs, failures and leftovers of an experiment.

    Args:
        config: Its configuration; paths are relative to the working directory.
    """
    layout = Layout(config)
    changes = changed_options(config)
    table = status_stages.table(status_stages.stages(config, layout), changes)
    sections = {
        f"experiment {config.experiment}": table,
        "regions": [f"{x}: hybridom status --config {x}" for x in _regions(config)],
        "changed options": list(_changed(changes)),
        "training": status_training.lines(config, layout, "train" in changes),
        "jobs": status_jobs.lines(Path("logs") / config.experiment),
        "failures of the last run": list(_failures()),
        "unfinished, a next run goes on from there": list(_leftovers(config, layout)),
    }
    parts = [
        "\n".join([name, *(f"  {x}" for x in said)]) for name, said in sections.items() if said
    ]
    return "\n\n".join(parts)


def _regions(config: Config) -> Iterator[str]:
    for files in config.regions:
        yield from shlex.split(files)


def _changed(changes: dict[str, list[str]]) -> Iterator[str]:
    """Options by the stages that they concern, each set of options once."""
    concerned: dict[tuple[str, ...], list[str]] = {}
    for stage, options in changes.items():
        concerned.setdefault(tuple(options), []).append(stage)
    for lines, names in concerned.items():
        yield f"{', '.join(names)}, and what follows:"
        yield from (f"  {line}" for line in lines[:CHANGES_SHOWN])
        if len(lines) > CHANGES_SHOWN:
            yield f"  and {len(lines) - CHANGES_SHOWN} more"


def _failures() -> Iterator[str]:
    for log in status_jobs.recent_runs()[:1]:
        found = summary(log, SLURM_LOGS)
        yield from found
        if found:
            yield f"more in {log}"


def _leftovers(config: Config, layout: Layout) -> Iterator[str]:
    """Stores that are half written, and folders of half fetched files."""
    folders = [layout.resources_dir, layout.experiment_dir]
    if config.source.kind in ("twin", "download"):
        folders += [layout.ocean_dir, layout.forcing_dir, layout.twin_dir]
    for path in sorted({path for folder in folders for path in partial_folders(folder)}):
        journal = path.with_name(path.name.removesuffix(PARTIAL) + ".journal")
        yield f"{path}, {age(path)}{_slabs(journal)}"


def partial_folders(folder: Path) -> Iterator[Path]:
    """What is half written in a folder; stores are not entered."""
    for place, folders, _ in os.walk(folder):
        yield from (Path(place, name) for name in folders if name.endswith(PARTIAL))
        folders[:] = [x for x in folders if not x.endswith((".zarr", PARTIAL, "checkpoints"))]


def _slabs(journal: Path) -> str:
    """How many slabs (days) of a store are written, by its journal."""
    try:
        entries = journal.read_bytes().count(b"\n")
    except OSError:
        return ""
    return f", {entries} entries written"
