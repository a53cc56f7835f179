from __future__ import annotations

import datetime as dt
import pickle
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import zarr

from hybridom.config import Period
from hybridom.data.datasets import DayReader, WindowDataset, collate
from hybridom.data.days import TIME_UNITS, as_date, climatology_rows, day_number
from hybridom.data.stores import StorePlan, fetching, open_arrays, open_store, write_store
from hybridom.errors import UserError
from hybridom.files import write_json
from hybridom.grid import Grid, write_grid
from hybridom.layout import Layout
from hybridom.state import OceanState
from hybridom.variables import PROGNOSTIC, VARIABLES
from tests.data.raw import raw_config
from tests.data.yearly import write_entries, year_coordinates

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


@pytest.mark.parametrize(("window", "rows"), [(7, 4), (9, 4), (10, 5)])
def test_no_day_is_read_twice_in_a_window(prepared, monkeypatch, window, rows):
    reads = []
    read = fetching.read_chunk
    monkeypatch.setattr(
        fetching, "read_chunk", lambda path, *args: reads.append(path) or read(path, *args)
    )
    reader = make_reader(prepared, "none")
    # From 27 February, 29 February (28 is read for it too) and 1 March on.
    WindowDataset(reader, prepared.config.periods.train, 4, 1)[window]
    rows += window == 9
    assert len(reads) == len(set(reads)) == (5 + 3) * (5 + rows)


def make_gaps(world, *days):
    """Take days out of the state store, as `write_store` leaves a store with gaps."""
    store = world.layout.state_store(2000)
    group = zarr.open_group(store, mode="r+", use_consolidated=False)
    group.attrs["gaps"] = [str(day) for day in days]
    for day in days:
        for name in PROGNOSTIC:
            shutil.rmtree(store / name / "c" / str((day - dt.date(2000, 2, 20)).days))


@pytest.fixture
def gappy(prepared, tmp_path):
    """Prepared stores of which 28 February and 4 March are gaps."""
    climatology = prepared.layout.climatology_store  # thousands of files, never altered
    shutil.copytree(
        prepared.layout.resources_dir,
        tmp_path / "resources" / "coarse",
        ignore=shutil.ignore_patterns(climatology.name),
    )
    (tmp_path / "resources" / "coarse" / climatology.name).symlink_to(climatology)
    paths = prepared.config.paths.model_copy(update={"resources": str(tmp_path / "resources")})
    grid = prepared.config.grid.model_copy(update={"name": "coarse"})
    config = prepared.config.model_copy(update={"paths": paths, "grid": grid})
    world = SimpleNamespace(config=config, layout=Layout(config))
    world.grid, world.wet = prepared.grid, prepared.wet
    make_gaps(world, dt.date(2000, 2, 28), dt.date(2000, 3, 4))
    return world


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_windows_that_touch_a_gap_are_left_out(prepared, gappy, cache, caplog):
    train = gappy.config.periods.train
    windows = WindowDataset(make_reader(gappy, cache), train, 2, 1)
    whole = WindowDataset(make_reader(prepared, cache), train, 2, 1)
    starts = [as_date(windows[i]["start"]).isoformat() for i in range(len(windows))]
    assert starts == [f"2000-02-{day}" for day in range(20, 26)] + [
        "2000-02-29",
        "2000-03-01",
        "2000-03-05",
    ]
    assert "6 of 15 windows are left out, 2 days have no data, the first is 2000-02-28" in (
        caplog.text
    )
    expected = {whole[i]["start"]: whole[i] for i in range(len(whole))}
    for window in (windows[i] for i in range(len(windows))):
        for name, values in window["state"].items():
            assert torch.equal(values, expected[window["start"]]["state"][name])
    assert len(WindowDataset(make_reader(gappy, cache), train, 1, 5)) == 4  # 20, 25 Feb, 1, 6 Mar


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_a_gap_is_refused_by_day_and_store(gappy, cache):
    reader = make_reader(gappy, cache)
    with pytest.raises(UserError, match=r"2000\.zarr: 2000-03-04 is a gap, nothing was prepared"):
        reader.state(dt.date(2000, 3, 4))
    with pytest.raises(UserError, match="2000-02-28 is a gap"):
        reader.window(dt.date(2000, 2, 26), 5)
    assert reader.state(dt.date(2000, 3, 3))["zos"].shape == (9, 18)


def test_a_year_whose_time_axis_lacks_days_gives_no_window_of_them(prepared):
    period = Period(start=dt.date(2000, 3, 15), end=dt.date(2000, 3, 25))  # the store ends on 20
    windows = WindowDataset(make_reader(prepared, "none", period), period, 2, 1)
    assert [as_date(windows[i]["start"]).day for i in range(len(windows))] == [15, 16, 17, 18]


def test_windows_belong_to_the_caller(prepared):
    for cache in ("memory", "none"):
        windows = WindowDataset(
            make_reader(prepared, cache), prepared.config.periods.train, days=2, stride=1
        )
        collate([windows[3]]).state.thetao.zero_()
        collate([windows[3]]).climatology.thetao.zero_()
        assert windows[3]["state"]["thetao"].abs().max() > 0
        assert windows[3]["climatology"]["thetao"].abs().max() > 0


@pytest.mark.parametrize(
    "start", [dt.date(2003, 12, 29), dt.date(2004, 2, 25), dt.date(2004, 3, 1)]
)
@pytest.mark.parametrize("cache", ["memory", "none"])
def test_windows_across_new_year_and_leap_day_equal_the_plain_reading(years, start, cache):
    world = years
    period = Period(start=dt.date(2003, 1, 1), end=dt.date(2004, 12, 31))
    reader = DayReader(world.layout, GRID, world.wet, ("u10",), cache, period)
    window = reader.window(start, 9)
    climatology = open_store(world.layout.climatology_store)
    for n in range(9):
        day = start + dt.timedelta(n)
        rows = list(climatology_rows(day))
        for kind, path, names in (
            ("state", world.layout.state_store(day.year), PROGNOSTIC),
            ("forcing", world.layout.forcing_store(day.year), ("u10",)),
        ):
            stored = open_store(path).sel(time=str(day))
            for name in names:
                for found, expected in (
                    (window[kind][name][n], stored[name].values),
                    (
                        window["climatology" if kind == "state" else "forcing_climatology"][name][
                            n
                        ],
                        climatology[name][rows].values.mean(axis=0, dtype=np.float32),
                    ),
                ):
                    if kind == "state":
                        wet = world.wet if expected.ndim == 3 else world.wet[0]
                        expected = np.where(wet, expected, np.float32(0))
                    np.testing.assert_array_equal(found, expected)


GRID = Grid.regular(30.0, depths=(5.0, 15.0, 40.0, 80.0, 150.0))


@pytest.fixture(scope="session")
def years(tmp_path_factory):
    """Stores of 2003 and 2004, of the days that the tests ask for, several chunks a day."""
    config = raw_config(
        tmp_path_factory.mktemp("years"),
        ("2003-01-01", "2004-12-01"),
        ("2004-12-02", "2004-12-03"),
        ("2004-12-04", "2004-12-31"),
    )
    layout = Layout(config)
    wet = np.random.default_rng(3).random(GRID.shape) < 0.7
    write_grid(layout.grid_file, GRID, wet, wet.astype(float), {})
    write_random_climatology(layout, wet)
    for year in (2003, 2004):
        days = [day_number(d) for d in config.periods.days(year)]
        rows = [n for n, d in enumerate(days) if 12_414 <= d < 12_424 or 12_470 <= d < 12_490]
        write_random(layout.state_store(year), "time", days, rows, wet, *PROGNOSTIC)
        write_random(layout.forcing_store(year), "time", days, rows, wet, "u10")
    return SimpleNamespace(layout=layout, wet=wet)


def write_random_climatology(layout, wet):
    """Random fields in all rows, as files: there are thousands of them."""
    rng = np.random.default_rng(6)

    def field(name):
        shape = GRID.shape if VARIABLES[name].has_depth else GRID.shape[1:]
        sea = (wet if VARIABLES[name].has_depth else wet[0]) | (name not in PROGNOSTIC)
        return lambda row: np.where(sea, rng.standard_normal(shape, np.float32), np.nan)

    write_entries(
        layout.climatology_store,
        year_coordinates(GRID),
        "dayofyear",
        {name: field(name) for name in ("u10", *PROGNOSTIC)},
        [(row, row) for row in range(365)],
    )
    write_json(layout.climatology_manifest, {"grid_hash": GRID.hash})


def write_random(path, axis, values, rows, wet, *names):
    """A store with random fields in some rows, the others being gaps."""
    rng = np.random.default_rng(len(names))
    shapes = {n: GRID.shape if VARIABLES[n].has_depth else GRID.shape[1:] for n in names}

    def slab(index):
        fields = {n: rng.standard_normal(shape, np.float32) for n, shape in shapes.items()}
        sea = {n: wet if x.ndim == 3 else wet[0] for n, x in fields.items() if n in PROGNOSTIC}
        return {n: np.where(sea.get(n, True), x, np.nan) for n, x in fields.items()}

    cell = ("depth", "latitude", "longitude")
    coordinate = (axis, np.array(values, np.int32), {"units": TIME_UNITS})
    plan = StorePlan(
        path,
        path.with_suffix(".json"),
        GRID.to_dataset().assign_coords({axis: coordinate}),
        {n: ((axis, *cell[3 - len(shape) :]), {}) for n, shape in shapes.items()},
        {"config_hash": "", "grid_hash": GRID.hash},
        absent={n: "not asked for" for n in range(len(values)) if n not in rows},
        gaps_allowed=True,
        chunk_bytes=2 * 4 * GRID.ny * GRID.nx,
    )
    write_store(plan, lambda indices: map(slab, indices), path.name)


def test_the_direct_and_the_plain_reader_agree_and_both_count_missing_values(years):
    world = years
    arrays = open_arrays(world.layout.state_store(2004), PROGNOSTIC)
    everywhere = np.ones(GRID.shape, np.uint8)
    for name, array in arrays.items():
        for cover in (world.wet.astype(np.uint8), everywhere):
            cover = cover if VARIABLES[name].has_depth else cover[0]
            found = []
            for rows in (fetching.rows_of(name, array), fetching.PlainRows(name, array)):
                out = np.full((4, *array.shape[1:]), 7.0, np.float32)
                jobs = list(rows.jobs(55, out, cover))
                found.append((type(rows), len(jobs), sum(job.work() for job in jobs), out))
            assert [kind for kind, *_ in found] == [fetching.ChunkRows, fetching.PlainRows]
            assert [n for _, n, *_ in found] == ([12, 1] if VARIABLES[name].has_depth else [4, 1])
            sea = world.wet if cover.ndim == 3 else world.wet[0]
            missing = 4 * int((~sea & (cover == 1)).sum())
            assert [bad for *_, bad, _ in found] == [missing, missing]
            np.testing.assert_array_equal(found[0][3], found[1][3])


def test_a_damaged_chunk_is_refused_by_name_and_an_absent_one_is_missing_values(gappy):
    reader = make_reader(gappy, "none")
    chunk = gappy.layout.state_store(2000) / "so" / "c" / "3" / "0" / "0" / "0"
    content = chunk.read_bytes()
    wrong = bytearray(content)
    wrong[4] += 4
    for damaged in (content[:-1], content + b"x", b"", bytes(wrong), content[:16] + b"\xff" * 64):
        chunk.write_bytes(damaged)
        with pytest.raises(UserError, match=r"so/c/3/0/0/0: the chunk is damaged.*store check"):
            reader.state(dt.date(2000, 2, 23))
    chunk.unlink()
    with pytest.raises(UserError, match="variable so has wet cells without value from entry 3"):
        reader.state(dt.date(2000, 2, 23))


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
    train = prepared.config.periods.train
    wet = np.ones_like(prepared.wet)
    reader = DayReader(prepared.layout, prepared.grid, wet, FORCING, "none", train)
    with pytest.raises(UserError, match="wet cells without value"):
        reader.state(LEAP_DAY)
