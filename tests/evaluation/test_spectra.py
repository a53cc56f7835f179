from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from scipy.signal import periodogram as scipy_periodogram

from hybridom.config.output import BootstrapConfig, EvaluationConfig
from hybridom.constants import EARTH_RADIUS
from hybridom.errors import UserError
from hybridom.evaluation import averages, spectra
from hybridom.evaluation.averages import average
from hybridom.evaluation.families import FAMILIES
from hybridom.evaluation.segments import Bins, Stretches, periodogram, row_starts
from hybridom.evaluation.spectra import effective_resolution
from hybridom.evaluation.tables import write_parquet
from hybridom.grid import Grid
from tests.evaluation.in_memory import make_case, scored


def settings(segment=40.0, depths=(0.0,)):
    return EvaluationConfig(spectra={"segment": segment, "depths": depths})


def width_km(grid, row):
    return (
        1e-3
        * EARTH_RADIUS
        * math.cos(math.radians(grid.lat[row]))
        * math.radians(grid.lon_bounds[1] - grid.lon_bounds[0])
    )


def band_of_rows(resolution=5.0, rows=2, **more):
    """Rows on both sides of the equator, all of one width at two rows."""
    edge = resolution * rows / 2
    return Grid.regular(resolution, lat=(-edge, edge), **more)


def pick(table, **keys):
    keep = np.ones(len(table), bool)
    for column, key in keys.items():
        keep &= (table[column].isna() if key is None else table[column] == key).to_numpy()
    return table[keep]


def noise(seed, leads, shape):
    return np.random.default_rng(seed).normal(0, 1, (leads, *shape))


def running_mean(x, cells):
    half = cells // 2
    return sum(np.roll(x, k, axis=-1) for k in range(-half, half + 1)) / cells


def response(cells, per_cell):
    """Power that a running mean leaves at a wavenumber in cycles per cell."""
    x = np.pi * per_cell
    return (np.sin(cells * x) / (cells * np.sin(x))) ** 2


@pytest.mark.parametrize("cells", [8, 9, 24, 81])
def test_the_periodogram_is_that_of_scipy(cells):
    x = np.random.default_rng(cells).normal(3, 2, (6, cells)) + 0.7 * np.arange(cells)
    expected = scipy_periodogram(x, window="hann", detrend="linear")[1]
    np.testing.assert_allclose(periodogram(x), expected, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(periodogram(x), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("cells", [9, 24])
def test_the_sum_of_the_spectrum_is_the_variance_under_the_window(cells):
    x = np.random.default_rng(0).normal(0, 2, cells)
    line = np.polyval(np.polyfit(np.arange(cells), x, 1), np.arange(cells))
    window = np.sin(np.pi * np.arange(cells) / cells) ** 2
    expected = (window**2 * (x - line) ** 2).sum() / (window**2).sum()
    assert periodogram(x).sum() / cells == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("segment", [40.0, 45.0])
def test_no_variance_is_lost_between_bins(segment):
    grid = Grid.regular(5.0, lat=(-75, 75))
    bins = Bins.of(grid, segment)
    stretches = Stretches.of(np.ones((grid.ny, grid.nx), bool), bins, True)
    x = noise(1, 1, (grid.ny, grid.nx))[0]
    power = periodogram(x[stretches.row[:, None], stretches.columns])
    expected = power[:, 1:].sum(axis=1) / bins.cells
    np.testing.assert_allclose(stretches.variance(x).sum(axis=1), expected, rtol=1e-12)
    # From the longest to the shortest wavelength of the row, all is covered.
    spacing = bins.spacing[stretches.row]
    whole = 0.5 / spacing - 0.5 / (bins.cells * spacing)
    np.testing.assert_allclose(stretches.covered.sum(axis=1), whole, rtol=1e-12)


def test_bins_are_those_of_the_row_nearest_the_equator_then_eight_an_octave():
    bins = Bins.of(Grid.regular(0.5), 40.0)
    widest = bins.spacing.max()
    assert bins.cells == 80
    harmonic = bins.edges * bins.cells * widest
    np.testing.assert_allclose(harmonic[:11], np.arange(11) + 0.5)
    np.testing.assert_allclose(bins.wavelength[:10], 80 * widest / np.arange(1, 11))
    octaves = np.diff(np.log2(harmonic))
    assert (octaves >= 1 / 8 - 1e-9).all()
    assert octaves[11:].max() < 0.25
    assert harmonic[-1] == pytest.approx(4 * 40)
    narrow = Bins.of(Grid.regular(0.5, lat=(-30, 30)), 40.0)
    assert 0.5 / narrow.edges[-1] == pytest.approx(narrow.spacing.min())
    assert not Bins.of(Grid.regular(30.0), 40.0).usable
    assert Bins.of(Grid.regular(1.0, lon=(0, 12)), 40.0).cells == 12


@pytest.mark.parametrize("periodic", [True, False])
def test_stretches_hold_no_land_and_overlap_by_half(periodic):
    rng = np.random.default_rng(5)
    for _ in range(50):
        wet = rng.random(40) > 0.08
        wet[3] = False
        if not periodic:
            wet[0] = wet[-1] = True
        starts = row_starts(wet, 8, periodic)
        expected = set()
        for first in range(40):
            before = wet[first - 1] if first or periodic else False
            if not wet[first] or before:
                continue
            place = first
            while all((periodic or k < 40) and wet[k % 40] for k in range(place, place + 8)):
                expected.add(place % 40)
                place += 4
        assert set(starts) == expected
        assert len(starts) == len(expected)
    assert list(row_starts(np.ones(40, bool), 8, True)) == list(range(0, 40, 4))
    assert list(row_starts(np.ones(42, bool), 8, True)) == [int(42 * k / 10) for k in range(10)]
    assert list(row_starts(np.ones(20, bool), 8, False)) == [0, 4, 8, 12]
    assert row_starts(np.zeros(20, bool), 8, True).size == 0


def brute_psd(case, bins, wet, region, pairs):
    """Loops over rows, stretches, wavenumbers and bins, with SciPy's periodogram."""
    grid, cells = case.grid, bins.cells
    total, cover = np.zeros(len(bins.edges) - 1), np.zeros(len(bins.edges) - 1)
    for j in range(grid.ny):
        dx = width_km(grid, j)
        for start in row_starts(wet[j], cells, grid.periodic):
            columns = [(start + n) % grid.nx for n in range(cells)]
            if not case.regions.inside[region, j, columns[cells // 2]]:
                continue
            psd = sum(
                factor
                * scipy_periodogram(x[j, columns], fs=1 / dx, window="hann", detrend="linear")[1]
                for factor, x in pairs
            )
            for m in range(1, cells // 2 + 1):
                step = 1 / (cells * dx)
                low, high = (m - 0.5) * step, (m + 0.5) * step
                if 2 * m == cells:
                    high = m * step
                density = psd[m] * step / (high - low)
                for b, (a, z) in enumerate(itertools.pairwise(bins.edges)):
                    overlap = max(0.0, min(z, high) - max(a, low))
                    if overlap > 1e-9 * (z - a):
                        total[b] += cells * dx * density * overlap
                        cover[b] += cells * dx * overlap
    with np.errstate(invalid="ignore"):
        return total / cover


@pytest.mark.parametrize("segment", [80.0, 90.0])
def test_every_density_equals_loops_over_stretches(segment):
    grid = Grid.regular(10.0, lat=(-80, 80), depths=(5.0, 50.0, 200.0))
    rng = np.random.default_rng(8)
    wet = np.logical_and.accumulate(rng.random(grid.shape) > 0.03, axis=0)
    fields = {}
    for system in ("truth", "model"):
        fields[system] = {
            name: np.where(wet, rng.normal(1, 2, (2, *grid.shape)), np.nan)
            for name in ("thetao", "so", "uo", "vo")
        }
        fields[system]["zos"] = np.where(wet[0], rng.normal(0, 1, (2, *grid.shape)), np.nan)[:, :1]
    boxes = {"north": (0.0, 90.0, -180.0, 180.0), "pacific": (-60.0, 60.0, 140.0, -100.0)}
    case = make_case(grid, wet, fields["truth"], {"model": fields["model"]}, boxes)
    table = scored(spectra, case, settings(segment, depths=(0.0, 60.0, 40.0)))
    bins = Bins.of(grid, segment)
    checked = 0
    for system, region in itertools.product(("truth", "model"), range(3)):
        x = {name: values[1] for name, values in fields[system].items()}
        for level in (0, 1):
            cases = {name: [(1.0, x[name][level])] for name in ("thetao", "so")}
            cases["ke"] = [(0.5, x["uo"][level]), (0.5, x["vo"][level])]
            if level == 0:
                cases["zos"] = [(1.0, x["zos"][0])]
            for name, pairs in cases.items():
                found = pick(
                    table,
                    **{"system": system, "region": case.regions.names[region], "metric": "psd"},
                    **{"variable": name, "depth": None if name == "zos" else grid.depth[level]},
                )
                expected = brute_psd(case, bins, wet[level], region, pairs)
                np.testing.assert_allclose(found["wavelength"], bins.wavelength, rtol=1e-12)
                np.testing.assert_allclose(found["value"], expected, rtol=1e-6)
                checked += np.isfinite(expected).sum()
    assert checked > 200
    assert set(table["depth"].dropna()) == {5.0, 50.0}
    beside = pick(table, system="model", metric="psd_truth")["value"].to_numpy()
    np.testing.assert_array_equal(beside, pick(table, system="truth", metric="psd")["value"])
    assert not table.duplicated([name for name in table if name != "value"]).any()


def test_a_sinusoid_lies_in_its_bin_with_its_variance():
    grid = band_of_rows(2.0)
    wave = 3.0 * np.cos(np.deg2rad(grid.lon) * 36)
    truth = {"zos": np.broadcast_to(wave, (2, 1, grid.ny, grid.nx))}
    case = make_case(grid, np.ones(grid.shape, bool), truth, {"model": truth})
    table = scored(spectra, case, settings(60.0))
    psd = pick(table, system="truth", metric="psd")
    bins = Bins.of(grid, 60.0)
    assert bins.cells == 30
    variance = psd["value"].to_numpy() * np.diff(bins.edges)
    peak = int(variance.argmax())
    wavelength = 5 * width_km(grid, 0)  # five cells, the sixth part of 60 degrees
    assert bins.edges[peak] < 1 / wavelength < bins.edges[peak + 1]
    assert psd["value"].to_numpy()[: peak - 3].max() < 1e-4 * psd["value"].max()
    assert variance.sum() == pytest.approx(4.5, rel=5e-3)
    assert variance[peak - 1 : peak + 2].sum() == pytest.approx(4.5, rel=1e-2)


def test_white_noise_is_flat():
    grid = band_of_rows(2.0, rows=2)
    leads = 60
    truth = {"zos": 1.5 * noise(3, leads + 1, grid.shape)}
    case = make_case(grid, np.ones(grid.shape, bool), truth, {"model": truth})
    table = scored(spectra, case, settings(60.0))
    psd = pick(table, system="truth", metric="psd").groupby("wavelength")["value"].mean()
    # A variance of 2.25 over wavenumbers from 0 to 1 / (2 dx).
    level = 2.25 * 2 * width_km(grid, 0)
    # The line that is taken off leaves less in the longest wave.
    assert psd.iloc[-1] < 0.85 * level
    np.testing.assert_allclose(psd.iloc[:-2], level, rtol=0.08)
    assert psd.iloc[:-2].mean() == pytest.approx(level, rel=0.015)


@pytest.mark.parametrize("cells", [3, 5])
def test_a_running_mean_has_its_own_response_and_effective_resolution(cells, tmp_path):
    grid = band_of_rows(1.0, rows=2)
    truth = {"zos": noise(4, 31, grid.shape)}
    blurred = {"zos": running_mean(truth["zos"], cells)}
    case = make_case(
        grid, np.ones(grid.shape, bool), truth, {"model": blurred, "persistence": truth}
    )
    write_parquet(scored(spectra, case, settings(60.0)), tmp_path / "a.parquet")
    table = average(FAMILIES["spectra"], [tmp_path / "a.parquet"], BootstrapConfig())
    dx = width_km(grid, 0)
    ratio = pick(table, metric="psd_ratio", system="model").groupby("wavelength")["value"]
    per_cell = dx / np.array(list(ratio.groups))
    # The line that is taken off mixes the longest wave with those around it.
    resolved = (per_cell < 0.8 / cells) & (per_cell > 1.5 / 60)
    expected = response(cells, per_cell)
    np.testing.assert_allclose(ratio.mean()[resolved], expected[resolved], atol=0.02)
    half = brentq(lambda k: response(cells, k) - 0.5, 1e-6, 1 / cells - 1e-6)
    found = pick(table, metric="effective_resolution", system="model")
    assert found["wavelength"].isna().all()
    assert len(found) == 30
    assert found["value"].mean() == pytest.approx(dx / half, rel=0.02)
    # A perfect forecast resolves all there is.
    shortest = Bins.of(grid, 60.0).wavelength.min()
    assert (pick(table, metric="psd_ratio", system="persistence")["value"] == 1.0).all()
    perfect = pick(table, metric="effective_resolution", system="persistence")["value"]
    np.testing.assert_allclose(perfect, shortest, rtol=1e-12)
    assert set(pick(table, system="truth")["metric"]) == {"psd"}


def test_a_filtered_sinusoid_keeps_exactly_its_share():
    grid = band_of_rows(2.0)
    waves = [12, 30, 45, 54]
    lon = np.deg2rad(grid.lon)
    truth = {
        "zos": np.stack([np.broadcast_to(np.cos(k * lon + k), grid.shape) for k in [1, *waves]])
    }
    model = {"zos": running_mean(truth["zos"], 3)}
    case = make_case(grid, np.ones(grid.shape, bool), truth, {"model": model})
    table = scored(spectra, case, settings(60.0))
    for lead, wave in enumerate(waves, start=1):
        psd = pick(table, lead=lead, metric="psd", system="model")["value"].to_numpy()
        beside = pick(table, lead=lead, metric="psd_truth", system="model")["value"].to_numpy()
        some = beside > 1e-4 * beside.max()
        assert some.sum() >= 3
        np.testing.assert_allclose((psd / beside)[some], response(3, wave / 180), rtol=1e-9)


def test_a_shift_in_longitude_changes_nothing():
    grid = Grid.regular(5.0, lat=(-60, 60))
    rng = np.random.default_rng(6)
    wet = rng.random(grid.shape) > 0.04
    wet[0, 4:7] = True  # rows all around the globe, whose stretches are four columns apart
    fields = [{"zos": rng.normal(0, 1, (2, *grid.shape))} for _ in range(2)]

    def table(shift):
        truth, model = ({"zos": np.roll(x["zos"], shift, axis=-1)} for x in fields)
        case = make_case(grid, np.roll(wet, shift, axis=-1), truth, {"model": model})
        return scored(spectra, case, settings(40.0))

    expected = table(0)
    assert expected["value"].notna().any()
    for shift in (4, 28, 52):
        np.testing.assert_allclose(table(shift)["value"], expected["value"], rtol=1e-9)


def test_what_stands_on_land_is_not_read():
    grid = Grid.regular(5.0, lat=(-60, 60))
    rng = np.random.default_rng(7)
    wet = rng.random(grid.shape) > 0.05
    x = rng.normal(0, 1, (2, *grid.shape))
    tables = [
        scored(
            spectra,
            make_case(grid, wet, {"zos": filled}, {"model": {"zos": filled}}),
            settings(),
        )
        for filled in (np.where(wet, x, np.nan), np.where(wet, x, 1e30))
    ]
    pd.testing.assert_frame_equal(*tables)


def brute_resolution(ratio, wavelength):
    before = None
    for r, w in zip(ratio, wavelength, strict=True):
        if math.isnan(r):
            continue
        if r < 0.5:
            if before is None:
                return w
            part = (before[0] - 0.5) / (before[0] - r)
            return before[1] * (w / before[1]) ** part
        before = r, w
    return math.nan if before is None else before[1]


def test_effective_resolution_equals_a_walk_from_long_to_short():
    rng = np.random.default_rng(9)
    wavelength = np.sort(rng.uniform(10, 1000, 12))[::-1]
    ratio = rng.uniform(0.2, 1.5, (4, 6, 12, 3)) ** rng.uniform(0.1, 1.5, (4, 6, 1, 3))
    ratio[rng.random(ratio.shape) < 0.3] = np.nan
    ratio[0, 0, :, 0] = np.nan
    ratio[1, 1, :, 1] = 1.0
    ratio[2, 2, :, 2] = 0.1
    found = effective_resolution(ratio, wavelength)
    assert found.shape == (4, 6, 3)
    for a, b, c in np.ndindex(4, 6, 3):
        expected = brute_resolution(ratio[a, b, :, c], wavelength)
        assert found[a, b, c] == pytest.approx(expected, rel=1e-12, nan_ok=True)
    assert found[1, 1, 1] == pytest.approx(wavelength[-1])
    assert found[2, 2, 2] == pytest.approx(wavelength[0])
    assert np.isnan(found[0, 0, 0])


def test_effective_resolution_is_that_of_mean_densities_with_intervals(tmp_path, monkeypatch):
    grid = Grid.regular(2.5, lat=(-10, 10), depths=(5.0, 60.0))
    wet = np.ones(grid.shape, bool)
    paths, tables = [], []
    for start in range(6):
        truth = {"thetao": noise(start, 4, grid.shape)}
        model = {"thetao": running_mean(truth["thetao"], 3 if start % 2 else 5)}
        case = make_case(
            grid, wet, truth, {"model": model, "persistence": truth}, {"n": (0, 10, -180, 180)}
        )
        tables.append(scored(spectra, case, settings(60.0, depths=(0.0, 60.0))))
        paths.append(tmp_path / f"{start}.parquet")
        write_parquet(tables[-1], paths[-1])
    bootstrap = BootstrapConfig(samples=50)
    whole = average(FAMILIES["spectra"], paths, bootstrap)
    found = pick(whole, metric="effective_resolution", system="model")
    assert len(found) == 3 * 2 * 2
    assert (found["n_starts"] == 6).all()
    assert ((found["low"] <= found["value"]) & (found["value"] <= found["high"])).all()
    assert (found["low"] < found["high"]).all()
    keys = {"lead": 2, "region": "n", "depth": 60.0}
    means = [
        np.mean([pick(t, system="model", metric=metric, **keys)["value"] for t in tables], axis=0)
        for metric in ("psd", "psd_truth")
    ]
    wavelength = Bins.of(grid, 60.0).wavelength
    expected = brute_resolution(means[0] / means[1], wavelength)
    assert pick(found, **keys)["value"].item() == pytest.approx(expected, rel=1e-12)
    ratio = pick(whole, metric="psd_ratio", system="model", **keys)
    np.testing.assert_allclose(ratio["value"], means[0] / means[1], rtol=1e-12)
    # Blocks of rows never cut a spectrum in two.
    monkeypatch.setattr(averages, "BLOCK", len(wavelength) * 2 - 3)
    order = list(whole.columns[:7])
    small = average(FAMILIES["spectra"], paths, bootstrap)
    left, right = (
        t.astype({c: str for c in ("region", "variable", "system", "metric")}).sort_values(
            order, ignore_index=True
        )
        for t in (whole, small)
    )
    pd.testing.assert_frame_equal(left, right)


def test_a_grid_with_short_rows_or_none_without_land_has_no_spectra(tmp_path):
    coarse = Grid.regular(30.0)
    x = {"zos": noise(0, 2, (1, coarse.ny, coarse.nx))}
    case = make_case(coarse, np.ones(coarse.shape, bool), x, {"model": x})
    empty = scored(spectra, case, settings())
    assert len(empty) == 0
    assert "wavelength" in empty
    write_parquet(empty, tmp_path / "empty.parquet")
    assert len(average(FAMILIES["spectra"], [tmp_path / "empty.parquet"], BootstrapConfig())) == 0

    grid = Grid.regular(5.0, lat=(-60, 60))
    wet = np.ones(grid.shape, bool)
    wet[..., ::5] = False
    x = {"zos": noise(0, 2, grid.shape)}
    table = scored(spectra, make_case(grid, wet, x, {"model": x}), settings())
    assert len(table) > 0
    assert table["value"].isna().all()
    write_parquet(table, tmp_path / "land.parquet")
    assert len(average(FAMILIES["spectra"], [tmp_path / "land.parquet"], BootstrapConfig())) == 0


def test_columns_of_several_widths_are_refused():
    grid = Grid.regular(5.0, lat=(-60, 60))
    edges = grid.lon_bounds.copy()
    edges[3] += 1.0
    uneven = Grid(
        grid.lat, grid.lon, grid.lat_bounds, edges, grid.depth, grid.depth_bounds, grid.periodic
    )
    with pytest.raises(UserError, match=r"4 to 6 degrees wide; .* evaluation\.families"):
        Bins.of(uneven, 40.0)
