"""Chunks read past the HDF5 library hold what the library reads, bit for bit."""

from __future__ import annotations

import itertools
import os

import h5py
import netCDF4
import numpy as np
import pytest

from hybridom.data.raw.axes import Orientation
from hybridom.data.raw.chunks import DamagedChunk, index_chunks, layers

SHAPE = (3, 5, 11, 13)
CHUNK = (2, 3, 4, 5)  # overhangs along every axis
AS_IS = Orientation(False, None)


def numbers(shape, kind, seed=0):
    """All bit patterns are likely, those of NaN among them."""
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    octets = np.random.default_rng(seed).integers(0, 256, size, np.uint8)
    return octets.view(kind).reshape(shape)


def write(path, values, **options):
    names = ("time", "depth", "latitude", "longitude")
    names = names if values.ndim == 4 else (names[0], *names[2:])
    with netCDF4.Dataset(path, "w") as file:
        for name, size in zip(names, values.shape, strict=True):
            file.createDimension(name, size)
        endian = "little" if values.dtype.str[0] == "<" else "big"
        variable = file.createVariable("x", values.dtype, names, endian=endian, **options)
        variable[:] = values
    return path


def by_the_library(path, step, levels):
    with netCDF4.Dataset(path) as file:
        file.set_auto_maskandscale(False)
        raw = file["x"][step]
    return raw[levels] if raw.ndim == 3 else raw[None]


def assert_same_bits(found, expected):
    assert found.dtype.isnative and found.flags.c_contiguous
    assert found.dtype == expected.dtype.newbyteorder("=")
    expected = np.ascontiguousarray(expected.astype(found.dtype, copy=False))
    np.testing.assert_array_equal(found.view(np.uint8), expected.view(np.uint8))


FORMS = [
    {"zlib": deflate, "complevel": 1, "shuffle": shuffle, "fletcher32": fletcher}
    for deflate, shuffle, fletcher in itertools.product((True, False), repeat=3)
    if deflate or not fletcher
]


@pytest.mark.parametrize("form", FORMS, ids=lambda f: "-".join(k for k in f if f[k] is True))
@pytest.mark.parametrize("kind", ["<i2", ">i2", "<f4", ">f4"])
def test_every_form_of_compression_is_read_as_the_library_reads_it(tmp_path, form, kind):
    path = write(tmp_path / "a.nc", numbers(SHAPE, kind), chunksizes=CHUNK, **form)
    variable = index_chunks(path, ["x"])["x"]
    for step, levels in itertools.product(range(3), ([0], [4], [1, 2], [0, 3, 4], range(5))):
        levels = np.array(levels)
        found = variable.read(step, levels, AS_IS)
        assert_same_bits(found, by_the_library(path, step, levels))


@pytest.mark.parametrize("seed", range(12))
def test_any_chunking_is_read_as_the_library_reads_it(tmp_path, seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 14, 3 + seed % 2))
    chunk = tuple(int(rng.integers(1, size + 1)) for size in shape)
    kind = ("i2", "f4")[seed // 2 % 2]
    path = write(tmp_path / "a.nc", numbers(shape, kind, seed), zlib=True, chunksizes=chunk)
    variable = index_chunks(path, ["x"])["x"]
    for step in range(shape[0]):
        levels = np.arange(shape[1]) if len(shape) == 4 else np.zeros(1, int)
        assert_same_bits(variable.read(step, levels, AS_IS), by_the_library(path, step, levels))


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("order", [None, np.roll(np.arange(13), 6), np.arange(13)[::-1]])
def test_values_are_turned_while_they_are_read(tmp_path, shuffle, flip, order):
    values = numbers(SHAPE, "i2")
    path = write(tmp_path / "a.nc", values, zlib=True, shuffle=shuffle, chunksizes=CHUNK)
    turned = Orientation(flip, order)
    found = index_chunks(path, ["x"])["x"].read(1, np.array([0, 2, 4]), turned)
    assert_same_bits(found, turned.turn(values[1, [0, 2, 4]]))


@pytest.mark.parametrize("turned", [AS_IS, Orientation(True, np.roll(np.arange(13), 6))])
def test_chunks_that_were_never_written_hold_the_fill_value(tmp_path, turned):
    path = tmp_path / "a.nc"
    values = numbers(SHAPE, "i2")
    with netCDF4.Dataset(path, "w") as file:
        for name, size in zip("abcd", SHAPE, strict=True):
            file.createDimension(name, size)
        file.createVariable("x", "i2", tuple("abcd"), zlib=True, chunksizes=CHUNK, fill_value=-7)
        file["x"][:, 1:4, 2:6, 7:] = values[:, 1:4, 2:6, 7:]
    variable = index_chunks(path, ["x"])["x"]
    assert (variable.offsets < 0).any() and (variable.offsets > 0).any()
    levels = np.arange(5)
    expected = turned.turn(by_the_library(path, 2, levels))
    assert (expected == -7).sum() > expected.size / 2
    assert_same_bits(variable.read(2, levels, turned), expected)


def test_a_chunk_that_was_stored_without_one_of_the_filters_is_read(tmp_path):
    path, values = tmp_path / "a.h5", numbers((1, 4, 6), "i2")
    with h5py.File(path, "w") as file:
        data = file.create_dataset(
            "x", values.shape, "<i2", chunks=(1, 4, 3), compression=1, shuffle=True
        )
        data[...] = values
        plain = np.ascontiguousarray(values[:, :, 3:]).tobytes()
        data.id.write_direct_chunk((0, 0, 3), plain, filter_mask=0b11)
    found = index_chunks(path, ["x"])["x"].read(0, np.zeros(1, int), AS_IS)
    assert_same_bits(found, values)


@pytest.mark.parametrize("order", [*itertools.permutations("sdf"), ("d", "s"), ("d", "f")])
def test_filters_are_undone_in_any_order_or_left_to_the_library(tmp_path, order):
    path, values = tmp_path / "a.h5", numbers((1, 7, 10), "i2")
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((1, 4, 3))
    add = {"s": plist.set_shuffle, "d": lambda: plist.set_deflate(1), "f": plist.set_fletcher32}
    for name in order:
        add[name]()
    with h5py.File(path, "w") as file:
        space = h5py.h5s.create_simple(values.shape)
        data = h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_INT16, space, plist)
        data.write(h5py.h5s.ALL, h5py.h5s.ALL, values)
    found = index_chunks(path, ["x"])
    if "s" in order and order.index("d") < order.index("s"):
        assert not found
    else:
        assert_same_bits(found["x"].read(0, np.zeros(1, int), AS_IS), values)


def test_forms_that_need_the_library_are_left_to_it(tmp_path):
    path = tmp_path / "a.h5"
    values = numbers((2, 4, 6), "i2")
    with h5py.File(path, "w") as file:
        file.create_dataset("contiguous", data=values)
        file.create_dataset("lzf", data=values, chunks=(1, 4, 6), compression="lzf")
        file.create_dataset("packed", data=values, chunks=(1, 4, 6), scaleoffset=0)
        file.create_dataset("checked", data=values, chunks=(1, 4, 6), fletcher32=True)
        file.create_dataset("double", data=values.astype("f8"), chunks=(1, 4, 6), compression=1)
        file.create_dataset("flat", data=values[0], chunks=(4, 6), compression=1)
        names = list(file)
    assert index_chunks(path, names) == {}
    with h5py.File(tmp_path / "b.h5", "w", userblock_size=512) as file:
        file.create_dataset("x", data=values, chunks=(1, 4, 6), compression=1)
    assert index_chunks(tmp_path / "b.h5", ["x"]) == {}


def spoiled(tmp_path, form):
    """A file and the offset and size of its last chunk."""
    path = write(tmp_path / "a.nc", numbers((1, 2, 9, 9), "i2"), chunksizes=(1, 1, 9, 9), **form)
    variable = index_chunks(path, ["x"])["x"]
    return path, int(variable.offsets[0, 1, 0, 0]), int(variable.sizes[0, 1, 0, 0])


DEFLATED = {"zlib": True, "complevel": 1, "shuffle": True}
CHECKED = DEFLATED | {"fletcher32": True}


@pytest.mark.parametrize("place", [0.0, 0.5, 0.999], ids=["head", "middle", "checksum"])
@pytest.mark.parametrize("form", [DEFLATED, CHECKED], ids=["deflate", "fletcher32"])
def test_a_spoiled_chunk_is_noticed_and_the_others_are_read(tmp_path, place, form):
    path, offset, size = spoiled(tmp_path, form)
    with open(path, "r+b") as file:
        file.seek(offset + int(place * (size - 1)))
        octet = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([octet ^ 0x55]))
    variable = index_chunks(path, ["x"])["x"]
    with pytest.raises(DamagedChunk, match=r"chunk \(0, 1, 0, 0\)"):
        variable.read(0, np.array([0, 1]), AS_IS)
    assert variable.read(0, np.array([0]), AS_IS).shape == (1, 9, 9)


@pytest.mark.parametrize("form", [DEFLATED, {"shuffle": False}], ids=["deflated", "plain"])
def test_a_file_cut_off_after_it_was_indexed_is_noticed(tmp_path, form):
    path, offset, size = spoiled(tmp_path, form)
    variable = index_chunks(path, ["x"])["x"]
    os.truncate(path, offset + size - 1)
    with pytest.raises(DamagedChunk, match="cut off"):
        variable.read(0, np.array([1]), AS_IS)


def test_levels_are_parted_by_layers_of_chunks():
    levels = np.array([0, 2, 6, 7, 20, 21, 30])
    assert layers(levels, 7) == [slice(0, 3), slice(3, 4), slice(4, 5), slice(5, 6), slice(6, 7)]
    assert layers(levels, 50) == [slice(0, 7)]
    assert layers(levels, 1) == [slice(n, n + 1) for n in range(7)]
    assert layers(np.zeros(1, int), 1) == [slice(0, 1)]
