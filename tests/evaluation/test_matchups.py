"""Forecasts at observations: places, weights, tables, refusals."""

from __future__ import annotations

import datetime as dt
import logging

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.interpolate import RegularGridInterpolator

from hybridom import cli
from hybridom.config import narrow
from hybridom.errors import UserError
from hybridom.evaluation.case import open_case
from hybridom.evaluation.external.class4 import Observed, evaluate_observations, read_topography
from hybridom.evaluation.matchups import BINS, Matchups, places
from hybridom.evaluation.observations import read_observations
from hybridom.grid import Grid
from hybridom.variables import PROGNOSTIC

GRID = Grid.regular(30.0, depths=(5.0, 20.0, 100.0))
ALL_WET = np.ones(GRID.shape, bool)


def at(lat, lon, depth=None, wet=ALL_WET):
    arrays = [np.atleast_1d(np.asarray(x, float)) for x in (lat, lon)]
    deep = None if depth is None else np.atleast_1d(np.asarray(depth, float))
    return places(GRID, wet if deep is not None else wet[:1], *arrays, deep)


class TestPlaces:
    def test_values_are_those_of_scipy(self):
        rng = np.random.default_rng(0)
        field = rng.normal(size=GRID.shape)
        lat, lon = rng.uniform(-75, 75, 200), rng.uniform(-165, 165, 200)
        depth = rng.uniform(5, 100, 200)
        place = at(lat, lon, depth)
        assert place.found.all()
        expected = RegularGridInterpolator((GRID.depth, GRID.lat, GRID.lon), field)(
            np.stack([depth, lat, lon], axis=1)
        )
        np.testing.assert_allclose(place.take(field), expected, rtol=1e-9)

    def test_the_date_line_is_no_edge_of_a_global_grid(self):
        field = np.broadcast_to(np.cos(np.deg2rad(GRID.lon)), (1, GRID.ny, GRID.nx)).copy()
        expected = field[0, 0, 0]  # -165 and 165 have the same value
        for lon in (179.9, -179.9, 180.0, 540.0):
            assert at(10.0, lon).take(field)[0] == pytest.approx(expected, rel=1e-12)
        region = Grid.regular(30.0, (-60, 60), (120, 240), depths=(5.0,))
        inside = places(
            region, np.ones(region.shape, bool), np.zeros(2), np.array([-160.0, 10]), None
        )
        np.testing.assert_array_equal(inside.found, [True, False])

    def test_corners_on_land_have_no_weight_and_the_rest_is_scaled_up(self):
        wet = ALL_WET.copy()
        j, i = 3, 6  # centre 15 N, 15 E
        wet[0, j, i + 1] = False
        field = np.arange(GRID.nz * GRID.ny * GRID.nx, dtype=float).reshape(GRID.shape)[:1]
        field = np.where(wet[:1], field, np.nan)
        place = at(21.0, 24.0, wet=wet)
        south, west = 0.8, 0.7
        corners = {
            (j, i): south * west,
            (j + 1, i): (1 - south) * west,
            (j + 1, i + 1): (1 - south) * (1 - west),
        }
        expected = sum(w * field[0, a, b] for (a, b), w in corners.items()) / sum(corners.values())
        assert place.take(field)[0] == pytest.approx(expected, rel=1e-12)
        assert place.weights.sum() == pytest.approx(1.0)

    def test_an_observation_whose_nearest_cell_is_land_has_no_value(self):
        wet = ALL_WET.copy()
        wet[0, 3, 6] = False
        np.testing.assert_array_equal(at([16.0, 16.0], [16.0, 44.0], wet=wet).found, [False, True])

    def test_depth_is_linear_between_levels_and_nothing_is_made_below(self):
        field = np.broadcast_to(GRID.depth[:, None, None], GRID.shape)
        place = at(np.zeros(6), np.zeros(6), [0.0, 3.0, 5.0, 12.5, 100.0, 101.0])
        np.testing.assert_array_equal(place.found, [True] * 5 + [False])
        np.testing.assert_allclose(place.take(field), [5.0, 5.0, 5.0, 12.5, 100.0])
        wet = ALL_WET.copy()
        wet[2] = False
        bottom = at(np.zeros(3), np.zeros(3), [20.0, 20.1, 60.0], wet=wet)
        np.testing.assert_array_equal(bottom.found, [True, False, False])

    def test_beyond_the_outermost_centres_there_is_nothing(self):
        np.testing.assert_array_equal(at([80.0, -80.0, 75.0], [0.0] * 3).found, [0, 0, 1])


def observations(world, count: int = 400, seed: int = 4) -> pd.DataFrame:
    """Observations over all days of the forecasts, and a few outside."""
    rng = np.random.default_rng(seed)
    first, days = world.config.forecast.start_dates()[0], world.config.forecast.days
    hours = rng.integers(0, 24 * (days + 4), count)
    return pd.DataFrame(
        {
            "time": np.datetime64(first, "s") + hours * np.timedelta64(3600, "s"),
            "latitude": rng.uniform(-80, 80, count),
            "longitude": rng.uniform(0, 360, count),
            "depth": rng.uniform(0, 110, count),
            "variable": rng.choice([*PROGNOSTIC, "sla"], count),
            "value": rng.normal(1.0, 0.3, count),
            "platform": "float",
        }
    )


@pytest.fixture(scope="module")
def topography(shared_world, tmp_path_factory):
    path = tmp_path_factory.mktemp("mdt") / "mdt.nc"
    values = np.where(shared_world.wet[0], 0.3, np.nan)
    grid = shared_world.grid
    xr.Dataset(
        {"mdt": (("latitude", "longitude"), values, {"units": "m"})},
        coords={"latitude": grid.lat, "longitude": grid.lon},
    ).to_netcdf(path)
    return path


@pytest.fixture(scope="module")
def scored(shared_world, topography, tmp_path_factory):
    """Observations, and the folder of tables made by the command."""
    folder = tmp_path_factory.mktemp("class4")
    table = observations(shared_world)
    table.to_parquet(folder / "observations.in.parquet")
    config = narrow(shared_world.config, "evaluate")
    evaluate_observations(
        Observed((folder / "observations.in.parquet",), topography, 0.1),
        lambda start: open_case(config, shared_world.layout, start),
        config.forecast.start_dates(),
        folder,
        config.evaluation.bootstrap,
        {"experiment": "toy"},
    )
    return table, folder


def expected_value(world, fields, row, topography: bool) -> float:
    """The forecast of one observation by loops over corners; NaN where there is none."""
    grid, name = world.grid, row["variable"]
    deep = name not in ("zos", "sla")
    field = fields["zos" if name == "sla" else name]
    field = field if deep else field[None]
    lon = (row["longitude"] + 180) % 360 - 180
    total = 0.0
    depth = max(row["depth"], grid.depth[0]) if deep else 0.0
    for k in range(grid.nz if deep else 1):
        part = np.interp(depth, grid.depth, np.eye(grid.nz)[k]) if deep else 1.0
        if part == 0:
            continue
        value = weight = 0.0
        near = None
        for j in range(grid.ny):
            for i in range(grid.nx):
                away = abs((lon - grid.lon[i] + 180) % 360 - 180)
                up = abs(row["latitude"] - grid.lat[j])
                w = max(0.0, 1 - away / 30) * max(0.0, 1 - up / 30)
                if near is None or w > near[0]:
                    near = (w, world.wet[k, j, i])
                if w > 0 and world.wet[k, j, i]:
                    value += w * field[k, j, i]
                    weight += w
        if abs(row["latitude"]) > grid.lat[-1] or not near[1] or depth > grid.depth[-1]:
            return np.nan
        total += part * value / weight
    return total - 0.3 + 0.1 if name == "sla" else total


def test_matchups_are_those_of_loops_over_corners(shared_world, scored):
    table, folder = scored
    for start, fields in shared_world.forecasts.items():
        found = pd.read_parquet(folder / "matchups" / f"{start}.parquet")
        assert found.attrs["experiment"] == "toy"
        assert found["observation"].is_unique
        by_number = found.set_index("observation")
        for number, row in table.iterrows():
            lead = (row["time"].date() - start).days
            expected = np.nan
            if 1 <= lead <= shared_world.config.forecast.days:
                now = {name: x[lead] for name, x in fields.items()}
                expected = expected_value(shared_world, now, row, True)
            assert (number in by_number.index) == bool(np.isfinite(expected))
            if np.isfinite(expected):
                match = by_number.loc[number]
                assert match["lead"] == lead and match["observed"] == row["value"]
                assert match["model"] == pytest.approx(expected, rel=1e-5, abs=1e-6)
                initial = {name: x[0] for name, x in fields.items()}
                held = expected_value(shared_world, initial, row, True)
                assert match["persistence"] == pytest.approx(held, rel=1e-5, abs=1e-6)


def test_scores_are_pooled_over_all_matchups_of_a_lead(shared_world, scored):
    _, folder = scored
    starts = shared_world.config.forecast.start_dates()
    every = pd.concat(
        [pd.read_parquet(folder / "matchups" / f"{start}.parquet") for start in starts]
    )
    final = pd.read_parquet(folder / "observations.parquet")
    assert {"low", "high", "n_starts", "count"} <= set(final)
    checked = 0
    for (variable, label), rows in final[final["region"] == "global"].groupby(
        ["variable", "depth_bin"], observed=True
    ):
        top, bottom = BINS[label]
        for lead in (1, 4):
            some = (
                every[
                    (every["variable"] == variable)
                    & (every["lead"] == lead)
                    & (every["depth"] >= top)
                    & (every["depth"] < bottom)
                ]
                if variable not in ("zos", "sla")
                else every[(every["variable"] == variable) & (every["lead"] == lead)]
            )
            for system in ("model", "climatology"):
                error = some[system] - some["observed"]
                chosen = rows[(rows["lead"] == lead) & (rows["system"] == system)]
                values = chosen.set_index("metric")
                if some.empty:
                    assert chosen.empty
                    continue
                assert (values["count"] == len(some)).all()
                assert (values["n_starts"] == some["start"].nunique()).all()
                assert values.loc["rmse", "value"] == pytest.approx(np.sqrt((error**2).mean()))
                assert values.loc["bias", "value"] == pytest.approx(error.mean(), abs=1e-9)
                assert values.loc["mae", "value"] == pytest.approx(error.abs().mean())
                checked += 1
    assert checked > 40
    model = final[(final["system"] == "model") & (final["metric"] == "skill_persistence")]
    assert len(model)


def test_a_region_holds_the_observations_in_its_cells(shared_world, scored):
    _, folder = scored
    grid, regions = shared_world.grid, shared_world.config.evaluation.regions
    south, north, _, _ = regions["tropics"]
    start = shared_world.config.forecast.start_dates()[0]
    found = pd.read_parquet(folder / "matchups" / f"{start}.parquet")
    sums = pd.read_parquet(folder / "observations" / f"{start}.parquet")
    nearest = grid.lat[np.abs(grid.lat[:, None] - found["latitude"].to_numpy()).argmin(axis=0)]
    for lead in (1, 2):
        inside = (nearest >= south) & (nearest <= north) & (found["lead"] == lead)
        expected = (inside & (found["variable"] == "thetao")).sum()
        row = sums[
            (sums["region"] == "tropics")
            & (sums["variable"] == "thetao")
            & (sums["lead"] == lead)
            & (sums["depth_bin"] == "all")
            & (sums["metric"] == "count")
            & (sums["system"] == "model")
        ]
        assert np.nan_to_num(row["value"].item()) == expected


def test_sea_level_anomalies_need_a_topography_on_the_grid(shared_world, tmp_path, topography):
    config = narrow(shared_world.config, "evaluate")
    start = config.forecast.start_dates()[0]
    case = open_case(config, shared_world.layout, start)
    path = tmp_path / "o.csv"
    observations(shared_world).to_csv(path, index=False)
    with pytest.raises(UserError, match="--mdt FILE"):
        Matchups(case, read_observations([path]))
    with pytest.raises(UserError, match=r"mdt.nc: mdt: latitude has 6 values, expected 12"):
        read_topography(topography, Grid.regular(15.0))
    with pytest.raises(UserError, match="no mean dynamic topography among other"):
        other = xr.open_dataset(topography).rename(mdt="other")
        other.to_netcdf(tmp_path / "other.nc")
        read_topography(tmp_path / "other.nc", shared_world.grid)


def plain(**columns) -> pd.DataFrame:
    """Three good observations."""
    rows = {
        "time": pd.to_datetime(["2004-02-28", "2004-02-27", "2004-02-29T23:59"], format="ISO8601"),
        "latitude": [0.0, 10.0, 20.0],
        "longitude": [0.0, 350.0, -170.0],
        "depth": [np.nan, 10.0, 20.0],
        "variable": ["thetao", "so", "sea_water_salinity"],
        "value": [10.0, 35.0, 36.0],
    }
    return pd.DataFrame(rows | columns)


class TestReading:
    def read(self, table: pd.DataFrame, tmp_path, kind: str = "csv") -> pd.DataFrame:
        path = tmp_path / f"table.{kind}"
        if kind == "csv":
            table.to_csv(path, index=False)
        elif kind == "parquet":
            table.to_parquet(path)
        else:
            table.to_xarray().to_netcdf(path)
        return read_observations([path])

    @pytest.mark.parametrize("kind", ["csv", "parquet", "nc"])
    def test_every_format_gives_the_same_rows_by_time(self, kind, tmp_path):
        found = self.read(plain(), tmp_path, kind)
        assert list(found["observation"]) == [1, 0, 2]
        assert list(found["variable"]) == ["so", "thetao", "so"]
        np.testing.assert_allclose(found["longitude"], [-10.0, 0.0, -170.0])
        np.testing.assert_allclose(found["depth"], [10.0, 0.0, 20.0])
        np.testing.assert_allclose(found["observed"], [35.0, 10.0, 36.0])

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            (plain().drop(columns="time"), "column time is missing .found: latitude"),
            (plain(latitude=[0.0, 91.0, 0.0]), "latitude 91 in row 1; expected -90 to 90 degrees"),
            (plain(longitude=[0.0, 0.0, 361.0]), "longitude 361 in row 2; expected -180 to 360"),
            (plain(depth=[-10.0, 0.0, 0.0]), "depth -10 in row 0; expected -1 to 12000 m"),
            (plain(value=[283.0, 35.0, 36.0]), "100 % of thetao lies outside .*Kelvin less 273.15"),
            (plain(time=["yesterday"] * 3), "not a table of numbers and times"),
            (plain(time=[731_000.0] * 3), "time is a number; expected dates"),
            (plain(variable=["chl"] * 3), "no observation can be used"),
        ],
        ids=lambda x: x[:20] if isinstance(x, str) else "",
    )
    def test_tables_that_cannot_be_used_are_refused(self, table, message, tmp_path):
        with pytest.raises(UserError, match=message) as error:
            self.read(table, tmp_path)
        assert "\n" not in str(error.value)

    def test_what_is_left_out_is_counted(self, tmp_path, caplog):
        many = pd.concat([plain()] * 200, ignore_index=True)
        many["quality"] = 1
        many.loc[3, "quality"] = 4
        many.loc[6, "value"] = np.nan
        many.loc[9, "value"] = 99.0
        many.loc[10, "variable"] = "chl"
        with caplog.at_level(logging.WARNING):
            found = self.read(many, tmp_path)
        assert len(found) == 596
        assert not {3, 6, 9, 10} & set(found["observation"])
        for words in (
            "1 of 600 rows left out: unknown variables chl",
            "1 of 599 rows left out: no time, position or value",
            "1 of 598 rows left out: quality other than 1 or 2",
            "1 rows left out: outside the plausible range",
        ):
            assert words in caplog.text

    def profiles(self, units: str = "degree_C") -> xr.Dataset:
        temperature = np.array([[10.0, 9.0, np.nan], [12.0, 11.0, 10.0]])
        depth = np.array([[5.0, 20.0, np.nan], [5.0, 25.0, 90.0]])
        names = ("N_PROF", "N_LEVELS")
        return xr.Dataset(
            {
                "POTM": (
                    names,
                    temperature,
                    {"standard_name": "sea_water_potential_temperature", "units": units},
                ),
                "POTM_qc": (names, np.array([[1, 1, 9], [1, 4, 2]])),
                "DEPH": (names, depth, {"standard_name": "depth", "units": "m"}),
                "LATITUDE": ("N_PROF", [1.0, 2.0], {"standard_name": "latitude"}),
                "LONGITUDE": ("N_PROF", [3.0, 4.0], {"standard_name": "longitude"}),
                "JULD": (
                    "N_PROF",
                    pd.to_datetime(["2004-02-27", "2004-02-28"]),
                    {"standard_name": "time"},
                ),
            }
        )

    def test_profiles_by_levels_are_read_by_their_standard_names(self, tmp_path):
        path = tmp_path / "argo.nc"
        self.profiles().to_netcdf(path)
        found = read_observations([path])
        np.testing.assert_allclose(found["observed"], [10.0, 9.0, 12.0, 10.0])
        np.testing.assert_allclose(found["depth"], [5.0, 20.0, 5.0, 90.0])
        np.testing.assert_allclose(found["latitude"], [1.0, 1.0, 2.0, 2.0])
        assert set(found["variable"]) == {"thetao"}

    def test_profiles_in_other_units_or_without_depth_are_refused(self, tmp_path):
        path = tmp_path / "argo.nc"
        self.profiles("K").to_netcdf(path)
        with pytest.raises(UserError, match=r"POTM is in units 'K'.*subtract 273.15"):
            read_observations([path])
        pressure = self.profiles().rename(DEPH="PRES")
        pressure["PRES"].attrs["standard_name"] = "sea_water_pressure"
        pressure.to_netcdf(tmp_path / "pressure.nc")
        with pytest.raises(UserError, match=r"no depth; .*pressure is no depth"):
            read_observations([tmp_path / "pressure.nc"])
        unknown = self.profiles()[["LATITUDE"]]
        unknown.to_netcdf(tmp_path / "unknown.nc")
        with pytest.raises(UserError, match="neither the columns variable and value nor"):
            read_observations([tmp_path / "unknown.nc"])

    def test_files_that_are_none_are_refused(self, tmp_path):
        with pytest.raises(UserError, match=r"none.csv: no such file of observations"):
            read_observations([tmp_path / "none.csv"])
        (tmp_path / "bad.parquet").write_text("no Parquet")
        with pytest.raises(UserError, match=r"bad.parquet: cannot be read"):
            read_observations([tmp_path / "bad.parquet"])


class TestCommand:
    def test_forecasts_in_files_give_the_same_as_the_configuration(
        self, shared_world, scored, topography, tmp_path
    ):
        _, folder = scored
        layout = shared_world.layout
        starts = shared_world.config.forecast.start_dates()
        words = ["evaluate", "observations", "--observations"]
        words += [str(folder / "observations.in.parquet"), "--mdt", str(topography)]
        words += ["--sla-offset", "0.1", "--output", str(tmp_path / "out"), "--forecast"]
        words += [str(layout.forecast_store(start)) for start in starts]
        words += ["--climatology", str(layout.climatology_store), "--damping", str(layout.damping)]
        for name, box in shared_world.config.evaluation.regions.items():
            words += ["--region", f"{name}={','.join(map(str, box))}"]
        assert cli.main(words) == 0
        found = pd.read_parquet(tmp_path / "out" / "observations.parquet")
        expected = pd.read_parquet(folder / "observations.parquet")
        keys = [name for name in expected if name not in ("value", "low", "high")]
        pd.testing.assert_frame_equal(found[keys], expected[keys])
        for column in ("value", "low", "high"):
            np.testing.assert_allclose(found[column], expected[column], rtol=1e-5, atol=1e-6)
        assert found.attrs["sla_offset"] == 0.1

    def test_a_forecast_that_is_right_has_no_error(self, shared_world, tmp_path):
        layout = shared_world.layout
        start = shared_world.config.forecast.start_dates()[0]
        data = xr.open_zarr(layout.forecast_store(start), consolidated=False)
        field = data["thetao"].isel(lead=2).values
        k, j, i = np.argwhere(np.isfinite(field))[::5].T
        table = pd.DataFrame(
            {
                "time": np.datetime64(start + dt.timedelta(2)),
                "latitude": shared_world.grid.lat[j],
                "longitude": shared_world.grid.lon[i],
                "depth": shared_world.grid.depth[k],
                "variable": "thetao",
                "value": field[k, j, i],
            }
        )
        table = table[table["value"].between(-4, 45)]
        table.to_csv(tmp_path / "o.csv", index=False, float_format="%.9g")
        words = ["evaluate", "observations", "--observations", str(tmp_path / "o.csv")]
        words += ["--forecast", str(layout.forecast_store(start)), "--output", str(tmp_path)]
        assert cli.main(words) == 0
        found = pd.read_csv(tmp_path / "observations.csv")
        model = found[(found["system"] == "model") & (found["metric"] == "rmse")]
        assert set(model["lead"]) == {2} and (model["value"] < 1e-6).all()
        assert model.loc[model["depth_bin"] == "all", "count"].max() == len(table)

    def test_observations_that_no_forecast_reaches_are_refused(
        self, shared_world, tmp_path, capsys
    ):
        path = tmp_path / "late.csv"
        plain(time=["2010-01-01"] * 3).to_csv(path, index=False)
        start = shared_world.config.forecast.start_dates()[0]
        store = str(shared_world.layout.forecast_store(start))
        words = ["evaluate", "observations", "--observations", str(path), "--forecast", store]
        words += ["--output", str(tmp_path)]
        assert cli.main(words) == 2
        assert "no observation lies on a day and in the sea" in capsys.readouterr().err
        assert cli.main([*words, "--set", "a=1"]) == 2
        assert "no configuration is used with --forecast" in capsys.readouterr().err

    def test_options_of_files_are_refused_beside_a_configuration(self, tmp_path, capsys):
        words = ["evaluate", "observations", "--observations", "o.csv", "--truth", "t.nc"]
        assert cli.main(words) == 2
        assert "--truth: the configuration says it" in capsys.readouterr().err
