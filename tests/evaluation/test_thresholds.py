from __future__ import annotations

import datetime as dt
import shutil

import numpy as np
import pytest

from hybridom.errors import UserError
from hybridom.evaluation.thresholds import open_thresholds, open_thresholds_file
from hybridom.grid import Grid
from tests.evaluation import synthetic

EXTREMES = {"percentiles": (90.0, 97.5), "depths": (0.0, 30.0, 95.0)}


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A world with thresholds at three levels, which no test alters."""
    return synthetic.make_world(
        tmp_path_factory.mktemp("thresholds"), starts=1, days=2, extremes=EXTREMES
    )


@pytest.fixture
def world(tmp_path):
    """A world of the test's own."""
    return synthetic.make_world(tmp_path, starts=1, days=2, extremes=EXTREMES)


def opened(world, **extremes):
    config = world.config
    if extremes:
        settings = config.extremes.model_copy(update=extremes)
        config = config.model_copy(update={"extremes": settings})
    return open_thresholds(config, world.layout, world.grid, world.wet)


def test_the_threshold_of_a_day_is_the_row_of_its_month_and_day(shared):
    found = opened(shared)
    assert found.percentiles == (90.0, 97.5)
    assert found.levels == (0, 1, 2) and found.depths == (5.0, 20.0, 100.0)
    for day, row in (
        (dt.date(2004, 3, 1), 59),
        (dt.date(2003, 1, 1), 0),
        (dt.date(2004, 12, 31), 364),
    ):
        for place, percentile in enumerate(found.percentiles):
            field = found.field("so", percentile, day)
            assert field.dtype == np.float32
            np.testing.assert_array_equal(field, shared.thresholds["so"][row, place])
    field = found.field("zos", 90.0, dt.date(2003, 2, 28))
    np.testing.assert_array_equal(field, shared.thresholds["zos"][58, :1])
    assert found.levels_of("zos") == (0,) and found.levels_of("uo") == (0, 1, 2)


def test_29_february_lies_half_way(shared):
    found = opened(shared).field("thetao", 97.5, dt.date(2004, 2, 29))
    rows = shared.thresholds["thetao"][58:60, 1].astype(float)
    np.testing.assert_allclose(found, rows.mean(axis=0), rtol=1e-6)


def test_a_missing_or_unfinished_store_is_refused(world):
    world.layout.percentiles_manifest.unlink()
    with pytest.raises(UserError, match=r"percentiles.json is missing; run `hybridom prepare perc"):
        opened(world)
    shutil.rmtree(world.layout.percentiles_store)
    with pytest.raises(UserError, match="run `hybridom prepare percentiles`"):
        opened(world)


def test_thresholds_of_another_grid_are_refused(world):
    manifest = world.layout.percentiles_manifest
    manifest.write_text(manifest.read_text().replace(world.grid.hash, "another"))
    with pytest.raises(UserError, match="grid hash another found"):
        opened(world)
    path = world.layout.percentiles_store
    open_thresholds_file(path, world.grid, world.wet)
    other = Grid.regular(20.0, depths=world.grid.depth)
    with pytest.raises(UserError, match=r"its latitude is not that .*6 values .* expected 9"):
        open_thresholds_file(path, other, np.ones(other.shape, bool))
    shallow = Grid.regular(30.0, depths=(5.0, 20.0))
    with pytest.raises(UserError, match="its level of 100 m is none"):
        open_thresholds_file(path, shallow, world.wet[:2])


@pytest.mark.parametrize(
    ("extremes", "message"),
    [
        ({"percentiles": (90.0, 95.0)}, r"extremes.percentiles 90, 97.5, expected 90, 95;"),
        ({"depths": (0.0,)}, r"extremes.depths 5, 20, 100, expected 5;"),
        ({"window": 365}, r"extremes.window 11, expected 365;"),
        ({"smoothing": 1}, r"extremes.smoothing 31, expected 1;"),
    ],
)
def test_thresholds_made_with_other_settings_are_refused(shared, extremes, message):
    with pytest.raises(UserError, match=message):
        opened(shared, **extremes)


def test_a_store_on_the_same_grid_may_have_other_settings_and_levels(shared, tmp_path):
    extremes = {"percentiles": (99.0,), "depths": (110.0,), "window": 5}
    other = synthetic.make_world(tmp_path, starts=1, days=2, extremes=extremes)
    found = open_thresholds_file(other.layout.percentiles_store, shared.grid, other.wet)
    assert (found.percentiles, found.levels) == ((99.0,), (2,))
    field = found.field("thetao", 99.0, dt.date(2003, 7, 1))
    np.testing.assert_array_equal(field, other.thresholds["thetao"][181, 0])
    field = found.field("zos", 99.0, dt.date(2003, 7, 1))
    np.testing.assert_array_equal(field[0], other.thresholds["zos"][181, 0])


def test_a_wet_cell_without_threshold_is_refused(world):
    level, row, column = np.argwhere(world.wet)[-1]
    world.thresholds["vo"][10, 1, level, row, column] = np.nan
    synthetic.write_thresholds(world)
    found = opened(world)
    found.field("vo", 90.0, dt.date(2003, 1, 11))
    with pytest.raises(UserError, match=r"vo has no threshold of percentile 97.5 .* in 1 wet"):
        found.field("vo", 97.5, dt.date(2003, 1, 11))


def test_a_store_of_something_else_is_refused(world):
    with pytest.raises(UserError, match="coordinate percentile is missing"):
        open_thresholds_file(world.layout.climatology_store, world.grid, world.wet)
