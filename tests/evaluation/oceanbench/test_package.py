"""Scores equal those of the package oceanbench 0.6.1 itself, on the same data."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from hybridom.config.output import BootstrapConfig
from hybridom.evaluation.oceanbench import conventions
from hybridom.evaluation.oceanbench.class4 import METRIC, Class4
from hybridom.evaluation.oceanbench.export import CHALLENGER
from hybridom.evaluation.oceanbench.forecasts import from_dataset, open_forecasts, open_mask
from hybridom.evaluation.oceanbench.scorer import Scorer

HERE = Path(__file__).parent
PYTHON = os.environ.get("HYBRIDOM_OCEANBENCH_PYTHON")
TOLERANCE = 1e-5
CASES = {"globe": ("globe", "global"), "box": ("box", "global"), "box in ibi": ("box", "ibi")}


def ours(challenger, reference, mask, region="global"):
    """Scores as the package arranges them: metric -> row -> column -> score."""
    scorer = Scorer(challenger, reference, mask, region=region)
    scorer.run()
    table = scorer.table(BootstrapConfig(samples=20), "reference")
    found: dict[str, dict[str, dict[str, float]]] = {}
    for row in table.itertuples():
        metric = row.metric.removeprefix(conventions.MISSING)
        column = f"Lead day {row.lead_day}" if metric == row.metric else "Missing fraction"
        found.setdefault(metric, {}).setdefault(row.label, {})[column] = row.value
    return found


def assert_equal(found, expected):
    """Same metrics, rows and columns in the same order; scores within 1e-5 of each."""
    assert list(found) == list(expected)
    for metric, rows in expected.items():
        assert list(found[metric]) == list(rows)
        for label, columns in rows.items():
            assert found[metric][label] == pytest.approx(columns, rel=TOLERANCE, abs=1e-9), label


@pytest.mark.parametrize("case", CASES)
def test_scores_equal_those_that_the_package_gave(case, cases):
    reference = json.loads((HERE / "reference.json").read_text(encoding="utf-8"))
    assert reference["oceanbench"] == conventions.VERSION
    grid, region = CASES[case]
    challenger, truth, mask = cases.forecasts(grid)
    forecasts = from_dataset(challenger, "challenger"), from_dataset(truth, "reference")
    assert_equal(ours(*forecasts, mask, region), reference[case])


@pytest.mark.parametrize("case", CASES)
def test_scores_against_observations_equal_those_that_the_package_gave(case, cases, tmp_path):
    reference = json.loads((HERE / "reference.json").read_text(encoding="utf-8"))
    grid, region = CASES[case]
    for name, day in cases.observations(grid).items():
        day.to_netcdf(tmp_path / f"{name}.nc")
    forecasts = from_dataset(cases.forecasts(grid)[0], "challenger")
    places = cases.fine_mask(grid), cases.topography(grid)
    matched = Class4(forecasts, tmp_path, *places, region)
    matched.run()
    table = matched.table(BootstrapConfig(samples=20))
    expected = reference[f"{case}, class 4"]
    scored = table[table["metric"] == METRIC]
    assert list(dict.fromkeys(scored["label"])) == list(expected)
    for row in scored.itertuples():
        columns = expected[row.label]
        assert row.value == pytest.approx(columns[f"Lead day {row.lead_day}"], rel=TOLERANCE)
    first = table[table["lead_day"] == 1].set_index(["metric", "label"])["value"]
    for label, columns in expected.items():
        assert first["observations", label] == columns["Observations"]
        assert first["missing_observations", label] == columns["Missing"]


@pytest.mark.slow
@pytest.mark.skipif(
    not PYTHON, reason="HYBRIDOM_OCEANBENCH_PYTHON names no Python with oceanbench 0.6.1"
)
def test_scores_of_files_equal_those_of_the_package(cases, tmp_path):
    challenger, truth, mask = cases.forecasts("globe")
    for name, data in (("challenger", challenger), ("reference", truth)):
        cases.write(data, tmp_path / name)
        (tmp_path / name / "challenger.py").write_text(CHALLENGER, encoding="utf-8")
    mask.to_dataset().to_zarr(tmp_path / "mask.zarr", zarr_format=2, consolidated=True)
    output = tmp_path / "package.json"
    command = [PYTHON, HERE / "make_reference.py", output, "--files", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    package = json.loads(output.read_text(encoding="utf-8"))
    assert package["oceanbench"] == conventions.VERSION
    forecasts = (open_forecasts(tmp_path / name) for name in ("challenger", "reference"))
    assert_equal(ours(*forecasts, open_mask(tmp_path / "mask.zarr")), package["files"])
