"""Files of rows that are killed at any moment."""

from __future__ import annotations

import datetime as dt
import functools
import json
import multiprocessing
import time

import h5py
import numpy as np
import pytest

from hybridom.data.published.formats import lay_out_hdf5, lay_out_npy
from hybridom.data.published.frame import Frame
from hybridom.data.published.rows import RowFile, write_rows
from hybridom.errors import UserError
from hybridom.grid import Grid

ROWS, CELLS = 40, (3, 9, 18)
ORIGIN = {"config_hash": "a", "grid_hash": "b"}


def row_file(path, origin=ORIGIN):
    """An HDF5 file of 40 days."""
    days = [dt.date(2001, 1, 1) + dt.timedelta(n) for n in range(ROWS)]
    axes = days, Frame.around(Grid.regular(20.0), 20.0), np.array([5.0])
    channels = [("a", "1"), ("b", "m"), ("c", "K")]
    lay_out = functools.partial(
        lay_out_hdf5, channels=channels, axes=axes, attributes={}, of_data={}
    )
    return RowFile(path, (ROWS, *CELLS), lay_out, origin, {})


def values(index):
    return np.random.default_rng(index).normal(size=CELLS).astype(np.float32)


def write_slowly(path):
    def row(index):
        time.sleep(0.002)
        return values(index)

    write_rows(row_file(path), row, "slow")


def test_rows_are_where_the_library_that_owns_the_format_reads_them(tmp_path):
    expected = np.stack([values(n) for n in range(ROWS)])
    write_rows(row_file(tmp_path / "a.h5"), values, "rows")
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["data"][:], expected)
    shape = (ROWS, *CELLS)
    file = RowFile(tmp_path / "a.npy", shape, lambda p: lay_out_npy(p, shape), ORIGIN, {})
    write_rows(file, values, "rows")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), expected)


def test_kills_at_random_moments_lose_and_change_nothing(tmp_path):
    write_rows(row_file(tmp_path / "whole.h5"), values, "rows")
    path = tmp_path / "killed.h5"
    generator = np.random.default_rng(5)
    context = multiprocessing.get_context("fork")
    kills = 0
    while not path.with_name("killed.h5.json").exists():
        process = context.Process(target=write_slowly, args=(path,))
        process.start()
        process.join(generator.uniform(0.0, 0.05))
        if process.is_alive():
            process.kill()
            kills += 1
        process.join()
    assert kills > 2
    assert path.read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert not list(tmp_path.glob("*partial*"))


def test_rows_before_an_error_are_kept(tmp_path):
    asked = []

    def row(index):
        asked.append(index)
        if index == 11 and len(asked) == 12:
            raise UserError("day 12 is missing")
        return values(index)

    file = row_file(tmp_path / "a.h5")
    with pytest.raises(UserError, match="day 12"):
        write_rows(file, row, "rows")
    assert not file.path.exists()
    write_rows(file, row, "rows")
    assert asked == [*range(12), *range(11, 40)]


def test_another_origin_begins_afresh_and_leaves_the_old_file_until_then(tmp_path):
    path = tmp_path / "a.h5"
    write_rows(row_file(path), values, "rows")
    other = row_file(path, ORIGIN | {"config_hash": "c"})

    def failing(index):
        raise UserError("no store")

    with pytest.raises(UserError):
        write_rows(other, failing, "rows")
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["data"][39], values(39))
    write_rows(other, lambda index: values(index) + 1, "rows")
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["data"][39], values(39) + 1)


def test_a_kill_between_renaming_and_manifest_is_mended(tmp_path):
    path = tmp_path / "a.h5"
    file = row_file(path)
    write_rows(file, values, "rows")
    state = {"origin": dict(ORIGIN), "offset": 0, "rows": ROWS}
    file.manifest.rename(tmp_path / "kept.json")
    file.journal.write_text(json.dumps(state))
    before = path.read_bytes()
    write_rows(file, values, "rows")
    assert path.read_bytes() == before
    assert file.manifest.read_text() == (tmp_path / "kept.json").read_text()
