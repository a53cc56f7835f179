"""Differences, interpolation, divergence and curl on the C grid, named by where their result lives.

Positions and shapes (leading axes are free):

- `t` cell centres (..., nz, ny, nx)
- `u` western and eastern faces (..., nz, ny, nx+1)
- `v` southern and northern faces (..., nz, ny+1, nx)
- `corner` (..., nz, ny+1, nx+1)
- `w` tops and bottoms of layers (..., nz+1, ny, nx)

Index `j` (`i`, `k`) of a face array is the southern (western, upper) face of cell `j` (`i`, `k`).
Closed faces - coasts, poles, edges of a grid that is not periodic - hold zero in every result,
whatever the land cells hold, so that nothing crosses them. With open boundaries the flow alone also
passes the outer edge of the grid: a face there carries the velocity of the cell inside, and what
comes in has the values of that cell (zero gradient). A periodic grid stores its seam twice, as
first and last western face.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from hybridom.constants import EARTH_RADIUS, OMEGA
from hybridom.grid import Grid
from hybridom.masks import Mask, corner_mask, require_columns, require_ocean, u_mask, v_mask


class Geometry(nn.Module):
    """Metrics and masks of one grid as tensors, and the operators that need them.

    Metrics are computed in float64 and then cast; they are buffers, so that `.to(device)` moves
    them, and are left out of `state_dict`, because the grid file already holds them.

    Attributes:
        periodic: Whether the last column neighbours the first.
        wet: Ocean cells (nz, ny, nx), bool.
        u_open, v_open, corner_open: Faces and corners with ocean on all sides, bool.
        u_flow, v_flow: Faces that water passes: the open ones and, with open boundaries, the outer
            faces of ocean cells, bool.
        w_open: Layer interfaces with ocean above and below (nz+1, ny, nx), bool.
        dx_u: Distance between the centres on both sides of a u face (ny, nx+1), m.
        dy_v: Distance between the centres on both sides of a v face (ny+1, 1), m.
        dz_w: Distance between the levels on both sides of an interface (nz+1, 1, 1), m.
        length_u: Lengths of u faces (ny, 1), m.
        length_v: Lengths of v faces (ny+1, nx), m; zero at the poles.
        area: Cell areas (ny, nx), m2.
        corner_area: Areas between the four centres around a corner (ny+1, nx+1), m2.
        dz: Layer thicknesses (nz, 1, 1), m.
        depth: Levels (nz, 1, 1), m.
        bottom: Lower interface of each layer (nz, 1, 1), m.
        f_t: Coriolis parameter at centres (ny, 1), s-1.
        beta_t: Its meridional derivative at centres (ny, 1), m-1 s-1.
    """

    wet: Tensor
    u_open: Tensor
    v_open: Tensor
    u_flow: Tensor
    v_flow: Tensor
    corner_open: Tensor
    w_open: Tensor
    dx_u: Tensor
    dy_v: Tensor
    dz_w: Tensor
    length_u: Tensor
    length_v: Tensor
    area: Tensor
    corner_area: Tensor
    dz: Tensor
    depth: Tensor
    bottom: Tensor
    f_t: Tensor
    beta_t: Tensor
    _share_u: Tensor
    _share_v: Tensor
    _share_corner: Tensor

    def __init__(
        self,
        grid: Grid,
        wet: Mask,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
        open_boundaries: bool = False,
    ) -> None:
        """Build the metrics of `grid` and the face masks of `wet`.

        Args:
            grid: The grid.
            wet: Ocean cells (nz, ny, nx), bool.
            dtype: Type of the metrics.
            device: Where they live.
            open_boundaries: Whether water flows through the outer edge of the grid.

        Raises:
            UserError: The mask does not fit the grid, has no ocean, or has ocean below land.
        """
        super().__init__()
        wet = np.asarray(wet, dtype=bool)
        require_ocean(wet, grid.shape)
        require_columns(wet)
        self.periodic = grid.periodic
        masks = {
            "wet": wet,
            "u_open": u_mask(wet, grid.periodic),
            "v_open": v_mask(wet),
            "u_flow": u_mask(wet, grid.periodic, open_boundaries),
            "v_flow": v_mask(wet, open_boundaries),
            "corner_open": corner_mask(wet, grid.periodic),
            "w_open": np.pad(wet[1:] & wet[:-1], ((1, 1), (0, 0), (0, 0))),
        }
        u, v, corner = (masks[name].astype(float) for name in ("u_open", "v_open", "corner_open"))
        around = corner[:, 1:] + corner[:, :-1]
        shares = {
            "_share_u": 1 / np.maximum(u[..., 1:] + u[..., :-1], 1),
            "_share_v": 1 / np.maximum(v[:, 1:] + v[:, :-1], 1),
            "_share_corner": 1 / np.maximum(around[..., 1:] + around[..., :-1], 1),
        }
        for name, mask in masks.items():
            self.register_buffer(name, torch.tensor(mask, device=device), persistent=False)
        for name, value in {**_metrics(grid), **shares}.items():
            tensor = torch.tensor(value, dtype=torch.float64).to(device=device, dtype=dtype)
            self.register_buffer(name, tensor, persistent=False)

    def clean(self, c: Tensor) -> Tensor:
        """Field at t with zero on land, whatever was there (NaN included)."""
        return torch.where(self.wet, c, 0.0)

    def pad_x(self, c: Tensor) -> Tensor:
        """Add a column on both sides: the neighbours across the seam, or copies at open edges."""
        west, east = (c[..., -1:], c[..., :1]) if self.periodic else (c[..., :1], c[..., -1:])
        return torch.cat([west, c, east], dim=-1)

    def pad_y(self, c: Tensor) -> Tensor:
        """Add copies of the first and the last row."""
        return torch.cat([c[..., :1, :], c, c[..., -1:, :]], dim=-2)

    def pad_z(self, c: Tensor) -> Tensor:
        """Add copies of the top and the bottom level."""
        return torch.cat([c[..., :1, :, :], c, c[..., -1:, :, :]], dim=-3)

    def diff_x_to_u(self, c: Tensor) -> Tensor:
        """Eastern minus western neighbour, t to u; zero on closed faces."""
        padded = self.pad_x(c)
        return torch.where(self.u_open, padded[..., 1:] - padded[..., :-1], 0.0)

    def diff_y_to_v(self, c: Tensor) -> Tensor:
        """Northern minus southern neighbour, t to v; zero on closed faces."""
        padded = self.pad_y(c)
        return torch.where(self.v_open, padded[..., 1:, :] - padded[..., :-1, :], 0.0)

    def diff_z_to_w(self, c: Tensor) -> Tensor:
        """Upper minus lower neighbour, t to w; zero at the surface and on the bottom."""
        padded = self.pad_z(c)
        return torch.where(self.w_open, padded[..., :-1, :, :] - padded[..., 1:, :, :], 0.0)

    def grad_x_to_u(self, c: Tensor) -> Tensor:
        """Eastward derivative, t to u, in units of c per m; zero on closed faces."""
        return self.diff_x_to_u(c) / self.dx_u

    def grad_y_to_v(self, c: Tensor) -> Tensor:
        """Northward derivative, t to v, in units of c per m; zero on closed faces."""
        return self.diff_y_to_v(c) / self.dy_v

    def interp_x_to_u(self, c: Tensor) -> Tensor:
        """Mean of the two neighbours, t to u, where both are ocean; zero elsewhere.

        This and `interp_y_to_v` are the map that brings reanalysis velocities, which sit at
        centres, to the faces: nothing flows through a face that touches land. An open outer face
        takes the value of its cell.
        """
        padded = self.pad_x(c)
        return torch.where(self.u_flow, 0.5 * (padded[..., 1:] + padded[..., :-1]), 0.0)

    def interp_y_to_v(self, c: Tensor) -> Tensor:
        """Mean of the two neighbours, t to v, where both are ocean; zero elsewhere."""
        padded = self.pad_y(c)
        return torch.where(self.v_flow, 0.5 * (padded[..., 1:, :] + padded[..., :-1, :]), 0.0)

    def interp_u_to_t(self, a: Tensor) -> Tensor:
        """Mean over the open ones of a cell's two u faces; zero where both are closed.

        `a` is zero on closed faces, as every operator here leaves it.
        """
        return (a[..., 1:] + a[..., :-1]) * self._share_u

    def interp_v_to_t(self, a: Tensor) -> Tensor:
        """Mean over the open ones of a cell's two v faces; zero where both are closed."""
        return (a[..., 1:, :] + a[..., :-1, :]) * self._share_v

    def interp_corner_to_t(self, a: Tensor) -> Tensor:
        """Mean over the open ones of a cell's four corners; zero where all are closed."""
        rows = a[..., 1:, :] + a[..., :-1, :]
        return (rows[..., 1:] + rows[..., :-1]) * self._share_corner

    def div_to_t(self, flux_u: Tensor, flux_v: Tensor) -> Tensor:
        """Horizontal divergence by Gauss's theorem, u and v to t.

        Args:
            flux_u: Eastward flux density through u faces, zero on closed ones.
            flux_v: Northward flux density through v faces, zero on closed ones.

        Returns:
            Outflow per area, in units of the flux density per m.
        """
        through_u = flux_u * self.length_u
        through_v = flux_v * self.length_v
        return self.outflow_to_t(through_u, through_v)

    def outflow_to_t(self, through_u: Tensor, through_v: Tensor) -> Tensor:
        """As `div_to_t`, of fluxes that were already multiplied by the lengths of their faces."""
        zonal = through_u[..., 1:] - through_u[..., :-1]
        meridional = through_v[..., 1:, :] - through_v[..., :-1, :]
        return (zonal + meridional) / self.area

    def curl_to_corner(self, a_u: Tensor, a_v: Tensor) -> Tensor:
        """Vertical component of the curl by Stokes's theorem, u and v to corners.

        The circulation runs through the four centres around a corner. Corners that touch land are
        closed and hold zero: no vorticity is made of a guessed velocity on the coast (free slip).

        Args:
            a_u: Eastward component at u, zero on closed faces.
            a_v: Northward component at v, zero on closed faces.

        Returns:
            Curl (..., nz, ny+1, nx+1), in units of the vector per m.
        """
        east = self.pad_y(a_u * self.dx_u)
        north = self.pad_x(a_v * self.dy_v)
        circulation = (north[..., 1:] - north[..., :-1]) - (east[..., 1:, :] - east[..., :-1, :])
        return torch.where(self.corner_open, circulation / self.corner_area, 0.0)


def surface_geometry(
    grid: Grid,
    wet: Mask,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
    open_boundaries: bool = False,
) -> Geometry:
    """Geometry of the top layer alone, for fields with one level (..., 1, ny, nx)."""
    top = replace(grid, depth=grid.depth[:1], depth_bounds=grid.depth_bounds[:2])
    return Geometry(top, wet[:1], dtype, device, open_boundaries)


def _metrics(grid: Grid) -> dict[str, np.ndarray]:
    """Lengths, areas and Coriolis parameters, float64, under the names of `Geometry`."""
    dx = grid.dx_t
    dx_u = np.empty((grid.ny, grid.nx + 1))
    dx_u[:, 1:-1] = 0.5 * (dx[:, 1:] + dx[:, :-1])
    ends = 0.5 * (dx[:, 0] + dx[:, -1])
    dx_u[:, 0], dx_u[:, -1] = (ends, ends) if grid.periodic else (dx[:, 0], dx[:, -1])
    sine = np.sin(np.deg2rad(grid.lat))
    # rows beyond the first and last centre only bound closed faces: any positive size will do
    step_y = EARTH_RADIUS * np.deg2rad(np.diff(grid.lat))
    dy_v = np.concatenate([grid.dy[:1], step_y, grid.dy[-1:]])
    band = np.concatenate([[1.0], np.diff(sine), [1.0]])
    dlon = dx_u[0] / (EARTH_RADIUS * np.cos(np.deg2rad(grid.lat[0])))
    dz_w = np.concatenate([grid.dz[:1], np.diff(grid.depth), grid.dz[-1:]])
    return {
        "dx_u": dx_u,
        "dy_v": dy_v[:, None],
        "dz_w": dz_w[:, None, None],
        "length_u": grid.dy[:, None],
        "length_v": grid.dx_v,
        "area": grid.area,
        "corner_area": EARTH_RADIUS**2 * band[:, None] * dlon,
        "dz": grid.dz[:, None, None],
        "depth": grid.depth[:, None, None],
        "bottom": grid.depth_bounds[1:, None, None],
        "f_t": grid.f_t[:, None],
        "beta_t": 2 * OMEGA * np.cos(np.deg2rad(grid.lat))[:, None] / EARTH_RADIUS,
    }
