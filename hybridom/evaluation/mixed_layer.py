"""Depth of the mixed layer from temperature and salinity, by two definitions."""

from __future__ import annotations

import gsw
import numpy as np

from hybridom.errors import UserError
from hybridom.grid import Grid

Cells = tuple[np.ndarray, ...]  # indices along each horizontal axis, rows and columns last

THRESHOLD = 0.03  # kg m-3
REFERENCE_DEPTH = 10.0  # m
OCEANBENCH_THRESHOLD = 0.03  # kg m-3
OCEANBENCH_DEEPEST = 600.0  # m


def mixed_layer_depth(
    thetao: np.ndarray, so: np.ndarray, wet: np.ndarray, grid: Grid
) -> np.ndarray:
    """Mixed-layer depth by a density threshold (de Boyer Montegut et al. 2004, JGR 109, C12003).

    It is where potential density first exceeds that at 10 m by 0.03 kg m-3, linear between levels
    as the density at 10 m is; on a grid whose first level lies below 10 m that level is the
    reference. Density is sigma0 of TEOS-10 from absolute salinity and conservative temperature
    (gsw); a negative salinity counts as 0, as in the toolbox.

    Args:
        thetao: Potential temperature (nz, ny, nx), degC; may hold anything outside `wet`.
        so: Practical salinity, likewise.
        wet: bool (nz, ny, nx).
        grid: Their grid.

    Returns:
        float64 (ny, nx), m: the bottom (lower interface) of the lowest wet level where density
        stays within the threshold, NaN on land and where a density that it rests on is undefined.
    """
    depth = grid.depth
    below = int(np.searchsorted(depth, REFERENCE_DEPTH))
    first = max(below - 1, 0)
    levels = np.logical_and.accumulate(wet).sum(axis=0)
    found = np.where(levels > 0, grid.depth_bounds[levels], np.nan)
    cells: Cells = np.nonzero(levels > first)
    sigma = sigma0(thetao, so, grid, first, cells)
    # nothing is denser than the limit until the density at 10 m sets it
    limit = sigma + THRESHOLD if below == 0 else np.full(sigma.shape, np.inf)
    for level in range(first, grid.nz):
        if level > first:
            above, sigma = sigma, sigma0(thetao, so, grid, level, cells)
            thickness = depth[level] - depth[level - 1]
            if level == below:
                part = (REFERENCE_DEPTH - depth[level - 1]) / thickness
                limit = above + part * (sigma - above) + THRESHOLD
            closed = sigma > limit
            part = (limit - above)[closed] / (sigma - above)[closed]
            found[_pick(cells, closed)] = depth[level - 1] + part * thickness
        undefined = ~np.isfinite(sigma)
        found[_pick(cells, undefined)] = np.nan
        goes_on = (sigma <= limit) & (levels[cells] > level + 1)
        cells, sigma, limit = _pick(cells, goes_on), sigma[goes_on], limit[goes_on]
    return found


def sigma0(thetao: np.ndarray, so: np.ndarray, grid: Grid, level: int, cells: Cells) -> np.ndarray:
    """Potential density anomaly (reference 0 dbar) of some cells of a level, kg m-3.

    Args:
        thetao: Potential temperature (nz, ny, nx), degC.
        so: Practical salinity, likewise.
        grid: Their grid.
        level: Index of the level.
        cells: Rows and columns (n,).

    Returns:
        float64 (n,).
    """
    rows, columns = cells
    pressure = gsw.p_from_z(-grid.depth[level], grid.lat)[rows]
    practical = np.maximum(so[level][cells].astype(np.float64), 0.0)
    absolute = gsw.SA_from_SP(practical, pressure, grid.lon[columns], grid.lat[rows])
    conservative = gsw.CT_from_pt(absolute, thetao[level][cells].astype(np.float64))
    return np.asarray(gsw.sigma0(absolute, conservative))


def mixed_layer_depth_oceanbench(
    thetao: np.ndarray,
    so: np.ndarray,
    depth: np.ndarray,
    latitude: np.ndarray,
    longitude: np.ndarray,
) -> np.ndarray:
    """Mixed-layer depth as OceanBench 0.6.1 computes it (`core/mixed_layer_depth.py`).

    Of the levels down to 600 m, it is the depth of the first one that is denser than the
    shallowest by 0.03 kg m-3 or more, without interpolation; the depth of the lowest level with a
    temperature where there is none. Absolute salinity takes depth for pressure and is not below
    0; potential density (reference 0 dbar) takes the potential for the in-situ temperature. Both
    shortcuts are part of the definition: they let its numbers stand beside OceanBench's.

    Args:
        thetao: Potential temperature (..., nz, ny, nx), degC, NaN on land.
        so: Practical salinity (..., nz, ny, nx), NaN on land.
        depth: Level centres (nz,), m, ascending.
        latitude: Rows (ny,), degrees north.
        longitude: Columns (nx,), degrees east.

    Returns:
        float64 (..., ny, nx), m; NaN where the shallowest level has no temperature.

    Raises:
        UserError: No level lies at 600 m or above.
    """
    levels = np.flatnonzero(np.asarray(depth) <= OCEANBENCH_DEEPEST)
    if not levels.size:
        raise UserError(
            f"depth: the shallowest level lies at {np.min(depth):g} m; the mixed layer of "
            f"OceanBench needs one at {OCEANBENCH_DEEPEST:g} m or above, leave it out on this grid"
        )
    rows, columns = np.asarray(latitude, np.float64), np.asarray(longitude, np.float64)
    known = np.isfinite(thetao[..., levels[0], :, :])
    found = np.full(known.shape, np.nan)
    cells: Cells = np.nonzero(known)
    reference = np.full(cells[0].shape, np.nan)
    for level in levels:
        t = thetao[..., level, :, :][cells].astype(np.float64)
        s = so[..., level, :, :][cells].astype(np.float64)
        # until a column is closed, its lowest level with a temperature so far is the answer
        found[_pick(cells, np.isfinite(t))] = depth[level]
        wet = np.isfinite(t) & np.isfinite(s)
        *_, j, i = _pick(cells, wet)
        pressure = float(depth[level])
        salinity = np.maximum(gsw.SA_from_SP(s[wet], pressure, columns[i], rows[j]), 0.0)
        density = np.full(t.shape, np.nan)
        density[wet] = gsw.pot_rho_t_exact(salinity, t[wet], pressure, 0.0)
        if level == levels[0]:
            reference = density
        goes_on = ~(density - reference >= OCEANBENCH_THRESHOLD)
        cells, reference = _pick(cells, goes_on), reference[goes_on]
    return found


def _pick(cells: Cells, chosen: np.ndarray) -> Cells:
    return tuple(index[chosen] for index in cells)
