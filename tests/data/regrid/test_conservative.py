from __future__ import annotations

import itertools

import numpy as np
import pytest

from hybridom.constants import EARTH_RADIUS
from hybridom.data.raw.packed import PackedField
from hybridom.data.regrid import FusedRegridder
from hybridom.data.regrid.conservative import (
    Regridder,
    conservative_weights,
    latitude_weights,
    longitude_weights,
    node_edges,
    overlap_weights,
)
from hybridom.grid import Grid

GLOBAL = Grid.regular(20.0, depths=(5.0, 50.0))
ACROSS_DATE_LINE = Grid.regular(12.5, lat=(-25.0, 50.0), lon=(130.0, 230.0), depths=(5.0, 50.0))
LAT = np.arange(-80.0, 90.1, 10.0)
LON = np.arange(-180.0, 180.0, 10.0)


@pytest.fixture
def wet():
    mask = np.random.default_rng(0).random((2, LAT.size, LON.size)) > 0.3
    mask[1] &= mask[0]
    return mask


@pytest.fixture
def field(wet):
    values = np.random.default_rng(1).normal(size=wet.shape) + 10.0
    return np.where(wet, values, np.nan)


def by_loops(field, wet, lat, lon, grid):
    """Sums over source cells and target cells one by one, by intersecting their edges."""
    lat_edges = np.clip(node_edges(lat), -90, 90)
    lon_edges = node_edges(lon)
    total = np.zeros((len(field), grid.ny, grid.nx))
    area = np.zeros_like(total)
    for j in range(grid.ny):
        for s in range(lat.size):
            low = max(lat_edges[s], grid.lat_bounds[j])
            high = min(lat_edges[s + 1], grid.lat_bounds[j + 1])
            if high <= low:
                continue
            height = np.sin(np.radians(high)) - np.sin(np.radians(low))
            for i in range(grid.nx):
                for r in range(lon.size):
                    width = 0.0
                    for turn in (-360, 0, 360):
                        left = max(lon_edges[r] + turn, grid.lon_bounds[i])
                        right = min(lon_edges[r + 1] + turn, grid.lon_bounds[i + 1])
                        width += max(0.0, right - left)
                    for k in range(len(field)):
                        if wet[k, s, r]:
                            total[k, j, i] += height * np.radians(width) * field[k, s, r]
                            area[k, j, i] += height * np.radians(width)
    return total, area


def by_sub_cells(field, wet, lat, lon, grid, per_cell):
    """Average over the points of a fine mesh, each of which lies in its nearest source cell."""
    values = np.zeros((len(field), grid.ny, grid.nx))
    fraction = np.zeros_like(values)
    for j in range(grid.ny):
        sines = np.sin(np.radians(grid.lat_bounds[j : j + 2]))
        points = sines[0] + (np.arange(per_cell) + 0.5) / per_cell * (sines[1] - sines[0])
        rows = np.abs(np.degrees(np.arcsin(points))[:, None] - lat).argmin(1)
        covered = np.degrees(np.arcsin(points)) > lat[0] - 0.5 * (lat[1] - lat[0])
        for i in range(grid.nx):
            west, east = grid.lon_bounds[i : i + 2]
            lons = west + (np.arange(per_cell) + 0.5) / per_cell * (east - west)
            distance = np.abs((lons[:, None] - lon + 180.0) % 360.0 - 180.0)
            columns = distance.argmin(1)
            for k in range(len(field)):
                inside = wet[k][np.ix_(rows, columns)] & covered[:, None]
                fraction[k, j, i] = inside.mean()
                found = field[k][np.ix_(rows, columns)][inside]
                values[k, j, i] = found.mean() if found.size else np.nan
    return values, fraction


@pytest.mark.parametrize("grid", [GLOBAL, ACROSS_DATE_LINE], ids=["global", "across date line"])
def test_agrees_with_plain_loops_over_cell_intersections(grid, wet, field):
    regrid = Regridder(LAT, LON, grid, wet)
    total, area = by_loops(field, wet, LAT, LON, grid)
    np.testing.assert_allclose(regrid.wet_area, area, rtol=1e-12, atol=1e-15)
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(regrid(field), total / area, rtol=1e-12)


@pytest.mark.parametrize("grid", [GLOBAL, ACROSS_DATE_LINE], ids=["global", "across date line"])
def test_agrees_with_an_average_over_fine_sub_cells(grid, wet, field):
    regrid = Regridder(LAT, LON, grid, wet)
    values, fraction = by_sub_cells(field, wet, LAT, LON, grid, per_cell=400)
    np.testing.assert_allclose(regrid.wet_fraction, fraction, atol=5e-3)
    np.testing.assert_allclose(regrid(field), values, atol=2e-2)


def test_a_constant_stays_constant_whatever_the_mask(wet):
    regridded = Regridder(LAT, LON, GLOBAL, wet)(np.where(wet, 35.25, np.nan))
    assert np.isfinite(regridded).sum() > 100
    np.testing.assert_allclose(regridded[np.isfinite(regridded)], 35.25, rtol=1e-14)


def test_the_integral_over_the_wet_source_area_is_conserved(wet, field):
    regrid = Regridder(LAT, LON, GLOBAL, wet)
    edges = np.clip(node_edges(LAT), -90, 90)
    area = np.diff(np.sin(np.radians(edges)))[:, None] * np.radians(10.0) * EARTH_RADIUS**2
    source = np.nansum(np.where(wet, field * area, 0.0), axis=(1, 2))
    target = np.nansum(regrid(field) * regrid.wet_fraction * GLOBAL.area, axis=(1, 2))
    np.testing.assert_allclose(target, source, rtol=1e-12)


def test_the_row_at_the_pole_is_half_a_cell():
    edges = np.clip(node_edges(LAT), -90, 90)
    assert edges[-2:].tolist() == [85.0, 90.0]
    top = latitude_weights(LAT, np.array([70.0, 90.0])).toarray()[0]
    expected = np.diff(np.sin(np.radians([70.0, 75.0, 85.0, 90.0])))
    np.testing.assert_allclose(top[-3:], expected, rtol=1e-14)


def test_a_node_centred_column_is_split_between_two_target_cells():
    weights = longitude_weights(np.arange(-180.0, 180.0, 1.0), np.arange(-180.0, 180.1, 6.0))
    first = weights.toarray()[0]
    assert np.count_nonzero(first) == 7
    np.testing.assert_allclose(np.degrees(first[[0, 1, 6]]), [0.5, 1.0, 0.5], rtol=1e-12)


def test_weights_cover_every_target_cell_once_around_the_globe():
    for grid in (GLOBAL, ACROSS_DATE_LINE):
        widths = longitude_weights(LON, grid.lon_bounds).sum(axis=1)
        np.testing.assert_allclose(np.ravel(widths), np.radians(np.diff(grid.lon_bounds)))


def test_cells_beyond_the_source_hold_no_wet_area():
    regrid = Regridder(LAT, LON, Grid.regular(5.0, depths=(5.0,)))
    assert regrid.wet_fraction[0, 0].max() == 0.0
    assert np.isnan(regrid(np.ones((1, LAT.size, LON.size)))[0, 0]).all()
    np.testing.assert_allclose(regrid.wet_fraction[0, 1:], 1.0, rtol=1e-12)


def test_values_on_land_do_not_matter(wet, field):
    regrid = Regridder(LAT, LON, GLOBAL, wet)
    np.testing.assert_array_equal(
        regrid(np.where(wet, field, 1e30)), regrid(np.where(wet, field, np.nan))
    )


def test_overlaps_are_those_of_every_pair_of_intervals():
    rng = np.random.default_rng(3)
    source = np.cumsum(rng.random(30)) - 2.0
    target = np.cumsum(rng.random(12)) + 1.0
    expected = np.array(
        [
            [max(0.0, min(b, d) - max(a, c)) for c, d in itertools.pairwise(source)]
            for a, b in itertools.pairwise(target)
        ]
    )
    found = overlap_weights(source, target)
    assert found.nnz == np.count_nonzero(expected)
    np.testing.assert_allclose(found.toarray(), expected, atol=1e-14)


def test_overlaps_of_round_off_size_are_left_out():
    source, target = np.arange(6.0), np.arange(6.0)[::2] + 1e-9
    assert overlap_weights(source, target).nnz == 4


def test_a_source_across_the_date_line_has_the_weights_of_the_whole_circle():
    part = (LON <= -120.0) | (LON >= 100.0)
    whole = longitude_weights(LON, ACROSS_DATE_LINE.lon_bounds).toarray()
    assert not whole[:, ~part].any()
    found = longitude_weights(LON[part], ACROSS_DATE_LINE.lon_bounds).toarray()
    np.testing.assert_allclose(found, whole[:, part], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("shift", [3, 17])
def test_where_the_source_starts_on_the_circle_does_not_matter(shift, wet, field):
    turned = (LON + 10.0 * shift + 180.0) % 360.0 - 180.0
    order = np.argsort(turned)
    moved = Grid.regular(
        20.0, lon=(-180.0 + 10.0 * shift, 180.0 + 10.0 * shift), depths=GLOBAL.depth
    )
    expected = Regridder(LAT, LON, GLOBAL, wet)(field)
    found = Regridder(LAT, turned[order], moved, wet[..., order])(field[..., order])
    np.testing.assert_allclose(found, expected, rtol=1e-12)


GLORYS_LAT = np.linspace(-80.0, 90.0, 2041)
GLORYS_LON = -180.0 + np.arange(4320) / 12.0


@pytest.fixture(scope="module")
def glorys():
    """Wet mask (1, 2041, 4320) of blocks and scattered cells, and a field that is not smooth."""
    rng = np.random.default_rng(4)
    wet = np.kron(rng.random((13, 27)) > 0.3, np.ones((157, 160), bool))[:2041, :4320]
    wet &= rng.random(wet.shape, np.float32) > 0.02
    wet[-1] = True
    field = 5.0 + 20.0 * np.cos(np.radians(GLORYS_LAT))[:, None] ** 2
    return wet[None], field + rng.normal(size=wet.shape).astype(np.float32)[None]


@pytest.mark.parametrize(("resolution", "taps"), [(0.5, 7), (0.25, 4)])
def test_integrals_of_the_real_source_are_conserved(resolution, taps, glorys):
    wet, field = glorys
    grid = Grid.regular(resolution)
    weights = conservative_weights(GLORYS_LAT, GLORYS_LON, grid)
    assert set(np.diff(weights.x.indptr)) == {taps}
    # Source cells reach from 80 S less half a cell to the pole, where the last row is half a cell.
    half = 0.5 / 12.0
    south = np.maximum(GLORYS_LAT - half, -90.0)
    north = np.minimum(GLORYS_LAT + half, 90.0)
    height = np.sin(np.radians(north)) - np.sin(np.radians(south))
    np.testing.assert_allclose(weights.y.sum(axis=0).A1, height, rtol=1e-9)
    area = (height * np.radians(1.0 / 12.0))[:, None] * wet[0]
    regrid = Regridder(GLORYS_LAT, GLORYS_LON, grid, wet)
    assert regrid.wet_area.sum() == pytest.approx(area.sum(), rel=1e-12)
    exact = regrid(field)
    assert np.nansum(exact * regrid.wet_area) == pytest.approx((area * field[0]).sum(), rel=1e-11)

    packing = 7.32444226741791e-4, 21.0
    raw = np.where(wet, np.round((field - packing[1]) / packing[0]), -32767).astype(np.int16)
    packed = PackedField(raw, *packing, (-32767.0,))
    fused = FusedRegridder(GLORYS_LAT, GLORYS_LON, grid, wet)(packed, slice(0, 1)).values
    total = np.nansum(fused * regrid.wet_area)
    expected = (area * (raw[0] * packing[0] + packing[1])).sum()
    assert total == pytest.approx(expected, rel=1e-8)
    np.testing.assert_allclose(fused, regrid(packed.unpack()), rtol=3e-7, atol=1e-6)
