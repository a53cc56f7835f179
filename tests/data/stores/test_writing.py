"""Stores: the same bytes whatever interrupts them, and only what has changed is written."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import zarr

from hybridom.data.stores import checksum, open_store, store_gaps, write_store, writing
from hybridom.data.stores.plan import chunk_shape
from hybridom.errors import UserError
from tests.data.stores.example import DAYS, GRID, Source, contents, fields, make_plan, number


def killed_after(seconds, plan, source):
    """Write in another process and kill it; whether it had finished before."""
    pid = os.fork()
    if pid == 0:
        try:
            write_store(plan, source, "child")
        finally:
            os._exit(0)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    return os.WIFEXITED(os.waitpid(pid, 0)[1])


def test_killed_at_random_moments_the_bytes_are_those_of_an_uninterrupted_run(tmp_path, whole):
    rng = np.random.default_rng(7)
    plan, kills = make_plan(tmp_path), 0
    for _ in range(40):
        kills += not killed_after(rng.uniform(0.0, 0.15), plan, Source(pause=0.01))
        # A manifest never stands beside anything but the finished store that it describes.
        if plan.manifest.exists():
            assert not plan.partial.exists()
            assert json.loads(plan.manifest.read_text())["checksum"] == checksum(plan.path)
            if not plan.journal_file.exists():
                assert contents(plan.path.parent) == whole
                shutil.rmtree(plan.path.parent)
    assert kills >= 20
    write_store(plan, Source(), "last")
    assert contents(plan.path.parent) == whole


def test_killed_while_a_finished_store_is_changed_it_ends_as_if_made_at_once(tmp_path):
    keys = tuple("new" if n in (2, 5) else f"key {n}" for n in range(DAYS))
    seeds = {2: 1, 5: 1}
    other = make_plan(tmp_path / "other", keys=keys)
    write_store(other, Source(seeds=seeds), "other")
    rng = np.random.default_rng(2)
    plan = make_plan(tmp_path / "one")
    for _ in range(8):
        write_store(replace(plan, origin={**plan.origin}), Source(), "old")
        changed = replace(plan, keys=keys)
        killed_after(rng.uniform(0.0, 0.08), changed, Source(pause=0.02, seeds=seeds))
        if plan.manifest.exists():
            assert json.loads(plan.manifest.read_text())["checksum"] == checksum(plan.path)
        write_store(changed, Source(seeds=seeds), "new")
        assert contents(plan.path.parent) == contents(other.path.parent)


def test_nothing_that_is_there_is_made_again(finished):
    before = os.stat(finished.path / "zarr.json").st_mtime_ns
    source = Source()
    write_store(finished, source, "again")
    assert source.made == []
    assert os.stat(finished.path / "zarr.json").st_mtime_ns == before


def test_a_changed_key_rewrites_its_slab_alone(finished, whole):
    chunks = sorted(p for p in finished.path.glob("*/c/**/*") if p.is_file())
    before = {path: path.stat().st_ino for path in chunks}
    keys = tuple("new" if n == 3 else f"key {n}" for n in range(DAYS))
    source = Source(seeds={3: 9})
    write_store(replace(finished, keys=keys), source, "changed")
    assert source.made == [3]
    moved = [path for path in chunks if path.stat().st_ino != before[path]]
    assert {path.relative_to(finished.path).parts[2] for path in moved} == {"3"}
    np.testing.assert_array_equal(
        open_store(finished.path)["thetao"][3], fields(3, seed=9)["thetao"]
    )
    old, new = json.loads(whole["2004.json"]), json.loads(finished.manifest.read_text())
    differing = [day for day in old["slabs"] if old["slabs"][day] != new["slabs"][day]]
    assert differing == ["2004-02-27"] and old["checksum"] != new["checksum"]


def test_another_origin_or_layout_begins_afresh(finished):
    for changes in (
        {"origin": {**finished.origin, "config_hash": "other"}},
        {"keepbits": {"thetao": 9}},
        {"chunk_bytes": 1},
    ):
        source = Source()
        write_store(replace(finished, **changes), source, "afresh")
        assert source.made == list(range(DAYS))


def test_a_changed_text_about_all_days_changes_no_day(finished):
    coordinates = finished.coordinates.assign_attrs(title="another")
    source = Source()
    write_store(replace(finished, coordinates=coordinates), source, "text")
    assert source.made == [] and open_store(finished.path).attrs["title"] == "another"


@pytest.mark.parametrize("cut", [1, 7, 60])
def test_a_torn_journal_costs_the_slab_of_its_last_line_alone(tmp_path, whole, cut):
    def stops(indices):
        yield from Source()(indices[:5])
        raise UserError("day 5 is damaged")

    plan = make_plan(tmp_path)
    with pytest.raises(UserError, match="day 5 is damaged"):
        write_store(plan, stops, "stopped")
    assert not plan.path.exists() and not plan.manifest.exists()
    lines = plan.journal_file.read_bytes()
    assert lines.count(b"\n") == 5
    plan.journal_file.write_bytes(lines[:-cut])
    lost = json.loads(lines.splitlines()[-1])["slab"]
    source = Source()
    write_store(plan, source, "again")
    assert source.made == sorted([plan.labels.index(lost), 5, 6, 7])
    assert contents(plan.path.parent) == whole


def test_chunks_that_a_kill_left_or_a_power_cut_emptied_are_made_again(tmp_path, whole):
    plan = make_plan(tmp_path)
    with pytest.raises(ValueError, match="shorter"):
        write_store(plan, lambda indices: Source()(indices[:6]), "stopped")
    (plan.partial / "zos" / "c" / "1" / "0" / "0").write_bytes(b"")
    (plan.partial / "thetao" / "c" / "4" / "1" / "0" / "0.77.partial").write_bytes(b"left")
    source = Source()
    write_store(plan, source, "again")
    assert source.made == [1, 6, 7]
    assert contents(plan.path.parent) == whole


def test_a_lost_manifest_is_written_again_without_making_a_day(finished, whole):
    finished.manifest.unlink()  # as Snakemake does before it runs a rule again
    source = Source()
    write_store(finished, source, "again")
    assert source.made == [] and contents(finished.path.parent) == whole


def test_without_leave_for_gaps_the_other_days_are_written_and_the_store_waits(tmp_path, whole):
    plan = make_plan(tmp_path)
    lacking = replace(plan, absent={3: "no file of 2004-02-27", 6: "damaged"})
    for made in ([0, 1, 2, 4, 5, 7], []):
        source = Source()
        with pytest.raises(
            UserError,
            match=r"6 of 8 slabs are done, 2 cannot be made, first 2004-02-27: no file of 2004-02",
        ):
            write_store(lacking, source, "lacking")
        assert source.made == made and not plan.path.exists() and not plan.manifest.exists()
    source = Source()
    write_store(plan, source, "later")
    assert source.made == [3, 6]
    assert contents(plan.path.parent) == whole


def test_with_leave_gaps_are_recorded_and_filled_when_their_days_come(tmp_path, whole):
    plan = make_plan(tmp_path)
    gappy = replace(plan, absent={3: "no file", 6: "damaged"}, gaps_allowed=True)
    write_store(gappy, Source(), "gaps")
    assert store_gaps(plan.path) == {number(3), number(6)}
    manifest = json.loads(plan.manifest.read_text())
    assert manifest["gaps"] == ["2004-02-27", "2004-03-01"] and len(manifest["slabs"]) == 6
    data = open_store(plan.path)
    assert data.sizes["time"] == DAYS and np.isnan(data["thetao"][[3, 6]]).all()
    np.testing.assert_array_equal(data["zos"][4], fields(4)["zos"])
    source = Source()
    write_store(replace(gappy, absent={6: "damaged"}), source, "one came")
    assert source.made == [3] and store_gaps(plan.path) == {number(6)}
    source = Source()
    write_store(replace(plan, gaps_allowed=True), source, "all came")
    assert source.made == [6] and store_gaps(plan.path) == frozenset()
    assert contents(plan.path.parent) == whole


def test_a_day_that_turned_into_a_gap_leaves_no_chunk(finished, tmp_path):
    gappy = {"absent": {0: "file withdrawn"}, "gaps_allowed": True}
    write_store(replace(finished, **gappy), Source(), "withdrawn")
    fresh = make_plan(tmp_path / "fresh", **gappy)
    write_store(fresh, Source(), "fresh")
    assert contents(finished.path.parent) == contents(fresh.path.parent)


def test_a_refused_day_leaves_a_finished_store_as_it_is(finished, whole):
    with pytest.raises(UserError, match="7 of 8 slabs"):
        write_store(replace(finished, absent={2: "file deleted"}), Source(), "refused")
    assert contents(finished.path.parent) == whole


def test_a_full_disk_is_one_line_and_costs_nothing_that_is_written(tmp_path, whole, monkeypatch):
    plan = make_plan(tmp_path)
    write, calls = writing._write_slab, []

    def full(*args):
        calls.append(args)
        if len(calls) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(*args)

    with monkeypatch.context() as patch, pytest.raises(UserError) as error:
        patch.setattr(writing, "_write_slab", full)
        write_store(plan, Source(), "full")
    slab = 4 * 4 * GRID.ny * GRID.nx
    assert "\n" not in str(error.value) and f"up to {slab:,} bytes" in str(error.value)
    assert str(plan.partial) in str(error.value) and "disk is full" in str(error.value)
    source = Source()
    write_store(plan, source, "again")
    assert source.made == [3, 4, 5, 6, 7]
    assert contents(plan.path.parent) == whole


def test_slabs_are_made_while_others_are_written_but_only_a_few(tmp_path, monkeypatch):
    write, made, written, waiting = writing._write_slab, [], [], []

    def slow(*args):
        time.sleep(0.03)
        record = write(*args)
        written.append(args)
        return record

    def source(indices):
        for index in indices:
            made.append(index)
            waiting.append(len(made) - len(written))
            yield fields(index)

    monkeypatch.setattr(writing, "_write_slab", slow)
    write_store(make_plan(tmp_path), source, "overlap")
    assert 2 <= max(waiting) <= writing.WRITERS + 2 < DAYS


def test_an_interrupt_lets_begun_slabs_finish(tmp_path, whole):
    def interrupted(indices):
        yield from Source()(indices[:3])
        raise KeyboardInterrupt

    plan = make_plan(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        write_store(plan, interrupted, "interrupted")
    assert plan.journal_file.read_bytes().count(b"\n") == 3
    write_store(plan, Source(), "again")
    assert contents(plan.path.parent) == whole


@pytest.mark.parametrize("bits", [1, 7, 10, 22])
def test_rounding_keeps_the_error_below_its_bound_and_comes_close_to_it(bits):
    rng = np.random.default_rng(bits)
    values = (10.0 ** rng.uniform(-20, 20, 200_000)).astype(np.float32)
    values *= rng.choice(np.float32([-1, 1]), values.size)
    found = writing.quantized(values, bits)
    exact = values.astype(np.float64)
    error = np.abs(found - exact) / np.abs(exact)
    # Half a step above a power of two is the worst case: 2^-(bits+1) / (1 + 2^-(bits+1)).
    worst = 1 / (1 + 2.0 ** (bits + 1))
    assert 0.99 * worst < error.max() <= worst < 2.0 ** -(bits + 1)
    assert not np.any(found.view(np.uint32) & ((1 << (23 - bits)) - 1))


def test_rounding_is_to_even_and_leaves_special_values():
    one = np.float32(1.0)
    step = np.float32(2.0**-4)
    halves = one + step * np.array([0.5, 1.5, 2.5, 0.5001, -0.2], np.float32)
    expected = one + step * np.array([0, 2, 2, 1, -0.25], np.float32)
    rounded = writing.quantized(halves[:4], 4)
    np.testing.assert_array_equal(rounded, expected[:4])
    odd = np.array([0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001], np.uint32).view(np.float32)
    assert np.isnan(writing.quantized(odd, 3)).all()
    kept = np.array([np.inf, -np.inf, 0.0, -0.0], np.float32)
    np.testing.assert_array_equal(writing.quantized(kept, 3), kept)


def test_a_rounded_variable_says_so_as_cf_wants_and_the_others_are_exact(tmp_path):
    plan = make_plan(tmp_path, keepbits={"thetao": 8})
    write_store(plan, Source(), "rounded")
    group = zarr.open_group(plan.path, mode="r")
    deep = group["thetao"]
    assert deep.attrs["quantization"] == "quantization_info"
    assert deep.attrs["quantization_nsb"] == 8
    assert deep.attrs["quantization_maximum_relative_error"] == 2.0**-9
    info = group["quantization_info"]
    assert info.shape == () and info.attrs["algorithm"] == "bitround"
    assert info.attrs["implementation"].startswith("numcodecs version ")
    assert "quantization" not in group["zos"].attrs
    assert group.attrs["Conventions"] == "CF-1.12"
    np.testing.assert_array_equal(group["zos"][2], fields(2)["zos"])
    exact, found = fields(2)["thetao"], deep[2]
    assert not np.array_equal(found, exact, equal_nan=True)
    np.testing.assert_allclose(found, exact, rtol=2.0**-9, atol=0)


def test_the_manifest_says_what_the_store_holds(finished):
    manifest = json.loads(finished.manifest.read_text())
    assert manifest["time_range"] == ["2004-02-24", "2004-03-02"] and manifest["days"] == DAYS
    assert manifest["checksum"] == checksum(finished.path)
    every = [fields(n)["thetao"] for n in range(DAYS)]
    assert manifest["ranges"]["thetao"] == [float(np.nanmin(every)), float(np.nanmax(every))]
    assert manifest["gaps"] == [] and list(manifest["slabs"])[5] == "2004-02-29"
    extra = replace(finished, extras={"interim_days": ["2004-02-24"]})
    write_store(extra, Source(), "extras")
    assert json.loads(finished.manifest.read_text())["interim_days"] == ["2004-02-24"]


def test_chunks_hold_a_day_and_as_many_levels_as_fit():
    assert chunk_shape((365, 23, 360, 720)) == (1, 8, 360, 720)
    assert chunk_shape((365, 23, 720, 1440)) == (1, 2, 720, 1440)
    assert chunk_shape((365, 12, 180, 360)) == (1, 12, 180, 360)
    assert chunk_shape((365, 50, 2041, 4320)) == (1, 1, 2041, 4320)
    assert chunk_shape((365, 360, 720)) == (1, 360, 720)
