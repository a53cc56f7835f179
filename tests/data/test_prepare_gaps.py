"""Days that are missing, and that come later."""

from __future__ import annotations

import datetime as dt
import json
import logging
import os

import numpy as np
import pytest

from hybridom.data.prepare import prepare_state
from hybridom.data.stores import open_store, store_gaps
from hybridom.errors import UserError
from hybridom.layout import Layout
from tests.data import raw
from tests.data.preparing import (
    DAYS,
    EVERY,
    STAGES,
    YEAR,
    chunk_times,
    contents,
    missing,
    prepared,
    raw_file,
    short_config,
    short_world,
    write_forcing_days,
    write_short_year,
)
from tests.data.raw import NEW_NAMES

RECORD = {"gaps": "record"}
VARIABLE = {"state": "so", "forcing": "t2m"}
KINDS = pytest.mark.parametrize("kind", ["state", "forcing"])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Raw files; what a test moves away it moves back."""
    return write_short_year(tmp_path_factory.mktemp("short"))


@pytest.fixture(scope="module")
def whole(root, tmp_path_factory):
    """Kind -> bytes that an uninterrupted run leaves."""
    world = short_world(root, tmp_path_factory.mktemp("whole"))
    return {kind: prepared(world, kind) for kind in STAGES}


def store_of(world, kind):
    of = {"state": world.layout.state_store, "forcing": world.layout.forcing_store}
    return of[kind](YEAR)


def partial_of(world, kind):
    store = store_of(world, kind)
    return store.with_name(store.name + ".partial")


def slabs(times):
    return {slab for _, slab in times}


@KINDS
def test_a_missing_day_is_named_all_others_are_written_and_it_is_added_alone(
    root, whole, tmp_path, kind
):
    world = short_world(root, tmp_path)
    with missing(root, kind, [EVERY[4]]):
        for _ in range(2):  # to run again before the day has come changes nothing
            with pytest.raises(
                UserError, match=r"9 of 10 .* first 2000-12-26: .*source\.gaps"
            ) as e:
                prepared(world, kind)
            assert "\n" not in str(e.value)
            assert not store_of(world, kind).exists()
            assert not store_of(world, kind).with_suffix(".json").exists()
            written = chunk_times(partial_of(world, kind))
            assert slabs(written) == set(range(DAYS)) - {4}
    assert prepared(world, kind) == whole[kind]
    now = chunk_times(store_of(world, kind))
    assert {key: now[key] for key in written} == written
    assert slabs(now) == set(range(DAYS))


@KINDS
@pytest.mark.parametrize("lost", [[0], [9], [2, 3, 7]])
def test_recorded_gaps_are_listed_and_only_their_days_are_added_when_they_come(
    root, whole, tmp_path, kind, lost
):
    days = [EVERY[number] for number in lost]
    with missing(root, kind, days):
        world = short_world(root, tmp_path, source=RECORD)
        prepared(world, kind)
        store = store_of(world, kind)
        manifest = json.loads(store.with_suffix(".json").read_text())
        assert manifest["gaps"] == [str(day) for day in days]
        assert manifest["days"] == DAYS and len(manifest["slabs"]) == DAYS - len(lost)
        assert store_gaps(store) == {(day - dt.date(1970, 1, 1)).days for day in days}
        written = chunk_times(store)
        assert slabs(written) == set(range(DAYS)) - set(lost)
        values = open_store(store)[VARIABLE[kind]].values
        empty = np.isnan(values).all(axis=tuple(range(1, values.ndim)))
        assert list(np.flatnonzero(empty)) == lost
    assert prepared(world, kind) == whole[kind]
    now = chunk_times(store)
    assert {key: now[key] for key in written} == written


@KINDS
def test_allowing_or_refusing_gaps_keeps_what_was_made(root, whole, tmp_path, kind):
    refusing = short_world(root, tmp_path)
    recording = short_world(root, tmp_path, source=RECORD)
    with missing(root, kind, [EVERY[6]]):
        with pytest.raises(UserError, match="9 of 10"):
            prepared(refusing, kind)
        written = chunk_times(partial_of(refusing, kind))
        finished = prepared(recording, kind)
        assert chunk_times(store_of(recording, kind)) == written
        with pytest.raises(UserError, match=r"2000-12-28: .*set source\.gaps to record"):
            prepared(refusing, kind)
        assert contents(recording.layout.resources_dir / kind) == finished
    assert prepared(refusing, kind) == whole[kind]
    now = chunk_times(store_of(refusing, kind))
    assert {key: now[key] for key in written} == written


@KINDS
def test_days_of_another_year_leave_this_years_store_as_it_is(root, whole, tmp_path, kind, caplog):
    world = short_world(root, tmp_path)
    prepared(world, kind)
    written = chunk_times(store_of(world, kind))
    longer = short_config(root, tmp_path, test=("2000-12-28", "2001-02-03"))
    with caplog.at_level(logging.INFO):
        STAGES[kind](longer, Layout(longer), YEAR)
    assert "complete already" in caplog.text
    assert chunk_times(store_of(world, kind)) == written
    assert contents(world.layout.resources_dir / kind) == whole[kind]


@KINDS
def test_a_year_is_prepared_as_far_as_it_is_fetched(root, whole, tmp_path, kind):
    world = short_world(root, tmp_path)
    seen = {}
    for held in (6, 8):
        with missing(root, kind, EVERY[held:]):
            message = rf"{held} of 10 slabs are done, {10 - held} cannot .*first {EVERY[held]}: "
            with pytest.raises(UserError, match=message):
                prepared(world, kind)
            now = chunk_times(partial_of(world, kind))
            assert slabs(now) == set(range(held))
            assert {key: now[key] for key in seen} == seen
            seen = now
    assert prepared(world, kind) == whole[kind]
    now = chunk_times(store_of(world, kind))
    assert {key: now[key] for key in seen} == seen


def test_a_day_whose_last_hour_is_in_the_next_file_waits_for_it(tmp_path):
    """Mean rates are labelled at the end of their hour: 00 UTC ends the day before."""
    root = write_fluxes(tmp_path / "raw")
    expected = prepared(short_world(root, tmp_path / "whole", forcing="fluxes8"), "forcing")
    world = short_world(root, tmp_path / "parts", forcing="fluxes8")
    with missing(root, "forcing", EVERY[6:]):
        with pytest.raises(UserError, match=r"5 of 10 .*first 2000-12-27: .*2000-12-28 00:00"):
            prepared(world, "forcing")
        written = chunk_times(partial_of(world, "forcing"))
    assert prepared(world, "forcing") == expected
    now = chunk_times(store_of(world, "forcing"))
    assert {key: now[key] for key in written} == written


def write_fluxes(root):
    """Raw files with hourly mean rates under their new names."""
    names, hours = tuple(NEW_NAMES), range(24)
    options = {"names": names, "hours": hours, "rename": NEW_NAMES}
    raw.write_ocean_days(root / "ocean", EVERY[0], 1)
    write_forcing_days(root / "forcing", EVERY[:-1], **options)
    write_forcing_days(root / "forcing", EVERY[-1:], closing=True, **options)
    return root


def test_a_damaged_file_costs_no_day_before_it(tmp_path):
    root = write_short_year(tmp_path)
    expected = prepared(short_world(root, tmp_path / "whole"), "state")
    world = short_world(root, tmp_path / "again")
    path = raw_file(root, "state", EVERY[6])
    good, status = path.read_bytes(), path.stat()
    path.write_bytes(good[:1000])
    with pytest.raises(UserError, match=rf"{path.name}: .*2000-12-28"):
        prepared(world, "state")
    written = chunk_times(partial_of(world, "state"))
    assert slabs(written) == set(range(6))
    path.write_bytes(good)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert prepared(world, "state") == expected
    now = chunk_times(store_of(world, "state"))
    assert {key: now[key] for key in written} == written


@KINDS
def test_a_file_that_changes_rewrites_its_day_alone(tmp_path, kind):
    root = write_short_year(tmp_path)
    world = short_world(root, tmp_path / "stores")
    prepared(world, kind)
    before = chunk_times(store_of(world, kind))
    if kind == "state":
        raw.write_ocean_days(root / "ocean", EVERY[3], 1, seed=7)
    else:
        write_forcing_days(root / "forcing", EVERY[3:4], seed=7)
    again = prepared(world, kind)
    now = chunk_times(store_of(world, kind))
    assert slabs({key: 0 for key in now if now[key] != before[key]}) == {3}
    assert again == prepared(short_world(root, tmp_path / "fresh"), kind)


def test_one_line_at_the_end_says_what_was_made(root, tmp_path, caplog):
    raw.write_ocean_days(root / "away_myint", EVERY[1], 1)
    with missing(root, "state", [EVERY[1], EVERY[4]]):
        place = raw_file(root, "state", EVERY[1]).parent / "cmems_myint"
        place.mkdir()
        interim = place / raw.ocean_name(EVERY[1])
        (root / "away_myint" / interim.name).rename(interim)
        world = short_world(root, tmp_path, source=RECORD)
        with caplog.at_level(logging.INFO):
            prepare_state(world.config, world.layout, YEAR)
        interim.unlink()
        place.rmdir()
    (line,) = [m for m in caplog.messages if "interim" in m]
    assert line.startswith(f"{store_of(world, 'state')}: 9 days, 1 gaps, 1 interim days; so ")
    values = open_store(store_of(world, "state"))["thetao"].values
    assert f"thetao {np.nanmin(values):.4g} to {np.nanmax(values):.4g} degrees_C" in line
    size = sum(len(x) for x in contents(store_of(world, "state")).values())
    assert line.endswith(f"; {size / 1e9:.3g} GB")
    assert caplog.messages[-1] == line
