"""Forcing sets, the land mask, and fluxes over the analysed sea."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

from hybridom.bulk import bulk_day
from hybridom.data.prepare import prepare_forcing, prepare_state
from hybridom.data.stores import open_store, store_gaps
from hybridom.errors import UserError
from hybridom.grid import read_grid
from hybridom.variables import ATMOSPHERE8, BULK_FLUXES, FLUXES8, FORCING_SETS
from tests.data import raw
from tests.data.preparing import (
    DAYS,
    EVERY,
    YEAR,
    chunk_times,
    missing,
    prepared,
    short_world,
    write_forcing_days,
)

ACCUMULATED = ("ssr", "strd")
HOURS = range(0, 24, 6)  # of the samples that are instantaneous
ENDING = (*ACCUMULATED, *FLUXES8)


def sampled(name, day):
    """(lat, lon) mean over a day of what the files hold, by hand."""
    midnight = dt.datetime.combine(day, dt.time())
    hours = range(1, 25) if name in ENDING else HOURS
    times = [midnight + dt.timedelta(hours=hour) for hour in hours]
    every = []
    for time in times:
        made = raw.flux_fields if name in (*ENDING, "d2m") else raw.forcing_fields
        every.append(made(time.date(), time.hour)[name])
    return np.mean(every, axis=0) / (3600 if name in ACCUMULATED else 1)


def between_nodes(field, grid):
    """A field (lat, lon) at the cell centres of a grid."""
    lon = np.append(raw.LON, raw.LON[0] + 360)
    around = np.concatenate([field, field[:, :1]], axis=1)
    points = np.stack(np.meshgrid(grid.lat, grid.lon, indexing="ij"), axis=-1)
    points[..., 1] = (points[..., 1] + 180) % 360 - 180
    return RegularGridInterpolator((raw.FORCING_LAT, lon), around)(points)


def write_hours(folder, names, days=EVERY):
    """Hourly rates under the names that they have since 2024, a file a day."""
    options = {"names": names, "hours": range(24), "rename": raw.NEW_NAMES}
    write_forcing_days(folder, days[:-1], **options)
    write_forcing_days(folder, days[-1:], closing=True, **options)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Raw files of every set; what a test moves away it moves back."""
    root = tmp_path_factory.mktemp("sets")
    raw.write_ocean_days(root / "ocean", EVERY[0], DAYS)
    names = tuple(name for name in ATMOSPHERE8 if name not in ENDING)
    write_forcing_days(root / "forcing", EVERY, names=names, hours=HOURS)
    write_hours(root / "forcing" / "hourly", (*ACCUMULATED, *FLUXES8))
    return root


@pytest.fixture(scope="module")
def bulk(root, tmp_path_factory):
    """State and forcing with bulk fluxes; no test alters it."""
    world = short_world(root, tmp_path_factory.mktemp("bulk"), forcing="bulk8")
    prepare_state(world.config, world.layout, YEAR)
    world.bytes = prepared(world, "forcing")
    return world


def assert_daily_means(store, names, grid):
    for name in names:
        for day in (EVERY[0], EVERY[4], EVERY[-1]):
            expected = between_nodes(sampled(name, day), grid)
            scale = np.abs(expected).max()
            found = store[name].sel(time=str(day))
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * scale)


def test_hourly_mean_rates_under_their_new_names_give_the_eight_fluxes(root, tmp_path):
    world = short_world(root, tmp_path, forcing="fluxes8")
    prepare_forcing(world.config, world.layout, YEAR)
    store = open_store(world.layout.forcing_store(YEAR))
    assert set(store.data_vars) - {"time_bounds", "latitude_bounds", "longitude_bounds"} == set(
        FLUXES8
    )
    grid, _ = read_grid(world.layout.grid_file)
    assert_daily_means(store, FLUXES8, grid)
    assert store["metss"].attrs["units"] == "N m-2"
    assert store["mtpr"].attrs["standard_name"] == "precipitation_flux"
    assert all(np.isfinite(store[name]).all() for name in FLUXES8)


def test_bulk_fluxes_are_those_between_the_days_mean_atmosphere_and_its_sea(bulk):
    forcing = open_store(bulk.layout.forcing_store(YEAR))
    state = open_store(bulk.layout.state_store(YEAR))
    grid, wet = read_grid(bulk.layout.grid_file)
    assert set(FORCING_SETS["bulk8"]) <= set(forcing.data_vars)
    assert_daily_means(forcing, ATMOSPHERE8, grid)
    for row in (0, 5, DAYS - 1):
        atmosphere = {name: forcing[name].values[row] for name in ATMOSPHERE8}
        sea = (state[name].values[row, 0] for name in ("thetao", "uo", "vo"))
        expected = bulk_day(atmosphere, *sea, wet[0])
        for name in BULK_FLUXES:
            found = forcing[name].values[row]
            np.testing.assert_allclose(found, expected[name], rtol=1e-5, atol=1e-9)
            assert not found[~wet[0]].any()
            assert found[wet[0]].any() and np.isfinite(found).all()
    assert (forcing["mslhf"].values[:, wet[0]] < 0).mean() > 0.9  # the sea evaporates


def test_bulk_fluxes_want_the_state_first(root, tmp_path):
    world = short_world(root, tmp_path, forcing="bulk8")
    with pytest.raises(UserError, match=r"state/2000.zarr: .*run `hybridom prepare state`"):
        prepare_forcing(world.config, world.layout, YEAR)


def test_a_gap_of_the_state_is_one_of_bulk_fluxes_until_its_day_comes(root, bulk, tmp_path):
    with missing(root, "state", [EVERY[3]]):
        world = short_world(root, tmp_path, forcing="bulk8", source={"gaps": "record"})
        prepare_state(world.config, world.layout, YEAR)
        prepare_forcing(world.config, world.layout, YEAR)
        store = world.layout.forcing_store(YEAR)
        manifest = json.loads(world.layout.forcing_manifest(YEAR).read_text())
        assert manifest["gaps"] == [str(EVERY[3])]
        assert store_gaps(store) == store_gaps(world.layout.state_store(YEAR))
        written = chunk_times(store)
        refusing = short_world(root, tmp_path, forcing="bulk8")
        with pytest.raises(UserError, match=r"2000-12-25: .*state/2000.zarr: has no state .*bulk8"):
            prepare_forcing(refusing.config, refusing.layout, YEAR)
    prepare_state(world.config, world.layout, YEAR)
    assert prepared(world, "forcing") == bulk.bytes
    now = chunk_times(store)
    assert {key: now[key] for key in written} == written


def test_a_day_of_the_state_that_changes_changes_its_bulk_fluxes_alone(root, tmp_path):
    here = tmp_path / "raw"
    raw.write_ocean_days(here / "ocean", EVERY[0], DAYS)
    (here / "forcing").symlink_to(root / "forcing")
    world = short_world(here, tmp_path / "stores", forcing="bulk8")
    prepare_state(world.config, world.layout, YEAR)
    prepare_forcing(world.config, world.layout, YEAR)
    store = world.layout.forcing_store(YEAR)
    before = chunk_times(store)
    raw.write_ocean_days(here / "ocean", EVERY[6], 1, seed=3)
    prepare_state(world.config, world.layout, YEAR)
    again = prepared(world, "forcing")
    now = chunk_times(store)
    assert {slab for (name, slab) in now if now[name, slab] != before[name, slab]} == {6}
    fresh = short_world(here, tmp_path / "fresh", forcing="bulk8")
    prepare_state(fresh.config, fresh.layout, YEAR)
    assert prepared(fresh, "forcing") == again


def nearest_sea(field, sea):
    """A field whose land points hold the value of the sea point nearest on the sphere."""
    lat, lon = np.meshgrid(np.radians(raw.FORCING_LAT), np.radians(raw.LON), indexing="ij")
    points = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], -1)
    # The poles are one point: of equally near ones any is right, so that those are left out.
    result, unique = field.copy(), np.ones(field.shape, bool)
    for j, i in np.argwhere(~sea):
        near = points[sea] @ points[j, i]
        best = near > near.max() - 1e-9
        result[j, i] = field[sea][np.argmax(near)]
        unique[j, i] = best.sum() == 1
    return result, unique


def test_with_a_land_mask_values_over_land_are_those_of_the_sea_nearby(root, tmp_path):
    share = np.zeros((raw.FORCING_LAT.size, raw.LON.size))
    share[5:15, 8:13], share[:3], share[10, 20] = 1, 0.6, 0.51
    mask = raw.write_land_mask(tmp_path / "lsm.nc", share)
    world = short_world(root, tmp_path, source={"land_mask": str(mask)})
    prepare_forcing(world.config, world.layout, YEAR)
    grid, _ = read_grid(world.layout.grid_file)
    store = open_store(world.layout.forcing_store(YEAR))
    for name in ("u10", "t2m"):
        field, unique = nearest_sea(sampled(name, EVERY[2]), share <= 0.5)
        certain = between_nodes(unique.astype(float), grid) == 1
        assert certain.mean() > 0.7
        expected, found = between_nodes(field, grid), store[name].sel(time=str(EVERY[2])).values
        np.testing.assert_allclose(found[certain], expected[certain], rtol=1e-6, atol=1e-5)
        plain = between_nodes(sampled(name, EVERY[2]), grid)
        assert (np.abs(found - plain)[certain] > 0.1).any()
    before = chunk_times(world.layout.forcing_store(YEAR))
    share[4] = 1
    raw.write_land_mask(mask, share)
    prepare_forcing(world.config, world.layout, YEAR)
    now = chunk_times(world.layout.forcing_store(YEAR))
    assert all(now[key] != before[key] for key in before)


def test_a_land_mask_that_is_not_there_is_named(root, tmp_path):
    world = short_world(root, tmp_path, source={"land_mask": str(tmp_path / "lsm.nc")})
    with pytest.raises(UserError, match=r"lsm\.nc: no such file; .*source\.land_mask"):
        prepare_forcing(world.config, world.layout, YEAR)
