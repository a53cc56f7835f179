from __future__ import annotations

import datetime as dt
import shutil
from types import SimpleNamespace

import pytest

from hybridom.data.prepare import prepare_all
from hybridom.grid import read_grid
from hybridom.layout import Layout
from tests.data.raw import raw_config, write_raw
from tests.shared import made_once

START = dt.date(2000, 2, 20)  # the training period holds 29 February
TRAIN, VALIDATION = ("2000-02-20", "2000-03-07"), ("2000-03-08", "2000-03-12")
TEST = ("2000-03-13", "2000-03-20")
DAYS = 30


def world_at(root):
    """The raw files of a folder and a configuration for them."""
    config = raw_config(root, TRAIN, VALIDATION, TEST)
    return SimpleNamespace(root=root, config=config, layout=Layout(config))


def prepare_world(root):
    """Write raw files and prepare everything from them."""
    write_raw(root, START, DAYS)
    world = world_at(root)
    prepare_all(world.config, world.layout)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """Everything prepared from raw files; no test alters it."""
    world = world_at(made_once(tmp_path_factory, "prepared", prepare_world))
    world.grid, world.wet = read_grid(world.layout.grid_file)
    return world


@pytest.fixture(scope="session")
def raw_files(tmp_path_factory):
    """Raw files that no test alters."""
    return made_once(tmp_path_factory, "raw", lambda root: write_raw(root, START, DAYS))


@pytest.fixture
def world(raw_files, tmp_path):
    """Raw files that a test may spoil, nothing prepared."""
    for folder in ("ocean", "forcing"):
        shutil.copytree(raw_files / folder, tmp_path / folder)
    return world_at(tmp_path)
