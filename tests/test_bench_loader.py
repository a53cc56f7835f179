"""The loader's measurement: complete, consistent, and quick on a small grid."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hybridom.bench.loader_stores import Ocean
from hybridom.cli import EXIT_USER_ERROR, main
from hybridom.grid import Grid

CONFIG = Path(__file__).parents[1] / "config" / "test.yaml"
SMALL = ["--set", "grid.resolution=30", "--days", "3", "--window", "2", "--repeats", "1"]


def test_it_prints_a_table_and_writes_the_documented_object(capsys, tmp_path):
    output = tmp_path / "loader.json"
    arguments = ["bench", "loader", "--config", str(CONFIG), *SMALL, "--json", str(output)]
    assert main([*arguments, "--folder", str(tmp_path)]) == 0
    found = json.loads(output.read_text())
    nz, ny, nx = found["grid"]
    assert (ny, nx) == (6, 12) and found["variables"] == [5, 3]
    assert found["window_gb"] == pytest.approx(2 * 2 * 4 * (4 * nz + 4) * ny * nx / 1e9)
    codecs = [(row["codec"], row["keepbits"], row["levels"]) for row in found["layouts"]]
    assert len(codecs) == len(set(codecs))
    assert {("lz4", 23, nz), ("lz4", 23, 1), ("lz4", 10, nz), ("none", 23, nz)} <= set(codecs)
    for row in found["layouts"]:
        rates = [row["write_gb_per_s"], row["first_gb_per_s"], *row["warm_gb_per_s"].values()]
        assert row["ratio"] > 0 and all(rate > 0 for rate in rates)
    assert found["copy_gb_per_s"] > 0 and found["plain_gb_per_s"] > 0
    assert "warm by threads" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [output]


def test_a_window_longer_than_the_store_is_refused(capsys):
    assert main(["bench", "loader", "--config", str(CONFIG), "--days", "2"]) == EXIT_USER_ERROR
    assert "--window 6: expected 2 to 2 days" in capsys.readouterr().err


def test_a_third_of_the_synthetic_ocean_is_land():
    ocean = Ocean(Grid.regular(2.0, depths=(5.0, 50.0)))
    assert ocean.land.mean() == pytest.approx(0.35, abs=0.01)
    field = ocean.field("so", 1)
    np.testing.assert_array_equal(np.isnan(field), ~ocean.wet)
    assert np.isfinite(ocean.field("u10", 1)).all()
    assert not np.array_equal(field, ocean.field("so", 0), equal_nan=True)
