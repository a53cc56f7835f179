"""The training curves show what the record holds."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color
from matplotlib.figure import Figure

from hybridom.errors import UserError
from hybridom.figures import style, training_curves
from hybridom.figures.inputs import components, read_training, validation_leads
from hybridom.variables import PROGNOSTIC
from tests.figures.conftest import training_record


def drawn(tmp_path, table: pd.DataFrame) -> Figure:
    path = tmp_path / "metrics.csv"
    table.to_csv(path, index=False)
    with style.context(), warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = training_curves.figure(
            SimpleNamespace(experiment="gyre"), SimpleNamespace(train_log=path)
        )
        style.save(figure, [tmp_path / "curves.png"], 40)
    return figure


def lines(figure: Figure, panel: int, colour: str) -> list:
    found = [x for x in figure.axes[panel].get_lines() if same_color(x.get_color(), colour)]
    return [x for x in found if len(x.get_xdata()) > 2]


def test_validation_is_drawn_over_persistence_at_the_first_and_last_lead(tmp_path) -> None:
    table = training_record()
    figure = drawn(tmp_path, table)
    rows = table[table["step"] % 10 == 0]
    for name in PROGNOSTIC:
        for lead, index in ((1, 0), (4, 1)):
            ratio = rows[f"rmse_{name}_{lead}"] / rows[f"persistence_{name}_{lead}"]
            expected = {2: ratio, 5: rows[f"acc_{name}_{lead}"]}
            for panel, values in expected.items():
                line = lines(figure, panel, style.VARIABLE_COLOURS[name])[index]
                np.testing.assert_array_equal(line.get_xdata(), [10, 20, 30, 40])
                np.testing.assert_allclose(line.get_ydata(), values)
                assert (line.get_alpha() < 1.0) is (lead == 1)
    assert "day 4 (faint: day 1)" in figure.axes[2].get_title(loc="left")


def test_components_have_their_gradients_and_updates(tmp_path) -> None:
    table = training_record()
    figure = drawn(tmp_path, table)
    for name, (_, colour) in training_curves.COMPONENTS.items():
        for panel, kind in ((3, "gradient_norm"), (4, "update_ratio")):
            every = lines(figure, panel, colour)[0]
            np.testing.assert_allclose(every.get_ydata(), table[f"{kind}_{name}"])
    assert lines(figure, 3, training_curves.WHOLE)
    assert [axes.get_yscale() for axes in figure.axes] == ["log"] * 5 + ["linear"]


def test_one_component_one_lead_and_a_single_row_are_drawn(tmp_path) -> None:
    table = training_record()
    gone = [name for name in table if name.endswith("_ilap") or name.endswith("_4")]
    table = table.drop(columns=gone)
    assert components(table) == ["state"] and validation_leads(table) == [1]
    figure = drawn(tmp_path, table)
    assert not lines(figure, 3, training_curves.WHOLE)
    assert figure.axes[2].get_title(loc="left").endswith("Validation, day 1")
    drawn(tmp_path, table.iloc[:1])


def test_a_run_without_networks_is_drawn(tmp_path) -> None:
    table = training_record().iloc[:0]
    gone = [name for name in table if name.endswith(("_ilap", "_state"))]
    drawn(tmp_path, table.drop(columns=gone))


def test_columns_of_another_choice_of_leads_do_not_disturb(tmp_path) -> None:
    table = training_record()
    early = table.drop(columns=[name for name in table if name.endswith("_4")])
    late = table.drop(columns=[name for name in table if name.endswith("_1")])
    late["step"] += len(table)
    figure = drawn(tmp_path, pd.concat([early, late], ignore_index=True))
    faint, full = (line.get_xdata() for line in lines(figure, 2, style.VARIABLE_COLOURS["so"]))
    assert (max(faint), min(full)) == (40, 50)


def test_a_record_of_another_version_is_refused_by_name(tmp_path) -> None:
    path = tmp_path / "metrics.csv"
    for gone, named in (("loss_so", "loss_so"), ("persistence_uo_4", "persistence_uo_4")):
        training_record().drop(columns=gone).to_csv(path, index=False)
        with pytest.raises(UserError, match=f"column {named} is missing"):
            read_training(SimpleNamespace(train_log=path))
    table = training_record()
    old = table.drop(columns=[name for name in table if name.endswith(("_1", "_4"))])
    old.to_csv(path, index=False)
    with pytest.raises(UserError, match=r"column rmse_thetao_<lead> is missing"):
        read_training(SimpleNamespace(train_log=path))
