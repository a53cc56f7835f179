"""Figures of a region: its edges, the weights of its gate, and maps across the date line."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.image import imread

from hybridom.config import narrow
from hybridom.errors import UserError
from hybridom.figures import (
    draw,
    edges_lead,
    figure_inputs,
    figure_names,
    gate_weights,
    style,
    zoom,
)
from hybridom.figures.basemap import centre_longitude, draw_field, label_edges, projection
from hybridom.figures.registry import figure_outputs
from hybridom.variables import PROGNOSTIC
from tests.evaluation.regional import make_region
from tests.figures import tables
from tests.figures.conftest import altered

LEADS = (1, 5)


def weights(world, directions=2, levels=3, leads=LEADS):
    """Weights (lead, source, tracer, direction, level, ny, nx), another number for each entry."""
    shape = (len(leads), 3, 2, directions, levels, *world.grid.shape[1:])
    raw = np.random.default_rng(4).random(shape)
    found = raw / raw.sum(axis=1, keepdims=True)
    return np.where(world.wet[0], found, np.nan).astype(np.float32)


def write_weights(world, values, leads=LEADS, dims=gate_weights.DIMENSIONS):
    path = world.layout.gate_weights(world.config.forecast.first)
    path.parent.mkdir(parents=True, exist_ok=True)
    xr.Dataset({"weight": (dims, values)}, {"lead": list(leads)}).to_netcdf(path)
    return path


@pytest.fixture(scope="module")
def region(tmp_path_factory):
    """A region with invented tables and weights."""
    world = make_region(tmp_path_factory.mktemp("regional"))
    world.layout.table("scores").parent.mkdir(parents=True, exist_ok=True)
    tables.write_tables(world.config, world.layout.table("scores").parent)
    write_weights(world, weights(world))
    return world


def make(module, world, **figures):
    with style.context():
        return module.figure(altered(world.config, **figures), world.layout)


def test_a_region_has_figures_that_others_have_not(region):
    config = narrow(region.config, "figures")
    assert {"edges_lead", "gate_weights"} <= set(figure_names(config))
    without = region.config.evaluation.model_copy(update={"edges": 0})
    names = set(figure_names(region.config.model_copy(update={"evaluation": without})))
    assert "edges_lead" not in names and "gate_weights" in names
    names = set(figure_names(region.config.model_copy(update={"region": None})))
    assert "gate_weights" not in names and "edges_lead" in names
    start = config.forecast.start_dates()[1]
    later = altered(region.config, start=start)
    assert figure_inputs("gate_weights", later, region.layout) == [
        region.layout.grid_file,
        region.layout.gate_weights(start),
    ]
    assert figure_inputs("edges_lead", config, region.layout) == [region.layout.table("scores")]


@pytest.mark.parametrize("name", ["edges_lead", "gate_weights", "maps_thetao", "zoom", "rmse_lead"])
def test_figures_of_a_region_are_drawn_to_the_edge_of_nothing(region, name):
    (path,) = draw(name, narrow(region.config, "figures"), region.layout)
    assert [path] == figure_outputs(name, region.config, region.layout)
    picture = imread(path)[..., :3]
    assert picture.std() > 0.02
    edges = (picture[0], picture[-1], picture[:, 0], picture[:, -1])
    assert all((edge > 0.99).all() for edge in edges)


def test_lines_are_the_ratio_of_every_system_and_variable(region):
    figure = make(edges_lead, region)
    table = pd.read_parquet(region.layout.table("scores"))
    table = table[(table["metric"] == "edge_ratio") & table["depth"].isna()]
    panels = [axes for axes in figure.axes if axes.axison]
    assert len(panels) == len(PROGNOSTIC)
    for axes, name in zip(panels, PROGNOSTIC, strict=True):
        lines = {line.get_label(): line for line in axes.get_lines()}
        for system in ("model", *region.config.evaluation.baselines):
            rows = table[(table["variable"] == name) & (table["system"] == system)]
            line = lines.pop(style.system_name(system))
            np.testing.assert_array_equal(line.get_xdata(), rows["lead"])
            np.testing.assert_array_equal(line.get_ydata(), rows["value"])
        (limit,) = lines.values()
        assert set(limit.get_ydata()) == {1.2}
    assert [x.get_text() for x in figure.legends[0].get_texts()][-1] == "Model"


def test_scores_without_the_ratio_are_refused(region, tmp_path, monkeypatch):
    table = pd.read_parquet(region.layout.table("scores"))
    table[table["metric"] != "edge_ratio"].to_parquet(tmp_path / "scores.parquet")
    monkeypatch.setattr(region.layout, "table", lambda family: tmp_path / "scores.parquet")
    with pytest.raises(UserError, match=r"no rows of metric edge_ratio, .*evaluation\.edges 1"):
        make(edges_lead, region)


def shown(figure, rows):
    """What the panels show (rows, 3, ny, nx), the columns in the order of the map."""
    fields = [np.ma.filled(axes.collections[0].get_array(), np.nan) for axes in figure.axes[:-1]]
    assert len(fields) == 3 * rows
    return np.stack(fields).reshape(rows, 3, *fields[0].shape)


@pytest.mark.parametrize(("directions", "levels"), [(2, 3), (1, 3), (2, 1), (1, 1)])
def test_panels_are_the_weights_at_the_level_and_the_mean_of_the_directions(
    region, directions, levels
):
    values = weights(region, directions, levels)
    path = write_weights(region, values)
    try:
        figure = make(gate_weights, region, depths=(90.0, 5.0))
        found = shown(figure, 4)
        level = 2 if levels == 3 else 0
        for row, (lead, tracer) in enumerate((n, m) for n in range(2) for m in range(2)):
            expected = values[lead, :, tracer, :, level].mean(axis=1)
            np.testing.assert_allclose(found[row], expected, rtol=1e-6)
        title = figure.get_suptitle()
        assert ("100 m" in title) == (levels == 3)
        assert ("mean of both directions" in title) == (directions == 2)
    finally:
        path.unlink()
        write_weights(region, weights(region))


def test_the_panels_say_which_flux_and_day_and_share_colours_from_none_to_one(region):
    figure = make(gate_weights, region)
    titles = [axes.get_title(loc="left").split("$ ")[1] for axes in figure.axes[:-1]]
    assert titles[:3] == [
        "Temperature, day 1: own flux",
        "Temperature, day 1: driver, day 0",
        "Temperature, day 1: driver, day 1",
    ]
    assert titles[-1] == "Salinity, day 5: driver, day 5"
    for axes in figure.axes[:-1]:
        norm = axes.collections[0].norm
        assert (norm.vmin, norm.vmax) == (0.0, 1.0) and len(norm.boundaries) == 11
    assert figure.axes[-1].get_xlabel() == "Weight of a flux"


def test_the_order_of_dimensions_in_the_file_does_not_matter(region):
    values = weights(region)
    dims = tuple(reversed(gate_weights.DIMENSIONS))
    path = write_weights(region, values.transpose(), dims=dims)
    try:
        found = gate_weights.read_weights(path, region.grid, region.config.forecast.first)
        assert found[0] == list(LEADS)
        np.testing.assert_array_equal(found[1], values)
    finally:
        path.unlink()
        write_weights(region, values)


def test_weights_that_are_missing_or_of_another_grid_are_refused(region):
    start = region.config.forecast.first
    path = region.layout.gate_weights(start)
    kept = path.read_bytes()
    try:
        values = weights(region)
        for wrong, words in (
            (values[:, :2], "3 sources"),
            (values[..., :-1], "15 columns"),
            (values[:, :, :, :, :2], "1 or 3 levels"),
        ):
            path.unlink()
            write_weights(region, wrong)
            with pytest.raises(UserError, match=rf"weights of shape \(2, .*{words}"):
                make(gate_weights, region)
        path.unlink()
        write_weights(region, values[..., 0], dims=gate_weights.DIMENSIONS[:-1])
        with pytest.raises(UserError, match="variable weight has dimensions"):
            make(gate_weights, region)
        path.unlink()
        with pytest.raises(UserError, match=f"missing; run `hybridom region gate --start {start}`"):
            make(gate_weights, region)
    finally:
        path.write_bytes(kept)


def test_a_map_across_the_date_line_shows_the_whole_box_and_names_its_meridians(region):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    grid = region.grid
    assert centre_longitude(grid) == pytest.approx(-180.0) or centre_longitude(grid) == 180.0
    drawn = Figure(figsize=(4, 2))
    axes = drawn.add_subplot(projection=projection(grid))
    field = np.where(region.wet[0], np.arange(grid.nx)[None, :] + np.zeros((grid.ny, 1)), np.nan)
    with style.context():
        draw_field(axes, grid, field, style.MAPS["thetao"], style.Normalize(0, grid.nx))
        label_edges(axes, grid, True, True)
    FigureCanvasAgg(drawn).draw()
    np.testing.assert_allclose(axes.get_extent(), (-60, 60, 8, 64), atol=1e-3)
    texts = [text.get_text() for text in axes.get_xticklabels()]
    assert {"150°E", "180°", "150°W"} <= set(texts)
    np.testing.assert_array_equal(axes.collections[0].get_array(), field)


def test_a_box_across_the_date_line_is_cut_from_a_region_across_it(region):
    for box in ((16, 56, 170, -150), (16, 56, 170, 210), (16, 56, -190, -150)):
        near, rows, columns = zoom.crop(region.grid, box)
        np.testing.assert_array_equal(region.grid.lon[columns], near.lon)
        assert near.lon[0] == 172 and near.lon[-1] == 204 and list(rows) == [1, 2, 3, 4, 5]
