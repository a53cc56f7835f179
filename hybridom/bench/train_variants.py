"""The ways to train that are compared, as overrides of the configuration."""

from __future__ import annotations

from collections.abc import Iterable

from hybridom.config import Config, merge, parse_override, validate
from hybridom.errors import UserError

_BF16 = (
    "networks.precision=bfloat16",
    "networks.channels_last=true",
    "networks.compile=false",
    "skeleton.kernels=fused",
)
_FLOAT32 = (
    "networks.precision=float32",
    "networks.channels_last=false",
    "networks.compile=false",
)
# Name -> what it overrides; `configured` is the configuration as it is.
VARIANTS: dict[str, tuple[str, ...]] = {
    "configured": (),
    "reference": (*_FLOAT32, "skeleton.kernels=plain"),
    "fused": (*_FLOAT32, "skeleton.kernels=fused"),
    "bf16": _BF16,
    "compiled": (*_BF16, "networks.compile=true"),
    "cheap": (*_BF16, "networks.ilap.skip=add", "networks.state.skip=add"),
}


def require_variants(text: str) -> list[str]:
    """The variants that are named in `text`, with commas between; the first one is the measure.

    Raises:
        UserError: One of them is unknown, or named twice, or none is named.
    """
    names = text.split(",")
    for name in names:
        if name not in VARIANTS:
            known = ", ".join(VARIANTS)
            raise UserError(f"--variants {text}: {name!r} is unknown; known are {known}")
    if len(set(names)) < len(names):
        raise UserError(f"--variants {text}: expected each variant once")
    return names


def with_overrides(config: Config, overrides: Iterable[str]) -> Config:
    """`config` with overrides such as `training.batch=2`.

    Raises:
        UserError: The result is no valid configuration.
    """
    plain = config.model_dump(mode="json")
    for text in overrides:
        plain = merge(plain, parse_override(text))
    return validate(plain, "bench train")
