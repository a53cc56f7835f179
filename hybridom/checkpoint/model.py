"""From a checkpoint to a model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from pydantic import ValidationError
from torch import nn

from hybridom import __version__
from hybridom.checkpoint import portable
from hybridom.checkpoint.contents import load, pack, weights_of
from hybridom.config import NetworksConfig, Section, SkeletonConfig
from hybridom.errors import UserError
from hybridom.grid import Grid, Mask
from hybridom.stepper import HybridOM

S = TypeVar("S", bound=Section)


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


def load_model(path: Path, device: torch.device | str = "cpu") -> LoadedModel:
    """Rebuild the model of a checkpoint, in evaluation mode.

    The weights are the averaged ones where the file is a resumable checkpoint with an average.

    Raises:
        UserError: As `load` and `assemble`.
    """
    return assemble(load(path), path, device)


def assemble(
    contents: Mapping[str, Any], path: Path, device: torch.device | str = "cpu"
) -> LoadedModel:
    """The model of contents that `load` returned, in evaluation mode.

    Raises:
        UserError: The grid was altered, the configuration is not known to this version, or the
            weights do not fit it.
    """
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
    config, version = contents["config"], contents["version"]
    try:
        model = HybridOM(
            grid,
            wet,
            contents["statistics"],
            contents["forcing_names"],
            _section("skeleton", SkeletonConfig, config, version),
            _section("networks", NetworksConfig, config, version),
        )
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    restore_weights(model, weights_of(contents), path)
    return LoadedModel(model.to(device).eval(), grid, wet, config, path, digest(path), version)


def export(loaded: LoadedModel, path: Path) -> None:
    """Write a model with its configuration, statistics, grid and mask as tensors and text.

    Args:
        loaded: The model.
        path: Ends in `.safetensors`; see `portable` for the names in it.

    Raises:
        UserError: The name ends otherwise, or the file cannot be written.
    """
    contents = pack(loaded.model, loaded.config)
    portable.write(path, contents | {"version": loaded.version})


def _section(name: str, kind: type[S], config: Mapping[str, Any], version: str) -> S:
    """A section of the configuration of a checkpoint.

    Raises:
        UserError: It has a key or a value that this version does not know.
    """
    if name not in config:
        raise UserError(f"its configuration has no section {name}; choose another file")
    try:
        return kind.model_validate(config[name])
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in (name, *first["loc"]))
        raise UserError(
            f"written by version {version}, whose configuration has {key} = {first['input']!r}, "
            f"which version {__version__} does not know; install that version or train again"
        ) from None


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
