from __future__ import annotations

import os
import subprocess
import sys
from itertools import combinations
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from matplotlib.text import Text

from hybridom.config import narrow, write_stage
from hybridom.config.output import Baseline
from hybridom.errors import UserError
from hybridom.figures import (
    FIGURES,
    acc_lead,
    bias_lead,
    draw,
    figure_inputs,
    figure_names,
    figure_outputs,
    maps,
    profiles,
    rmse_lead,
    scorecard,
    skill_lead,
    style,
    training_curves,
)
from hybridom.figures.inputs import chosen_levels, map_fields
from hybridom.grid import Grid, write_grid
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC
from tests.figures.conftest import altered

REGIONAL = ("edges_lead", "gate_weights")
# What the options of the test world give.
NAMES = [
    name
    for name, figure in FIGURES.items()
    if (figure.variable in (None, "thetao") and name not in REGIONAL)
    or figure.module == "maps"
    or (figure.module, figure.variable) == ("hovmoeller", "zos")
]
PICTURES = [name for name in NAMES if not FIGURES[name].moving]


@pytest.mark.parametrize("name", PICTURES)
def test_every_figure_is_drawn_and_is_not_blank(drawn, name):
    (path,) = figure_outputs(name, drawn.config, drawn.layout)
    picture = imread(path)[..., :3]
    assert picture.std() > 0.02
    ink = (picture.min(axis=-1) < 0.9).mean()
    assert 0.01 < ink < 0.9
    assert not list(drawn.layout.figures_dir.glob("*.partial"))


@pytest.mark.parametrize("name", PICTURES)
def test_no_text_is_cut_off_at_the_edge(drawn, name):
    """The outermost pixels of every picture are white."""
    picture = imread(figure_outputs(name, drawn.config, drawn.layout)[0])[..., :3]
    edges = (picture[0], picture[-1], picture[:, 0], picture[:, -1])
    assert all((edge > 0.99).all() for edge in edges)


def test_the_same_inputs_give_the_same_bytes_in_another_process(drawn, tmp_path):
    config = altered(drawn.config, formats=("png", "pdf", "svg"))
    names = ("acc_lead", "maps_zos", "animation_thetao")
    paths = [path for name in names for path in draw(name, config, drawn.layout)]
    assert [path.suffix for path in paths] == [*[".png", ".pdf", ".svg"] * 2, ".gif"]
    before = {path: path.read_bytes() for path in paths}
    assert before[paths[1]].startswith(b"%PDF")
    assert not any(b"Matplotlib v" in content for content in before.values())
    write_stage(config, "figures", tmp_path / "figures.yaml")
    code = (
        "import sys; from hybridom.config import load_stage; from hybridom.figures import draw;"
        "from hybridom.layout import Layout; c = load_stage(sys.argv[1], 'figures');"
        f"[draw(name, c, Layout(c)) for name in {names}]"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    command = [sys.executable, "-c", code, tmp_path / "figures.yaml"]
    subprocess.run(command, check=True, env=environment)
    for path, content in before.items():
        assert path.read_bytes() == content, path.name


def test_another_option_changes_that_figure_alone(drawn):
    every = [p for name in NAMES for p in figure_outputs(name, drawn.config, drawn.layout)]
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in every}
    changed = draw("acc_lead", altered(drawn.config, dpi=50, formats=("png",)), drawn.layout)
    after = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in every}
    assert {path for path in every if before[path] != after[path]} == set(changed)
    changed[0].write_bytes(before[changed[0]][1])


def test_an_unknown_name_is_refused_with_the_nearest_known(scored):
    for ask in (draw, figure_inputs, figure_outputs):
        with pytest.raises(UserError, match=r"'rsme_lead' is unknown.*'rmse_lead'"):
            ask("rsme_lead", scored.config, scored.layout)
    with pytest.raises(UserError, match="choose one of rmse_lead, skill_lead"):
        draw("q", scored.config, scored.layout)


def test_inputs_are_what_a_figure_reads(scored):
    def inputs(name):
        return set(figure_inputs(name, scored.config, scored.layout))

    layout, start = scored.layout, scored.config.forecast.first
    assert inputs("rmse_lead") == {layout.scores_parquet}
    assert inputs("training_curves") == {layout.train_log}
    assert inputs("maps_so") == {
        layout.grid_file,
        layout.forecast_manifest(start),
        layout.state_manifest(2004),
    }
    for name in figure_names(scored.config):
        assert all(path.is_file() for path in inputs(name))


def test_a_stage_configuration_is_enough(scored):
    config = narrow(scored.config, "figures")
    assert figure_names(config) == NAMES
    assert figure_inputs("maps_so", config, scored.layout)


def test_a_grid_of_one_level_has_no_profiles(scored):
    grid = scored.config.grid.model_copy(update={"depths": (5.0,)})
    config = scored.config.model_copy(update={"grid": grid})
    assert set(NAMES) - set(figure_names(config)) == {"profiles"}


def test_asking_for_names_loads_no_plotting_library():
    code = (
        "import sys, hybridom.figures;"
        "assert not {'matplotlib', 'cartopy', 'xarray', 'pandas', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def lines(axes):
    """Lines of a panel by label."""
    return {line.get_label(): line for line in axes.get_lines()}


def test_rmse_curves_are_the_scores(scored):
    with style.context():
        figure = rmse_lead.figure(scored.config, scored.layout)
    table = pd.read_parquet(scored.layout.scores_parquet)
    keep = (table["metric"] == "rmse_mean") & (table["region"] == "global")
    keep &= (table["variable"] == "thetao") & (table["depth"] == 5.0)
    names = {
        "model": "Model",
        "persistence": "Persistence",
        "climatology": "Climatology",
        "damped_persistence": "Damped persistence",
    }
    assert set(lines(figure.axes[0])) == set(names.values())
    for system, label in names.items():
        expected = table[keep & (table["system"] == system)].sort_values("lead")
        line = lines(figure.axes[0])[label]
        np.testing.assert_array_equal(line.get_xdata(), expected["lead"])
        np.testing.assert_array_equal(line.get_ydata(), expected["value"])


def test_panels_are_lettered_named_and_have_units(scored):
    with style.context():
        figure = rmse_lead.figure(scored.config, scored.layout)
    panels = [axes for axes in figure.axes if axes.axison]
    assert len(panels) == 2 * 4 + 1
    titles = [axes.get_title(loc="left") for axes in panels]
    assert [f"({letter})" in title for letter, title in zip("abcdefghi", titles, strict=True)] == [
        True
    ] * 9
    assert {axes.get_ylabel() for axes in panels} == {
        "RMSE (°C)",
        "RMSE (psu)",
        "RMSE (m s⁻¹)",
        "RMSE (m)",
    }


def test_correlation_has_no_climatology_and_bias_has(scored):
    with style.context():
        correlation = acc_lead.figure(scored.config, scored.layout)
        bias = bias_lead.figure(scored.config, scored.layout)
    assert "Climatology" not in lines(correlation.axes[0])
    assert {"Model", "Persistence", "Damped persistence"} <= set(lines(correlation.axes[0]))
    every = {"Model", "Persistence", "Climatology", "Damped persistence"}
    assert every <= set(lines(bias.axes[0]))


def test_figures_show_the_systems_that_were_scored(scored, tmp_path, monkeypatch):
    table = pd.read_parquet(scored.layout.scores_parquet)
    path = tmp_path / "scores.parquet"
    gone = ["skill_persistence", "skill_damped_persistence"]
    keep = table["system"].isin(["model", "climatology"]) & ~table["metric"].isin(gone)
    table[keep].to_parquet(path, index=False)
    monkeypatch.setattr(scored.layout, "table", lambda family: path)
    for module, expected in (
        (rmse_lead, {"Model", "Climatology"}),
        (acc_lead, {"Model"}),
        (skill_lead, {"Climatology"}),
    ):
        with style.context():
            figure = module.figure(scored.config, scored.layout)
        assert {x for x in lines(figure.axes[0]) if not x.startswith("_")} == expected
    with style.context():
        style.save(scorecard.figure(scored.config, scored.layout), [tmp_path / "s.png"], 40)
        style.save(profiles.figure(scored.config, scored.layout), [tmp_path / "p.png"], 40)


def test_maps_show_forecast_truth_and_their_difference_on_one_level(scored):
    start = scored.config.forecast.start_dates()[1]
    config = altered(scored.config, depths=(90.0,), leads=(2, 5), start=start)
    _, level, forecast, truth = map_fields(config, scored.layout, "thetao", start)
    assert level == 2
    offset = scored.on(start)
    wet = scored.wet[2]
    for row, lead in enumerate((2, 5)):
        expected = scored.forecasts[start]["thetao"][lead, 2]
        np.testing.assert_array_equal(forecast[row][wet], expected[wet].astype(np.float32))
        np.testing.assert_array_equal(
            truth[row][wet], scored.truth["thetao"][offset + lead, 2][wet]
        )
    with style.context():
        figure = maps.figure(config, scored.layout, "thetao")
    texts = {text.get_text() for text in figure.findobj(Text)}
    assert any("forecast from 2004-02-28" in text for text in texts)
    assert any("100 m" in text for text in texts)
    difference = figure.axes[2].collections[0].get_array()
    shown = np.sort(np.ma.compressed(np.ma.masked_invalid(difference)))
    np.testing.assert_allclose(shown, np.sort((forecast - truth)[0][wet]))


def test_colours_of_a_difference_are_symmetric():
    norm = maps.limits(np.array([-1.0, 0.5, 3.0, np.nan]), signed=True)
    assert norm.vmin == -norm.vmax
    flat = maps.limits(np.zeros(4), signed=True)
    assert flat.vmax > flat.vmin
    for signed in (True, False):
        nothing = maps.limits(np.full(4, np.nan), signed)
        assert nothing.vmax > nothing.vmin


def test_profiles_show_the_model_and_both_persistences_at_every_lead(scored):
    with style.context():
        figure = profiles.figure(scored.config, scored.layout)
    drawn_lines = [line for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 3]
    assert len(drawn_lines) == 3 * len(scored.config.figures.leads)
    np.testing.assert_array_equal(drawn_lines[0].get_ydata(), scored.grid.depth)


def test_a_forecast_that_is_too_short_or_of_another_grid_is_refused(scored, tmp_path):
    forecast = scored.config.forecast.model_copy(update={"days": 6})
    longer = altered(scored.config, leads=(1, 6)).model_copy(update={"forecast": forecast})
    with pytest.raises(UserError, match=r"lead 6 is missing; run `hybridom forecast --start"):
        draw("maps_zos", longer, scored.layout)
    grid = Grid.regular(15.0, depths=(5.0,))
    wet = np.ones(grid.shape, bool)
    write_grid(tmp_path / "grid.nc", grid, wet, wet.astype(float), {})
    layout = Layout(scored.config)
    layout.grid_file = tmp_path / "grid.nc"
    with pytest.raises(UserError, match=r"\(12, 24\) rows and columns.*zos has \(6, 12\)"):
        draw("maps_zos", scored.config, layout)


def test_a_lead_beyond_the_forecast_is_refused(scored):
    for name in ("maps_zos", "profiles"):
        with pytest.raises(UserError, match=r"figures\.leads: 9 .* forecast\.days 5"):
            draw(name, altered(scored.config, leads=(1, 9)), scored.layout)


def test_a_training_without_steps_is_drawn(scored, tmp_path, monkeypatch):
    header = pd.read_csv(scored.layout.train_log).iloc[:0]
    path = tmp_path / "metrics.csv"
    header.to_csv(path, index=False)
    monkeypatch.setattr(scored.layout, "train_log", path)
    with style.context():
        style.save(training_curves.figure(scored.config, scored.layout), [tmp_path / "t.png"], 40)
    assert (tmp_path / "t.png").stat().st_size > 1000


def test_missing_inputs_are_named_with_the_command_that_makes_them(synthetic, tmp_path):
    config = synthetic.make_config(tmp_path)
    for name, words in (
        ("rmse_lead", "hybridom evaluate aggregate"),
        ("training_curves", "hybridom train"),
        ("maps_zos", "hybridom prepare grid"),
    ):
        with pytest.raises(UserError, match=words):
            draw(name, config, Layout(config))


def test_levels_are_the_nearest_and_each_is_drawn_once():
    depths = np.array([5.0, 20.0, 100.0])
    assert chosen_levels(depths, (0.0, 7.0, 90.0)) == [0, 2]


def test_letters_go_on_after_z():
    letters = style.letters()
    names = [next(letters) for _ in range(29)]
    assert names[:2] == ["(a)", "(b)"]
    assert names[25:] == ["(z)", "(aa)", "(ab)", "(ac)"]


def test_every_variable_has_a_colour_a_map_and_a_unit():
    for name in PROGNOSTIC:
        assert style.unit(name) and style.NAMES[name] and style.VARIABLE_COLOURS[name]
        assert style.MAPS[name].N >= 256


# Machado, Oliveira and Fernandes (2009), severity 1, for linear RGB.
VISION = {
    "all colours": np.eye(3),
    "no red": [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]],
    "no green": [[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]],
    "no blue": [[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0047, 0.6914, 0.3039]],
}
XYZ = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]


def lab(colour, vision):
    """CIE L*a*b* (D65) of a colour as it is seen."""
    x = np.array(to_rgb(colour))
    linear = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(vision) @ linear, 0.0, 1.0)
    ratio = np.array(XYZ) @ seen / np.sum(XYZ, axis=1)
    f = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("vision", VISION)
def test_systems_are_told_apart_by_colour_and_line_in_every_vision(vision):
    assert set(style.COLOURS) == set(style.LINES)
    colours = [*style.COLOURS.values(), style.TRUTH_COLOUR]
    assert len(set(style.LINES.values())) == len(style.LINES)
    seen = [lab(colour, VISION[vision]) for colour in colours]
    for one, other in combinations(seen, 2):
        assert np.linalg.norm(one - other) > 15  # 2.3 is just noticed


def test_every_system_that_can_be_scored_has_a_look():
    assert set(style.COLOURS) == {"model", *get_args(Baseline)}
