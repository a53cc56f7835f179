"""Geometry in closed form."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hybridom.config import load
from hybridom.constants import EARTH_RADIUS
from hybridom.errors import UserError
from hybridom.grid import Grid, layer_interfaces, read_grid, write_grid
from hybridom.masks import corner_mask, u_mask, v_mask

R = EARTH_RADIUS
CONFIG = Path(__file__).parents[1] / "config"


@pytest.mark.parametrize("resolution", [0.5, 4.0, 12.0])
def test_areas_of_a_global_grid_sum_to_the_sphere(resolution: float) -> None:
    area = Grid.regular(resolution).area
    np.testing.assert_allclose(area.sum(), 4 * np.pi * R**2, rtol=1e-13)


def test_areas_of_a_box_sum_to_the_exact_band() -> None:
    area = Grid.regular(0.25, lat=(15, 60), lon=(120, 210)).area
    exact = R**2 * (np.pi / 2) * (np.sin(np.deg2rad(60)) - np.sin(np.deg2rad(15)))
    np.testing.assert_allclose(area.sum(), exact, rtol=1e-13)


@pytest.mark.parametrize("box", [((-90, 90), (-180, 180)), ((10, 46), (-60, -12))])
def test_every_cell_has_the_area_of_its_band(box: tuple[tuple[float, float], ...]) -> None:
    grid = Grid.regular(4.0, *box) if box[0][0] == 10 else Grid.regular(10.0, *box)
    # Gauss-Legendre quadrature of R^2 cos(latitude), exact to round-off over a few degrees
    nodes, weights = np.polynomial.legendre.leggauss(12)
    south, north = np.deg2rad(grid.lat_bounds[:-1]), np.deg2rad(grid.lat_bounds[1:])
    lat = 0.5 * (north + south)[:, None] + 0.5 * (north - south)[:, None] * nodes
    band = 0.5 * (north - south) * (np.cos(lat) * weights).sum(1)
    width = np.deg2rad(np.diff(grid.lon_bounds))
    np.testing.assert_allclose(grid.area, R**2 * band[:, None] * width, rtol=1e-13)
    assert (grid.area > 0).all()


def test_longitude_closes_and_centres_lie_between_faces() -> None:
    grid = Grid.regular(4.0)
    assert grid.lon_bounds[-1] - grid.lon_bounds[0] == 360.0
    np.testing.assert_allclose(grid.lon[0] + 360.0 - grid.lon[-1], 4.0, rtol=1e-13)
    for centres, edges in ((grid.lat, grid.lat_bounds), (grid.lon, grid.lon_bounds)):
        np.testing.assert_allclose(centres, 0.5 * (edges[1:] + edges[:-1]), rtol=1e-13)
    with pytest.raises(UserError, match="lat centres must lie between ascending edges"):
        replace(grid, lat=grid.lat + 2.5)


def test_half_degree_centres_are_where_the_formulation_puts_them() -> None:
    grid = Grid.regular(0.5)
    assert (grid.lat[0], grid.lat[-1]) == (-89.75, 89.75)
    assert (grid.lon[0], grid.lon[-1]) == (-179.75, 179.75)
    assert grid.periodic


def test_polar_faces_have_no_length_and_rows_close_on_themselves() -> None:
    grid = Grid.regular(4.0)
    assert (grid.dx_v[[0, -1]] == 0).all()
    circle = 2 * np.pi * R * np.cos(np.deg2rad(grid.lat))
    np.testing.assert_allclose(grid.dx_t.sum(1), circle, rtol=1e-13)


@pytest.mark.parametrize("name", ["global_05", "global_025", "regional_025", "demo"])
def test_layers_are_positive_smooth_and_sum_to_the_depth(name: str) -> None:
    depth = np.array(load(CONFIG / f"{name}.yaml").grid.depths)
    faces = layer_interfaces(depth)
    thickness = np.diff(faces)
    assert faces[0] == 0 and (thickness > 0).all()
    assert ((faces[:-1] < depth) & (depth < faces[1:])).all()
    # no more uneven than the distances between the levels: reflection in the levels would alternate
    steps = np.diff(depth)
    growth, allowed = thickness[2:] / thickness[1:-1], steps[1:] / steps[:-1]
    assert growth.max() <= allowed.max() and growth.min() >= min(allowed.min(), 1.0)
    np.testing.assert_allclose(thickness.sum(), faces[-1])
    assert faces[-1] > depth[-1]


def test_coriolis_parameter_is_odd_about_the_equator() -> None:
    grid = Grid.regular(4.0)
    np.testing.assert_array_equal(grid.f_v, -grid.f_v[::-1])
    assert (np.diff(grid.f_v) > 0).all()


@pytest.mark.parametrize("periodic", [True, False])
def test_faces_are_wet_where_both_cells_are(periodic: bool) -> None:
    wet = np.random.default_rng(0).random((2, 5, 6)) > 0.4
    u, v, corner = u_mask(wet, periodic), v_mask(wet), corner_mask(wet, periodic)
    for k, j, i in np.ndindex(2, 5, 7):
        west, east = (i - 1) % 6, i % 6
        inside = periodic or 0 < i < 6
        assert u[k, j, i] == (inside and wet[k, j, west] and wet[k, j, east])
    for k, j, i in np.ndindex(2, 6, 6):
        assert v[k, j, i] == (0 < j < 5 and wet[k, j - 1, i] and wet[k, min(j, 4), i])
    for k, j, i in np.ndindex(2, 6, 7):
        inside = 0 < j < 5 and (periodic or 0 < i < 6)
        cells = [wet[k, b, a % 6] for b in (j - 1, min(j, 4)) for a in (i - 1, i)]
        assert corner[k, j, i] == (inside and all(cells))


def test_the_grid_file_gives_back_the_grid(tmp_path: Path) -> None:
    grid = Grid.regular(12.0, depths=(5, 20, 60))
    wet = np.random.default_rng(0).random(grid.shape) > 0.3
    path = tmp_path / "grid.nc"
    write_grid(path, grid, wet, wet.astype(float), {"source": "test"})
    again, wet_again = read_grid(path)
    assert again.hash == grid.hash
    np.testing.assert_array_equal(again.area, grid.area)
    np.testing.assert_array_equal(wet_again, wet)


def test_the_hash_follows_every_coordinate() -> None:
    base = Grid.regular(12.0, depths=(5, 20))
    others = [
        Grid.regular(12.0, depths=(5, 21)),
        Grid.regular(6.0, depths=(5, 20)),
        Grid.regular(12.0, lon=(0, 360), depths=(5, 20)),
    ]
    assert len({base.hash, *(g.hash for g in others)}) == 4
    assert base.hash == Grid.regular(12.0, depths=(5, 20)).hash


def test_a_missing_or_altered_grid_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "grid.nc"
    with pytest.raises(UserError, match="hybridom prepare grid"):
        read_grid(path)
    path.write_bytes(b"not netCDF")
    with pytest.raises(UserError, match=r"grid\.nc: not a grid file"):
        read_grid(path)
