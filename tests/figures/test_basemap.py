from __future__ import annotations

import cartopy.crs as ccrs
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from hybridom.figures import style
from hybridom.figures.basemap import (
    COASTLINE,
    centre_longitude,
    coastline,
    draw_field,
    label_edges,
    projected_coastline,
    projection,
    seam_column,
)
from hybridom.grid import Grid

GLOBE = Grid.regular(10.0, depths=(5.0,))
PACIFIC = Grid.regular(10.0, lat=(-20.0, 20.0), lon=(150.0, 210.0), depths=(5.0,))


def test_the_coastline_is_small_and_covers_the_world():
    assert COASTLINE.stat().st_size <= 40_000
    lon, lat = coastline().T
    assert np.nanmin(lon) == -180.0 and np.nanmax(lon) == 180.0
    assert np.nanmin(lat) < -80.0 and np.nanmax(lat) > 80.0
    assert 4000 < np.isfinite(lon).sum() < 8000
    assert (COASTLINE.parent / "NOTICE").is_file()


def test_the_coastline_runs_where_coasts_are():
    lon, lat = coastline().T
    # Cape Horn, the Cape of Good Hope, Ceylon, Florida: within a degree of some point.
    for place in ((-67.3, -55.6), (18.4, -34.1), (80.2, 6.2), (-80.9, 25.2)):
        assert np.nanmin(np.hypot(lon - place[0], lat - place[1])) < 1.0


def test_no_line_runs_along_the_date_line_or_across_the_map():
    line = coastline()
    step = np.abs(np.diff(line, axis=0))
    assert np.nanmax(step[:, 0]) < 30.0
    along = (np.abs(line[1:, 0]) > 179.99) & (np.abs(line[:-1, 0]) > 179.99)
    assert not along.any()


@pytest.mark.parametrize("grid", [GLOBE, PACIFIC])
def test_the_projected_coastline_has_no_stroke_across_the_map_and_leaves_the_data_alone(grid):
    before = coastline().copy()
    view = projection(grid)
    points = projected_coastline(view)
    width = view.x_limits[1] - view.x_limits[0]
    assert np.nanmax(np.abs(np.diff(points[:, 0]))) < 0.2 * width
    assert np.isfinite(points).all(axis=1).sum() == np.isfinite(before).all(axis=1).sum()
    np.testing.assert_array_equal(coastline(), before)


def test_a_globe_is_cut_through_africa_and_a_region_is_seen_whole():
    assert GLOBE.lon_bounds[seam_column(GLOBE)] == pytest.approx(20.0)
    assert centre_longitude(GLOBE) == pytest.approx(-160.0)
    assert isinstance(projection(GLOBE), ccrs.Robinson)
    assert seam_column(PACIFIC) == 0
    assert centre_longitude(PACIFIC) in (pytest.approx(180.0), pytest.approx(-180.0))
    assert isinstance(projection(PACIFIC), ccrs.PlateCarree)


@pytest.mark.parametrize("grid", [GLOBE, PACIFIC])
def test_every_cell_is_painted_at_its_own_place(grid):
    """One cell is red: the pixel at its centre is red, and the cells around it are not."""
    row, column = 2, 4
    field = np.zeros((grid.ny, grid.nx))
    field[row, column] = 1.0
    with style.context():
        figure = Figure(figsize=(6, 4), dpi=100)
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_subplot(projection=projection(grid))
        draw_field(axes, grid, field, style.DIFFERENCE, Normalize(-1, 1))
        canvas.draw()
    picture = np.asarray(canvas.buffer_rgba())

    def pixel(j, i):
        place = axes.projection.transform_point(
            grid.lon[i % grid.nx] + 1.0, grid.lat[j] + 1.0, ccrs.PlateCarree()
        )
        x, y = axes.transData.transform(place)
        return picture[picture.shape[0] - 1 - round(y), round(x), :3].astype(int)

    red, green, blue = pixel(row, column)
    assert red > 80 and red > 2 * green and red > 2 * blue
    for j, i in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
        assert pixel(j, i).min() > 150 or np.ptp(pixel(j, i)) < 40


def test_land_is_grey():
    field = np.full((GLOBE.ny, GLOBE.nx), np.nan)
    with style.context():
        figure = Figure(figsize=(4, 2), dpi=50)
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_subplot(projection=projection(GLOBE))
        draw_field(axes, GLOBE, field, style.DIFFERENCE, Normalize(-1, 1))
        canvas.draw()
    picture = np.asarray(canvas.buffer_rgba())
    grey = int(style.LAND[1:3], 16)
    assert ((picture[..., :3] == grey).all(axis=-1)).mean() > 0.3


def test_a_region_across_the_date_line_has_its_degrees_at_its_edges():
    with style.context():
        figure = Figure(figsize=(6, 4), dpi=100)
        axes = figure.add_subplot(projection=projection(PACIFIC))
        draw_field(axes, PACIFIC, np.zeros((4, 6)), style.DIFFERENCE, Normalize(-1, 1))
        label_edges(axes, PACIFIC, left=True, bottom=True)
        FigureCanvasAgg(figure).draw()
    east = [label.get_text() for label in axes.get_xticklabels()]
    assert east == ["150°E", "165°E", "180°", "165°W", "150°W"]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "20°S",
        "10°S",
        "0°",
        "10°N",
        "20°N",
    ]
    assert axes.get_extent(ccrs.PlateCarree(180.0))[:2] == pytest.approx((-30.0, 30.0))
