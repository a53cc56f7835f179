from __future__ import annotations

import numpy as np
import pytest

from hybridom.constants import EARTH_RADIUS, GRAVITY, OMEGA
from hybridom.evaluation.currents import geostrophic_currents, kinetic_energy
from hybridom.grid import Grid

EARTH = GRAVITY, OMEGA, EARTH_RADIUS


def currents_on(grid, zos, wet=None, band=5.0):
    wet = np.ones(zos.shape[-2:], bool) if wet is None else wet
    return geostrophic_currents(zos, grid.lat, grid.lon, wet, grid.periodic, *EARTH, band)


def test_the_height_of_solid_body_rotation_gives_one_angular_velocity_everywhere():
    grid, speed = Grid.regular(4.0), 0.3
    lat = np.deg2rad(grid.lat)
    # u = U cos(lat) needs d(zos)/dlat = -R f u / g
    height = -EARTH_RADIUS * OMEGA * speed / GRAVITY * np.sin(lat) ** 2
    u, v = currents_on(grid, np.repeat(height[:, None], grid.nx, axis=1))
    step = 2 * np.deg2rad(4.0)
    # a centred difference of sin^2 is its slope times this
    expected = speed * np.cos(lat) * np.sin(step) / step
    inside = (np.abs(grid.lat) >= 5.0) & (np.abs(grid.lat) < 88.0)
    np.testing.assert_allclose(u[inside], np.repeat(expected[inside, None], grid.nx, 1), rtol=1e-9)
    assert np.isnan(u[~inside]).all()
    np.testing.assert_array_equal(v[np.abs(grid.lat) >= 5.0], 0.0)


def test_a_slope_along_longitude_gives_its_exact_northward_current():
    grid = Grid.regular(2.0, lat=(-60.0, -20.0), lon=(10.0, 70.0))
    height = np.broadcast_to(1e-2 * np.deg2rad(grid.lon), (grid.ny, grid.nx))
    u, v = currents_on(grid, height)
    lat = np.deg2rad(grid.lat)[:, None]
    expected = GRAVITY / (2 * OMEGA * np.sin(lat)) * 1e-2 / (EARTH_RADIUS * np.cos(lat))
    np.testing.assert_allclose(v[:, 1:-1], np.repeat(expected, grid.nx - 2, 1), rtol=1e-9)
    assert np.isnan(v[:, [0, -1]]).all()
    assert not v[1:-1, 1:-1].max() > 0
    np.testing.assert_array_equal(u[1:-1], 0.0)
    assert np.isnan(u[[0, -1]]).all()


def test_the_last_column_neighbours_the_first_on_a_periodic_grid():
    grid = Grid.regular(5.0, lat=(20.0, 60.0))
    lon = np.deg2rad(grid.lon)
    v = currents_on(grid, np.broadcast_to(np.cos(lon), (grid.ny, grid.nx)))[1]
    lat, step = np.deg2rad(grid.lat)[:, None], np.deg2rad(5.0)
    slope = -np.sin(lon) * np.sin(step) / step / (EARTH_RADIUS * np.cos(lat))
    expected = GRAVITY / (2 * OMEGA * np.sin(lat)) * slope
    np.testing.assert_allclose(v, expected, rtol=1e-9, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("hemisphere", [1.0, -1.0])
def test_high_water_lies_to_the_right_of_the_current_in_the_north_and_left_in_the_south(hemisphere):
    grid = Grid.regular(5.0, lat=(20.0, 60.0) if hemisphere > 0 else (-60.0, -20.0))
    higher_south = -np.repeat(grid.lat[:, None], grid.nx, axis=1)
    u = currents_on(grid, higher_south)[0]
    assert (np.sign(u[1:-1]) == hemisphere).all()


def test_a_difference_needs_both_neighbours_and_the_cell_to_be_wet():
    grid = Grid.regular(10.0, lat=(-70.0, 70.0))
    rng = np.random.default_rng(0)
    wet, zos = rng.random((grid.ny, grid.nx)) > 0.2, rng.normal(size=(3, grid.ny, grid.nx))
    u, v = currents_on(grid, np.where(wet, zos, np.nan), wet)
    for j, i in np.ndindex(wet.shape):
        f = 2 * OMEGA * np.sin(np.deg2rad(grid.lat[j]))
        east, west = (i + 1) % grid.nx, (i - 1) % grid.nx
        usable = wet[j, i] and abs(grid.lat[j]) >= 5.0
        if usable and wet[j, east] and wet[j, west]:
            dx = 2 * EARTH_RADIUS * np.cos(np.deg2rad(grid.lat[j])) * np.deg2rad(10.0)
            slope = (zos[:, j, east] - zos[:, j, west]) / dx
            np.testing.assert_allclose(v[:, j, i], GRAVITY / f * slope)
        else:
            assert np.isnan(v[:, j, i]).all()
        if usable and 0 < j < grid.ny - 1 and wet[j - 1, i] and wet[j + 1, i]:
            dy = 2 * EARTH_RADIUS * np.deg2rad(10.0)
            slope = (zos[:, j + 1, i] - zos[:, j - 1, i]) / dy
            np.testing.assert_allclose(u[:, j, i], -GRAVITY / f * slope)
        else:
            assert np.isnan(u[:, j, i]).all()
    assert np.isfinite(u).any() and np.isfinite(v).any()
    filled = currents_on(grid, np.where(wet, zos, 1e20), wet)
    np.testing.assert_array_equal(filled, (u, v))


def test_a_row_at_the_edge_of_the_band_counts_and_one_within_does_not():
    lat = np.array([-10.0, -5.0, 0.0, 5.0, 10.0])
    lon, wet = np.arange(4.0), np.ones((5, 4), bool)
    zos = np.random.default_rng(0).normal(size=(5, 4))
    for band, defined in ((5.0, [1, 1, 0, 1, 1]), (5.1, [1, 0, 0, 0, 1]), (0.0, [1, 1, 0, 1, 1])):
        v = geostrophic_currents(zos, lat, lon, wet, False, *EARTH, band)[1]
        assert np.isfinite(v[:, 1]).tolist() == [bool(n) for n in defined]


def test_there_is_no_current_at_a_pole():
    lat = np.array([70.0, 80.0, 90.0])
    lon, wet = np.arange(0.0, 360.0, 90.0), np.ones((3, 4), bool)
    zos = np.random.default_rng(0).normal(size=(3, 4))
    u, v = geostrophic_currents(zos, lat, lon, wet, True, *EARTH, 5.0)
    assert np.isnan(u[-1]).all() and np.isnan(v[-1]).all()
    assert np.isfinite(v[:-1]).all()


def test_kinetic_energy_is_half_the_squared_speed():
    assert kinetic_energy(np.float32(3.0), np.float32(-4.0)) == 12.5
