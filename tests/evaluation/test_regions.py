from __future__ import annotations

import numpy as np
import pytest

from hybridom.constants import EARTH_RADIUS
from hybridom.errors import UserError
from hybridom.evaluation.regions import NAMED, inside_box, region_weights
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


def cells_of(names, boxes=None):
    regions = region_weights(GRID, WET, boxes or {}, names)
    return dict(zip(regions.names, regions.inside, strict=True))


def test_regions_by_name_follow_the_boxes_and_are_their_boxes():
    found = cells_of(("nino34", "arctic"), {"box": (0, 10, 0, 10)})
    assert list(found) == ["global", "box", "nino34", "arctic"]
    lat, lon = np.meshgrid(GRID.lat, GRID.lon, indexing="ij")
    np.testing.assert_array_equal(found["nino34"], (abs(lat) <= 5) & (lon >= -170) & (lon <= -120))
    np.testing.assert_array_equal(found["arctic"], lat >= 60)


def test_every_region_by_name_lies_where_its_name_says():
    # A point of open sea inside, and one that a slip of sign or order would let in.
    points = {
        "gulf_stream": ((38, -65), (38, 65)),
        "kuroshio": ((33, 140), (33, -140)),
        "agulhas": ((-38, 22), (38, 22)),
        "brazil_malvinas": ((-40, -53), (-40, 53)),
        "equatorial_pacific": ((0, 180), (0, -30)),
        "north_atlantic": ((40, -40), (40, 40)),
        "south_atlantic": ((-30, -10), (-30, -120)),
        "north_pacific": ((40, 180), (40, 0)),
        "south_pacific": ((-30, -150), (-30, 0)),
        "indian_ocean": ((-20, 80), (-20, -80)),
        "mediterranean": ((38, 18), (38, -18)),
        "ibi": ((40, -12), (40, 12)),
        "southern_ocean": ((-55, 0), (55, 0)),
        "antarctic_circumpolar": ((-55, 100), (-75, 100)),
        "nino12": ((-5, -85), (5, -85)),
        "nino3": ((0, -120), (0, 120)),
        "nino34": ((0, -145), (0, 145)),
        "nino4": ((0, 180), (0, 0)),
        "dipole_west": ((0, 60), (0, -60)),
        "dipole_east": ((-5, 100), (5, 100)),
        "tropics": ((0, 0), (40, 0)),
        "northern_extratropics": ((50, 0), (-50, 0)),
        "southern_extratropics": ((-50, 0), (50, 0)),
        "arctic": ((80, 0), (40, 0)),
        "antarctic": ((-70, 0), (-40, 0)),
    }
    assert set(points) == set(NAMED)
    for name, both in points.items():
        held = [
            inside_box(np.array([lat]), np.array([lon]), NAMED[name].box)[0, 0] for lat, lon in both
        ]
        assert held == [True, False], name
        assert NAMED[name].source


def test_an_unknown_region_is_refused_with_the_nearest_and_all_known_names():
    with pytest.raises(UserError, match=r"named_regions: 'golf_stream' is unknown") as caught:
        region_weights(GRID, WET, {}, ("golf_stream",))
    message = str(caught.value)
    assert "did you mean gulf_stream?" in message and "kuroshio" in message
    assert "\n" not in message


def test_a_name_that_is_also_a_box_is_refused():
    with pytest.raises(UserError, match=r"tropics is also a box of evaluation\.regions"):
        region_weights(GRID, WET, {"tropics": (-20, 20, -180, 180)}, ("tropics",))


def test_the_whole_grid_is_no_region_by_name():
    with pytest.raises(UserError, match="global is always scored"):
        region_weights(GRID, WET, {}, ("global",))


def test_a_region_by_name_outside_the_grid_is_refused():
    wet = WET.copy()
    wet[:, GRID.lat > 50] = False
    with pytest.raises(UserError, match=r"named_regions\.arctic: no wet cell"):
        region_weights(GRID, wet, {}, ("arctic",))


def test_labels_take_each_combination_of_regions_apart():
    boxes = {"a": (-30, 30, -90, 90), "b": (0, 60, 0, 180), "c": (0, 60, 0, 180)}
    regions = region_weights(GRID, WET, boxes)
    for region in range(4):
        np.testing.assert_array_equal(
            regions.members[region][regions.labels] == 1, regions.inside[region]
        )
    combinations = {tuple(column) for column in regions.inside.reshape(4, -1).T}
    assert regions.members.shape[1] == len(combinations) == 4


def test_totals_are_the_sums_of_the_weights():
    rng = np.random.default_rng(0)
    regions = region_weights(GRID, rng.random(GRID.shape) > 0.3, {}, ("tropics", "kuroshio"))
    np.testing.assert_allclose(regions.total, regions.weights.sum(axis=(-2, -1)), rtol=1e-12)
    np.testing.assert_array_equal(regions.surface_weights, regions.weights[:, 0])
    weights = regions.band[:, None] * regions.members[:, regions.labels]
    np.testing.assert_allclose(weights, regions.inside * regions.area, rtol=1e-12)
