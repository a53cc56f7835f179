"""The check of the ocean's raw files: every form passes, and every fault is named."""

from __future__ import annotations

import datetime as dt
import os

import numpy as np
import pytest

from hybridom.data.ocean_checks import check_ocean, reference_day
from hybridom.data.problems import Findings
from hybridom.data.raw.chunks import index_chunks
from hybridom.data.raw.ocean import OceanFiles
from hybridom.layout import Layout
from tests.data import raw

START = dt.date(2000, 2, 27)
DAYS = [START + dt.timedelta(n) for n in range(8)]


def check(root, **source):
    config = raw.raw_config(
        root,
        ("2000-02-27", "2000-02-29"),
        ("2000-03-01", "2000-03-02"),
        ("2000-03-03", "2000-03-05"),
    )
    config = config.model_copy(update={"source": config.source.model_copy(update=source)})
    found = Findings()
    check_ocean(config, Layout(config), DAYS, found)
    return found


def has(line, *words):
    missing = [str(word) for word in words if str(word) not in line]
    assert not missing, f"{missing} not in {line}"


def test_originals_pass_with_the_ranges_of_the_surface(tmp_path):
    raw.write_ocean_days(tmp_path / "ocean", START, 8)
    found = check(tmp_path)
    assert found.problems == [] and not found.interim and not found.gaps
    assert len(found.files) == 8
    for name, (scale, _) in raw.PACKING.items():
        fields = [raw.ocean_fields(day)[name] for day in DAYS]
        used = [field[1] if field.ndim == 3 else field for field in fields]
        expected = [np.nanmin(used), np.nanmax(used)]
        np.testing.assert_allclose(found.ranges[name], expected, atol=scale)


@pytest.mark.parametrize("form", [None, 2, 3])
def test_subsets_split_by_variable_pass_in_any_form(tmp_path, form):
    for number, names in enumerate((["zos"], ["thetao", "so"], ["uo", "vo"])):
        path = tmp_path / "ocean" / (f"{number}.zarr" if form else f"{number}.nc")
        raw.write_ocean_subset(path, START, 8, names=names, zarr_format=form)
    found = check(tmp_path)
    assert found.problems == [] and len(found.files) == 3


def test_interim_days_are_recorded(tmp_path):
    raw.write_ocean_days(tmp_path / "ocean", START, 6)
    name = "cmems_mod_glo_phy_myint_0.083deg_P1D-m_a.nc"
    raw.write_ocean_subset(tmp_path / "ocean" / name, DAYS[6], 2)
    found = check(tmp_path)
    assert found.problems == [] and found.interim == set(DAYS[6:])


def test_missing_days_are_refused_or_recorded_as_configured(tmp_path):
    for path in raw.write_ocean_days(tmp_path / "ocean", START, 8)[:6:2]:
        path.unlink()
    lines = check(tmp_path).problems
    assert len(lines) == 3
    for line, day in zip(lines, DAYS[:6:2], strict=True):
        has(line, day, "missing", "fetch")
    found = check(tmp_path, gaps="record")
    assert found.problems == [] and list(found.gaps) == DAYS[:6:2]
    has(found.gaps[DAYS[2]], DAYS[2], "missing")


def test_broken_files_are_refused_even_where_gaps_are_recorded(tmp_path):
    paths = raw.write_ocean_days(tmp_path / "ocean", START, 8)
    paths[1].unlink()
    os.truncate(paths[3], 3000)
    (line,) = check(tmp_path, gaps="record").problems
    has(line, paths[3], DAYS[3], "truncated")
    (tmp_path / "ocean" / "unknown.nc").write_bytes(b"half a file")
    assert len(check(tmp_path, gaps="record").problems) == 2


def test_the_first_day_that_is_there_is_the_reference(tmp_path):
    raw.write_ocean_days(tmp_path / "ocean", DAYS[2], 6)
    config = raw.raw_config(
        tmp_path,
        ("2000-02-27", "2000-02-29"),
        ("2000-03-01", "2000-03-02"),
        ("2000-03-03", "2000-03-05"),
    )
    files = OceanFiles.scan(tmp_path / "ocean")
    assert reference_day(config, files) == START
    gaps = config.source.model_copy(update={"gaps": "record"})
    assert reference_day(config.model_copy(update={"source": gaps}), files) == DAYS[2]


def test_a_spoiled_chunk_at_the_surface_is_named(tmp_path):
    path = raw.write_ocean_days(tmp_path / "ocean", START, 8)[4]
    index = index_chunks(path, ["vo"])["vo"]
    with open(path, "r+b") as file:
        file.seek(int(index.offsets.min()) + 40)
        file.write(b"\x00" * 30)
    (line,) = check(tmp_path).problems
    has(line, path, "vo", DAYS[4], "damaged")


def test_a_day_in_kelvin_and_a_day_with_another_mask_are_named_within_a_subset(tmp_path):
    def write(start, days, name, **change):
        dataset, encoding = raw.ocean_dataset(start, days, packed=False)
        dataset = dataset.assign({key: f(dataset[key]) for key, f in change.items()})
        (tmp_path / "ocean").mkdir(exist_ok=True)
        dataset.to_netcdf(tmp_path / "ocean" / name, engine="h5netcdf", encoding=encoding)

    write(START, 4, "a.nc", thetao=lambda x: x + 273.15 * (x.time == x.time[2]))
    write(DAYS[4], 4, "b.nc", so=lambda x: x.where((x.time != x.time[1]) | (x.longitude < 0)))
    kelvin, mask = check(tmp_path).problems
    has(kelvin, "a.nc", "thetao", DAYS[2], "degrees_C", "convert")
    has(mask, "b.nc", "so", DAYS[5], "ocean cells without value")


def test_sea_ice_is_looked_at_only_where_it_is_asked_for(tmp_path):
    raw.write_ocean_days(tmp_path / "ocean", START, 8)
    assert check(tmp_path).problems == []
    lines = check(tmp_path, sea_ice=True).problems
    assert len(lines) == 8 * 4
    has(lines[0], "siconc", START, "absent")
