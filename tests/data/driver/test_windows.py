"""Which of the driver's oceans stands around each window."""

from __future__ import annotations

import datetime as dt
import shutil

import numpy as np
import pytest
import torch
import zarr

from hybridom.config import Period
from hybridom.data.datasets import DayReader, WindowDataset, collate
from hybridom.data.days import as_date
from hybridom.data.driver import Drive
from hybridom.errors import UserError
from hybridom.variables import PROGNOSTIC, VARIABLES
from tests import driven

DAYS = 2


def windows(region, part: float, seed: int = 3, stage: int = 1, days: int = DAYS, **change):
    """Windows of the training period."""
    config = region.config
    period = config.periods.train
    forecasts = config.region.forecasts
    reader = DayReader(region.layout, region.grid, region.wet, config.forcing_names, "none", period)
    starts = change.get("starts", tuple(forecasts.starts(period)))
    drive = Drive(region.driver(), starts, change.get("length", driven.DAYS), part, (seed, stage))
    return WindowDataset(reader, period, days, 1, drive)


def draws(dataset):
    return [dataset.driven.draw(index) for index in range(len(dataset))]


def first_days(dataset):
    return [int(x) for x in dataset._starts]


def test_without_forecasts_the_analyses_drive_every_window(region) -> None:
    dataset = windows(region, 0.0)
    assert [start for _, start in draws(dataset)] == [None] * len(dataset)
    assert [first for first, _ in draws(dataset)] == first_days(dataset)
    item = dataset[5]
    for name in PROGNOSTIC:
        wet = region.wet if VARIABLES[name].has_depth else region.wet[0]
        outer = item["outer"][name].numpy()
        assert outer.shape == item["state"][name].shape and outer.dtype == np.float32
        for k in range(DAYS + 1):
            day = as_date(item["start"] + k)
            expected = np.float32(driven.value(name, day, None))
            np.testing.assert_allclose(outer[k][wet], expected, rtol=1e-6)
            assert not outer[k][~wet].any()


def test_a_window_that_forecasts_drive_lies_in_the_one_that_it_was_given(region) -> None:
    dataset = windows(region, 1.0)
    own = 0
    for index, (first, start) in enumerate(draws(dataset)):
        assert start is not None
        lead = (as_date(first) - start).days
        assert lead >= 0 and lead + DAYS <= driven.DAYS
        covered = index in dataset.driven.covered
        assert covered == (first == first_days(dataset)[index])
        own += covered
    assert 0 < own < len(dataset)
    for index in (0, 6, 20):
        item = dataset[index]
        first, start = dataset.driven.draw(index)
        assert item["start"] == first
        days = [as_date(first + k) for k in range(DAYS + 1)]
        expected = [driven.value("zos", day, start) for day in days]
        np.testing.assert_allclose(item["outer"]["zos"][:, 0, 0], expected, rtol=1e-6)
        # The ocean itself is that of the same days.
        state = dataset._reader.state(days[1])["zos"]
        assert np.array_equal(item["state"]["zos"][1].numpy(), state)


def test_the_windows_that_forecasts_cover_are_found(region) -> None:
    dataset = windows(region, 1.0)
    starts = region.config.region.forecasts.starts(region.config.periods.train)
    expected = []
    for index, first in enumerate(first_days(dataset)):
        day = as_date(first)
        end = day + dt.timedelta(DAYS)
        if any(s <= day and end <= s + dt.timedelta(driven.DAYS) for s in starts):
            expected.append(index)
    assert dataset.driven.covered.tolist() == expected


def test_a_part_of_the_windows_is_driven_by_forecasts(region) -> None:
    counts = []
    for seed in range(8):
        found = draws(windows(region, 0.3, seed))
        counts += [start is not None for _, start in found]
    assert abs(np.mean(counts) - 0.3) < 4 * np.sqrt(0.3 * 0.7 / len(counts))


def test_all_hangs_on_seed_stage_and_index_alone(region) -> None:
    one = draws(windows(region, 0.5))
    assert draws(windows(region, 0.5)) == one
    assert [windows(region, 0.5).driven.draw(i) for i in (7, 3, 7)] == [one[7], one[3], one[7]]
    assert draws(windows(region, 0.5, seed=4)) != one
    assert draws(windows(region, 0.5, stage=2)) != one


def test_several_forecasts_that_cover_a_window_all_get_their_turn(region) -> None:
    starts = (dt.date(2001, 1, 17), dt.date(2001, 1, 9))
    seen = set()
    for seed in range(30):
        dataset = windows(region, 1.0, seed, starts=tuple(sorted(starts)), length=8, days=0)
        index = first_days(dataset).index((dt.date(2001, 1, 17) - dt.date(1970, 1, 1)).days)
        first, start = dataset.driven.draw(index)
        assert as_date(first) == dt.date(2001, 1, 17)
        seen.add(start)
    assert seen == set(starts)


def test_a_window_takes_the_place_of_one_that_is_not_covered_by_chance(region) -> None:
    taken = set()
    for seed in range(30):
        dataset = windows(region, 1.0, seed)
        index = next(i for i in range(len(dataset)) if i not in dataset.driven.covered)
        taken.add(dataset.driven.draw(index)[0])
    covered = {first_days(dataset)[i] for i in dataset.driven.covered}
    assert len(taken) > 10 and taken <= covered


def test_a_batch_carries_what_drives_it_wherever_it_goes(region) -> None:
    dataset = windows(region, 1.0)
    batch = collate([dataset[1], dataset[9]])
    assert batch.outer is not None
    assert batch.outer.thetao.shape == batch.state.thetao.shape
    assert batch.outer.zos[1, 0, 0, 0] == dataset[9]["outer"]["zos"][0, 0, 0]
    doubled = batch.to(dtype=torch.float64)
    assert doubled.outer.so.dtype == doubled.state.so.dtype == torch.float64
    assert batch.map(lambda x: x + 1).outer.uo[0, 0, 0, 0, 0] == batch.outer.uo[0, 0, 0, 0, 0] + 1


def test_forecasts_that_cover_no_window_are_refused_with_numbers(region) -> None:
    with pytest.raises(UserError, match=r"none of 33 windows of 7 days .* 5 forecasts of 6 days"):
        windows(region, 0.2, days=7)
    with pytest.raises(UserError, match=r"0 forecasts of 6 days"):
        windows(region, 0.2, starts=())


def test_a_forecast_that_is_missing_or_too_short_is_found_before_the_first_draw(spoiled) -> None:
    layout, start = spoiled.layout.driver, dt.date(2001, 1, 9)
    shutil.rmtree(layout.forecast_store(start))
    driven.write_forecast(spoiled.layout, start, 4)
    with pytest.raises(UserError, match=r"2001-01-09 has 4 days, expected the 6 of region"):
        windows(spoiled, 0.01)
    layout.forecast_manifest(start).unlink()
    with pytest.raises(UserError, match="hybridom forecast --start 2001-01-09"):
        windows(spoiled, 0.01)
    windows(spoiled, 0.0)


def test_days_that_the_driver_lacks_are_in_no_window(spoiled) -> None:
    store = zarr.open_group(spoiled.layout.driver.state_store(2001), mode="r+")
    store.attrs["gaps"] = ["2001-01-05"]
    gap = (dt.date(2001, 1, 5) - dt.date(1970, 1, 1)).days
    first = first_days(windows(spoiled, 0.0))
    assert all(not start <= gap <= start + DAYS for start in first)
    assert len(first) == 38 - 3


def test_a_period_that_is_too_short_has_no_windows(region) -> None:
    config = region.config
    period = Period(start=dt.date(2001, 1, 1), end=dt.date(2001, 1, 2))
    reader = DayReader(region.layout, region.grid, region.wet, config.forcing_names, "none", period)
    drive = Drive(region.driver(), (dt.date(2001, 1, 1),), 6, 1.0, (0, 0))
    assert len(WindowDataset(reader, period, 2, 1, drive)) == 0
