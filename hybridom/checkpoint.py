"""Checkpoints: weights with all that is needed to use them, written atomically.

A checkpoint is a dictionary of tensors and plain Python values that `torch.load` reads with
`weights_only=True`, so that no file can run code. It rebuilds the model by itself: it carries the
configuration, the grid, the wet mask and the statistics beside the weights.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import nn

from hybridom import __version__
from hybridom.config import NetworksConfig, SkeletonConfig
from hybridom.errors import UserError
from hybridom.grid import Grid, Mask
from hybridom.stepper import HybridOM

FORMAT = 1  # raise whenever a reader of the older layout would misread the newer one


@dataclass(frozen=True)
class LoadedModel:
    """A model as it came from a checkpoint.

    Attributes:
        model: The model in evaluation mode.
        grid: Its grid.
        wet: Its ocean cells (nz, ny, nx).
        config: Resolved configuration of the training stage, plain values.
        path: The file.
        digest: SHA-256 of the file.
        version: Version of the package that wrote it.
    """

    model: HybridOM
    grid: Grid
    wet: Mask
    config: dict[str, Any]
    path: Path
    digest: str
    version: str

    def require_grid(self, grid: Grid, wet: Mask, source: Path) -> None:
        """Make sure that data on another grid never meet this model.

        Args:
            grid: Grid of the data.
            wet: Wet mask of the data.
            source: The file that holds them, for the message.

        Raises:
            UserError: Grid or mask differ from those the model was trained on.
        """
        if grid.hash != self.grid.hash:
            raise UserError(
                f"{self.path}: trained on grid {self.grid.hash}, but {source} holds grid "
                f"{grid.hash}; train on this grid or choose the grid of the checkpoint"
            )
        if not np.array_equal(wet, self.wet):
            differ = int((wet != self.wet).sum())
            raise UserError(
                f"{self.path}: trained on another wet mask than {source} holds ({differ} cells "
                "differ); train again or restore the mask"
            )


def pack(model: HybridOM, config: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Contents of a checkpoint.

    Args:
        model: Its weights are stored as they are.
        config: Resolved configuration of the training stage, plain values.
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
        "model": model.state_dict(),
        **more,
    }


def save(path: Path, contents: Mapping[str, Any]) -> None:
    """Write a checkpoint so that `path` holds either the old or the whole new one.

    Raises:
        UserError: The disk is full or the folder cannot be written.
    """
    with replace_atomically(path) as handle:
        torch.save(dict(contents), handle)


@contextmanager
def replace_atomically(path: Path) -> Iterator[BinaryIO]:
    """Write to a temporary neighbour that takes the place of `path` once it is on the disk.

    Raises:
        UserError: The file cannot be written.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(partial, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(
            f"{path}: cannot be written ({error.strerror or error}); free space or mend the folder"
        ) from None


def load(path: Path) -> dict[str, Any]:
    """Read the contents of a checkpoint; tensors come to the CPU.

    Raises:
        UserError: The file is missing, damaged, no checkpoint, or of another format.
    """
    if not path.exists():
        raise UserError(f"{path}: no checkpoint; make it with `hybridom train`")
    try:
        contents = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, OSError, KeyError):
        raise UserError(
            f"{path}: the checkpoint is damaged or incomplete ({path.stat().st_size} bytes); "
            "delete it and run `hybridom train`, which goes on from the last good one"
        ) from None
    if not isinstance(contents, dict) or "format" not in contents:
        raise UserError(f"{path}: not a checkpoint of this project; choose another file")
    if contents["format"] != FORMAT:
        raise UserError(
            f"{path}: checkpoint format {contents['format']} (version {contents['version']}), "
            f"expected {FORMAT} (version {__version__}); train again or install that version"
        )
    return contents


def load_model(path: Path, device: torch.device | str = "cpu") -> LoadedModel:
    """Rebuild the model of a checkpoint, in evaluation mode.

    Raises:
        UserError: As `load`; the grid was altered or the weights do not fit the configuration.
    """
    contents = load(path)
    axes: dict[str, Any] = {
        k: v.numpy() if torch.is_tensor(v) else v for k, v in contents["grid"].items()
    }
    grid = Grid(**axes)
    if grid.hash != contents["grid_hash"]:
        raise UserError(
            f"{path}: grid hash {contents['grid_hash']} expected, its coordinates give "
            f"{grid.hash}; the file was altered, train again"
        )
    wet = contents["wet"].numpy()
    config = contents["config"]
    model = HybridOM(
        grid,
        wet,
        contents["statistics"],
        contents["forcing_names"],
        SkeletonConfig.model_validate(config["skeleton"]),
        NetworksConfig.model_validate(config["networks"]),
    )
    restore_weights(model, contents["model"], path)
    return LoadedModel(
        model.to(device).eval(), grid, wet, config, path, digest(path), contents["version"]
    )


def restore_weights(model: nn.Module, weights: Mapping[str, Any], path: Path) -> None:
    """Put weights into a model.

    Raises:
        UserError: A weight is missing, unknown or of another shape.
    """
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise UserError(
            f"{path}: the weights do not fit the model of its configuration ({first}); train again"
        ) from None


def digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
