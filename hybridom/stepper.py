"""HybridOM: the one place where the numerical ocean and the networks meet.

One day is taken in three parts (Shu et al. 2026, arXiv 2602.00598):

    T*, S*, zeta, eta*  =  skeleton(X_t, forcing_t, forcing_t+1)
    u*, v*              =  u_t, v_t + ILAP(zeta, u_t, v_t, forcing_t, forcing_t+1)
    X*                  =  (T*, S*, u*, v*, eta*)
    X_t+1               =  X* + State(X_t, X* - X_t, forcing_t, forcing_t+1, ...)

Each part can be switched off. Networks are zero at initialisation, so that an untrained model is
the skeleton with persistent currents, bit for bit. Their arithmetic may be bfloat16; the ocean, the
skeleton and the weights never are. In place of the network ILAP, `spectral` inverts the Laplacian
of the change zeta - zeta_t that the skeleton made. Near the open edges of a region a sponge draws
X_t+1 to the outer ocean of day t+1, last of all, so that neither core nor networks run away there.

A region may be driven by a coarser ocean, whose states X^l at t and t+1 are given on its own cells.
A gate then blends the lateral fluxes of T and S of both oceans and adds to T*, S* what the blend
brings in within a day (`gate`), and State also sees X^l_t+1 - X^l_t. With `networks.driver: state`
State corrects X^l_t+1 alone, day by day, and nothing of the region is stepped: that is plain
super-resolution, a model to compare with.

With the forcing set `bulk8` the fluxes of `bulk.ncar_fluxes` take the place of those that are given
for the same names: those of both days are made from the atmosphere of their day and from the sea
surface of X_t, since tomorrow's ocean is what the step is about to find. So the fluxes follow the
predicted ocean, and gradients pass through them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from hybridom.bulk import open_water_fluxes
from hybridom.conditions import Conditions, static_features
from hybridom.config import NetworkConfig, NetworksConfig, SkeletonConfig
from hybridom.config.networks import NONE
from hybridom.errors import UserError
from hybridom.gate import FluxGate, ungated_weights
from hybridom.grid import Grid, Mask
from hybridom.masks import require_ocean
from hybridom.networks.registry import build
from hybridom.normalisation import Normaliser, Statistics
from hybridom.physics.inversion import VorticityInversion
from hybridom.physics.skeleton import Skeleton
from hybridom.physics.sponge import Sponge
from hybridom.physics.stability import require_finite, require_fit
from hybridom.state import Forcing, OceanState
from hybridom.terms import SPECTRAL, refuse_misplaced
from hybridom.variables import FORCING_SETS, NETWORK_FORCING, PROGNOSTIC, VARIABLES


class HybridOM(nn.Module):
    """Ocean model that steps an `OceanState` by one day.

    States are at cell centres, (B, nz, ny, nx) and (B, ny, nx), in the units of `variables`; land
    is zero in every state that leaves the model, whatever it holds on entry.

    Args:
        grid: The grid.
        wet: Ocean cells (nz, ny, nx).
        statistics: Statistics of the training period, see `normalisation`.
        forcing_names: Forcing variables that are given, in the order of their channels. Those of
            the set `bulk8` are given as its stores hold them; the model makes the turbulent and
            long-wave fluxes itself, and the networks see `variables.NETWORK_FORCING`.
        skeleton: Configuration of the numerical ocean.
        networks: Configuration of the learned terms.

    Raises:
        UserError: The mask does not fit the grid or has no ocean, or, with a skeleton, has ocean
            below land; the sponge does not fit the grid; a network refuses its configuration, or
            `spectral` is not that of `networks.ilap` beside a skeleton, or a gate has no skeleton.

    Note:
        Weights stay contiguous under `networks.channels_last`: kernels follow the format of their
        input, and sharding (FSDP2) takes no other weights. Under `networks.compile` each network
        is compiled anew for gradients and without, and for its second batch size; compiled code
        may round otherwise in one than in the other, so that training and forecast agree to
        rounding only. Names in `state_dict` are the same with all settings.
    """

    wet: Tensor
    static: Tensor
    vorticity_scale: Tensor

    def __init__(
        self,
        grid: Grid,
        wet: Mask,
        statistics: Statistics,
        forcing_names: Sequence[str],
        skeleton: SkeletonConfig,
        networks: NetworksConfig,
    ) -> None:
        super().__init__()
        wet = np.asarray(wet, dtype=bool)
        require_ocean(wet, grid.shape)
        self.grid = grid
        self.statistics = dict(statistics)
        self.forcing_names = tuple(forcing_names)
        self.mean_field = networks.mean_field
        self.low_precision = networks.precision == "bfloat16"
        self.channels_last = networks.channels_last
        self.bulk = self.forcing_names == FORCING_SETS["bulk8"]
        seen = NETWORK_FORCING["bulk8"] if self.bulk else self.forcing_names
        self.normaliser = Normaliser(statistics, seen)
        self.register_buffer("wet", torch.as_tensor(wet, dtype=torch.bool), persistent=False)
        self.register_buffer("static", static_features(grid, wet), persistent=False)
        # Velocities that vary by their standard deviation from cell to cell have about this
        # vorticity, which keeps the input near one at every level and resolution.
        speed = self.normaliser.scale("anomaly_std")["uo"]
        self.register_buffer("vorticity_scale", speed / float(grid.dy.mean()), persistent=False)

        self.skeleton = Skeleton(grid, wet, skeleton) if skeleton.enabled else None
        has_sponge = skeleton.enabled and skeleton.sponge.width > 0
        self.sponge = Sponge(grid, wet, skeleton.sponge) if has_sponge else None
        nz, channels = grid.nz, (len(PROGNOSTIC) - 1) * grid.nz + 1
        forcing = 2 * len(seen)  # of both days
        vorticity = 0 if self.skeleton is None else nz
        refuse_misplaced(networks, skeleton)
        spectral = networks.ilap.name == SPECTRAL
        self.inversion = VorticityInversion(grid, wet) if spectral else None
        self.ilap = self._network(networks.ilap, vorticity + 2 * nz + forcing, 2 * nz)
        self.gate: FluxGate | None = None
        if networks.gate.name != NONE and self.skeleton is not None:
            geometry, static = self.skeleton.geometry, self.static.shape[0]
            self.gate = FluxGate(geometry, self.normaliser, skeleton, networks, forcing, static)
        self.driver, self.needs_driver = networks.driver, networks.use_driver
        seen_states = 2 + self.mean_field + (self.driver == "change")
        inputs = seen_states * channels + forcing + self.static.shape[0]
        self.state = self._network(networks.state, inputs, channels)
        if networks.compile:
            for network in self.networks().values():
                network.compile(isolate_recompiles=True)

    def _network(self, config: NetworkConfig, inputs: int, outputs: int) -> nn.Module | None:
        if config.name in (NONE, SPECTRAL):
            return None
        return build(config, inputs, outputs, self.wet[0], self.grid.periodic)

    def networks(self) -> dict[str, nn.Module]:
        """The learned terms that have parameters, by their key in section `networks`."""
        terms = {"ilap": self.ilap, "state": self.state}
        if self.gate is not None:
            terms |= {"gate": self.gate.selector, "correction": self.gate.correction}
        return {
            name: network
            for name, network in terms.items()
            if network is not None and next(network.parameters(), None) is not None
        }

    def step(self, state: OceanState, now: Conditions, then: Conditions) -> OceanState:
        """Step one day.

        Args:
            state: The ocean at the day of `now`.
            now: Conditions of that day.
            then: Conditions of the following day.

        Returns:
            The ocean at the day of `then`, zero on land.

        Raises:
            UserError: A field of the state does not fit the grid or the type of the model.
        """
        require_fit("state", dict(state.items()), self.grid, self.vorticity_scale.dtype)
        driven = self._driver(now, then)
        # NaN on land would reach the gradients.
        state = driven[0] if self.driver == "state" else self._clean(state)
        if self.bulk:
            now, then = self._with_own_fluxes(state, now), self._with_own_fluxes(state, then)
        forcing = self._forcing_channels(now, then)
        climatology = self._clean(now.climatology)
        anomaly = self.normaliser.anomaly(state, climatology)
        if self.driver == "state":
            provisional = driven[1]
        else:
            provisional, vorticity = self._physics_day(state, now.forcing, then.forcing)
            provisional = self._gated(provisional, [state, *driven], now, then, forcing)
            provisional = self._currents(provisional, vorticity, anomaly, forcing)
        if self.state is None:
            return self._at_open_edges(self._clean(provisional), then)

        inputs = [anomaly, self.normaliser.tendency(provisional - state)]
        if self.mean_field:
            seasonal = self._clean(then.climatology) - climatology
            inputs.append(self.normaliser.tendency(seasonal))
        if self.driver == "change":
            inputs.append(self.normaliser.tendency(driven[1] - driven[0]))
        inputs += [forcing, self._static(forcing)]
        scale = "anomaly_std" if self.driver == "state" else "tendency_std"
        change = self.normaliser.change(self._learned(self.state, inputs), state.nz, scale)
        return self._at_open_edges(self._clean(provisional + change), then)

    @torch.no_grad()
    def gate_weights(self, state: OceanState, now: Conditions, then: Conditions) -> Tensor:
        """Weights of the fluxes in the day that begins with `state`.

        Args:
            state: The ocean at the day of `now`.
            now: Conditions of that day.
            then: Conditions of the following day.

        Returns:
            (B, 3, 2, nd, nl, ny, nx) by source, tracer, direction and level, see
            `FluxGate.weights`; without a gate, `gate.ungated_weights`.

        Raises:
            UserError: A driver is needed and not given.
        """
        state = self._clean(state)
        if self.gate is None:
            return ungated_weights(state, self.wet[0])
        states, static = [state, *self._driver(now, then)], self._static(state.zos.unsqueeze(-3))
        return self.gate.weights(states, self._normals(now, then), static, self._learned)

    def unroll(self, state: OceanState, conditions: Iterable[Conditions]) -> Iterator[OceanState]:
        """Step day after day; training, validation and forecast all come through here.

        Args:
            state: The ocean at the first day of `conditions`.
            conditions: K + 1 consecutive days, drawn one at a time.

        Yields:
            The ocean at each of the K following days.
        """
        for now, then in itertools.pairwise(conditions):
            state = self.step(state, now, then)
            yield state

    def check_start(self, state: OceanState, forcing: Forcing) -> None:
        """Refuse a day that the model cannot start from; it reads values, which `step` never does.

        Args:
            state: The ocean of that day.
            forcing: Its forcing.

        Raises:
            UserError: A field does not fit the grid or the type of the model, or is not finite in
                the ocean; or the currents of `state` make the time step unstable.
        """
        for what, given in (("initial state", dict(state.items())), ("forcing", forcing.fields)):
            require_fit(what, given, self.grid, self.vorticity_scale.dtype)
            require_finite(what, given, self.grid, self.wet)
        if self.skeleton is not None:
            self.skeleton.check_stability(state)

    def _with_own_fluxes(self, state: OceanState, day: Conditions) -> Conditions:
        """Conditions of a day whose fluxes are those over the sea surface of `state`."""
        sst, u, v = (x[..., 0, :, :] for x in (state.thetao, state.uo, state.vo))
        fluxes = open_water_fluxes(day.forcing.fields, sst, u, v, self.wet[0])
        return replace(day, forcing=Forcing({**day.forcing.fields, **fluxes}))

    def _physics_day(
        self, state: OceanState, now: Forcing, then: Forcing
    ) -> tuple[OceanState, Tensor | None]:
        """The skeleton's day with persistent currents, and the vorticity after it (s-1)."""
        if self.skeleton is None:
            return state, None
        day = self.skeleton(state, now, then)
        return replace(state, thetao=day.thetao, so=day.so, zos=day.zos), day.vorticity

    def _currents(
        self, state: OceanState, vorticity: Tensor | None, anomaly: Tensor, forcing: Tensor
    ) -> OceanState:
        """Add the currents that ILAP infers from vorticity; it stands for the inverse Laplacian."""
        if self.inversion is not None and self.skeleton is not None and vorticity is not None:
            # `state` still has the currents that the day began with.
            du, dv = self.inversion(vorticity - self.skeleton.vorticity(state))
            return replace(state, uo=state.uo + du, vo=state.vo + dv)
        if self.ilap is None:
            return state
        anomalies = OceanState.from_channels(anomaly, state.nz)
        inputs = [anomalies.uo, anomalies.vo, forcing]
        if vorticity is not None:
            inputs.insert(0, torch.where(self.wet, vorticity, 0.0) / self.vorticity_scale)
        du, dv = self._learned(self.ilap, inputs).split(state.nz, dim=-3)
        scale = self.normaliser.scale("tendency_std")
        return replace(state, uo=state.uo + du * scale["uo"], vo=state.vo + dv * scale["vo"])

    def _driver(self, now: Conditions, then: Conditions) -> list[OceanState]:
        """The driver at both days, zero on land; none where the model does without."""
        if not self.needs_driver:
            return []
        if now.outer is None or then.outer is None:
            raise UserError(
                "the model needs the states of its driver (networks.gate, networks.driver), but "
                "the conditions of a day have none; give Conditions.outer"
            )
        return [self._clean(now.outer), self._clean(then.outer)]

    def _gated(
        self,
        provisional: OceanState,
        states: list[OceanState],
        now: Conditions,
        then: Conditions,
        forcing: Tensor,
    ) -> OceanState:
        """Add what the gated fluxes of the region and its driver bring in within the day."""
        if self.gate is None:
            return provisional
        static, normals = self._static(forcing), self._normals(now, then)
        thetao, so = self.gate(states, normals, static, forcing, self._learned)
        return replace(provisional, thetao=provisional.thetao + thetao, so=provisional.so + so)

    def _normals(self, now: Conditions, then: Conditions) -> list[OceanState]:
        """Climatology of the days of the states whose fluxes are blended."""
        today = self._clean(now.climatology)
        return [today, today, self._clean(then.climatology)]

    def _static(self, like: Tensor) -> Tensor:
        """Static features with the leading axes of (..., C, ny, nx)."""
        return self.static.expand(*like.shape[:-3], -1, -1, -1)

    def _learned(self, network: nn.Module, inputs: list[Tensor]) -> Tensor:
        """What a network makes of its inputs (..., C, ny, nx), in their type."""
        x = torch.cat(inputs, dim=-3)
        if self.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        if not self.low_precision or x.device.type == "meta":  # shapes have no precision
            return network(x)
        with torch.autocast(x.device.type, torch.bfloat16):
            y = network(x.to(torch.bfloat16))
        return y.to(x.dtype)

    def _at_open_edges(self, state: OceanState, day: Conditions) -> OceanState:
        """Draw a state to the outer ocean of its day, where the model has a sponge."""
        if self.sponge is None:
            return state
        return self.sponge(state, day.climatology if day.outer is None else day.outer)

    def _forcing_channels(self, now: Conditions, then: Conditions) -> Tensor:
        """Normalised forcing anomalies of both days (..., 2 F, ny, nx), zero on land."""
        both = [self.normaliser.forcing(c.forcing, c.forcing_climatology) for c in (now, then)]
        # Air over land swings far wider than over the sea and would dominate the coast.
        return torch.where(self.wet[0], torch.cat(both, dim=-3), 0.0)

    def _clean(self, state: OceanState) -> OceanState:
        masks = {True: self.wet, False: self.wet[0]}
        return OceanState(
            **{
                name: torch.where(masks[VARIABLES[name].has_depth], x, 0.0)
                for name, x in state.items()
            }
        )
