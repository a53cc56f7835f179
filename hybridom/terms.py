"""Which learned terms go together, and with which numerical ocean."""

from __future__ import annotations

from hybridom.config import NetworkConfig, NetworksConfig, SkeletonConfig
from hybridom.config.networks import NONE
from hybridom.errors import UserError

SPECTRAL = "spectral"


def refuse_misplaced(networks: NetworksConfig, skeleton: SkeletonConfig) -> None:
    """Refuse terms that miss what they work with.

    Raises:
        UserError: A gate without skeleton; or `spectral` as State, without skeleton, or with sizes
            of a network.
    """
    if networks.gate.name != NONE and not skeleton.enabled:
        raise UserError(
            "networks.gate: it corrects the fluxes of the skeleton; set skeleton.enabled to true, "
            "or gate.name to none"
        )
    if networks.state.name == SPECTRAL:
        raise UserError(
            "networks.state.name: spectral makes currents of vorticity and stands for ilap alone; "
            "choose a network, or none"
        )
    if networks.ilap.name != SPECTRAL:
        return
    if not skeleton.enabled:
        raise UserError(
            "networks.ilap.name: spectral needs the skeleton's vorticity; set skeleton.enabled to "
            "true, or choose a network or none"
        )
    for key, value in networks.ilap:
        if key != "name" and value != getattr(NetworkConfig(), key):
            raise UserError(
                f"networks.ilap.{key}: spectral has no sizes (found {value!r}); remove the key"
            )
