from __future__ import annotations

import gsw
import numpy as np
import pytest
from scipy.optimize import brentq

from hybridom.errors import UserError
from hybridom.evaluation.mixed_layer import mixed_layer_depth, mixed_layer_depth_oceanbench
from hybridom.grid import Grid

DEPTHS = (3.0, 8.0, 13.0, 27.0, 60.0, 110.0, 250.0, 590.0, 700.0)


def make_ocean(depths=DEPTHS, resolution=20.0, seed=0):
    """Columns of every depth, stratified weakly and strongly, with noise; values on land too."""
    grid = Grid.regular(resolution, depths=depths)
    rng = np.random.default_rng(seed)
    wet = np.arange(grid.nz)[:, None, None] < rng.integers(0, grid.nz + 1, grid.shape[1:])
    column = grid.depth[:, None, None]
    weak = rng.choice([1e-5, 2e-4, 2e-3], grid.shape[1:])
    thetao = 15.0 - 4 * weak * column + rng.normal(0.0, 0.02, grid.shape)
    so = 34.0 + weak * column + rng.normal(0.0, 0.01, grid.shape)
    return grid, wet, thetao, so


def sigma(grid, theta, practical, k, j, i):
    """sigma0 of one cell by the toolbox's own functions."""
    p = gsw.p_from_z(-grid.depth[k], grid.lat[j])
    absolute = gsw.SA_from_SP(practical, p, grid.lon[i], grid.lat[j])
    return gsw.sigma0(absolute, gsw.CT_from_pt(absolute, theta))


def depth_of_column(grid, profile):
    """The definition, for the densities of the wet levels of one column."""
    z, last = grid.depth, len(profile) - 1
    bottom = grid.depth_bounds[last + 1]
    if z[0] >= 10.0:
        reference, first = profile[0], 1
    elif z[last] < 10.0:
        return bottom
    else:
        reference = np.interp(10.0, z[: last + 1], profile)
        first = int(np.argmax(z >= 10.0))
    for k in range(first, last + 1):
        if profile[k] > reference + 0.03:
            share = (reference + 0.03 - profile[k - 1]) / (profile[k] - profile[k - 1])
            return z[k - 1] + share * (z[k] - z[k - 1])
    return bottom


@pytest.mark.parametrize("depths", [DEPTHS, (15.0, 30.0, 90.0, 400.0), (10.0, 40.0), (4.0, 9.0)])
def test_it_equals_the_definition_column_by_column(depths):
    grid, wet, thetao, so = make_ocean(depths)
    found = mixed_layer_depth(thetao, so, wet, grid)
    expected = np.full(grid.shape[1:], np.nan)
    for j in range(grid.ny):
        for i in range(grid.nx):
            levels = int(wet[:, j, i].sum())
            if levels:
                profile = [
                    sigma(grid, thetao[k, j, i], so[k, j, i], k, j, i) for k in range(levels)
                ]
                expected[j, i] = depth_of_column(grid, profile)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    if depths == DEPTHS:
        reached = ~np.isin(found, grid.depth_bounds) & wet[0]
        assert 0.2 < reached.sum() / wet[0].sum() < 0.9


@pytest.mark.parametrize("slope", [2e-4, 5e-4, 2e-3, 1e-2])
def test_density_that_grows_linearly_gives_ten_metres_plus_threshold_over_slope(slope):
    grid = Grid.regular(60.0, depths=(2.0, 7.0, 16.0, 33.0, 80.0, 170.0, 400.0))
    wet = np.ones(grid.shape, bool)
    thetao, so = np.full(grid.shape, 8.0), np.empty(grid.shape)
    for k, j, i in np.ndindex(grid.shape):
        wanted = 26.0 + slope * grid.depth[k]
        so[k, j, i] = brentq(
            lambda s, at=(k, j, i), wanted=wanted: sigma(grid, 8.0, s, *at) - wanted,
            *(30.0, 40.0),
            xtol=1e-13,
        )
    found = mixed_layer_depth(thetao, so, wet, grid)
    np.testing.assert_allclose(found, 10.0 + 0.03 / slope, rtol=1e-6)


def test_a_homogeneous_ocean_is_mixed_to_the_bottom_of_its_lowest_wet_level():
    grid, wet, thetao, so = make_ocean()
    found = mixed_layer_depth(np.full_like(thetao, 4.0), np.full_like(so, 35.0), wet, grid)
    levels = wet.sum(axis=0)
    np.testing.assert_array_equal(found, np.where(levels > 0, grid.depth_bounds[levels], np.nan))


def test_water_above_ten_metres_does_not_count_and_does_for_oceanbench():
    grid = Grid.regular(60.0, depths=DEPTHS)
    wet = np.ones(grid.shape, bool)
    thetao, so = np.full(grid.shape, 10.0), np.full(grid.shape, 35.0)
    thetao[0] = 12.0
    assert (mixed_layer_depth(thetao, so, wet, grid) == grid.depth_bounds[-1]).all()
    axes = grid.depth, grid.lat, grid.lon
    assert (mixed_layer_depth_oceanbench(thetao, so, *axes) == 8.0).all()


def test_what_lies_on_land_changes_nothing():
    grid, wet, thetao, so = make_ocean()
    expected = mixed_layer_depth(thetao, so, wet, grid)
    for fill in (np.nan, 1e30):
        on_land = (np.where(wet, x, fill) for x in (thetao, so))
        np.testing.assert_array_equal(mixed_layer_depth(*on_land, wet, grid), expected)


def test_a_shallower_mask_ends_the_layer_where_it_was_not_reached():
    grid, wet, thetao, so = make_ocean()
    before = mixed_layer_depth(thetao, so, wet, grid)
    wet = wet & (np.arange(grid.nz) < 5)[:, None, None]
    after = mixed_layer_depth(thetao, so, wet, grid)
    expected = np.where(before > grid.depth[4], grid.depth_bounds[5], before)
    np.testing.assert_array_equal(after, expected)


def test_single_precision_is_as_good():
    grid, wet, thetao, so = make_ocean()
    thetao, so = thetao.astype(np.float32), so.astype(np.float32)
    double = mixed_layer_depth(thetao.astype(float), so.astype(float), wet, grid)
    np.testing.assert_array_equal(mixed_layer_depth(thetao, so, wet, grid), double)


def test_negative_salinity_counts_as_none():
    grid, wet, thetao, so = make_ocean()
    so[:3] = np.random.default_rng(1).uniform(-2.0, 2.0, so[:3].shape)
    found = mixed_layer_depth(thetao, so, wet, grid)
    assert np.isfinite(found[wet[0]]).all()
    none = mixed_layer_depth(thetao, np.maximum(so, 0.0), wet, grid)
    np.testing.assert_array_equal(found, none)


def test_undefined_density_gives_no_depth_but_in_its_own_column():
    grid, wet, thetao, so = make_ocean()
    expected = mixed_layer_depth(thetao, so, wet, grid)
    # the density at 10 m lies between that of the levels 1 and 2
    for level in range(1, grid.nz):
        broken = thetao.copy()
        broken[level, 3, :] = np.nan
        found = mixed_layer_depth(broken, so, wet, grid)
        # closed above it, or without water there: as before
        safe = ~wet[level, 3] | ((level > 2) & (expected[3] <= grid.depth[level - 1]))
        np.testing.assert_array_equal(found[3], np.where(safe, expected[3], np.nan))
        others = np.arange(grid.ny) != 3
        np.testing.assert_array_equal(found[others], expected[others])
    thetao[0] = np.nan
    np.testing.assert_array_equal(mixed_layer_depth(thetao, so, wet, grid), expected)


def oceanbench_of_column(depth, theta, practical, lon, lat):
    """OceanBench's definition for one column."""
    kept = [k for k, z in enumerate(depth) if z <= 600.0]
    if not np.isfinite(theta[0]):
        return np.nan
    density = []
    for k in kept:
        absolute = max(gsw.SA_from_SP(practical[k], depth[k], lon, lat), 0.0)
        density.append(gsw.pot_rho_t_exact(absolute, theta[k], depth[k], 0.0))
    for k in kept:
        if density[k] - density[0] >= 0.03:
            return depth[k]
    return depth[max(k for k in kept if np.isfinite(theta[k]))]


def test_oceanbenchs_definition_equals_its_own_words_column_by_column():
    grid, wet, thetao, so = make_ocean()
    thetao, so = (np.where(wet, x, np.nan) for x in (thetao, so))
    stacked = np.stack([thetao, thetao[:, ::-1]]), np.stack([so, so[:, ::-1]])
    found = mixed_layer_depth_oceanbench(*stacked, grid.depth, grid.lat, grid.lon)
    assert found.shape == (2, grid.ny, grid.nx)
    for n, j, i in np.ndindex(found.shape):
        column = stacked[0][n, :, j, i], stacked[1][n, :, j, i]
        expected = oceanbench_of_column(grid.depth, *column, grid.lon[i], grid.lat[j])
        np.testing.assert_equal(found[n, j, i], expected)
    sea = found[np.isfinite(found)]
    assert set(np.unique(sea)) <= set(grid.depth[:-1])
    assert len(np.unique(sea)) > 4


def test_oceanbenchs_definition_needs_a_level_within_six_hundred_metres():
    grid, _, thetao, so = make_ocean((650.0, 900.0))
    with pytest.raises(UserError, match="shallowest level lies at 650 m"):
        mixed_layer_depth_oceanbench(thetao, so, grid.depth, grid.lat, grid.lon)
