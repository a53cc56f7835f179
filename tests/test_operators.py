"""Operators of the C grid: exactness, order, theorems, masks.

Grid properties (areas, bounds, thicknesses) are in test_grid.py.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hybridom.constants import EARTH_RADIUS
from hybridom.errors import UserError
from hybridom.grid import Grid
from hybridom.operators import Geometry, surface_geometry

T_OPERATORS = (
    "diff_x_to_u",
    "diff_y_to_v",
    "diff_z_to_w",
    "grad_x_to_u",
    "grad_y_to_v",
    "interp_x_to_u",
    "interp_y_to_v",
)


def coordinates(grid: Grid) -> tuple[torch.Tensor, torch.Tensor]:
    """Longitude and latitude at centres (nz, ny, nx), radians."""
    lat, lon = np.meshgrid(np.deg2rad(grid.lat), np.deg2rad(grid.lon), indexing="ij")
    shape = (*grid.shape,)
    return tuple(torch.as_tensor(np.broadcast_to(a, shape).copy()) for a in (lon, lat))


def slopes(errors: list[float]) -> np.ndarray:
    """Log-log slope between grids that halve the spacing."""
    return np.log2(np.asarray(errors[:-1]) / np.asarray(errors[1:]))


def test_differences_of_a_constant_are_exactly_zero(ocean):
    c = torch.full(ocean.grid.shape, 7.3, dtype=torch.float64)
    for name in T_OPERATORS[:5]:
        assert not getattr(ocean.geometry, name)(c).any(), name


def test_gradients_of_linear_fields_are_exact(ocean):
    g = ocean.geometry
    lon, lat = coordinates(ocean.grid)
    north = g.grad_y_to_v(3 * lat)
    assert torch.allclose(north, g.v_open.double() * (3 / EARTH_RADIUS), rtol=1e-12, atol=1e-19)
    # the seam of a periodic grid is no neighbour of a field that is linear in longitude
    east = g.grad_x_to_u(3 * lon)[..., 1:-1]
    exact = 3 / (EARTH_RADIUS * torch.cos(lat[..., 1:]))
    assert torch.allclose(
        east, torch.where(g.u_open[..., 1:-1], exact, 0.0), rtol=1e-12, atol=1e-19
    )
    down = g.diff_z_to_w(3 * g.depth.expand(ocean.grid.shape)) / g.dz_w
    assert torch.allclose(down, g.w_open.double() * -3, rtol=1e-12)


def test_interpolation_of_linear_fields_is_exact_and_of_constants_one(ocean):
    g = ocean.geometry
    lon, lat = coordinates(ocean.grid)
    faces = torch.as_tensor(np.deg2rad(ocean.grid.lat_bounds))[:, None]
    assert torch.allclose(g.interp_y_to_v(lat), torch.where(g.v_open, faces, 0.0), atol=1e-14)
    faces = torch.as_tensor(np.deg2rad(ocean.grid.lon_bounds))[1:-1]
    inner = g.interp_x_to_u(lon)[..., 1:-1]
    assert torch.allclose(inner, torch.where(g.u_open[..., 1:-1], faces, 0.0), atol=1e-14)
    one = torch.ones(ocean.grid.shape, dtype=torch.float64)
    for there, back in (("interp_x_to_u", "interp_u_to_t"), ("interp_y_to_v", "interp_v_to_t")):
        mean = getattr(g, back)(getattr(g, there)(one))
        assert set(mean.unique().tolist()) <= {0.0, 1.0}
        assert (mean <= g.wet.double()).all()
        assert mean.sum() > 0.5 * g.wet.sum()
    mean = g.interp_corner_to_t(g.corner_open.double())
    assert set(mean.unique().tolist()) <= {0.0, 1.0}, "a coast weakens the mean of the corners"
    assert torch.equal(mean > 0, g.wet & (mean > 0)) and mean.any()


def test_face_masks_are_products_of_their_neighbours(ocean):
    g, wet = ocean.geometry, ocean.wet
    for k, j, i in np.ndindex(ocean.grid.shape):
        west = wet[k, j, i - 1] if i or ocean.grid.periodic else False
        south = wet[k, j - 1, i] if j else False
        above = wet[k - 1, j, i] if k else False
        assert bool(g.u_open[k, j, i]) == (wet[k, j, i] and west)
        assert bool(g.v_open[k, j, i]) == (wet[k, j, i] and south)
        assert bool(g.w_open[k, j, i]) == (wet[k, j, i] and above)
    assert not g.v_open[:, [0, -1]].any(), "a pole or an edge is open"


def test_divergence_is_minus_the_adjoint_of_the_gradient(ocean):
    g = ocean.geometry
    c = g.clean(ocean.field(1))
    flux_u, flux_v = g.interp_x_to_u(ocean.field(2)), g.interp_y_to_v(ocean.field(3))
    left = (c * g.div_to_t(flux_u, flux_v) * g.area).sum()
    seam = flux_u.shape[-1] - 1 if g.periodic else flux_u.shape[-1]  # count the seam once
    east = (flux_u * g.grad_x_to_u(c) * g.dx_u * g.length_u)[..., :seam].sum()
    north = (flux_v * g.grad_y_to_v(c) * g.dy_v * g.length_v).sum()
    assert abs(left + east + north) < 1e-12 * (abs(east) + abs(north))


def test_gauss_holds_for_any_set_of_cells(ocean):
    g, grid = ocean.geometry, ocean.grid
    flux_u, flux_v = g.interp_x_to_u(ocean.field(2)), g.interp_y_to_v(ocean.field(3))
    divergence = g.div_to_t(flux_u, flux_v) * g.area
    scale = divergence.abs().sum()
    assert abs(divergence.sum()) < 1e-13 * scale
    inside = np.random.default_rng(5).random(grid.shape) < 0.4
    outflow = 0.0
    for k, j, i in np.argwhere(inside):
        for face, cell in ((i, (k, j, i - 1)), (i + 1, (k, j, (i + 1) % grid.nx))):
            if not inside[cell]:
                sign = -1 if face == i else 1
                outflow += sign * float(flux_u[k, j, face] * g.length_u[j, 0])
        for face, row in ((j, j - 1), (j + 1, j + 1)):
            if not 0 <= row < grid.ny or not inside[k, row, i]:
                sign = -1 if face == j else 1
                outflow += sign * float(flux_v[k, face, i] * g.length_v[face, i])
    inside_sum = divergence[torch.as_tensor(inside)].sum()
    assert abs(inside_sum - outflow) < 1e-12 * scale


def test_curl_of_a_gradient_is_zero(ocean):
    g = ocean.geometry
    c = ocean.field(4)
    u, v = g.grad_x_to_u(c), g.grad_y_to_v(c)
    curl = g.curl_to_corner(u, v)
    scale = g.curl_to_corner(u.abs(), -v.abs()).abs().max()
    assert curl.abs().max() < 1e-14 * scale


def test_stokes_holds_around_a_box(make_ocean):
    ocean = make_ocean("basin", grid=Grid.regular(4.0, (10, 46), (-60, -12), (5.0,)))
    g = ocean.geometry
    u, v = g.interp_x_to_u(ocean.field(2)), g.interp_y_to_v(ocean.field(3))
    curl = g.curl_to_corner(u, v) * g.corner_area
    south, north = (u * g.dx_u)[0, 0, 1:-1].sum(), (u * g.dx_u)[0, -1, 1:-1].sum()
    west, east = (v * g.dy_v)[0, 1:-1, 0].sum(), (v * g.dy_v)[0, 1:-1, -1].sum()
    assert torch.allclose(curl.sum(), south + east - north - west, rtol=1e-12, atol=0)


def test_curl_of_solid_body_rotation_is_its_mean_around_each_corner(ocean):
    g = ocean.geometry
    _, lat = coordinates(ocean.grid)
    u = torch.where(g.u_open, torch.cos(g.pad_x(lat)[..., 1:]), 0.0)
    curl = g.curl_to_corner(u, torch.zeros_like(g.v_open, dtype=torch.float64))
    sine = torch.sin(g.pad_y(lat)[..., :1])
    exact = (sine[..., 1:, :] + sine[..., :-1, :]) / EARTH_RADIUS
    assert torch.allclose(curl, torch.where(g.corner_open, exact, 0.0), rtol=1e-11, atol=1e-22)


def test_operators_have_design_order_two():
    errors: dict[str, list[float]] = {}
    for resolution in (2.0, 1.0, 0.5):
        grid = Grid.regular(resolution, (8.0, 56.0), (-32.0, 32.0), (5.0,))
        g = Geometry(grid, np.ones(grid.shape, bool), torch.float64)
        lon, lat = coordinates(grid)
        cos, tan = torch.cos(lat), torch.tan(lat)
        c = torch.sin(2 * lon) * torch.cos(3 * lat)
        c_x = 2 * torch.cos(2 * lon) * torch.cos(3 * lat) / cos
        c_y = -3 * torch.sin(2 * lon) * torch.sin(3 * lat)
        c_yy = -9 * c
        laplacian = -4 * c / cos**2 + c_yy - tan * c_y
        u, v = g.grad_x_to_u(c), g.grad_y_to_v(c)
        r = EARTH_RADIUS
        results = {
            "gradient, to centres, x": g.interp_u_to_t(u) * r - c_x,
            "gradient, to centres, y": g.interp_v_to_t(v) * r - c_y,
            "laplacian": g.div_to_t(u, v) * r**2 - laplacian,
            # curl(f k x grad c) with constant f is the Laplacian again, through other operators
            "curl": g.interp_corner_to_t(
                g.curl_to_corner(-g.interp_x_to_u(c_y), g.interp_y_to_v(c_x))
            )
            * r
            - laplacian,
        }
        inner = torch.zeros(grid.shape, dtype=torch.bool)
        margin = int(8 / resolution)  # the same box on every grid, away from the closed edges
        inner[:, margin:-margin, margin:-margin] = True
        for name, error in results.items():
            errors.setdefault(name, []).append(float(error[inner].abs().max()))
    for name, values in errors.items():
        assert np.all(np.abs(slopes(values) - 2) < 0.1), (name, slopes(values))


def test_interpolation_and_divergence_have_design_order_two():
    errors: dict[str, list[float]] = {}
    for resolution in (2.0, 1.0, 0.5):
        grid = Grid.regular(resolution, (8.0, 56.0), (-32.0, 32.0), (5.0,))
        g = Geometry(grid, np.ones(grid.shape, bool), torch.float64)
        lon, lat = coordinates(grid)
        c = torch.sin(2 * lon) * torch.cos(3 * lat)
        east, north = (torch.as_tensor(np.deg2rad(x)) for x in (grid.lon_bounds, grid.lat_bounds))
        on_u = torch.sin(2 * east) * torch.cos(3 * lat[..., :1])
        on_v = torch.sin(2 * lon[:, :1]) * torch.cos(3 * north)[:, None]
        divergence = (
            2 * torch.cos(2 * lon) * torch.cos(3 * lat)
            - torch.sin(2 * lon)
            * (3 * torch.sin(3 * lat) * torch.cos(lat) + torch.cos(3 * lat) * torch.sin(lat))
        ) / torch.cos(lat)
        margin = int(8 / resolution)  # the same box on every grid, away from the closed edges
        inner = slice(margin, -margin)
        results = {
            "to u": g.interp_x_to_u(c) - on_u,
            "to v": g.interp_y_to_v(c) - on_v,
            "from u": g.interp_u_to_t(on_u) - c,
            "from v": g.interp_v_to_t(on_v) - c,
            "divergence": g.div_to_t(on_u, on_v) * EARTH_RADIUS - divergence,
        }
        for name, error in results.items():
            errors.setdefault(name, []).append(float(error[0, inner, inner].abs().max()))
    for name, values in errors.items():
        assert np.all(np.abs(slopes(values) - 2) < 0.1), (name, slopes(values))


def test_vertical_derivative_has_order_two_between_stretched_levels():
    errors = []
    for nz in (20, 40, 80):
        fraction = (np.arange(nz) + 0.5) / nz
        grid = Grid.regular(4.0, (0, 8), (0, 8), 4000 * fraction * (0.5 + 0.5 * fraction))
        g = Geometry(grid, np.ones(grid.shape, bool), torch.float64)
        c = torch.sin(g.depth / 900).expand(grid.shape)
        exact = -torch.cos(torch.as_tensor(grid.depth_bounds)[:, None, None] / 900) / 900
        error = (g.diff_z_to_w(c) / g.dz_w - exact)[1:-1]
        errors.append(float(error.abs().max()))
    assert np.all(np.abs(slopes(errors) - 2) < 0.1), slopes(errors)


def test_beside_a_closed_face_a_gradient_at_centres_is_one_sided_and_of_order_one():
    errors = []
    for resolution in (2.0, 1.0, 0.5):
        grid = Grid.regular(resolution, (8.0, 56.0), (-32.0, 32.0), (5.0,))
        g = Geometry(grid, np.ones(grid.shape, bool), torch.float64)
        lon, lat = coordinates(grid)
        found = g.interp_u_to_t(g.grad_x_to_u(torch.sin(2 * lon))) * EARTH_RADIUS
        errors.append(float((found - 2 * torch.cos(2 * lon) / torch.cos(lat))[..., 0].abs().max()))
    assert np.all(np.abs(slopes(errors) - 1) < 0.1), slopes(errors)


@pytest.mark.parametrize("fill", [1e6, float("nan"), float("inf")])
def test_land_values_change_no_bit(ocean, fill):
    g = ocean.geometry
    clean = g.clean(ocean.field(6))
    dirty = torch.where(g.wet, clean, fill)
    for name in T_OPERATORS:
        assert torch.equal(getattr(g, name)(clean), getattr(g, name)(dirty)), name
    assert torch.equal(g.clean(dirty), clean)


def test_gradients_stay_finite_beside_nan_on_land(make_ocean):
    g = make_ocean("realistic").geometry
    c = torch.where(g.wet, 1.0, float("nan")).double().requires_grad_()
    sum((getattr(g, name)(c) ** 2).sum() for name in T_OPERATORS).backward()
    assert torch.isfinite(c.grad).all()


def test_seam_faces_are_the_same_face(make_ocean):
    ocean = make_ocean("realistic")
    g = ocean.geometry
    for name in ("diff_x_to_u", "grad_x_to_u", "interp_x_to_u"):
        a = getattr(g, name)(ocean.field(7))
        assert torch.equal(a[..., 0], a[..., -1]), name
    shifted = g.interp_x_to_u(torch.roll(g.clean(ocean.field(7)), 1, -1))
    assert shifted[..., 0].any()


def test_surface_geometry_is_the_top_layer(ocean):
    c = ocean.field(8)
    top = ocean.surface.grad_x_to_u(c[:1])
    assert torch.equal(top, ocean.geometry.grad_x_to_u(c)[:1])
    assert float(ocean.surface.dz) == ocean.grid.dz[0]


def test_single_precision_agrees_with_double(ocean):
    single = Geometry(ocean.grid, ocean.wet, torch.float32)
    u = ocean.geometry.interp_x_to_u(ocean.field(2))
    v = ocean.geometry.interp_y_to_v(ocean.field(3))
    double = ocean.geometry.div_to_t(u, v)
    error = single.div_to_t(u.float(), v.float()) - double
    assert error.abs().max() < 2e-6 * double.abs().max()


def test_metrics_follow_a_move_and_stay_out_of_checkpoints(make_ocean):
    ocean = make_ocean("basin")
    moved = Geometry(ocean.grid, ocean.wet).to(device="meta", dtype=torch.float64)
    assert moved.area.device.type == moved.wet.device.type == "meta"
    assert moved.area.dtype == torch.float64
    assert moved.wet.dtype == torch.bool
    assert not moved.state_dict()


def test_a_mask_that_does_not_fit_is_refused_in_one_line(make_ocean):
    ocean = make_ocean("basin")
    holes = ocean.wet.copy()
    holes[1, 4, 6] = False
    cases = (
        (ocean.wet[:, :-1], r"shape \(5, 8, 12\) does not fit"),
        (np.zeros_like(ocean.wet), "no ocean cell"),
        (holes, r"ocean below land at level 2, row 4, column 6 \(from 0; 1 cells\)"),
    )
    for wet, message in cases:
        with pytest.raises(UserError, match=message) as error:
            Geometry(ocean.grid, wet)
        assert "\n" not in str(error.value)
    with pytest.raises(UserError):
        surface_geometry(ocean.grid, np.zeros_like(ocean.wet))
