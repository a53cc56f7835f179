"""Which files hold which days: names, headers, doubles, and what is refused."""

from __future__ import annotations

import calendar
import datetime as dt
import json
import os
import time

import netCDF4
import numpy as np
import pytest

from hybridom.data.raw import ocean_files
from hybridom.data.raw.netcdf import SourceFile
from hybridom.data.raw.ocean_files import OceanFiles
from hybridom.errors import UserError
from hybridom.variables import PROGNOSTIC
from tests.data import raw

DAY = dt.date(2000, 2, 28)
TINY = {"box": (slice(0, 3), slice(0, 4)), "depths": slice(0, 2)}


def days(count, start=DAY):
    return [start + dt.timedelta(number) for number in range(count)]


def write_header(path, times, units="days since 2000-01-01", names=PROGNOSTIC, **attributes):
    """A file with a time axis and empty variables: enough for an index."""
    path.parent.mkdir(parents=True, exist_ok=True)
    calendar_ = attributes.pop("calendar", "standard")
    with netCDF4.Dataset(path, "w") as file:
        file.setncatts(attributes)
        file.createDimension("time", None)
        file.createVariable("time", "f8", ("time",)).setncatts(
            {"units": units, "calendar": calendar_}
        )
        file["time"][:] = np.asarray(times, float)
        for name in names:
            file.createVariable(name, "i2", ("time",))
    return path


def test_ten_thousand_originals_are_found_in_seconds_and_not_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(ocean_files, "SourceFile", None)
    every = days(10_000, dt.date(1993, 1, 1))
    for day in every:
        folder = tmp_path / f"{day:%Y}" / f"{day:%m}"
        if day.day == 1 or day == every[0]:
            folder.mkdir(parents=True)
        (folder / raw.ocean_name(day)).touch()
    start = time.perf_counter()
    files = OceanFiles.scan(tmp_path)
    assert time.perf_counter() - start < 5
    assert sorted(files.by_day) == every
    assert files.missing(every) == []
    assert files.record(every[-1]).path.name == raw.ocean_name(every[-1])


def test_a_store_is_one_source_and_nothing_in_it_is_looked_at(tmp_path):
    raw.write_ocean_subset(tmp_path / "a.zarr", DAY, 2, zarr_format=2, **TINY)
    (tmp_path / "a.zarr" / "thetao" / "stray.nc").touch()
    for folder in (tmp_path, tmp_path / "a.zarr"):
        files = OceanFiles.scan(folder)
        assert list(files.by_day) == days(2) and not files.refused
        assert files.record(DAY).path == tmp_path / "a.zarr"


def test_manifests_and_unfinished_files_do_not_count(tmp_path):
    raw.write_ocean_subset(tmp_path / "a.nc", DAY, 1, **TINY)
    for name in (
        "manifests/2000-02.json",
        "manifests/a.nc",
        "b.nc.partial",
        "b.partial.nc",
        ".hidden.nc",
        "month.partial/b.nc",
        "c.zarr.partial/zarr.json",
        "c.tmp.zarr/zarr.json",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    files = OceanFiles.scan(tmp_path)
    assert list(files.by_day) == [DAY] and not files.refused


def test_links_to_folders_are_followed_once(tmp_path):
    raw.write_ocean_subset(tmp_path / "elsewhere" / "a.nc", DAY, 1, **TINY)
    (tmp_path / "raw").mkdir()
    os.symlink(tmp_path / "elsewhere", tmp_path / "raw" / "linked")
    os.symlink(tmp_path / "raw", tmp_path / "elsewhere" / "back")
    files = OceanFiles.scan(tmp_path / "raw")
    assert files.record(DAY).path == tmp_path / "raw" / "linked" / "a.nc"


def test_static_files_do_not_count(tmp_path):
    raw.write_ocean_subset(tmp_path / "a.nc", DAY, 1, **TINY)
    write_header(tmp_path / "GLO-MFC_001_030_coordinates.nc", [], names=["e3t"])
    files = OceanFiles.scan(tmp_path)
    assert list(files.by_day) == [DAY] and not files.refused


@pytest.mark.parametrize("content", ["nothing", "empty folder", "static only"])
def test_a_folder_without_ocean_files_is_refused(tmp_path, content):
    folder = tmp_path / "ocean"
    if content != "nothing":
        folder.mkdir()
    if content == "static only":
        write_header(folder / "coordinates.nc", [], names=["e3t"])
    with pytest.raises(UserError, match=r"ocean: no ocean file; expected .*source\.ocean_dir"):
        OceanFiles.scan(folder)


@pytest.mark.parametrize("year", [1999, 2000])
def test_a_year_is_whole_whether_it_has_365_or_366_days(tmp_path, year):
    length = 366 if calendar.isleap(year) else 365
    first = (dt.date(year, 1, 1) - dt.date(2000, 1, 1)).days
    write_header(tmp_path / "a.nc", first + np.arange(length) + 0.5)
    files = OceanFiles.scan(tmp_path)
    every = [d for d in days(367, dt.date(year, 1, 1)) if d.year == year]
    assert sorted(files.by_day) == every
    assert [files.record(day).step for day in every] == list(range(length))


def test_a_missing_day_is_named_and_listed(tmp_path):
    write_header(tmp_path / "a.nc", [58, 60])
    files = OceanFiles.scan(tmp_path)
    assert files.missing(days(3)) == [dt.date(2000, 2, 29)]
    problem = files.problem(dt.date(2000, 2, 29))
    assert "20000229" in problem and "missing on 2000-02-29" in problem and "fetch" in problem
    with pytest.raises(UserError, match="missing on 2000-02-29"):
        files.record(dt.date(2000, 2, 29))


def test_a_day_of_which_a_variable_is_missing_is_named_with_it(tmp_path):
    write_header(tmp_path / "a.nc", [58, 59], names=["thetao", "so", "zos"])
    write_header(tmp_path / "b.nc", [58], names=["uo", "vo"])
    files = OceanFiles.scan(tmp_path)
    assert files.problem(DAY) is None
    assert files.missing(days(2)) == days(2)[1:]
    assert "variable uo is absent on 2000-02-29" in files.problem(days(2)[1])


def test_the_file_with_the_temperature_leads(tmp_path):
    write_header(tmp_path / "a.nc", [58], names=["uo", "vo"])
    write_header(tmp_path / "b.nc", [57, 58], names=["thetao", "so", "zos"])
    record = OceanFiles.scan(tmp_path).record(DAY)
    assert record.paths == [tmp_path / "b.nc", tmp_path / "a.nc"]
    assert (record.step, record.of("so", DAY).step, record.of("vo", DAY).step) == (1, 1, 0)


@pytest.mark.parametrize(
    ("other", "shared"),
    [
        ("mercatorglorys12v1_gl12_mean_20000228_R20000401.nc", "all ocean variables"),
        ("cmems_mod_glo_phy_my_0.083deg_P1D-m_(1).nc", "uo, vo"),
    ],
)
def test_a_day_held_twice_is_refused_by_the_names_of_both_files(tmp_path, other, shared):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / raw.ocean_name(DAY)).touch()
    write_header(tmp_path / "y" / other, [58], names=["uo", "vo"])
    files = OceanFiles.scan(tmp_path)
    for word in (raw.ocean_name(DAY), other, shared, "2000-02-28", "remove one"):
        assert word in files.problem(DAY)


@pytest.mark.parametrize(
    ("name", "times", "options", "words"),
    [
        ("mercatorglorys12v1_gl12_mean_200002.nc", [45], {}, "monthly means"),
        ("cmems_mod_glo_phy_my_0.083deg_P1M-m_a.nc", [45], {}, "monthly means"),
        ("renamed.nc", [15.5, 45, 75.5], {}, "monthly means"),
        ("hourly.nc", np.arange(48) / 24, {}, "24 times on 2000-01-01"),
        ("noleap.nc", [0, 1], {"calendar": "noleap"}, "standard calendar"),
        ("360.nc", [0, 1], {"calendar": "360_day"}, "standard calendar"),
        ("bare.nc", [0, 1], {"units": "days"}, "CF units"),
    ],
)
def test_files_of_other_means_or_calendars_are_refused(tmp_path, name, times, options, words):
    path = write_header(tmp_path / name, times, **options)
    (tmp_path / raw.ocean_name(DAY)).touch()
    files = OceanFiles.scan(tmp_path)
    (line,) = files.refused
    assert line.startswith(str(path)) and words in line
    assert list(files.by_day) == [DAY]


def test_an_unreadable_file_is_refused_by_name(tmp_path):
    (tmp_path / "subset.nc").write_bytes(b"half a file")
    (tmp_path / "half.zarr").mkdir()
    files = OceanFiles.scan(tmp_path)
    assert [line.split(":")[0] for line in files.refused] == [
        str(tmp_path / "half.zarr"),
        str(tmp_path / "subset.nc"),
    ]
    assert "(2 files refused)" in files.problem(DAY)


def test_a_name_without_a_date_is_refused(tmp_path):
    (tmp_path / "mercatorglorys12v1_gl12_mean_20010229_R20010307.nc").touch()
    (line,) = OceanFiles.scan(tmp_path).refused
    assert "20010229" in line and "YYYYMMDD" in line


def test_interim_days_are_known_by_name_folder_attribute_or_manifest(tmp_path):
    write_header(tmp_path / "cmems_mod_glo_phy_myint_0.083deg_P1D-m_a.nc", [58])
    write_header(tmp_path / "b.nc", [59], title="cmems_mod_glo_phy_myint_0.083deg_P1D-m")
    folder = tmp_path / "cmems_mod_glo_phy_myint_0.083deg_P1D-m_202311" / "2000" / "03"
    folder.mkdir(parents=True)
    (folder / raw.ocean_name(dt.date(2000, 3, 1))).touch()
    for day in (dt.date(2000, 3, 2), dt.date(2000, 3, 3)):
        (tmp_path / raw.ocean_name(day)).touch()
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "2000-03.json").write_text(
        json.dumps({"interim_days": ["2000-03-02"]})
    )
    files = OceanFiles.scan(tmp_path)
    assert files.interim_days(days(5)) == days(4)
    assert [files.record(day).interim for day in days(5)] == [True] * 4 + [False]


def test_a_file_is_opened_again_only_when_it_has_changed(tmp_path, monkeypatch):
    path = write_header(tmp_path / "a.nc", [58])
    OceanFiles.scan(tmp_path)
    opened = []

    class Counted(SourceFile):
        def __init__(self, path):
            opened.append(path)
            super().__init__(path)

    monkeypatch.setattr(ocean_files, "SourceFile", Counted)
    assert list(OceanFiles.scan(tmp_path).by_day) == [DAY] and not opened
    write_header(path, [58, 59])
    assert list(OceanFiles.scan(tmp_path).by_day) == days(2) and opened == [path]
