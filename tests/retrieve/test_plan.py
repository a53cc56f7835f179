"""Boxes, months and runs of days."""

from __future__ import annotations

import datetime as dt

import pytest

from hybridom.errors import UserError
from hybridom.retrieve.plan import Box, fetched_box, human, month_days, runs


@pytest.mark.parametrize(
    ("lon", "margin", "west", "east"),
    [
        ((178, 182), 1.0, 177, 183),
        ((120, 210), 1.0, 119, 211),
        ((-80, 0), 0.5, -80.5, 0.5),
        ((-180, 180), 1.0, -180, 180),
        ((-179, 180), 1.0, -180, 180),
        ((190, 200), 1.0, -171, -159),
    ],
)
def test_the_box_has_its_margin_and_goes_on_beyond_the_date_line(make, lon, margin, west, east):
    grid = {"name": "b", "resolution": 1.0, "lat": [10, 14], "lon": lon, "depths": [1.0]}
    config, _ = make(grid=grid, download={"margin": margin})
    assert fetched_box(config) == Box(10 - margin, 14 + margin, west, east)


def test_the_box_ends_at_the_poles(make):
    grid = {"name": "b", "resolution": 1.0, "lat": [-90, 90], "lon": [0, 10], "depths": [1.0]}
    box = fetched_box(make(grid=grid)[0])
    assert (box.south, box.north) == (-90.0, 90.0)


def test_edges_move_outward_to_the_points_of_the_source():
    assert Box(9.6, 14.1, 177.3, 182.9).outward(0.25) == Box(9.5, 14.25, 177.25, 183.0)
    assert Box(9.5, 14.25, 177.25, 183.0).outward(0.25) == Box(9.5, 14.25, 177.25, 183.0)
    assert Box(-90, 90, -180, 180).points(0.25) == 721 * 1440
    assert Box(-80, 90, -180, 180).points(1 / 12, -80) == 2041 * 4320


def test_months_and_days_are_those_of_the_periods(make):
    config, _ = make()
    assert config.periods.months() == ["2020-01", "2020-02"]
    assert config.periods.months(2019) == []
    assert month_days(config, "2020-01") == [dt.date(2020, 1, n) for n in range(25, 32)]
    assert month_days(config, "2020-02") == [dt.date(2020, 2, 1), dt.date(2020, 2, 2)]
    with pytest.raises(UserError, match=r"2020-03.*expected 2020-01 to 2020-02"):
        month_days(config, "2020-03")


def test_runs_end_at_gaps_and_at_breaks():
    days = [dt.date(2020, 1, n) for n in (1, 2, 3, 7, 8)]
    found = runs(days, (dt.date(2020, 1, 8),))
    assert [[d.day for d in run] for run in found] == [[1, 2, 3], [7], [8]]


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (123456, "123 kB"), (1.5e9, "1.5 GB")],
)
def test_sizes_are_read_with_ease(size, words):
    assert human(size) == words


def test_terabytes_are_the_largest_unit():
    assert human(13.2e12) == "13.2 TB"
    assert human(99.96e6) == "100 MB"
