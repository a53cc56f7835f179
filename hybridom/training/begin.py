"""Weights that another training left, for a run to begin with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hybridom import checkpoint
from hybridom.errors import UserError
from hybridom.stepper import HybridOM
from hybridom.training.distributed import Ranks
from hybridom.variables import PROGNOSTIC

# Another resolution or other years change standard deviations by some per cent, to which a training
# adapts; beyond this, what the networks see and give would be something else.
LARGEST_CHANGE = 0.25
KEY = "training.start_from"


def starting_weights(path: Path, model: HybridOM, ranks: Ranks) -> dict[str, Tensor]:
    """Weights of a checkpoint for a model that is about to be trained.

    They are not bound to a grid, but to levels, forcing and scales of their inputs. The model keeps
    its own scales; how far they are from the checkpoint's is said.

    Args:
        path: Final or resumable checkpoint, or `.safetensors`. Averaged weights go before others.
        model: The model.
        ranks: The processes; the first one speaks.

    Raises:
        UserError: As `checkpoint.load`; levels, forcing, scales or networks do not fit.
    """
    try:
        contents = checkpoint.load(path)
    except UserError as error:
        raise UserError(f"{KEY}: {error}") from None
    weights = checkpoint.weights_of(contents)
    require_same_inputs(path, contents, model)
    name, change = largest_change(contents["statistics"], model)
    if change > LARGEST_CHANGE:
        raise UserError(
            f"{KEY}: {path}: its networks know {name} as "
            f"{_numbers(contents['statistics'][name])}, the statistics of this run have "
            f"{_numbers(model.statistics[name])}: inputs would mean something else; begin from a "
            "checkpoint of like data, or train from the start"
        )
    own = model.normaliser.state_dict(prefix="normaliser.")
    weights = {**weights, **own}
    require_same_networks(path, weights, model)
    ranks.say(
        "beginning with the weights of %s%s",
        path,
        f"; scales differ by up to {100 * change:.2g} % ({name})" if change else "",
    )
    return weights


def require_same_inputs(path: Path, contents: Mapping[str, Any], model: HybridOM) -> None:
    """Make sure that levels and forcing are those that the weights were trained with.

    Raises:
        UserError: They are not.
    """
    theirs, ours = contents["grid"]["depth"].numpy(), model.grid.depth
    if len(theirs) != len(ours) or not np.allclose(theirs, ours, rtol=0.01):
        raise UserError(
            f"{KEY}: {path}: trained on {len(theirs)} levels ({_depths(theirs)}), but grid.depths "
            f"gives {len(ours)} ({_depths(ours)}); take the same levels"
        )
    names = tuple(contents["forcing_names"])
    if names != model.forcing_names:
        raise UserError(
            f"{KEY}: {path}: trained with forcing {', '.join(names)}, but the configuration gives "
            f"{', '.join(model.forcing_names)} (key forcing); take the same forcing"
        )


def require_same_networks(path: Path, weights: Mapping[str, Tensor], model: HybridOM) -> None:
    """Make sure that the networks are those that the weights belong to.

    Raises:
        UserError: One is missing, or of another size.
    """
    theirs = {name: tuple(x.shape) for name, x in weights.items()}
    ours = {name: tuple(x.shape) for name, x in model.state_dict().items()}
    for name in sorted({*theirs, *ours}):
        if theirs.get(name) != ours.get(name):
            raise UserError(
                f"{KEY}: {path}: other networks than those of the configuration ({name} is "
                f"{theirs.get(name, 'absent')} there and {ours.get(name, 'absent')} here); take "
                "its sections networks and skeleton (`hybridom model info`)"
            )


def largest_change(statistics: Mapping[str, Tensor], model: HybridOM) -> tuple[str, float]:
    """The scale that differs most from a checkpoint's, and by what part of the smaller one.

    Args:
        statistics: Statistics of the checkpoint.
        model: The model; only what its networks see and give counts.
    """
    names = [f"{v}_{kind}" for v in PROGNOSTIC for kind in ("anomaly_std", "tendency_std")]
    names += [f"{v}_anomaly_std" for v in model.normaliser.forcing_names]
    changes = {name: _change(statistics[name], model.statistics[name]) for name in names}
    name = max(changes, key=changes.__getitem__)
    return name, changes[name]


def _change(theirs: Tensor, ours: Tensor) -> float:
    a, b = torch.atleast_1d(theirs.double().cpu()), torch.atleast_1d(ours.double().cpu())
    return float((torch.maximum(a, b) / torch.minimum(a, b) - 1).abs().max())


def _numbers(values: Tensor) -> str:
    return " ".join(f"{x:.4g}" for x in torch.atleast_1d(values).tolist()[:6])


def _depths(depths: np.ndarray) -> str:
    return f"{depths[0]:g} to {depths[-1]:g} m"
