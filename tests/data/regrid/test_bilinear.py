from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

from hybridom.data.regrid import BilinearRegridder
from hybridom.errors import UserError
from hybridom.grid import Grid

ERA5_LAT = np.arange(-90.0, 90.1, 2.5)
ERA5_LON = np.arange(-180.0, 180.0, 2.5)
GLOBAL = Grid.regular(2.0)


@pytest.fixture
def field():
    return np.random.default_rng(0).normal(size=(2, ERA5_LAT.size, ERA5_LON.size))


def by_scipy(field, grid):
    lon = np.append(ERA5_LON, 180.0)
    points = np.stack(
        np.meshgrid(grid.lat, (grid.lon + 180.0) % 360.0 - 180.0, indexing="ij"), axis=-1
    )
    closed = np.concatenate([field, field[..., :1]], axis=-1)
    return np.array([RegularGridInterpolator((ERA5_LAT, lon), level)(points) for level in closed])


@pytest.mark.parametrize(
    "grid",
    [
        GLOBAL,
        Grid.regular(0.5, lat=(-20.0, 40.0), lon=(120.0, 210.0)),
        Grid.regular(1.0, lat=(-20.0, 40.0), lon=(-180.5, 179.5)),
    ],
    ids=["global", "across the date line", "centres on the date line"],
)
def test_agrees_with_scipy(grid, field):
    found = BilinearRegridder(ERA5_LAT, ERA5_LON, grid)(field)
    np.testing.assert_allclose(found, by_scipy(field, grid), rtol=1e-11, atol=1e-13)


def test_what_is_linear_in_latitude_is_exact_up_to_both_poles():
    field = np.repeat(3.0 - 0.5 * ERA5_LAT[:, None], ERA5_LON.size, axis=1)
    found = BilinearRegridder(ERA5_LAT, ERA5_LON, GLOBAL)(field)
    expected = np.repeat(3.0 - 0.5 * GLOBAL.lat[:, None], GLOBAL.nx, axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_what_is_linear_in_longitude_is_exact_across_the_seam():
    grid = Grid.regular(0.5, lat=(0.0, 5.0), lon=(170.0, 190.0))
    lon = np.concatenate([np.arange(-180.0, -160.0, 2.5), np.arange(150.0, 180.0, 2.5)])
    field = np.repeat((lon % 360.0)[None], ERA5_LAT.size, axis=0)
    found = BilinearRegridder(ERA5_LAT, lon, grid)(field)
    np.testing.assert_allclose(found, np.repeat(grid.lon[None], grid.ny, axis=0), rtol=1e-13)


def test_turning_source_and_target_alike_changes_nothing(field):
    turned = Grid.regular(2.0, lon=(-155.0, 205.0))
    found = BilinearRegridder(ERA5_LAT, ERA5_LON, turned)(np.roll(field, 10, axis=-1))
    expected = BilinearRegridder(ERA5_LAT, ERA5_LON, GLOBAL)(field)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_beyond_the_last_row_of_cell_centres_that_row_holds():
    lat, lon = np.arange(-88.0, 88.1, 4.0), np.arange(-178.0, 180.0, 4.0)
    field = np.random.default_rng(1).normal(size=(lat.size, lon.size))
    found = BilinearRegridder(lat, lon, Grid.regular(1.0))(field)
    np.testing.assert_array_equal(found[:2], np.repeat(found[1:2], 2, axis=0))
    np.testing.assert_array_equal(found[-2:], np.repeat(found[-1:], 2, axis=0))
    columns = BilinearRegridder(lat, lon, Grid.regular(4.0))(field)
    np.testing.assert_allclose(columns, field, rtol=1e-12)


@pytest.mark.parametrize(
    ("lat", "lon"),
    [
        ((0.0, 60.0), (-60.0, 0.0)),
        ((-20.0, 30.0), (-60.0, 0.0)),
        ((10.0, 30.0), (-80.0, 0.0)),
        ((10.0, 30.0), (-60.0, 20.0)),
    ],
    ids=["north", "south", "west", "east"],
)
def test_a_grid_beyond_a_regional_source_is_refused_by_naming_both_boxes(lat, lon):
    source = np.arange(0.0, 50.1, 2.5), np.arange(-70.0, 10.1, 2.5)
    grid = Grid.regular(0.5, lat=lat, lon=lon)
    expected = f"{grid.lat[0]:g} to {grid.lat[-1]:g} N, {grid.lon[0]:g} to {grid.lon[-1]:g} E"
    with pytest.raises(UserError, match=r"0 to 50 N, -70 to 10 E") as error:
        BilinearRegridder(*source, grid)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_a_regional_source_serves_a_grid_inside_it(field):
    rows, columns = slice(30, 60), slice(40, 90)
    grid = Grid.regular(0.5, lat=(0.0, 50.0), lon=(-70.0, 20.0))
    found = BilinearRegridder(ERA5_LAT[rows], ERA5_LON[columns], grid)(field[:, rows, columns])
    np.testing.assert_allclose(found, by_scipy(field, grid), rtol=1e-11, atol=1e-13)


def test_only_wet_corners_count():
    nodes = np.array([0.0, 1.0])
    grid = Grid.regular(0.5, lat=(0.0, 1.0), lon=(0.0, 1.0))
    regrid = BilinearRegridder(nodes, nodes, grid)
    field = np.array([[1.0, 2.0], [3.0, np.nan]])
    found = regrid(field, np.array([[True, True], [True, False]]))
    # At (0.25, 0.25) the corners weigh 9, 3, 3 and 1 sixteenths, the last of which is land.
    assert found[0, 0] == pytest.approx((9 * 1 + 3 * 2 + 3 * 3) / 15)
    assert found[1, 1] == pytest.approx((1 * 1 + 3 * 2 + 3 * 3) / 7)
    alone = regrid(field, np.array([[False, False], [True, False]]))
    np.testing.assert_allclose(alone, 3.0, rtol=1e-14)


def test_no_wet_corner_gives_no_value_and_a_constant_stays_constant():
    rng = np.random.default_rng(2)
    wet = rng.random((3, ERA5_LAT.size, ERA5_LON.size)) > 0.7
    field = np.where(wet, 4.5, np.nan)
    found = BilinearRegridder(ERA5_LAT, ERA5_LON, GLOBAL)(field, wet)
    corners = BilinearRegridder(ERA5_LAT, ERA5_LON, GLOBAL)(wet.astype(float))
    np.testing.assert_array_equal(np.isnan(found), corners == 0)
    np.testing.assert_allclose(found[corners > 0], 4.5, rtol=1e-13)


def test_a_centre_on_a_node_needs_no_other_node():
    lat, lon = np.arange(0.5, 5.0), np.arange(0.5, 5.0)
    wet = np.eye(5, dtype=bool)
    grid = Grid.regular(1.0, lat=(0.0, 5.0), lon=(0.0, 5.0))
    found = BilinearRegridder(lat + 1e-9, lon + 1e-9, grid)(np.where(wet, 7.0, np.nan), wet)
    np.testing.assert_array_equal(np.isfinite(found), wet)
