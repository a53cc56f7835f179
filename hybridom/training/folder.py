"""The folder of resumable checkpoints of one training run."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybridom import checkpoint
from hybridom.config import CheckpointConfig
from hybridom.errors import UserError
from hybridom.stepper import HybridOM
from hybridom.training.identity import Identity, changes

log = logging.getLogger(__name__)

RUN_FILE = "run.json"
BEST = "best.pt"


@dataclass(frozen=True)
class CheckpointFolder:
    """Resumable checkpoints `step_<steps taken>.pt`, and `best.pt`, a link to the best of them.

    The newest `keep` are kept, the best one, and those of every `every` steps. What is deleted is
    decided when a checkpoint is written, by the policy of that moment.

    Attributes:
        path: The folder; nothing else in the project declares or deletes it.
        policy: Section `training.checkpoint`.
    """

    path: Path
    policy: CheckpointConfig

    def claim(self, run: Identity) -> None:
        """Make the folder that of `run`; what another run left is set aside.

        Where `run` itself was set aside before, it is taken back: settings that are changed and
        changed back cost nothing.

        Raises:
            UserError: The folder cannot be read or written.
        """
        found = _values(self.path)
        if found is None and (newest := self.newest()):
            # Earlier versions noted no more than a hash; the checkpoints say the rest.
            found = Identity.of_contents(newest[1]).values
        if found is not None and (differ := changes(found, run.values, run.neutral)):
            shown = "; ".join(differ[:4]) + (f"; and {len(differ) - 4} more" if differ[4:] else "")
            what = f"{self.path}: belongs to a run with other settings or data: {shown}."
            try:
                log.warning("%s %s", what, self._make_room(run))
            except OSError as error:
                raise UserError(
                    f"{what} It cannot be set aside ({error.strerror}); move it away"
                ) from None
        with checkpoint.replace_atomically(self.path / RUN_FILE) as handle:
            handle.write(json.dumps({"run": run.hash, "values": run.values}, indent=1).encode())

    def _make_room(self, run: Identity) -> str:
        """Set the folder aside and take back that of `run`; what was done."""
        earlier = [
            path
            for path in self.path.parent.glob(f"{self.path.name}.before*")
            if (values := _values(path)) and not changes(values, run.values, run.neutral)
        ]
        newest = self._files()[-1:]
        aside = _free_name(self.path.with_name(f"{self.path.name}.before"))
        self.path.rename(aside)
        if earlier:
            back = max(earlier, key=lambda path: path.stat().st_mtime)
            back.rename(self.path)
            return f"It is set aside as {aside.name}; {back.name} is of this run and taken back"
        said = f"It is set aside as {aside.name} and training starts anew"
        if newest:
            said += "; to begin from its weights instead, start again with "
            said += f"training.start_from={aside / newest[0].name}"
        return said

    def newest(self) -> tuple[Path, dict[str, Any]] | None:
        """The newest readable checkpoint, or none; damaged ones are passed over with a warning."""
        for path in reversed(self._files()):
            try:
                contents = checkpoint.load(path)
                if "progress" in contents:
                    return path, contents
                error = f"{path}: not a resumable checkpoint"
            except UserError as found:
                error = str(found)
            log.warning("%s; trying the one before it", error)
        return None

    def write(self, step: int, contents: Mapping[str, Any], best: int | None) -> Path:
        """Write the checkpoint after `step` steps, then delete those that the policy lets go.

        Args:
            step: Steps taken.
            contents: The checkpoint.
            best: Step of the best validation so far.

        Raises:
            UserError: It cannot be written; all others are still there.
        """
        path = self.file(step)
        checkpoint.save(path, contents)
        self.link_best(best)
        if contents.get("stopped") is None:
            # Of a run that went wrong, every checkpoint may be the last good one.
            self._prune(best)
        return path

    def link_best(self, step: int | None) -> None:
        """Let `best.pt` lead to the checkpoint of `step`; without one there is no such link."""
        link, fresh = self.path / BEST, self.path / f"{BEST}.partial"
        try:
            if step is None or not self.file(step).exists():
                link.unlink(missing_ok=True)
                return
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(self.file(step).name)
            os.replace(fresh, link)
        except OSError as error:
            log.warning("%s: cannot be made to lead to step %s (%s)", link, step, error.strerror)

    def _prune(self, best: int | None) -> None:
        for path in self._files()[: -self.policy.keep]:
            step = int(path.stem.removeprefix("step_"))
            forever = self.policy.every is not None and step % self.policy.every == 0
            if not forever and step != best:
                path.unlink(missing_ok=True)

    def require_space(self, size: int, total: int) -> None:
        """Make sure that the disk holds what the run is going to keep, in a folder that is claimed.

        Args:
            size: Bytes of one checkpoint.
            total: Optimiser steps of the whole run.

        Raises:
            UserError: It does not; the message says how much is needed.
        """
        forever = 0 if self.policy.every is None else total // self.policy.every
        # A new one is written beside those that are kept.
        number = self.policy.keep + int(self.policy.best) + forever + 1
        number = max(number - len(self._files()), 1)
        free = shutil.disk_usage(self.path).free
        if free < number * size:
            raise UserError(
                f"{self.path}: {number} checkpoints of {_human(size)} need "
                f"{_human(number * size)}, {_human(free)} are free; free space, lower "
                "training.checkpoint.keep, or put paths.results elsewhere"
            )

    def file(self, step: int) -> Path:
        """The checkpoint after `step` steps."""
        return self.path / f"step_{step:09d}.pt"

    def _files(self) -> list[Path]:
        return sorted(self.path.glob("step_*.pt"))


def size_of(model: HybridOM, average: bool) -> int:
    """Bytes of a resumable checkpoint: weights, their average and two moments of each."""
    weights = sum(x.numel() * x.element_size() for x in model.parameters())
    rest = [*model.buffers(), *model.statistics.values()]
    return weights * (4 if average else 3) + sum(x.numel() * x.element_size() for x in rest)


def _values(path: Path) -> dict[str, Any] | None:
    """What the run that a folder belongs to depends on; None where that is not noted.

    Raises:
        UserError: The note cannot be read.
    """
    note = path / RUN_FILE
    try:
        found: dict[str, Any] | None = json.loads(note.read_text(encoding="utf-8")).get("values")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(
            f"{note}: cannot be read ({error}), so it is not known whose checkpoints these are; "
            "move the folder away"
        ) from None
    return found


def _human(size: float) -> str:
    """Bytes as people write them."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def _free_name(path: Path) -> Path:
    """`path` with the first free number behind it."""
    number = 1
    while (free := path.with_name(f"{path.name}{number}")).exists():
        number += 1
    return free
