from __future__ import annotations

import numpy as np
import pytest

from hybridom.constants import CP_SEAWATER, RHO_0
from hybridom.evaluation.heat import column_integral, heat_content, overlap
from hybridom.grid import Grid
from hybridom.quantities import BUDGETS, QUANTITIES, quantity
from hybridom.quantities import heat_content as named

DEPTHS = (3.0, 11.0, 26.0, 70.0, 150.0, 400.0, 650.0)


@pytest.fixture
def ocean():
    grid = Grid.regular(30.0, depths=DEPTHS)
    rng = np.random.default_rng(0)
    wet = np.arange(grid.nz)[:, None, None] < rng.integers(0, grid.nz + 1, grid.shape[1:])
    return grid, wet, rng.normal(10.0, 5.0, grid.shape)


def test_overlap_is_exact_on_uneven_levels():
    bounds = np.array([0.0, 5.0, 20.0, 100.0, 350.0, 700.0])
    np.testing.assert_array_equal(overlap(bounds, 0.0, 300.0), [5, 15, 80, 200, 0])
    np.testing.assert_array_equal(overlap(bounds, 12.0, 17.5), [0, 5.5, 0, 0, 0])
    np.testing.assert_array_equal(overlap(bounds, 20.0, 350.0), [0, 0, 80, 250, 0])
    np.testing.assert_array_equal(overlap(bounds, 0.0, 700.0), np.diff(bounds))


@pytest.mark.parametrize("layer", [(0.0, 300.0), (0.0, 700.0), (33.0, 471.5), (600.0, 650.0)])
def test_uniform_temperature_holds_rho_cp_theta_times_the_thickness_of_the_water(ocean, layer):
    grid, wet, _ = ocean
    found = heat_content(np.full(grid.shape, 7.5), wet, grid.depth_bounds, layer)
    floor = grid.depth_bounds[wet.sum(axis=0)]
    water = np.clip(floor, *layer) - layer[0]
    expected = np.where(water > 0, RHO_0 * CP_SEAWATER * 7.5 * water, np.nan)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert np.isnan(found).any() and np.isfinite(found).any()


def test_heat_content_equals_a_loop_over_cells(ocean):
    grid, wet, thetao = ocean
    found = heat_content(np.where(wet, thetao, np.nan), wet, grid.depth_bounds, (20.0, 300.0))
    for j, i in np.ndindex(found.shape):
        total, water = 0.0, 0.0
        for k in range(grid.nz):
            low, high = grid.depth_bounds[k : k + 2]
            part = max(min(high, 300.0) - max(low, 20.0), 0.0)
            if wet[k, j, i]:
                total, water = total + part * thetao[k, j, i], water + part
        if water:
            assert found[j, i] == pytest.approx(1026.0 * 3991.86795711963 * total)
        else:
            assert np.isnan(found[j, i])


def test_layers_add_up(ocean):
    grid, wet, thetao = ocean
    upper, lower, both = (
        np.nan_to_num(heat_content(thetao, wet, grid.depth_bounds, layer))
        for layer in ((0.0, 300.0), (300.0, 700.0), (0.0, 700.0))
    )
    np.testing.assert_allclose(upper + lower, both, rtol=1e-12)


def test_what_lies_on_land_changes_nothing(ocean):
    grid, wet, thetao = ocean
    expected = column_integral(thetao, wet, grid.dz)
    for fill in (np.nan, 1e30):
        filled = np.where(wet, thetao, fill)
        np.testing.assert_array_equal(column_integral(filled, wet, grid.dz), expected)


def test_single_precision_is_summed_in_double(ocean):
    grid, wet, thetao = ocean
    single = thetao.astype(np.float32)
    double = column_integral(single.astype(float), wet, grid.dz)
    found = column_integral(single, wet, grid.dz)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, double, rtol=1e-14)


def test_every_quantity_is_found_by_its_name():
    for name, held in (QUANTITIES | BUDGETS).items():
        assert quantity(name) is held and held.name == name
    for layer, name in (((0.0, 300.0), "ohc_0_300"), ((12.5, 2e6), "ohc_12.5_2e+06")):
        assert named(*layer).name == name
        assert quantity(name) == named(*layer)
    assert quantity("ohc_0_700").long_name == "heat content 0-700 m"
    for unknown in ("thetao", "ohc", "ohc_0"):
        with pytest.raises(KeyError):
            quantity(unknown)
