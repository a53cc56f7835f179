"""What a checkpoint is, in plain values: its model card."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from hybridom.checkpoint.contents import load
from hybridom.checkpoint.model import LoadedModel, assemble


def describe(path: Path) -> dict[str, Any]:
    """Everything that says what a checkpoint is and where it comes from.

    The model is rebuilt, so that a checkpoint that is described can also be used.

    Returns:
        Nested plain values, ready for JSON. `training.steps_taken` and what follows it are those
        of a resumable checkpoint, else absent.

    Raises:
        UserError: As `load_model`.
    """
    contents = load(path)
    loaded = assemble(contents, path)
    config, grid, status = loaded.config, loaded.grid, path.stat()
    written = dt.datetime.fromtimestamp(status.st_mtime, dt.UTC)
    return {
        "file": str(path),
        "size_bytes": status.st_size,
        "sha256": loaded.digest,
        "written": written.isoformat(timespec="seconds"),
        "version": loaded.version,
        "format": contents.get("written_as", contents["format"]),
        "kind": "resumable" if "optimiser" in contents else "weights",
        "experiment": config.get("experiment"),
        "grid": {
            "name": config.get("grid", {}).get("name"),
            "shape": list(grid.shape),
            "resolution_degrees": round(float(np.diff(grid.lat_bounds).mean()), 6),
            "latitude": [float(grid.lat_bounds[0]), float(grid.lat_bounds[-1])],
            "longitude": [float(grid.lon_bounds[0]), float(grid.lon_bounds[-1])],
            "periodic": grid.periodic,
            "wet_cells": int(loaded.wet.sum()),
            "levels_m": [round(float(x), 3) for x in grid.depth],
            "hash": grid.hash,
        },
        "forcing": {
            "set": config.get("forcing"),
            "variables": list(loaded.model.forcing_names),
        },
        "statistics_hash": statistics_hash(loaded.model.statistics),
        "skeleton": _skeleton(config["skeleton"]),
        "networks": _networks(config["networks"], loaded),
        "training": _training(config, contents),
    }


def statistics_hash(statistics: Mapping[str, Tensor]) -> str:
    """Twelve digits that change with any number of the statistics."""
    found = hashlib.sha256()
    for name, values in sorted(statistics.items()):
        found.update(name.encode() + values.cpu().numpy().tobytes())
    return found.hexdigest()[:12]


def _skeleton(section: Mapping[str, Any]) -> dict[str, Any]:
    names = ("substeps", "scheme", "advection", "sea_surface", "boundaries")
    if not section["enabled"]:
        return {"enabled": False}
    terms = ("geostrophic_advection", "planetary", "stretching", "wind_stress", "viscosity")
    vorticity = [name for name in terms if section[name]]
    return {"enabled": True, **{name: section[name] for name in names}, "vorticity": vorticity}


def _networks(section: Mapping[str, Any], loaded: LoadedModel) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ("ilap", "state"):
        network = getattr(loaded.model, name)
        parameters = 0 if network is None else sum(x.numel() for x in network.parameters())
        found[name] = {"name": section[name]["name"], "parameters": parameters}
    found["parameters"] = sum(x.numel() for x in loaded.model.parameters())
    found["precision"] = section.get("precision", "float32")
    return found


def _training(config: Mapping[str, Any], contents: Mapping[str, Any]) -> dict[str, Any]:
    """Summary of the training, and how far it is in a resumable checkpoint."""
    found: dict[str, Any] = {}
    settings = config.get("training")
    if settings is not None:
        curriculum = settings["curriculum"]
        names = ("batch", "accumulate", "learning_rate", "ema", "seed", "start_from")
        found = {
            "period": config["periods"]["train"],
            "steps": sum(stage["steps"] for stage in curriculum),
            "curriculum": [{k: stage[k] for k in ("days", "steps")} for stage in curriculum],
            **{name: settings[name] for name in names if name in settings},
            # versions without presets had one loss, the published one
            "loss": settings["loss"].get("preset", "published"),
        }
    if "progress" in contents:
        progress = contents["progress"]
        found |= {"steps_taken": progress["step"], "ranks": progress["ranks"]}
        found |= {name: contents[name] for name in ("best", "stopped") if contents.get(name)}
    return found
