"""What a checkpoint holds, and its way to the disk and back.

Entries of format 2:

- `format`, `version` of the package, `config` of the training stage, `grid_hash`, `grid` (axes),
  `wet`, `statistics`, `forcing_names`, `model` (weights);
- in resumable ones also `progress`, `average` ({`weights`, `updates`} or None), `optimiser`,
  `loss`, and what `training.loop` keeps besides.

Format 1 kept the average as `torch.optim.swa_utils.AveragedModel` names it.
"""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hybridom import __version__
from hybridom.checkpoint import portable
from hybridom.checkpoint.atomic import replace_atomically
from hybridom.errors import UserError
from hybridom.grid import Grid
from hybridom.stepper import HybridOM

FORMAT = 2  # raise whenever a reader of the older layout would misread the newer one
NEEDED = ("version", "config", "grid_hash", "grid", "wet", "statistics", "forcing_names", "model")

log = logging.getLogger(__name__)


def pack(
    model: HybridOM,
    config: Mapping[str, Any],
    weights: Mapping[str, Tensor] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Contents of a checkpoint.

    Args:
        model: Its grid, mask and statistics are stored.
        config: Resolved configuration of the training stage, plain values.
        weights: Weights to store; None: those of `model`.
        **more: Further entries (tensors and plain values), such as the state of the training.
    """
    grid = {f.name: getattr(model.grid, f.name) for f in fields(Grid)}
    return {
        "format": FORMAT,
        "version": __version__,
        "config": dict(config),
        "grid_hash": model.grid.hash,
        "grid": {k: v if k == "periodic" else torch.tensor(v) for k, v in grid.items()},
        "wet": model.wet.cpu(),
        "statistics": model.statistics,
        "forcing_names": list(model.forcing_names),
        "model": model.state_dict() if weights is None else dict(weights),
        **more,
    }


def weights_of(contents: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights to use: the averaged ones where the training kept an average.

    Validation, the published checkpoint and the choice of the best one go by the same.
    """
    average = contents.get("average") or {"weights": {}}
    return {**contents["model"], **average["weights"]}


def save(path: Path, contents: Mapping[str, Any]) -> None:
    """Write a checkpoint so that `path` holds either the old or the whole new one.

    Raises:
        UserError: The disk is full or the folder cannot be written.
    """
    with replace_atomically(path) as handle:
        torch.save(dict(contents), handle)


def load(path: Path) -> dict[str, Any]:
    """Read the contents of a checkpoint; tensors come to the CPU.

    Args:
        path: Written by `save`, or by `export` if it ends in `.safetensors`.

    Returns:
        Entries of the present format; an older file's are brought to it, which is said.

    Raises:
        UserError: The file is missing, damaged, no checkpoint, or of a newer format.
    """
    if not path.exists():
        raise UserError(f"{path}: no checkpoint; make it with `hybridom train`")
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name the checkpoint in it")
    contents = portable.read(path) if path.suffix == portable.SUFFIX else _unpickle(path)
    return _in_present_format(contents, path)


def _unpickle(path: Path) -> Any:
    try:
        path.open("rb").close()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:  # torch itself compares no checksum
                raise zipfile.BadZipFile
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # a damaged pickle ends in whatever its first wrong byte leads to
        raise UserError(
            f"{path}: the checkpoint is damaged or incomplete ({path.stat().st_size} bytes); "
            "delete it and run `hybridom train`, which goes on from the last good one"
        ) from None


def _in_present_format(contents: Any, path: Path) -> dict[str, Any]:
    if not isinstance(contents, dict) or not isinstance(contents.get("format"), int):
        raise UserError(f"{path}: not a checkpoint of this project; choose another file")
    found, version = contents["format"], contents.get("version", "unknown")
    if found > FORMAT or found < min(MIGRATIONS):
        raise UserError(
            f"{path}: checkpoint format {found} (version {version}), expected {FORMAT} or older "
            f"(this is version {__version__}); install that version or train again"
        )
    if missing := [name for name in NEEDED if name not in contents]:
        raise UserError(
            f"{path}: the checkpoint is incomplete, it has no {', '.join(missing)}; choose another"
        )
    for number in range(found, FORMAT):
        contents = MIGRATIONS[number](contents)
    if found != FORMAT:
        contents["written_as"] = found
        log.info("%s: format %d of version %s, read as format %d", path, found, version, FORMAT)
    return contents


def _from_1(contents: dict[str, Any]) -> dict[str, Any]:
    """Format 1 to 2."""
    migrated = contents | {"format": 2}
    if "optimiser" not in contents:
        return migrated
    average = contents["average"]
    if average is not None:
        prefix = "module."
        average = {
            "weights": {k.removeprefix(prefix): v for k, v in average.items() if prefix in k[:7]},
            "updates": int(average["n_averaged"]),
        }
    return migrated | {"average": average, "loss": {}}


# From each older format to the next.
MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _from_1}
