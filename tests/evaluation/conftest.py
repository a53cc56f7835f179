from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest


def _synthetic():
    path = Path(__file__).with_name("synthetic.py")
    spec = importlib.util.spec_from_file_location("synthetic_world", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def synthetic():
    """The module that writes a small world."""
    return _synthetic()


@pytest.fixture(scope="session")
def shared_world(synthetic, tmp_path_factory):
    """A world that no test alters."""
    return synthetic.make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def world(synthetic, tmp_path):
    """A world of the test's own."""
    return synthetic.make_world(tmp_path, starts=1, days=3)
