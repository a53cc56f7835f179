"""Values over the sea continued onto land."""

from __future__ import annotations

import netCDF4
import numpy as np
import pytest

from hybridom.data.raw.axes import SourceAxes
from hybridom.data.raw.forcing import SeaOnly, read_land_mask
from hybridom.errors import UserError

LAT, LON = np.arange(-80.0, 81.0, 10.0), np.arange(-180.0, 180.0, 10.0)
AXES = SourceAxes(LAT, LON, np.empty(0))


def land(*boxes):
    """Part of land: 1 in boxes of rows and columns, 0.5 (still sea) elsewhere."""
    lsm = np.full((LAT.size, LON.size), 0.5)
    for rows, columns in boxes:
        lsm[rows, columns] = 1.0
    return lsm


def write_mask(path, lsm, *, name="lsm", lat=LAT, lon=LON, time=True):
    """ERA5's land-sea mask: from the north, from Greenwich, packed, with a time."""
    rows, columns = np.argsort(-lat), np.argsort(lon % 360)
    with netCDF4.Dataset(path, "w") as file:
        for axis, values in (("latitude", lat[rows]), ("longitude", (lon % 360)[columns])):
            file.createDimension(axis, values.size)
            file.createVariable(axis, "f8", (axis,))[:] = values
        file.createDimension("time", 1)
        dimensions = (*(("time",) if time else ()), "latitude", "longitude")
        variable = file.createVariable(name, "i2", dimensions, fill_value=-32767)
        variable.setncatts({"scale_factor": 1 / 65530, "add_offset": 0.5, "units": "(0 - 1)"})
        variable[:] = np.asarray(lsm)[rows][:, columns]
    return path


def test_points_at_sea_keep_their_values_and_land_takes_the_nearest():
    lsm = land((slice(6, 9), slice(10, 13)))
    column = np.broadcast_to(np.arange(LON.size, dtype=float), lsm.shape)
    found = SeaOnly(lsm, AXES)(column)
    np.testing.assert_array_equal(found[lsm <= 0.5], column[lsm <= 0.5])
    np.testing.assert_array_equal(found[7, 10:13], [9, found[7, 11], 13])


def test_values_come_across_the_date_line():
    lsm = land((slice(None), slice(0, 3)))
    column = np.broadcast_to(np.arange(LON.size, dtype=float), lsm.shape)
    found = SeaOnly(lsm, AXES)(column)
    np.testing.assert_array_equal(found[:, [0, 2]], [[35.0, 3.0]] * LAT.size)


def test_near_the_pole_the_nearest_point_lies_across_it():
    lsm = land((slice(14, 17), slice(None)))  # all north of 60 N but for one point
    lsm[16, 0] = 0.0
    field = np.zeros(lsm.shape)
    field[16, 0] = 1.0
    found = SeaOnly(lsm, AXES)(field)
    assert found[16, 18] == 1.0  # 20 degrees away; 50 N is 30
    assert found[15, 18] == 0.0  # 30 degrees away; 50 N is 20


def test_agrees_with_the_distances_to_all_points_at_sea():
    random = np.random.default_rng(0)
    lsm = random.uniform(size=(LAT.size, LON.size)) * 1.5
    lsm = np.clip(lsm, 0, 1)
    field = random.normal(size=(3, *lsm.shape))
    found = SeaOnly(lsm, AXES)(field)
    phi, lam = np.radians(LAT)[:, None] + 0 * LON, np.radians(LON) + 0 * LAT[:, None]
    for j, i in np.argwhere(lsm > 0.5)[::17]:
        cosine = np.sin(phi[j, i]) * np.sin(phi) + np.cos(phi[j, i]) * np.cos(phi) * np.cos(
            lam - lam[j, i]
        )
        cosine[lsm > 0.5] = -2
        near = cosine > cosine.max() - 1e-12
        assert any(np.array_equal(found[:, j, i], field[:, a, b]) for a, b in np.argwhere(near))


def test_a_field_over_the_sea_is_left_as_it_is_and_not_altered():
    field = np.random.default_rng(1).normal(size=(LAT.size, LON.size))
    before = field.copy()
    np.testing.assert_array_equal(SeaOnly(land(), AXES)(field), field)
    SeaOnly(land((slice(3, 5), slice(2, 9))), AXES)(field)
    np.testing.assert_array_equal(field, before)


@pytest.mark.parametrize("time", [True, False])
@pytest.mark.parametrize("name", ["lsm", "land_sea_mask"])
def test_the_mask_is_read_on_the_forcings_axes(tmp_path, name, time):
    lsm = np.random.default_rng(2).choice([0.0, 0.2, 0.4, 0.7, 1.0], size=(LAT.size, LON.size))
    path = write_mask(tmp_path / "lsm.nc", lsm, name=name, time=time)
    np.testing.assert_array_equal(read_land_mask(path, AXES).sea, lsm <= 0.5)


def test_without_a_mask_nothing_is_replaced():
    assert read_land_mask(None, AXES) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "z"}, r"no variable lsm, the file holds .*z"),
        ({"lat": LAT + 1}, r"lat point 0 is -79 where .* must lie on the forcing's grid"),
        (
            {"lsm": 100 * land((slice(0, 5), slice(0, 5)))},
            r"runs from .* to .*; expected .* 0 to 1",
        ),
        ({"lsm": np.ones((LAT.size, LON.size))}, r"no point is at sea"),
    ],
)
def test_what_is_no_mask_is_refused(tmp_path, monkeypatch, options, message):
    lsm = options.pop("lsm", land())
    path = write_mask(tmp_path / "lsm.nc", np.clip(lsm, 0, 1), **options)
    if lsm.max() > 1:
        with netCDF4.Dataset(path, "a") as file:
            file["lsm"].scale_factor = 1.0
    with pytest.raises(UserError, match=message) as error:
        read_land_mask(path, AXES)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_an_absent_mask_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"lsm.nc: no such file.*source.land_mask"):
        read_land_mask(tmp_path / "lsm.nc", AXES)
