"""What the state stores hold under each setting, and that the way there does not matter."""

from __future__ import annotations

import datetime as dt
import random
import time

import numpy as np
import pytest

from hybridom.data.datasets import DayReader
from hybridom.data.prepare import prepare_forcing, prepare_grid, prepare_state
from hybridom.data.regrid import FusedRegridder, Regridder
from hybridom.data.stores import open_arrays, open_store
from hybridom.grid import read_grid, read_thickness
from hybridom.layout import Layout
from hybridom.variables import ICE, PROGNOSTIC
from tests.data import raw
from tests.data.preparing import (
    DAYS,
    EVERY,
    START,
    YEAR,
    chunk_times,
    prepared,
    short_world,
    write_short_year,
)
from tests.data.raw import raw_config
from tests.data.test_thickness import partial_cells, write_static

TEN = {"name": "ten", "resolution": 10.0, "depths": raw.USED_DEPTHS}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Raw files that no test alters."""
    return write_short_year(tmp_path_factory.mktemp("short"))


@pytest.fixture(scope="module")
def plain(root, tmp_path_factory):
    """State and forcing without any setting; no test alters them."""
    return with_values(short_world(root, tmp_path_factory.mktemp("plain")))


@pytest.fixture(scope="module")
def fine(root, tmp_path_factory):
    """The same on a grid of 10 degrees, on which land is several cells wide."""
    return with_values(short_world(root, tmp_path_factory.mktemp("fine"), grid=TEN))


def with_values(world):
    """A world with the bytes and values of its stores."""
    world.bytes = {kind: prepared(world, kind) for kind in ("state", "forcing")}
    world.state = read_values(world.layout.state_store(YEAR))
    world.forcing = read_values(world.layout.forcing_store(YEAR))
    return world


def read_values(store):
    """Variable -> values."""
    names = [name for name in open_store(store).data_vars if "bounds" not in str(name)]
    return {name: array[:] for name, array in open_arrays(store, names).items() if array.ndim > 2}


@pytest.mark.slow
def test_a_leap_year_has_366_days(tmp_path):
    first, last = dt.date(2000, 1, 1), dt.date(2000, 12, 31)
    box = (slice(3, 11), slice(0, 8))
    levels = slice(0, 2)
    raw.write_ocean_subset(tmp_path / "ocean" / "a.nc", first, 366, box=box, depths=levels)
    config = raw_config(
        tmp_path,
        (str(first), "2000-06-30"),
        ("2000-07-01", "2000-07-10"),
        ("2000-07-11", str(last)),
        grid={
            "name": "box", "resolution": 20.0, "depths": (raw.DEPTHS[1],),
            "lat": (-50.0, 10.0), "lon": (-180.0, -120.0),
        },
    )  # fmt: skip
    layout = Layout(config)
    prepare_grid(config, layout)
    prepare_state(config, layout, 2000)
    store = open_store(layout.state_store(2000))
    expected = np.arange(first, last + dt.timedelta(1), dtype="datetime64[D]")
    np.testing.assert_array_equal(store["time"].values.astype("datetime64[D]"), expected)
    assert len({slab for _, slab in chunk_times(layout.state_store(2000))}) == 366
    assert np.isfinite(store["thetao"].values).any(axis=(1, 2, 3)).all()
    season = store["thetao"].values[:, 0, 0].mean(axis=1)  # at 40 S
    assert season[[14, 15, 16]].mean() > season[[195, 196, 197]].mean() + 2


def test_sea_ice_is_nil_in_open_water_and_absent_on_land(tmp_path):
    raw.write_ocean_days(tmp_path / "raw" / "ocean", START, DAYS, ice=True)
    world = short_world(tmp_path / "raw", tmp_path / "with", source={"sea_ice": True})
    prepare_state(world.config, world.layout, YEAR)
    found = read_values(world.layout.state_store(YEAR))
    grid, wet = read_grid(world.layout.grid_file)
    average = Regridder(raw.LAT, raw.LON, grid, raw.ocean_wet()[1:2])
    for row, day in ((0, EVERY[0]), (7, EVERY[7])):
        for name, field in raw.ice_fields(day).items():
            expected = average(field[None])[0]
            np.testing.assert_array_equal(np.isnan(found[name][row]), ~wet[0])
            quantum = raw.ICE_PACKING[name][0]
            np.testing.assert_allclose(
                found[name][row][wet[0]], expected[wet[0]], atol=quantum, rtol=1e-6
            )
    open_water = wet[0] & (np.abs(grid.lat) < 50)[:, None]
    assert open_water.any() and not found["siconc"][:, open_water].any()
    assert found["siconc"][:, wet[0]].max() > 0.3
    store = open_store(world.layout.state_store(YEAR))
    assert store["siconc"].dims == ("time", "latitude", "longitude")
    assert store["siconc"].attrs["standard_name"] == "sea_ice_area_fraction"

    without = short_world(tmp_path / "raw", tmp_path / "without")
    prepare_state(without.config, without.layout, YEAR)
    other = read_values(without.layout.state_store(YEAR))
    assert not set(ICE) & set(other)
    for name in PROGNOSTIC:
        np.testing.assert_array_equal(found[name], other[name])


def widened(wet):
    """Cells (..., ny, nx) that are wet or have a wet one among their eight neighbours."""
    rows = np.pad(wet, [(0, 0)] * (wet.ndim - 2) + [(1, 1), (0, 0)])
    tall = rows[..., :-2, :] | rows[..., 1:-1, :] | rows[..., 2:, :]
    return tall | np.roll(tall, 1, axis=-1) | np.roll(tall, -1, axis=-1)


@pytest.mark.parametrize("cells", [1, 2])
def test_values_are_continued_onto_land_within_the_cells_asked_for(root, fine, tmp_path, cells):
    world = short_world(root, tmp_path, grid=TEN, regrid={"coastal_fill": cells})
    prepare_state(world.config, world.layout, YEAR)
    grid, wet = read_grid(world.layout.grid_file)
    np.testing.assert_array_equal(wet, read_grid(fine.layout.grid_file)[1])
    held = wet
    for _ in range(cells):
        held = widened(held)
    assert (held & ~wet).any() and not held.all()
    found = read_values(world.layout.state_store(YEAR))
    for name, values in found.items():
        cell = wet if values.ndim == 4 else wet[0]
        np.testing.assert_array_equal(values[:, cell], fine.state[name][:, cell])
        reached = held if values.ndim == 4 else held[0]
        np.testing.assert_array_equal(np.isfinite(values), np.broadcast_to(reached, values.shape))
    level = found["thetao"][2, 0]
    (j, i), *_ = np.argwhere(widened(wet[0]) & ~wet[0])
    around = [(b, a % grid.nx) for b in (j - 1, j, j + 1) for a in (i - 1, i, i + 1)]
    sea = [level[b, a] for b, a in around if 0 <= b < grid.ny and wet[0, b, a]]
    assert sea and level[j, i] == pytest.approx(np.mean(sea), rel=1e-6)

    reader = DayReader(world.layout, grid, wet, ("u10",), "none", world.config.periods.train)
    for name, values in reader.state(EVERY[2]).items():
        cell = wet if values.ndim == 3 else wet[0]
        assert not values[~cell].any()
        np.testing.assert_array_equal(values[cell], fine.state[name][2][cell])


def test_rounded_variables_keep_their_bits_and_the_others_are_exact(root, plain, tmp_path):
    bits = {"thetao": 8, "t2m": 10}
    world = short_world(root, tmp_path, stores={"keepbits": bits})
    prepare_state(world.config, world.layout, YEAR)
    prepare_forcing(world.config, world.layout, YEAR)
    for kind, rounded in (("state", "thetao"), ("forcing", "t2m")):
        exact = getattr(plain, kind)
        path = {"state": world.layout.state_store, "forcing": world.layout.forcing_store}[kind]
        arrays = open_arrays(path(YEAR), list(exact))
        for name, values in exact.items():
            found = arrays[name][:]
            if name != rounded:
                np.testing.assert_array_equal(found, values)
                assert "quantization" not in arrays[name].attrs
                continue
            held = np.isfinite(values)
            np.testing.assert_array_equal(np.isfinite(found), held)
            error = np.abs(found[held] / values[held].astype(float) - 1).max()
            bound = 2.0 ** -(bits[name] + 1)
            assert bound / 2 < error <= bound
            assert arrays[name].attrs["quantization_nsb"] == bits[name]
            assert arrays[name].attrs["quantization_maximum_relative_error"] == bound
            dropped = found[held].view(np.uint32) & ((1 << (23 - bits[name])) - 1)
            assert not dropped.any()


def test_bits_of_a_variable_that_a_store_lacks_do_not_concern_it(root, plain, tmp_path):
    world = short_world(root, tmp_path, stores={"keepbits": {"t2m": 10}})
    assert prepared(world, "state") == plain.bytes["state"]
    world = short_world(root, tmp_path, stores={"keepbits": {"thetao": 10}})
    assert prepared(world, "forcing") == plain.bytes["forcing"]


@pytest.mark.parametrize("threads", [1, 4])
def test_any_number_of_threads_gives_the_same_bytes(root, plain, tmp_path, monkeypatch, threads):
    average, chance = FusedRegridder.__call__, random.Random(threads)

    def at_its_leisure(*arguments):
        time.sleep(chance.uniform(0, 0.01))  # blocks overtake one another
        return average(*arguments)

    monkeypatch.setattr(FusedRegridder, "__call__", at_its_leisure)
    world = short_world(root, tmp_path)
    assert prepared(world, "state", threads=threads) == plain.bytes["state"]


def test_a_box_across_the_date_line_holds_the_cells_of_the_globe(root, fine, tmp_path):
    part_of = {"lon": (150.0, 210.0), "lat": (-90.0, 50.0)}
    worlds = [fine, with_values(short_world(root, tmp_path, grid=TEN | part_of))]
    (globe, wet), (box, box_wet) = (read_grid(w.layout.grid_file) for w in worlds)
    rows = np.searchsorted(globe.lat, box.lat)
    turned = (box.lon + 180) % 360 - 180
    columns = np.searchsorted(globe.lon, turned)
    np.testing.assert_allclose(globe.lon[columns], turned)
    assert list(columns) == [33, 34, 35, 0, 1, 2]
    part = (..., rows[:, None], columns)
    np.testing.assert_array_equal(box_wet, wet[part])
    assert box_wet.any() and not box_wet.all()
    for kind in ("state", "forcing"):
        whole, found = (getattr(world, kind) for world in worlds)
        for name, values in found.items():
            np.testing.assert_allclose(values, whole[name][part], rtol=2e-6, atol=1e-6)


def test_static_files_give_the_thickness_and_leave_the_state_as_it_is(root, plain, tmp_path):
    wet = raw.ocean_wet()
    write_static(tmp_path / "static", wet, partial_cells(wet))
    static = {"static_dir": str(tmp_path / "static")}
    world = short_world(root, tmp_path / "stores", source=static)
    grid, held = read_grid(world.layout.grid_file)
    thickness = read_thickness(world.layout.grid_file)
    np.testing.assert_array_equal(np.isfinite(thickness), held)
    layers = np.broadcast_to(grid.dz[:, None, None], held.shape)
    # Less than 50 % of a cell may be land, and a last cell holds 60 % of its level at least.
    assert (thickness[held] > 0).all() and (thickness[held] <= layers[held] * (1 + 1e-6)).all()
    assert (thickness[held] < 0.99 * layers[held]).any()
    assert prepared(world, "state") == plain.bytes["state"]


@pytest.mark.parametrize("form", ["one file", "two files", "zarr 2", "zarr 3"])
def test_subsets_and_zarr_give_the_values_of_the_originals(root, plain, tmp_path, form):
    ocean = tmp_path / "raw" / "ocean"
    if form == "one file":
        raw.write_ocean_subset(ocean / "a.nc", START, DAYS)
    elif form == "two files":
        raw.write_ocean_subset(ocean / "a.nc", START, 4)
        later, names = START + dt.timedelta(4), ("uo", "vo", "zos")
        raw.write_ocean_subset(ocean / "b.nc", later, DAYS - 4, names=("thetao", "so"))
        raw.write_ocean_subset(ocean / "c.nc", later, DAYS - 4, names=names, compressed=False)
    else:
        raw.write_ocean_subset(ocean / "a.zarr", START, DAYS, zarr_format=int(form[-1]))
    world = short_world(tmp_path / "raw", tmp_path / "stores")
    prepare_state(world.config, world.layout, YEAR)
    found = read_values(world.layout.state_store(YEAR))
    assert set(found) == set(plain.state)
    for name, values in found.items():
        np.testing.assert_array_equal(values, plain.state[name])
