from __future__ import annotations

import numpy as np
import pytest

from hybridom.data.regrid import fill_from_sea


def by_rings(field, sea, cells, periodic):
    """Ring by ring, by looking at every cell's neighbours in a padded copy."""
    out = np.where(sea, field, np.nan)
    for _ in range(cells):
        padded = np.pad(out, 1, constant_values=np.nan)
        if periodic:
            padded[1:-1, 0], padded[1:-1, -1] = out[:, -1], out[:, 0]
        ring = out.copy()
        for j, i in zip(*np.nonzero(np.isnan(out)), strict=True):
            around = padded[j : j + 3, i : i + 3]
            if np.isfinite(around).any():
                ring[j, i] = np.nanmean(around)
        out = ring
    return out


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("cells", [0, 1, 2, 5])
def test_agrees_with_a_plain_search_ring_by_ring(cells, periodic):
    rng = np.random.default_rng(0)
    field, sea = rng.normal(size=(3, 20, 24)), rng.random((3, 20, 24)) < 0.05
    found = fill_from_sea(field, sea, cells, periodic)
    expected = [by_rings(f, s, cells, periodic) for f, s in zip(field, sea, strict=True)]
    # Sums in another order: means of values about 1 may cancel.
    np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-15)


def test_a_constant_stays_constant():
    sea = np.random.default_rng(1).random((2, 30, 40)) < 0.02
    found = fill_from_sea(np.full(sea.shape, 35.25), sea, 3, periodic=True)
    assert set(found[np.isfinite(found)].tolist()) == {35.25}


def test_a_single_sea_cell_spreads_as_a_square():
    sea = np.zeros((9, 9), bool)
    sea[4, 4] = True
    found = fill_from_sea(np.where(sea, 2.5, np.nan), sea, 2, periodic=False)
    expected = np.full((9, 9), np.nan)
    expected[2:7, 2:7] = 2.5
    np.testing.assert_array_equal(found, expected)


def test_values_cross_the_seam_of_a_periodic_grid_alone():
    sea = np.zeros((3, 8), bool)
    sea[1, 0] = True
    field = np.where(sea, 1.0, np.nan)
    assert np.isfinite(fill_from_sea(field, sea, 1, periodic=True)[:, -1]).all()
    assert np.isnan(fill_from_sea(field, sea, 1, periodic=False)[:, 2:]).all()


def test_a_cell_between_two_seas_takes_their_mean():
    sea = np.ones((3, 5), bool)
    sea[:, 2] = False
    field = np.tile([1.0, 1.0, 99.0, 3.0, 3.0], (3, 1))
    np.testing.assert_array_equal(fill_from_sea(field, sea, 1, periodic=False)[:, 2], 2.0)


def test_the_sea_and_the_given_field_are_left_alone():
    rng = np.random.default_rng(2)
    field, sea = rng.normal(size=(10, 12)).astype(np.float32), rng.random((10, 12)) < 0.5
    before = field.copy()
    found = fill_from_sea(field, sea, 2, periodic=True)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[sea], field[sea])
    np.testing.assert_array_equal(field, before)


def test_levels_do_not_see_one_another():
    sea = np.zeros((2, 6, 6), bool)
    sea[0] = True
    found = fill_from_sea(np.ones(sea.shape), sea, 3, periodic=True)
    assert np.isnan(found[1]).all()


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="shape"):
        fill_from_sea(np.ones((2, 4, 4)), np.ones((4, 4), bool), 1, periodic=True)
