from __future__ import annotations

import datetime as dt
from types import SimpleNamespace

import numpy as np
import pytest

from hybridom.config import Period
from hybridom.data.climatology import (
    evaluate,
    fit_harmonics,
    read_climatology,
    require_whole_year,
)
from hybridom.data.days import climatology_rows, day_of_year
from hybridom.data.plans import daily_coordinates, daily_mean
from hybridom.data.stores import StorePlan, write_store
from hybridom.errors import UserError
from hybridom.grid import Grid
from hybridom.layout import Layout
from tests.data.raw import raw_config

GRID = Grid.regular(60.0, depths=(10.0,))
TWO_YEARS = Period(start=dt.date(2004, 1, 1), end=dt.date(2005, 12, 31))  # 2004 is leap


def position(day):
    """Day of a 365-day year, counted independently of the package."""
    if (day.month, day.day) == (2, 29):
        return 59.5
    return (day.replace(year=2003) - dt.date(2002, 12, 31)).days


def signal(day):
    """Annual and semi-annual cycle, a cell each of its own amplitude, (3, 6)."""
    angle = 2 * np.pi * position(day) / 365
    amplitude = np.linspace(1, 2, GRID.ny * GRID.nx).reshape(GRID.ny, GRID.nx)
    return 3 + amplitude * np.cos(angle) - 0.5 * np.sin(2 * angle)


def noisy(day):
    return signal(day) + np.random.default_rng(day.toordinal()).normal(size=(GRID.ny, GRID.nx))


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Two years of sea-surface height, with and without noise (as wind), land in one cell."""
    root = tmp_path_factory.mktemp("years")
    layout = Layout(
        raw_config(
            root,
            ("2004-01-01", "2005-12-31"),
            ("2006-01-01", "2006-01-02"),
            ("2006-01-03", "2006-01-08"),
        )
    )
    for year in TWO_YEARS.years:
        days = TWO_YEARS.days(year)
        for store, manifest, name, field in (
            (layout.state_store(year), layout.state_manifest(year), "zos", noisy),
            (layout.forcing_store(year), layout.forcing_manifest(year), "u10", signal),
        ):
            attributes = daily_mean(name, "sea")
            plan = StorePlan(
                store,
                manifest,
                daily_coordinates(GRID, days, {}).drop_dims("depth"),
                {name: (("time", "latitude", "longitude"), attributes)},
                {"config_hash": "", "grid_hash": GRID.hash},
            )

            def slab(index, name=name, field=field, days=days):
                values = field(days[index])
                values[0, 0] = np.nan
                return {name: values}

            write_store(plan, slab, name)
    return SimpleNamespace(layout=layout)


@pytest.mark.parametrize("harmonics", [0, 1, 4])
def test_the_fit_is_that_of_least_squares_over_all_days(stores, harmonics):
    days = TWO_YEARS.days()
    angle = 2 * np.pi * np.array([position(d) for d in days]) / 365
    columns = [np.ones(len(days))]
    columns += [np.cos(k * angle) for k in range(1, harmonics + 1)]
    columns += [np.sin(k * angle) for k in range(1, harmonics + 1)]
    values = np.stack([noisy(d) for d in days]).astype(np.float32).reshape(len(days), -1)
    expected = np.linalg.lstsq(np.stack(columns, 1), values.astype(np.float64), rcond=None)[0]
    found = fit_harmonics(stores.layout, "zos", TWO_YEARS, harmonics)
    assert found.shape == (2 * harmonics + 1, GRID.ny, GRID.nx)
    assert np.isnan(found[:, 0, 0]).all()
    np.testing.assert_allclose(
        found.reshape(len(found), -1)[:, 1:], expected[:, 1:], rtol=1e-5, atol=1e-6
    )


def test_a_seasonal_cycle_is_recovered_on_every_day_of_the_year(stores):
    coefficients = fit_harmonics(stores.layout, "u10", TWO_YEARS, 2)
    for day in Period(start=dt.date(2003, 1, 1), end=dt.date(2003, 12, 31)).days():
        found = evaluate(coefficients, position(day) - 1)
        np.testing.assert_allclose(found.flat[1:], signal(day).flat[1:], atol=2e-6)


def test_only_days_of_the_period_enter(stores):
    first = Period(start=dt.date(2004, 3, 1), end=dt.date(2004, 3, 20))
    found = fit_harmonics(stores.layout, "zos", first, 0)[0]
    expected = np.mean([noisy(d) for d in first.days()], axis=0)
    np.testing.assert_allclose(found.flat[1:], expected.flat[1:], rtol=1e-5)


@pytest.mark.parametrize("year", [2003, 2004])
def test_each_day_has_its_place_in_a_year_of_365_days(year):
    days = Period(start=dt.date(year, 1, 1), end=dt.date(year, 12, 31)).days()
    assert [day_of_year(d) for d in days] == [position(d) for d in days]
    assert climatology_rows(dt.date(2004, 2, 29)) == (58, 59)
    assert climatology_rows(dt.date(year, 3, 1)) == (59, 59)
    assert climatology_rows(dt.date(year, 12, 31)) == (364, 364)


def test_29_february_is_read_as_the_mean_of_its_neighbours():
    table = np.random.default_rng(0).normal(size=(365, 2, 3)).astype(np.float32)
    days = [dt.date(2004, 2, 28) + dt.timedelta(n) for n in range(3)]
    found = read_climatology(table, days)
    np.testing.assert_array_equal(found[0], table[58])
    np.testing.assert_array_equal(found[1], 0.5 * (table[58] + table[59]))
    np.testing.assert_array_equal(found[2], table[59])


def test_harmonics_need_every_day_of_the_year():
    whole = Period(start=dt.date(2004, 3, 1), end=dt.date(2005, 2, 28))
    short = Period(start=dt.date(2004, 3, 1), end=dt.date(2005, 2, 26))
    require_whole_year(whole, 4)
    require_whole_year(short, 0)
    with pytest.raises(UserError, match=r"climatology.harmonics is 1, .* no 27 February nor 1 "):
        require_whole_year(short, 1)


def test_a_day_that_a_store_lacks_is_named(stores):
    later = Period(start=dt.date(2005, 12, 30), end=dt.date(2006, 1, 2))
    with pytest.raises(UserError, match=r"2006.zarr.*hybridom prepare state"):
        fit_harmonics(stores.layout, "zos", later, 0)
