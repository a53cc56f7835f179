"""The folder of resumable checkpoints of one training run."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybridom import checkpoint
from hybridom.errors import UserError
from hybridom.stepper import HybridOM

log = logging.getLogger(__name__)

# Entries of `training` that change neither the weights nor the losses of a run.
INDIFFERENT = ("ranks", "validation", "checkpoint", "cache", "num_workers")
RUN_FILE = "run.json"


def run_hash(model: HybridOM, config: Mapping[str, Any]) -> str:
    """Twelve digits that change with anything that a run's losses depend on.

    Args:
        model: The model, for its grid, mask and statistics.
        config: Resolved configuration of the training stage, plain values.
    """
    training = {k: v for k, v in config["training"].items() if k not in INDIFFERENT}
    relevant = {
        "grid": model.grid.hash,
        "forcing": config["forcing"],
        "period": config["periods"]["train"],
        "skeleton": config["skeleton"],
        "networks": config["networks"],
        "training": training,
    }
    found = hashlib.sha256(json.dumps(relevant, sort_keys=True).encode())
    found.update(model.wet.cpu().numpy().tobytes())
    for name, values in sorted(model.statistics.items()):
        found.update(name.encode() + values.numpy().tobytes())
    return found.hexdigest()[:12]


@dataclass(frozen=True)
class CheckpointFolder:
    """Resumable checkpoints `step_<steps taken>.pt`, of which the newest few are kept.

    Attributes:
        path: The folder; nothing else in the project declares or deletes it.
        keep: Number of checkpoints to keep.
    """

    path: Path
    keep: int

    def claim(self, run: str) -> None:
        """Make the folder that of `run`; what another configuration left is set aside."""
        note = self.path / RUN_FILE
        owner = json.loads(note.read_text())["run"] if note.exists() else None
        if owner is not None and owner != run:
            aside = _free_name(self.path.with_name(f"{self.path.name}.{owner}"))
            self.path.rename(aside)
            log.warning(
                "%s: made with another configuration or other data (%s, now %s); set aside as %s, "
                "training starts anew",
                self.path,
                owner,
                run,
                aside.name,
            )
        with checkpoint.replace_atomically(note) as handle:
            handle.write(json.dumps({"run": run}).encode())

    def newest(self) -> tuple[Path, dict[str, Any]] | None:
        """The newest readable checkpoint, or none; damaged ones are passed over with a warning."""
        for path in reversed(self._files()):
            try:
                return path, checkpoint.load(path)
            except UserError as error:
                log.warning("%s; trying the one before it", error)
        return None

    def write(self, step: int, contents: Mapping[str, Any]) -> Path:
        """Write the checkpoint after `step` steps, then delete those beyond `keep`."""
        path = self.path / f"step_{step:09d}.pt"
        checkpoint.save(path, contents)
        for old in self._files()[: -self.keep]:
            old.unlink()
        return path

    def _files(self) -> list[Path]:
        return sorted(self.path.glob("step_*.pt"))


def _free_name(path: Path) -> Path:
    """`path`, or with a number behind it where it is taken."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}.{number}")
    return free
