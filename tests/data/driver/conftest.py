from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest

from hybridom.data.driver import Driver
from hybridom.grid import read_grid
from tests import driven
from tests.training import world as tiny


def opened(root, world):
    """Paths, grid and driver of the region under `root`."""
    config, layout = tiny.World(root, world.grid, world.wet).config(
        f"paths.resources={root}/resources", f"paths.results={root}/results"
    )
    grid, wet = read_grid(layout.grid_file)
    return SimpleNamespace(
        config=config,
        layout=layout,
        grid=grid,
        wet=wet,
        driver=lambda **more: Driver(layout, grid, wet, **more),
    )


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    return driven.make_region(tmp_path_factory.mktemp("driven"))


@pytest.fixture(scope="session")
def region(world):
    """A region and its driver that no test alters."""
    return opened(world.root, world)


@pytest.fixture
def spoiled(world, tmp_path):
    """A copy that a test may spoil."""
    shutil.copytree(world.root, tmp_path / "copy")
    return opened(tmp_path / "copy", world)
