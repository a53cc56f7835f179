from __future__ import annotations

import numpy as np
import pytest

from hybridom.constants import EARTH_RADIUS
from hybridom.errors import UserError
from hybridom.evaluation.regions import inside_box, region_weights
from hybridom.grid import Grid

GRID = Grid.regular(10.0, depths=(5.0, 50.0))
WET = np.ones(GRID.shape, bool)


def test_the_whole_grid_weighs_as_much_as_the_sphere():
    regions = region_weights(GRID, WET, {})
    assert regions.names == ("global",)
    np.testing.assert_allclose(
        regions.weights.sum(axis=(-2, -1)), 4 * np.pi * EARTH_RADIUS**2, rtol=1e-12
    )


def test_dry_cells_weigh_nothing():
    wet = WET.copy()
    wet[1, 3, 4] = False
    weights = region_weights(GRID, wet, {}).weights
    assert weights[0, 1, 3, 4] == 0.0
    assert weights[0, 0, 3, 4] == pytest.approx(GRID.area[3, 0])


@pytest.mark.parametrize(
    ("box", "columns"),
    [
        ((-90, 90, -30, 20), [-25, -15, -5, 5, 15]),
        ((-90, 90, 160, -160), [-175, -165, 165, 175]),
        ((-90, 90, 160, 200), [-175, -165, 165, 175]),
        ((-90, 90, -200, -160), [-175, -165, 165, 175]),
        ((-90, 90, -180, 180), list(range(-175, 180, 10))),
        ((-90, 90, 0, 360), list(range(-175, 180, 10))),
        ((-90, 90, 5, 5), [5]),
    ],
)
def test_boxes_take_the_columns_between_west_and_east_even_across_the_date_line(box, columns):
    inside = inside_box(GRID.lat, GRID.lon, box)
    assert sorted(GRID.lon[inside.any(axis=0)]) == columns
    assert inside.all(axis=0)[inside.any(axis=0)].all()


def test_the_convention_of_a_grids_longitudes_does_not_matter():
    box = (-20, 20, 150, -120)
    here = inside_box(GRID.lat, GRID.lon, box)
    east = np.where(GRID.lon < 0, GRID.lon + 360, GRID.lon)
    np.testing.assert_array_equal(here, inside_box(GRID.lat, east, box))


def test_boxes_take_the_rows_between_south_and_north():
    inside = inside_box(GRID.lat, GRID.lon, (-20, 25, -180, 180))
    assert list(GRID.lat[inside.any(axis=1)]) == [-15, -5, 5, 15, 25]


def test_a_box_without_water_is_refused_by_name():
    wet = WET.copy()
    wet[:, GRID.lat > 60] = False
    with pytest.raises(UserError, match=r"evaluation\.regions\.arctic: no wet cell"):
        region_weights(GRID, wet, {"arctic": (65, 90, -180, 180)})


def test_the_name_of_the_whole_grid_is_taken():
    with pytest.raises(UserError, match="rename the box"):
        region_weights(GRID, WET, {"global": (0, 10, 0, 10)})
