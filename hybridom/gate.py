"""The flux gate: networks that choose between the fluxes of a region and of its driver.

A selector looks at the three fluxes of temperature and salinity (`physics.gating`) and gives each
cell three weights for each tracer; the blend, with the forcing, goes through a network that
corrects it (Shu et al. 2026, arXiv 2602.00598). All fluxes that networks see are those of anomalies
from the climatology, since the zero of a temperature scale is no property of the ocean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hybridom.config import NetworksConfig, SkeletonConfig
from hybridom.config.networks import NONE
from hybridom.networks.registry import build
from hybridom.normalisation import Normaliser
from hybridom.operators import Geometry
from hybridom.physics.fluxes import face_fluxes
from hybridom.physics.gating import (
    Transport,
    correction_change,
    driver_share,
    face_weights,
    gated_change,
)
from hybridom.state import OceanState

Learned = Callable[[nn.Module, list[Tensor]], Tensor]

SOURCES = ("fine", "driver_today", "driver_tomorrow")
TRACERS = ("thetao", "so")
CURRENTS = ("uo", "vo")


@dataclass(frozen=True)
class Source:
    """One of the three states whose fluxes are blended.

    Attributes:
        tracers: Temperature and salinity (2, B, nz, ny, nx), zero on land.
        transport: What its currents do.
        seen: Normalised fluxes of its anomalies at centres (B, 2, 2, nz, ny, nx), by tracer and
            direction.
    """

    tracers: Tensor
    transport: Transport
    seen: Tensor


class FluxGate(nn.Module):
    """Weights of the fluxes, and what the gated flux adds to a day of the core.

    Geometry and scales are the model's, which moves and saves them.

    Args:
        geometry: That of the core, whose faces the fluxes pass.
        normaliser: Scales of the training period.
        skeleton: Its lateral diffusivity belongs to the fluxes.
        networks: Sections `gate`, `correction` and `gating`.
        forcing: Channels of the normalised forcing.
        static: Channels of the static features.

    Raises:
        UserError: A network refuses its configuration.
    """

    log_prior: Tensor

    def __init__(
        self,
        geometry: Geometry,
        normaliser: Normaliser,
        skeleton: SkeletonConfig,
        networks: NetworksConfig,
        forcing: int,
        static: int,
    ) -> None:
        super().__init__()
        # In a tuple, where a module is not registered a second time.
        self._shared = geometry, normaliser
        self.diffusivity = skeleton.horizontal_diffusivity
        settings = networks.gating
        self.blends = settings.base == "blend"
        nz, sea = geometry.wet.shape[0], geometry.wet[0]
        levels = nz if settings.levels == "each" else 1
        directions = len(CURRENTS) if settings.directions == "each" else 1
        self.shape = len(SOURCES), len(TRACERS), directions, levels
        fluxes, outputs = len(TRACERS) * len(CURRENTS) * nz, math.prod(self.shape)
        inputs, periodic = len(SOURCES) * fluxes + static, geometry.periodic
        self.selector = build(networks.gate, inputs, outputs, sea, periodic)
        self.correction: nn.Module | None = None
        if networks.correction.name != NONE:
            self.correction = build(networks.correction, fluxes + forcing, fluxes, sea, periodic)
        # Softmax turns these into the weights before training, where the selector gives zero.
        rest = (1 - settings.fine_weight) / 2
        prior = torch.tensor([settings.fine_weight, rest, rest]).log()
        self.register_buffer("log_prior", prior.reshape(-1, 1, 1, 1, 1, 1), persistent=False)

    def forward(
        self,
        states: Sequence[OceanState],
        climatologies: Sequence[OceanState],
        static: Tensor,
        forcing: Tensor,
        learned: Learned,
    ) -> tuple[Tensor, Tensor]:
        """What the gated flux adds to a day that the core has taken.

        Args:
            states: The region, the driver today and the driver tomorrow, zero on land.
            climatologies: Of the days of the three, zero on land.
            static: Static features (B, S, ny, nx).
            forcing: Normalised forcing (B, F, ny, nx).
            learned: Runs a network on its inputs.

        Returns:
            Changes of temperature and salinity (B, nz, ny, nx).
        """
        sources = [self._source(*pair) for pair in zip(states, climatologies, strict=True)]
        weights = self._weights(sources, static, learned)
        change = torch.zeros_like(sources[0].tracers)
        if self.blends:
            change = self._blended(sources, weights)
        if self.correction is not None:
            seen = torch.stack([source.seen for source in sources], dim=1)
            blend = (weights * seen).sum(dim=1)
            given = [blend.flatten(1, 3), forcing]
            fluxes = learned(self.correction, given).unflatten(1, blend.shape[1:4])
            scale = self._shared[1].scale("tendency_std")
            per_day = torch.stack([fluxes[:, i] * scale[c] for i, c in enumerate(TRACERS)])
            change = change + correction_change(per_day, self._shared[0])
        thetao, so = change
        return thetao, so

    def weights(
        self,
        states: Sequence[OceanState],
        climatologies: Sequence[OceanState],
        static: Tensor,
        learned: Learned,
    ) -> Tensor:
        """Weights of the three sources (B, 3, 2, nd, nl, ny, nx); arguments as of `forward`.

        By source, tracer, direction (one for both, or eastward and northward) and level (one for
        all, or each); they sum to one over the sources in the ocean, and are zero on land.
        """
        sources = [self._source(*pair) for pair in zip(states, climatologies, strict=True)]
        return self._weights(sources, static, learned)

    def _blended(self, sources: Sequence[Source], weights: Tensor) -> Tensor:
        """What the blend adds to the day (2, B, nz, ny, nx)."""
        geometry, _ = self._shared
        fine, *drivers = sources
        share_u, share_v = driver_share(fine.transport, [x.transport for x in drivers], geometry)
        # by tracer first, as the tracers are
        by_source = weights.movedim(2, 0).unbind(dim=2)[1:]
        at_faces = [face_weights(w, geometry) for w in by_source]
        at_faces = [(u * share_u, v * share_v) for u, v in at_faces]
        driven = [(x.tracers, x.transport) for x in drivers]
        return gated_change(fine.tracers, fine.transport, driven, at_faces, geometry)

    def _weights(self, sources: Sequence[Source], static: Tensor, learned: Learned) -> Tensor:
        geometry, _ = self._shared
        inputs = [source.seen.flatten(1, 3) for source in sources]
        scores = learned(self.selector, [*inputs, static]).unflatten(1, self.shape)
        weights = torch.softmax(scores + self.log_prior, dim=1)
        return torch.where(geometry.wet[: self.shape[-1]], weights, 0.0)

    def _source(self, state: OceanState, climatology: OceanState) -> Source:
        """The fluxes of a state."""
        geometry, normaliser = self._shared
        tracers, normal = (
            torch.stack([getattr(x, name) for name in TRACERS]) for x in (state, climatology)
        )
        transport = Transport.of(state.uo, state.vo, self.diffusivity, geometry)
        fluxes = face_fluxes(tracers - normal, transport.weights, geometry)
        scale = normaliser.scale("anomaly_std")
        deviation = torch.stack([scale[name] for name in TRACERS])[:, None]
        u, v = (scale[name] for name in CURRENTS)
        seen = [
            geometry.interp_u_to_t(fluxes.x / geometry.length_u) / (u * deviation),
            geometry.interp_v_to_t(fluxes.y * self._per_length(geometry)) / (v * deviation),
        ]
        return Source(tracers, transport, torch.stack(seen, dim=1).movedim(2, 0))

    @staticmethod
    def _per_length(geometry: Geometry) -> Tensor:
        """One over the length of v faces, zero at the poles."""
        length = geometry.length_v
        return torch.where(length > 0, 1 / torch.where(length > 0, length, 1.0), 0.0)


def ungated_weights(state: OceanState, sea: Tensor) -> Tensor:
    """Weights without a gate (B, 3, 2, 1, 1, ny, nx): the region's own flux has all of it.

    Args:
        state: The region (B, ...).
        sea: Its ocean at the surface (ny, nx), bool.
    """
    own = sea.to(state.zos).expand(len(state.zos), len(TRACERS), 1, 1, -1, -1)
    return torch.stack([own, torch.zeros_like(own), torch.zeros_like(own)], dim=1)
