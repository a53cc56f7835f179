"""Scores of ensembles against xskillscore, double loops and closed forms."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import xskillscore as xs

from hybridom.config.output import EvaluationConfig
from hybridom.errors import UserError
from hybridom.evaluation.ensembles import (
    cell_ranks,
    cell_scores,
    evaluate_members,
    open_members,
)
from hybridom.evaluation.external.opening import Files
from hybridom.grid import Grid
from hybridom.variables import cf_attributes

GRID = Grid.regular(45.0, depths=(5.0, 20.0))
START = dt.date(2024, 2, 28)
DAYS, MEMBERS = 2, 4
SETTINGS = EvaluationConfig(regions={"north": (0, 90, -180, 180)})
RNG = np.random.default_rng(11)
WET = np.logical_and.accumulate(RNG.random(GRID.shape) > 0.3, axis=0)


def noise(*leading: int) -> dict[str, np.ndarray]:
    """thetao and zos, float32, NaN on land."""
    shapes = {"thetao": WET, "zos": WET[0]}
    return {
        name: np.where(wet, RNG.normal(size=(*leading, *wet.shape)), np.nan).astype(np.float32)
        for name, wet in shapes.items()
    }


def dataset(fields: dict[str, np.ndarray], leading: tuple[str, ...], **coords) -> xr.Dataset:
    axes = {"thetao": ("depth", "latitude", "longitude"), "zos": ("latitude", "longitude")}
    return xr.Dataset(
        {name: ((*leading, *axes[name]), x, cf_attributes(name)) for name, x in fields.items()},
        coords={"depth": GRID.depth, "latitude": GRID.lat, "longitude": GRID.lon, **coords},
    )


def days(count: int) -> np.ndarray:
    return np.datetime64(START, "ns") + np.arange(1, count + 1) * np.timedelta64(1, "D")


@pytest.fixture(scope="module")
def members() -> dict[str, np.ndarray]:
    """(members, leads, ...)."""
    return noise(MEMBERS, DAYS)


@pytest.fixture(scope="module")
def truth() -> dict[str, np.ndarray]:
    return noise(DAYS)


@pytest.fixture(scope="module")
def truth_file(truth, tmp_path_factory):
    path = tmp_path_factory.mktemp("truth") / "truth.nc"
    dataset(truth, ("time",), time=days(DAYS)).to_netcdf(path)
    return path


@pytest.fixture(scope="module")
def one_store(members, tmp_path_factory):
    path = tmp_path_factory.mktemp("ensemble") / "ensemble.zarr"
    data = dataset(members, ("realization", "time"), time=days(DAYS))
    data.to_zarr(path, zarr_format=2)
    return path


@pytest.fixture(scope="module")
def tables(one_store, truth_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scores")
    evaluate_members(Files((one_store,), (truth_file,)), folder, SETTINGS)
    return folder


def value(table: pd.DataFrame, **wanted) -> float:
    for key, x in wanted.items():
        if isinstance(x, float) and np.isnan(x):
            table = table[table[key].isna()]
        else:
            table = table[table[key] == x]
    return table["value"].item()


@pytest.mark.parametrize("level", [0, 1])
def test_crps_is_that_of_xskillscore(tables, members, truth, level):
    table = pd.read_parquet(tables / "ensemble.parquet")
    weights = xr.DataArray(GRID.area * np.ones(GRID.nx), dims=("y", "x"))
    for lead in range(1, DAYS + 1):
        observed = xr.DataArray(truth["thetao"][lead - 1, level], dims=("y", "x"))
        forecast = xr.DataArray(members["thetao"][:, lead - 1, level], dims=("member", "y", "x"))
        by_cell = xs.crps_ensemble(observed.astype(float), forecast.astype(float), dim=[])
        expected = by_cell.weighted(weights).mean().item()
        found = value(
            table,
            lead=lead,
            region="global",
            variable="thetao",
            metric="crps",
            depth=GRID.depth[level],
        )
        assert found == pytest.approx(expected, rel=1e-6)


def test_all_scores_are_those_of_loops_over_members_and_cells(tables, members, truth):
    table = pd.read_parquet(tables / "ensemble.parquet")
    names = ("crps", "crps_fair", "variance", "square")
    for region, inside in (("global", np.ones(GRID.ny, bool)), ("north", GRID.lat >= 0)):
        total = dict.fromkeys(names, 0.0)
        weight = 0.0
        for k in range(GRID.nz):
            for j in np.flatnonzero(inside):
                for i in range(GRID.nx):
                    if not WET[k, j, i]:
                        continue
                    x = members["thetao"][:, 1, k, j, i].astype(float)
                    y = float(truth["thetao"][1, k, j, i])
                    w = GRID.area[j, 0] * GRID.dz[k]
                    pairs = sum(abs(a - b) for a in x for b in x)
                    error = np.mean([abs(a - y) for a in x])
                    total["crps"] += w * (error - pairs / (2 * MEMBERS**2))
                    total["crps_fair"] += w * (error - pairs / (2 * MEMBERS * (MEMBERS - 1)))
                    total["variance"] += w * sum((a - x.mean()) ** 2 for a in x) / (MEMBERS - 1)
                    total["square"] += w * (x.mean() - y) ** 2
                    weight += w
        mean = {name: x / weight for name, x in total.items()}
        expected = {
            "crps": mean["crps"],
            "crps_fair": mean["crps_fair"],
            "spread": np.sqrt(mean["variance"]),
            "rmse_mean": np.sqrt(mean["square"]),
            "rmse_pooled": np.sqrt(mean["square"]),
            "spread_skill": np.sqrt((MEMBERS + 1) / MEMBERS * mean["variance"] / mean["square"]),
            "members": MEMBERS,
        }
        for metric, x in expected.items():
            found = value(
                table, lead=2, region=region, variable="thetao", metric=metric, depth=np.nan
            )
            assert found == pytest.approx(x, rel=1e-6), metric
    assert set(table["metric"]) == set(expected)


def test_ranks_are_those_of_xskillscore(members, truth):
    y, x = truth["zos"][0][WET[0]].astype(float), members["zos"][:, 0][:, WET[0]].astype(float)
    found = np.bincount(cell_ranks(x, y, np.random.default_rng(0)), minlength=MEMBERS + 1)
    expected = xs.rank_histogram(
        xr.DataArray(y, dims="cell"), xr.DataArray(x, dims=("member", "cell")), dim="cell"
    )
    np.testing.assert_array_equal(found, expected)


def test_the_histogram_is_a_share_of_the_area(tables, members, truth):
    table = pd.read_parquet(tables / "rank_histogram.parquet")
    assert list(table["rank"].unique()) == list(range(MEMBERS + 1))
    expected = np.zeros(MEMBERS + 1)
    for j in range(GRID.ny):
        for i in range(GRID.nx):
            if WET[1, j, i]:
                rank = (members["thetao"][:, 0, 1, j, i] < truth["thetao"][0, 1, j, i]).sum()
                expected[rank] += GRID.area[j, 0]
    expected /= expected.sum()
    for rank, share in enumerate(expected):
        found = value(
            table, lead=1, region="global", variable="thetao", depth=GRID.depth[1], rank=rank
        )
        assert found == pytest.approx(share, rel=1e-9, abs=1e-15)


def test_ties_are_drawn_evenly_and_always_alike():
    x, y = np.zeros((3, 40_000)), np.zeros(40_000)
    first = cell_ranks(x, y, np.random.default_rng(5))
    np.testing.assert_array_equal(first, cell_ranks(x, y, np.random.default_rng(5)))
    share = np.bincount(first, minlength=4) / y.size
    # Four standard deviations of a share of one quarter.
    np.testing.assert_allclose(share, 0.25, atol=4 * np.sqrt(0.1875 / y.size))
    half = cell_ranks(np.array([[0.0], [1.0], [1.0]]), np.array([1.0]), np.random.default_rng(1))
    assert 1 <= half[0] <= 3


def test_members_that_are_all_the_truth_have_no_error():
    y = np.array([1.0, -2.0])
    crps, fair, variance, square = cell_scores(np.stack([y, y, y]), y)
    for score in (crps, fair, variance, square):
        np.testing.assert_array_equal(score, 0.0)


def test_fair_crps_does_not_depend_on_the_number_of_members():
    rng = np.random.default_rng(2)
    y = rng.normal(size=200_000)
    means = []
    for n in (2, 10):
        x = rng.normal(size=(n, y.size))
        crps, fair, variance, square = cell_scores(x, y)
        means.append((crps.mean(), fair.mean()))
        ratio = np.sqrt((n + 1) / n * variance.mean() / square.mean())
        assert ratio == pytest.approx(1.0, abs=0.01)
    # A normal forecast that knows the distribution: CRPS = 1 / sqrt(pi).
    assert means[0][1] == pytest.approx(1 / np.sqrt(np.pi), abs=0.005)
    assert means[1][1] == pytest.approx(1 / np.sqrt(np.pi), abs=0.005)
    assert means[0][0] > means[1][0] + 0.1


def test_one_store_a_member_is_the_same(tables, members, truth_file, tmp_path):
    paths = []
    for number in range(MEMBERS):
        part = {name: x[number] for name, x in members.items()}
        paths.append(tmp_path / f"{number}.nc")
        dataset(part, ("time",), time=days(DAYS)).to_netcdf(paths[-1])
    folder = tmp_path / "scores"
    evaluate_members(Files(tuple(paths), (truth_file,)), folder, SETTINGS)
    for name in ("ensemble", "rank_histogram"):
        pd.testing.assert_frame_equal(
            pd.read_parquet(folder / f"{name}.parquet"), pd.read_parquet(tables / f"{name}.parquet")
        )


def test_a_common_mask_is_that_of_all_members(members, truth_file, tmp_path):
    holed = {name: x.copy() for name, x in members.items()}
    row, column = np.argwhere(WET[0])[2]
    holed["zos"][3, :, row, column] = np.nan
    path = tmp_path / "holed.zarr"
    dataset(holed, ("realization", "time"), time=days(DAYS)).to_zarr(path, zarr_format=2)
    with pytest.raises(UserError, match="zos has no value in 1 wet cells"):
        evaluate_members(Files((path,), (truth_file,)), tmp_path / "a", SETTINGS)
    opened, _ = open_members(Files((path,), (truth_file,), mask="common"))
    expected = WET.copy()
    expected[:, row, column] = False
    np.testing.assert_array_equal(opened.wet, expected)


def test_one_member_and_members_that_differ_are_refused(members, truth_file, tmp_path, one_store):
    part = {name: x[0] for name, x in members.items()}
    single, short = tmp_path / "a.nc", tmp_path / "b.nc"
    dataset(part, ("time",), time=days(DAYS)).to_netcdf(single)
    dataset(part, ("time",), time=days(DAYS)).isel(time=[0]).to_netcdf(short)

    def refused(*paths) -> str:
        with pytest.raises(UserError) as error:
            evaluate_members(Files(paths, (truth_file,)), tmp_path / "scores", SETTINGS)
        return str(error.value)

    assert "a.nc: one member; expected two or more" in refused(single)
    assert "b.nc: other start dates, variables or leads than in" in refused(single, short)
    assert "ensemble.zarr has 4 members and" in refused(single, one_store)


def test_the_command_scores_members_and_refuses_what_it_would_not_use(
    one_store, truth_file, tmp_path, tables, capsys
):
    from hybridom import cli

    words = ["evaluate", "--members", str(one_store), "--truth", str(truth_file)]
    words += ["--output", str(tmp_path / "out"), "--region", "north=0,90,-180,180"]
    assert cli.main(words) == 0
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "out" / "ensemble.csv"), pd.read_csv(tables / "ensemble.csv")
    )
    assert cli.main([*words, "--climatology", "c.zarr"]) == 2
    assert "--climatology: scores of ensembles use none" in capsys.readouterr().err
