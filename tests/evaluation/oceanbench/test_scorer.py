"""The table of scores, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hybridom.config.output import BootstrapConfig
from hybridom.errors import UserError
from hybridom.evaluation.bootstrap import resamples
from hybridom.evaluation.mixed_layer import mixed_layer_depth_oceanbench
from hybridom.evaluation.oceanbench import conventions, definitions, scorer
from hybridom.evaluation.oceanbench.forecasts import from_dataset, open_forecasts, open_mask

SETTINGS = BootstrapConfig(samples=50, seed=4)


@pytest.fixture(scope="module")
def box(cases):
    return cases.forecasts("box")


def scored(challenger, reference, mask=None, **options):
    found = scorer.Scorer(
        from_dataset(challenger, "c"), from_dataset(reference, "r"), mask, **options
    )
    found.run()
    return found


def test_the_table_is_tidy_and_names_the_version(box):
    table = scored(*box).table(SETTINGS, "glorys")
    assert tuple(table.columns) == scorer.COLUMNS
    assert set(table["oceanbench_version"]) == {"0.6.1"}
    assert set(table["reference"]) == {"glorys"}
    gridded = 4 * (1 + 4 * 6) + 4 * (1 + 2)  # leads by rows
    missing = 1 + 4 * 6 + 1 + 2
    assert len(table) == gridded + missing + 3
    assert not table.duplicated(["metric", "variable", "depth", "lead_day"]).any()
    drift = table[table["metric"] == conventions.DRIFT]
    assert drift["lead_day"].tolist() == [2, 3, 4]
    kept = table[table["metric"] == "rmsd_of_variables"]
    assert kept["label"].iloc[4] == ("Temperature (°C) [sea_water_potential_temperature]{surface}")


def test_a_score_is_the_mean_over_starts_with_the_bootstraps_interval(box):
    challenger, reference, _ = box
    table = scored(challenger, reference, metrics=["rmsd_of_variables"]).table(SETTINGS, "r")
    salinity = "sea_water_salinity"
    row = table[
        (table["metric"] == "rmsd_of_variables")
        & (table["variable"] == salinity)
        & (table["depth"] == "100m")
        & (table["lead_day"] == 2)
    ].iloc[0]
    weights = np.cos(np.deg2rad(challenger["latitude"].values.astype(float)))
    scores = []
    for start in range(3):
        index = {"first_day_datetime": start, "lead_day_index": 1, "depth": 3}
        error = challenger["so"].isel(index).values - reference["so"].isel(index).values.astype(
            float
        )
        total = area = 0.0
        for j, values in enumerate(error):
            for value in values[~np.isnan(values)]:
                total, area = total + weights[j] * value**2, area + weights[j]
        scores.append(np.sqrt(total / area))
    np.testing.assert_allclose(row["value"], np.mean(scores), rtol=1e-9)
    means = resamples(3, SETTINGS) @ scores / 3
    np.testing.assert_allclose(
        [row["low"], row["high"]], np.percentile(means, [2.5, 97.5]), rtol=1e-9
    )
    assert row["n_starts"] == 3


def test_one_start_has_no_interval(box):
    one = [data.isel(first_day_datetime=[0]) for data in box[:2]]
    table = scored(*one, metrics=["rmsd_of_geostrophic_currents"]).table(SETTINGS, "r")
    assert table["low"].isna().all()
    assert table["value"].notna().all()


def test_the_mixed_layer_is_that_of_the_levels_down_to_600_m(box):
    source = from_dataset(box[0], "c")
    found = scorer.mixed_layer(source, 1, 2)
    data = box[0].isel(first_day_datetime=1, lead_day_index=2)
    upper = data.sel(depth=slice(0, 600))
    expected = mixed_layer_depth_oceanbench(
        *(upper[name].values for name in ("thetao", "so", "depth", "latitude", "longitude"))
    )
    np.testing.assert_array_equal(found, expected)
    assert np.nanmax(found) <= 541.1


def test_a_perfect_forecast_scores_zero(box):
    _, reference, mask = box
    found = scored(reference, reference, mask)
    table = found.table(SETTINGS, "r")
    assert np.nanmax(np.abs(table["value"])) == 0.0


def test_the_ocean_mask_is_taken_at_the_nearest_point(box):
    mask = box[2]
    lat, lon = np.array([31.0, 35.5]), np.array([-15.0, -10.25, -12.0])
    found = scorer.ocean_on(mask, lat, lon)
    for label, depth in conventions.DEPTHS.items():
        level = np.abs(mask["depth"].values - depth).argmin()
        for j, y in enumerate(lat):
            for i, x in enumerate(lon):
                row = np.abs(mask["latitude"].values - y).argmin()
                column = np.abs(mask["longitude"].values - x).argmin()
                assert found[label][j, i] == mask.values[level, row, column]


def test_the_order_of_starts_and_of_dimensions_does_not_matter(box):
    challenger, reference, mask = box
    turned = challenger.isel(first_day_datetime=[2, 0, 1]).transpose(
        "longitude", "depth", "lead_day_index", "latitude", "first_day_datetime"
    )
    metrics = ["rmsd_of_variables", "rmsd_of_geostrophic_currents"]
    tables = [
        scored(data, reference, mask, metrics=metrics).table(SETTINGS, "r")
        for data in (challenger, turned)
    ]
    pd.testing.assert_frame_equal(*tables)


def test_files_a_start_and_one_store_give_the_same_scores(box, cases, tmp_path):
    challenger, reference, mask = box
    cases.write(challenger, tmp_path / "challenger")
    reference.to_zarr(tmp_path / "reference.zarr", zarr_format=2, consolidated=True)
    mask.to_dataset().to_netcdf(tmp_path / "mask.nc")
    found = scorer.Scorer(
        open_forecasts(tmp_path / "challenger"),
        open_forecasts(tmp_path / "reference.zarr"),
        open_mask(tmp_path / "mask.nc"),
    )
    found.run(threads=3)
    table = found.table(SETTINGS, "r")
    expected = scored(challenger, reference, mask).table(SETTINGS, "r")
    pd.testing.assert_frame_equal(table, expected)
    paths = scorer.write_scores(table, tmp_path / "scores.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(paths[0]), table)
    assert "missing_fraction_of_rmsd_of_variables" in paths[1].read_text(encoding="utf-8")


def test_a_mask_that_is_not_oceanbenchs_is_told_or_refused(box, tmp_path, caplog):
    box[2].to_dataset().to_netcdf(tmp_path / "mask.nc")
    mask = open_mask(tmp_path / "mask.nc")
    assert "not the ocean mask of OceanBench 0.6.1" in caplog.text
    np.testing.assert_array_equal(mask.values.astype(bool), box[2].values)
    mask.to_dataset(name="wet").to_netcdf(tmp_path / "other.nc")
    with pytest.raises(UserError, match=r"expected a variable ocean_mask.*found wet"):
        open_mask(tmp_path / "other.nc")
    with pytest.raises(UserError, match="no ocean mask"):
        open_mask(tmp_path / "nothing.nc")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.isel(first_day_datetime=[0, 1]), "no forecast whose first day is 2024-01-17"),
        (lambda r: r.isel(lead_day_index=slice(0, 3)), "r: 3 leads, the challenger has 4"),
        (
            lambda r: r.assign_coords(latitude=r["latitude"] + 0.1),
            "of the challenger's grid points",
        ),
        (lambda r: r.isel(latitude=slice(None, None, -1)), "r: latitude does not ascend"),
        (lambda r: r.drop_vars("so"), "r: no variable with standard_name sea_water_salinity"),
        (lambda r: r.assign(v2=r["vo"]), "vo and v2 both have standard_name northward"),
        (lambda r: r.drop_vars("latitude"), "coordinate latitude is missing"),
        (lambda r: r.drop_vars("depth"), "coordinate depth is missing"),
        (
            lambda r: r.assign(so=r["so"].isel(depth=0, drop=True)),
            "sea_water_salinity of 2024-01-03",
        ),
    ],
    ids=["start", "leads", "grid", "descending", "variable", "twice", "axis", "depth", "dims"],
)
def test_a_reference_that_does_not_fit_is_refused(change, message, box):
    with pytest.raises(UserError, match=message):
        scored(box[0], change(box[1]))


def test_regions_and_metrics_by_other_names_are_refused(box):
    with pytest.raises(UserError, match="region 'ocean': expected one of global, ibi"):
        scored(box[0], box[1], region="ocean")
    with pytest.raises(UserError, match="metric 'rmse': expected some of"):
        scored(box[0], box[1], metrics=["rmse"])
    far = [data.assign_coords(longitude=data["longitude"] + 60) for data in box[:2]]
    with pytest.raises(UserError, match=r"no point of the grid lies in the region 26\.17"):
        scored(*far, region="ibi")


def test_boxes_may_lie_across_the_seam():
    box = conventions.Box(-10, 10, 170, -170)
    lat, lon = np.array([-20.0, 0.0]), np.arange(-180.0, 180.0, 5.0)
    rows, columns = box.select(lat, lon)
    assert rows.tolist() == [False, True]
    assert lon[columns].tolist() == [-180, -175, -170, 170, 175]
    assert np.arange(0.0, 360.0, 5.0)[box.select(lat, np.arange(0.0, 360.0, 5.0))[1]].tolist() == [
        170,
        175,
        180,
        185,
        190,
    ]


def test_rows_are_in_the_order_of_the_package():
    rows = conventions.rows("rmsd_of_variables")
    assert len(rows) == 25
    assert [conventions.row_label(*row).split(" (")[0] for row in rows[:6]] == [
        *("Sea surface height", "Temperature", "Salinity", "Meridional current", "Zonal current"),
        "Temperature",
    ]
    assert definitions.nearest_levels(np.array([0.0, 10.0]), np.array([2.0, 900.0])).tolist() == [
        0,
        1,
    ]
