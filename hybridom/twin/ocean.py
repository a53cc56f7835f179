"""The ocean itself: a global set-up for Veros, advanced day by day.

This module imports Veros, so it is itself imported only where a simulation is about to start.

Momentum advances `dt_momentum` per tracer step ("distorted physics"): with the default four hours
and one hour, inertial and barotropic adjustment are slowed four times. A solver for the surface
pressure psi replaces the stream function, so that the sea-surface height is psi / g.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from veros import VerosSetup, runtime_settings, veros_routine

# Must precede the import of Veros's core, which fixes them.
runtime_settings.update(backend="numpy", float_type="float32", loglevel="warning")

from veros.core.operators import at, update  # noqa: E402

from hybridom.config import TwinConfig  # noqa: E402
from hybridom.errors import UserError  # noqa: E402
from hybridom.twin.atmosphere import (  # noqa: E402
    Atmosphere,
    Surface,
    air_temperature,
    surface_salinity,
)
from hybridom.twin.geography import Array, TwinGrid, wet_cells  # noqa: E402
from hybridom.twin.plan import Start  # noqa: E402
from hybridom.twin.states import read_state  # noqa: E402

HEAT_CAPACITY = 3992.0  # J kg-1 K-1
HEAT_RESTORING = 45.0  # W m-2 K-1
SALT_RESTORING = 45 * 86400.0  # s
FREEZING = -1.8  # degC, below which the surface is not cooled
COLDEST_AIR = -2.5  # degC
WIND_RAMP = 30.0  # days over which the wind rises after a start from rest
AB_OFFSET = 0.1
EULER_OFFSET = -0.5  # makes Adams-Bashforth a forward Euler step


def initial_stratification(grid: TwinGrid) -> tuple[Array, Array]:
    """Smooth temperature (degC) and salinity (g/kg) of an ocean at rest, each (nz, ny, nx)."""
    z = -grid.depth[:, None, None]
    y = grid.lat[None, :, None]
    surface_t = air_temperature(grid.lon, grid.lat, 115.0)[None]
    surface_s = surface_salinity(grid.lon, grid.lat)[None]
    scale = 350.0 + 350.0 * np.exp(-(((np.abs(y) - 32.0) / 14.0) ** 2))
    deep = 1.2 + 1.8 * np.exp(z / 1800.0)
    temperature = deep + (surface_t - deep) * np.exp(z / scale)
    salinity = 34.72 + (surface_s - 34.72) * np.exp(z / 450.0)
    return temperature, salinity


def to_veros(field: Array) -> Array:
    """(nz, ny, nx) top first, or (ny, nx), to Veros's (nx + 4, ny + 4[, nz]) bottom first."""
    turned = field[::-1].transpose(2, 1, 0) if field.ndim == 3 else field.T
    rest = ((0, 0),) * (turned.ndim - 2)
    wrapped = np.pad(turned, ((2, 2), (0, 0), *rest), mode="wrap")
    return np.pad(wrapped, ((0, 0), (2, 2), *rest))


def from_veros(field: Array) -> Array:
    """Inverse of `to_veros`: drops the ghost cells and restores (nz, ny, nx), top first."""
    inner = np.asarray(field)[2:-2, 2:-2]
    return inner.transpose(2, 1, 0)[::-1] if inner.ndim == 3 else inner.T


class TwinOcean(VerosSetup):
    """The simulated ocean, from one start to any later day.

    Args:
        config: Section `twin` of the configuration.
        grid: Cells.
        wet_levels: Number of wet levels of every column, shape (ny, nx).
        atmosphere: Drives the ocean; covers all days to be simulated.
        start: Where the simulation begins.

    Attributes:
        day: The day that `advance_day` will simulate next.
    """

    def __init__(
        self,
        config: TwinConfig,
        grid: TwinGrid,
        wet_levels: NDArray[np.int64],
        atmosphere: Atmosphere,
        start: Start,
    ) -> None:
        super().__init__()
        self._config = config
        self._grid = grid
        self._wet_levels = wet_levels
        self._atmosphere = atmosphere
        self._start = start
        self._salinity = surface_salinity(grid.lon, grid.lat)
        self._wet = wet_cells(wet_levels, len(grid.depth))
        self._seconds = 0.0
        self.day = start.day
        self.setup()
        if start.restart is not None:
            # Veros sets all time levels of psi alike when its step count is zero
            with self.state.variables.unlock():
                self.state.variables.itt = 1
        self._euler = start.restart is None

    def advance_day(self) -> tuple[dict[str, Array], list[Surface]]:
        """Simulate one day.

        Returns:
            Daily means of the values at the end of each step, without ghost cells: temp, salt
            (nz, ny, nx) at centres, u (nz, ny, nx) at east faces, v (nz, ny, nx) at north faces,
            ssh (ny, nx); and the atmosphere that drove each step.

        Raises:
            UserError: The simulation diverged.
        """
        steps = round(86400.0 / self._config.dt_tracer)
        sums: dict[str, Array] = {}
        surfaces = []
        for n in range(steps):
            self._seconds = n * self._config.dt_tracer
            self._step()
            surfaces.append(self._surface)  # kept by `set_forcing`
            for name, values in self._snapshot().items():
                sums[name] = sums[name] + values if n else values
        self.day += dt.timedelta(1)
        return {name: total / steps for name, total in sums.items()}, surfaces

    def _step(self) -> None:
        try:
            with self.state.settings.unlock():
                self.state.settings.AB_eps = EULER_OFFSET if self._euler else AB_OFFSET
            self._euler = False
            self.step(self.state)
        except RuntimeError as e:
            if "diverged" not in str(e):
                raise
            raise UserError(
                f"the embedded ocean diverged on {self.day}: choose a smaller twin.dt_tracer "
                f"(now {self._config.dt_tracer:g} s) or twin.dt_momentum "
                f"(now {self._config.dt_momentum:g} s)"
            ) from None

    def _snapshot(self) -> dict[str, Array]:
        vs = self.state.variables
        now = {name: vs.get(name)[..., vs.tau] for name in ("temp", "salt", "u", "v")}
        now["ssh"] = vs.psi[..., vs.tau] / self.state.settings.grav
        return {name: from_veros(values).astype(np.float64) for name, values in now.items()}

    def write_restart(self, path: Path, key: str) -> None:
        """Write all that Veros needs to continue bit by bit, marked with `key`, atomically."""
        import h5py
        from veros.restart import write_restart

        partial = path.with_name(path.name + ".partial")
        with self.state.settings.unlock():
            self.state.settings.restart_output_filename = str(partial)
        write_restart(self.state, force=True)
        with h5py.File(partial, "r+") as f:
            f.attrs["key"] = key
        partial.replace(path)

    # Veros calls the rest while it sets up and steps.

    @veros_routine
    def set_parameter(self, state: Any) -> None:
        """Sizes, time steps, numerics."""
        s = state.settings
        s.nz, s.ny, s.nx = self._grid.shape
        s.dt_tracer = self._config.dt_tracer
        s.dt_mom = self._config.dt_momentum
        s.runlen = 0.0
        s.x_origin = float(self._grid.lon[0] + 0.5 * self._grid.degrees)
        s.y_origin = float(self._grid.lat[0] + 0.5 * self._grid.degrees)
        s.coord_degree = True
        s.enable_cyclic_x = True
        s.enable_streamfunction = False
        s.enable_conserve_energy = False
        s.eq_of_state_type = 3
        s.AB_eps = AB_OFFSET
        s.restart_input_filename = str(self._start.restart) if self._start.restart else None
        self._set_mixing(s)

    def _set_mixing(self, s: Any) -> None:
        """Eddy-induced transport as vertical friction (TEM), TKE closure, lateral mixing."""
        s.enable_superbee_advection = True
        s.enable_neutral_diffusion = False
        s.enable_skew_diffusion = False
        s.enable_TEM_friction = True
        s.enable_hor_diffusion = True
        s.K_h = 500.0
        s.K_iso_0 = 1000.0
        s.K_iso_steep = 500.0
        s.K_gm_0 = 800.0
        s.iso_slopec = 0.001
        s.iso_dslope = 0.001
        s.enable_hor_friction = True
        s.A_h = (self._grid.degrees * s.degtom) ** 3 * 2e-11
        s.enable_hor_friction_cos_scaling = True
        s.hor_friction_cosPower = 1
        s.enable_bottom_friction = True
        s.r_bot = 1e-5
        s.enable_implicit_vert_friction = True
        s.enable_tke = True
        s.c_k, s.c_eps, s.alpha_tke, s.mxl_min = 0.1, 0.7, 30.0, 1e-8
        s.tke_mxl_choice = 2
        s.kappaM_min, s.kappaH_min = 2e-4, 2e-5
        s.enable_kappaH_profile = True
        s.enable_tke_superbee_advection = False

    @veros_routine
    def set_grid(self, state: Any) -> None:
        """Cell sizes in degrees; layers bottom first."""
        vs = state.variables
        vs.dxt = update(vs.dxt, at[...], self._grid.degrees)
        vs.dyt = update(vs.dyt, at[...], self._grid.degrees)
        vs.dzt = update(vs.dzt, at[...], self._grid.thickness[::-1])

    @veros_routine
    def set_coriolis(self, state: Any) -> None:
        """f at cell centres."""
        vs, s = state.variables, state.settings
        f = 2 * s.omega * np.sin(vs.yt[None, :] / 180.0 * s.pi)
        vs.coriolis_t = update(vs.coriolis_t, at[...], f)

    @veros_routine
    def set_topography(self, state: Any) -> None:
        """Index of the deepest wet level, counted from 1 at the bottom; 0 is land."""
        vs = state.variables
        nz = len(self._grid.depth)
        bottom = np.where(self._wet_levels > 0, nz - self._wet_levels + 1, 0)
        vs.kbot = update(vs.kbot, at[...], to_veros(bottom))
        # single precision leaves up to 0.02 m at the deepest centres
        if not np.allclose(-vs.zt[::-1], self._grid.depth, atol=0.02) or (vs.dzw <= 0).any():
            raise UserError("the embedded ocean's layers do not alternate with their faces")

    @veros_routine
    def set_initial_conditions(self, state: Any) -> None:
        """A state of the package, or rest; Veros replaces either by a restart if there is one."""
        vs = state.variables
        fields: dict[str, Array]
        if self._start.state is not None:
            fields = read_state(self._start.state, self._grid)
        else:
            temperature, salinity = initial_stratification(self._grid)
            fields = {"temp": temperature * self._wet, "salt": salinity * self._wet}
        for name, values in fields.items():
            setattr(vs, name, update(vs.get(name), at[...], to_veros(values)[..., None]))
        if self._start.state is not None:
            from veros.core.momentum import vertical_velocity

            vertical_velocity(state)
            vs.w = update(vs.w, at[...], vs.w[..., vs.taup1, None])

    @veros_routine
    def set_forcing(self, state: Any) -> None:
        """Wind stress, its TKE, and restoring heat and salt fluxes at the start of a step."""
        vs, s = state.variables, state.settings
        surface = self._surface = self._ramped(self._atmosphere.at(self.day, self._seconds))
        rows = self._atmosphere.ocean_rows
        taux, tauy, air = surface.taux[rows], surface.tauy[rows], surface.air[rows]
        vs.surface_taux = to_veros(taux) * vs.maskU[:, :, -1]
        vs.surface_tauy = to_veros(tauy) * vs.maskV[:, :, -1]
        wet = vs.maskT[:, :, -1]
        vs.forc_tke_surface = to_veros((np.hypot(taux, tauy) / s.rho_0) ** 1.5) * wet
        sst, sss = vs.temp[:, :, -1, vs.tau], vs.salt[:, :, -1, vs.tau]
        heat = HEAT_RESTORING / (s.rho_0 * HEAT_CAPACITY) * (to_veros(air) - sst)
        salt = self._grid.thickness[0] / SALT_RESTORING * (to_veros(self._salinity) - sss)
        ice = (sst < FREEZING) & (heat < 0)
        vs.forc_temp_surface = np.where(ice, 0.0, heat) * wet
        vs.forc_salt_surface = np.where(ice, 0.0, salt) * wet

    def _ramped(self, surface: Surface) -> Surface:
        if self._start.rest_day is None:
            return surface
        elapsed = (self.day - self._start.rest_day).days + self._seconds / 86400.0
        ramp = min(1.0, elapsed / WIND_RAMP)
        return Surface(surface.taux * ramp, surface.tauy * ramp, surface.air)

    @veros_routine
    def set_diagnostics(self, state: Any) -> None:
        """None of Veros's: its averages would not survive a start without their sums."""
        for diagnostic in state.diagnostics.values():
            diagnostic.output_frequency = 0.0
            diagnostic.sampling_frequency = 0.0

    @veros_routine
    def after_timestep(self, state: Any) -> None:
        """Nothing: `advance_day` reads the state between steps."""
