from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

from hybridom.twin.geography import TwinGrid, levels, wet_cells
from hybridom.twin.interpolation import NodeInterpolation, centre_u, centre_v, linear_operator
from hybridom.twin.product import node_axes

GRID = TwinGrid.of(4)
WET = wet_cells(levels(GRID), len(GRID.depth))
LAT, LON = node_axes(2.0)


@pytest.fixture(scope="module")
def to_nodes() -> NodeInterpolation:
    return NodeInterpolation(GRID, WET, LAT, LON)


def test_a_constant_stays_exact_and_dry_cells_do_not_matter(to_nodes: NodeInterpolation) -> None:
    field = np.where(WET, 3.7, 1e9)
    found = to_nodes(field)
    np.testing.assert_allclose(found[to_nodes.wet], 3.7, rtol=1e-14)
    assert np.isnan(found[~to_nodes.wet]).all()


def test_nodes_are_wet_exactly_where_their_cell_is(to_nodes: NodeInterpolation) -> None:
    # nodes at (4 n + 2) degrees are cell centres of the four-degree grid in both directions
    rows = np.flatnonzero(np.isin(LAT, GRID.lat))
    columns = np.flatnonzero(LON % 4 == 2)
    shift = round((LON[columns[0]] - GRID.lon[0]) / 4)
    expected = np.roll(WET, -shift, axis=2)[:, np.isin(GRID.lat, LAT)]
    np.testing.assert_array_equal(to_nodes.wet[:, rows[:, None], columns], expected)
    assert not to_nodes.wet[:, GRID.lat[-1] + 2 < LAT].any()


def test_wet_nodes_lose_levels_only_downwards(to_nodes: NodeInterpolation) -> None:
    assert not (~to_nodes.wet[:-1] & to_nodes.wet[1:]).any()


def test_open_water_agrees_with_an_independent_interpolation() -> None:
    wet = np.ones((1, *GRID.shape[1:]), dtype=bool)
    inner = LAT[(GRID.lat[0] < LAT) & (GRID.lat[-1] > LAT)]
    field = np.random.default_rng(0).standard_normal(wet.shape)
    found = NodeInterpolation(GRID, wet, inner, LON)(field)
    lon = np.append(GRID.lon, GRID.lon[0] + 360)
    reference = RegularGridInterpolator((GRID.lat, lon), np.append(field[0], field[0, :, :1], 1))
    points = np.stack(np.meshgrid(inner, (LON - lon[0]) % 360 + lon[0], indexing="ij"), axis=-1)
    np.testing.assert_allclose(found[0], reference(points), atol=1e-12)


def test_interpolated_values_stay_between_those_of_wet_cells(to_nodes: NodeInterpolation) -> None:
    field = np.random.default_rng(1).uniform(5, 6, WET.shape) * WET
    found = to_nodes(field)[to_nodes.wet]
    assert found.min() >= 5
    assert found.max() <= 6


def test_a_surface_field_uses_the_mask_of_the_top_level(to_nodes: NodeInterpolation) -> None:
    np.testing.assert_array_equal(np.isnan(to_nodes(np.ones(WET.shape[1:]))), ~to_nodes.wet[0])


def test_velocity_at_centres_is_the_mean_of_both_faces() -> None:
    u = np.random.default_rng(2).standard_normal((2, 3, 5))
    np.testing.assert_allclose(centre_u(u)[:, :, 0], 0.5 * (u[:, :, -1] + u[:, :, 0]))
    np.testing.assert_allclose(centre_u(u)[:, :, 3], 0.5 * (u[:, :, 2] + u[:, :, 3]))
    np.testing.assert_allclose(centre_v(u)[:, 0], 0.5 * u[:, 0])
    np.testing.assert_allclose(centre_v(u)[:, 2], 0.5 * (u[:, 1] + u[:, 2]))


def test_linear_operator_agrees_with_numpy() -> None:
    source, values = np.arange(-90.0, 91.0, 4.5), np.random.default_rng(3).standard_normal(41)
    target = np.linspace(90, -90, 73)
    found = linear_operator(source, target, None) @ values
    np.testing.assert_allclose(found, np.interp(target, source, values), atol=1e-12)


def test_linear_operator_wraps_around_the_circle() -> None:
    source, values = np.arange(-182.0, 178.0, 4.0), np.random.default_rng(4).standard_normal(90)
    target = np.arange(0.0, 360.0, 2.5)
    found = linear_operator(source, target, 360.0) @ values
    np.testing.assert_allclose(found, np.interp(target, source, values, period=360), atol=1e-12)
