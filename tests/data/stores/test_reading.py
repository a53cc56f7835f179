from __future__ import annotations

import numpy as np
import pytest

from hybridom.data import published
from hybridom.data.stores import (
    open_arrays,
    open_store,
    published_entry,
    require_store,
    store_gaps,
    store_grid_hash,
    write_json,
    write_store,
)
from hybridom.errors import UserError
from tests.data.stores.example import DAYS, GRID, Source, make_plan


def test_arrays_are_read_by_name_and_an_absent_one_is_refused(finished):
    arrays = open_arrays(finished.path, ["zos", "time"])
    assert list(arrays) == ["zos", "time"] and arrays["zos"].shape == (DAYS, 6, 12)
    assert store_grid_hash(finished.path) == GRID.hash and store_gaps(finished.path) == frozenset()
    with pytest.raises(UserError, match=r"2004.zarr: variable uo is absent"):
        open_arrays(finished.path, ["zos", "uo"])


def test_an_unfinished_store_is_refused_with_the_command_that_finishes_it(tmp_path):
    plan = make_plan(tmp_path, absent={0: "no file"})
    with pytest.raises(UserError, match="1 cannot be made"):
        write_store(plan, Source(), "waiting")
    for use in (require_store, open_store, store_gaps, store_grid_hash):
        with pytest.raises(UserError, match=r"is not finished.*hybridom prepare state"):
            use(plan.path)


def test_published_files_stand_in_where_the_manifest_says_so(tmp_path, finished, monkeypatch):
    entry = {"file": "GLORYS_05_2005.h5"}
    path = finished.path.with_name("2005.zarr")
    assert published_entry(path) is None
    write_json(path.with_suffix(".json"), {"published": entry})
    asked = []
    values = {"zos": np.zeros((365, 6, 12), np.float32)}
    monkeypatch.setattr(published, "open_arrays", lambda *args: asked.append(args) or values)
    monkeypatch.setattr(published, "grid_hash", lambda entry: "abc")
    monkeypatch.setattr(published, "gaps", lambda entry: [12_784])
    monkeypatch.setattr(published, "open_dataset", lambda entry: entry["file"])
    assert open_arrays(path, ["zos"]) == values and asked == [(entry, ["zos"])]
    assert store_grid_hash(path) == "abc" and store_gaps(path) == {12_784}
    assert open_store(path) == "GLORYS_05_2005.h5"
    # A store that was made wins over the entry.
    write_json(finished.manifest, {"published": entry})
    assert open_arrays(finished.path, ["zos"])["zos"].shape == (DAYS, 6, 12)
