"""Sections about the numerical ocean."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from hybridom.config.base import Count, NonNegative, Positive, Section


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
