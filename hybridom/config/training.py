"""Sections about training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from hybridom.config.base import Count, Fraction, NonNegative, Positive, Section
from hybridom.variables import PROGNOSTIC


class LossWeights(Section):
    """Weight of each variable in the loss."""

    thetao: NonNegative = 1.0
    so: NonNegative = 1.0
    uo: NonNegative = 6.0
    vo: NonNegative = 6.0
    zos: NonNegative = 6.0

    def as_dict(self) -> dict[str, float]:
        """Weights by variable name."""
        return {name: getattr(self, name) for name in PROGNOSTIC}


EQUAL = {"thetao": 1.0, "so": 1.0, "uo": 1.0, "vo": 1.0, "zos": 1.0}
# Settings that go together; a key that is given beside `preset` goes before it.
LOSS_PRESETS: dict[str, dict[str, Any]] = {
    # Shu et al. 2026: squared anomalies, currents and sea surface six times as heavy
    "published": {"kind": "mse", "scale": "anomaly", "layer_weighting": "thickness"},
    # errors in units of a day's change: no level and no variable stands back
    "tendency": {
        "kind": "mse",
        "scale": "tendency",
        "layer_weighting": "uniform",
        "weights": EQUAL,
    },
    # absolute errors and those of horizontal differences, which keep fronts sharper
    "sharp": {
        "kind": "mae",
        "scale": "anomaly",
        "layer_weighting": "thickness",
        "gradient": 0.1,
        "weights": EQUAL,
    },
    # each variable and level weighed by the inverse of its recent error: none is done with early
    "balanced": {
        "kind": "mse",
        "scale": "anomaly",
        "layer_weighting": "uniform",
        "dynamic": True,
        "weights": EQUAL,
    },
}


class LossConfig(Section):
    """Area-weighted loss over wet cells, of normalised variables."""

    preset: Literal["published", "tendency", "sharp", "balanced"] = Field(
        "published", description="defaults of the keys below"
    )
    kind: Literal["mse", "mae"] = "mse"
    scale: Literal["anomaly", "tendency"] = Field(
        "anomaly", description="standard deviation that normalises the error, per level"
    )
    layer_weighting: Literal["thickness", "uniform"] = "thickness"
    weights: LossWeights = LossWeights()
    gradient: NonNegative = Field(
        0.0, description="weight of the error of horizontal gradients, std per cell height"
    )
    dynamic: bool = Field(
        False, description="weigh each variable and level by the inverse of its recent error"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        preset = LOSS_PRESETS.get(given.get("preset", "published"), {})
        weights = given.get("weights", {})
        if isinstance(weights, dict):
            given = {**given, "weights": {**preset.get("weights", {}), **weights}}
        return {**preset, **given}


class CurriculumStage(Section):
    """`steps` optimiser steps on windows of `days` days."""

    days: Count
    steps: Count
    forecasts: Fraction = Field(
        0.0, description="part of a region's windows that forecasts drive; the rest analyses do"
    )


class ValidationConfig(Section):
    """Rollouts on the validation period during training."""

    every: Count = Field(200, description="optimiser steps between validations")
    leads: tuple[Count, ...] = Field(
        (1, 5), min_length=1, description="days that are scored; the last one ends the rollout"
    )
    starts: Count = 4

    @field_validator("leads")
    @classmethod
    def _ascending(cls, leads: tuple[int, ...]) -> tuple[int, ...]:
        if list(leads) != sorted(set(leads)):
            raise ValueError("leads must ascend, each once")
        return leads

    @property
    def days(self) -> int:
        """Length of the rollouts."""
        return self.leads[-1]


class CheckpointConfig(Section):
    """When resumable checkpoints are made, and which are kept."""

    minutes: Positive = Field(10.0, description="between two checkpoints")
    keep: Count = Field(2, description="newest ones to keep")
    best: bool = Field(True, description="keep that of the best validation too")
    every: Count | None = Field(None, description="keep one every so many steps too; null: none")


class DivergenceConfig(Section):
    """When training stops with a warning because the loss runs away."""

    factor: Annotated[float, Field(gt=1)] = Field(
        10.0, description="mean loss of the last steps over the lowest such mean of the stage"
    )
    steps: Count = Field(50, description="steps in the mean")


class WandbConfig(Section):
    """Weights & Biases; the key comes from `wandb login` or WANDB_API_KEY, never from here."""

    mode: Literal["off", "offline", "online"] = "off"
    project: str = "hybridom"
    entity: str | None = None


class TrackingConfig(Section):
    """Where the record of a run goes besides metrics.csv."""

    tensorboard: bool = True
    wandb: WandbConfig = WandbConfig()


class TrainingConfig(Section):
    """Optimisation."""

    ranks: Count = Field(1, description="processes under torchrun; one a GPU")
    parallel: Literal["ddp", "fsdp"] = Field(
        "ddp", description="each process holds all weights, or a shard of them (FSDP2)"
    )
    start_from: Path | None = Field(
        None, description="checkpoint whose weights the run begins with; its optimiser is not used"
    )
    curriculum: tuple[CurriculumStage, ...] = Field(min_length=1)
    batch: Count = Field(1, description="windows a rank and optimiser step (before accumulation)")
    accumulate: Count = 1
    learning_rate: Positive = 1e-3
    final_learning_rate: NonNegative = 1e-8
    warmup_steps: int = Field(0, ge=0)
    weight_decay: NonNegative = 0.0
    clip: Positive = Field(1.0, description="largest gradient norm")
    ema: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="0 keeps no average")
    seed: int = 0
    stride: Count = Field(1, description="days between the starts of training windows")
    cache: Literal["memory", "none"] = "none"
    num_workers: int = Field(0, ge=0, description="loader processes a rank")
    loss: LossConfig = LossConfig()
    validation: ValidationConfig = ValidationConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    divergence: DivergenceConfig = DivergenceConfig()
    tracking: TrackingConfig = TrackingConfig()
