"""What a run depends on: which checkpoints belong to it, and what changed where they do not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hybridom.config import NetworksConfig, SkeletonConfig, TrainingConfig
from hybridom.config.networks import NONE
from hybridom.stepper import HybridOM

# Entries of `training` that change neither the weights nor the losses of a run; or, like the number
# of processes and what makes up for it, only the windows of a step, which is said. The preset of
# the loss is another name for values that count by themselves.
INDIFFERENT = frozenset(
    (
        "ranks",
        "accumulate",
        "parallel",
        "cache",
        "num_workers",
        "validation",
        "checkpoint",
        "divergence",
        "tracking",
        "loss.preset",
    )
)
# Entries of `networks` that only the model of a region has.
OF_REGIONS = frozenset(("gate", "correction", "gating", "driver"))
ABSENT = "absent"
SWITCHES = (".name", ".enabled")


@dataclass(frozen=True)
class Identity:
    """Everything that the losses of a run depend on.

    Attributes:
        values: Dotted key -> plain value; of grid, mask and statistics, digits that change with
            them.
        neutral: Values of keys that a run of an earlier version did not have.
    """

    values: dict[str, Any]
    neutral: dict[str, Any]

    @classmethod
    def of(cls, model: HybridOM, config: Mapping[str, Any]) -> Identity:
        """Of a run that is about to start.

        Args:
            model: The model, for its grid, mask and statistics.
            config: Resolved configuration of the training stage, plain values; of a region also
                `driver`, digits that change with what drives it.
        """
        return cls._of(config, model.grid.hash, model.wet, model.statistics)

    @classmethod
    def of_contents(cls, contents: Mapping[str, Any]) -> Identity:
        """Of the run that left a resumable checkpoint."""
        parts = (contents[name] for name in ("config", "grid_hash", "wet", "statistics"))
        return cls._of(*parts)

    @classmethod
    def _of(
        cls, config: Mapping[str, Any], grid: str, wet: Tensor, statistics: Mapping[str, Tensor]
    ) -> Identity:
        values = {
            "forcing": config["forcing"],
            "periods.train": config["periods"]["train"],
            "grid": grid,
            "wet mask": _digits(wet),
            **dict(_flat(_in_use(config))),
            **_driven(config),
            **{f"statistics {name}": _digits(x) for name, x in sorted(statistics.items())},
        }
        return cls(values, _neutral())

    @property
    def hash(self) -> str:
        """Twelve digits that change with anything that the losses depend on."""
        text = json.dumps(self.values, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def changes(
    old: Mapping[str, Any], new: Mapping[str, Any], neutral: Mapping[str, Any]
) -> list[str]:
    """What tells two runs apart, as texts such as `training.batch 2 -> 4`; empty for one run.

    A key that only `new` has came with a later version, and changes nothing at its neutral value.

    Args:
        old: Values of the run that left its checkpoints.
        new: Values of the run that is about to start.
        neutral: Values of keys that may be absent.
    """
    both = {
        key: (old.get(key, neutral.get(key, ABSENT)), new.get(key, ABSENT))
        for key in sorted({*old, *new})
    }
    differ = {key: pair for key, pair in both.items() if pair[0] != pair[1]}
    # What is switched on or off, or replaced, says enough; its details are others anyway.
    switches = {key: key.rpartition(".")[0] for key in differ if key.endswith(SWITCHES)}
    found = []
    for key, (before, after) in differ.items():
        if key not in switches and key.startswith(tuple(f"{x}." for x in switches.values())):
            continue
        digits = key in ("grid", "wet mask") or key.startswith(("statistics ", "driver "))
        found.append(key if digits else f"{key} {_short(before)} -> {_short(after)}")
    return found


def _neutral() -> dict[str, Any]:
    """Defaults of every key that has one."""
    stage = {"days": 1, "steps": 1}
    sections = {
        "skeleton": SkeletonConfig(),
        "networks": NetworksConfig(),
        "training": TrainingConfig.model_validate({"curriculum": [stage]}),
    }
    plain = {name: section.model_dump(mode="json") for name, section in sections.items()}
    del plain["training"]["curriculum"]
    return dict(_flat(plain))


def _in_use(config: Mapping[str, Any]) -> dict[str, Any]:
    """Sections that say how a model is trained, without the details of what is switched off."""
    skeleton, networks = config["skeleton"], dict(config["networks"])
    training = dict(config["training"])
    if config.get("region") is None:
        # What only a region has is not counted elsewhere, as before there were regions.
        networks = {name: x for name, x in networks.items() if name not in OF_REGIONS}
        training["curriculum"] = [
            {key: x for key, x in stage.items() if key != "forecasts"}
            for stage in training["curriculum"]
        ]
    elif networks["gate"]["name"] == NONE:
        del networks["gating"]
    for name in {"ilap", "state", "gate", "correction"} & networks.keys():
        if networks[name]["name"] == NONE:
            networks[name] = {"name": NONE}
    if not skeleton["enabled"]:
        skeleton = {"enabled": False}
    return {"skeleton": skeleton, "networks": networks, "training": training}


def _driven(config: Mapping[str, Any]) -> dict[str, Any]:
    """What drives a region: its name, its grid and stores, and the forecasts that are drawn."""
    region = config.get("region")
    if region is None:
        return {}
    found = {f"region.driver.{key}": region["driver"][key] for key in ("experiment", "grid")}
    found |= {f"driver {name}": digits for name, digits in config.get("driver", {}).items()}
    if any(stage["forecasts"] for stage in config["training"]["curriculum"]):
        found |= {f"region.forecasts.{key}": x for key, x in region["forecasts"].items()}
    return found


def _flat(sections: Mapping[str, Any], *above: str) -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of nested sections, without those that are indifferent."""
    for name, value in sections.items():
        where = (*above, name)
        if where[0] == "training" and ".".join(where[1:]) in INDIFFERENT:
            continue
        if isinstance(value, Mapping):
            yield from _flat(value, *where)
        else:
            yield ".".join(where), value


def _digits(values: Tensor) -> str:
    raw = torch.as_tensor(values).cpu().contiguous().numpy().tobytes()
    return hashlib.sha256(raw).hexdigest()[:12]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
