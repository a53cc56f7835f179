"""Sections about the learned terms."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hybridom.config.base import Count, Fraction, Positive, Section


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


class NetworksConfig(Section):
    """The learned terms."""

    ilap: NetworkConfig = NetworkConfig(spatial_layers=6, blocks=4)
    state: NetworkConfig = NetworkConfig(spatial_layers=4, blocks=8)
    mean_field: bool = Field(
        True, description="State sees the climatological change from today to tomorrow"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of the networks' arithmetic; weights and ocean stay float32"
    )
    channels_last: bool = Field(False, description="memory format of the networks' convolutions")
    compile: bool = Field(False, description="networks go through torch.compile")
