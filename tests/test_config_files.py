"""The files in config/ and what is written about them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from hybridom.config import STAGES, json_schema, load
from tests.warm import SNAKEMAKE, server

ROOT = Path(__file__).parents[1]
# What a workflow deployed from the catalogue starts with names another file; it is none itself.
STARTER = ROOT / "config" / "config.yaml"
FILES = sorted({*(ROOT / "config").glob("*.yaml")} - {STARTER})


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_configuration_loads_under_its_own_name(path):
    config = load(path)
    assert config.experiment == path.stem


def test_no_two_configurations_share_stores_or_results():
    configs = [load(path) for path in FILES]
    assert len({c.grid.name for c in configs}) == len({c.experiment for c in configs}) == len(FILES)


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_configuration_gives_a_plan(path, tmp_path):
    options = ["--dry-run", "--directory", str(tmp_path), "--config", f"base=config/{path.name}"]
    done = server(*SNAKEMAKE).run("snakemake", options)
    assert done.returncode == 0, done.stdout
    for rule in ("prepare_state", "train", "forecast", "fit_damping", "aggregate_scores"):
        assert re.search(rf"^{rule} +\d+$", done.stdout, flags=re.MULTILINE)


def test_the_schema_is_that_of_the_models():
    written = json.loads((ROOT / "config" / "schema.json").read_text())
    assert written == json_schema(), "run `hybridom config schema > config/schema.json`"


def test_the_readme_names_every_file_and_what_each_stage_is_given():
    text = (ROOT / "config" / "README.md").read_text()
    assert set(re.findall(r"^\| `(\w+\.yaml)`", text, flags=re.MULTILINE)) == {
        f.name for f in FILES
    }
    for stage, sections in STAGES.items():
        assert f"| {stage} | {', '.join(f'`{s}`' for s in sections)} |" in text
