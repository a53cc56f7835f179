from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
import zarr

from hybridom.config import Period
from hybridom.data.climatology import parts_folder, read_climatology, write_climatology
from hybridom.data.days import climatology_rows, day_of_year
from hybridom.data.harmonics import HarmonicRows, fit_block, require_whole_year
from hybridom.data.history import History
from hybridom.data.stores import StorePlan, open_store
from hybridom.data.window import WindowRows, require_samples, unit, window_rows
from hybridom.errors import UserError
from hybridom.grid import Grid
from hybridom.layout import Layout
from tests.data.yearly import CELL, climate_config, write_years, year_coordinates, years

GRID = Grid.regular(60.0, depths=(10.0, 40.0, 90.0))
WET = np.ones(GRID.shape, bool)
WET[:, 0, 0] = WET[2, 1] = False
ONE_LEVEL = 4 * GRID.ny * GRID.nx  # bytes: a chunk a level
LEAP = years(2004, 2005)  # 2004 is leap
GAP = dt.date(2005, 7, 3)
AMPLITUDE = np.linspace(1, 2, GRID.ny * GRID.nx).reshape(GRID.ny, GRID.nx)


def position(day):
    """Day of a 365-day year, counted independently of the package."""
    if (day.month, day.day) == (2, 29):
        return 59.5
    return (day.replace(year=2003) - dt.date(2002, 12, 31)).days


def sea(field):
    return np.where(WET if field.ndim == 3 else WET[0], field, np.nan)


def cosine(day):
    """The annual cycle, a cell each of its own amplitude, (ny, nx), over land too."""
    return 3 + AMPLITUDE * np.cos(2 * np.pi * position(day) / 365)


def ramp(day):
    return np.full((GRID.ny, GRID.nx), float(position(day)))


def noisy(day):
    seed = np.random.default_rng(day.toordinal())
    return sea((cosine(day) + seed.normal(size=GRID.shape)).astype(np.float32))


FIELDS = {"thetao": noisy, "zos": lambda day: sea(cosine(day)), "u10": ramp}


def world(root, period, fields=FIELDS, **options):
    config = climate_config(root, period)
    layout = Layout(config)
    write_years(layout, GRID, period, fields, chunk_bytes=ONE_LEVEL, **options)
    return SimpleNamespace(root=root, config=config, layout=layout, period=period, fields=fields)


@pytest.fixture(scope="module")
def leap(tmp_path_factory):
    """2004 and 2005, of which one day is a gap."""
    return world(tmp_path_factory.mktemp("leap"), LEAP, gaps=[GAP])


@pytest.fixture(scope="module")
def common(tmp_path_factory):
    """Two years of 365 days."""
    return world(tmp_path_factory.mktemp("common"), years(2005, 2006))


def history(world, names=tuple(FIELDS), period=None):
    return History(world.layout, names, period or world.period, WET)


def window_climatology(world, window, folder):
    """All rows, variable -> (365, [nz,] ny, nx)."""
    rows = WindowRows(history(world), window, folder).slabs(range(365))
    slabs = list(rows)
    return {name: np.stack([slab[name] for slab in slabs]) for name in FIELDS}


def harmonic_climatology(world, harmonics, folder):
    rows = HarmonicRows(history(world), harmonics, folder)
    slabs = list(rows.slabs(range(365)))
    return {name: np.stack([slab[name] for slab in slabs]) for name in FIELDS}


# the days and their place in the year


@pytest.mark.parametrize("year", [2003, 2004])
def test_each_day_has_its_place_in_a_year_of_365_days(year):
    days = years(year, year).days()
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


# harmonics


@pytest.mark.parametrize("harmonics", [0, 1, 4])
def test_the_fit_is_that_of_least_squares_over_all_days_but_gaps(leap, harmonics):
    days = [day for day in LEAP.days() if day != GAP]
    angle = 2 * np.pi * np.array([position(d) for d in days]) / 365
    columns = [np.ones(len(days))]
    columns += [np.cos(k * angle) for k in range(1, harmonics + 1)]
    columns += [np.sin(k * angle) for k in range(1, harmonics + 1)]
    values = np.stack([noisy(d) for d in days]).astype(np.float64)
    record = history(leap)
    blocks = record.blocks("thetao")
    assert [block.levels for block in blocks] == [slice(0, 1), slice(1, 2), slice(2, 3)]
    for block in blocks:
        level = block.levels.start
        found = fit_block(record, block, harmonics)[:, 0][:, WET[level]]
        expected = np.linalg.lstsq(np.stack(columns, 1), values[:, level, WET[level]], rcond=None)
        np.testing.assert_allclose(found, expected[0], rtol=1e-5, atol=1e-6)


def test_an_annual_cosine_is_recovered_by_harmonics_with_leap_days(leap, tmp_path):
    found = harmonic_climatology(leap, 2, tmp_path)
    for day in years(2003, 2003).days():
        row = position(day) - 1
        np.testing.assert_allclose(found["zos"][row], sea(cosine(day)), atol=2e-6)


def test_only_days_of_the_period_enter(leap):
    first = Period(start=dt.date(2004, 3, 1), end=dt.date(2004, 3, 20))
    record = history(leap, ["thetao"], first)
    found = fit_block(record, record.blocks("thetao")[0], 0)[0, 0]
    expected = np.mean([noisy(d)[0] for d in first.days()], axis=0)
    np.testing.assert_allclose(found[WET[0]], expected[WET[0]], rtol=1e-5)


def test_harmonics_need_every_day_of_the_year():
    whole = Period(start=dt.date(2004, 3, 1), end=dt.date(2005, 2, 28)).days()
    require_whole_year(whole, 4, "so")
    require_whole_year(whole[:-2], 0, "so")
    with pytest.raises(UserError, match=r"harmonics is 1, .* so .* no 27 February nor 1 other"):
        require_whole_year(whole[:-2], 1, "so")


# window


def test_an_annual_cosine_is_damped_by_the_window_as_the_dirichlet_kernel_says(common, tmp_path):
    found = window_climatology(common, 31, tmp_path)["zos"]
    half_angle = np.pi / 365
    damped = np.sin(31 * half_angle) / (31 * np.sin(half_angle))
    expected = np.stack([sea(3 + damped * (cosine(d) - 3)) for d in years(2003, 2003).days()])
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_ramp_is_kept_inside_the_year_and_wraps_at_its_ends(common, tmp_path):
    found = window_climatology(common, 5, tmp_path)["u10"]
    expected = np.arange(1.0, 366.0)
    expected[[0, 1]] = (364 + 365 + 1 + 2 + 3) / 5, (365 + 1 + 2 + 3 + 4) / 5
    expected[[363, 364]] = (362 + 363 + 364 + 365 + 1) / 5, (363 + 364 + 365 + 1 + 2) / 5
    np.testing.assert_allclose(found, np.broadcast_to(expected[:, None, None], found.shape))


def test_leap_days_do_not_shift_the_seasons(leap, tmp_path):
    """A ramp that has 59.5 on 29 February stays a ramp but where a window ends beside it."""
    found = window_climatology(leap, 7, tmp_path)["u10"][:, 0, 0]
    day = np.arange(1, 366)
    cut = np.isin(day, [56, 63]) | (day <= 3) | (day >= 363)  # windows with one of the two rows
    np.testing.assert_allclose(found[~cut], day[~cut], atol=1e-5)
    # a row holds its two days and half of 29 February, which lies half a day away
    np.testing.assert_allclose(found[55], 56 + (0.5 * 0.5 / 2.5) / 7, atol=1e-5)
    np.testing.assert_allclose(found[62], 63 - (0.5 * 0.5 / 2.5) / 7, atol=1e-5)


def test_29_february_counts_half_in_each_neighbouring_row(tmp_path):
    def pulse(day):
        return ramp(day) * 0 + float((day.month, day.day) == (2, 29))

    period = years(2003, 2005)
    alone = world(tmp_path, period, {"u10": pulse})
    record = history(alone, ["u10"])
    rows = list(WindowRows(record, 1, tmp_path / "rows").slabs([57, 58, 59, 60]))
    for row, expected in zip(rows, [0, 0.5 / 3.5, 0.5 / 3.5, 0], strict=True):
        np.testing.assert_allclose(row["u10"], expected, rtol=1e-6)


def test_a_window_of_one_day_is_the_mean_over_the_years_as_xarray_groups_them(common, tmp_path):
    found = window_climatology(common, 1, tmp_path)
    stores = [open_store(common.layout.state_store(y)) for y in common.period.years]
    both = xr.concat([s[["thetao", "zos"]] for s in stores], "time").astype(np.float64)
    expected = both.groupby("time.dayofyear").mean()
    for name in ("thetao", "zos"):
        np.testing.assert_allclose(found[name], expected[name].values, rtol=3e-7)


def test_the_window_leaves_a_gap_out(leap, tmp_path):
    found = window_climatology(leap, 3, tmp_path)["thetao"]
    july = [dt.date(2004, 7, n) for n in (2, 3, 4)]
    twins = [d.replace(year=2005) for d in july]
    means = [noisy(july[1])]  # of the gap there is the other year alone
    means += [(noisy(july[n]) + noisy(twins[n])) / 2 for n in (0, 2)]
    np.testing.assert_allclose(found[position(july[1]) - 1], np.mean(means, 0), rtol=1e-5)


def test_rows_do_not_depend_on_where_a_run_begins(leap, tmp_path):
    whole = window_climatology(leap, 31, tmp_path / "a")
    some = [3, 200, 201, 360]
    rows = WindowRows(history(leap), 31, tmp_path / "b").slabs(some)
    for index, slab in zip(some, rows, strict=True):
        for name in FIELDS:
            np.testing.assert_array_equal(slab[name], whole[name][index])


def test_windows_run_around_the_year():
    assert window_rows(1, 5) == [364, 0, 1, 2, 3]
    assert window_rows(100, 1) == [100]


def test_sums_of_whole_numbers_are_exact_for_every_variable():
    for name in ("thetao", "mer", "msl"):
        values = np.random.default_rng(0).uniform(-1, 1, 181) * unit(name) * 2.0**36
        whole = np.rint(values / unit(name))
        assert abs(whole).sum() < 2.0**53
        np.testing.assert_allclose(whole * unit(name), values, atol=unit(name))


def test_a_window_without_any_day_is_refused():
    days = Period(start=dt.date(2004, 3, 1), end=dt.date(2004, 12, 31)).days()
    require_samples(days, 61, "so")
    with pytest.raises(UserError, match=r"climatology.window is 59, .* so .* 29 days of 30 Jan"):
        require_samples(days, 59, "so")


# what is read


def test_a_day_that_a_store_lacks_and_does_not_list_is_named(tmp_path):
    period = Period(start=dt.date(2005, 3, 1), end=dt.date(2005, 3, 9))
    lacking = world(tmp_path, period, {"zos": FIELDS["zos"]}, lacking=[dt.date(2005, 3, 4)])
    with pytest.raises(UserError, match=r"2005.zarr: variable zos lacks 2005-03-04"):
        history(lacking, ["zos"])
    later = Period(start=dt.date(2005, 3, 8), end=dt.date(2006, 1, 2))
    with pytest.raises(UserError, match=r"2005.zarr: variable zos lacks 2005-03-10"):
        history(lacking, ["zos"], later)


def test_a_wet_cell_without_value_is_refused_by_name_and_day(tmp_path):
    def holed(day):
        field = sea(cosine(day))
        field[1, 2] = np.nan if day.day == 5 else 0.0
        return field

    period = Period(start=dt.date(2005, 3, 1), end=dt.date(2005, 3, 9))
    damaged = world(tmp_path, period, {"zos": holed})
    record = history(damaged, ["zos"])
    with pytest.raises(UserError, match=r"2005.zarr: variable zos on 2005-03-05 .* in 1 cells"):
        fit_block(record, record.blocks("zos")[0], 0)


# the store


def plan_of(world, name="climatology.zarr"):
    path = world.root / name
    variables = {
        n: (("dayofyear", *(CELL if n == "thetao" else CELL[1:])), {"units": "1"}) for n in FIELDS
    }
    origin = {"config_hash": "", "grid_hash": GRID.hash}
    return StorePlan(path, path.with_suffix(".json"), year_coordinates(GRID), variables, origin)


def store_bytes(path):
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return {str(p.relative_to(path)): p.read_bytes() for p in files}


@pytest.fixture(scope="module", params=["harmonics", "window"])
def uninterrupted(request, leap):
    """A finished climatology by each method."""
    config = climate_config(leap.root, LEAP, method=request.param, harmonics=2, window=9)
    plan = plan_of(leap, f"{request.param}.zarr")
    write_climatology(config, leap.layout, plan, WET)
    assert not parts_folder(plan).exists()
    return SimpleNamespace(config=config, method=request.param, bytes=store_bytes(plan.path))


def test_the_store_is_nan_on_land_and_nowhere_else(leap, uninterrupted):
    with open_store(leap.root / f"{uninterrupted.method}.zarr") as store:
        for name in ("thetao", "zos"):
            wet = WET if name == "thetao" else WET[0]
            assert (np.isfinite(store[name].values) == wet).all()
        assert np.isfinite(store["u10"].values).all()


KILLED = """
    import numpy as np
    from tests.data.test_climatology import WET, leap_again, plan_of, write_climatology
    world, config = leap_again({root!r}, {method!r})
    write_climatology(config, world.layout, plan_of(world, "killed_{method}.zarr"), WET)
"""


def leap_again(root, method):
    """The world of fixture `leap` as another process finds it."""
    config = climate_config(Path(root), LEAP, method=method, harmonics=2, window=9)
    return SimpleNamespace(root=Path(root), layout=Layout(config)), config


def test_a_killed_run_continues_and_ends_with_the_same_bytes(leap, uninterrupted):
    plan = plan_of(leap, f"killed_{uninterrupted.method}.zarr")
    script = textwrap.dedent(KILLED.format(root=str(leap.root), method=uninterrupted.method))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", script], env=environment)
    parts, rows = parts_folder(plan), plan.partial / "zos" / "c"
    while process.poll() is None:
        if len(list(rows.glob("*"))) >= 100:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.002)
    assert process.wait() == -signal.SIGKILL
    assert not plan.path.exists()
    assert list(parts.glob("*.npy" if uninterrupted.method == "harmonics" else "*.float32"))
    write_climatology(uninterrupted.config, leap.layout, plan, WET)
    assert store_bytes(plan.path) == uninterrupted.bytes
    assert not parts.exists()


def test_what_was_fitted_is_not_fitted_again_unless_the_inputs_changed(leap, tmp_path, monkeypatch):
    fitted = []
    from hybridom.data import harmonics

    def counting(*arguments):
        fitted.append(arguments[1])
        if len(fitted) == 3:
            raise KeyboardInterrupt
        return fit_block(*arguments)

    monkeypatch.setattr(harmonics, "fit_block", counting)
    monkeypatch.setattr(harmonics, "threads_for", lambda size: 1)
    here = SimpleNamespace(root=tmp_path)
    config = climate_config(leap.root, LEAP, harmonics=1)
    with pytest.raises(KeyboardInterrupt):
        write_climatology(config, leap.layout, plan_of(here), WET)
    write_climatology(config, leap.layout, plan_of(here), WET)
    assert len(fitted) == 3 + 5 - 2  # thetao has three blocks, the others one each


MEASURED = """
    import resource
    from tests.data.test_climatology import *
    world, config = large_world({root!r}, {method!r})
    record = History(world.layout, ["thetao"], config.periods.train, np.ones(LARGE.shape, bool))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kind, number = (HarmonicRows, 4) if {method!r} == "harmonics" else (WindowRows, 31)
    for slab in kind(record, number, world.root / "parts").slabs(range(20)):
        del slab
    print(before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
LARGE = Grid.regular(2.0, depths=tuple(range(5, 245, 10)))


def large_world(root, method):
    config = climate_config(Path(root), years(2001, 2003), method=method)
    return SimpleNamespace(root=Path(root), layout=Layout(config)), config


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Three years of 1.5 MB a day, in chunks of 200 kB; all days are the same file."""
    root = tmp_path_factory.mktemp("large")
    world, config = large_world(root, "harmonics")
    field = np.random.default_rng(0).normal(size=LARGE.shape).astype(np.float32)
    fields, size = {"thetao": lambda day: field}, {"chunk_bytes": 200_000}
    for year in config.periods.train.years:
        days = years(year, year).days()
        write_years(world.layout, LARGE, years(year, year), fields, gaps=days[1:], **size)
        chunks = world.layout.state_store(year) / "thetao" / "c"
        for row in range(1, 365):
            (chunks / str(row)).symlink_to(chunks / "0")
        group = zarr.open_group(world.layout.state_store(year), mode="r+")
        group.attrs["gaps"] = []
    return root


@pytest.mark.parametrize("method", ["harmonics", "window"])
def test_memory_does_not_hold_the_days_nor_the_year(large, method):
    script = textwrap.dedent(MEASURED.format(root=str(large), method=method))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    before, after = map(int, run.stdout.split())
    assert (after - before) / 1024 < 200  # MB; a year is 545, the three years are 1630
