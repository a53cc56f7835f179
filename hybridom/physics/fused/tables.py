"""Masks and metrics in the form that the kernels read: bits by cell, numbers by row and level."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from hybridom.constants import RHO_0
from hybridom.operators import Geometry

# bits of `Tables.flags`
WET, EAST, NORTH, BELOW = 1, 2, 4, 8

# rows of `Tables.rows`
(
    AREA_INVERSE,  # 1 / area, m-2
    LENGTH_U,  # length of the eastern and western faces, m
    LENGTH_SOUTH,  # length of the southern face, m
    LENGTH_NORTH,  # length of the northern face, m
    DX_INVERSE,  # 1 / zonal distance of centres, m-1
    DY_SOUTH_INVERSE,  # 1 / distance to the centres in the south, m-1
    DY_NORTH_INVERSE,  # 1 / distance to the centres in the north, m-1
    GEOSTROPHIC,  # f / (f^2 + f_min^2) / rho0, m3 kg-1 s
    CORIOLIS,  # f, s-1
    BETA,  # df/dy, m-1 s-1
    DX,  # zonal distance of centres, m
    DY_SOUTH,  # distance to the centres in the south, m
    DY_NORTH,  # distance to the centres in the north, m
    CORNER_SOUTH_INVERSE,  # 1 / area around a southern corner, m-2
    CORNER_NORTH_INVERSE,  # 1 / area around a northern corner, m-2
    AREA,  # m2
) = range(16)

# rows of `Tables.levels`
(
    DZ,  # thickness, m
    DZ_INVERSE,  # 1 / thickness, m-1
    DEPTH,  # depth of the level, m
    BELOW_LEVEL,  # distance from the level down to the lower interface, m
    DZ_LOWER_INVERSE,  # 1 / distance to the level below, m-1
    DZ_UPPER_INVERSE,  # 1 / distance to the level above, m-1
) = range(6)


class Tables(nn.Module):
    """What the kernels read beside the fields.

    Attributes:
        flags: (nz, ny, nx), uint8: `WET` cells, and whether their `EAST`ern, `NORTH`ern and lower
            (`BELOW`) faces are open.
        rows: (16, ny), metrics that are the same in every column; see the names above.
        levels: (6, nz), metrics of the levels.
    """

    flags: Tensor
    rows: Tensor
    levels: Tensor

    def __init__(self, geometry: Geometry, f_min: float) -> None:
        """Collect the tables of a geometry whose columns are all equally wide.

        Args:
            geometry: The grid.
            f_min: f0 of the regularised geostrophic relation, s-1.
        """
        super().__init__()
        bits = {
            WET: geometry.wet,
            EAST: geometry.u_open[..., 1:],
            NORTH: geometry.v_open[:, 1:],
            BELOW: geometry.w_open[1:],
        }
        flags = torch.zeros(geometry.wet.shape, dtype=torch.uint8)
        for bit, mask in bits.items():
            flags |= bit * mask.to(torch.uint8)
        self.register_buffer("flags", flags, persistent=False)
        self.register_buffer("rows", _rows(geometry, f_min), persistent=False)
        self.register_buffer("levels", _levels(geometry), persistent=False)


def columns_are_equal(geometry: Geometry) -> bool:
    """Whether all columns of the grid have the same width, as the kernels take for granted."""
    width = geometry.area.cpu().numpy()
    return bool(np.allclose(width, width[:, :1], rtol=1e-6))


def _rows(geometry: Geometry, f_min: float) -> Tensor:
    g = geometry
    dx, dy = g.dx_u[:, 0], g.dy_v[:, 0]
    lengths, corners, f = g.length_v[:, 0], g.corner_area[:, 0], g.f_t[:, 0]
    columns = {
        AREA_INVERSE: 1 / g.area[:, 0],
        LENGTH_U: g.length_u[:, 0],
        LENGTH_SOUTH: lengths[:-1],
        LENGTH_NORTH: lengths[1:],
        DX_INVERSE: 1 / dx,
        DY_SOUTH_INVERSE: 1 / dy[:-1],
        DY_NORTH_INVERSE: 1 / dy[1:],
        GEOSTROPHIC: f / ((f**2 + f_min**2) * RHO_0),
        CORIOLIS: f,
        BETA: g.beta_t[:, 0],
        DX: dx,
        DY_SOUTH: dy[:-1],
        DY_NORTH: dy[1:],
        CORNER_SOUTH_INVERSE: 1 / corners[:-1],
        CORNER_NORTH_INVERSE: 1 / corners[1:],
        AREA: g.area[:, 0],
    }
    return torch.stack([columns[i] for i in range(len(columns))])


def _levels(geometry: Geometry) -> Tensor:
    g = geometry
    between = g.dz_w[:, 0, 0]
    columns = {
        DZ: g.dz[:, 0, 0],
        DZ_INVERSE: 1 / g.dz[:, 0, 0],
        DEPTH: g.depth[:, 0, 0],
        BELOW_LEVEL: (g.bottom - g.depth)[:, 0, 0],
        DZ_LOWER_INVERSE: 1 / between[1:],
        DZ_UPPER_INVERSE: 1 / between[:-1],
    }
    return torch.stack([columns[i] for i in range(len(columns))])
