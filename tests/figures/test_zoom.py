"""A region seen from near, and the vorticity drawn there."""

from __future__ import annotations

import numpy as np
import pytest

from hybridom.constants import EARTH_RADIUS, OMEGA
from hybridom.errors import UserError
from hybridom.figures import style, zoom
from hybridom.figures.inputs import Fields
from hybridom.figures.registry import zoom_box
from hybridom.figures.vorticity import relative_vorticity, rossby_number
from hybridom.grid import Grid
from tests.figures.conftest import altered

GLOBE = Grid.regular(10.0, depths=(5.0,))
PACIFIC = Grid.regular(10.0, lat=(-20.0, 20.0), lon=(150.0, 210.0), depths=(5.0,))


def rotation(grid: Grid, speed: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Solid-body rotation about the axis of the Earth, m s-1."""
    u = speed * np.cos(np.deg2rad(grid.lat))[:, None] * np.ones((grid.ny, grid.nx))
    return u, np.zeros_like(u)


def test_solid_body_rotation_has_twice_its_angular_velocity_times_the_sine_of_latitude():
    """Centred differences of cos^2 are those of the closed form times sin(2d) / 2d."""
    zeta = relative_vorticity(GLOBE, *rotation(GLOBE))
    step = np.deg2rad(10.0)
    exact = 2.0 * 2.0 / EARTH_RADIUS * np.sin(np.deg2rad(GLOBE.lat))
    discrete = exact * np.sin(2.0 * step) / (2.0 * step)
    for column in range(GLOBE.nx):
        np.testing.assert_allclose(zeta[1:-1, column], discrete[1:-1], rtol=1e-12)


def test_the_error_of_a_turning_flow_falls_with_the_square_of_the_cells():
    """u = cos(phi) sin(2 lambda), v = sin(phi) cos(phi) cos(lambda): a flow of both components."""
    errors = []
    for degrees in (6.0, 3.0, 1.5):
        grid = Grid.regular(degrees, lat=(12.0, 60.0), depths=(5.0,))
        phi, lam = np.deg2rad(grid.lat)[:, None], np.deg2rad(grid.lon)[None, :]
        u = np.cos(phi) * np.sin(2 * lam)
        v = np.sin(phi) * np.cos(phi) * np.cos(lam)
        exact = -np.sin(phi) * np.sin(lam) + 2 * np.sin(phi) * np.sin(2 * lam)
        inner = slice(1, -1)
        error = relative_vorticity(grid, u, v) - exact / EARTH_RADIUS
        errors.append(np.abs(error[inner]).max())
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(slopes, 2.0, atol=0.1)


def test_turning_the_globe_turns_the_vorticity():
    rng = np.random.default_rng(0)
    u, v = rng.normal(size=(2, GLOBE.ny, GLOBE.nx))
    turned = relative_vorticity(GLOBE, np.roll(u, 7, axis=1), np.roll(v, 7, axis=1))
    np.testing.assert_allclose(turned, np.roll(relative_vorticity(GLOBE, u, v), 7, axis=1))


def test_there_is_no_vorticity_beside_land_or_at_the_edges():
    u, v = rotation(GLOBE)
    u[8, 5] = v[8, 5] = np.nan
    missing = np.isnan(relative_vorticity(GLOBE, u, v))
    expected = np.zeros_like(missing)
    expected[[0, -1]] = True
    for row, column in ((8, 5), (7, 5), (9, 5), (8, 4), (8, 6)):
        expected[row, column] = True
    np.testing.assert_array_equal(missing, expected)
    box = np.isnan(relative_vorticity(PACIFIC, *rotation(PACIFIC)))
    assert box[:, [0, -1]].all() and box[[0, -1]].all() and not box[1:-1, 1:-1].any()


def test_the_rossby_number_of_rotation_is_the_same_everywhere_and_undefined_at_the_equator():
    grid = Grid.regular(4.0, depths=(5.0,))
    number = rossby_number(grid, *rotation(grid))
    step = np.deg2rad(4.0)
    expected = 2.0 / EARTH_RADIUS / OMEGA * np.sin(2.0 * step) / (2.0 * step)
    far = np.abs(grid.lat) >= 5.0
    far[[0, -1]] = False
    np.testing.assert_allclose(number[far], expected, rtol=1e-12)
    assert np.isnan(number[np.abs(grid.lat) < 5.0]).all()


def test_a_box_across_the_date_line_is_cut_out_in_one_piece():
    near, rows, columns = zoom.crop(GLOBE, (-20.0, 20.0, 160.0, -160.0))
    np.testing.assert_array_equal(GLOBE.lat[rows], [-15.0, -5.0, 5.0, 15.0])
    np.testing.assert_array_equal(GLOBE.lon[columns], [165.0, 175.0, -175.0, -165.0])
    np.testing.assert_allclose(near.lon, [165.0, 175.0, 185.0, 195.0])
    np.testing.assert_allclose(near.lon_bounds, [160.0, 170.0, 180.0, 190.0, 200.0])
    np.testing.assert_allclose(near.lat_bounds, [-20.0, -10.0, 0.0, 10.0, 20.0])
    assert not near.periodic


def test_a_box_around_the_globe_begins_at_its_western_edge():
    near, _, columns = zoom.crop(GLOBE, (-20.0, 20.0, -90.0, 270.0))
    np.testing.assert_allclose(near.lon, -85.0 + 10.0 * np.arange(36))
    np.testing.assert_array_equal(columns, np.roll(np.arange(36), -9))


def test_a_box_that_is_wider_than_a_regional_grid_holds_all_of_it():
    near, _, columns = zoom.crop(PACIFIC, (-20.0, 20.0, -180.0, 180.0))
    np.testing.assert_array_equal(columns, np.arange(6))
    np.testing.assert_allclose(near.lon_bounds, PACIFIC.lon_bounds)


def test_a_box_of_both_ends_of_a_regional_grid_is_refused():
    with pytest.raises(UserError, match=r"figures\.zoom: .* in one piece"):
        zoom.crop(PACIFIC, (-20.0, 20.0, -165.0, 165.0))


def test_a_box_with_hardly_a_cell_is_refused():
    with pytest.raises(UserError, match=r"figures\.zoom: 1 x 2 cells"):
        zoom.crop(GLOBE, (0.0, 9.0, 0.0, 20.0))


def test_the_region_is_the_chosen_one_or_the_first_that_is_no_zone(scored):
    assert zoom_box(scored.config) == (-60, 60, 140, -100)
    assert zoom_box(altered(scored.config, zoom="tropics")) == (-40, 40, -180, 180)
    assert zoom_box(altered(scored.config, zoom=(0.0, 9.0, 1.0, 2.0))) == (0.0, 9.0, 1.0, 2.0)
    zones = scored.config.evaluation.model_copy(update={"regions": {"a": (0, 9, -180, 180)}})
    assert zoom_box(scored.config.model_copy(update={"evaluation": zones})) is None


def test_panels_are_those_of_forecast_and_truth(scored):
    config, start = scored.config, scored.config.forecast.first
    with style.context():
        figure = zoom.figure(config, scored.layout)
    near, rows, columns = zoom.crop(scored.grid, zoom_box(config))
    assert near.shape[1:] == (4, 4)
    u, v = (Fields(config, scored.layout, name, start) for name in ("uo", "vo"))
    speed = np.hypot(u.truth(5), v.truth(5))[np.ix_(rows, columns)]
    turning = rossby_number(scored.grid, u.forecast(1), v.forecast(1))[np.ix_(rows, columns)]
    # two leads a row: temperature, speed, vorticity, each forecast above truth
    for number, expected in ((7, speed), (8, turning)):
        shown = np.ma.filled(figure.axes[number].collections[0].get_array(), np.nan)
        np.testing.assert_allclose(shown, expected)
