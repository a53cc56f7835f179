from __future__ import annotations

import json

import numpy as np
import pytest

from hybridom.bench import evaluate
from hybridom.bench.evaluate_stores import DISTINCT, write_stores
from hybridom.cli import main
from hybridom.config import narrow
from hybridom.data.stores.fetching import ChunkRows, rows_of
from hybridom.data.stores.reading import open_arrays
from hybridom.errors import UserError
from hybridom.evaluation.case import open_case
from hybridom.evaluation.scores import score_case
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC
from tests.evaluation.synthetic import make_config

DOCUMENTED = {
    *("device", "cores", "threads", "grid", "systems", "regions", "starts", "days"),
    *("gb_per_start", "stored_gb_per_start", "read_gb_per_s", "score_gb_per_s", "ratio", "ratios"),
    *("read_cpu_s", "score_cpu_s", "peak_memory_mb", "memory_before_mb"),
}


@pytest.fixture
def config(tmp_path):
    return narrow(make_config(tmp_path, resolution=15.0), "evaluate")


def score(config, layout, start, threads):
    return score_case(open_case(config, layout, start, threads), config.evaluation)


def test_scoring_is_measured_beside_reading(config, tmp_path):
    result = evaluate.bench_evaluate(config, score, 3, 5, tmp_path, 2)
    assert set(result) == DOCUMENTED
    assert all(name in evaluate.__doc__ for name in DOCUMENTED)
    assert result["grid"] == [3, 12, 24] and result["systems"] == 4 and result["regions"] == 3
    days = 6 + 5 + 6  # forecast, truth, climatology
    assert result["gb_per_start"] == pytest.approx(days * 13 * 12 * 24 * 4 / 1e9)
    assert 0 < result["stored_gb_per_start"] < result["gb_per_start"]
    assert len(result["ratios"]) == 3
    assert result["ratio"] == pytest.approx(result["score_gb_per_s"] / result["read_gb_per_s"])
    assert min(result["ratios"]) <= result["ratio"] <= max(result["ratios"])
    text = evaluate.table(result)
    assert "3 x 12 x 24" in text and "3 of 5 days" in text and "GB/s" in text
    assert not list(tmp_path.glob("hybridom-bench-*")), "the stores stay behind"


def test_only_some_days_take_disk_and_all_are_read_as_the_workflows_are(config, tmp_path):
    settings = evaluate._settings(config, tmp_path, 2, 9, config.grid.depths)
    layout, dates = Layout(settings), settings.forecast.start_dates()
    write_stores(settings, layout)
    chunks = [
        file for name in PROGNOSTIC for file in tmp_path.rglob(f"{name}/c/*/**/*") if file.is_file()
    ]
    # The second forecast ends on the last day of the year.
    assert len(chunks) == 5 * (365 + 365 + 2 * 10)
    assert len({file.stat().st_ino for file in chunks}) == 5 * 3 * DISTINCT
    arrays = open_arrays(layout.forecast_store(dates[1]), PROGNOSTIC)
    assert all(isinstance(rows_of(name, x), ChunkRows) for name, x in arrays.items())
    table = score(settings, layout, dates[1], 2)["scores"]
    rmse = table[table["metric"] == "rmse"].set_index(["system", "lead"])["value"]
    assert (rmse > 0).all()
    for system in ("model", "persistence", "climatology"):
        np.testing.assert_array_equal(rmse[system, 1], rmse[system, 1 + 2 * DISTINCT])


def test_more_forecasts_than_a_year_holds_are_refused(config, tmp_path):
    with pytest.raises(UserError, match=r"--starts 340, --days 60: expected .* 365 together"):
        evaluate.bench_evaluate(config, score, 340, 60, tmp_path, 1)


def test_the_command_prints_and_writes_the_result(tmp_path, capsys):
    path = tmp_path / "evaluate.json"
    arguments = ["--config", "config/test.yaml", "--days", "2", "--starts", "2", "--threads", "1"]
    places = ["--folder", str(tmp_path), "--json", str(path)]
    assert main(["bench", "evaluate", *arguments, *places]) in (None, 0)
    result = json.loads(path.read_text())
    assert set(result) == DOCUMENTED
    assert result["starts"] == 2 and result["days"] == 2 and result["threads"] == 1
    assert f"{result['ratio']:.0%}" in capsys.readouterr().out
