"""Curves against lead show what the tables hold."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from hybridom.errors import UserError
from hybridom.figures import (
    budgets,
    derived_lead,
    drift_lead,
    effective_resolution_lead,
    extremes_lead,
    heatwaves_lead,
    skill_lead,
    spectra,
    style,
)
from hybridom.figures.inputs import read_table


def make(module, world):
    with style.context():
        return module.figure(world.config, world.layout)


def rows(world, family: str, **keys) -> pd.DataFrame:
    """Rows of a table with these keys, by ascending lead."""
    table = pd.read_parquet(world.layout.table(family))
    for name, value in {"region": "global", **keys}.items():
        table = table[table[name].isna() if value is None else table[name] == value]
    assert len(table)
    return table.sort_values("lead")


def panel(figure, heading: str):
    """The first panel whose heading ends like this."""
    return next(x for x in figure.axes if x.get_title(loc="left").endswith(f"$ {heading}"))


def line(axes, label: str):
    return next(x for x in axes.get_lines() if x.get_label() == label)


def same(drawn, table: pd.DataFrame, factor: float = 1.0) -> None:
    np.testing.assert_array_equal(drawn.get_xdata(), table["lead"])
    np.testing.assert_allclose(drawn.get_ydata(), factor * table["value"], rtol=1e-12)


def band(axes, colour: str) -> np.ndarray:
    """Lowest and highest value of a system's band."""
    wanted = (*to_rgb(colour), 0.15)
    (found,) = [x for x in axes.collections if np.allclose(x.get_facecolor()[0], wanted)]
    vertices = found.get_paths()[0].vertices
    return np.array([vertices[:, 1].min(), vertices[:, 1].max()])


def test_skill_has_a_line_a_baseline_with_its_interval(scored):
    axes = make(skill_lead, scored).axes[0]
    for name in scored.config.evaluation.baselines:
        colour = style.COLOURS[name]
        table = rows(scored, "scores", variable="thetao", depth=5.0, metric=f"skill_{name}")
        same(line(axes, style.system_name(name)), table)
        expected = [table["low"].min(), table["high"].max()]
        np.testing.assert_allclose(band(axes, colour), expected)
    assert "Model" not in {x.get_label() for x in axes.get_lines()}


def test_skill_far_below_zero_is_cut(scored, tmp_path, monkeypatch):
    table = pd.read_parquet(scored.layout.table("scores"))
    bad = table["metric"] == "skill_climatology"
    table.loc[bad, ["value", "low", "high"]] = -50.0
    table.to_parquet(tmp_path / "scores.parquet")
    monkeypatch.setattr(scored.layout, "table", lambda family: tmp_path / "scores.parquet")
    assert make(skill_lead, scored).axes[0].get_ylim()[0] == -1.0


def test_extremes_have_a_row_a_score_and_percentile(scored):
    figure = make(extremes_lead, scored)
    labels = [axes.get_ylabel() for axes in figure.axes if axes.axison]
    expected = ["CSI above 90 %", "SEDI above 90 %", "CSI above 95 %", "SEDI above 95 %"]
    assert labels == [label for label in expected for _ in range(5)]
    # the last row, and in it the flat variable
    for number, keys in ((15, {"variable": "thetao"}), (19, {"variable": "zos"})):
        axes = figure.axes[number]
        for system in ("model", "damped_persistence"):
            table = rows(scored, "extremes", metric="sedi_p95", system=system, **keys)
            same(line(axes, style.system_name(system)), table)
        assert "Climatology" not in {x.get_label() for x in axes.get_lines()}


def test_heatwaves_are_drawn_beside_those_of_the_truth(scored):
    figure = make(heatwaves_lead, scored)
    area = panel(figure, "Area")
    same(
        line(area, "Truth"),
        rows(scored, "heatwaves", metric="area_fraction_truth", system="model"),
        100.0,
    )
    for system in ("model", "persistence"):
        table = rows(scored, "heatwaves", metric="area_fraction_forecast", system=system)
        same(line(area, style.system_name(system)), table, 100.0)
    score = panel(figure, "Critical success index")
    same(line(score, "Model"), rows(scored, "heatwaves", metric="csi", system="model"))
    assert "Truth" not in {x.get_label() for x in score.get_lines()}


def test_heatwaves_without_a_climatology_have_no_intensity(scored, tmp_path, monkeypatch):
    table = pd.read_parquet(scored.layout.table("heatwaves"))
    table = table[~table["metric"].str.startswith("intensity")]
    table.to_parquet(tmp_path / "heatwaves.parquet")
    monkeypatch.setattr(scored.layout, "table", lambda family: tmp_path / "heatwaves.parquet")
    assert len(make(heatwaves_lead, scored).axes) == 2


def test_derived_quantities_have_names_units_and_powers_of_ten(scored):
    figure = make(derived_lead, scored)
    for heading, name, factor, label in (
        ("Mixed-layer depth", "mlotst", 1.0, "RMSE (m)"),
        ("Eastward geostrophic velocity", "ugos", 1.0, "RMSE (m s⁻¹)"),
        ("Heat content 0-300 m", "ohc_0_300", 1e-6, "RMSE (10⁶ J m⁻²)"),
        ("Eddy kinetic energy", "eke", 1e6, "RMSE (10⁻⁶ m² s⁻²)"),
    ):
        axes = panel(figure, heading)
        assert axes.get_ylabel() == label
        for system in ("model", "climatology"):
            table = rows(scored, "derived", variable=name, metric="rmse_mean", system=system)
            same(line(axes, style.system_name(system)), table, factor)
    ratios = [x for x in figure.axes if x.axison and "truth" in x.get_ylabel()]
    assert [x.get_title(loc="left").split("$ ")[1] for x in ratios] == [
        "Kinetic energy",
        "Eddy kinetic energy",
    ]
    table = rows(scored, "derived", variable="eke", metric="energy_ratio", system="model")
    same(line(ratios[1], "Model"), table)


def test_budgets_are_changes_of_model_and_truth(scored):
    figure = make(budgets, scored)
    for heading, name, factor, label in (
        ("Heat content", "heat_content", 1e-21, "Change (10²¹ J)"),
        ("Salt content", "salt_content", 1e-12, "Change (10¹² kg)"),
        ("Volume above the geoid", "volume_anomaly", 1e-9, "Change (10⁹ m³)"),
        ("Kinetic energy", "kinetic_energy", 1e-15, "Change (10¹⁵ J)"),
    ):
        axes = panel(figure, heading)
        assert axes.get_ylabel() == label
        for system in ("truth", "model"):
            table = rows(scored, "budgets", variable=name, metric="change", system=system)
            same(line(axes, style.system_name(system)), table, factor)


def test_drift_has_a_panel_a_region(scored):
    figure = make(drift_lead, scored)
    for heading, region in (("Global", "global"), ("Pacific", "pacific")):
        for system in ("model", "climatology"):
            keys = {"metric": "separation", "system": system, "region": region}
            axes = panel(figure, heading)
            same(line(axes, style.system_name(system)), rows(scored, "drift", **keys))


def test_effective_resolution_is_that_of_the_table(scored):
    figure = make(effective_resolution_lead, scored)
    for heading, variable in (("Sea level", "zos"), ("Kinetic energy, 5 m", "ke")):
        keys = {"metric": "effective_resolution", "system": "model", "variable": variable}
        same(line(panel(figure, heading), "Model"), rows(scored, "spectra", **keys))


def test_spectra_show_the_model_at_every_lead_and_the_others_at_the_last(scored):
    figure = make(spectra, scored)
    above, below = (axes for axes in figure.axes if "Sea level" in axes.get_title(loc="left"))
    assert above.get_xscale() == above.get_yscale() == below.get_xscale() == "log"
    assert above.get_xlim()[0] > above.get_xlim()[1]
    expected = [("Truth", "truth", 5), ("Persistence", "persistence", 5)]
    expected += [("Model, day 1", "model", 1), ("Model, day 5", "model", 5)]
    for label, system, lead in expected:
        keys = {"variable": "zos", "system": system, "lead": lead}
        table = rows(scored, "spectra", metric="psd", **keys).sort_values("wavelength")
        np.testing.assert_array_equal(line(above, label).get_xdata(), table["wavelength"])
        np.testing.assert_array_equal(line(above, label).get_ydata(), table["value"])
        if system == "truth":
            continue
        table = rows(scored, "spectra", metric="psd_ratio", **keys).sort_values("wavelength")
        np.testing.assert_array_equal(line(below, label).get_ydata(), table["value"])
    marks = [x for x in below.get_lines() if x.get_marker() == "v"]
    found = [
        rows(scored, "spectra", variable="zos", system="model", lead=lead, metric=metric)
        for lead, metric in ((1, "effective_resolution"), (5, "effective_resolution"))
    ]
    for mark, table in zip(marks, found, strict=True):
        np.testing.assert_array_equal(mark.get_xdata(), table["value"])
        np.testing.assert_array_equal(mark.get_ydata(), [0.5])


@pytest.mark.parametrize("module", [spectra, effective_resolution_lead, drift_lead, derived_lead])
def test_a_table_without_rows_is_drawn_as_words(scored, tmp_path, monkeypatch, module):
    for family in ("spectra", "drift", "derived"):
        table = pd.read_parquet(scored.layout.table(family)).iloc[:0]
        table.to_parquet(tmp_path / f"{family}.parquet")
    monkeypatch.setattr(scored.layout, "table", lambda family: tmp_path / f"{family}.parquet")
    figure = make(module, scored)
    assert not figure.axes
    assert any(text.get_text() for text in figure.findobj(Text))


def test_a_table_that_is_missing_or_of_another_version_is_refused(tmp_path):
    layout = SimpleNamespace(table=lambda family: tmp_path / f"{family}.parquet")
    with pytest.raises(UserError, match=r"drift\.parquet.*run `hybridom evaluate aggregate`"):
        read_table(layout, "drift")
    pd.DataFrame({"lead": [1], "value": [1.0]}).to_parquet(layout.table("drift"))
    with pytest.raises(UserError, match=r"value, low and high expected, found lead, value"):
        read_table(layout, "drift")


@pytest.mark.parametrize(
    ("units", "largest", "expected"),
    [
        ("m", 40.0, (1.0, "m")),
        ("m s-1", 0.03, (1.0, "m s⁻¹")),
        ("J m-2", 2e8, (1e6, "10⁶ J m⁻²")),
        ("m2 s-2", 4e-4, (1e-6, "10⁻⁶ m² s⁻²")),
        ("J", 1e21, (1e21, "10²¹ J")),
        ("m", 0.0, (1.0, "m")),
        ("m", float("nan"), (1.0, "m")),
    ],
)
def test_large_and_small_values_are_scaled_by_powers_of_a_thousand(units, largest, expected):
    factor, unit = style.scaled(units, largest)
    assert (factor, unit) == (pytest.approx(expected[0]), expected[1])
