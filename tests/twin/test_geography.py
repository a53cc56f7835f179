from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from hybridom.errors import UserError
from hybridom.twin import geography
from hybridom.twin.geography import TwinGrid


@pytest.fixture(params=[4, 2])
def grid(request: pytest.FixtureRequest) -> TwinGrid:
    return TwinGrid.of(request.param)


def at(grid: TwinGrid, lon: float, lat: float) -> tuple[int, int]:
    column = np.argmin(np.abs((grid.lon - lon + 180) % 360 - 180))
    return int(np.argmin(np.abs(grid.lat - lat))), int(column)


def test_layer_faces_lie_half_way_between_centres_and_close_the_column(grid: TwinGrid) -> None:
    faces = np.concatenate([[0.0], np.cumsum(grid.thickness)])
    np.testing.assert_allclose(0.5 * (grid.depth[1:] + grid.depth[:-1]), faces[1:-1])
    assert (grid.thickness > 0).all()
    # Veros reflects each face in a centre to get the next; the top centre alone is not half-way
    below = 2 * faces[1:-1] - grid.depth[:-1]
    np.testing.assert_allclose(below, grid.depth[1:])


def test_cells_cover_every_longitude_once(grid: TwinGrid) -> None:
    assert len(grid.lon) * grid.degrees == 360
    np.testing.assert_allclose(np.diff(grid.lon), grid.degrees)


def test_stored_geography_is_what_the_coastline_gives() -> None:
    grid = TwinGrid.of(4)
    stored = geography.read_levels(geography.geography_file(4), grid)
    np.testing.assert_array_equal(stored, geography.compute_levels(grid))


def test_continents_and_oceans_are_where_they_belong(grid: TwinGrid) -> None:
    levels = geography.levels(grid)
    for lon, lat in ((-140, 0), (-30, 30), (80, -20), (0, -50)):
        assert levels[at(grid, lon, lat)] > 10, (lon, lat)
    for lon, lat in ((20, 10), (-100, 40), (100, 50), (135, -25), (0, -80)):
        assert levels[at(grid, lon, lat)] == 0, (lon, lat)


def test_drake_passage_is_open_and_panama_closed(grid: TwinGrid) -> None:
    levels = geography.levels(grid)
    assert all(levels[at(grid, lon, lat)] > 0 for lon, lat in geography.DRAKE_PASSAGE)
    assert all(levels[at(grid, lon, lat)] == 0 for lon, lat in geography.PANAMA)


def test_water_is_one_basin_with_dry_northern_and_southern_edges(grid: TwinGrid) -> None:
    ocean = geography.levels(grid) > 0
    assert not ocean[[0, -1]].any()
    label, _ = ndimage.label(np.tile(ocean, (1, 3)))
    middle = label[:, ocean.shape[1] : 2 * ocean.shape[1]]
    assert len(np.unique(middle[ocean])) == 1


def test_every_wet_column_has_the_least_number_of_levels(grid: TwinGrid) -> None:
    levels = geography.levels(grid)
    assert levels[levels > 0].min() >= geography.LEAST_LEVELS
    assert levels.max() <= len(grid.depth)


def test_bay_of_one_cell_is_filled_and_a_wide_one_stays() -> None:
    ocean = np.zeros((8, 12), dtype=bool)
    ocean[1:4] = True
    ocean[4, 2] = True
    ocean[4:6, 6:8] = True
    filled = geography.fill_bays(ocean)
    assert not filled[4, 2]
    assert filled[4:6, 6:8].all()
    assert filled[1:4].all()


def test_geography_of_another_resolution_is_refused() -> None:
    with pytest.raises(UserError, match="geography_2deg"):
        geography.read_levels(geography.geography_file(2), TwinGrid.of(4))
