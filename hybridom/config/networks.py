"""Sections about the learned terms."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from hybridom.config.base import Count, Fraction, Positive, Section

NONE = "none"


class NetworkConfig(Section):
    """One network; `name` is looked up in the registry, `none` switches the term off.

    Sizes are those of one architecture: in a file that builds on another one, and in overrides,
    another `name` starts from the defaults below. A network refuses sizes that it does not use.
    """

    name: str = Field("odm", description="network by name; none switches the term off")
    embed: Count = Field(256, description="channels at full resolution, or of a token")
    latent: Count = Field(512, description="channels in the latent core")
    spatial_layers: Count = Field(4, description="encoder convolutions, strides 1, 2, 1, 2, ...")
    blocks: Count = Field(8, description="blocks of the core; of odm the first is convolutional")
    heads: Count = 4
    window: Count = Field(8, description="side of the local windows and of the strided grid")
    patch: Count = Field(4, description="side of the square of cells that is a token")
    mlp_ratio: Positive = 8.0
    attention: Literal["dual", "local", "global"] = "dual"
    drop_path: Fraction = 0.1
    skip: Literal["concat", "reduce", "add"] = Field(
        "concat",
        description="how the decoder takes in the full-resolution feature: beside its own "
        "(published), the same but first reduced by a 1x1 convolution, or added",
    )
    shortcut: bool = Field(False, description="add a pointwise linear map of the inputs")
    checkpoint: bool = Field(False, description="recompute activations in the backward pass")
    options: dict[str, bool | int | float | str] = Field(
        default_factory=dict, description="what a network of your own takes besides"
    )


class GatingConfig(Section):
    """How the fluxes of a region and of its driver are blended."""

    levels: Literal["shared", "each"] = Field(
        "shared", description="one set of weights for a whole column, or one for each level"
    )
    directions: Literal["shared", "each"] = Field(
        "shared", description="one set of weights for both directions, or one for each"
    )
    base: Literal["blend", "fine"] = Field(
        "blend", description="what `correction` is added to: the blend, or the region's own flux"
    )
    fine_weight: Annotated[float, Field(gt=0, lt=1)] = Field(
        1 / 3, description="weight of the region's own flux before training"
    )


class NetworksConfig(Section):
    """The learned terms."""

    ilap: NetworkConfig = NetworkConfig(spatial_layers=6, blocks=4)
    state: NetworkConfig = NetworkConfig(spatial_layers=4, blocks=8)
    gate: NetworkConfig = Field(
        NetworkConfig(name="none"), description="weights of a region's and its driver's fluxes"
    )
    correction: NetworkConfig = Field(
        NetworkConfig(name="none"), description="what is added to the gated flux"
    )
    gating: GatingConfig = GatingConfig()
    driver: Literal["none", "change", "state"] = Field(
        "none",
        description="what State is given of a region's driver: nothing, its change within the day, "
        "or all that there is: it then corrects the driver's state (plain super-resolution)",
    )
    mean_field: bool = Field(
        True, description="State sees the climatological change from today to tomorrow"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of the networks' arithmetic; weights and ocean stay float32"
    )
    channels_last: bool = Field(False, description="memory format of the networks' convolutions")
    compile: bool = Field(False, description="networks go through torch.compile")

    @model_validator(mode="after")
    def _gate_is_whole(self) -> NetworksConfig:
        if self.gate.name == NONE and self.correction.name != NONE:
            raise ValueError(
                "correction: it belongs to the flux that networks.gate makes; name a gate, or set "
                "correction.name to none"
            )
        if self.gate.name != NONE and (self.gating.base, self.correction.name) == ("fine", NONE):
            raise ValueError(
                "gating.base: fine leaves the region's own flux to correction, and there is none: "
                "name one, or set base to blend"
            )
        if self.driver == "state" and (self.gate.name, self.ilap.name) != (NONE, NONE):
            raise ValueError(
                "driver: state leaves only the network State; set gate.name, correction.name and "
                "ilap.name to none"
            )
        return self

    @property
    def use_driver(self) -> bool:
        """Whether a network is given anything of a region's driver."""
        return self.gate.name != NONE or self.driver != "none"
