from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

from hybridom.data.raw.packed import PackedField
from hybridom.data.regrid import FusedRegridder, Regridder
from hybridom.grid import Grid

STEP = 1.0
LAT = np.arange(-80.0, 90.1, STEP)  # the last row is a pole, as in GLORYS12V1
LON = np.arange(-180.0, 180.0, STEP)
PART_LON = LON[(LON <= -140.0) | (LON >= 120.0)]  # a part of the circle across the date line
SCALE, OFFSET, FILL = 7.32444226741791e-4, 21.0, -32767
GRIDS = {
    "six cells a side": Grid.regular(6.0, depths=(5.0, 50.0, 500.0)),
    "three cells a side": Grid.regular(3.0, depths=(5.0, 50.0, 500.0)),
    "no multiple": Grid.regular(2.5, depths=(5.0, 50.0, 500.0)),
    "finer than the source": Grid.regular(0.75, lat=(-9.0, 9.0), lon=(-9.0, 9.0)),
    "across the date line": Grid.regular(3.0, lat=(15.0, 60.0), lon=(120.0, 210.0)),
    "east of the date line": Grid.regular(3.0, lat=(15.0, 60.0), lon=(181.0, 220.0)),
    "one cell": Grid.regular(180.0, lat=(-90.0, 90.0), lon=(-180.0, 180.0)),
}
ALL = slice(0, 3)


def make_wet(lon=LON):
    rng = np.random.default_rng(0)
    wet = rng.random((3, LAT.size, lon.size)) > 0.1
    wet[:, :4] = False
    wet[:, 60:100, 20:60] = False
    wet[1:, :, 60:70] = False
    wet[2] &= wet[1] & (rng.random(wet.shape[1:]) > 0.5)
    return wet


@pytest.fixture(scope="module")
def wet():
    return make_wet()


def temperature(wet, seed=1):
    """Plausible temperatures, packed as in GLORYS12V1, with the fill value on land."""
    rng = np.random.default_rng(seed)
    values = 28.0 * np.cos(np.radians(LAT))[:, None] ** 2 - 1.0 + 0.3 * rng.normal(size=wet.shape)
    raw = np.where(wet, np.round((values - OFFSET) / SCALE), FILL).astype(np.int16)
    return PackedField(raw, SCALE, OFFSET, (float(FILL),))


@pytest.fixture(scope="module")
def packed(wet):
    return temperature(wet)


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())
def test_agrees_with_the_exact_sparse_form(grid, wet, packed):
    fused, exact = FusedRegridder(LAT, LON, grid, wet), Regridder(LAT, LON, grid, wet)
    expected = exact(packed.unpack())
    found = fused(packed, ALL)
    assert found.values.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(found.values), np.isnan(expected))
    np.testing.assert_allclose(found.values, expected, rtol=2e-7, atol=2e-6)
    np.testing.assert_array_equal(fused.wet_area, exact.wet_area)
    np.testing.assert_array_equal(fused.wet_fraction, exact.wet_fraction)
    total = np.nansum(found.values * exact.wet_area, axis=(1, 2), dtype=np.float64)
    np.testing.assert_allclose(total, np.nansum(expected * exact.wet_area, axis=(1, 2)), rtol=1e-6)


def test_a_source_across_the_date_line_serves_a_box_there(packed):
    grid = GRIDS["across the date line"]
    whole, part = make_wet(), make_wet()[:, :, np.isin(LON, PART_LON)]
    inside = packed._replace(raw=packed.raw[:, :, np.isin(LON, PART_LON)])
    np.testing.assert_array_equal(
        FusedRegridder(LAT, PART_LON, grid, part)(inside, ALL).values,
        FusedRegridder(LAT, LON, grid, whole)(packed, ALL).values,
    )


def test_unpacked_float32_gives_the_same_as_packed_values(wet, packed):
    fused = FusedRegridder(LAT, LON, GRIDS["no multiple"], wet)
    floats = PackedField(packed.unpack().astype(np.float32))
    found, expected = fused(floats, ALL), fused(packed, ALL)
    np.testing.assert_allclose(found.values, expected.values, rtol=3e-7, atol=3e-6)
    assert found.low == pytest.approx(expected.low, rel=1e-6)
    assert found.high == pytest.approx(expected.high, rel=1e-6)
    assert found.missing == 0


@pytest.mark.parametrize("raw", [-32766, -28672, 0, 7, 32767])
def test_a_packed_constant_stays_constant_to_the_last_bit(raw, wet):
    fused = FusedRegridder(LAT, LON, GRIDS["no multiple"], wet)
    values = np.where(wet, raw, FILL).astype(np.int16)
    found = fused(PackedField(values, SCALE, OFFSET, (float(FILL),)), ALL)
    expected = np.float32(raw * SCALE + OFFSET)
    assert set(found.values[np.isfinite(found.values)].tolist()) == {float(expected)}
    assert found.low == found.high == raw * SCALE + OFFSET


@pytest.mark.parametrize("kind", ["packed", "float32"])
def test_extremes_are_those_of_the_wet_cells_under_the_grid(kind, wet, packed):
    grid = GRIDS["across the date line"]
    values = packed.unpack()
    if kind == "float32":
        packed = PackedField(values.astype(np.float32))
    far = (LAT < 14.0)[:, None] | (LAT > 61.0)[:, None] | ((LON > -149.0) & (LON < 119.0))
    near = (LAT >= 15.0)[:, None] & (LAT <= 60.0)[:, None] & ((LON <= -150.0) | (LON >= 120.0))
    raw = packed.raw.copy()
    raw[:, far] = raw[wet].max()
    found = FusedRegridder(LAT, LON, grid, wet)(packed._replace(raw=raw), ALL)
    assert found.low == pytest.approx(values[near & wet].min(), rel=1e-6)
    assert found.high == pytest.approx(values[near & wet].max(), rel=1e-6)


def test_levels_choose_the_levels_of_the_mask(wet, packed):
    fused = FusedRegridder(LAT, LON, GRIDS["six cells a side"], wet)
    whole = fused(packed, ALL).values
    for levels in (slice(0, 1), slice(1, 3), slice(2, 3)):
        part = fused(packed._replace(raw=packed.raw[levels]), levels).values
        np.testing.assert_array_equal(part, whole[levels])


def test_a_field_of_other_levels_or_cells_is_refused(wet, packed):
    fused = FusedRegridder(LAT, LON, GRIDS["six cells a side"], wet)
    with pytest.raises(ValueError, match="shape"):
        fused(packed, slice(0, 2))
    with pytest.raises(ValueError, match="shape"):
        fused(packed._replace(raw=packed.raw[:, 1:]), ALL)


@pytest.mark.parametrize("kind", ["packed", "NaN"])
def test_a_value_missing_in_the_ocean_is_counted_and_left_out(kind, wet, packed):
    rng = np.random.default_rng(5)
    gone = wet & (rng.random(wet.shape) < 0.02)
    gone[0, 30:42, 100:112] = wet[0, 30:42, 100:112]  # a target cell that loses all it has
    if kind == "NaN":
        packed = PackedField(packed.unpack().astype(np.float32))
    raw = packed.raw.copy()
    raw[gone] = FILL if kind == "packed" else np.nan
    grid = GRIDS["six cells a side"]
    found = FusedRegridder(LAT, LON, grid, wet)(packed._replace(raw=raw), ALL)
    assert found.missing == gone.sum()
    kept = wet & ~gone
    expected = Regridder(LAT, LON, grid, kept)(packed.unpack())
    assert (
        np.isnan(expected[:, 5:20]).sum()
        > np.isnan(Regridder(LAT, LON, grid, wet)(packed.unpack())[:, 5:20]).sum()
    )
    np.testing.assert_allclose(found.values, expected, rtol=3e-7, atol=3e-6)
    assert found.low == pytest.approx(packed.unpack()[kept].min(), rel=1e-6)
    assert found.high == pytest.approx(packed.unpack()[kept].max(), rel=1e-6)


@pytest.mark.parametrize("marker", [(), (1e20,), (-32767.0, 100.0), (float("nan"), -32767.0)])
def test_markers_are_those_that_the_type_can_hold(marker, wet):
    raw = np.full(wet.shape, 100, np.int16)
    raw[:, 40] = FILL
    found = FusedRegridder(LAT, LON, GRIDS["six cells a side"], wet)(
        PackedField(raw, missing=marker), ALL
    )
    held = [m for m in marker if m in (-32767.0, 100.0)]
    assert found.missing == int((np.isin(raw, held) & wet).sum())


def test_an_absent_value_takes_the_given_one_everywhere(wet):
    rng = np.random.default_rng(7)
    ice = np.where(rng.random(wet.shape) < 0.2, rng.random(wet.shape), np.nan)
    ice[:, 20:120] = np.nan  # whole rows of open water
    scale, offset = 3.8e-5, -3.8e-5
    raw = np.where(np.isnan(ice), FILL, np.round((ice - offset) / scale)).astype(np.int16)
    packed = PackedField(raw, scale, offset, (float(FILL),))
    grid = GRIDS["no multiple"]
    found = FusedRegridder(LAT, LON, grid, wet)(packed, ALL, absent=0.0)
    filled = np.nan_to_num(packed.unpack())
    np.testing.assert_allclose(
        found.values, Regridder(LAT, LON, grid, wet)(filled), rtol=5e-7, atol=0
    )
    assert found.missing == 0
    assert found.low == 0.0
    assert found.high == pytest.approx(filled[wet].max())


def test_without_any_value_all_is_missing(wet):
    raw = np.full(wet.shape, FILL, np.int16)
    found = FusedRegridder(LAT, LON, GRIDS["six cells a side"], wet)(
        PackedField(raw, 1.0, 0.0, (FILL,)), ALL
    )
    assert np.isnan(found.values).all()
    assert found.missing == wet.sum()
    assert np.isnan(found.low)
    assert np.isnan(found.high)


def test_an_infinite_value_shows_in_the_extremes(wet, packed):
    values = packed.unpack().astype(np.float32)
    values[tuple(np.argwhere(wet)[500])] = np.inf
    fused = FusedRegridder(LAT, LON, GRIDS["six cells a side"], wet)
    found = fused(PackedField(values), ALL)
    assert found.high == np.inf
    assert np.isfinite(found.low)


def test_values_on_land_do_not_matter(wet, packed):
    fused = FusedRegridder(LAT, LON, GRIDS["six cells a side"], wet)
    raw = np.where(wet, packed.raw, 32000).astype(np.int16)
    other = fused(packed._replace(raw=raw), ALL)
    np.testing.assert_array_equal(other.values, fused(packed, ALL).values)
    assert other.high < 40.0


def test_memory_order_and_byte_order_do_not_matter(wet, packed):
    fused = FusedRegridder(LAT, LON, GRIDS["six cells a side"], wet)
    expected = fused(packed, ALL).values
    upside_down = np.ascontiguousarray(packed.raw[:, ::-1])[:, ::-1]
    for raw in (upside_down, np.asfortranarray(packed.raw), packed.raw.astype(">i2")):
        np.testing.assert_array_equal(fused(packed._replace(raw=raw), ALL).values, expected)


def test_a_negative_scale_keeps_the_extremes_in_order(wet, packed):
    fused = FusedRegridder(LAT, LON, GRIDS["six cells a side"], wet)
    found = fused(packed._replace(scale=-SCALE), ALL)
    assert found.low < found.high
    expected = -(fused(packed, ALL).values.astype(np.float64) - OFFSET) + OFFSET
    np.testing.assert_allclose(found.values, expected, atol=6e-6)


def test_threads_that_share_a_regridder_do_not_disturb_one_another(wet):
    fused = FusedRegridder(LAT, LON, GRIDS["three cells a side"], wet)
    fields = [temperature(wet, seed) for seed in range(4)]
    expected = [fused(field, ALL).values for field in fields]
    found = [None] * 4

    def work(n):
        for _ in range(5):
            found[n] = fused(fields[n], ALL).values

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_compiled_loops_are_found_again_by_the_next_process(wet, packed):
    FusedRegridder(LAT, LON, GRIDS["six cells a side"], wet)(packed, ALL)
    code = (
        "import numpy as np\n"
        "from hybridom.data.raw.packed import PackedField\n"
        "from hybridom.data.regrid import FusedRegridder\n"
        "from hybridom.data.regrid.kernels import average_levels\n"
        "from hybridom.grid import Grid\n"
        "lat, lon = np.arange(-85.0, 90.0, 10.0), np.arange(-180.0, 180.0, 10.0)\n"
        "wet = np.ones((1, lat.size, lon.size), bool)\n"
        "fused = FusedRegridder(lat, lon, Grid.regular(20.0, lat=(-80.0, 80.0)), wet)\n"
        "fused(PackedField(np.zeros(wet.shape, np.int16)), slice(0, 1))\n"
        "print(sum(average_levels.stats.cache_hits.values()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["1"]


def test_cells_that_are_not_kept_become_nan_and_the_others_stay(wet, packed):
    grid = GRIDS["three cells a side"]
    fused = FusedRegridder(LAT, LON, grid, wet)
    whole = fused(packed, ALL).values
    keep = np.random.default_rng(3).random(whole.shape) > 0.4
    fused.keep_only(keep)
    found = fused(packed, ALL).values
    np.testing.assert_array_equal(found, np.where(keep, whole, np.float32(np.nan)))
