from __future__ import annotations

import datetime as dt
import pickle

import numpy as np
import pytest
import torch

from hybridom.config import Period
from hybridom.data.datasets import DayReader, WindowDataset, collate
from hybridom.data.stores import open_store
from hybridom.errors import UserError
from hybridom.grid import Grid
from hybridom.state import OceanState
from hybridom.variables import PROGNOSTIC

FORCING = ("u10", "v10", "t2m")
LEAP_DAY = dt.date(2000, 2, 29)


def make_reader(world, cache, period=None):
    period = period or world.config.periods.train
    return DayReader(world.layout, world.grid, world.wet, FORCING, cache, period)


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_days_are_those_of_the_stores_with_zero_on_land(prepared, cache):
    reader = make_reader(prepared, cache)
    state = open_store(prepared.layout.state_store(2000))
    forcing = open_store(prepared.layout.forcing_store(2000))
    for day in (dt.date(2000, 2, 20), LEAP_DAY, dt.date(2000, 3, 7)):
        found = reader.state(day)
        assert tuple(found) == PROGNOSTIC
        for name, values in found.items():
            expected = np.nan_to_num(state[name].sel(time=str(day)).values)
            np.testing.assert_array_equal(values, expected)
            assert values.dtype == np.float32
        for name, values in reader.forcing(day).items():
            np.testing.assert_array_equal(values, forcing[name].sel(time=str(day)).values)


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_the_climatology_of_29_february_lies_between_its_neighbours(prepared, cache):
    reader = make_reader(prepared, cache)
    climatology = open_store(prepared.layout.climatology_store)
    rows = climatology.sel(dayofyear=[59, 60])
    for name, values in reader.climatology(LEAP_DAY).items():
        expected = np.nan_to_num(rows[name].values)
        np.testing.assert_array_equal(values, 0.5 * (expected[0] + expected[1]))
    for name, values in reader.forcing_climatology(dt.date(2000, 3, 1)).items():
        np.testing.assert_array_equal(values, rows[name].values[1])


def test_both_caches_give_the_same_windows(prepared):
    train = prepared.config.periods.train
    windows = [WindowDataset(make_reader(prepared, c), train, 3, 2) for c in ("memory", "none")]
    assert len(windows[0]) == len(windows[1]) == 7
    for a, b in zip(*([w[i] for i in range(len(w))] for w in windows), strict=True):
        assert a["start"] == b["start"]
        for part in ("state", "forcing", "climatology", "forcing_climatology"):
            assert a[part].keys() == b[part].keys()
            for name in a[part]:
                torch.testing.assert_close(a[part][name], b[part][name], rtol=0, atol=0)


def test_windows_never_cross_the_end_of_a_period(prepared):
    train = prepared.config.periods.train  # 17 days
    reader = make_reader(prepared, "none")
    for days, stride, count in ((1, 1, 16), (5, 1, 12), (5, 4, 3), (16, 1, 1), (17, 1, 0)):
        windows = WindowDataset(reader, train, days, stride)
        assert len(windows) == count
        if count:
            last = windows[count - 1]["start"] + days
            assert last <= (train.end - dt.date(1970, 1, 1)).days < last + stride
        with pytest.raises(IndexError):
            windows[count]


def test_a_window_holds_consecutive_days(prepared):
    train = prepared.config.periods.train
    reader = make_reader(prepared, "none")
    window = WindowDataset(reader, train, 4, 3)[2]
    first = dt.date(2000, 2, 26)
    assert window["start"] == (first - dt.date(1970, 1, 1)).days
    assert window["state"]["thetao"].shape == (5, 3, 9, 18)
    assert window["state"]["zos"].shape == window["forcing"]["t2m"].shape == (5, 9, 18)
    for n in range(5):
        day = first + dt.timedelta(n)
        for part, read in (
            ("state", reader.state),
            ("forcing", reader.forcing),
            ("climatology", reader.climatology),
            ("forcing_climatology", reader.forcing_climatology),
        ):
            for name, values in read(day).items():
                np.testing.assert_array_equal(window[part][name][n], values)


def test_no_day_is_read_twice_in_a_window(prepared, monkeypatch):
    reads = []
    read = DayReader._read
    monkeypatch.setattr(
        DayReader, "_read", lambda self, *args: reads.append(args) or read(self, *args)
    )
    reader = make_reader(prepared, "none")
    WindowDataset(reader, prepared.config.periods.train, 4, 1)[7]  # 27 February to 2 March
    keys = [(kind, numbers[0]) for kind, numbers in reads]
    assert len(keys) == len(set(keys)) == 2 * 5 + 2 * 4


def test_a_batch_stacks_windows(prepared):
    windows = WindowDataset(
        make_reader(prepared, "memory"), prepared.config.periods.train, days=2, stride=1
    )
    batch = collate([windows[0], windows[5]])
    assert isinstance(batch.state, OceanState)
    assert batch.state.thetao.shape == (2, 3, 3, 9, 18)
    assert batch.forcing["u10"].shape == (2, 3, 9, 18)
    assert batch.start.tolist() == [windows[0]["start"], windows[5]["start"]]
    torch.testing.assert_close(batch.climatology.zos[1], windows[5]["climatology"]["zos"])
    double = batch.to(torch.float64)
    assert double.state.so.dtype == double.forcing_climatology["t2m"].dtype == torch.float64
    assert double.start.dtype == torch.int64


def test_a_reader_can_be_sent_to_another_process(prepared):
    day = dt.date(2000, 3, 1)
    for cache in ("memory", "none"):
        reader = make_reader(prepared, cache)
        copy = pickle.loads(pickle.dumps(reader))
        np.testing.assert_array_equal(copy.state(day)["so"], reader.state(day)["so"])
        again = pickle.loads(pickle.dumps(reader))
        np.testing.assert_array_equal(again.state(day)["so"], reader.state(day)["so"])


def test_days_may_be_dates_numbers_or_numpy_datetimes(prepared):
    reader = make_reader(prepared, "none")
    number = (LEAP_DAY - dt.date(1970, 1, 1)).days
    for day in (number, np.datetime64(LEAP_DAY), np.datetime64("2000-02-29T00", "ns")):
        np.testing.assert_array_equal(reader.state(day)["vo"], reader.state(LEAP_DAY)["vo"])


def test_a_day_outside_the_period_is_refused(prepared):
    with pytest.raises(UserError, match="2000-03-08 lies outside the period 2000-02-20"):
        make_reader(prepared, "none").state(dt.date(2000, 3, 8))


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_a_day_that_the_store_lacks_is_refused(prepared, cache):
    period = Period(start=dt.date(2000, 3, 1), end=dt.date(2000, 4, 1))
    with pytest.raises(UserError, match=r"2000.zarr: not all days .*hybridom prepare"):
        make_reader(prepared, cache, period).state(dt.date(2000, 4, 1))


def test_stores_of_another_grid_are_refused(prepared):
    other = Grid.regular(20.0, depths=(1.0, 2.0, 3.0))
    reader = DayReader(
        prepared.layout, other, prepared.wet, FORCING, "none", prepared.config.periods.train
    )
    with pytest.raises(UserError, match=rf"made for grid {prepared.grid.hash}"):
        reader.state(LEAP_DAY)


def test_a_wet_cell_without_value_is_refused(prepared):
    reader = make_reader(prepared, "none")
    reader._wet = np.ones_like(prepared.wet)
    with pytest.raises(UserError, match="wet cells without value"):
        reader.state(LEAP_DAY)
