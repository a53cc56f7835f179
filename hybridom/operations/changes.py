"""Which options differ from those that each stage ran with last."""

from __future__ import annotations

import math
from typing import Any

import yaml

from hybridom.config import STAGES, Config, differences, narrow
from hybridom.config.files import read_yaml
from hybridom.errors import UserError
from hybridom.layout import Layout

# Stages of one kind of source; another kind has no use for what they left.
ONLY_FOR = {"twin": "twin", "download": "download"}


def changed_options(config: Config) -> dict[str, list[str]]:
    """Options that changed since each stage ran, with their old and new values.

    A stage that has not run, or whose copy of the configuration cannot be read, is left out.

    Args:
        config: The configuration now.

    Returns:
        Stage -> lines such as `training.loss.kind: mse -> mae`, in the order of the stages.
    """
    layout = Layout(config)
    changed = {}
    for stage in STAGES:
        if ONLY_FOR.get(stage, config.source.kind) != config.source.kind:
            continue
        try:
            before = read_yaml(layout.stage_config(stage))
        except (UserError, UnicodeDecodeError):
            continue
        if not isinstance(before, dict):
            continue
        found = differences(before, narrow(config, stage).as_dict())
        if lines := [f"{key}: {_shown(old)} -> {_shown(new)}" for key, old, new in found]:
            changed[stage] = lines
    return changed


def _shown(value: Any) -> str:
    """A value as it is written in YAML, on one line."""
    if isinstance(value, str):
        return value
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=math.inf)
    return text.removesuffix("...\n").strip()
