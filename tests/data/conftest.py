from __future__ import annotations

import datetime as dt
import shutil
from types import SimpleNamespace

import pytest

from hybridom.data.prepare import prepare_all
from hybridom.grid import read_grid
from hybridom.layout import Layout
from tests.data.raw import raw_config, write_raw

START = dt.date(2000, 2, 20)  # the training period holds 29 February
TRAIN, VALIDATION = ("2000-02-20", "2000-03-07"), ("2000-03-08", "2000-03-12")
TEST = ("2000-03-13", "2000-03-20")
DAYS = 30


def make_world(root, seed=0):
    """Raw files and a configuration for them."""
    write_raw(root, START, DAYS, seed)
    config = raw_config(root, TRAIN, VALIDATION, TEST)
    return SimpleNamespace(root=root, config=config, layout=Layout(config))


def copy_world(source, root):
    """A copy of raw files with its own configuration."""
    for folder in ("ocean", "forcing"):
        shutil.copytree(source / folder, root / folder)
    config = raw_config(root, TRAIN, VALIDATION, TEST)
    return SimpleNamespace(root=root, config=config, layout=Layout(config))


@pytest.fixture(scope="session")
def prepared(raw_files, tmp_path_factory):
    """Everything prepared from raw files; no test alters it."""
    world = copy_world(raw_files, tmp_path_factory.mktemp("prepared"))
    prepare_all(world.config, world.layout)
    world.grid, world.wet = read_grid(world.layout.grid_file)
    return world


@pytest.fixture(scope="session")
def raw_files(tmp_path_factory):
    """Raw files that no test alters."""
    return make_world(tmp_path_factory.mktemp("raw")).root


@pytest.fixture
def world(raw_files, tmp_path):
    """Raw files that a test may spoil, nothing prepared."""
    return copy_world(raw_files, tmp_path)
