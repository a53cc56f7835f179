"""Geometry in closed form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hybridom.constants import EARTH_RADIUS
from hybridom.errors import UserError
from hybridom.grid import Grid, layer_interfaces, read_grid, write_grid
from hybridom.masks import corner_mask, u_mask, v_mask

R = EARTH_RADIUS


@pytest.mark.parametrize("resolution", [0.5, 4.0, 12.0])
def test_areas_of_a_global_grid_sum_to_the_sphere(resolution: float) -> None:
    area = Grid.regular(resolution).area
    np.testing.assert_allclose(area.sum(), 4 * np.pi * R**2, rtol=1e-13)


def test_areas_of_a_box_sum_to_the_exact_band() -> None:
    area = Grid.regular(0.25, lat=(15, 60), lon=(120, 210)).area
    exact = R**2 * (np.pi / 2) * (np.sin(np.deg2rad(60)) - np.sin(np.deg2rad(15)))
    np.testing.assert_allclose(area.sum(), exact, rtol=1e-13)


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


def test_layers_are_positive_smooth_and_sum_to_the_depth() -> None:
    depth = np.array([0.494, 2.65, 5.08, 7.93, 11.4, 15.8, 21.6, 29.4, 40.3, 55.8, 77.9])
    faces = layer_interfaces(depth)
    thickness = np.diff(faces)
    assert (thickness > 0).all()
    assert ((faces[:-1] < depth) & (depth < faces[1:])).all()
    assert (np.diff(thickness)[1:] > 0).all()
    np.testing.assert_allclose(thickness.sum(), faces[-1])


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
