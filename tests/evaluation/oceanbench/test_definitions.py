"""Gridded definitions against loops and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hybridom.errors import UserError
from hybridom.evaluation.oceanbench import conventions, definitions


def test_rmsd_weights_by_cosine_of_latitude_over_cells_that_both_have():
    rng = np.random.default_rng(1)
    forecast, reference = rng.normal(size=(2, 3, 5, 7))
    forecast[0, 1, 2] = reference[1, 2, 3] = np.nan
    ocean = rng.random((3, 5, 7)) > 0.3
    ocean[2] = False
    lat = np.array([-60.0, -20.0, 0.0, 35.0, 80.0])
    found = definitions.rmsd(forecast, reference, ocean, definitions.area_weights(lat))
    for level in range(3):
        total = area = 0.0
        for j in range(5):
            for i in range(7):
                error = forecast[level, j, i] - reference[level, j, i]
                if ocean[level, j, i] and not math.isnan(error):
                    total += math.cos(math.radians(lat[j])) * error**2
                    area += math.cos(math.radians(lat[j]))
        expected = math.sqrt(total / area) if area else math.nan
        np.testing.assert_allclose(found[level], expected, rtol=1e-12)


def test_missing_fraction_counts_ocean_that_the_reference_has_and_the_forecast_lacks():
    lat = np.array([0.0, 60.0])
    forecast = np.array([[1.0, np.nan, 1.0], [np.nan, np.nan, 1.0]])
    reference = np.array([[1.0, 1.0, np.nan], [1.0, 1.0, 1.0]])
    ocean = np.array([[True, True, True], [True, False, True]])
    found = definitions.missing_fraction(forecast, reference, ocean, definitions.area_weights(lat))
    # wet in the reference: two cells of weight 1, two of weight one half
    np.testing.assert_allclose(found, (1.0 + 0.5) / 3.0)


def test_geostrophic_currents_of_a_slope_are_those_of_the_closed_form():
    lat, lon = np.arange(20.0, 30.0), np.arange(-10.0, 10.0)
    slope = 2e-7
    x = np.deg2rad(lon) * definitions.RADIUS * np.cos(np.deg2rad(lat))[:, None]
    y = np.deg2rad(lat)[:, None] * definitions.RADIUS + 0 * lon
    f = 2 * 7.2921e-5 * np.sin(np.deg2rad(lat))[:, None]
    _, north = definitions.geostrophic_currents(slope * x, lat, lon)
    np.testing.assert_allclose(north, 9.81 / f * slope + 0 * lon, rtol=1e-9)
    east, _ = definitions.geostrophic_currents(slope * y, lat, lon)
    np.testing.assert_allclose(east, -9.81 / f * slope + 0 * lon, rtol=1e-9)


def test_geostrophic_currents_reach_across_the_seam_of_a_circle_only():
    lat, lon = np.arange(20.0, 23.0), np.arange(-180.0, 180.0, 2.0)
    height = np.sin(np.deg2rad(lon)) + 0 * lat[:, None]
    _, north = definitions.geostrophic_currents(height, lat, lon)
    turned = np.roll(height, 40, axis=-1)
    _, north_turned = definitions.geostrophic_currents(turned, lat, lon)
    np.testing.assert_allclose(np.roll(north, 40, axis=-1), north_turned, rtol=1e-12)
    _, part = definitions.geostrophic_currents(height[:, :90], lat, lon[:90])
    np.testing.assert_allclose(part[:, 1:-1], north[:, 1:89], rtol=1e-12)
    one_sided = (height[1, 1] - height[1, 0]) / (height[1, 1] - height[1, -1]) * 2
    np.testing.assert_allclose(part[1, 0] / north[1, 0], one_sided, rtol=1e-12)


def test_rows_nearer_than_five_degrees_to_the_equator_are_left_out():
    kept = definitions.off_equator(np.array([-5.25, -5.0, -4.75, 0.0, 4.75, 5.0]))
    assert kept.tolist() == [True, True, False, False, False, True]


def test_points_are_matched_within_the_tolerance():
    lat, lon = np.arange(30.0, 40.0), np.arange(10.0, 20.0, dtype=np.float32)
    reference_lat = np.arange(28.0, 42.0) + 9e-5
    matched = definitions.match(lat, lon, reference_lat, np.arange(9.0, 25.0))
    assert matched.reference_rows.tolist() == list(range(2, 12))
    field = np.arange(14 * 16.0).reshape(14, 16)
    np.testing.assert_array_equal(matched.reference(field), field[2:12, 1:11])


def test_a_reference_beside_the_grid_is_refused():
    lat, lon = np.arange(30.0, 40.0), np.arange(10.0, 20.0)
    with pytest.raises(UserError, match=r"0\.00% of the challenger's grid points.*latitude 0 of"):
        definitions.match(lat, lon, lat + 2e-4, lon)
    with pytest.raises(UserError, match=r"90\.00%.*longitude 9 of 10"):
        definitions.match(lat, lon, lat, lon[:9])
    with pytest.raises(UserError, match="two latitudes of the challenger"):
        definitions.match(np.array([30.0, 30.00005]), lon, lat, lon)


def test_official_grids_have_their_published_corners():
    quarter, one = conventions.official_grid(0.25), conventions.official_grid(1.0)
    assert (quarter.lat.size, quarter.lon.size) == (672, 1440)
    assert (quarter.lat[0], quarter.lat[-1]) == (-78.0, 89.75)
    assert (quarter.lon[0], quarter.lon[-1]) == (-180.0, 179.75)
    assert (one.lat.size, one.lon.size) == (170, 360)
    assert (one.lat[0], one.lat[-1], one.lon[0], one.lon[-1]) == (-79.5, 89.5, -179.5, 179.5)


def test_official_starts_are_the_wednesdays_of_2024():
    starts = conventions.official_starts()
    assert len(starts) == 52
    assert (str(starts[0]), str(starts[-1])) == ("2024-01-03", "2024-12-25")
    assert {day.isoweekday() for day in starts} == {3}
