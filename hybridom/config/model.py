"""Sections about the model and its training."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from hybridom.config.base import Count, Fraction, NonNegative, Positive, Section
from hybridom.variables import PROGNOSTIC


class SpongeConfig(Section):
    """Relaxation towards an outer ocean near open boundaries, once a day."""

    width: int = Field(0, ge=0, description="cells from the edge that are relaxed; 0 is off")
    days: Positive = Field(3.0, description="time scale in the outermost cells; longer inwards")

    def require_room(self, ny: int, nx: int, lat: tuple[float, float], periodic: bool) -> None:
        """Refuse a sponge without open edges, or wider than half of the box.

        Args:
            ny: Rows.
            nx: Columns.
            lat: Southern and northern edge, degrees north; a pole is no edge.
            periodic: Whether the last column neighbours the first.

        Raises:
            ValueError: The sponge does not fit; the message names the key.
        """
        only_poles = all(math.isclose(abs(edge), 90.0) for edge in lat)
        sides = ([] if only_poles else [(ny, "rows")]) + ([] if periodic else [(nx, "columns")])
        if self.width and not sides:
            raise ValueError(
                f"skeleton.sponge.width {self.width}: a grid that goes around the globe from pole "
                "to pole has no edge; set it to 0"
            )
        for cells, name in sides:
            if 2 * self.width > cells:
                raise ValueError(
                    f"skeleton.sponge.width {self.width}: more than half of the {cells} {name} of "
                    f"the grid; set it to {cells // 2} or less"
                )


class SkeletonConfig(Section):
    """The numerical ocean (`hybridom.physics`)."""

    enabled: bool = Field(True, description="false leaves out all of this section")
    substeps: Count = Field(12, description="time steps a day")
    scheme: Literal["ab2", "rk3"] = "ab2"
    ab2_offset: NonNegative = Field(0.1, description="Adams-Bashforth offset; 0 is second order")
    advection: Literal["upwind", "tvd"] = "upwind"
    horizontal_diffusivity: NonNegative = Field(100.0, description="K_h, m2 s-1")
    vertical_diffusivity: NonNegative = Field(1e-5, description="K_v, m2 s-1")
    horizontal_viscosity: NonNegative = Field(500.0, description="A_h, m2 s-1")
    f_min: Positive = Field(1e-5, description="f0 of the regularisation f/(f2+f02), s-1")
    geostrophic_advection: bool = Field(True, description="-u_g . grad(zeta)")
    planetary: bool = Field(True, description="-u_g . grad(f)")
    stretching: bool = Field(True, description="f dw/dz")
    wind_stress: bool = Field(True, description="curl of the wind stress in the top layer")
    viscosity: bool = Field(True, description="A_h lap(zeta)")
    sea_surface: Literal["persistence", "continuity"] = "persistence"
    boundaries: Literal["closed", "open"] = Field(
        "closed", description="edges of a grid that is not periodic: walls, or free outflow"
    )
    sponge: SpongeConfig = SpongeConfig()
    kernels: Literal["auto", "plain", "fused"] = Field(
        "auto", description="plain: reference in torch; fused: numba or Triton; auto: the faster"
    )

    @model_validator(mode="after")
    def _sponge_at_open_edges(self) -> SkeletonConfig:
        if self.sponge.width and self.boundaries == "closed":
            raise ValueError(
                f"sponge.width {self.sponge.width}: walls need no sponge; set boundaries to open, "
                "or sponge.width to 0"
            )
        return self


class NetworkConfig(Section):
    """One network; `name` is looked up in the registry, `none` switches the term off."""

    name: str = "odm"
    embed: Count = Field(256, description="channels at full resolution")
    latent: Count = Field(512, description="channels in the latent core")
    spatial_layers: Count = Field(4, description="encoder convolutions, strides 1, 2, 1, 2, ...")
    blocks: Count = Field(8, description="latent blocks, the first one convolutional")
    heads: Count = 4
    window: Count = Field(8, description="side of the local windows and of the strided grid")
    mlp_ratio: Positive = 8.0
    attention: Literal["dual", "local", "global"] = "dual"
    drop_path: Fraction = 0.1
    shortcut: bool = Field(False, description="add a pointwise linear map of the inputs")
    checkpoint: bool = Field(False, description="recompute activations in the backward pass")


class NetworksConfig(Section):
    """The learned terms."""

    ilap: NetworkConfig = NetworkConfig(spatial_layers=6, blocks=4)
    state: NetworkConfig = NetworkConfig(spatial_layers=4, blocks=8)
    mean_field: bool = Field(
        True, description="State sees the climatological change from today to tomorrow"
    )


class LossWeights(Section):
    """Weight of each variable in the loss (published: 1, 1, 6, 6, 6)."""

    thetao: NonNegative = 1.0
    so: NonNegative = 1.0
    uo: NonNegative = 6.0
    vo: NonNegative = 6.0
    zos: NonNegative = 6.0

    def as_dict(self) -> dict[str, float]:
        """Weights by variable name."""
        return {name: getattr(self, name) for name in PROGNOSTIC}


class LossConfig(Section):
    """Area-weighted loss over wet cells, of normalised variables."""

    kind: Literal["mse", "mae"] = "mse"
    scale: Literal["anomaly", "tendency"] = Field(
        "anomaly", description="standard deviation that normalises the error, per level"
    )
    layer_weighting: Literal["thickness", "uniform"] = "thickness"
    weights: LossWeights = LossWeights()


class CurriculumStage(Section):
    """`steps` optimiser steps on windows of `days` days."""

    days: Count
    steps: Count


class ValidationConfig(Section):
    """Rollouts on the validation period during training."""

    every: Count = Field(200, description="optimiser steps between validations")
    days: Count = 5
    starts: Count = 4


class CheckpointConfig(Section):
    """When and how many resumable checkpoints are kept."""

    minutes: Positive = 10.0
    keep: Count = 2


class TrainingConfig(Section):
    """Optimisation."""

    ranks: Count = Field(1, description="processes under torchrun; one a GPU")
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
