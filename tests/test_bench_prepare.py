from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
import xarray as xr

from hybridom.bench import prepare
from hybridom.bench.synthetic import write_ocean
from hybridom.config import narrow
from tests.data.raw import USED_DEPTHS, raw_config

STEP = 5.0  # degrees


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    root = tmp_path_factory.mktemp("bench")
    periods = ("2001-01-01", "2001-01-02"), ("2001-01-03", "2001-01-03")
    whole = raw_config(root, *periods, ("2001-01-04", "2001-01-06"))
    return narrow(whole, "state")


def test_preparation_is_timed_and_described(config, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "ROUNDS", 1)  # each starts two processes
    result = prepare.bench_prepare(config, tmp_path, days=6, threads=2, step=STEP)
    seconds = result["seconds_per_day"]
    assert set(seconds) == {"decompress", "regrid_one_core", "common", "stage"}
    assert all(np.isfinite(list(seconds.values())))
    assert result["grid"] == [3, 9, 18] and result["days"] == 6 and result["threads"] == 2
    ratio = result["decompression_speed_reached"]
    assert ratio == pytest.approx(seconds["decompress"] / seconds["stage"])
    assert result["peak_memory_mb"] > 50
    text = prepare.table(result)
    assert "3 x 9 x 18" in text and "regrid_one_core" in text and "s a day" in text
    stores = list(tmp_path.glob("*_days/global_20/state/2001.zarr"))
    assert len(stores) == 2  # the parts are timed on what the stage really writes


def test_synthetic_days_are_packed_and_chunked_as_the_product(tmp_path):
    write_ocean(tmp_path, dt.date(2000, 2, 28), 2, USED_DEPTHS, STEP)
    paths = sorted(tmp_path.glob("mercatorglorys12v1_gl12_mean_2000022*.nc"))
    assert len(paths) == 2
    for path, day in zip(paths, ("2000-02-28", "2000-02-29"), strict=True):
        with xr.open_dataset(path) as ds:
            assert str(ds.time.values[0])[:10] == day
            assert dict(ds.thetao.sizes) == {
                "time": 1, "depth": 3, "latitude": 35, "longitude": 72,
            }  # fmt: skip
            assert ds.thetao.encoding["dtype"] == np.int16 and ds.thetao.encoding["shuffle"]
            land = float(np.isnan(ds.thetao[0, 0]).mean())
            assert 0.3 < land < 0.4
            assert float(ds.thetao.min()) > -4 and float(ds.thetao.max()) < 45
