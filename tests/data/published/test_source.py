"""What follows preparation reads published files as it reads stores."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from hybridom.config import Period
from hybridom.data.datasets import DayReader, WindowDataset
from hybridom.data.prepare import prepare_climatology
from hybridom.data.published import preparing
from hybridom.data.stores import open_arrays, open_store, store_gaps, store_grid_hash
from hybridom.evaluation.stores import Truth
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC
from tests.data.published.world import published_config, write_store

NAMES = ("u10", "v10", "t2m")


@pytest.fixture(scope="module")
def source(stores, prepared_files):
    """Published files, with some climatology of the model in its place."""
    config = prepared_files["surface3"]
    layout = Layout(config)
    names = (*PROGNOSTIC, *NAMES)
    where = layout.climatology_store, layout.climatology_manifest
    write_store(*where, names, "dayofyear", range(1, 366), stores.grid, 4)
    return config


def test_a_store_is_stood_for_by_the_manifest(stores, source):
    path = Layout(source).state_store(2000)
    assert not path.exists()
    assert store_grid_hash(path) == stores.grid.hash
    assert store_gaps(path) == frozenset()
    found = open_store(path)["thetao"][59].values
    expected = open_store(stores.layout.state_store(2000))["thetao"][59].values
    np.testing.assert_allclose(found, expected, atol=4e-6)


def test_windows_hold_the_days_of_the_stores(stores, source):
    layout, period = Layout(source), source.periods.train
    reader = DayReader(layout, stores.grid, stores.wet, NAMES, "none", period)
    window = WindowDataset(reader, period, 3, 1)[57]
    for name in PROGNOSTIC:
        values = open_arrays(stores.layout.state_store(2000), [name])[name][57:61]
        expected = np.nan_to_num(values, nan=0.0)
        np.testing.assert_allclose(window["state"][name].numpy(), expected, atol=4e-6)
    for name in NAMES:
        values = open_arrays(stores.layout.forcing_store(2000), [name])[name][57:61]
        np.testing.assert_array_equal(window["forcing"][name].numpy(), values)


def test_scores_take_their_truth_from_published_files(stores, source):
    truth = Truth(Layout(source), stores.grid, stores.wet)
    arrays = open_arrays(stores.layout.state_store(2000), PROGNOSTIC)
    for name in PROGNOSTIC:
        found = truth.field(name, dt.date(2000, 2, 29))
        expected = np.asarray(arrays[name][59]).reshape(found.shape)
        np.testing.assert_allclose(found, expected, atol=4e-6)


def test_a_reader_with_a_cache_holds_the_same(stores, source):
    layout = Layout(source)
    period = Period.model_validate({"start": "2000-02-25", "end": "2000-03-05"})
    one, other = (
        DayReader(layout, stores.grid, stores.wet, NAMES, cache, period)
        for cache in ("none", "memory")
    )
    for day in period.days():
        first, second = one.state(day), other.state(day)
        for name in PROGNOSTIC:
            np.testing.assert_array_equal(first[name], second[name])


@pytest.mark.slow
def test_the_model_climatology_is_fitted_to_full_fields(stores, exported, tmp_path):
    config = published_config(tmp_path, exported, climatology={"harmonics": 1})
    layout = Layout(config)
    preparing.prepare_grid_published(config, layout)
    for kind in ("state", "forcing"):
        preparing.prepare_year_published(config, layout, 2000, kind)
    prepare_climatology(config, layout)
    fitted = open_arrays(layout.climatology_store, PROGNOSTIC)
    for name in PROGNOSTIC:
        values = open_arrays(stores.layout.state_store(2000), [name])[name][:]
        days = np.r_[1:60, 59.5, 60:366]
        angle = 2 * np.pi * days / 365
        basis = np.stack([np.ones(366), np.cos(angle), np.sin(angle)], 1)
        sea = np.isfinite(values[0])
        expected = basis @ np.linalg.lstsq(basis, values[:, sea].astype(float), rcond=None)[0]
        np.testing.assert_allclose(fitted[name][30][sea], expected[30], atol=1e-4)
