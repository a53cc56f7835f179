"""Weights as a `.safetensors` file: tensors and text, readable without this package.

Tensors are named `model.<weight>`, `statistics.<variable>_<kind>`, `grid.<axis>` and `wet`. The
metadata have one entry, `hybridom`: JSON with `format`, `version`, `grid_hash`, `forcing_names`,
`periodic` and `config`. (The library writes several entries in an order of its own each time.)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hybridom.checkpoint.atomic import replace_atomically
from hybridom.errors import UserError

SUFFIX = ".safetensors"
ENTRY = "hybridom"
GROUPS = ("model", "statistics", "grid")


def write(path: Path, contents: Mapping[str, Any]) -> None:
    """Write what a model needs of the contents of a checkpoint.

    Raises:
        UserError: The name ends otherwise than in `.safetensors`, or the file cannot be written.
    """
    from safetensors.torch import save

    if path.suffix != SUFFIX:
        raise UserError(f"{path}: expected a name that ends in {SUFFIX}; readers go by it")
    tensors = {f"{g}.{k}": x for g in GROUPS for k, x in contents[g].items() if k != "periodic"}
    tensors["wet"] = contents["wet"]
    names = ("format", "version", "grid_hash", "forcing_names", "config")
    text = {name: contents[name] for name in names} | {"periodic": contents["grid"]["periodic"]}
    whole = {name: x.cpu().contiguous() for name, x in tensors.items()}
    with replace_atomically(path) as handle:
        handle.write(save(whole, {ENTRY: json.dumps(text)}))


def read(path: Path) -> dict[str, Any]:
    """Contents of a checkpoint, as `load` returns them, from a file of `write`.

    Raises:
        UserError: The file is damaged, or of another origin.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as handle:
            text: str = (handle.metadata() or {}).get(ENTRY, "")
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except SafetensorError:
        raise UserError(
            f"{path}: the checkpoint is damaged or incomplete ({path.stat().st_size} bytes); "
            "write it again with `hybridom model export`"
        ) from None
    return _contents(text, tensors, path)


def _contents(text: str, tensors: dict[str, Tensor], path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(text)
        found |= {"wet": tensors.pop("wet"), **{group: {} for group in GROUPS}}
        found["grid"]["periodic"] = found.pop("periodic")
        for name, tensor in tensors.items():
            group, _, key = name.partition(".")
            found[group][key] = tensor
    except (KeyError, ValueError, TypeError):
        raise UserError(
            f"{path}: not a checkpoint of this project; `hybridom model export` writes them"
        ) from None
    return found
