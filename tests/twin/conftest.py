"""A few simulated days, shared by the tests of the embedded ocean."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from hybridom.config import SourceConfig, StageConfig, TwinConfig
from hybridom.layout import Layout
from hybridom.twin.run import run_year


@dataclasses.dataclass(frozen=True)
class Run:
    """A configuration and where its files lie."""

    config: StageConfig
    layout: Layout
    folder: Path


def make_run(folder: Path, **twin: object) -> Run:
    source = SourceConfig(
        kind="twin", ocean_dir=str(folder / "ocean"), forcing_dir=str(folder / "forcing")
    )
    config = StageConfig("twin", {"source": source, "twin": TwinConfig(**twin)})
    return Run(config, Layout(config), folder)


ACROSS_A_MONTH = {"start": "2001-01-30", "end": "2001-02-02"}


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Four days across the end of a month, simulated without a break."""
    run = make_run(tmp_path_factory.mktemp("finished"), **ACROSS_A_MONTH)
    run_year(run.config, run.layout, 2001)
    return run
