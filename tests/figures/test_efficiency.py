"""What training cost."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from hybridom.errors import UserError
from hybridom.figures import efficiency, style
from hybridom.variables import PROGNOSTIC
from tests.figures.conftest import training_record

CONFIG = SimpleNamespace(experiment="gyre")


def test_time_adds_up_over_the_stages():
    """Four steps of 30 s, then three of 90 s, 12 windows each."""
    rate = np.array([12 / 30] * 4 + [12 / 90] * 3)
    table = pd.DataFrame({"days": [1] * 4 + [3] * 3, "samples_per_second": rate})
    seconds = np.array([30, 60, 90, 120, 210, 300, 390])
    np.testing.assert_allclose(efficiency.elapsed(table), seconds / 390.0)


def test_the_time_of_a_stage_whose_speed_changes_is_that_of_its_mean():
    """Windows take 1, 2 and 3 s; the record holds means since the beginning."""
    seconds = np.cumsum([1.0, 2.0, 3.0])
    table = pd.DataFrame({"days": [1] * 3, "samples_per_second": np.arange(1, 4) / seconds})
    np.testing.assert_allclose(efficiency.elapsed(table), seconds / 6.0)


def test_panels_are_the_record(tmp_path):
    table = training_record()
    table.to_csv(tmp_path / "metrics.csv", index=False)
    with style.context():
        figure = efficiency.figure(CONFIG, SimpleNamespace(train_log=tmp_path / "metrics.csv"))
        style.save(figure, [tmp_path / "efficiency.png"], 40)
    window, speed, wait, error = figure.axes
    rate = table["samples_per_second"]
    for axes, expected in (
        (window, 1 / rate),
        (speed, rate * table["days"]),
        (wait, 100 * table["data_wait"]),
    ):
        (line,) = axes.get_lines()
        np.testing.assert_allclose(line.get_ydata(), expected)
        np.testing.assert_array_equal(line.get_xdata(), table["step"])
    rows = (table["step"] % 10 == 0).to_numpy()
    time = 100.0 * efficiency.elapsed(table)[rows]
    for name in PROGNOSTIC:
        (line,) = (x for x in error.get_lines() if x.get_label() == style.NAMES[name])
        ratio = table[f"rmse_{name}_4"] / table[f"persistence_{name}_4"]
        np.testing.assert_allclose(line.get_xdata(), time)
        np.testing.assert_allclose(line.get_ydata(), ratio[rows])


def test_a_training_without_steps_is_drawn(tmp_path):
    training_record().iloc[:0].to_csv(tmp_path / "metrics.csv", index=False)
    with style.context():
        figure = efficiency.figure(CONFIG, SimpleNamespace(train_log=tmp_path / "metrics.csv"))
        style.save(figure, [tmp_path / "efficiency.png"], 40)


def test_a_record_without_speed_is_refused(tmp_path):
    training_record().drop(columns="data_wait").to_csv(tmp_path / "metrics.csv", index=False)
    with pytest.raises(UserError, match="column data_wait is missing"):
        efficiency.figure(CONFIG, SimpleNamespace(train_log=tmp_path / "metrics.csv"))
