"""Flow at faces, vertical velocity and vorticity of centred velocities, and the adjoint.

Both are linear. With h = -dz / area per cell, gw the derivatives of w summed from the top, m the
mask of a face and gc = open / corner_area * sum over its cells of share * g_zeta per corner,

    g_u = given + h gw length_u |west - |east + dx gc |north - dx gc |south
    g_v = given + h gw length_v |south - |north + dy gc |west - dy gc |east
    g_uo = sum over both faces of m g_u / 2        g_vo alike
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from hybridom.physics.fused import tables, threads
from hybridom.physics.fused.compiler import inner, kernel
from hybridom.physics.fused.types import Faces, Metrics

CELLS = 50_000  # of a task, so that it takes longer than to hand it to a thread


def flow(
    uo: Tensor, vo: Tensor, faces: Faces, metrics: Metrics, periodic: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See `operators.flow`."""
    windows, nz, ny, nx = uo.shape
    shapes = (nz, ny, nx + 1), (nz, ny + 1, nx), (nz + 1, ny, nx), (nz, ny, nx)
    u, v, w, zeta = (threads.empty((windows, *shape), uo.dtype) for shape in shapes)
    constants = _constants(faces, metrics, periodic)
    tasks = []
    for b in range(windows):
        fields = tuple(x[b].numpy() for x in (uo, vo, u, v, w, zeta))
        for band in _bands(nz, ny, nx):
            tasks.append(functools.partial(_flow_task, fields, constants, band))
    threads.run(tasks)
    return u, v, w, zeta


def flow_adjoint(
    grad_u: Tensor,
    grad_v: Tensor,
    grad_w: Tensor,
    grad_zeta: Tensor,
    faces: Faces,
    metrics: Metrics,
    periodic: bool,
) -> tuple[Tensor, Tensor]:
    """See `operators.flow_adjoint`."""
    grad_uo, grad_vo = (threads.empty(grad_zeta.shape, grad_zeta.dtype) for _ in range(2))
    constants = _constants(faces, metrics, periodic)
    tasks = []
    for b in range(grad_zeta.shape[0]):
        given = (grad_u, grad_v, grad_w, grad_zeta, grad_uo, grad_vo)
        fields = tuple(x[b].numpy() for x in given)
        for band in _bands(*grad_zeta.shape[1:]):
            tasks.append(functools.partial(_adjoint_task, fields, constants, band))
    threads.run(tasks)
    return grad_uo, grad_vo


def _bands(nz: int, ny: int, nx: int) -> list[tuple[int, int]]:
    """Rows (first, beyond the last) of one task a thread, none of them small."""
    count = max(min(torch.get_num_threads(), ny // 8, nz * ny * nx // CELLS), 1)
    return threads.split(ny, count)


def _constants(faces: Faces, metrics: Metrics, periodic: bool) -> tuple:
    return (*(x.numpy() for x in faces), metrics.rows.numpy(), metrics.levels.numpy(), periodic)


def _flow_task(fields: tuple, constants: tuple, band: tuple[int, int]) -> None:
    south, north = band
    nx, dtype = fields[0].shape[-1], fields[0].dtype
    shapes = [(north - south + 2, nx + 1), (north - south + 1, nx), (2, nx + 1), (nx,)]
    arrays = [(shape, dtype) for shape in shapes]
    arrays += [((nx + 1,), dtype), ((2, nx), dtype), ((north - south, nx), np.dtype(np.float64))]
    with threads.Memory(arrays) as scratch:
        _flow_band(*fields, *constants, south, north, *scratch)


def _adjoint_task(fields: tuple, constants: tuple, band: tuple[int, int]) -> None:
    south, north = band
    nx, dtype = fields[-1].shape[-1], fields[-1].dtype
    rows = north - south
    shapes = [(rows + 2, nx), (rows + 1, nx + 1), (nx + 1,), (rows + 1, nx), (nx,)]
    with threads.Memory([(shape, dtype) for shape in shapes]) as scratch:
        _adjoint_band(*fields, *constants, south, north, *scratch)


@kernel
def _flow_band(
    uo, vo, u, v, w, zeta, u_flow, v_flow, corner_open, rows, levels, periodic, south, north,
    eastward, northward, corners, share, x, y, column,
):  # fmt: skip
    """Rows `south` to `north` (exclusive) of all levels.

    Args:
        eastward: Scratch for u of these rows and one on each side.
        northward: Scratch for v of these rows and the face beyond.
        corners: Scratch for the vorticity of two rows of corners.
        share: Scratch for a row of cells.
        x, y: Scratch for the transports through the faces of a row of cells.
        column: Scratch for w of these rows in float64, in which PyTorch sums.
    """
    nz, ny = uo.shape[:2]
    zero = uo.dtype.type(0)
    w[nz, south:north] = zero
    column[:] = 0.0
    for k in range(nz - 1, -1, -1):
        for j in range(max(south - 1, 0), min(north + 1, ny)):
            _to_u(uo[k, j], u_flow[k, j], periodic, eastward[j - south + 1])
        for j in range(south, north + 1):
            below, above = max(j - 1, 0), min(j, ny - 1)
            _to_v(vo[k, below], vo[k, above], v_flow[k, j], northward[j - south])
        _corner_row(eastward, northward, corner_open[k], rows, periodic, south, south, corners[0])
        _through(northward[0], rows[tables.LENGTH_SOUTH, south], y[0])
        for j in range(south, north):
            here, beyond = corners[(j - south) % 2], corners[(j - south + 1) % 2]
            at = j - south
            u[k, j] = eastward[at + 1]
            v[k, j] = northward[at]
            _corner_row(eastward, northward, corner_open[k], rows, periodic, j + 1, south, beyond)
            _through(eastward[at + 1], rows[tables.LENGTH_U, j], x)
            _through(northward[at + 1], rows[tables.LENGTH_NORTH, j], y[(at + 1) % 2])
            _vertical(
                x, y[at % 2], y[(at + 1) % 2], rows[tables.AREA, j], levels[tables.DZ, k],
                column[at], w[k, j],
            )  # fmt: skip
            _shares(corner_open[k, j], corner_open[k, j + 1], share)
            _to_cells(here, beyond, share, zeta[k, j])
        if north == ny:
            v[k, ny] = northward[ny - south]


@inner
def _to_u(c, mask, periodic, into):
    """A row of centred values to its faces (nx+1,)."""
    nx, zero, half = c.size, c.dtype.type(0), c.dtype.type(0.5)
    west, east, inner, inside = c[:-1], c[1:], into[1:nx], mask[1:nx]
    for i in range(nx - 1):
        inner[i] = half * (west[i] + east[i]) if inside[i] else zero
    before, after = (c[nx - 1], c[0]) if periodic else (c[0], c[nx - 1])
    into[0] = half * (before + c[0]) if mask[0] else zero
    into[nx] = half * (c[nx - 1] + after) if mask[nx] else zero


@inner
def _to_v(south, north, mask, into):
    """Two rows of centred values to the faces between them (nx,)."""
    zero, half = into.dtype.type(0), into.dtype.type(0.5)
    for i in range(into.size):
        into[i] = half * (south[i] + north[i]) if mask[i] else zero


@inner
def _corner_row(eastward, northward, corner_open, rows, periodic, j, south, into):
    """Vorticity of the corners at the southern faces of row `j` (nx+1,); zero on closed ones."""
    ny, nx, zero = rows.shape[1], into.size - 1, into.dtype.type(0)
    if j == 0 or j == ny:
        into[:] = zero
        return
    at = j - south
    inverse = rows[tables.CORNER_SOUTH_INVERSE, j]
    dx_south, dx_north = rows[tables.DX, j - 1] * inverse, rows[tables.DX, j] * inverse
    dy, mask = rows[tables.DY_SOUTH, j] * inverse, corner_open[j]
    u_south, u_north, v = eastward[at], eastward[at + 1], northward[at]
    inner, inside, v_west, v_east = into[1:nx], mask[1:nx], v[:-1], v[1:]
    s, n = u_south[1:nx], u_north[1:nx]
    for i in range(nx - 1):
        curl = dy * (v_east[i] - v_west[i]) - (dx_north * n[i] - dx_south * s[i])
        inner[i] = curl if inside[i] else zero
    seam = dy * (v[0] - v[nx - 1])
    for i in (0, nx):
        curl = seam - (dx_north * u_north[i] - dx_south * u_south[i])
        into[i] = curl if periodic and mask[i] else zero


@inner
def _through(velocity, length, into):
    """Transport per depth through a row of faces."""
    for i in range(into.size):
        into[i] = velocity[i] * length


@inner
def _vertical(x, y_south, y_north, area, dz, column, into):
    """Velocity through the tops of a row of cells (nx,); `column` is that through their bottoms.

    Operations are those of `vertical_velocity`, and rounded as they are: in single precision the
    rounding of w shows in the stretching, which is its difference between levels.

    Args:
        x, y_south, y_north: Transports through the other faces. They come from memory, so that no
            product is taken together with the sum that follows it.
    """
    west, east = x[:-1], x[1:]
    for i in range(into.size):
        outflow = ((east[i] - west[i]) + (y_north[i] - y_south[i])) / area
        column[i] += -outflow * dz
        into[i] = column[i]


@inner
def _shares(south, north, into):
    """One over the number of open corners around each cell of a row; one where all are closed."""
    one = into.dtype.type(1)
    sw, se, nw, ne = south[:-1], south[1:], north[:-1], north[1:]
    for i in range(into.size):
        # narrow integers, or the loop would not be vectorised
        count = np.uint8(np.uint8(sw[i]) + np.uint8(se[i]))
        count = np.uint8(count + np.uint8(np.uint8(nw[i]) + np.uint8(ne[i])))
        open_corners = into.dtype.type(np.int32(count))
        into[i] = one / (open_corners if open_corners > one else one)


@inner
def _to_cells(corners_south, corners_north, share, into):
    """Mean of the open corners around each cell of a row (nx,)."""
    sw, se, nw, ne = corners_south[:-1], corners_south[1:], corners_north[:-1], corners_north[1:]
    for i in range(into.size):
        into[i] = ((nw[i] + sw[i]) + (ne[i] + se[i])) * share[i]


@kernel
def _adjoint_band(
    grad_u, grad_v, grad_w, grad_zeta, grad_uo, grad_vo, u_flow, v_flow, corner_open, rows, levels,
    periodic, south, north, column, corners, line, faces, share,
):  # fmt: skip
    """Rows `south` to `north` (exclusive) of all levels.

    Args:
        column: Scratch for the derivatives of w summed from the top, with a row on each side.
        corners: Scratch for the derivatives of these rows' corners and those beyond.
        line: Scratch for the derivatives of a row of u.
        faces: Scratch for the derivatives of v of these rows and the face beyond.
        share: Scratch for a row of cells.
    """
    nz, ny, nx = grad_zeta.shape
    zero, half = grad_zeta.dtype.type(0), grad_zeta.dtype.type(0.5)
    column[:] = zero
    for k in range(nz):
        for j in range(max(south - 1, 0), min(north + 1, ny)):
            into, given = column[j - south + 1], grad_w[k, j]
            for i in range(nx):
                into[i] += given[i]
        for j in range(south, north + 1):
            _corner_adjoint(grad_zeta[k], corner_open[k], rows, j, share, corners[j - south])
            _v_adjoint(
                grad_v[k, j], v_flow[k, j], column[j - south], column[j - south + 1],
                corners[j - south], rows, levels[tables.DZ, k], periodic, j, faces[j - south],
            )  # fmt: skip
        for j in range(south, north):
            at = j - south
            _u_adjoint(
                grad_u[k, j], u_flow[k, j], column[at + 1], corners[at], corners[at + 1],
                rows[:, j], levels[tables.DZ, k], line,
            )  # fmt: skip
            west, east, into = line[:-1], line[1:], grad_uo[k, j]
            for i in range(nx):
                into[i] = half * (west[i] + east[i])
            if periodic:
                into[nx - 1] += half * line[0]
                into[0] += half * line[nx]
            else:
                into[0] += half * line[0]
                into[nx - 1] += half * line[nx]
            _rows_adjoint(faces[at], faces[at + 1], j == 0, j == ny - 1, grad_vo[k, j])


@inner
def _rows_adjoint(south, north, first, last, into):
    """Derivatives of a row of centred values from those of both faces; an outer face is its own."""
    half, one = into.dtype.type(0.5), into.dtype.type(1)
    a, b = (one if first else half), (one if last else half)
    for i in range(into.size):
        into[i] = a * south[i] + b * north[i]


@inner
def _corner_adjoint(grad_zeta, corner_open, rows, j, share, into):
    """Derivatives of circulation around the corners at the southern faces of row `j` (nx+1,)."""
    ny, nx, zero = rows.shape[1], into.size - 1, into.dtype.type(0)
    into[:] = zero
    if j == 0 or j == ny:
        return
    west, east, mask = into[:-1], into[1:], corner_open[j]
    for row in (j - 1, j):
        _shares(corner_open[row], corner_open[row + 1], share)
        given = grad_zeta[row]
        for i in range(nx):
            west[i] += given[i] * share[i]
        for i in range(nx):
            east[i] += given[i] * share[i]
    inverse = rows[tables.CORNER_SOUTH_INVERSE, j]
    for i in range(nx + 1):
        into[i] = inverse * into[i] if mask[i] else zero


@inner
def _u_adjoint(given, mask, column, corners_south, corners_north, row, dz, into):
    """Derivatives of a row of u (nx+1,), zero on closed faces."""
    nx, zero = column.size, into.dtype.type(0)
    dx, h = row[tables.DX], dz * row[tables.AREA_INVERSE] * row[tables.LENGTH_U]
    for i in range(nx + 1):
        into[i] = given[i] + dx * (corners_north[i] - corners_south[i])
    west, east = into[:-1], into[1:]
    for i in range(nx):
        west[i] += h * column[i]
    for i in range(nx):
        east[i] -= h * column[i]
    for i in range(nx + 1):
        into[i] = into[i] if mask[i] else zero


@inner
def _v_adjoint(
    given, mask, column_south, column_north, corners, rows, dz, periodic, j, into
):  # fmt: skip
    """Derivatives of v (nx,) at the southern faces of row `j`, zero on closed faces."""
    ny, nx, zero = rows.shape[1], into.size, into.dtype.type(0)
    length = rows[tables.LENGTH_SOUTH, j] if j < ny else rows[tables.LENGTH_NORTH, ny - 1]
    dy = rows[tables.DY_SOUTH, j] if j < ny else zero
    a = dz * length * rows[tables.AREA_INVERSE, j - 1] if j > 0 else zero
    b = dz * length * rows[tables.AREA_INVERSE, j] if j < ny else zero
    west, east = corners[:-1], corners[1:]
    for i in range(nx):
        flux = b * column_north[i] - a * column_south[i]
        into[i] = given[i] + flux + dy * (west[i] - east[i])
    if periodic:
        # the seam is stored twice, as the first and the last corner
        into[0] += dy * corners[nx]
        into[nx - 1] -= dy * corners[0]
    for i in range(nx):
        into[i] = into[i] if mask[i] else zero
