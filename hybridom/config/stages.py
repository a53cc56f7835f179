"""Which sections each stage is given."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from hybridom.config.root import Config
from hybridom.variables import FORCING_SETS, RAW_FORCING

# Sections that each stage uses; nothing else reaches it.
STAGES: dict[str, tuple[str, ...]] = {
    "twin": ("source", "twin"),
    "download": ("paths", "source", "download", "grid", "periods", "forcing"),
    "check": ("paths", "source", "grid", "periods", "forcing"),
    "grid": ("paths", "source", "grid", "periods"),
    "state": ("paths", "source", "grid", "periods", "forcing", "regrid", "stores"),
    "climatology": ("paths", "grid", "periods", "forcing", "climatology"),
    "percentiles": ("paths", "grid", "periods", "extremes"),
    "region": ("paths", "grid", "region"),
    "train": (
        "experiment",
        "paths",
        "grid",
        "periods",
        "forcing",
        "region",
        "skeleton",
        "networks",
        "training",
    ),
    "forecast": ("experiment", "paths", "grid", "forcing", "region", "forecast"),
    "damping": ("experiment", "paths", "grid", "periods", "forecast", "evaluation"),
    "evaluate": ("experiment", "paths", "grid", "region", "forecast", "extremes", "evaluation"),
    "gate": ("experiment", "paths", "grid", "forcing", "region", "forecast", "evaluation"),
    "figures": (
        "experiment",
        "paths",
        "grid",
        "region",
        "forecast",
        "extremes",
        "evaluation",
        "figures",
    ),
    "page": (
        "experiment",
        "paths",
        "grid",
        "periods",
        "region",
        "forecast",
        "extremes",
        "evaluation",
        "figures",
    ),
}
# Sections that a configuration may go without; they are then absent from what a stage is given.
OPTIONAL = ("region",)


class StageConfig:
    """The sections of a `Config` that one stage uses, as attributes."""

    def __init__(self, stage: str, sections: dict[str, object]) -> None:
        self.stage = stage
        self._sections = sections

    def __getattr__(self, name: str) -> Any:
        if name == "forcing_names":
            return FORCING_SETS[str(self._sections["forcing"])]
        if name == "raw_forcing_names":
            return RAW_FORCING[str(self._sections["forcing"])]
        try:
            return self.__dict__["_sections"][name]
        except KeyError:
            raise AttributeError(
                f"stage {self.__dict__.get('stage')!r} is not given section {name!r}"
            ) from None

    def as_dict(self) -> dict[str, object]:
        """Plain Python values, ready for YAML or JSON."""
        return {
            name: value.model_dump(mode="json") if isinstance(value, BaseModel) else value
            for name, value in self._sections.items()
            if not (name in OPTIONAL and value is None)
        }


def narrow(config: Config | StageConfig, stage: str) -> StageConfig:
    """Keep the sections of `config` that `stage` uses."""
    return StageConfig(stage, {name: getattr(config, name) for name in STAGES[stage]})
