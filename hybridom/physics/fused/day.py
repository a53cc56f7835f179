"""One day of the skeleton by the fused kernels, and whether they can be used."""

from __future__ import annotations

import importlib.util

import torch
from torch import Tensor, nn

from hybridom.config import SkeletonConfig
from hybridom.constants import SECONDS_PER_DAY
from hybridom.errors import UserError
from hybridom.operators import Geometry
from hybridom.physics.continuity import vertical_velocity
from hybridom.physics.fused import operators
from hybridom.physics.fused.tables import Tables, columns_are_equal
from hybridom.physics.fused.types import Settings
from hybridom.physics.vorticity import relative_vorticity

DEVICES = ("cpu", "cuda")
PRECISIONS = (torch.float32, torch.float64)


class FusedDay(nn.Module):
    """The kernels of one grid and configuration."""

    def __init__(self, geometry: Geometry, config: SkeletonConfig) -> None:
        super().__init__()
        self.geometry = geometry
        self.tables = Tables(geometry, config.f_min)
        self.kernels = config.kernels
        self.equal_columns = columns_are_equal(geometry)
        self.has_triton = importlib.util.find_spec("triton") is not None
        self.settings = Settings(
            dt=SECONDS_PER_DAY / config.substeps,
            substeps=config.substeps,
            scheme=config.scheme,
            ab2_offset=config.ab2_offset,
            advection=config.advection,
            lateral_diffusivity=config.horizontal_diffusivity,
            vertical_diffusivity=config.vertical_diffusivity,
            viscosity=config.horizontal_viscosity if config.viscosity else 0.0,
            geostrophic_advection=config.geostrophic_advection,
            planetary=config.planetary,
            stretching=config.stretching,
            periodic=geometry.periodic,
        )

    def chosen(self, field: Tensor) -> bool:
        """Whether the configuration wants these kernels for `field`, and they can step it.

        Raises:
            UserError: `skeleton.kernels` is `fused`, and they cannot.
        """
        if self.kernels == "plain":
            return False
        reason = self._obstacle(field)
        if reason is not None and self.kernels == "fused":
            raise UserError(f"skeleton.kernels: fused is not possible: {reason}; set it to plain")
        return reason is None

    def _obstacle(self, field: Tensor) -> str | None:
        device = field.device.type
        if device not in DEVICES:
            return f"there are kernels for {' and '.join(DEVICES)}, not for {device}"
        if field.dtype not in PRECISIONS:
            return f"there are kernels for float32 and float64, not for {field.dtype}"
        if device == "cuda" and not self.has_triton:
            return "the package triton is not installed"
        return None if self.equal_columns else "the columns of the grid differ in width"

    def flow(self, uo: Tensor, vo: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Velocities at faces, vertical velocity and vorticity; see `operators.flow`."""
        g = self.geometry
        if uo.device.type == "cpu":
            faces = (g.u_flow, g.v_flow, g.corner_open)
            return operators.flow(uo, vo, *faces, *self._tables(), g.periodic)
        uo, vo = g.clean(uo), g.clean(vo)
        u, v = g.interp_x_to_u(uo), g.interp_y_to_v(vo)
        return u, v, vertical_velocity(u, v, g), relative_vorticity(u, v, g)

    def march(self, *start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Temperature, salinity and vorticity after the day; `start` as in `types.Start`."""
        return operators.march(*start, *self._tables(), *self.settings)

    def _tables(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.tables.flags, self.tables.rows, self.tables.levels
