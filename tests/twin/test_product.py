from __future__ import annotations

import datetime as dt

import netCDF4
import numpy as np
import pytest
import xarray as xr

from hybridom.errors import UserError
from hybridom.twin import product
from hybridom.twin.geography import DEPTHS

from .conftest import Run

DAY = dt.date(2001, 1, 30)


@pytest.fixture(scope="module")
def path(finished: Run):
    return finished.layout.ocean_dir / "2001" / product.file_name(DAY)


def test_packing_is_that_of_glorys(path) -> None:
    expected = {
        "thetao": (7.32444226741791e-4, 21.0),
        "so": (1.52592547237873e-3, -1.52592547237873e-3),
        "uo": (6.10370188951492e-4, 0.0),
        "vo": (6.10370188951492e-4, 0.0),
        "zos": (3.05185094475746e-4, 0.0),
    }
    with netCDF4.Dataset(path) as f:
        for name, (scale, offset) in expected.items():
            v = f[name]
            assert (v.dtype, v._FillValue) == (np.int16, -32767)
            assert (v.scale_factor, v.add_offset) == (scale, offset)


@pytest.mark.parametrize("name", product.PACKING)
def test_packed_values_return_within_half_a_quantum(name: str) -> None:
    packing = product.PACKING[name]
    values = packing.offset + np.linspace(-0.9, 0.9, 1001) * 32766 * packing.scale
    back = product.pack(name, values) * packing.scale + packing.offset
    assert np.abs(back - values).max() <= 0.5001 * packing.scale


def test_land_is_packed_as_the_fill_value() -> None:
    assert product.pack("zos", np.array([np.nan, 0.0])).tolist() == [-32767, 0]


def test_values_outside_the_packed_range_are_refused() -> None:
    with pytest.raises(UserError, match="uo leaves the packed range"):
        product.pack("uo", np.array([0.0, 25.0]))


def test_axes_are_those_of_glorys(path) -> None:
    with netCDF4.Dataset(path) as f:
        assert f["thetao"].dimensions == ("time", "depth", "latitude", "longitude")
        assert f["zos"].dimensions == ("time", "latitude", "longitude")
        np.testing.assert_array_equal(f["latitude"][:], np.arange(-80.0, 90.1, 2.0))
        np.testing.assert_array_equal(f["longitude"][:], np.arange(-180.0, 180.0, 2.0))
        np.testing.assert_array_equal(f["depth"][:], np.float32(DEPTHS))
        assert f["depth"].positive == "down"
        assert f["time"].units == "hours since 1950-01-01"
    with xr.open_dataset(path) as ds:
        assert ds.time.values == [np.datetime64("2001-01-30T12:00")]


def test_attributes_say_that_this_is_not_glorys(path) -> None:
    with netCDF4.Dataset(path) as f:
        assert "not GLORYS12V1 itself" in f.title
        assert "Veros" in f.source
        assert "state_4deg" in f.initial_state


def test_every_wet_node_has_values_and_no_other(finished: Run, path) -> None:
    static = finished.layout.ocean_dir / product.STATIC_NAME
    with xr.open_dataset(path) as ds, xr.open_dataset(static) as fixed:
        mask = fixed.mask.values.astype(bool)
        for name in ("thetao", "so", "uo", "vo"):
            np.testing.assert_array_equal(np.isfinite(ds[name].values[0]), mask)
        np.testing.assert_array_equal(np.isfinite(ds.zos.values[0]), mask[0])
        np.testing.assert_array_equal(fixed.deptho_lev.values, mask.sum(axis=0))
        np.testing.assert_array_equal(np.isnan(fixed.deptho.values), ~mask[0])


def test_fields_are_plausible(path) -> None:
    with xr.open_dataset(path) as ds:
        assert -2.5 < ds.thetao.min() < 2 < 25 < ds.thetao.max() < 33
        assert 32 < ds.so.min() < ds.so.max() < 39
        assert 0.1 < abs(ds.uo).max() < 1.5
        tropics = ds.thetao.sel(latitude=0).isel(time=0).mean("longitude")
        assert tropics[0] > tropics[7] > tropics[-1]


def test_file_names_are_those_of_glorys() -> None:
    names = {
        dt.date(1993, 1, 1): "mercatorglorys12v1_gl12_mean_19930101_R19930106.nc",
        dt.date(1993, 1, 5): "mercatorglorys12v1_gl12_mean_19930105_R19930106.nc",
        dt.date(1993, 1, 6): "mercatorglorys12v1_gl12_mean_19930106_R19930113.nc",
    }
    for day, name in names.items():
        assert product.file_name(day) == name


def test_node_axes_at_the_resolution_of_glorys() -> None:
    lat, lon = product.node_axes(1 / 12)
    assert (len(lat), len(lon)) == (2041, 4320)
    assert lat[-1] == pytest.approx(90.0)
    assert lon[-1] == pytest.approx(180 - 1 / 12)


def test_a_step_that_does_not_divide_the_circle_is_refused() -> None:
    with pytest.raises(UserError, match="product_degrees 7 "):
        product.node_axes(7.0)
