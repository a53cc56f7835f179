"""Drift against closed forms and a plain integration in double precision."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.interpolate import RegularGridInterpolator

from hybridom.errors import UserError
from hybridom.evaluation.oceanbench import drift

METRES = 111_120.0  # in a degree: 60 nautical miles


def test_a_uniform_current_carries_by_its_speed():
    lat, lon = np.arange(-10.0, 11.0), np.arange(-180.0, 180.0)
    u, v = np.full((2, 4, 21, 360), 0.5)
    found_lat, found_lon = drift.trajectories(u, 0 * v, lat, lon, [0.0, 5.0], [0.0, 20.0])
    way = 0.5 * 86_400 / METRES * np.arange(4)
    np.testing.assert_allclose(found_lat, [[0.0] * 4, [5.0] * 4], atol=1e-6)
    np.testing.assert_allclose(found_lon[0], way, atol=1e-4)
    np.testing.assert_allclose(found_lon[1], 20 + way / np.cos(np.deg2rad(5.0)), atol=1e-4)


def test_trajectories_agree_with_an_adaptive_integration():
    rng = np.random.default_rng(5)
    lat, lon, days = np.arange(20.0, 41.0), np.arange(-40.0, -9.0), 4
    shape = days, lat.size, lon.size
    u, v = (np.cumsum(rng.normal(0, 0.1, shape), axis=-1) for _ in range(2))
    axes = np.arange(days) * 86_400.0, lat, lon
    currents = [RegularGridInterpolator(axes, x.astype(np.float32).astype(float)) for x in (u, v)]

    def rate(time, place):
        point = [time, place[0], place[1]]
        per_degree = METRES * np.cos(np.deg2rad(place[0]))
        return [currents[1](point)[0] / METRES, currents[0](point)[0] / per_degree]

    start = [31.3, -24.7]
    found_lat, found_lon = drift.trajectories(u, v, lat, lon, *([x] for x in start))
    exact = solve_ivp(
        rate, (0, 3 * 86_400), start, t_eval=axes[0], rtol=1e-8, atol=1e-8, max_step=3600
    )
    np.testing.assert_allclose(found_lat[0], exact.y[0], atol=2e-4)
    np.testing.assert_allclose(found_lon[0], exact.y[1], atol=2e-4)


def test_particles_go_around_the_globe():
    lat, lon = np.arange(-5.0, 6.0), np.arange(-180.0, 180.0)
    u = np.full((3, 11, 360), 1.0)
    _, found = drift.trajectories(u, 0 * u, lat, lon, [0.0, 0.0], [179.4, 10.0])
    way = (found - found[:, :1] + 180.0) % 360.0 - 180.0
    np.testing.assert_allclose(way[0], way[1], atol=2e-4)
    assert found[0, 2] < 0


def test_a_particle_that_leaves_keeps_its_last_place_for_a_day():
    lat, lon = np.arange(0.0, 11.0), np.arange(0.0, 11.0)
    v = np.full((4, 11, 11), 1.0)
    found, _ = drift.trajectories(0 * v, v, lat, lon, [9.0, 10.0, 1.0], [5.0, 5.0, 5.0])
    hours = np.ceil((10.0 - 9.0) * METRES / 3600.0) - 1  # whole steps inside
    np.testing.assert_allclose(
        found[0], [9.0, 9.0 + 86_400 / METRES, 9.0 + hours * 3600 / METRES, np.nan], atol=1e-4
    )
    np.testing.assert_array_equal(found[1], [10.0, np.nan, np.nan, np.nan])
    assert np.isfinite(found[2]).all()


def test_land_stands_still():
    lat, lon = np.arange(0.0, 5.0), np.arange(0.0, 5.0)
    u = np.full((2, 5, 5), np.nan)
    found = drift.trajectories(u, u, lat, lon, [2.5], [2.5])
    np.testing.assert_array_equal(found, 2.5)


def test_the_deviation_is_flat_with_111_km_a_degree():
    lat, lon = np.array([[0.0, 60.0]]), np.array([[0.0, 179.5]])
    far = drift.deviation(lat, lon, np.array([[3.0, 60.0]]), np.array([[4.0, -179.5]]))
    np.testing.assert_allclose(
        far, [111 * np.hypot(3.0, 4.0 * np.cos(np.deg2rad(3.0))), 111 * 0.5], rtol=1e-6
    )
    nothing = drift.deviation(np.array([[np.nan], [1.0]]), np.ones((2, 1)), *np.ones((2, 2, 1)))
    np.testing.assert_allclose(nothing, 0.0)


def test_seeds_are_drawn_by_area_without_replacement():
    lat, lon = np.array([0.0, 60.0]), np.arange(1000.0)
    ocean = np.ones((2, 1000), bool)
    ocean[:, 500:] = False
    found_lat, found_lon = drift.seed_particles(ocean, lat, lon, 300)
    assert found_lon.max() < 500
    assert len(set(zip(found_lat, found_lon, strict=True))) == 300
    part = (found_lat == 60.0).mean()
    # two fifths, of draws that deplete: between a third and one half
    assert 1 / 3 - 0.06 < part < 0.46
    again = drift.seed_particles(ocean, lat, lon, 300)
    np.testing.assert_array_equal(again, (found_lat, found_lon))
    with pytest.raises(UserError, match="first sea surface height"):
        drift.seed_particles(~ocean & False, lat, lon, 10)


def test_regions_get_particles_by_their_ocean():
    assert drift.particle_number(100_000, 50_000) == 5_000
    assert drift.particle_number(100_000, 3_000) == 2_000
    assert drift.particle_number(100_000, 1_200) == 1_200
