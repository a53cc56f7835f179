"""Every form of ocean file gives the numbers of the daily originals."""

from __future__ import annotations

import datetime as dt
import os
from concurrent.futures import ThreadPoolExecutor

import netCDF4
import numpy as np
import pytest

from hybridom.data.raw import ocean
from hybridom.data.raw.netcdf import SourceFile
from hybridom.data.raw.ocean import OceanFiles, OceanReader, Record
from hybridom.errors import UserError
from hybridom.variables import ICE, PROGNOSTIC
from tests.data import raw

START = dt.date(2000, 2, 28)
DAYS = [START + dt.timedelta(n) for n in range(3)]  # 29 February among them
LEVELS = np.array([1, 3, 4])


def originals(folder, **options):
    raw.write_ocean_days(folder, START, len(DAYS), **options)
    return folder


def subset(path, days=3, start=START, **options):
    raw.write_ocean_subset(path, start, days, **options)
    return path.parent


def open_reader(files, depths=raw.USED_DEPTHS):
    record = files.record(DAYS[0])
    with SourceFile(record.path) as file:
        axes = file.axes
    return OceanReader(axes, axes.levels(depths, record.path))


def read(folder, day, names=PROGNOSTIC):
    """Name -> list of (positions, field) of all blocks."""
    files = OceanFiles.scan(folder)
    found = {}
    for block in open_reader(files).blocks(files.record(day), day, names):
        found.setdefault(block.name, []).append((block.levels, block.load()))
    return found


def joined(blocks, attribute):
    """Blocks as one array; every position must be there once, in order."""
    edges = [edge for span, _ in blocks for edge in (span.start, span.stop)]
    assert edges[0] == 0 and edges[1:-1:2] == edges[2::2]
    parts = [getattr(field, attribute) for _, field in blocks]
    parts = [part() if callable(part) else part for part in parts]
    assert [len(part) for part in parts] == [span.stop - span.start for span, _ in blocks]
    return np.concatenate(parts)


def stored(day, name):
    """What an original stores, from the fields themselves."""
    values = np.atleast_3d(raw.ocean_fields(day)[name].T).T
    scale, offset = raw.PACKING[name]
    packed = np.where(np.isnan(values), raw.FILL, np.round((values - offset) / scale))
    return packed[LEVELS if len(packed) > 1 else [0]].astype(np.int16)


def test_an_original_gives_what_it_stores(tmp_path):
    folder = originals(tmp_path / "o")
    for day in DAYS:
        found = read(folder, day)
        assert list(found) == list(PROGNOSTIC)
        for name, blocks in found.items():
            np.testing.assert_array_equal(joined(blocks, "raw"), stored(day, name))
            field = blocks[0][1]
            assert (field.scale, field.offset) == raw.PACKING[name]
            assert field.missing == (raw.FILL,)


PACKED_FORMS = {
    "descending": lambda root: originals(root, descending=True),
    "from zero": lambda root: originals(root, lon_from_zero=True),
    "both": lambda root: originals(root, descending=True, lon_from_zero=True),
    "one subset": lambda root: subset(root / "cmems_mod_glo_phy_my_0.083deg_P1D-m_a.nc"),
    "netcdf 3": lambda root: subset(root / "any.nc", compressed=False, netcdf3=True),
    "contiguous subset": lambda root: subset(root / "any.nc", compressed=False),
    "zarr 2": lambda root: subset(root / "a.zarr", zarr_format=2),
    "zarr 3": lambda root: subset(root / "b.zarr", zarr_format=3),
}


@pytest.mark.parametrize("form", PACKED_FORMS)
def test_packed_forms_give_the_same_bits(tmp_path, form):
    folder = PACKED_FORMS[form](tmp_path / "o")
    for day in DAYS:
        for name, blocks in read(folder, day).items():
            values = joined(blocks, "raw")
            assert values.dtype == np.int16 and values.flags.c_contiguous
            np.testing.assert_array_equal(values, stored(day, name), err_msg=name)
            assert blocks[0][1].scale == raw.PACKING[name][0]


@pytest.mark.parametrize("options", [{}, {"zarr_format": 2}, {"zarr_format": 3}])
def test_unpacked_forms_give_the_same_values(tmp_path, options):
    folder = subset(tmp_path / "s" / ("a.zarr" if options else "a.nc"), packed=False, **options)
    expected = originals(tmp_path / "originals")
    for day in DAYS:
        theirs = read(expected, day)
        for name, blocks in read(folder, day).items():
            values = joined(blocks, "unpack").astype(np.float32)
            assert blocks[0][1].raw.dtype == np.float32
            np.testing.assert_array_equal(values, joined(theirs[name], "unpack").astype(np.float32))


def test_variables_and_days_may_be_split_over_files_of_any_form(tmp_path):
    subset(tmp_path / "s" / "ts.nc", names=["thetao", "so"])
    subset(tmp_path / "s" / "2000" / "zos.nc", names=["zos"])
    subset(tmp_path / "s" / "uv.zarr", names=["uo", "vo"], days=2, zarr_format=3)
    subset(tmp_path / "s" / "uv_.nc", names=["uo", "vo"], days=1, start=DAYS[2])
    for day in DAYS:
        for name, blocks in read(tmp_path / "s", day).items():
            np.testing.assert_array_equal(joined(blocks, "raw"), stored(day, name))


def test_a_box_with_fewer_depths_gives_that_part(tmp_path):
    box = (slice(3, 12), slice(5, 20))
    folder = subset(tmp_path / "s" / "box.nc", box=box, depths=slice(1, 5))
    for name, blocks in read(folder, DAYS[1]).items():
        np.testing.assert_array_equal(joined(blocks, "raw"), stored(DAYS[1], name)[:, *box])


def test_a_box_across_the_date_line_is_put_in_order(tmp_path):
    dataset, encoding = raw.ocean_dataset(START, 1)
    dataset = dataset.isel(longitude=[33, 34, 35, 0, 1])
    dataset["longitude"] = dataset["longitude"] % 360
    dataset.to_netcdf(tmp_path / "a.nc", engine="h5netcdf", encoding=encoding)
    for name, blocks in read(tmp_path, START).items():
        expected = stored(START, name)[..., [0, 1, 33, 34, 35]]
        np.testing.assert_array_equal(joined(blocks, "raw"), expected)


def test_float32_longitudes_are_even_again_on_both_sides_of_the_date_line(tmp_path):
    exact = 150 + np.arange(800) / 12
    with netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
        for name, values in (("longitude", exact), ("latitude", np.arange(3.0))):
            file.createDimension(name, len(values))
            file.createVariable(name, "f4", (name,))[:] = values
    with SourceFile(tmp_path / "a.nc") as file:
        found = file.axes.lon
    expected = np.sort((exact + 180) % 360 - 180)
    assert np.abs(exact.astype(np.float32) - exact).max() > 5e-6
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    steps = np.delete(np.diff(found), np.argmax(np.diff(found)))
    np.testing.assert_allclose(steps, steps[0], rtol=1e-9)


def test_a_block_is_one_layer_of_chunks(tmp_path):
    path = tmp_path / "a.nc"
    dataset, encoding = raw.ocean_dataset(START, 1)
    encoding["thetao"] |= {"zlib": True, "chunksizes": (1, 2, 7, 9)}
    encoding["so"] |= {"zlib": True, "chunksizes": (1, 5, 18, 36)}
    dataset.to_netcdf(path, engine="h5netcdf", encoding=encoding)
    files = OceanFiles.scan(tmp_path)
    blocks = open_reader(files).blocks(files.record(START), START, ["thetao", "so", "uo", "zos"])
    found = [(b.name, b.levels.start, b.levels.stop) for b in blocks]
    assert found == [
        ("thetao", 0, 1), ("thetao", 1, 2), ("thetao", 2, 3), ("so", 0, 3),
        ("uo", 0, 3), ("zos", 0, 1),
    ]  # fmt: skip
    for block in blocks:  # uo is not chunked
        np.testing.assert_array_equal(
            block.load().raw, stored(START, block.name)[block.levels], err_msg=block.name
        )


@pytest.mark.parametrize("kind", ["i1", "i4", "u2", "f8"])
def test_other_types_of_packing_are_brought_to_those_of_the_product(tmp_path, kind):
    """They become float32 (or int16 where that is exact); the marker is rounded with them."""
    path = originals(tmp_path) / raw.ocean_name(START)
    fill = {"i1": -100, "i4": -(2**30), "u2": 65535, "f8": 1e20}[kind]
    values = np.arange(raw.LAT.size * raw.LON.size).reshape(raw.LAT.size, -1) % 90
    with netCDF4.Dataset(path, "a") as file:
        file.renameVariable("zos", "old")
        axes = ("time", "latitude", "longitude")
        variable = file.createVariable("zos", kind, axes, fill_value=fill)
        variable.setncatts({"units": "m", "scale_factor": 0.1, "add_offset": -4.0})
        variable.set_auto_maskandscale(False)
        variable[0] = np.where(values == 7, fill, values)
    ((_, field),) = read(tmp_path, START)["zos"]
    assert field.raw.dtype == (np.int16 if kind == "i1" else np.float32)
    expected = np.where(values == 7, np.nan, values * 0.1 - 4.0)
    np.testing.assert_allclose(field.unpack()[0], expected, rtol=1e-6)


def test_a_float_marker_is_found_though_its_attribute_is_double(tmp_path):
    path = subset(tmp_path / "a.nc", packed=False) / "a.nc"
    with netCDF4.Dataset(path, "a") as file:
        file["zos"].setncattr("missing_value", np.float64(1e20))
        file["zos"][0, 4, 4] = np.float32(1e20)
    ((_, field),) = read(tmp_path, START)["zos"]
    # In compiled code a float32 and a marker that is no float32 would never be equal.
    assert all(np.float64(np.float32(marker)) == marker for marker in field.missing)
    assert np.isnan(field.unpack()[0, 4, 4])


def ice_file(folder):
    """The first original, with a concentration packed in its own way."""
    path = originals(folder) / raw.ocean_name(START)
    values = np.arange(raw.LAT.size * raw.LON.size).reshape(raw.LAT.size, -1) % 100
    with netCDF4.Dataset(path, "a") as file:
        axes = ("time", "latitude", "longitude")
        for name in ICE:
            variable = file.createVariable(name, "i2", axes, fill_value=-99, zlib=True)
            units = {"siconc": "1", "sithick": "m"}.get(name, "m s-1")
            variable.setncatts({"units": units, "scale_factor": 0.01, "add_offset": 0.0})
            variable.set_auto_maskandscale(False)
            variable[0] = np.where(values < 20, -99, values)
    return path, np.where(values < 20, np.nan, values * 0.01)


def test_sea_ice_is_read_with_the_packing_of_the_file(tmp_path):
    _, expected = ice_file(tmp_path)
    for blocks in read(tmp_path, START, ICE).values():
        np.testing.assert_allclose(joined(blocks, "unpack")[0], expected)


def test_sea_ice_that_is_absent_is_named_only_when_it_is_asked_for(tmp_path):
    folder = subset(tmp_path / "s" / "a.nc")
    assert set(read(folder, START)) == set(PROGNOSTIC)
    with pytest.raises(UserError, match=r"a\.nc: variable siconc is absent on 2000-02-28"):
        read(folder, START, ["thetao", "siconc"])
    with pytest.raises(UserError, match=r"R20000306\.nc: variable usi is absent on 2000-02-28"):
        read(originals(tmp_path / "o"), START, ["usi"])


def test_threads_read_the_same_bytes(tmp_path):
    subset(tmp_path / "s" / "ts.nc", names=["thetao", "so"])
    subset(tmp_path / "s" / "uv.nc", names=["uo", "vo"], compressed=False)
    subset(tmp_path / "s" / "zos.zarr", names=["zos"], zarr_format=3)
    files = OceanFiles.scan(tmp_path / "s")
    reader = open_reader(files)

    def one(number):
        day = DAYS[number % 3]
        mine = reader if number % 2 else open_reader(files)  # headers too are read by threads
        blocks = mine.blocks(files.record(day), day, PROGNOSTIC)
        return [(block.name, block.load().raw.tobytes()) for block in blocks]

    alone = [one(number) for number in range(3)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(one, range(24)))
    assert all(found == alone[number % 3] for number, found in enumerate(together))


def test_a_header_is_read_once_a_file(tmp_path, monkeypatch):
    folder = subset(tmp_path / "s" / "a.nc")
    files = OceanFiles.scan(folder)
    reader, opened = open_reader(files), []

    class Counted(SourceFile):
        def __init__(self, path, when):
            opened.append(path)
            super().__init__(path, when)

    monkeypatch.setattr(ocean, "SourceFile", Counted)
    for day in DAYS:
        for block in reader.blocks(files.record(day), day, PROGNOSTIC):
            block.load()
    assert opened == [folder / "a.nc"]


def refusal(folder, day=START, names=PROGNOSTIC):
    files = OceanFiles.scan(folder)
    record = files.record(day)
    raw.write_ocean_days(folder.parent / "good", START, 1)
    reader = open_reader(OceanFiles.scan(folder.parent / "good"))
    with pytest.raises(UserError) as error:
        for block in reader.blocks(record, day, names):
            block.load()
    (line,) = str(error.value).splitlines()
    return line


def has(line, *words):
    missing = [str(word) for word in words if str(word) not in line]
    assert not missing, f"{missing} not in {line}"


def test_a_spoiled_chunk_names_file_variable_and_day(tmp_path):
    path = originals(tmp_path / "o") / raw.ocean_name(START)
    with SourceFile(path) as file:
        index = ocean.index_chunks(path, ["uo"])["uo"]
        assert file.is_hdf5
    with open(path, "r+b") as file:
        file.seek(int(index.offsets.max()) + 30)
        file.write(b"\xff" * 20)
    has(refusal(tmp_path / "o"), path, "uo", START, "damaged", "fetch")


def test_a_file_cut_off_names_itself(tmp_path):
    path = originals(tmp_path / "o") / raw.ocean_name(START)
    os.truncate(path, path.stat().st_size // 2)
    has(refusal(tmp_path / "o"), path, START, "truncated")


def test_a_spoiled_chunk_of_a_store_names_store_variable_and_day(tmp_path):
    folder = subset(tmp_path / "s" / "a.zarr", zarr_format=3)
    for chunk in (folder / "a.zarr" / "vo" / "c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(chunk.read_bytes()[:20])
    has(refusal(folder), "a.zarr", "vo", START, "damaged", "fetch")


def test_a_file_that_has_gone_is_named(tmp_path):
    files = OceanFiles.scan(originals(tmp_path / "o"))
    reader = open_reader(files)
    files.record(DAYS[1]).path.unlink()
    with pytest.raises(UserError, match=r"20000229_R20000307\.nc: is gone"):
        reader.blocks(files.record(DAYS[1]), DAYS[1], ["thetao"])


def test_headers_are_held_to_those_of_the_first_file(tmp_path):
    def changed(number, change):
        folder = originals(tmp_path / str(number) / "o")
        with netCDF4.Dataset(folder / raw.ocean_name(START), "a") as file:
            change(file)
        return refusal(folder)

    has(changed(1, lambda f: setattr(f["so"], "units", "K")), "so", "'K'", "'1e-3'", START)
    has(changed(2, lambda f: f["depth"].__setitem__(2, 60.0)), "depth point 2 is 60")
    has(changed(3, lambda f: f.renameVariable("vo", "v")), "vo is absent", START)
    has(changed(4, lambda f: f["time"].__setitem__(0, 24.0)), "1950-01-02", START)
    has(changed(5, lambda f: f["latitude"].__setitem__(0, -84.0)), "lat point 0 is -84")
    has(changed(6, lambda f: setattr(f["time"], "calendar", "noleap")), "standard calendar")


def test_a_box_among_global_files_is_refused(tmp_path):
    folder = subset(tmp_path / "s" / "box.nc", box=(slice(0, 9), slice(0, 36)))
    has(refusal(folder), "box.nc", "lat has 9 points where the first file has 18")


def test_a_record_of_another_day_of_the_file_is_refused(tmp_path):
    folder = subset(tmp_path / "s" / "a.nc")
    reader = open_reader(OceanFiles.scan(folder))
    with pytest.raises(UserError, match=r"expected one daily mean of 2000-02-29"):
        reader.blocks(Record(folder / "a.nc", 0, False), DAYS[1], ["thetao"])
