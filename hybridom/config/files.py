"""Reading configuration files: YAML 1.2 numbers, `!include`, overrides, errors in one line."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from hybridom.config.networks import NetworkConfig
from hybridom.config.root import Config
from hybridom.config.stages import OPTIONAL, STAGES, StageConfig, narrow
from hybridom.errors import UserError

_FLOAT = re.compile(
    r"^[-+]?(?:[0-9][0-9_]*\.?[0-9]*(?:[eE][-+]?[0-9]+)|[0-9][0-9_]*\.[0-9]*|\.[0-9]+(?:[eE][-+]?[0-9]+)?)$"
)


class _Loader(yaml.SafeLoader):
    """Safe loader that reads `1e-4` as a number and follows `!include`."""

    folder = Path()


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


def _include(loader: _Loader, node: yaml.ScalarNode) -> object:
    return read_yaml(loader.folder / str(loader.construct_scalar(node)))


_Loader.add_constructor("!include", _include)


def read_yaml(path: str | Path) -> Any:
    """Plain values of a YAML file; `!include` paths are relative to the file that names them."""
    path = Path(path)
    loader = type("Loader", (_Loader,), {"folder": path.parent})
    try:
        with open(path, encoding="utf-8") as f:
            return yaml.load(f, Loader=loader)
    except OSError as e:
        raise UserError(f"{path}: cannot read the configuration: {e.strerror}") from None
    except yaml.YAMLError as e:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(e).split())}") from None


def read_mapping(path: str | Path) -> dict[str, Any]:
    """The configuration in `path` before validation.

    A mapping that has `base: !include FILE` starts from that file and overrides it key by key.
    """
    data = read_yaml(path)
    if not isinstance(data, dict):
        raise UserError(f"{path}: expected a mapping of sections, found {type(data).__name__}")
    return _on_base(data, path)


def _on_base(data: dict[str, Any], path: str | Path) -> dict[str, Any]:
    """Put a mapping on top of its `base`, and that one on top of its own."""
    base = data.pop("base", None)
    if base is None:
        return data
    if not isinstance(base, dict):
        raise UserError(f"{path}: key 'base': expected `!include FILE` of a mapping")
    return merge(_on_base(base, path), data)


def merge(base: Mapping[str, Any], top: Mapping[str, Any], *above: str) -> dict[str, Any]:
    """`base` with the values of `top`, mapping by mapping; dotted keys of `top` are paths.

    A network of another name keeps nothing of the one that it replaces: sizes of one architecture
    say nothing about another's.

    Args:
        base: Nested values.
        top: What goes before them.
        *above: Keys that lead to the two mappings.
    """
    merged = dict(base)
    for key, value in top.items():
        head, _, rest = str(key).partition(".")
        if rest:
            value, key = {rest: value}, head
        old = merged.get(key)
        if isinstance(value, Mapping):
            old = old if isinstance(old, Mapping) else {}
            name = old.get("name", NetworkConfig().name)
            if above == ("networks",) and value.get("name", name) != name:
                old = {}
            merged[key] = merge(old, value, *above, key)
        else:
            merged[key] = value
    return merged


def parse_override(text: str) -> dict[str, Any]:
    """`a.b=value` as a mapping; the value is read as YAML."""
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise UserError(f"override {text!r}: expected KEY=VALUE, for example training.batch=2")
    try:
        return {key.strip(): yaml.load(value, Loader=_Loader)}
    except yaml.YAMLError:
        raise UserError(f"override {text!r}: the value is not valid YAML") from None


def load(path: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Read and validate a configuration file.

    Args:
        path: YAML file.
        overrides: Texts such as `training.batch=2`, applied in order.

    Raises:
        UserError: The file cannot be read, a key is unknown, or a value does not fit.
    """
    data = read_mapping(path)
    for text in overrides:
        data = merge(data, parse_override(text))
    return validate(data, str(path))


def validate(data: Mapping[str, Any], origin: str) -> Config:
    """Build a `Config` from plain values; `origin` names them in messages."""
    try:
        return Config.model_validate(data)
    except ValidationError as e:
        raise UserError("; ".join(f"{origin}: {_explain(x)}" for x in e.errors())) from None


def load_stage(path: str | Path, stage: str, overrides: Iterable[str] = ()) -> StageConfig:
    """The part of a configuration that `stage` uses.

    Args:
        path: A whole configuration, or one that `write_stage` wrote for this stage.
        stage: Name in `STAGES`.
        overrides: Texts such as `training.batch=2`.

    Raises:
        UserError: As `load`; a section that the stage needs is missing.
    """
    data = read_mapping(path)
    for text in overrides:
        data = merge(data, parse_override(text))
    names = STAGES[stage]
    if not set(data) - set(names):
        return _validate_sections(data, stage, str(path))
    return narrow(validate(data, str(path)), stage)


def _validate_sections(data: Mapping[str, Any], stage: str, origin: str) -> StageConfig:
    sections: dict[str, Any] = {}
    for name in STAGES[stage]:
        if name in OPTIONAL and data.get(name) is None:
            sections[name] = None
            continue
        if name not in data:
            raise UserError(f"{origin}: section {name!r} is missing, stage {stage!r} needs it")
        section = _model_of(Config.model_fields[name].annotation)
        if section is not None:
            try:
                sections[name] = section.model_validate(data[name])
            except ValidationError as e:
                text = "; ".join(f"{origin}: {_explain(x, (name,))}" for x in e.errors())
                raise UserError(text) from None
        else:
            sections[name] = data[name]
    return StageConfig(stage, sections)


def write_stage(config: Config, stage: str, path: str | Path) -> None:
    """Write the resolved sections that `stage` uses."""
    text = yaml.safe_dump(narrow(config, stage).as_dict(), sort_keys=False)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".partial")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def config_hash(config: Config | StageConfig) -> str:
    """Twelve hexadecimal digits that change with any value of the configuration."""
    plain = config.as_dict() if isinstance(config, StageConfig) else config.model_dump(mode="json")
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:12]


def json_schema() -> dict[str, Any]:
    """JSON schema of `Config`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Config.model_json_schema(),
    }


def _explain(error: Any, prefix: tuple[str, ...] = ()) -> str:
    where = (*prefix, *error["loc"])
    key = ".".join(str(x) for x in where)
    if error["type"] == "extra_forbidden":
        known = _known_keys(where[:-1])
        near = difflib.get_close_matches(str(where[-1]), known, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]!r}?" if near else f"; known keys: {', '.join(known)}"
        return f"unknown key {key!r}{hint}"
    if error["type"] == "missing":
        return f"key {key!r} is missing"
    message = error["msg"].removeprefix("Value error, ")
    value = "" if isinstance(error["input"], (dict, BaseModel)) else f" (found {error['input']!r})"
    return f"key {key!r}: {message}{value}" if key else message


def _known_keys(where: tuple[Any, ...]) -> list[str]:
    model: Any = Config
    for part in where:
        if isinstance(part, int):
            continue
        field = getattr(model, "model_fields", {}).get(part)
        model = _model_of(field.annotation) if field else None
    return sorted(getattr(model, "model_fields", {}))


def _model_of(annotation: Any) -> Any:
    """The section class inside an annotation such as `tuple[Stage, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation):
        for part in typing.get_args(annotation):
            if (found := _model_of(part)) is not None:
                return found
    return None
