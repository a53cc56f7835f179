from __future__ import annotations

import logging

import netCDF4
import numpy as np
import pytest

from hybridom.data.prepare import prepare_grid
from hybridom.data.prepare.grid import wet_cells
from hybridom.data.raw.axes import SourceAxes
from hybridom.data.regrid import Regridder
from hybridom.data.thickness import layer_thickness
from hybridom.errors import UserError
from hybridom.grid import Grid, read_grid, read_thickness, write_grid
from hybridom.masks import without_overhangs
from tests.data.raw import DEPTHS, LAT, LON, USED_DEPTHS, ocean_wet, raw_config

INTERFACES = np.concatenate([[0], (DEPTHS[1:] + DEPTHS[:-1]) / 2, [600]])  # of full levels, m
FILL = np.float32(1e20)
SOURCE = SourceAxes(LAT, LON, DEPTHS)
LEVELS = [1, 3, 4]  # of USED_DEPTHS
GRID = Grid.regular(20.0, depths=USED_DEPTHS)


def partial_cells(wet):
    """e3t with a thinner last cell: 60 to 100 % of the level, other in every column."""
    e3t = np.broadcast_to(np.diff(INTERFACES)[:, None, None], wet.shape).copy()
    share = np.random.default_rng(0).uniform(0.6, 1.0, wet.shape[1:])
    last = wet & ~np.concatenate([wet[1:], np.zeros_like(wet[:1])])
    return np.where(last, e3t * share, e3t)


def write_static(folder, wet, e3t, levels=slice(None), rows=slice(None), columns=slice(None)):
    """The product's two static files, north to south, of some levels and a box."""
    folder.mkdir(parents=True, exist_ok=True)
    turned = np.arange(LAT.size)[rows][::-1]
    pick = np.ix_(np.arange(DEPTHS.size)[levels], turned, np.arange(LON.size)[columns])
    floor = np.where(wet, DEPTHS[:, None, None], 0).max(axis=0)
    floor = np.where(wet[0], floor, FILL)
    thickness = np.where(wet, e3t, FILL)
    for name, fields in (
        ("coordinates", {"e3t": ("f4", thickness[pick], FILL)}),
        (
            "mask_bathy",
            {
                "mask": ("i1", wet[pick].astype(np.int8), None),
                "deptho": ("f4", floor[pick[1:][0][0], pick[2][0]], FILL),
            },
        ),
    ):
        with netCDF4.Dataset(folder / f"GLO-MFC_001_030_{name}.nc", "w") as file:
            for axis, values in (
                ("depth", DEPTHS[levels]),
                ("latitude", LAT[turned]),
                ("longitude", LON[columns]),
            ):
                file.createDimension(axis, values.size)
                file.createVariable(axis, "f4", (axis,))[:] = values
            for key, (kind, values, fill) in fields.items():
                axes = ("depth", "latitude", "longitude")[3 - values.ndim :]
                variable = file.createVariable(key, kind, axes, fill_value=fill)
                variable.set_auto_maskandscale(False)
                variable[:] = values


@pytest.fixture
def wet():
    return ocean_wet()


def model_wet(wet, grid=GRID, source=SOURCE):
    fraction = Regridder(source.lat, source.lon, grid, wet[LEVELS]).wet_fraction
    return without_overhangs(fraction >= 0.5)


def thickness_of(folder, wet, grid=GRID, source=SOURCE):
    held = model_wet(wet, grid, source)
    return layer_thickness(folder, source, wet[LEVELS], grid, held), held


def test_full_cells_give_the_layers_of_the_grid_down_to_the_sea_floor(wet, tmp_path):
    wet = np.broadcast_to(wet[:1], wet.shape)  # down to the lowest level everywhere
    full = np.broadcast_to(np.diff(INTERFACES)[:, None, None], wet.shape)
    write_static(tmp_path, wet, full)
    found, held = thickness_of(tmp_path, wet)
    assert held.any() and np.isnan(found[~held]).all()
    expected = np.diff(np.minimum(GRID.depth_bounds, INTERFACES[-1]))
    for k in range(GRID.nz):
        np.testing.assert_allclose(found[k][held[k]], expected[k], rtol=1e-6)


def test_thickness_is_the_area_weighted_overlap_with_each_column(wet, tmp_path):
    e3t = partial_cells(wet)
    write_static(tmp_path, wet, e3t)
    found, held = thickness_of(tmp_path, wet)
    edges = np.clip(np.append(LAT - 5, 95.0), -90, 90)  # rows are centred on their node
    for k, j, i in np.argwhere(held):
        volume = area = 0.0
        for m, n in np.argwhere(wet[LEVELS[k]]):
            height = np.sin(np.radians([edges[m], edges[m + 1]]))
            limits = np.sin(np.radians(GRID.lat_bounds[j : j + 2]))
            tall = min(height[1], limits[1]) - max(height[0], limits[0])
            wide = max(
                min(LON[n] + 5 + turn, GRID.lon_bounds[i + 1])
                - max(LON[n] - 5 + turn, GRID.lon_bounds[i])
                for turn in (-360, 0, 360)
            )
            if tall <= 1e-12 or wide <= 0:
                continue
            bottom = e3t[:, m, n][wet[:, m, n]].sum()
            low, high = GRID.depth_bounds[k : k + 2]
            area += tall * wide
            volume += tall * wide * max(0.0, min(bottom, high) - low)
        np.testing.assert_allclose(found[k, j, i], volume / area, rtol=1e-6)


def test_static_files_may_cover_more_than_the_daily_files(wet, tmp_path):
    write_static(tmp_path, wet, partial_cells(wet))
    whole, _ = thickness_of(tmp_path, wet)
    rows, columns = slice(1, 12), slice(4, 15)
    source = SourceAxes(LAT[rows], LON[columns], DEPTHS)
    grid = Grid.regular(20.0, (-70.0, 30.0), (-140.0, -40.0), USED_DEPTHS)
    found, held = thickness_of(tmp_path, wet[:, rows, columns], grid, source)
    inside = whole[:, 1:6, 2:7]
    np.testing.assert_array_equal(found[held], inside[held])
    smaller = tmp_path / "box"
    write_static(smaller, wet, partial_cells(wet), rows=rows, columns=columns)
    again, _ = thickness_of(smaller, wet[:, rows, columns], grid, source)
    np.testing.assert_array_equal(again, found)
    with pytest.raises(UserError, match=r"variable e3t has no lat point at 90, .*box or larger"):
        thickness_of(smaller, wet)


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ([0, 1, 2, 3], r"no level at 453.938 m as grid.depths wants"),
        ([1, 2, 3, 4], r"levels of e3t are absent at or above 55.7643 m"),
        ([0, 1, 3, 4], r"levels of e3t are absent at or above 155.851 m .* to 32.66"),
    ],
)
def test_absent_levels_are_refused(wet, tmp_path, levels, message):
    write_static(tmp_path, wet, partial_cells(wet), levels=levels)
    with pytest.raises(UserError, match=message):
        thickness_of(tmp_path, wet)


def test_a_column_that_goes_on_below_the_lowest_level_is_refused(wet, tmp_path):
    """Of 3 levels of 5, the lower interface of the last model layer lies below their end."""
    e3t = partial_cells(wet)
    write_static(tmp_path, wet, e3t, levels=slice(0, 3))
    grid = Grid.regular(20.0, depths=tuple(DEPTHS[[0, 2]]))
    assert grid.depth_bounds[-1] > 80
    reach = INTERFACES[3]
    held = Regridder(LAT, LON, grid, wet[[0, 2]]).wet_fraction >= 0.5
    layer_thickness(tmp_path, SOURCE, wet[[0, 2]], grid, held)
    deeper = Grid.regular(20.0, depths=(DEPTHS[0], DEPTHS[2]))
    bounds = deeper.depth_bounds.copy()
    bounds[-1] = reach + 10
    deeper = Grid(**{**vars_of(deeper), "depth_bounds": bounds})
    with pytest.raises(UserError, match=r"levels of e3t below 55.7643 m are absent, where deptho"):
        layer_thickness(tmp_path, SOURCE, wet[[0, 2]], deeper, held)


def vars_of(grid):
    names = ("lat", "lon", "lat_bounds", "lon_bounds", "depth", "depth_bounds", "periodic")
    return {name: getattr(grid, name) for name in names}


def test_another_mask_is_refused_with_counts(wet, tmp_path):
    static = wet.copy()
    static[3, 6, 2:5] = False
    static[4, 6, 2:5] = False
    write_static(tmp_path, static, partial_cells(static))
    with pytest.raises(UserError, match=r"mask_bathy.nc: .*3 and 0 at 155.851 m, 3 and 0 at 453"):
        thickness_of(tmp_path, wet)


def test_a_wet_cell_without_thickness_is_refused(wet, tmp_path):
    e3t = partial_cells(wet)
    e3t[2, 6, 2] = FILL
    write_static(tmp_path, wet, e3t)
    with pytest.raises(UserError, match=r"coordinates.nc: variable e3t has no .* 1 wet .* 55.7643"):
        thickness_of(tmp_path, wet)


def test_missing_and_double_static_variables_are_named(wet, tmp_path):
    with pytest.raises(UserError, match=r"no NetCDF file with variable e3t; .*static_dir"):
        thickness_of(tmp_path, wet)
    write_static(tmp_path / "a", wet, partial_cells(wet))
    (tmp_path / "a" / "GLO-MFC_001_030_mask_bathy.nc").rename(tmp_path / "kept.nc")
    with pytest.raises(UserError, match=r"no NetCDF file with variable mask"):
        thickness_of(tmp_path / "a", wet)
    write_static(tmp_path / "b", wet, partial_cells(wet))
    with pytest.raises(UserError, match=r"variable e3t is in .*; expected it in one file"):
        thickness_of(tmp_path, wet)


# grid.nc


def test_grid_nc_carries_the_thickness_and_falls_back_to_the_layers(wet, tmp_path):
    write_static(tmp_path / "static", wet, partial_cells(wet))
    found, held = thickness_of(tmp_path / "static", wet)
    fraction = held.astype(float)
    write_grid(tmp_path / "with.nc", GRID, held, fraction, {}, found)
    np.testing.assert_array_equal(read_thickness(tmp_path / "with.nc"), found)
    with netCDF4.Dataset(tmp_path / "with.nc") as file:
        assert file["thickness"].standard_name == "cell_thickness"
        assert file["thickness"].dimensions == ("depth", "latitude", "longitude")
    write_grid(tmp_path / "without.nc", GRID, held, fraction, {})
    layers = read_thickness(tmp_path / "without.nc")
    assert (np.isfinite(layers) == held).all()
    np.testing.assert_allclose(layers[2][held[2]], GRID.dz[2], rtol=1e-6)


PERIODS = [("2000-02-20", "2000-02-29"), ("2000-03-01", "2000-03-02"), ("2000-03-03", "2000-03-08")]


def test_prepare_grid_writes_the_thickness_where_static_files_are_given(raw_files, tmp_path, wet):
    write_static(tmp_path / "static", wet, partial_cells(wet))
    folders = {key: str(raw_files / key) for key in ("ocean", "forcing")}
    source = {"kind": "files", **{f"{k}_dir": v for k, v in folders.items()}}
    source["static_dir"] = str(tmp_path / "static")
    config = raw_config(tmp_path, *PERIODS, source=source)
    from hybridom.layout import Layout

    layout = Layout(config)
    prepare_grid(config, layout)
    grid, held = read_grid(layout.grid_file)
    found = read_thickness(layout.grid_file)
    expected = layer_thickness(tmp_path / "static", SOURCE, wet[LEVELS], grid, held)
    np.testing.assert_array_equal(found, expected)
    assert (found[held] < np.broadcast_to(grid.dz[:, None, None], held.shape)[held]).any()


# masks


def test_a_wet_cell_under_a_dry_one_is_dry():
    wet = np.array([1, 0, 1, 1], bool)[:, None, None] & np.ones((4, 2, 3), bool)
    np.testing.assert_array_equal(without_overhangs(wet)[:, 0, 0], [True, False, False, False])
    fraction = np.array([0.9, 0.3, 0.8])[:, None, None] * np.ones((3, 1, 1))
    config = raw_config_of_threshold(0.5)
    np.testing.assert_array_equal(wet_cells(config, fraction)[:, 0, 0], [True, False, False])


def raw_config_of_threshold(threshold):
    from pathlib import Path

    config = raw_config(Path("nowhere"), *PERIODS)
    grid = config.grid.model_copy(update={"wet_threshold": threshold})
    return config.model_copy(update={"grid": grid})


def test_cells_that_are_made_dry_are_counted_in_the_log(world, monkeypatch, caplog):
    from hybridom.data.prepare import grid as stage

    fraction = np.ones(GRID.shape)
    fraction[1, 2, 3] = 0.0

    class Odd:
        def __init__(self, *arguments):
            self.wet_fraction = fraction

    monkeypatch.setattr(stage, "Regridder", Odd)
    with caplog.at_level(logging.WARNING):
        prepare_grid(world.config, world.layout)
    assert "grid.nc: 1 wet cells under dry ones are made dry" in caplog.text
    _, wet = read_grid(world.layout.grid_file)
    assert not wet[1:, 2, 3].any() and wet.sum() == wet.size - 2
