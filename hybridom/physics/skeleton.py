"""The skeleton: one day of the numerical ocean.

Over the day the horizontal velocities of the state stay as they are, and w follows from
continuity; temperature and salinity are carried and mixed by them, pressure follows the evolving
density, and relative vorticity follows the evolving geostrophic flow.
"""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hybridom.config import SkeletonConfig
from hybridom.constants import SECONDS_PER_DAY
from hybridom.grid import Grid
from hybridom.masks import Mask
from hybridom.operators import Geometry, surface_geometry
from hybridom.physics.advection import limited_fluxes, upwind_weights
from hybridom.physics.continuity import sea_surface_tendency, vertical_velocity
from hybridom.physics.eos import density_anomaly
from hybridom.physics.fluxes import FaceWeights, convergence, face_fluxes
from hybridom.physics.fused.day import FusedDay
from hybridom.physics.mixing import diffusion_weights
from hybridom.physics.pressure import hydrostatic_pressure
from hybridom.physics.stability import (
    renewal_rate,
    require_finite,
    require_fit,
    require_stable,
    transport_rate,
)
from hybridom.physics.time_integration import Fields, integrate
from hybridom.physics.vorticity import (
    geostrophic_velocity,
    planetary_advection,
    relative_advection,
    relative_vorticity,
    stretching,
    wind_curl,
)
from hybridom.state import Forcing, OceanState


@dataclass(frozen=True)
class SkeletonResult:
    """Fields at centres after one day, zero on land.

    Attributes:
        thetao: Potential temperature (..., nz, ny, nx), degC.
        so: Salinity (..., nz, ny, nx), 1e-3.
        zos: Sea-surface height (..., ny, nx), m.
        vorticity: Relative vorticity (..., nz, ny, nx), s-1.
    """

    thetao: Tensor
    so: Tensor
    zos: Tensor
    vorticity: Tensor


class Skeleton(nn.Module):
    """One day of tracer transport and quasi-geostrophic vorticity, differentiable, no parameters.

    Every field may carry leading axes (batch). Land cells of the input may hold anything. The
    `advection` of the configuration is that of the tracers; vorticity, which is no conserved
    quantity here, is always advected by first-order upwind differences. Building a skeleton at all
    (`enabled`) is up to the caller.
    """

    def __init__(
        self,
        grid: Grid,
        wet: Mask,
        config: SkeletonConfig,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Build the core of `grid`.

        Args:
            grid: The grid.
            wet: Ocean cells (nz, ny, nx), bool.
            config: Terms, coefficients and time scheme.
            dtype: Type of the metrics, and of the fields that will be passed.

        Raises:
            UserError: The mask does not fit the grid.
        """
        super().__init__()
        self.grid = grid
        self.config = config
        is_open = config.boundaries == "open"
        self.geometry = Geometry(grid, wet, dtype, open_boundaries=is_open)
        self.surface = surface_geometry(grid, wet, dtype, open_boundaries=is_open)
        self.fused = FusedDay(self.geometry, config)
        self.dt = SECONDS_PER_DAY / config.substeps

    def forward(self, state: OceanState, forcing: Forcing, forcing_next: Forcing) -> SkeletonResult:
        """Fields one day after `state`.

        Args:
            state: Full values (not anomalies) at centres, (..., nz, ny, nx) and (..., ny, nx).
            forcing: Stress or wind of the day (..., ny, nx), see `vorticity.surface_stress`, read
                if `wind_stress` is on.
            forcing_next: The same of the next day; the mean stress of the two acts over the step.

        Raises:
            UserError: A field of the state does not fit the grid or the type of the core; or
                `wind_stress` is on, and the forcing holds neither stress nor wind.
        """
        require_fit("state", dict(state.items()), self.grid, self.geometry.area.dtype)
        wind = self._wind_source(forcing, forcing_next, state.zos)
        day = self._fused_day if self.fused.chosen(state.thetao) else self._plain_day
        thetao, so, vorticity, surface_w = day(state, wind)
        zos = self._clean_surface(state.zos)
        if self.config.sea_surface == "continuity":
            zos = zos + SECONDS_PER_DAY * surface_w
        return SkeletonResult(thetao, so, zos, vorticity)

    def _fused_day(self, state: OceanState, wind: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As `_plain_day`, by the kernels of `physics.fused`."""
        *lead, nz, ny, nx = state.thetao.shape
        thetao, so, uo, vo = (
            x.reshape(-1, nz, ny, nx) for x in (state.thetao, state.so, state.uo, state.vo)
        )
        zos = self._clean_surface(state.zos).reshape(-1, ny, nx)
        u, v, w, zeta = self.fused.flow(uo, vo)
        fields = self.fused.march(thetao, so, zeta, u, v, w, zos, wind.reshape(-1, ny, nx))
        thetao, so, zeta = (x.reshape(*lead, nz, ny, nx) for x in fields)
        return thetao, so, zeta, sea_surface_tendency(w).reshape(*lead, ny, nx)

    def _plain_day(self, state: OceanState, wind: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Temperature, salinity and vorticity after the day, and d(eta)/dt during it."""
        config = self.config
        thetao, so, zos, u, v, w = self._prepare(state)
        flow = upwind_weights(u, v, w, self.geometry)
        flow_and_mixing = flow + self._mixing()
        viscosity = self._viscosity()
        steady = self._steady_vorticity_source(w, wind)

        def tendency(fields: Fields) -> Fields:
            tracers, zeta = fields
            return (
                self._tracer_tendency(tracers, flow, flow_and_mixing),
                steady + self._vorticity_tendency(zeta, tracers, zos, viscosity),
            )

        start = (torch.stack([thetao, so]), relative_vorticity(u, v, self.geometry))
        (tracers, zeta), _ = integrate(
            tendency, start, self.dt, config.substeps, config.scheme, offset=config.ab2_offset
        )
        return tracers[0], tracers[1], zeta, sea_surface_tendency(w)

    def vorticity(self, state: OceanState) -> Tensor:
        """Relative vorticity that the day of `state` begins with (..., nz, ny, nx), s-1.

        Args:
            state: As for `forward`.
        """
        geometry = self.geometry
        if self.fused.chosen(state.uo):
            shape = state.uo.shape
            uo, vo = (x.reshape(-1, *shape[-3:]) for x in (state.uo, state.vo))
            return self.fused.flow(uo, vo)[3].reshape(shape)
        uo, vo = geometry.clean(state.uo), geometry.clean(state.vo)
        return relative_vorticity(geometry.interp_x_to_u(uo), geometry.interp_y_to_v(vo), geometry)

    @torch.no_grad()
    def check_stability(self, state: OceanState) -> float:
        """Largest transport number of a substep that starts from `state`.

        The number is what a cell hands to its neighbours in one substep, as a part of its volume:
        the sum of its outward Courant numbers and of its diffusion numbers. It is taken over
        tracers and, with the terms that are on, over vorticity, for which it is what a cell gets.

        Raises:
            UserError: A field does not fit the grid or the type of the core, or is not finite in
                the ocean, or the number is above the limit of the time scheme.
        """
        grid, geometry = self.grid, self.geometry
        fields = dict(state.items())
        require_fit("initial state", fields, grid, geometry.area.dtype)
        require_finite("initial state", fields, grid, geometry.wet)
        thetao, so, zos, u, v, w = self._prepare(state)
        tracers = transport_rate(upwind_weights(u, v, w, geometry) + self._mixing(), geometry)
        number = require_stable("tracers", tracers, grid, self.config)
        vorticity = []
        if self.config.geostrophic_advection:
            velocity = self._geostrophic_velocity(torch.stack([thetao, so]), zos)
            vorticity.append(self._lateral_flow(*velocity))
        if self.config.viscosity:
            vorticity.append(self._viscosity())
        if not vorticity:
            return number
        renewal = renewal_rate(functools.reduce(operator.add, vorticity), geometry)
        return max(number, require_stable("vorticity", renewal, grid, self.config))

    def _prepare(self, state: OceanState) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Temperature, salinity and sea surface without land, and the flow at faces."""
        geometry = self.geometry
        thetao, so, uo, vo = (
            geometry.clean(x) for x in (state.thetao, state.so, state.uo, state.vo)
        )
        zos = self._clean_surface(state.zos)
        u, v = geometry.interp_x_to_u(uo), geometry.interp_y_to_v(vo)
        return thetao, so, zos, u, v, vertical_velocity(u, v, geometry)

    def _clean_surface(self, zos: Tensor) -> Tensor:
        return self.surface.clean(zos.unsqueeze(-3)).squeeze(-3)

    def _mixing(self) -> FaceWeights:
        config = self.config
        return diffusion_weights(
            self.geometry, config.horizontal_diffusivity, config.vertical_diffusivity
        )

    def _viscosity(self) -> FaceWeights:
        return diffusion_weights(self.geometry, self.config.horizontal_viscosity)

    def _geostrophic_velocity(self, tracers: Tensor, zos: Tensor) -> tuple[Tensor, Tensor]:
        """At centres, m s-1, of the density of `tracers` (2, ..., nz, ny, nx)."""
        rho = density_anomaly(tracers[0], tracers[1], self.geometry.depth)
        pressure = hydrostatic_pressure(rho, zos, self.geometry)
        return geostrophic_velocity(pressure, self.geometry, self.config.f_min)

    def _lateral_flow(self, u: Tensor, v: Tensor) -> FaceWeights:
        """Upwind weights of a flow that is given at centres."""
        geometry = self.geometry
        return upwind_weights(geometry.interp_x_to_u(u), geometry.interp_y_to_v(v), None, geometry)

    def _tracer_tendency(
        self, tracers: Tensor, flow: FaceWeights, flow_and_mixing: FaceWeights
    ) -> Tensor:
        """-div(u c*) + div(K grad c) of temperature and salinity (2, ..., nz, ny, nx)."""
        tendency = convergence(face_fluxes(tracers, flow_and_mixing, self.geometry), self.geometry)
        if self.config.advection == "tvd":
            correction = limited_fluxes(tracers, flow, self.geometry)
            tendency = tendency + convergence(correction, self.geometry)
        return tendency

    def _wind_source(self, forcing: Forcing, forcing_next: Forcing, zos: Tensor) -> Tensor:
        """Vorticity that the mean wind of both days gives the top layer (..., ny, nx), s-2."""
        if not self.config.wind_stress:
            return torch.zeros_like(zos)
        both = wind_curl(forcing, self.surface) + wind_curl(forcing_next, self.surface)
        return 0.5 * both.squeeze(-3)

    def _steady_vorticity_source(self, w: Tensor, wind: Tensor) -> Tensor:
        """Vorticity terms that do not change over the day (..., nz, ny, nx), s-2."""
        source = torch.zeros_like(w[..., 1:, :, :])
        if self.config.stretching:
            source = source + stretching(w, self.geometry)
        top = source[..., :1, :, :] + wind.unsqueeze(-3)
        return torch.cat([top, source[..., 1:, :, :]], dim=-3)

    def _vorticity_tendency(
        self, zeta: Tensor, tracers: Tensor, zos: Tensor, viscosity: FaceWeights
    ) -> Tensor:
        """Vorticity terms that follow the evolving fields (..., nz, ny, nx), s-2."""
        config, geometry = self.config, self.geometry
        tendency = torch.zeros_like(zeta)
        if config.geostrophic_advection or config.planetary:
            u_g, v_g = self._geostrophic_velocity(tracers, zos)
            if config.geostrophic_advection:
                flow = self._lateral_flow(u_g, v_g)
                tendency = tendency + relative_advection(zeta, flow, geometry)
            if config.planetary:
                tendency = tendency + planetary_advection(v_g, geometry)
        if config.viscosity:
            viscous_fluxes = face_fluxes(zeta, viscosity, geometry)
            tendency = tendency + convergence(viscous_fluxes, geometry)
        return tendency
