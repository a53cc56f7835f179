"""Matchups with observations against loops."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hybridom.cli import main
from hybridom.config.output import BootstrapConfig
from hybridom.errors import UserError
from hybridom.evaluation.oceanbench import class4, matching
from hybridom.evaluation.oceanbench.forecasts import from_dataset

DAY = pd.Timestamp("2024-01-03 06:00")


def places(lat, lon, depth, **columns):
    return pd.DataFrame({"latitude": lat, "longitude": lon, "depth": depth, **columns})


def test_a_field_at_points_is_linear_in_all_three_directions():
    lat, lon, depth = np.arange(10.0, 20.0), np.arange(-5.0, 6.0), np.array([1.0, 10.0, 50.0])
    z, y, x = np.meshgrid(depth, lat, lon, indexing="ij")
    rng = np.random.default_rng(4)
    points = places(rng.uniform(10, 19, 30), rng.uniform(-5, 5, 30), rng.uniform(1, 50, 30))
    found = matching.at_points(2 * x - y + 0.3 * z, depth, lat, lon, points)
    expected = 2 * points["longitude"] - points["latitude"] + 0.3 * points["depth"]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_beyond_the_levels_the_outermost_count_and_land_gives_nothing():
    lat, lon, depth = np.arange(4.0), np.arange(4.0), np.array([1.0, 10.0])
    field = np.stack([np.full((4, 4), 5.0), np.full((4, 4), 7.0)])
    field[1, 2, 2] = np.nan
    points = places([0.5, 0.5, 1.5, 1.5], [0.5, 0.5, 1.5, 1.5], [0.0, 99.0, 0.0, 5.0])
    found = matching.at_points(field, depth, lat, lon, points)
    np.testing.assert_array_equal(found, [5.0, 7.0, 5.0, np.nan])


def test_the_seam_of_the_circle_is_crossed():
    lat, lon = np.arange(3.0), np.arange(-180.0, 180.0, 10.0)
    field = np.broadcast_to(np.where(lon == 170.0, 1.0, 0.0), (1, 3, 36))
    points = places([1.0, 1.0, 1.0], [172.5, -187.5, 180.0], [0.0, 0.0, 0.0])
    found = matching.at_points(field, np.zeros(1), lat, lon, points)
    np.testing.assert_allclose(found, [0.75, 0.75, 0.0])
    cut = matching.at_points(field[..., :30], np.zeros(1), lat, lon[:30], points)
    assert np.isnan(cut).all()


def test_currents_are_taken_at_15_m():
    depth = [10.0, 20.0, 5.0, 15.0, 15.0, 30.0, 12.0, 10.0]
    place = [0.0, 0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0]
    value = [1.0, 2.0, 9.0, 4.0, 6.0, 3.0, 0.0, 1.0]
    day = places(place, 0.0, depth, time=DAY, u=value)
    found = class4.prepared(day, "uo", "u").sort_values("latitude")
    assert found["latitude"].tolist() == [0.0, 1.0, 2.0]  # the last one has none below
    np.testing.assert_allclose(found["value"], [1.5, 5.0, 0.5])
    assert set(found["bin"]) == {"15m"}
    assert set(found["depth"]) == {15.0}


def test_profiles_fall_into_bins_of_depth():
    depth = [-1.1, -1.0, 0.9, 1.0, 4.9, 5.0, 99.0, 300.0, 599.0, 600.0]
    day = places(0.0, 0.0, depth, time=DAY, x=np.arange(10.0))
    temperature = class4.prepared(day, "thetao", "x")
    expected = ["surface", "surface", "0-5m", "0-5m", "5-100m", "5-100m", "300-600m", "300-600m"]
    assert temperature["bin"].tolist() == expected
    salinity = class4.prepared(day, "so", "x")
    assert salinity["bin"].tolist() == ["0-5m"] * 3 + expected[4:]


def test_observations_count_where_nine_cells_around_each_of_four_points_are_ocean():
    rng = np.random.default_rng(8)
    ocean = rng.random((2, 60, 72)) > 0.01
    lat, lon = 10 + np.arange(60) / 12, -20 + np.arange(72) / 12
    coords = {"depth": [1.0, 100.0], "latitude": lat, "longitude": lon}
    mask = xr.DataArray(ocean, coords=coords, dims=tuple(coords))
    points = places(rng.uniform(10.3, 14.4, 300), rng.uniform(-19.7, -14.6, 300), 0.0)
    points["depth"] = rng.choice([0.0, 1.0, 2.0, 100.0, 300.0], 300)
    kept = matching.Population(mask).select(points).index
    for row in points.itertuples():
        level = 0 if row.depth <= 1.0 else 1
        j, i = int((row.latitude - 10) * 4) * 3, int((row.longitude + 20) * 4) * 3
        around = [
            ocean[level, j + n - 1 : j + n + 2, i + m - 1 : i + m + 2]
            for n in (0, 3)
            for m in (0, 3)
        ]
        assert (row.Index in kept) == all(cells.all() for cells in around)
    assert 30 < len(kept) < 270


@pytest.fixture(scope="module")
def world(cases, tmp_path_factory):
    """Forecasts, observations on disk, mask and topography of the box."""
    folder = tmp_path_factory.mktemp("observations")
    for name, day in cases.observations("box").items():
        day.to_netcdf(folder / f"{name}.nc")
    return cases.forecasts("box")[0], folder, cases.fine_mask("box"), cases.topography("box")


def matched(world, **changes):
    challenger, *others = world
    found = class4.Class4(from_dataset(challenger, "c"), *others, **changes)
    found.run()
    return found


def test_a_score_pools_all_matchups_of_a_lead(world):
    found = matched(world)
    table = found.table(BootstrapConfig(samples=40))
    row = class4.ROWS.index(("so", "5-100m"))
    squares, number, missing = found.sums[:, :, row, 2].sum(axis=0)
    score = table[
        (table["metric"] == class4.METRIC)
        & (table["variable"] == "sea_water_salinity")
        & (table["depth"] == "5-100m")
        & (table["lead_day"] == 3)
    ].iloc[0]
    np.testing.assert_allclose(score["value"], np.sqrt(squares / (number - missing)))
    assert score["low"] < score["value"] < score["high"]
    assert score["n_starts"] == 3
    assert missing > 0


def test_what_is_missing_is_told(world, tmp_path):
    challenger, folder, mask, topography = world
    with pytest.raises(UserError, match=r"20240103\.zarr: no observations of 2024-01-03"):
        matched((challenger, tmp_path, mask, topography))
    day = xr.open_dataset(folder / "20240103.nc").drop_vars("sea_water_salinity")
    day.to_netcdf(tmp_path / "20240103.nc")
    with pytest.raises(UserError, match=r"20240103\.nc: no variable sea_water_salinity"):
        matched((challenger, tmp_path, mask, topography))
    moved = topography.assign_coords(latitude=topography["latitude"] + 0.05)
    with pytest.raises(UserError, match="mean dynamic topography: its latitudes are not those"):
        matched((challenger, folder, mask, moved))
    with pytest.raises(UserError, match="no observation lies in OceanBench's ocean"):
        matched((challenger, folder, mask & False, topography)).table(BootstrapConfig())
    with pytest.raises(UserError, match=r"nothing\.nc: no mean dynamic topography"):
        class4.open_topography(tmp_path / "nothing.nc")
    with pytest.raises(UserError, match="expected one variable"):
        class4.open_topography(folder / "20240103.nc")


def test_the_command_adds_the_rows(world, cases, tmp_path, capsys, synthetic):
    challenger, folder, mask, topography = world
    cases.write(challenger, tmp_path / "challenger")
    mask.to_dataset().to_netcdf(tmp_path / "mask.nc")
    topography.to_dataset().to_netcdf(tmp_path / "mdt.nc")
    config = tmp_path / "config.yaml"
    config.write_text(synthetic.make_config(tmp_path).model_dump_json(), encoding="utf-8")
    path = str(tmp_path / "challenger")
    command = ["oceanbench", "score", path, "--config", str(config), "--reference", path]
    command += ["--output", str(tmp_path / "out.parquet"), "--observations", str(folder)]
    command += ["--metrics", "rmsd_of_geostrophic_currents", "--mask", str(tmp_path / "mask.nc")]
    assert main(command) == 2
    assert "--observations needs --mask" in capsys.readouterr().err
    assert main([*command, "--mdt", str(tmp_path / "mdt.nc")]) == 0
    table = pd.read_parquet(tmp_path / "out.parquet")
    assert {class4.METRIC, "observations", "rmsd_of_geostrophic_currents"} <= set(table["metric"])
    assert set(table["oceanbench_version"]) == {"0.6.1"}
