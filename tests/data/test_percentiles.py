from __future__ import annotations

import datetime as dt
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
import zarr

from hybridom import cli
from hybridom.cli import data as data_cli
from hybridom.config import Period
from hybridom.config.output import ExtremesConfig
from hybridom.data import percentiles
from hybridom.data.climatology import parts_folder
from hybridom.data.history import History
from hybridom.data.percentiles import PercentileRows, levels_of, require_days, write_percentiles
from hybridom.data.plans import recipe_hash
from hybridom.data.prepare import prepare_percentiles
from hybridom.data.ranks import changes, in_window, moving_percentiles
from hybridom.data.stores import StorePlan, open_store
from hybridom.data.stores.checking import check_store
from hybridom.data.stores.info import describe
from hybridom.data.stores.repairing import repair_store
from hybridom.errors import UserError
from hybridom.evaluation.thresholds import open_thresholds
from hybridom.files import read_json
from hybridom.grid import Grid, write_grid
from hybridom.layout import Layout
from tests.data.preparing import contents
from tests.data.raw import raw_config
from tests.data.yearly import CELL, write_years, years

GRID = Grid.regular(60.0, depths=(10.0, 40.0, 90.0))
WET = np.ones(GRID.shape, bool)
WET[:, 0, 0] = WET[2, 1] = WET[1:, 2, 3] = False
ONE_LEVEL = 4 * GRID.ny * GRID.nx  # bytes: a chunk a level
PERIOD = years(2003, 2005)  # 2004 is leap
GAP = dt.date(2005, 7, 3)
LEVELS = [0, 2]


def noise(day, deep=True):
    """Values of a day, unlike those of all other days, with an annual cycle."""
    rng = np.random.default_rng(day.toordinal() + 10**6 * deep)
    season = 4.0 * np.cos(2.0 * np.pi * day.timetuple().tm_yday / 365.25)
    wet = WET if deep else WET[0]
    return np.where(wet, season + rng.gumbel(0, 2, wet.shape), np.nan).astype(np.float32)


FIELDS = {"thetao": noise, "zos": lambda day: noise(day, deep=False)}


def settings(**extremes):
    return ExtremesConfig(**{"percentiles": (90.0, 97.5), **extremes})


def made(root, period=PERIOD, fields=FIELDS, gaps=(GAP,), chunk_bytes=ONE_LEVEL, **extremes):
    """Stores of a period and a configuration that trains on it."""
    after = [str(period.end + dt.timedelta(n)) for n in (1, 2, 3, 8)]
    config = raw_config(
        root,
        (str(period.start), str(period.end)),
        tuple(after[:2]),
        tuple(after[2:]),
        extremes=extremes,
    )
    layout = Layout(config)
    write_years(layout, GRID, period, fields, gaps=gaps, chunk_bytes=chunk_bytes)
    return SimpleNamespace(root=root, config=config, layout=layout, period=period)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Three years, one of them leap, of which one day is a gap."""
    return made(tmp_path_factory.mktemp("three"))


def thresholds(world, folder, names=tuple(FIELDS), levels=LEVELS, **extremes):
    """Name -> (365, p, [levels,] ny, nx)."""
    history = History(world.layout, names, world.period, WET)
    slabs = list(PercentileRows(history, levels, settings(**extremes), folder).slabs(range(365)))
    return {name: np.stack([slab[name] for slab in slabs]) for name in names}


def place(day):
    """Day of a year of 365 days, counted independently of the package."""
    if (day.month, day.day) == (2, 29):
        return 59.5
    return (day.replace(year=2003) - dt.date(2002, 12, 31)).days


def expected(field, percents, window, smoothing, period=PERIOD, gaps=(GAP,)):
    """The thresholds by loops over days: (365, p, *shape of the field)."""
    days = [day for day in period.days() if day not in gaps]
    values = [field(day).astype(np.float64) for day in days]
    raw = []
    for row in range(1, 366):
        inside = []
        for day, value in zip(days, values, strict=True):
            apart = abs(place(day) - row)
            if window == 365 or min(apart, 365 - apart) <= (window - 1) / 2:
                inside.append(value)
        raw.append(np.percentile(np.stack(inside), percents, axis=0))
    half = (smoothing - 1) // 2
    return np.stack(
        [np.mean([raw[(row + n) % 365] for n in range(-half, half + 1)], 0) for row in range(365)]
    )


# thresholds


@pytest.mark.parametrize(("window", "smoothing"), [(11, 31), (5, 1), (1, 3), (181, 1)])
def test_thresholds_are_smoothed_percentiles_of_all_days_in_the_window(
    world, tmp_path, window, smoothing
):
    found = thresholds(world, tmp_path, window=window, smoothing=smoothing)
    for name, levels in (("thetao", LEVELS), ("zos", ...)):
        wanted = expected(FIELDS[name], [90.0, 97.5], window, smoothing)
        wanted = wanted[:, :, levels] if name == "thetao" else wanted
        np.testing.assert_allclose(found[name], wanted, rtol=1e-6, atol=1e-6)


def test_the_window_of_a_year_takes_all_days_alike(world, tmp_path):
    found = thresholds(world, tmp_path, window=365, smoothing=31)["zos"]
    days = [day for day in PERIOD.days() if day != GAP]
    wanted = np.percentile([FIELDS["zos"](day) for day in days], [90.0, 97.5], axis=0)
    np.testing.assert_allclose(found, np.broadcast_to(wanted, found.shape), rtol=1e-6)


def test_windows_run_around_the_year_and_29_february_lies_half_way():
    dates = np.array([*range(1, 60), 59.5, *range(60, 366)], float)
    inside = in_window(dates, 5)
    assert dates[inside[0]].tolist() == [1, 2, 3, 364, 365]
    assert dates[inside[363]].tolist() == [1, 362, 363, 364, 365]
    assert [row + 1 for row in np.flatnonzero(inside[:, 59])] == [58, 59, 60, 61]
    assert not in_window(dates, 1)[:, 59].any()
    assert in_window(dates, 365).all()


def test_what_leaves_and_enters_leads_from_one_window_to_the_next():
    inside = np.random.default_rng(1).random((365, 20)) > 0.5
    steps, now = changes(inside), np.zeros(20, bool)
    assert (np.diff(steps[:, 0]) >= 0).all()
    for row in range(365):
        for _, date, step in steps[steps[:, 0] == row]:
            assert now[date] == (step < 0)
            now[date] = step > 0
        np.testing.assert_array_equal(now, inside[row])


@pytest.mark.parametrize("percent", [0.5, 10.0, 50.0, 90.0, 99.9])
def test_moving_windows_of_equal_values_rank_as_numpy_does(percent):
    """Rounded values, so that most are equal to others, and zeros of both signs."""
    rng = np.random.default_rng(2)
    counts = rng.integers(1, 4, 366)
    starts = np.cumsum([0, *counts])
    values = np.round(rng.normal(0, 1, (starts[-1], 3)), 1).astype(np.float32)
    dates = np.array([*range(1, 60), 59.5, *range(60, 366)], float)
    inside = in_window(dates, 7)
    out = np.empty((365, 1, 3), np.float32)
    moving_percentiles(values, starts, changes(inside), np.array([percent]), 1, out)
    of_date = np.repeat(np.arange(366), counts)
    for row in range(365):
        wanted = np.percentile(values[inside[row][of_date]].astype(float), percent, axis=0)
        np.testing.assert_allclose(out[row, 0], wanted, rtol=1e-6, atol=1e-7)


def test_thresholds_do_not_depend_on_bands_of_cells_or_chunks(world, tmp_path, monkeypatch):
    whole = thresholds(world, tmp_path / "whole")
    monkeypatch.setattr(percentiles, "BAND_BYTES", 4 * 1095 * 5)  # five cells
    banded = thresholds(world, tmp_path / "bands")
    assert len(list((tmp_path / "bands").glob("zos.000.ranks.*"))) == 4
    together = made(tmp_path / "chunk", chunk_bytes=100 * ONE_LEVEL)  # all levels in a chunk
    chunked = thresholds(together, tmp_path / "chunked")
    for name in FIELDS:
        np.testing.assert_array_equal(banded[name], whole[name])
        np.testing.assert_array_equal(chunked[name], whole[name])


def test_days_outside_the_period_do_not_enter(tmp_path):
    march = Period(start=dt.date(2004, 3, 1), end=dt.date(2004, 3, 20))
    short = made(tmp_path, march, {"zos": FIELDS["zos"]}, gaps=())
    found = thresholds(short, tmp_path / "parts", ("zos",), window=365, smoothing=1)["zos"][0]
    wanted = np.percentile([FIELDS["zos"](day) for day in march.days()], [90.0, 97.5], axis=0)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_a_window_without_any_day_is_refused_with_the_way_out():
    march = Period(start=dt.date(2004, 3, 1), end=dt.date(2004, 12, 31)).days()
    dates = [place(day) for day in march]
    require_days(dates, 61, "so")
    with pytest.raises(UserError, match=r"window is 59.* so .* 29 days of 1 of 365 .* 30 January"):
        require_days(dates, 59, "so")
    with pytest.raises(UserError, match=r"of 49 of 365 .*extremes.window=365"):
        require_days(dates, 11, "so")
    require_days(dates[:1], 365, "so")


# the store


NAMES = ("thetao", "so", "uo", "vo", "zos")
ALL = {name: FIELDS["zos" if name == "zos" else "thetao"] for name in NAMES}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The store of all variables as the stage makes it."""
    root = tmp_path_factory.mktemp("prepared")
    spring = Period(start=dt.date(2004, 2, 10), end=dt.date(2004, 3, 20))
    extremes = {"percentiles": (90.0, 97.5), "depths": (0.0, 85.0, 3.0), "window": 365}
    world = made(root, spring, ALL, **extremes)
    grid = world.config.grid.model_copy(
        update={"name": "three", "resolution": 60.0, "depths": (10.0, 40.0, 90.0)}
    )
    world.config = world.config.model_copy(update={"grid": grid})
    world.layout = Layout(world.config)
    write_years(world.layout, GRID, spring, ALL, chunk_bytes=ONE_LEVEL)
    write_grid(world.layout.grid_file, GRID, WET, WET.astype(float), {})
    prepare_percentiles(world.config, world.layout)
    return world


def test_the_store_holds_all_prognostic_variables_at_the_nearest_levels(prepared):
    with open_store(prepared.layout.percentiles_store) as store:
        assert set(store.data_vars) >= set(NAMES)
        assert store["depth"].values.tolist() == [10.0, 90.0]
        assert store["percentile"].values.tolist() == [90.0, 97.5]
        assert store["vo"].dims == ("dayofyear", "percentile", *CELL)
        assert store["zos"].dims == ("dayofyear", "percentile", *CELL[1:])
        assert store["vo"].attrs["units"] == "m s-1"
        assert store["vo"].dtype == np.float32
        assert (store.attrs["window"], store.attrs["smoothing"]) == (365, 31)
        for name, wet in (("thetao", WET[LEVELS]), ("zos", WET[0])):
            values = store[name].values
            assert (np.isfinite(values) == wet).all()
            wanted = expected(ALL[name], [90.0, 97.5], 365, 31, prepared.period)
            wanted = wanted[:, :, LEVELS] if name == "thetao" else wanted
            np.testing.assert_allclose(values, wanted, rtol=1e-6, atol=1e-6)
    manifest = read_json(prepared.layout.percentiles_manifest)
    assert manifest["grid_hash"] == GRID.hash and len(manifest["slabs"]) == 365
    assert not list(prepared.layout.resources_dir.glob("percentiles*.part*"))


def test_it_is_made_anew_when_what_it_depends_on_changes(prepared):
    config = prepared.config
    before = recipe_hash(config, "percentiles")
    for section, change in (
        ("extremes", {"window": 11}),
        ("extremes", {"smoothing": 1}),
        ("extremes", {"percentiles": (90.0,)}),
        ("extremes", {"depths": (0.0,)}),
        ("periods", {"train": years(2001, 2002)}),
        ("grid", {"wet_threshold": 0.4}),
    ):
        other = getattr(config, section).model_copy(update=change)
        changed = config.model_copy(update={section: other})
        assert recipe_hash(changed, "percentiles") != before, change
    later = config.periods.model_copy(update={"test": years(2007, 2008)})
    assert recipe_hash(config.model_copy(update={"periods": later}), "percentiles") == before


def test_checks_of_stores_know_its_levels_and_axes(prepared):
    path = prepared.layout.percentiles_store
    assert "thetao" in describe(path)
    chunk = path / "zos" / "c" / "7" / "1" / "0" / "0"
    kept = chunk.read_bytes()
    chunk.write_bytes(kept[:-1])
    assert [fault.slab for fault in check_store(path)] == ["8"]
    chunk.write_bytes(kept)
    assert repair_store(prepared.config, prepared.layout, path) == []


def test_the_evaluation_reads_what_the_stage_made(prepared):
    found = open_thresholds(prepared.config, prepared.layout, GRID, WET)
    assert found.percentiles == (90.0, 97.5) and found.levels == (0, 2)
    wanted = np.percentile([noise(day) for day in prepared.period.days()], 97.5, axis=0)
    for day in (dt.date(2004, 2, 29), dt.date(2010, 8, 1)):
        field = found.field("thetao", 97.5, day)
        np.testing.assert_allclose(field, wanted[LEVELS], rtol=1e-6)


def test_levels_of_variables_without_depth_are_the_topmost():
    assert levels_of("zos", [1, 2]) == [0]
    assert levels_of("so", [1, 2]) == [1, 2]


# kill and resume


def plan_of(root, names=tuple(FIELDS)):
    path = Path(root) / "percentiles.zarr"
    coordinates = GRID.to_dataset().isel(depth=LEVELS)
    coordinates = coordinates.assign_coords(
        dayofyear=np.arange(1, 366, dtype=np.int32), percentile=[90.0, 95.0]
    )
    axes = {name: CELL if name == "thetao" else CELL[1:] for name in names}
    variables = {name: (("dayofyear", "percentile", *axes[name]), {"units": "1"}) for name in names}
    origin = {"config_hash": "", "grid_hash": GRID.hash}
    return StorePlan(path, path.with_suffix(".json"), coordinates, variables, origin, chunk_bytes=1)


def run(world, plan):
    write_percentiles(world.config, world.layout, plan, WET, LEVELS)


KILLED = """
    from hybridom.data import percentiles
    from tests.data.test_percentiles import *
    percentiles.BAND_BYTES = 4 * 1095 * 2
    world = again({root!r})
    run(world, plan_of({folder!r}))
"""


def again(root):
    """The world as another process finds it."""
    config = raw_config(
        Path(root),
        (str(PERIOD.start), str(PERIOD.end)),
        *[tuple(str(PERIOD.end + dt.timedelta(n)) for n in pair) for pair in ((1, 2), (3, 8))],
    )
    return SimpleNamespace(config=config, layout=Layout(config))


def test_killed_at_every_stage_it_ends_with_the_same_bytes(world, tmp_path, monkeypatch):
    monkeypatch.setattr(percentiles, "BAND_BYTES", 4 * 1095 * 2)
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    run(world, plan_of(tmp_path / "whole"))
    expected_bytes = contents(tmp_path / "whole")
    plan = plan_of(tmp_path / "parts")
    parts = parts_folder(plan)
    script = textwrap.dedent(KILLED.format(root=str(world.root), folder=str(tmp_path / "parts")))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    for moment in (
        lambda: any(parts.glob("thetao.000.days.2004*")),
        lambda: any(parts.glob("thetao.002.ranks.*4.float32")),
        lambda: len(list((plan.partial / "zos" / "c").glob("*"))) >= 100,
    ):
        process = subprocess.Popen([sys.executable, "-c", script], env=environment)
        while process.poll() is None and not moment():
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not plan.path.exists() and parts.exists()
    run(world, plan)
    assert contents(tmp_path / "parts") == expected_bytes
    assert not parts.exists()


def test_what_was_ranked_with_other_settings_is_not_used(world, tmp_path, monkeypatch):
    names = ("zos",)
    plan = plan_of(tmp_path, names)
    with monkeypatch.context() as patched:
        patched.setattr(percentiles.PercentileRows, "_rows", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(world, plan)
    assert list(parts_folder(plan).glob("zos.000.ranks.*"))
    extremes = settings(percentiles=(10.0, 20.0), window=5, smoothing=1)
    config = world.config.model_copy(update={"extremes": extremes})
    other = replace(plan, origin={**plan.origin, "config_hash": "other"})
    run(SimpleNamespace(config=config, layout=world.layout), other)
    with open_store(plan.path) as store:
        wanted = expected(FIELDS["zos"], [10.0, 20.0], 5, 1)
        np.testing.assert_allclose(store["zos"].values, wanted, rtol=1e-6, atol=1e-6)


def stopped(*arguments):
    raise KeyboardInterrupt


def test_what_was_read_and_ranked_is_not_done_again(world, tmp_path, monkeypatch):
    done = []
    read, rank = History.read, moving_percentiles

    def reading(*arguments):
        done.append("read")
        if done.count("read") == 500:
            raise KeyboardInterrupt
        return read(*arguments)

    def ranking(*arguments):
        done.append("rank")
        if done.count("rank") == 2:
            raise KeyboardInterrupt
        return rank(*arguments)

    monkeypatch.setattr(History, "read", reading)
    monkeypatch.setattr(percentiles, "moving_percentiles", ranking)
    monkeypatch.setattr(percentiles, "threads_for", lambda size: 1)
    plan = plan_of(tmp_path)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run(world, plan)
    run(world, plan)
    days = 3 * 365  # of three years without the gap; of the year that was stopped, some twice
    assert 3 * days < done.count("read") < 3 * days + 366
    assert done.count("rank") == 3 + 1


MEASURED = """
    from tests.data.test_percentiles import *
    percentiles.BAND_BYTES = 2_000_000
    record = History(Layout(again({root!r}).config), ("zos",), PERIOD, np.ones(FINE.shape, bool))
    dates = np.arange(1.0, 366.0)
    steps, year = changes(in_window(dates, 365)), np.zeros((365, 1), np.float32)
    moving_percentiles(year, np.arange(366), steps, np.ones(1), 1, np.empty((365, 1, 1), "f4"))
    before = most_memory()
    rows = PercentileRows(record, [0], settings(window=365, smoothing=1), Path({root!r}) / "parts")
    for slab in rows.slabs([0, 1]):
        del slab
    print(before, most_memory())
"""
FINE = Grid.regular(1.0, depths=(5.0,))


def most_memory():
    """The most that this process has held, in kB; getrusage would count that of its parent."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_memory_does_not_hold_the_days(tmp_path):
    """Three years of 260 kB a day, all days the same file."""
    field = np.random.default_rng(0).normal(size=FINE.shape[1:]).astype(np.float32)
    config = again(tmp_path).config
    for year in PERIOD.years:
        days = years(year, year).days()
        fields = {"zos": lambda day: field}
        write_years(Layout(config), FINE, years(year, year), fields, gaps=days[1:])
        chunks = Layout(config).state_store(year) / "zos" / "c"
        for row in range(1, len(days)):
            (chunks / str(row)).symlink_to(chunks / "0")
        zarr.open_group(Layout(config).state_store(year), mode="r+").attrs["gaps"] = []
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MEASURED.format(root=str(tmp_path)))],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    before, after = map(int, run.stdout.split())
    assert (after - before) / 1024 < 100  # MB; the days are 284


# the commands


def test_the_command_finds_its_store_complete(prepared):
    file = prepared.root / "config.yaml"
    file.write_text(yaml.safe_dump(prepared.config.model_dump(mode="json")))
    chunk = prepared.layout.percentiles_store / "so" / "c" / "3" / "0" / "0" / "0" / "0"
    before = chunk.stat().st_ino
    assert cli.main(["prepare", "percentiles", "--config", str(file)]) == 0
    assert chunk.stat().st_ino == before


@pytest.mark.parametrize("families", ["[]", "[drift]", "[extremes]", "[heatwaves,drift]"])
def test_all_preparations_make_thresholds_where_scores_ask_for_them(monkeypatch, families):
    ran = []
    names = ("check", "grid", "state", "forcing", "climatology", "statistics", "percentiles")
    for name in names:
        monkeypatch.setattr(data_cli, f"run_{name}", lambda args, name=name: ran.append(name))
    config = Path(__file__).parents[2] / "config" / "test.yaml"
    override = f"evaluation.families={families}"
    assert cli.main(["prepare", "all", "--config", str(config), "--set", override]) == 0
    asked = "extremes" in families or "heatwaves" in families
    assert tuple(ran) == (names if asked else names[:-1])
