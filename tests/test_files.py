"""Small files that appear complete or not at all."""

from __future__ import annotations

import json

import pytest

from hybridom.files import read_json, write_json


def test_what_is_written_is_read_again(tmp_path):
    path = tmp_path / "deep" / "x.json"
    write_json(path, {"a": [1, 2.5, None]})
    assert read_json(path) == {"a": [1, 2.5, None]}
    assert [p.name for p in path.parent.iterdir()] == ["x.json"]


def test_a_failing_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}


def test_a_missing_or_broken_file_is_none(tmp_path):
    (tmp_path / "x.json").write_text('{"a": ')
    assert read_json(tmp_path / "x.json") is None
    assert read_json(tmp_path / "none.json") is None
